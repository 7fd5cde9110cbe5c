"""Closed clubs: who bears a club's badge is in it, and to everybody else it is as if it were not there."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from members import badges


async def invite(connection: AsyncConnection, member_id: int, badge: str, *, actor: int, at: datetime) -> None:
    """Let a member into a club on behalf of somebody in ONBOARDING: give them its badge.

    Rejects NOT_PERMITTED, BADGE_INVALID, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    await actors.require_role(connection, actor, actors.ONBOARDING)
    # An invitation is a cause of its own: of the instant alone, who was put out would not come in again on a clock that
    # stands still.
    await badges.give(connection, member_id, badge, cause=uuid4(), at=at)
    detail = {"badge": badge}
    await audit.write(
        connection, actor=actor, action="CLUB_INVITED", subject=f"member:{member_id}", detail=detail, at=at
    )


async def put_out(connection: AsyncConnection, member_id: int, badge: str, *, actor: int, at: datetime) -> bool:
    """Put a member out of a club, who leaves or has to, on behalf of somebody in ONBOARDING: take its badge, whatever
    it was given for. False where they bear none: nothing is written.

    Rejects NOT_PERMITTED.
    """
    await actors.require_role(connection, actor, actors.ONBOARDING)
    if not await badges.revoke(connection, member_id, badge, at=at):
        return False
    detail = {"badge": badge}
    await audit.write(
        connection, actor=actor, action="CLUB_LEFT", subject=f"member:{member_id}", detail=detail, at=at
    )  # fmt: skip
    return True
