"""Statements on points that end soon. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_SPENDABLE = "unit = CAST(:unit AS smallint) AND open AND activates_at <= :since AND expires_at > :since"


async def holders(
    connection: AsyncConnection, unit: int, since: datetime, until: datetime, after: int, limit: int
) -> Sequence[Row[Any]]:
    """Holders behind a number with points that can be spent at an instant and end by another: holder_id, last_at."""
    statement = text(f"""
        SELECT holder_id, max(expires_at) AS last_at FROM ledger.lot
        WHERE {_SPENDABLE} AND expires_at <= :until AND holder_id > :after
        GROUP BY holder_id ORDER BY holder_id LIMIT :limit
    """)
    given = {"unit": unit, "since": since, "until": until, "after": after, "limit": limit}
    return (await connection.execute(statement, given)).all()


async def ending(
    connection: AsyncConnection, holder_id: int, unit: int, since: datetime, until: datetime
) -> Sequence[Row[Any]]:
    """One holder's points that end between two instants, the next first: expires_at, points."""
    statement = text(f"""
        SELECT expires_at, sum(remaining + held)::bigint AS points FROM ledger.lot
        WHERE holder_id = :holder_id AND {_SPENDABLE} AND expires_at <= :until
        GROUP BY expires_at ORDER BY expires_at
    """)
    given = {"holder_id": holder_id, "unit": unit, "since": since, "until": until}
    return (await connection.execute(statement, given)).all()
