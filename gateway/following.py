"""Following the journal: one reader per process, which tells everybody who listens.

However many listen, a step is two or three statements. It runs while somebody listens and rests otherwise. Whoever
listens for balances hears only that a holder's account moved, the latest number replacing the one before; whoever
listens for transactions has a queue that ends when it is full, to be taken up again by cursor.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog

from gateway.masking import is_unavailable
from ledger import feed as journal
from partners.receipts import feed as receipts
from partners.receipts.feed import Posted

STEP_SECONDS = 0.5
MOST_WAITING = 500
ENTRIES_A_STEP = 5_000

log = structlog.get_logger("gateway.following")


class Resync(Exception):  # noqa: N818 - it is what the listener should do
    """More was posted than the listener took; it should begin again behind its last cursor."""


class BalanceListener:
    """Hears when a holder's account has moved."""

    def __init__(self, holder_id: int) -> None:
        self.holder_id = holder_id
        self._moved = asyncio.Event()

    async def moved(self) -> None:
        """Wait for the next movement; several since the last call are one."""
        await self._moved.wait()
        self._moved.clear()

    def tell(self) -> None:
        """The account moved."""
        self._moved.set()


class TransactionListener:
    """Hears of a partner's transactions from a transaction number on."""

    def __init__(self, partner_id: int, since: int) -> None:
        self.partner_id = partner_id
        self.since = since
        self._waiting: deque[Posted] = deque()
        self._filled = asyncio.Event()
        self._overflowed = False

    async def posted(self) -> Posted:
        """The next transaction. Raises Resync when more came than could wait."""
        while not self._waiting:
            if self._overflowed:
                raise Resync
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()

    def tell(self, posted: Posted) -> None:
        """A transaction was posted."""
        if len(self._waiting) >= MOST_WAITING:
            self._overflowed = True
        if not self._overflowed:
            self._waiting.append(posted)
        self._filled.set()


class Follower:
    """One process's reader of the journal."""

    def __init__(self, pool: asyncpg.Pool, *, step_seconds: float = STEP_SECONDS) -> None:
        self._pool = pool
        self._step_seconds = step_seconds
        self._lock = asyncio.Lock()
        self._by_holder: defaultdict[int, set[BalanceListener]] = defaultdict(set)
        self._by_partner: defaultdict[int, set[TransactionListener]] = defaultdict(set)
        self._read_until: int | None = None
        self._running: asyncio.Task[None] | None = None
        self.steps = 0

    @asynccontextmanager
    async def balance(self, holder_id: int) -> AsyncIterator[BalanceListener]:
        """A listener for a holder's account, from now on."""
        listener = BalanceListener(holder_id)
        async with self._lock:
            await self._begin()
            self._by_holder[holder_id].add(listener)
        try:
            yield listener
        finally:
            self._leave(self._by_holder, holder_id, listener)

    @asynccontextmanager
    async def transactions(self, partner_id: int) -> AsyncIterator[TransactionListener]:
        """A listener for a partner's transactions, from its `since` on."""
        async with self._lock:
            since = await self._begin()
            listener = TransactionListener(partner_id, since)
            self._by_partner[partner_id].add(listener)
        try:
            yield listener
        finally:
            self._leave(self._by_partner, partner_id, listener)

    async def close(self) -> None:
        """Stop reading."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def step(self) -> bool:
        """Read on once and tell who listens; whether there may be more at once."""
        async with self._lock:  # who comes meanwhile is among neither these holders nor these partners
            if self._read_until is None:
                return False
            self.steps += 1
            entries, until = await journal.entries(
                self._pool,
                since=self._read_until,
                holder_ids=list(self._by_holder),
                partner_ids=list(self._by_partner),
                limit=ENTRIES_A_STEP,
            )
            of_partners = [entry for entry in entries if entry.partner_id in self._by_partner]
            told = await receipts.posted(self._pool, of_partners)
            is_behind = until > self._read_until and len(entries) > 0
            self._read_until = until
        for holder_id in {entry.place.holder_id for entry in entries}:
            for each in self._by_holder.get(holder_id, ()):
                each.tell()
        for posted in told:
            for listener in self._by_partner.get(posted.receipt.partner_id, ()):
                listener.tell(posted)
        return is_behind

    async def _begin(self) -> int:
        if self._read_until is None:
            self._read_until = await journal.horizon(self._pool)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._follow(), name="following")
        return self._read_until

    async def _follow(self) -> None:
        while self._by_holder or self._by_partner or self._lock.locked():
            try:
                is_behind = await self.step()
            except Exception as error:
                log.error("unavailable" if is_unavailable(error) else "defect", exc_info=error)
                is_behind = False
            await asyncio.sleep(0 if is_behind else self._step_seconds)
        self._read_until = None

    @staticmethod
    def _leave(listening: dict[int, set[Any]], key: int, listener: object) -> None:
        listening[key].discard(listener)
        if not listening[key]:
            del listening[key]


@asynccontextmanager
async def opened(pool: asyncpg.Pool, *, step_seconds: float = STEP_SECONDS) -> AsyncIterator[Follower]:
    """A process's follower, stopped at the end."""
    follower = Follower(pool, step_seconds=step_seconds)
    try:
        yield follower
    finally:
        await follower.close()
