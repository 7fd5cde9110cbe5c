"""Ids that count once: of proofs and of assertions, in every process together.

Concurrent claims go to the database in one statement, so that a bound token costs a share of a round trip a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from gateway.oauth import used_store
from kit.clock import wall
from kit.lane import Busy, Lane


@dataclass(frozen=True, slots=True)
class _Claim:
    used_id: UUID
    until: datetime


class UsedIds:
    """What a process claims ids with. Close it."""

    def __init__(self, pool: asyncpg.Pool, *, now: Callable[[], datetime] = wall) -> None:
        self._pool = pool
        self._now = now
        self._lane: Lane[_Claim, bool] = Lane(self._claim)

    async def claim(self, used_id: UUID, *, until: datetime) -> bool:
        """Whether this is the first time that an id is claimed; until its instant it is remembered.

        Raises what the driver raises, and TimeoutError where too much is queued: where nothing can be remembered,
        nothing is new.
        """
        try:
            return await self._lane.submit(_Claim(used_id, until))
        except Busy as full:
            raise TimeoutError("too many ids wait to be claimed") from full

    async def close(self) -> None:
        """Finish what is under way."""
        await self._lane.close()

    async def _claim(self, claims: Sequence[_Claim]) -> list[bool | Exception]:
        first = {claim.used_id: claim for claim in reversed(claims)}
        fresh = await used_store.claim(self._pool, list(first), [claim.until for claim in first.values()], self._now())
        return [claim.used_id in fresh and first[claim.used_id] is claim for claim in claims]
