"""What is done first and what is refused when there is more to do than can be done.

So many operations run at once; the others wait, briefly, by rank and then in order of arrival. A rank is how late
something is refused: reads and batches go first, then what earns, and last what spends or takes back, because somebody
stands at a till with money or goods in hand. Whoever waits too long, or is pushed out by a higher rank, hears 503 with
Retry-After.

To refuse costs a quarter of what it costs to serve. Callers who are refused at once and ask again at once would leave
nothing for the others, so a flood is not answered as fast as it asks: a refusal is not told before the patience ends,
and for so many served only one is refused. Who has waited long enough goes on waiting until then, up to a longest wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

LOWEST_RANK, HIGHEST_RANK = 0, 2
PATIENCE_SECONDS = 1.0
LONGEST_SECONDS = 4.0
SERVED_PER_REFUSAL = 3
REFUSALS_AT_ONCE = 64
"""As many as are told without anybody being served."""
LOOK_SECONDS = 0.05
RETRY_SECONDS = (4, 2, 1)
"""By rank: what matters most comes back first."""


class Overloaded(Exception):  # noqa: N818 - that is what we are
    """There is too much to do; in retry_seconds there may be less. It is to be told in hold_seconds."""

    def __init__(self, retry_seconds: int, hold_seconds: float = 0.0) -> None:
        super().__init__("too much to do")
        self.retry_seconds = retry_seconds
        self.hold_seconds = hold_seconds


class Turnstile:
    """Lets so many operations run at once and so many wait; both counts are of one process.

    `enter` and `leave` belong together. Who has waited for patience_seconds is refused as the served allow it, after
    longest_seconds in any case. A share of the places is kept from the lower ranks, so that what matters most
    finds one without waiting for a read to end: rank 0 uses at most half of them, rank 1 three quarters.
    """

    def __init__(
        self,
        places: int,
        *,
        waiting: int | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = (max(1, places // 2), max(1, places * 3 // 4), places)
        self._most_waiting = places * 16 if waiting is None else waiting
        self._patience_seconds = patience_seconds
        self._more_seconds = max(0.0, longest_seconds - patience_seconds)
        self._refusable = SERVED_PER_REFUSAL * REFUSALS_AT_ONCE  # in served
        self._monotonic = monotonic
        self._inside = 0
        self._queues: tuple[deque[tuple[float, asyncio.Future[None]]], ...] = (deque(), deque(), deque())
        self._waiting = 0
        self._watch: asyncio.TimerHandle | None = None
        self.refused = [0, 0, 0]

    @property
    def inside(self) -> int:
        """How many run now."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._waiting

    async def enter(self, rank: int) -> None:
        """Wait for a place. Raises Overloaded when none comes free in time, or somebody of a higher rank needs it."""
        if self._inside < self._open[rank] and not self._waiting:
            self._inside += 1
            return
        if self._waiting >= self._most_waiting and not self._push_out_below(rank):
            self.refused[rank] += 1
            raise Overloaded(RETRY_SECONDS[rank], self._patience_seconds)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[rank].append((self._monotonic() + self._patience_seconds, place))
        self._waiting += 1
        self._let_in()
        self._look_again_in(self._patience_seconds)
        try:
            await place
        except asyncio.CancelledError:
            self._forget(rank, place)
            raise

    def leave(self) -> None:
        """Give the place to whoever comes next."""
        self._inside -= 1
        self._refusable = min(self._refusable + 1, SERVED_PER_REFUSAL * REFUSALS_AT_ONCE)
        if self._waiting:
            self._let_in()

    def expire(self) -> None:
        """Refuse those who have waited long enough, the lowest rank first, as far as the served allow it."""
        now = self._monotonic()
        for rank, queue in enumerate(self._queues):
            while queue and queue[0][0] <= now:
                if self._refusable >= SERVED_PER_REFUSAL:
                    self._refusable -= SERVED_PER_REFUSAL
                elif queue[0][0] + self._more_seconds > now:
                    break
                self._refuse(rank, queue.popleft(), now)

    def _let_in(self) -> None:
        for rank in range(HIGHEST_RANK, LOWEST_RANK - 1, -1):
            queue = self._queues[rank]
            while queue and self._inside < self._open[rank]:
                _, place = queue.popleft()
                self._waiting -= 1
                self._inside += 1
                place.set_result(None)

    def _push_out_below(self, rank: int) -> bool:
        for lower in range(LOWEST_RANK, rank):
            if queue := self._queues[lower]:
                self._refuse(lower, queue.pop(), self._monotonic())  # of the lowest the one who came last
                return True
        return False

    def _refuse(self, rank: int, entry: tuple[float, asyncio.Future[None]], now: float) -> None:
        patient_until, place = entry
        self._waiting -= 1
        self.refused[rank] += 1
        place.set_exception(Overloaded(RETRY_SECONDS[rank], max(0.0, patient_until - now)))

    def _forget(self, rank: int, place: asyncio.Future[None]) -> None:
        if place.done() and not place.cancelled():
            if place.exception() is None:  # let in, and gone in the same moment
                self.leave()
            return
        self._queues[rank].remove(next(entry for entry in self._queues[rank] if entry[1] is place))
        self._waiting -= 1

    def _look_again_in(self, seconds: float) -> None:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._watch = None
        self.expire()
        ends = [queue[0][0] for queue in self._queues if queue]
        if ends:
            self._look_again_in(max(LOOK_SECONDS, min(ends) - self._monotonic()))
