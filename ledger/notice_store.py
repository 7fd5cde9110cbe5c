"""Statements on notices before expiry. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


class Ref(Protocol):
    """What names a lot."""

    @property
    def holder_id(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def lot_no(self) -> int: ...


_WAITING = text("""
    SELECT holder_id, seq, lot_no, points, expires_at, tell_by
    FROM ledger.lots_to_notice(CAST(:unit AS smallint), :by, :limit, :holder_id, :expires_at, :seq,
                               CAST(:lot_no AS smallint))
""")
_RECORD = text("""
    SELECT holder_id, seq, lot_no, expires_at FROM ledger.record_expiry_notices(
      CAST(:unit AS smallint), CAST(:holders AS bigint[]), CAST(:seqs AS bigint[]), CAST(:lot_nos AS smallint[]), :at)
""")


async def require(connection: AsyncConnection, unit: int, days: int) -> bool:
    """Whether the unit asks for notice so many days before from now on, or did already."""
    given = {"unit": unit, "days": days}
    statement = text("SELECT ledger.require_notice(CAST(:unit AS smallint), CAST(:days AS smallint))")
    return bool((await connection.execute(statement, given)).scalar_one())


async def waiting(
    connection: AsyncConnection,
    unit: int,
    by: datetime,
    limit: int,
    last: tuple[int, datetime, int, int] | None,
) -> Sequence[Row[Any]]:
    """Lots whose holders must be told, behind the last one (holder, expiry, entry, number) or from the first."""
    holder_id, expires_at, seq, lot_no = last or (None, None, None, None)
    given = {
        "unit": unit, "by": by, "limit": limit, "holder_id": holder_id, "expires_at": expires_at, "seq": seq,
        "lot_no": lot_no,
    }  # fmt: skip
    return (await connection.execute(_WAITING, given)).all()


async def record(connection: AsyncConnection, unit: int, lots: Sequence[Ref], at: datetime) -> Sequence[Row[Any]]:
    """The lots of which their holders were told now."""
    given = {
        "unit": unit, "holders": [lot.holder_id for lot in lots], "seqs": [lot.seq for lot in lots],
        "lot_nos": [lot.lot_no for lot in lots], "at": at,
    }  # fmt: skip
    return (await connection.execute(_RECORD, given)).all()
