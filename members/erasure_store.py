"""SQL of erasure. Private to this package."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def delete_personal(connection: AsyncConnection, member_id: int) -> None:
    """Delete a member's key, what was sealed with it, and the hashes by which they were found."""
    for statement in (
        "DELETE FROM members.personal WHERE member_id = :member_id",
        "DELETE FROM members.member_key WHERE member_id = :member_id",
        "DELETE FROM members.alias WHERE member_id = :member_id",
    ):
        await connection.execute(text(statement), {"member_id": member_id})


async def close(connection: AsyncConnection, member_id: int) -> None:
    """End a membership."""
    await connection.execute(
        text("""
            UPDATE members.member SET status = 'CLOSED', pin_hash = NULL, pin_failures = 0, pin_tried_at = NULL
            WHERE member_id = :member_id
        """),
        {"member_id": member_id},
    )
