"""SQL of persons. Private to this package."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def phone_lookup(connection: AsyncConnection, member_id: int) -> UUID | None:
    """The keyed hash of the phone number that a member, or one merged into them, is found by: the least, of several."""
    found = await connection.execute(
        text("""
            SELECT lookup FROM members.alias
            WHERE member_id IN (SELECT members.selves(:member_id)) AND kind = 'PHONE' ORDER BY lookup LIMIT 1
        """),
        {"member_id": member_id},
    )
    return found.scalar_one_or_none()


async def was_given(connection: AsyncConnection, person: UUID, what: str) -> bool:
    """Whether a person was given something before."""
    found = await connection.execute(text("SELECT members.was_given(:person, :what)"), {"person": person, "what": what})
    return bool(found.scalar_one())
