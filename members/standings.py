"""Standings: which tier a member holds at a moment, and the assessment that decides it from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import accounts
from members import store, succession_store, tiers
from members.cards import MemberUnknown
from members.tiers import Standing


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one call of `assess` did: members looked at, tiers written, and where to go on (None: at the end)."""

    members: int
    changes: int
    next_after: int | None


async def assess(connection: AsyncConnection, *, at: datetime, after: int = 0, limit: int = 10_000) -> Assessment:
    """Decide the tiers of up to `limit` active members, in order of their numbers beyond `after`, from the points that
    qualify at an instant. A tier reached counts at once; one that was reached stays until its end.

    Writes where the tier changes or begins anew, nowhere else, so it may be repeated. Each call is one transaction's
    work: go on with `next_after`.
    """
    held = await store.members_to_assess(connection, after, limit)
    points = await _qualifying(connection, [row.member_id for row in held], at)
    changes = [
        (row.member_id, standing, points[row.member_id])
        for row in held
        if (standing := tiers.reassess(row.tier, row.tier_until, points[row.member_id], at=at)) is not None
    ]
    if changes:
        await store.write_assessments(
            connection,
            at,
            [member_id for member_id, _, _ in changes],
            [standing.tier for _, standing, _ in changes],
            [qualifying for _, _, qualifying in changes],
            [standing.until for _, standing, _ in changes],
        )
    return Assessment(len(held), len(changes), held[-1].member_id if len(held) == limit else None)


async def standing(connection: AsyncConnection, member_id: int, at: datetime) -> Standing:
    """A member's tier as assessed by an instant, its end, and the points that are missing for the next one.

    Rejects MEMBER_UNKNOWN.
    """
    member = await store.member_by_id(connection, member_id)
    if member is None:
        raise MemberUnknown
    member_id = member.member_id
    row = await store.last_assessment(connection, member_id, at)
    tier, until = (row.tier, row.until) if row else (tiers.BASE, None)
    points = await _qualifying(connection, [member_id], at)
    return Standing(tier, until, tiers.points_to_next(tier, points[member_id]))


async def _qualifying(connection: AsyncConnection, member_ids: Sequence[int], at: datetime) -> dict[int, int]:
    """Points that qualify at an instant per member, with those of everybody who was merged into them."""
    merged = await succession_store.merged_into(connection, member_ids)
    since = tiers.qualifying_since(at)
    points = await accounts.qualifying(connection, [*member_ids, *merged], accounts.POINTS, since, at)
    sums = {member_id: points[member_id] for member_id in member_ids}
    for member_id, survivor_id in merged.items():
        sums[survivor_id] += points[member_id]
    return sums
