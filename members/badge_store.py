"""SQL of badges. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert(
    connection: AsyncConnection, member_id: int, badge: str, cause: UUID, at: datetime, expires_at: datetime | None
) -> bool:
    """Write a badge; False where it was given for this cause."""
    done = await connection.execute(
        text("""
            INSERT INTO members.badge (member_id, badge, cause, at, expires_at)
            VALUES (:member_id, :badge, :cause, :at, :expires_at) ON CONFLICT DO NOTHING
        """),
        {"member_id": member_id, "badge": badge, "cause": cause, "at": at, "expires_at": expires_at},
    )
    return done.rowcount == 1


async def revoke(connection: AsyncConnection, member_id: int, badge: str, at: datetime) -> int:
    """End what a member bears of a badge; how many times they did."""
    done = await connection.execute(
        text("""
            UPDATE members.badge SET revoked_at = :at
            WHERE member_id IN (SELECT members.selves(:member_id)) AND badge = :badge AND revoked_at IS NULL
              AND (expires_at IS NULL OR expires_at > :at)
        """),
        {"member_id": member_id, "badge": badge, "at": at},
    )
    return done.rowcount


async def borne(connection: AsyncConnection, member_id: int, at: datetime) -> Sequence[Row[Any]]:
    """Badges that are borne at an instant: badge, at, expires_at."""
    found = await connection.execute(
        text("""
            SELECT DISTINCT ON (badge) badge, at, expires_at FROM members.badge
            WHERE member_id IN (SELECT members.selves(:member_id)) AND at <= :at
              AND (expires_at IS NULL OR expires_at > :at) AND (revoked_at IS NULL OR revoked_at > :at)
            ORDER BY badge, expires_at DESC NULLS FIRST
        """),
        {"member_id": member_id, "at": at},
    )
    return found.all()
