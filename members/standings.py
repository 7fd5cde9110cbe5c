"""Standings: which tier a member holds at a moment, and the assessment that decides it from the ledger and from what
was bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import accounts
from members import standing_store, store, succession_store, tiers
from members.cards import MemberUnknown
from members.tiers import STANDARD, Activity, Ladder, Standing


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one call of `assess` did: members looked at, tiers written, and where to go on (None: at the end)."""

    members: int
    changes: int
    next_after: int | None


async def assess(
    connection: AsyncConnection, *, at: datetime, after: int = 0, limit: int = 10_000, ladder: Ladder = STANDARD
) -> Assessment:
    """Decide the tiers of up to `limit` active members, in order of their numbers beyond `after`, on a ladder from what
    qualifies at an instant. A tier reached counts at once; one that was reached stays until its end.

    What was bought is what is added up of it by then. Writes where the tier changes or begins anew, nowhere else, so it
    may be repeated. Each call is one transaction's work: go on with `next_after`.
    """
    held = await store.members_to_assess(connection, after, limit)
    enrolled = {row.member_id: row.enrolled_at for row in held}
    done = await _activity(connection, ladder, enrolled, at)
    changes = [
        (row.member_id, standing)
        for row in held
        if (
            standing := tiers.decide(
                ladder, row.tier, row.tier_until, done[row.member_id], at=at, enrolled_at=row.enrolled_at
            )
        )
        is not None
    ]
    if changes:
        await store.write_assessments(
            connection,
            at,
            ladder.version,
            [
                (member_id, standing.tier, standing.until, done[member_id].points, asdict(done[member_id]))
                for member_id, standing in changes
            ],
        )
    return Assessment(len(held), len(changes), held[-1].member_id if len(held) == limit else None)


async def standing(connection: AsyncConnection, member_id: int, at: datetime, *, ladder: Ladder = STANDARD) -> Standing:
    """A member's tier as assessed by an instant, its end, and what is missing for the next one.

    Rejects MEMBER_UNKNOWN.
    """
    member = await store.member_by_id(connection, member_id)
    if member is None:
        raise MemberUnknown
    member_id = member.member_id
    row = await store.last_assessment(connection, member_id, at)
    tier, until = (row.tier, row.until) if row else (tiers.BASE, None)
    enrolled = await standing_store.enrolled_at(connection, member_id)
    done = await _activity(connection, ladder, {member_id: enrolled}, at)
    return tiers.standing_of(ladder, tier, until, done[member_id])


async def enrolled_at(connection: AsyncConnection, member_id: int) -> datetime:
    """Since when somebody takes part, by the number of a member who is there."""
    return await standing_store.enrolled_at(connection, member_id)


async def _activity(
    connection: AsyncConnection, ladder: Ladder, enrolled: Mapping[int, datetime], at: datetime
) -> dict[int, Activity]:
    """What members did in a ladder's qualifying period, with what everybody did who was merged into them."""
    member_ids = list(enrolled)
    since = ladder.since(at)
    merged = await succession_store.merged_into(connection, member_ids)
    points = await _points(connection, member_ids, merged, since, at)
    bought = {row.member_id: row for row in await standing_store.bought(connection, member_ids, since, at, ladder.zone)}
    return {
        member_id: Activity(
            points=points[member_id] + (bought[member_id].credits if member_id in bought else 0),
            amount_minor=bought[member_id].amount_minor if member_id in bought else 0,
            purchases=bought[member_id].purchases if member_id in bought else 0,
            partners=bought[member_id].partners if member_id in bought else 0,
            tenure_days=max((at - enrolled_at).days, 0),
        )
        for member_id, enrolled_at in enrolled.items()
    }


async def _points(
    connection: AsyncConnection, member_ids: Sequence[int], merged: Mapping[int, int], since: datetime, at: datetime
) -> dict[int, int]:
    points = await accounts.qualifying(connection, [*member_ids, *merged], accounts.POINTS, since, at)
    sums = {member_id: points[member_id] for member_id in member_ids}
    for member_id, survivor_id in merged.items():
        sums[survivor_id] += points[member_id]
    return sums
