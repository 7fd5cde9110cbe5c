"""Concurrent callers in this process, in a closed loop: each calls again when it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.figures import Slice


def load(callers: int, call: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[Slice]]:
    """A load of callers. call takes the caller's number and answers how many operations it did."""

    async def slice_of(seconds: int) -> Slice:
        latencies: list[float] = []
        done = 0
        began = time.perf_counter()
        end = began + seconds

        async def one(number: int) -> None:
            nonlocal done
            while (called := time.perf_counter()) < end:
                finished = await call(number)  # not `done += await ...`, which would forget what others add meanwhile
                done += finished
                latencies.append((time.perf_counter() - called) * 1000)

        await asyncio.gather(*(one(number) for number in range(callers)))
        return Slice(done, time.perf_counter() - began, latencies)

    return slice_of
