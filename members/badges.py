"""Badges: what a member bears, worth nothing by itself. An achievement, a club's card, a discount card are badges; what
they open is said by rules (`who.badges`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from members import badge_store, sharing

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


class BadgeInvalid(Rejection):
    """A badge's code that cannot be one, or an end that has come."""

    code = "BADGE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Badge:
    """A badge that a member bears, since when and until when (None: it has no end)."""

    code: str
    at: datetime
    expires_at: datetime | None


async def give(
    connection: AsyncConnection,
    member_id: int,
    badge: str,
    *,
    cause: UUID,
    at: datetime,
    expires_at: datetime | None = None,
) -> bool:
    """Give a member a badge for a cause, once; False where they had it for it.

    Rejects BADGE_INVALID, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    if not _CODE.fullmatch(badge) or (expires_at is not None and expires_at <= at):
        raise BadgeInvalid("a badge has a code of 1 to 64 letters, digits and _ . : - and ends later than it begins")
    member = await sharing.person(connection, member_id)
    return await badge_store.insert(connection, member.member_id, badge, cause, at, expires_at)


async def revoke(connection: AsyncConnection, member_id: int, badge: str, *, at: datetime) -> bool:
    """Take a badge from a member, whatever it was given for; False where they bear none."""
    return await badge_store.revoke(connection, member_id, badge, at) > 0


async def borne(connection: AsyncConnection, member_id: int, *, at: datetime) -> list[Badge]:
    """The badges that a member bears at an instant, by code, each with its latest end."""
    return [Badge(row.badge, row.at, row.expires_at) for row in await badge_store.borne(connection, member_id, at)]
