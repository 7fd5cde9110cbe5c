"""The ledger's statements. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def new_holder_ids(connection: AsyncConnection, count: int, unit: int) -> list[int]:
    """Open accounts of new holders; their numbers."""
    found = await connection.execute(
        text("SELECT ledger.open_accounts(:count, CAST(:unit AS smallint))"), {"count": count, "unit": unit}
    )
    return list(found.scalars())


_ACCOUNT = text("""
    SELECT a.seq, a.spend_locked, a.daily_cap, a.last_at,
           CASE WHEN a.next_due > :at THEN a.available ELSE coalesce(f.available, 0) END AS available,
           CASE WHEN a.next_due > :at THEN a.pending ELSE coalesce(f.pending, 0) END AS pending,
           CASE WHEN a.next_due > :at THEN a.held ELSE coalesce(f.held, 0) END AS held,
           a.debt - coalesce(f.repaid, 0) AS debt
    FROM ledger.account a
    LEFT JOIN LATERAL (
      SELECT sum(remaining) FILTER (WHERE is_active)::bigint AS available,
             sum(remaining) FILTER (WHERE NOT is_active)::bigint AS pending, sum(held)::bigint AS held,
             sum(repaid)::bigint AS repaid
      FROM ledger.foresee(:holder_id, CAST(:unit AS smallint), :at) WHERE a.next_due <= :at
    ) f ON true
    WHERE a.holder_id = :holder_id AND a.unit = :unit
""")


async def account(connection: AsyncConnection, holder_id: int, unit: int, at: datetime) -> Row[Any] | None:
    """An account as cached, or where something is due by an instant as it is once that is applied."""
    given = {"holder_id": holder_id, "unit": unit, "at": at}
    return (await connection.execute(_ACCOUNT, given)).one_or_none()


async def lock_spending(connection: AsyncConnection, holder_id: int, unit: int, locked: bool) -> bool:
    """Set or end the spend lock; False where there is no account."""
    statement = text("SELECT ledger.lock_spending(:holder_id, CAST(:unit AS smallint), :locked)")
    given = {"holder_id": holder_id, "unit": unit, "locked": locked}
    return bool((await connection.execute(statement, given)).scalar_one())


async def set_daily_cap(connection: AsyncConnection, holder_id: int, unit: int, points: int | None) -> bool:
    """Set the day's cap or take it away; False where there is no account."""
    statement = text("SELECT ledger.set_daily_cap(:holder_id, CAST(:unit AS smallint), CAST(:points AS bigint))")
    given = {"holder_id": holder_id, "unit": unit, "points": points}
    return bool((await connection.execute(statement, given)).scalar_one())


_QUALIFYING = text("""
    SELECT j.holder_id, sum(CASE j.kind WHEN 1 THEN j.amount ELSE -j.amount END)::bigint AS points
    FROM ledger.journal j
    WHERE j.holder_id = ANY (CAST(:holder_ids AS bigint[])) AND j.unit = :unit AND j.kind IN (1, 8)
      AND j.at >= :since AND j.at < :until
    GROUP BY j.holder_id
""")


async def accrued_less_returned(
    connection: AsyncConnection, holder_ids: Sequence[int], unit: int, since: datetime, until: datetime
) -> dict[int, int]:
    """Points of accruals less points of returns per holder, for those that have any entry of these kinds."""
    given = {"holder_ids": list(holder_ids), "unit": unit, "since": since, "until": until}
    return {row.holder_id: row.points for row in await connection.execute(_QUALIFYING, given)}


async def audit(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Violations of the ledger's rules: rule, holder_id, unit, detail."""
    return (await connection.execute(text("SELECT rule, holder_id, unit, detail FROM ledger.audit()"))).all()


async def broken_chains(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Entries and accounts whose hash is not what the rows say: holder_id, unit, seq, what; the earliest first."""
    return (await connection.execute(text("SELECT holder_id, unit, seq, what FROM ledger.verify_chains()"))).all()


async def broken_seals(connection: AsyncConnection) -> Sequence[int]:
    """Cut-offs whose seal is not what their entries say."""
    return (await connection.execute(text("SELECT ledger.verify_seals()"))).scalars().all()


async def last_seal(connection: AsyncConnection) -> Row[Any] | None:
    """The latest seal and its cut-off, and how many entries there are in all."""
    statement = """
        SELECT c.cutoff_id, c.seal, (SELECT count(*) FROM ledger.journal) AS entries
        FROM ledger.cutoff c WHERE c.state = 'CUT' ORDER BY c.cutoff_id DESC LIMIT 1
    """
    return (await connection.execute(text(statement))).one_or_none()
