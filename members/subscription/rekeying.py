"""Tokens of means of payment, which the gateway seals, given over to the next master key. For its rotation alone, with
the rights of the schema's owner: the application may change none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription import invoice_store


async def means(
    connection: AsyncConnection, anew: Callable[[str, str], str], providers: Sequence[str], *, after: int, limit: int
) -> tuple[int, int]:
    """The next means of payment behind a number, of providers whose tokens are sealed; anew takes a provider's name and
    a token and seals it anew. Returns the last one's number (the given one where none is left) and how many."""
    rows = await invoice_store.means_after(connection, providers, after, limit)
    await invoice_store.write_tokens(connection, [(row.means_no, anew(row.provider, row.token)) for row in rows])
    return (rows[-1].means_no if rows else after), len(rows)
