"""SQL of corrected birth dates. Private to this package."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_change(connection: AsyncConnection, member_id: int, at: datetime) -> bool:
    """Write down that a birth date was corrected; False where it was before."""
    done = await connection.execute(
        text("""
            INSERT INTO members.birth_date_change (member_id, at) VALUES (:member_id, :at) ON CONFLICT DO NOTHING
        """),
        {"member_id": member_id, "at": at},
    )
    return done.rowcount == 1
