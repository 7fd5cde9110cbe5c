"""An event loop without a clock and without a network: what is ready runs in an order that a seed decides.

Time stands still while anything is ready, then jumps to the next timer. So a run is the same whenever its seed is, and
takes no longer than its work.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

MOST_STEPS = 100_000

Result = TypeVar("Result")


class Stuck(AssertionError):  # noqa: N818 - it says how it stands
    """Somebody waits, and waits in vain."""


class SeededLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as tasks, futures, events, sleeps and time-outs ask for."""

    def __init__(self, seed: object) -> None:
        self.dice = random.Random(f"{seed}")
        self.steps = 0
        self.complaints: list[dict[str, Any]] = []
        self._now = 0.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._running = False

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        """Run until main is done; its answer. Raises Stuck, and what was raised where nobody listens."""
        asyncio._set_running_loop(self)
        self._running = True
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            while self._ready:
                self._step()
        finally:
            self._running = False
            asyncio._set_running_loop(None)
        if self.complaints:
            raise AssertionError(self.complaints)
        return task.result()

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck(f"not done after {MOST_STEPS} steps")
        if not self._ready:
            if not self._timers:
                raise Stuck("nothing will happen any more")
            self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        place = self.dice.randrange(len(self._ready))
        self._ready[place], self._ready[-1] = self._ready[-1], self._ready[place]
        handle = self._ready.pop()
        if not handle.cancelled():
            handle._run()

    # --- What asyncio asks of a loop ------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, len(self._timers) + self.steps * 1_000, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **options)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in its place and does nothing when its time comes."""
