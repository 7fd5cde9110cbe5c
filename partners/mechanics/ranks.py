"""Ranks: members' tiers kept up to what they bought: everybody's, and at once those of whoever bought something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from ledger import feed
from members import standings
from members.standings import Assessment
from members.tiers import STANDARD
from partners import store
from partners.agreements import programme
from partners.agreements.programme import ProgrammeUnknown
from partners.mechanics import facts, registry

STEP = 2_000


async def assess(connection: AsyncConnection, *, at: datetime, after: int = 0, limit: int = STEP) -> Assessment:
    """Add up what the next members bought, and decide their tiers on the ladder in force; go on with `next_after`.

    Without a programme nothing was bought and the standard ladder decides.
    """
    try:
        rules = await programme.read(connection)
    except ProgrammeUnknown:
        return await standings.assess(connection, at=at, after=after, limit=limit, ladder=STANDARD)
    await facts.fold(connection, rules, after=after, limit=limit)
    ladder = await registry.ladder(connection, at=at)
    return await standings.assess(connection, at=at, after=after, limit=limit, ladder=ladder)


async def climb(connection: AsyncConnection, member_ids: Sequence[int], *, at: datetime) -> int:
    """The same of some members who did something just now; how many tiers changed. Rejects PROGRAMME_UNKNOWN."""
    rules = await programme.read(connection)
    await facts.fold(connection, rules, limit=len(member_ids), only=member_ids)
    ladder = await registry.ladder(connection, at=at)
    changes = 0
    for member_id in sorted(member_ids):
        changes += (await standings.assess(connection, at=at, after=member_id - 1, limit=1, ladder=ladder)).changes
    return changes


@dataclass(slots=True)
class Climbers:
    """Follows the journal and decides anew on whoever did something, from when it first looked on. What was before, and
    what a process that ended had not come to, the next assessment of everybody finds."""

    since: int | None = None

    async def step(self, database: Database, *, at: datetime) -> tuple[int, bool]:
        """One step: how many tiers changed, and whether there may be more to read. Raises as `feed.horizon`."""
        if self.since is None:
            self.since = await feed.horizon(database.pool)
            return 0, False
        async with database.reading() as connection:
            partner_ids = await store.partner_ids(connection)
        entries, following = await feed.entries(database.pool, since=self.since, partner_ids=partner_ids)
        member_ids = sorted({entry.place.holder_id for entry in entries})
        changes = 0
        if member_ids:
            async with database.transaction() as connection:
                changes = await climb(connection, member_ids, at=at)
        is_more, self.since = following > self.since, following
        return changes, is_more
