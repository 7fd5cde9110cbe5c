"""Statements on proposed adjustments. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """What was proposed under an approval."""
    await connection.execute(
        text("""
            INSERT INTO partners.adjustment (approval_id, holder_id, points, reason, issuer_id, funder_id, day)
            VALUES (:approval_id, :holder_id, :points, :reason, :issuer_id, :funder_id, :day)
        """),
        dict(values),
    )


async def read(connection: AsyncConnection, approval_id: int) -> Row[Any] | None:
    """What was proposed under an approval."""
    found = await connection.execute(
        text("SELECT * FROM partners.adjustment WHERE approval_id = :approval_id"), {"approval_id": approval_id}
    )
    return found.one_or_none()


async def lock_person(connection: AsyncConnection, actor_id: int) -> None:
    """One after the other of what one actor does to adjustments, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(7305005, :actor_id)"), {"actor_id": actor_id})


async def proposed_points(connection: AsyncConnection, maker_id: int, day: date) -> int:
    """Points, given and taken alike, that an actor proposed on a day and nobody declined."""
    found = await connection.execute(
        text("""
            SELECT coalesce(sum(abs(d.points)), 0) FROM partners.adjustment d JOIN kit.approval a USING (approval_id)
            WHERE d.day = :day AND a.maker_id = :maker_id AND a.approved IS DISTINCT FROM false
        """),
        {"day": day, "maker_id": maker_id},
    )
    return int(found.scalar_one())


async def approved_points(connection: AsyncConnection, checker_id: int, day: date, time_zone: str) -> int:
    """Points, given and taken alike, that an actor approved on a day of the programme."""
    found = await connection.execute(
        text("""
            SELECT coalesce(sum(abs(d.points)), 0) FROM partners.adjustment d JOIN kit.approval a USING (approval_id)
            WHERE a.checker_id = :checker_id AND a.approved
              AND CAST(a.decided_at AT TIME ZONE CAST(:time_zone AS text) AS date) = :day
        """),
        {"checker_id": checker_id, "day": day, "time_zone": time_zone},
    )
    return int(found.scalar_one())
