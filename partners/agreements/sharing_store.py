"""Statements on the programme's rules for sharing points, and on what households spent. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def rules(connection: AsyncConnection) -> Row[Any] | None:
    """The rules: transfers_enabled, household_size, household_cooling_days."""
    found = await connection.execute(
        text("SELECT transfers_enabled, household_size, household_cooling_days FROM partners.programme")
    )
    return found.one_or_none()


async def write_rules(connection: AsyncConnection, values: Mapping[str, int]) -> None:
    """Change the rules: transfers_enabled, household_size, household_cooling_days."""
    await connection.execute(
        text("""
            UPDATE partners.programme SET transfers_enabled = :transfers_enabled, household_size = :household_size,
                                          household_cooling_days = :household_cooling_days
        """),
        dict(values),
    )


async def spent_by_cards(connection: AsyncConnection, holder_id: int, card_ids: Sequence[int]) -> int:
    """Points that cards spent from an account, less those that returns of these receipts gave back."""
    found = await connection.execute(
        text("""
            SELECT coalesce(sum(s.redeemed - coalesce(b.redeemed, 0)), 0)
            FROM partners.receipt s
            LEFT JOIN LATERAL (
              SELECT sum(r.redeemed) AS redeemed FROM partners.receipt r
              WHERE r.holder_id = s.holder_id AND r.unit = s.unit AND r.original_seq = s.seq
            ) b ON true
            WHERE s.holder_id = :holder_id AND s.unit = 1 AND s.kind IN (1, 2)
              AND s.card_id = ANY (CAST(:card_ids AS bigint[]))
        """),
        {"holder_id": holder_id, "card_ids": list(card_ids)},
    )
    return int(found.scalar_one())
