"""Closed clubs: who bears a club's badge is in it, and to everybody else it is as if it were not there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from members import badges


async def invite(connection: AsyncConnection, member_id: int, badge: str, *, actor: int, at: datetime) -> None:
    """Let a member into a club on behalf of somebody in ONBOARDING: give them its badge.

    Rejects NOT_PERMITTED, BADGE_INVALID, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    await actors.require_role(connection, actor, actors.ONBOARDING)
    await badges.give(connection, member_id, badge, cause=badges.by_hand(member_id, badge, at), at=at)
    detail = {"badge": badge}
    await audit.write(
        connection, actor=actor, action="CLUB_INVITED", subject=f"member:{member_id}", detail=detail, at=at
    )
