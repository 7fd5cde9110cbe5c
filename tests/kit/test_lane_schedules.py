"""The lane on seeded schedules: whatever runs in whatever order, every item is answered once, and in fairness.

A schedule is a seed. The database is a stand-in that delays, fails before or after it has done its work, refuses single
items and returns its rows in any order; what it has done it remembers, because that is what may be compared.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import pytest

from kit.errors import OutcomeUnknown
from kit.lane import MOST_RETRIES, PATIENT_SHARE, WORTH_A_FLIGHT, Busy, Lane
from tests.kit.looping import SeededLoop

SEEDS = 600


class Broken(Exception):  # noqa: N818 - what the stand-in raises when it fails
    """The call failed; whether it had its effect is another matter."""


class Refused(Exception):  # noqa: N818 - a "no" to one item
    """The database says no to one item."""


@dataclass(frozen=True)
class Item:
    """One call of somebody: its number is its idempotency key."""

    number: int
    account: int
    patient: bool
    poisonous: bool = False
    refused: bool = False


@dataclass
class Story:
    """What happened, as its participants saw it."""

    asked: list[Item] = field(default_factory=list)
    lane: Lane[Item, int] | None = None
    answers: dict[int, list[object]] = field(default_factory=dict)
    calls: list[list[Item]] = field(default_factory=list)
    effects: Counter[int] = field(default_factory=Counter)
    order: list[Item] = field(default_factory=list)
    failures: int = 0
    flying: list[list[Item]] = field(default_factory=list)
    unfair: list[str] = field(default_factory=list)
    passed_over: Counter[Item] = field(default_factory=Counter)
    place: dict[Item, int] = field(default_factory=dict)
    turned_away: set[Item] = field(default_factory=set)
    gathered: set[Item] = field(default_factory=set)
    contested: int = 0
    patient_meanwhile: int = 0

    def left(self) -> list[Item]:
        """Who waits in the lane's queues."""
        assert self.lane is not None
        return [entry.item for queue in self.lane._queues.values() for entry in queue]

    def asks(self, shape: Shape, *items: Item) -> None:
        """These are handed to the lane right now."""
        assert self.lane is not None
        waiting = {patient: len(queue) for patient, queue in self.lane._queues.items()}
        for item in items:
            self.asked.append(item)
            if self.lane._closing or waiting[item.patient] >= shape.bound(item.patient):
                self.turned_away.add(item)
            else:
                waiting[item.patient] += 1
            self.place[item] = waiting[True]

    def is_in_a_queue(self, item: Item) -> bool:
        """Whether the lane still keeps it."""
        assert self.lane is not None
        return any(entry.item == item for queue in self.lane._queues.values() for entry in queue)


@dataclass
class Shape:
    """A lane's measures and what its database is like, drawn from the seed."""

    batch_size: int
    queue_size: int
    patient_size: int
    keyed: bool
    flights: int
    abreast: int
    failing: float
    callers: int
    files: int

    def bound(self, patient: bool) -> int:
        """How many of a class may wait."""
        return self.patient_size if patient else self.queue_size

    @classmethod
    def drawn(cls, dice: random.Random) -> Shape:
        return cls(
            batch_size=dice.choice((1, 2, 3, 8, 12, 16)),
            queue_size=dice.choice((3, 10, 1_000)),
            patient_size=dice.choice((4, 20, 1_000)),
            keyed=dice.random() < 0.5,
            flights=dice.choice((1, 1, 2, 3)),
            abreast=dice.choice((1, 1, 2)),
            failing=dice.choice((0.0, 0.0, 0.1, 0.4)),
            callers=dice.randint(1, 40),
            files=dice.randint(0, 3),
        )


class StandIn:
    """A database as a lane's work sees it: an effect by key happens once, however often it is asked for."""

    def __init__(self, story: Story, shape: Shape, dice: random.Random) -> None:
        self._story, self._shape, self._dice = story, shape, dice

    async def __call__(self, items: Sequence[Item]) -> list[int | Exception]:
        story, flight = self._story, list(items)
        assert 1 <= len(items) <= self._shape.batch_size
        story.calls.append(flight)
        story.flying.append(flight)
        assert len(story.flying) <= self._shape.flights
        try:
            await asyncio.sleep(self._dice.choice((0, 0.001, 0.01, self._dice.random())))
            if self._dice.random() < self._shape.failing:
                story.failures += 1
                raise Broken("before")
            if any(item.poisonous for item in items):
                story.failures += 1
                raise Broken("poison")
            rows = [(place, self._done(item)) for place, item in enumerate(items)]
            if self._dice.random() < self._shape.failing:
                story.failures += 1
                raise Broken("after")
            self._dice.shuffle(rows)
            return [answer for _, answer in sorted(rows, key=lambda row: row[0])]
        finally:
            story.flying = [other for other in story.flying if other is not flight]

    def _done(self, item: Item) -> int | Exception:
        if item.refused:
            return Refused(item.number)
        if not self._story.effects[item.number]:
            self._story.effects[item.number] = 1
            self._story.order.append(item)
        return item.number * 7


def watch(lane: Lane[Item, int], story: Story, shape: Shape) -> None:
    """Look at every batch when it is gathered, and at who is left behind."""
    gather = lane._gather

    def gathered() -> list[Any]:
        before = [[entry.item for entry in flight] for flight in lane._flights.values()]
        batch = gather()
        if batch:
            items = [entry.item for entry in batch]
            assert story.gathered.isdisjoint(items), "gathered twice"
            story.gathered.update(items)
            _look_at_flights([*before, items], shape)
            _look_at_batch(items, before, story, shape)
        return batch

    lane._gather = gathered  # type: ignore[method-assign]
    story.lane = lane


def _look_at_flights(flying: list[list[Item]], shape: Shape) -> None:
    """No more batches with ordinary items than may be, and a place for one that patient ones never take."""
    together = [item for flight in flying for item in flight]
    assert len(set(together)) == len(together)
    assert not shape.keyed or len({item.account for item in together}) == len(together), "two of an account at a time"
    assert len(flying) <= shape.flights
    with_ordinary = sum(any(not item.patient for item in flight) for flight in flying)
    assert with_ordinary <= shape.abreast, "too many batches of ordinary items"
    if with_ordinary > 1 and _ordinary(flying[-1]) and not shape.keyed:
        assert len(flying[-1]) >= min(WORTH_A_FLIGHT, shape.batch_size), "not worth a flight"
    assert len(flying) - with_ordinary <= max(1, shape.flights - 1), "no place is left for ordinary items"


def _ordinary(items: list[Item]) -> int:
    return sum(not item.patient for item in items)


def _look_at_batch(items: list[Item], before: list[list[Item]], story: Story, shape: Shape) -> None:
    """Nobody is left behind who could have come along, nor behind somebody who may not go first.

    Ordinary items that are worth a flight of their own, and have one, are not left behind.
    """
    size, left = shape.batch_size, story.left()
    assert 1 <= len(items) <= size
    busy = {item.account for flight in (items, *before) for item in flight} if shape.keyed else set()
    with_ordinary = sum(_ordinary(flight) > 0 for flight in before)
    free = min(shape.abreast - with_ordinary, shape.flights - len(before))
    waiting = _ordinary(left) + _ordinary(items)
    may_be_ordinary = free > 0 and (not with_ordinary or waiting >= min(WORTH_A_FLIGHT, size))
    if may_be_ordinary and free > 1 and _ordinary(left) >= min(WORTH_A_FLIGHT, size):
        left = [item for item in left if item.patient]
    could = [item for item in left if item.account not in busy and (item.patient or may_be_ordinary)]
    ordinary_left = [item for item in could if not item.patient]
    patient = sum(item.patient for item in items)
    if len(items) < size and could:
        story.unfair.append(f"{len(items)} of {size} places are used, and {could[:3]} wait")
    if ordinary_left and patient > ceil(size / PATIENT_SHARE):
        story.unfair.append(f"{patient} patient items before {ordinary_left[:3]}")
    if ordinary_left:
        story.contested += 1
        story.patient_meanwhile += patient
        if story.patient_meanwhile > 1 + story.contested * size / PATIENT_SHARE:
            story.unfair.append(f"{story.patient_meanwhile} patient items in {story.contested} contested batches")
    for item in left:
        story.passed_over[item] += 1
        most = ceil(story.place[item] * PATIENT_SHARE / size)
        if item.patient and not shape.keyed and story.passed_over[item] >= most:
            story.unfair.append(f"{item} was passed over {story.passed_over[item]} times, goes with {most}")


async def _caller(story: Story, shape: Shape, item: Item, dice: random.Random) -> None:
    await asyncio.sleep(dice.choice((0, 0, dice.random() * 2)))
    assert story.lane is not None
    story.asks(shape, item)
    try:
        told: object = await story.lane.submit(item, patient=item.patient)
    except Busy as busy:
        told = busy
    except (Broken, Refused, OutcomeUnknown) as error:
        told = error
    finally:
        assert not story.is_in_a_queue(item), "answered or gone, and still in the queue"
    story.answers.setdefault(item.number, []).append(told)


async def _file(story: Story, shape: Shape, items: list[Item], dice: random.Random) -> None:
    await asyncio.sleep(dice.random())
    assert story.lane is not None
    story.asks(shape, *items)
    try:
        told = await story.lane.submit_all(items)
    finally:
        assert not any(map(story.is_in_a_queue, items)), "answered or gone, and still in the queue"
    for item, answer in zip(items, told, strict=True):
        story.answers.setdefault(item.number, []).append(answer)


def _items(dice: random.Random, shape: Shape) -> tuple[list[Item], list[list[Item]]]:
    numbers = iter(range(10_000))

    def one(patient: bool) -> Item:
        return Item(next(numbers), dice.randint(1, 8), patient, dice.random() < 0.02, dice.random() < 0.05)

    return (
        [one(patient=dice.random() < 0.1) for _ in range(shape.callers)],
        [[one(patient=True) for _ in range(dice.randint(1, 30))] for _ in range(shape.files)],
    )


async def _play(loop: SeededLoop, story: Story, shape: Shape, *, ends: str) -> set[int]:
    """One story; the numbers of items whose callers went away. ends: drained, or aborted in the middle."""
    dice = loop.dice
    lane: Lane[Item, int] = Lane(
        StandIn(story, shape, dice), batch_size=shape.batch_size, queue_size=shape.queue_size,
        patient_size=shape.patient_size, flights=shape.flights, abreast=shape.abreast,
        key=(lambda item: item.account) if shape.keyed else None,
    )  # fmt: skip
    watch(lane, story, shape)
    singles, files = _items(dice, shape)
    tasks = {asyncio.create_task(_caller(story, shape, item, dice)): [item] for item in singles}
    tasks |= {asyncio.create_task(_file(story, shape, items, dice)): items for items in files}
    gone: set[int] = set()
    for task, items in tasks.items():
        if dice.random() < 0.15:
            await asyncio.sleep(dice.random() / 5)
            if not task.done():
                task.cancel()
                gone |= {item.number for item in items}
    if ends == "aborted":
        await asyncio.sleep(dice.random())
        closing = asyncio.create_task(lane.close())
        await asyncio.sleep(dice.random() / 3)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        if closing.cancelled():
            calls = len(story.calls)
            await _all(tasks)
            assert len(story.calls) == calls, "work goes on after the lane was stopped"
    elif dice.random() < 0.5:
        await asyncio.sleep(dice.random() * 2)
        await lane.close()
        assert not lane._flights, "closed and still flying"
        assert not any(lane._queues.values()), "closed and still waiting"
    await _all(tasks)
    await lane.close()
    with pytest.raises(Busy):
        await lane.submit(Item(99_999, 1, False))
    assert not any(lane._queues.values())
    return gone


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Come back when all are done; being cancelled is no failure."""
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


def _look_back(story: Story, shape: Shape, gone: set[int], ends: str) -> None:
    assert story.unfair == []
    assert story.left() == []
    for item in story.asked:
        answers = story.answers.get(item.number, [])
        assert len(answers) == (item.number not in gone) or (item.number in gone and len(answers) == 1), item
        assert item not in story.turned_away or all(isinstance(told, Busy) for told in answers)
        for told in answers:
            if isinstance(told, int):
                assert (told, story.effects[item.number]) == (item.number * 7, 1), item
            elif isinstance(told, Refused):
                assert item.refused
                assert story.effects[item.number] == 0
            elif isinstance(told, Busy):
                assert item in story.turned_away or ends == "aborted", item
                assert all(item not in call for call in story.calls), "who hears Busy was never sent"
            elif isinstance(told, Broken):
                assert story.failures
            else:
                assert isinstance(told, OutcomeUnknown)
    assert set(story.effects.values()) <= {1}
    if shape.keyed and not story.failures:
        for account in range(1, 9):
            for patient in (False, True):
                mine = [item for item in story.order if (item.account, item.patient) == (account, patient)]
                done = [item for item in story.asked if item in set(mine)]
                assert mine == done, "an account's items were overtaken by its own"


def story(seed: int, ends: str) -> Story:
    """What happened under a seed, looked back at."""
    loop = SeededLoop(f"{ends} {seed}")
    told, shape = Story(), Shape.drawn(loop.dice)
    gone = loop.run(_play(loop, told, shape, ends=ends))
    _look_back(told, shape, gone, ends)
    if ends == "drained":
        assert not any(isinstance(one[0], OutcomeUnknown) for one in told.answers.values())
    return told


@pytest.mark.parametrize("ends", ["drained", "aborted"])
def test_on_any_schedule_every_item_is_answered_once_and_in_fairness(ends: str) -> None:
    stories = [story(seed, ends) for seed in range(SEEDS // 2)]
    told = Counter(type(one[0]).__name__ for story in stories for one in story.answers.values())
    assert told["int"] > 1_000
    assert {"Busy", "Broken", "Refused"} <= set(told), told
    assert (ends == "aborted") == ("OutcomeUnknown" in told), told
    assert any(len(call) > 1 and any(item.patient for item in call) for story in stories for call in story.calls)


def test_a_seed_tells_the_same_story_twice() -> None:
    for seed in range(10):
        first, again = story(seed, "drained"), story(seed, "drained")
        assert (first.calls, first.order) == (again.calls, again.order)


# --- One by one ---------------------------------------------------------------------------------------------


def test_one_bad_item_costs_a_few_calls_and_spoils_no_other() -> None:
    loop, story = SeededLoop(1), Story()
    shape = Shape(128, 1_000, 1_000, False, 1, 1, 0.0, 0, 0)

    async def play() -> list[int | Exception]:
        lane: Lane[Item, int] = Lane(StandIn(story, shape, loop.dice), batch_size=128)
        watch(lane, story, shape)
        items = [Item(n, n, True, poisonous=n == 77) for n in range(128)]
        story.asks(shape, *items)
        told = await lane.submit_all(items)
        await lane.close()
        return told

    told = loop.run(play())
    assert [n for n, answer in enumerate(told) if isinstance(answer, Broken)] == [77]
    assert len(story.calls) <= 2 * 7 + 1


def test_a_database_that_is_gone_is_not_asked_once_for_every_item() -> None:
    loop, story = SeededLoop(2), Story()
    shape = Shape(128, 1_000, 1_000, False, 1, 1, 1.0, 0, 0)

    async def play() -> list[int | Exception]:
        lane: Lane[Item, int] = Lane(StandIn(story, shape, loop.dice), batch_size=128)
        watch(lane, story, shape)
        items = [Item(n, n, True) for n in range(128)]
        story.asks(shape, *items)
        told = await lane.submit_all(items)
        await lane.close()
        return told

    assert all(isinstance(answer, Broken) for answer in loop.run(play()))
    assert 1 < len(story.calls) <= MOST_RETRIES + 1
    assert loop.time() < 30


def test_a_database_that_is_slow_to_fail_is_not_asked_for_long() -> None:
    calls = 0

    async def slow(items: Sequence[Item]) -> list[int | Exception]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(4)
        raise Broken("at last")

    async def play() -> list[int | Exception]:
        lane: Lane[Item, int] = Lane(slow)
        told = await lane.submit_all([Item(n, n, True) for n in range(100)])
        await lane.close()
        return told

    assert all(isinstance(answer, Broken) for answer in SeededLoop(6).run(play()))
    assert calls == 2


def test_a_till_that_comes_while_a_file_is_done_waits_for_one_batch_only() -> None:
    loop, story = SeededLoop(3), Story()
    shape = Shape(16, 1_000, 4_000, False, 1, 1, 0.0, 0, 0)

    async def play() -> int:
        lane: Lane[Item, int] = Lane(StandIn(story, shape, loop.dice), batch_size=16, patient_size=4_000)
        watch(lane, story, shape)
        file = asyncio.create_task(_file(story, shape, [Item(n, n, True) for n in range(2_000)], loop.dice))
        while len(story.calls) < 20:
            await asyncio.sleep(0.01)
        before, item = len(story.calls), Item(5_000, 1, False)
        story.asks(shape, item)
        assert await lane.submit(item) == 35_000
        waited = next(n for n, call in enumerate(story.calls) if item in call) - before
        await file
        await lane.close()
        return waited

    assert loop.run(play()) == 0
    assert story.unfair == []


@pytest.mark.parametrize(
    ("waiting", "batches"), [(64, [32, 32]), (33, [17, 16]), (31, [31]), (3, [3]), (200, [100, 100])]
)
def test_who_waits_shares_the_flights_evenly_where_each_is_worth_one(waiting: int, batches: list[int]) -> None:
    taken: list[int] = []

    async def counting(items: Sequence[Item]) -> list[int | Exception]:
        taken.append(len(items))
        await asyncio.sleep(1)
        return [item.number for item in items]

    async def play() -> None:
        lane: Lane[Item, int] = Lane(counting, flights=2, abreast=2)
        items = [Item(number, number, patient=False) for number in range(waiting)]
        assert await lane.submit_all(items, patient=False) == list(range(waiting))
        await lane.close()

    SeededLoop(7).run(play())
    assert taken == batches


def test_few_wait_for_the_batch_that_flies_and_many_fly_beside_it() -> None:
    taken: list[int] = []

    async def counting(items: Sequence[Item]) -> list[int | Exception]:
        taken.append(len(items))
        await asyncio.sleep(1)
        return [item.number for item in items]

    async def play() -> None:
        lane: Lane[Item, int] = Lane(counting, flights=2, abreast=2)
        numbers = iter(range(100))

        async def come(count: int) -> asyncio.Future[list[int]]:
            coming = asyncio.gather(*(lane.submit(Item(next(numbers), 1, patient=False)) for _ in range(count)))
            await asyncio.sleep(0.1)
            return coming

        came = [await come(1)]
        came.append(await come(WORTH_A_FLIGHT - 1))
        assert taken == [1]
        came.append(await come(1))
        assert taken == [1, WORTH_A_FLIGHT]
        came.append(await come(WORTH_A_FLIGHT))
        assert taken == [1, WORTH_A_FLIGHT], "three fly"
        await asyncio.gather(*came)
        await lane.close()

    SeededLoop(7).run(play())
    assert taken == [1, WORTH_A_FLIGHT, WORTH_A_FLIGHT]


def test_with_several_flights_no_till_waits_for_a_file_and_files_fly_side_by_side() -> None:
    loop, story = SeededLoop(7), Story()
    shape = Shape(16, 1_000, 4_000, False, 3, 1, 0.0, 0, 0)
    begun: dict[int, float] = {}
    together = 0

    async def slow(items: Sequence[Item]) -> list[int | Exception]:
        nonlocal together
        together = max(together, sum(all(entry.patient for entry in flight) for flight in story.lane._flights.values()))  # type: ignore[union-attr]
        begun.update((item.number, loop.time()) for item in items)
        await asyncio.sleep(10)
        return [item.number for item in items]

    async def play() -> float:
        lane: Lane[Item, int] = Lane(slow, batch_size=16, patient_size=4_000, flights=3)
        watch(lane, story, shape)
        items = [Item(n, n, True) for n in range(200)]
        story.asks(shape, *items)
        file = asyncio.create_task(lane.submit_all(items))
        await asyncio.sleep(15)
        item = Item(5_000, 1, False)
        story.asks(shape, item)
        asked = loop.time()
        await lane.submit(item)
        await file
        await lane.close()
        return begun[5_000] - asked

    assert loop.run(play()) == 0
    assert together == 2
    assert story.unfair == []


def test_work_that_answers_too_few_items_leaves_nobody_waiting() -> None:
    async def short(items: Sequence[Item]) -> list[int | Exception]:
        return [1] * (len(items) - 1)

    async def play() -> list[int | Exception]:
        lane: Lane[Item, int] = Lane(short)
        told = await lane.submit_all([Item(n, n, True) for n in range(5)])
        await lane.close()
        return told

    told = SeededLoop(4).run(play())
    assert [type(answer) for answer in told] == [OutcomeUnknown] * 5


def test_work_that_is_cancelled_from_within_does_not_end_the_lane() -> None:
    calls = 0

    async def moody(items: Sequence[Item]) -> list[int | Exception]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        return [item.number for item in items]

    async def play() -> tuple[object, int]:
        lane: Lane[Item, int] = Lane(moody)
        first = (await asyncio.gather(lane.submit(Item(1, 1, False)), return_exceptions=True))[0]
        second = await lane.submit(Item(2, 1, False))
        await lane.close()
        return first, second

    first, second = SeededLoop(5).run(play())
    assert (type(first), second) == (OutcomeUnknown, 2)
