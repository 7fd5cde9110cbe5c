"""SQL on lots that wait to be let go. Not of the hot path."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# The partial index lot_withheld has this condition.
_WITHHELD = "l.unit = :unit AND l.open AND NOT l.active AND l.expires_at - l.activates_at = interval '1 microsecond'"


async def sums(connection: AsyncConnection, unit: int, below: int) -> Sequence[Row[Any]]:
    """Points that wait by funder and version, of entries below a transaction's number."""
    found = await connection.execute(
        text(
            "SELECT l.funder_id, l.terms_id, CAST(sum(l.remaining) AS bigint) AS points "
            "FROM ledger.lot l JOIN ledger.journal j USING (holder_id, unit, seq) "
            f"WHERE {_WITHHELD} AND j.xid < CAST(:below AS xid8) GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"unit": unit, "below": below},
    )
    return found.all()


async def oldest(connection: AsyncConnection, funder_id: int, unit: int, below: int, limit: int) -> Sequence[Row[Any]]:
    """A funder's lots that wait, as they were recorded."""
    found = await connection.execute(
        text(
            "SELECT l.holder_id, l.seq, l.lot_no, l.funder_id, l.terms_id, l.remaining AS points, j.at AS granted_at "
            "FROM ledger.lot l JOIN ledger.journal j USING (holder_id, unit, seq) "
            f"WHERE {_WITHHELD} AND l.funder_id = :funder_id AND j.xid < CAST(:below AS xid8) "
            "ORDER BY j.recorded_at, l.holder_id, l.seq, l.lot_no LIMIT :limit"
        ),
        {"unit": unit, "funder_id": funder_id, "below": below, "limit": limit},
    )
    return found.all()


async def let_go(connection: AsyncConnection, unit: int, lots: Sequence[tuple[int, int, int, datetime]]) -> int:
    """Set when lots become spendable; how many of them still waited."""
    holders, seqs, lot_nos, instants = (list(column) for column in zip(*lots, strict=True))
    found = await connection.execute(
        text(
            "SELECT ledger.let_go(CAST(:unit AS smallint), CAST(:holders AS bigint[]), CAST(:seqs AS bigint[]), "
            "                     CAST(:lot_nos AS smallint[]), CAST(:instants AS timestamptz[]))"
        ),
        {"unit": unit, "holders": holders, "seqs": seqs, "lot_nos": lot_nos, "instants": instants},
    )
    return int(found.scalar_one())
