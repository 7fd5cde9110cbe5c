"""Statements on points that plans gave. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow = Row[Any]


async def of_month(
    connection: AsyncConnection, holder_id: int, subscription_no: int, starts_at: datetime
) -> dict[str, AnyRow]:
    """What was given for a month and taken back of it, by kind."""
    found = await connection.execute(
        text("""
            SELECT kind, points, terms_id, currency, price_micro FROM partners.allotment
            WHERE holder_id = :holder_id AND subscription_no = :number AND starts_at = :starts_at
        """),
        {"holder_id": holder_id, "number": subscription_no, "starts_at": starts_at},
    )
    return {row.kind: row for row in found}


async def insert(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write that points were given for a month, or taken back of it."""
    await connection.execute(
        text("""
            INSERT INTO partners.allotment
              (holder_id, subscription_no, starts_at, kind, ends_at, points, terms_id, currency, price_micro, seq, at)
            VALUES (:holder_id, :subscription_no, :starts_at, :kind, :ends_at, :points, :terms_id, :currency,
                    :price_micro, :seq, :at)
        """),
        values,
    )


async def cost(connection: AsyncConnection, currency: str, until: datetime) -> tuple[int, int]:
    """What was given and taken before an instant cost, micro-units."""
    found = await connection.execute(
        text("""
            SELECT CAST(coalesce(sum(points * price_micro) FILTER (WHERE kind = 'GIVEN'), 0) AS bigint) AS given,
                   CAST(coalesce(sum(points * price_micro) FILTER (WHERE kind = 'TAKEN'), 0) AS bigint) AS taken
            FROM partners.allotment WHERE currency = :currency AND at < :until
        """),
        {"currency": currency, "until": until},
    )
    row = found.one()
    return row.given, row.taken
