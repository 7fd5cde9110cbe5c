"""Statements on cut-offs. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_COLUMNS = (
    "cutoff_id, state, nullif(opened_at, '-infinity') AS opened_at, cut_at, "
    "journal_count, posting_count, posting_points"
)


async def drain_cutoff(connection: AsyncConnection, *, at: datetime) -> int | None:
    """The number of the cut-off that drains from now on, or drained already; None where the open one began later."""
    drained = await connection.execute(text("SELECT ledger.drain_cutoff(:at)"), {"at": at})
    found: int | None = drained.scalar_one()
    return found


async def seal_cutoff(connection: AsyncConnection, *, cutoff_id: int) -> Row[tuple[object, ...]]:
    """The counted cut-off, after every writer that holds it has ended."""
    sealed = await connection.execute(
        text(f"SELECT {_COLUMNS} FROM ledger.seal_cutoff(:cutoff_id)"),
        {"cutoff_id": cutoff_id},
    )
    return sealed.one()


async def tallied(connection: AsyncConnection, entries: int) -> int:
    """How many entries were counted, about as many as asked for."""
    found = await connection.execute(text("SELECT ledger.tally_up(:entries)"), {"entries": entries})
    return int(found.scalar_one())


async def sweep_due(connection: AsyncConnection, *, unit: int, at: datetime, limit: int) -> int:
    """How many accounts had something due and got it, at most `limit`; 0 when none is left."""
    swept = await connection.execute(
        text("SELECT ledger.sweep_due(CAST(:unit AS smallint), :at, :limit)"),
        {"unit": unit, "at": at, "limit": limit},
    )
    return int(swept.scalar_one())


async def cutoffs(connection: AsyncConnection) -> Sequence[Row[tuple[object, ...]]]:
    """All cut-offs, oldest first."""
    found = await connection.execute(text(f"SELECT {_COLUMNS} FROM ledger.cutoff ORDER BY cutoff_id"))
    return found.all()


async def turnover(
    connection: AsyncConnection, *, cutoff_ids: Sequence[int], unit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """Postings of cut-offs, summed by everything that settlement may want to tell apart."""
    found = await connection.execute(
        text(
            "SELECT debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, "
            "       CAST(sum(amount) AS bigint) AS points, count(*) AS postings "
            "FROM ledger.posting WHERE cutoff_id = ANY (:cutoff_ids) AND unit = :unit "
            "GROUP BY debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id"
        ),
        {"cutoff_ids": list(cutoff_ids), "unit": unit},
    )
    return found.all()


async def keep_cutoff(connection: AsyncConnection) -> int:
    """Enter the open cut-off with the whole transaction; its number."""
    return int((await connection.execute(text("SELECT ledger.keep_cutoff()"))).scalar_one())
