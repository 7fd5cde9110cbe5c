"""Statements on roll-ups and watermarks. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def rolled_entries(connection: AsyncConnection, entries: int) -> int:
    """How many entries one step of the roll-up took."""
    return int((await connection.execute(text("SELECT ledger.roll_up(:entries)"), {"entries": entries})).scalar_one())


_TOTALS = text("""
    SELECT day, unit, issuer_id, funder_id, partner_id, debit, credit, postings, points FROM ledger.rollup
    WHERE day >= :since AND day < :until AND unit = :unit
    ORDER BY day, issuer_id, funder_id, partner_id, debit, credit
""")


async def totals(connection: AsyncConnection, since: date, until: date, unit: int) -> Sequence[Row[Any]]:
    """Totals of the days in [since, until)."""
    return (await connection.execute(_TOTALS, {"since": since, "until": until, "unit": unit})).all()


async def issued(connection: AsyncConnection, unit: int) -> Sequence[Row[Any]]:
    """What each issuer gave in all: issuer_id, points."""
    statement = text(
        "SELECT issuer_id, sum(points)::bigint AS points FROM ledger.rollup WHERE debit = 10 AND unit = :unit "
        "GROUP BY issuer_id"
    )
    return (await connection.execute(statement, {"unit": unit})).all()


async def lags(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """How far each reader of the journal is behind, by its name."""
    return (await connection.execute(text("SELECT * FROM ledger.lags()"))).all()


async def violations(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Totals that are not what their postings sum to: rule, holder_id, unit, detail."""
    return (await connection.execute(text("SELECT rule, holder_id, unit, detail FROM ledger.audit_rollups()"))).all()


async def new_epoch(connection: AsyncConnection) -> int | None:
    """The epoch that began because the database is in another cluster than before; None where it is not."""
    begun: int | None = (await connection.execute(text("SELECT ledger.re_base()"))).scalar_one()
    return begun
