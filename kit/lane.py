"""A lane: concurrent callers' items go to the database in batches, the next gathered while others are in flight.

No timer: a lone caller waits for nobody. Both queues are bounded, and a full one answers BUSY instead of growing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kit.errors import OutcomeUnknown, Rejection

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PATIENT_SHARE = 8  # patient items have one place in so many, however many others wait
WORTH_A_FLIGHT = 16  # ordinary items that fly beside others of their kind; fewer had better wait
MOST_RETRIES = 32  # calls that a failed batch may cost beside itself
RETRY_SECONDS = 5


class Busy(Rejection):
    """Too much is queued, or something is locked too long; the same call with the same key is welcome in a moment."""

    code = "BUSY"
    retryable = True

    def __init__(self, why: str = "too much is queued") -> None:
        super().__init__(f"{why}; call again in a moment with the same idempotency key")


@dataclass(slots=True, eq=False)
class _Entry(Generic[Item, Answer]):
    item: Item
    patient: bool
    key: Hashable
    answer: asyncio.Future[Answer]


class Lane(Generic[Item, Answer]):
    """Runs `work` on batches of items, up to `flights` at a time.

    Somebody stands and waits for an ordinary item; a patient one is part of a file. Ordinary items go first, each class
    in order of arrival. Of batches with such items `abreast` fly at a time; those that wait share the free flights
    evenly, but beside another such batch none flies with fewer than WORTH_A_FLIGHT: it would only be smaller. With
    several flights the last is never taken by a batch of patient items alone, so that no till waits for a file.
    Patient items fill what is left of a batch, and one place in PATIENT_SHARE is theirs in any case: of those that
    wait, the nth goes at the latest with batch n * PATIENT_SHARE / batch_size, rounded up. The classes do not share a
    bound, so that files never make a till hear BUSY.

    Where `key` tells whose an item is, no two of one key fly together, and those of a class go in order of arrival.

    work takes 1 to batch_size items and returns one answer per item, an answer being possibly an exception to raise
    to that caller. When work itself raises, the batch is tried again in halves, which idempotency keys make safe, so
    that one bad item spoils nobody's call. That ends after MOST_RETRIES calls or RETRY_SECONDS: who is not answered by
    then hears what work raised, and knows no more than that.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        batch_size: int = 128,
        queue_size: int = 2048,
        patient_size: int = 4096,
        flights: int = 1,
        abreast: int = 1,
        key: Callable[[Item], Hashable] | None = None,
    ) -> None:
        self._work = work
        self._batch_size = batch_size
        self._key = key
        self._bounds = {False: queue_size, True: patient_size}
        self._queues: dict[bool, OrderedDict[_Entry[Item, Answer], None]] = {False: OrderedDict(), True: OrderedDict()}
        self._flights: dict[asyncio.Task[None], list[_Entry[Item, Answer]]] = {}
        self._most_flights = flights
        self._abreast = min(abreast, flights)
        self._worth = min(WORTH_A_FLIGHT, batch_size)
        self._owed = 0  # eighths of a place that patient items have not had
        self._waking = False
        self._closing = False

    async def submit(self, item: Item, *, patient: bool = False) -> Answer:
        """The answer to one item. Raises Busy when its queue is full or the lane closes, and what work answered.

        A caller that goes away takes its item out of the queue if it is not in flight yet.
        """
        entry = self._enter(item, patient)
        try:
            return await entry.answer
        finally:
            self._queues[patient].pop(entry, None)

    async def submit_all(self, items: Sequence[Item], *, patient: bool = True) -> list[Answer | Exception]:
        """The answers to many items, in order; Busy for those that find no room, an exception where one was raised."""
        entered: list[_Entry[Item, Answer] | Busy] = []
        for item in items:
            try:
                entered.append(self._enter(item, patient))
            except Busy as busy:
                entered.append(busy)
        answers: list[Answer | Exception] = []
        try:
            for each in entered:
                if isinstance(each, Busy):
                    answers.append(each)
                else:
                    told = await _told(each.answer)
                    answers.append(told)
        finally:
            if len(answers) < len(entered):  # the caller went away
                self._forget([each for each in entered if not isinstance(each, Busy)], patient)
        return answers

    def _forget(self, entries: Sequence[_Entry[Item, Answer]], patient: bool) -> None:
        for entry in entries:
            self._queues[patient].pop(entry, None)
            if entry.answer.done() and not entry.answer.cancelled():
                entry.answer.exception()  # heard by nobody, which is as it should be
            entry.answer.cancel()

    async def close(self) -> None:
        """Finish what is queued, then stop. New items are refused from here on.

        Cancelled meanwhile, it stops at once: what is in flight is not known to have happened, the rest hears Busy.
        """
        self._closing = True
        try:
            while self._flights or any(self._queues.values()):
                self._start()
                if self._flights:
                    await asyncio.wait(set(self._flights))
        except asyncio.CancelledError:
            self._stop()
            raise

    def _enter(self, item: Item, patient: bool) -> _Entry[Item, Answer]:
        queue = self._queues[patient]
        if self._closing or len(queue) >= self._bounds[patient]:
            raise Busy
        key = self._key(item) if self._key else None
        entry: _Entry[Item, Answer] = _Entry(item, patient, key, asyncio.get_running_loop().create_future())
        queue[entry] = None
        self._wake()
        return entry

    def _wake(self) -> None:
        """Start what can be started, once all that are ready now have put their items in."""
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._waking = False
        while batch := self._gather():
            flight = asyncio.create_task(self._answer(batch), name="lane")
            self._flights[flight] = batch
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        batch = self._flights.pop(flight)
        _deliver(batch, [OutcomeUnknown("the lane stopped while this was in flight")] * len(batch))
        if flight.cancelled():
            self._stop()
        else:
            self._wake()

    def _gather(self) -> list[_Entry[Item, Answer]]:
        """The next batch; empty where nothing waits or nothing may fly."""
        flying = list(self._flights.values())
        with_ordinary = sum(any(not entry.patient for entry in entries) for entries in flying)
        may_be_patient = len(flying) - with_ordinary < max(1, self._most_flights - 1)
        keys = {entry.key for entries in flying for entry in entries} if self._key else set()
        batch: list[_Entry[Item, Answer]] = []
        if len(flying) < self._most_flights:
            free = min(self._abreast - with_ordinary, self._most_flights - len(flying))
            if share := self._share(free, beside_others=with_ordinary > 0):
                self._mix(batch, keys, may_be_patient, share)
            elif may_be_patient:
                self._move(batch, keys, True, self._batch_size)
        return batch

    def _share(self, free: int, *, beside_others: bool) -> int:
        """How many ordinary items go with the next batch, so that all that wait fly at once; 0 where none may."""
        waiting = len(self._queues[False])
        flights = min(free, waiting // self._worth) or (free > 0 and not beside_others)
        return -(-waiting // flights) if flights > 0 else 0

    def _mix(
        self, batch: list[_Entry[Item, Answer]], keys: set[Hashable], may_be_patient: bool, share: int
    ) -> None:  # fmt: skip
        """A share of ordinary items up to what is owed to patient ones, then these, then whoever still fits."""
        waiting = len(self._queues[True])
        owed = min(self._owed, PATIENT_SHARE - 1) + self._batch_size if waiting else 0
        self._move(batch, keys, False, min(share, self._batch_size - min(waiting, owed // PATIENT_SHARE)))
        ordinary = len(batch)
        if ordinary or may_be_patient:
            self._move(batch, keys, True, self._batch_size)
            self._owed = max(0, owed - PATIENT_SHARE * (len(batch) - ordinary))
            self._move(batch, keys, False, min(share + len(batch) - ordinary, self._batch_size))

    def _move(self, batch: list[_Entry[Item, Answer]], keys: set[Hashable], patient: bool, until: int) -> None:
        queue = self._queues[patient]
        leaving: list[_Entry[Item, Answer]] = []
        for entry in queue:
            if len(batch) + len(leaving) >= until:
                break
            if self._key is None or entry.key not in keys:
                keys.add(entry.key)
                leaving.append(entry)
        for entry in leaving:
            del queue[entry]
        batch += leaving

    async def _answer(self, batch: list[_Entry[Item, Answer]]) -> None:
        """Run a batch; where it fails, its halves, until every item is answered or the retries are used up."""
        deadline, calls = asyncio.get_running_loop().time() + RETRY_SECONDS, 0
        parts: list[tuple[list[_Entry[Item, Answer]], Exception | None]] = [(batch, None)]
        while parts:
            part, failed = parts.pop()
            part = [entry for entry in part if not entry.answer.done()]  # its caller may have gone meanwhile
            if failed and (calls > MOST_RETRIES or asyncio.get_running_loop().time() > deadline):
                _deliver(part, [failed] * len(part))
            elif part:
                calls += 1
                try:
                    _deliver(part, await self._run_work(part))
                except Exception as error:
                    if len(part) == 1:
                        _deliver(part, [error])
                    else:
                        middle = len(part) // 2
                        parts += [(part[middle:], error), (part[:middle], error)]

    async def _run_work(self, part: Sequence[_Entry[Item, Answer]]) -> Sequence[Answer | Exception]:
        try:
            answers = await self._work([entry.item for entry in part])
        except asyncio.CancelledError as cancelled:
            flight = asyncio.current_task()
            if flight is not None and flight.cancelling():
                raise
            raise OutcomeUnknown("the work on a batch was cancelled") from cancelled
        if len(answers) != len(part):
            raise OutcomeUnknown(f"{len(part)} items were answered {len(answers)} times")
        return answers

    def _stop(self) -> None:
        """Nobody is left waiting, and nobody is told what is not known."""
        self._closing = True
        for queue in self._queues.values():
            _deliver(list(queue), [Busy("the lane has stopped") for _ in queue])
            queue.clear()
        for flight in self._flights:
            flight.cancel()


def _deliver(entries: Sequence[_Entry[Item, Answer]], answers: Sequence[Answer | Exception]) -> None:
    for entry, answer in zip(entries, answers, strict=True):
        if entry.answer.done():
            continue
        if isinstance(answer, Exception):
            entry.answer.set_exception(answer)
        else:
            entry.answer.set_result(answer)


async def _told(answer: asyncio.Future[Answer]) -> Answer | Exception:
    try:
        return await answer
    except Exception as error:
        return error
