"""Allowances: how much a client may ask for, held across processes without a write per request.

An allowance is a bucket of points of cost that fills again by the second. The buckets are rows of the database; a
process leases a share of one for a second, hands it out by itself, and gives back what is left. So the sum that all
processes hand out is bounded by the bucket, and a process that dies takes at most its share along. Instants are the
wall's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import structlog
from msgspec import Struct

from gateway.gate import allowance_store
from gateway.masking import is_unavailable
from kit.clock import wall

LEASE_SECONDS = 1.0
MICRO = 1_000_000

COST, DOCUMENTS, MISSES, TOKENS = 1, 2, 3, 4
Key = tuple[int, int, int]  # client, member or 0, kind

log = structlog.get_logger("gateway.allowances")


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most that may be asked for at once, and how much of it comes back in a second; in points of cost."""

    burst: int
    restore_per_second: int

    def hundredth(self) -> Allowance:
        """The allowance of what costs a hundred times as much: new documents, look-ups that find nobody."""
        return Allowance(max(60, self.restore_per_second * 60 // 100), max(1, self.restore_per_second // 100))


STANDARD = Allowance(2_000, 100)
LARGE = Allowance(20_000, 1_000)
MEMBER = Allowance(200, 10)
"""Of one member in the members' own app."""


class Status(Struct, frozen=True):
    """How an allowance stands as far as this process knows, in points of cost."""

    maximum: int
    currently: int
    restore_per_second: int

    def as_extension(self) -> dict[str, int]:
        """The `throttleStatus` of an answer."""
        return {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": self.currently,
            "restoreRate": self.restore_per_second,
        }


class Exhausted(Exception):  # noqa: N818 - that is what the allowance is
    """There is less left of one kind than was asked for; in wait_seconds there will be enough."""

    def __init__(self, kind: int, status: Status, wait_seconds: int) -> None:
        super().__init__("the allowance is used up")
        self.kind = kind
        self.status = status
        self.wait_seconds = wait_seconds


@dataclass(slots=True)
class Share:
    """What this process may hand out of one bucket, in millionths of a point, and what it knows of the rest."""

    key: Key
    allowance: Allowance
    held: int = 0
    level: int = 0
    told_at: float = 0.0
    ends_at: float = float("-inf")
    dry_from: int = 0
    dry_until: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def status(self, now: float) -> Status:
        """How the bucket stands at a reading of the monotonic clock, what others took meanwhile left aside."""
        restored = int((now - self.told_at) * self.allowance.restore_per_second * MICRO)
        currently = min(self.allowance.burst, max(0, self.held + self.level + restored) // MICRO)
        return Status(self.allowance.burst, currently, self.allowance.restore_per_second)


class Allowances:
    """One process's shares of all buckets. `take` is what a request calls."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        now: Callable[[], datetime] = wall,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._now = now
        self._monotonic = monotonic
        self._shares: dict[Key, Share] = {}

    async def take(self, key: Key, allowance: Allowance, points: int) -> Share:
        """Hand out points of a bucket. Raises Exhausted; without a call to the database while the lease lasts."""
        share = self._shares.get(key)
        if share is None or share.allowance is not allowance:
            share = self._share(key, allowance)
        wanted = points * MICRO
        now = self._monotonic()
        if share.held < wanted or now >= share.ends_at:
            await self._renew(share, wanted, now)
        share.held -= wanted
        return share

    def refund(self, share: Share, points: int) -> None:
        """Take back points that were handed out and not used; negative ones were used beyond what was asked for."""
        share.held += points * MICRO

    def status(self, share: Share) -> Status:
        """How a share's bucket stands."""
        return share.status(self._monotonic())

    async def give_back(self, *, all_of_it: bool = False) -> None:
        """Return the shares whose lease has ended, or all, to their buckets, and forget them."""
        now = self._monotonic()
        ended = [
            share
            for share in self._shares.values()
            if not share.lock.locked() and (all_of_it or (now >= share.ends_at and now >= share.dry_until))
        ]
        for share in ended:
            del self._shares[share.key]
        left = [(*share.key, share.allowance.burst * MICRO, share.held) for share in ended if share.held]
        for share in ended:
            share.held, share.ends_at = 0, float("-inf")  # a request that still has it in hand leases anew
        if left:
            await allowance_store.give_back(self._pool, left)

    def _share(self, key: Key, allowance: Allowance) -> Share:
        share = self._shares.setdefault(key, Share(key, allowance))
        share.allowance = allowance
        return share

    async def _renew(self, share: Share, wanted: int, now: float) -> None:
        async with share.lock:
            if share.held >= wanted and now < share.ends_at:
                return
            if now < share.dry_until and wanted >= share.dry_from:
                raise self._exhausted(share, wanted)
            await self._lease(share, wanted)
        if share.held < wanted:
            raise self._exhausted(share, wanted)

    async def _lease(self, share: Share, wanted: int) -> None:
        allowance = share.allowance
        slice_points = max(allowance.restore_per_second * LEASE_SECONDS, allowance.burst // 8)
        returned, share.held = share.held, 0  # what comes meanwhile is counted into the new share
        asked_at = self._monotonic()
        try:
            share.level, granted = await allowance_store.lease(
                self._pool,
                share.key,
                needed=wanted,
                whole=allowance.burst * MICRO,
                wanted=max(wanted, int(slice_points) * MICRO),
                returned=returned,
                restored_per_second=allowance.restore_per_second * MICRO,
                at=self._now(),
            )
        except BaseException:
            share.held += returned
            raise
        share.held += granted
        share.told_at, share.ends_at = asked_at, asked_at + LEASE_SECONDS
        if granted < wanted:
            wait_seconds = self._wait_seconds(share, wanted)
            share.dry_from, share.dry_until = wanted, asked_at + min(LEASE_SECONDS, wait_seconds)

    def _exhausted(self, share: Share, wanted: int) -> Exhausted:
        return Exhausted(share.key[2], self.status(share), max(1, math.ceil(self._wait_seconds(share, wanted))))

    def _wait_seconds(self, share: Share, wanted: int) -> float:
        missing = wanted - max(0, share.held) - share.level
        return max(0.0, missing / (share.allowance.restore_per_second * MICRO))


async def every_second(work: Callable[[], Coroutine[Any, Any, None]], *, seconds: float = LEASE_SECONDS) -> None:
    """Do something again and again until cancelled; a database that is away is no reason to stop."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:
            if not is_unavailable(error):
                log.error("defect", exc_info=error)


async def at_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do something last, if the database still lets us."""
    with suppress(Exception):
        await asyncio.wait_for(work, LEASE_SECONDS)
