"""The audit: what must be true of accounts, lots, journal and postings, looked at from the outside."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, whose account it is (None: nobody's alone), and what is wrong."""

    rule: str
    holder_id: int | None
    unit: int
    detail: str


async def violations(connection: AsyncConnection) -> list[Violation]:
    """Every violation in one snapshot; an empty list is what everybody wants to see."""
    return [Violation(**row._mapping) for row in await store.audit(connection)]
