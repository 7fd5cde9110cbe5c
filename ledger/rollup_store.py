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


_ACTIVITY = text("""
    SELECT day,
           CAST(sum(CASE WHEN issuer_id <> :partner_id THEN 0 WHEN debit = 10 THEN points
                         WHEN credit = 13 THEN -points ELSE 0 END) AS bigint) AS issued,
           CAST(sum(CASE WHEN partner_id <> :partner_id THEN 0 WHEN credit = 11 THEN points
                         WHEN debit = 11 THEN -points ELSE 0 END) AS bigint) AS redeemed
    FROM ledger.rollup
    WHERE day >= :since AND day < :until AND unit = :unit AND :partner_id IN (issuer_id, partner_id)
      AND (debit IN (10, 11) OR credit IN (11, 13))
    GROUP BY day ORDER BY day
""")


async def activity(
    connection: AsyncConnection, partner_id: int, since: date, until: date, unit: int
) -> Sequence[Row[Any]]:
    """Points that a partner issued and took by day: day, issued, redeemed."""
    given = {"partner_id": partner_id, "since": since, "until": until, "unit": unit}
    return (await connection.execute(_ACTIVITY, given)).all()


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
