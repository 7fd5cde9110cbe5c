"""Statements on the use of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def add_uses(connection: AsyncConnection, day: date, uses: Mapping[tuple[int, str], int]) -> None:
    """Add to the uses of a day: by (client number, field)."""
    statement = text(
        "INSERT INTO gateway.field_use AS f (client_no, used_on, field, uses) "
        "SELECT n.client_no, :day, n.field, n.uses FROM "
        "unnest(CAST(:clients AS int[]), CAST(:fields AS text[]), CAST(:uses AS bigint[])) "
        "AS n(client_no, field, uses) "
        "ON CONFLICT (used_on, client_no, field) DO UPDATE SET uses = f.uses + EXCLUDED.uses"
    )
    keys = sorted(uses)  # in one order, so that two processes do not wait for each other in a circle
    given = {
        "day": day,
        "clients": [client_no for client_no, _ in keys],
        "fields": [field for _, field in keys],
        "uses": [uses[key] for key in keys],
    }
    await connection.execute(statement, given)


async def delete_before(connection: AsyncConnection, day: date) -> int:
    """Delete the uses of days before one; how many rows."""
    return (await connection.execute(text("DELETE FROM gateway.field_use WHERE used_on < :day"), {"day": day})).rowcount


async def uses(connection: AsyncConnection, since: date, fields: Sequence[str] | None) -> Sequence[RowMapping]:
    """Uses since a day by field and client: field, client_id, uses, last_on."""
    statement = text(
        "SELECT f.field, c.client_id, sum(f.uses)::bigint AS uses, max(f.used_on) AS last_on "
        "FROM gateway.field_use f JOIN gateway.client c USING (client_no) "
        "WHERE f.used_on >= :since AND (CAST(:fields AS text[]) IS NULL OR f.field = ANY (CAST(:fields AS text[]))) "
        "GROUP BY f.field, c.client_id ORDER BY f.field, c.client_id"
    )
    given = {"since": since, "fields": None if fields is None else list(fields)}
    return (await connection.execute(statement, given)).mappings().all()


async def totals(connection: AsyncConnection, since: date) -> dict[str, int]:
    """Uses since a day by field."""
    statement = text(
        "SELECT field, sum(uses)::bigint AS uses FROM gateway.field_use WHERE used_on >= :since "
        "GROUP BY field ORDER BY field"
    )
    found = await connection.execute(statement, {"since": since})
    return {row["field"]: row["uses"] for row in found.mappings()}
