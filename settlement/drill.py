"""From a number to what it is made of: the movements behind one line of a statement, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement import archive
from settlement.archive import Statement
from settlement.statements import Detail, Line


@dataclass(frozen=True, slots=True)
class Numbered:
    """A movement behind a line, and its place among them, from 1 on."""

    number: int
    detail: Detail


async def movements(
    connection: AsyncConnection, statement: Statement, line: Line, *, id_key: bytes, after: int, limit: int
) -> list[Numbered]:
    """Movements behind a line of a partner's statement, behind place `after`, at most `limit`; none behind a line that
    was computed from others (fees, tax, what is carried over).

    id_key is the partner's key for ids of members. Needs a transaction: what is behind the statement is streamed until
    there are enough.
    """
    found: list[Numbered] = []
    number = 0
    async for detail in archive.detail(connection, statement, id_key=id_key):
        if _is_behind(detail, line):
            number += 1
            if number > after:
                found.append(Numbered(number, detail))
            if len(found) == limit:
                break
    return found


def _is_behind(detail: Detail, line: Line) -> bool:
    if detail.kind != line.kind:
        return False
    if not detail.points:
        return line.terms_id is None
    return (detail.terms_id, detail.unit_price_micro) == (line.terms_id, line.unit_price_micro)
