"""Statements on debt. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_SHORTFALLS = text("""
    SELECT seq, lot_seq, lot_no, issuer_id, terms_id, owed, repaid, forgiven FROM ledger.shortfall
    WHERE holder_id = :holder_id AND unit = :unit ORDER BY seq, lot_no
""")
_OUTSTANDING = text("""
    SELECT issuer_id, terms_id, sum(owed - repaid)::bigint AS points FROM ledger.shortfall
    WHERE unit = :unit AND repaid < owed GROUP BY issuer_id, terms_id ORDER BY issuer_id, terms_id
""")


async def shortfalls(connection: AsyncConnection, holder_id: int, unit: int) -> Sequence[Row[Any]]:
    """What a holder's returns fell short of."""
    return (await connection.execute(_SHORTFALLS, {"holder_id": holder_id, "unit": unit})).all()


async def outstanding(connection: AsyncConnection, unit: int) -> Sequence[Row[Any]]:
    """What is still owed, by issuer and terms."""
    return (await connection.execute(_OUTSTANDING, {"unit": unit})).all()
