"""SQL of reminders. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def told(connection: AsyncConnection, member_ids: Sequence[int], days: int) -> Sequence[Row[Any]]:
    """Up to when these members were told so many days before: member_id, told_until."""
    statement = text("""
        SELECT member_id, told_until FROM members.expiry_reminder WHERE member_id = ANY (:member_ids) AND days = :days
    """)
    return (await connection.execute(statement, {"member_ids": list(member_ids), "days": days})).all()


async def tell(
    connection: AsyncConnection, member_id: int, days: int, *, until: datetime, unless_told: datetime
) -> bool:
    """Count a member as told up to an instant; False where they were told up to another one already."""
    done = await connection.execute(
        text("""
            INSERT INTO members.expiry_reminder AS r (member_id, days, told_until) VALUES (:member_id, :days, :until)
            ON CONFLICT (member_id, days) DO UPDATE SET told_until = EXCLUDED.told_until
            WHERE r.told_until < :unless_told
        """),
        {"member_id": member_id, "days": days, "until": until, "unless_told": unless_told},
    )
    return done.rowcount == 1
