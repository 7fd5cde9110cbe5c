"""The lane: batches while one is in flight, bounded, one bad item spoils nobody's call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kit.lane import Busy, Lane


class Work:
    """Doubles numbers, remembers its batches, and waits at a gate when told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        await self.gate.wait()
        if 13 in items:
            raise ValueError("unlucky")
        return [ValueError(str(item)) if item < 0 else item * 2 for item in items]


async def test_a_lone_caller_is_served_at_once() -> None:
    work = Work()
    lane: Lane[int, int] = Lane(work)
    assert await lane.submit(21) == 42
    await lane.close()


async def test_what_arrives_while_a_batch_is_in_flight_goes_together_in_the_next() -> None:
    work = Work()
    work.gate.clear()
    lane: Lane[int, int] = Lane(work, batch_size=3)
    callers = [asyncio.create_task(lane.submit(1))]
    while not work.batches:
        await asyncio.sleep(0)
    callers += [asyncio.create_task(lane.submit(number)) for number in (2, 3, 4, 5)]
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(*callers) == [2, 4, 6, 8, 10]
    assert work.batches == [[1], [2, 3, 4], [5]]
    await lane.close()


async def test_an_answer_that_is_an_exception_is_raised_to_its_own_caller_only() -> None:
    lane: Lane[int, int] = Lane(Work())
    good, bad = await asyncio.gather(lane.submit(1), lane.submit(-1), return_exceptions=True)
    assert good == 2
    assert isinstance(bad, ValueError)
    await lane.close()


async def test_when_a_batch_fails_its_items_are_tried_one_by_one() -> None:
    lane: Lane[int, int] = Lane(Work())
    found = await asyncio.gather(*(lane.submit(number) for number in (1, 13, 2)), return_exceptions=True)
    assert (found[0], found[2]) == (2, 4)
    assert isinstance(found[1], ValueError)
    await lane.close()


async def test_a_full_queue_answers_busy_instead_of_growing() -> None:
    work = Work()
    work.gate.clear()
    lane: Lane[int, int] = Lane(work, queue_size=2, batch_size=1)
    callers = [asyncio.create_task(lane.submit(1))]
    while not work.batches:
        await asyncio.sleep(0)
    callers += [asyncio.create_task(lane.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await lane.submit(4)
    work.gate.set()
    assert await asyncio.gather(*callers) == [2, 4, 6]
    await lane.close()


async def test_a_caller_that_goes_away_takes_its_item_out_of_the_queue() -> None:
    work = Work()
    work.gate.clear()
    lane: Lane[int, int] = Lane(work, batch_size=1)
    first = asyncio.create_task(lane.submit(1))
    while not work.batches:
        await asyncio.sleep(0)
    gone = asyncio.create_task(lane.submit(2))
    await asyncio.sleep(0)
    gone.cancel()
    work.gate.set()
    assert await first == 2
    await lane.close()
    assert work.batches == [[1]]


async def test_closing_finishes_what_is_queued_and_refuses_what_comes_later() -> None:
    work = Work()
    work.gate.clear()
    lane: Lane[int, int] = Lane(work, batch_size=1)
    callers = [asyncio.create_task(lane.submit(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(lane.close())
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await lane.submit(4)
    work.gate.set()
    await closing
    assert await asyncio.gather(*callers) == [2, 4, 6]
