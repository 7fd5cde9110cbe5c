"""A lane: concurrent callers' items go to the database in batches, the next gathered while one is in flight.

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
MOST_RETRIES = 32  # calls that a failed batch may cost beside itself
RETRY_SECONDS = 5.0


class Busy(Rejection):
    """More work is queued than will be done in time; the same call with the same key is welcome in a moment."""

    code = "BUSY"
    retryable = True

    def __init__(self, why: str = "too much is queued") -> None:
        super().__init__(f"{why}; call again in a moment with the same idempotency key")


@dataclass(slots=True, eq=False)
class _Entry(Generic[Item, Answer]):
    item: Item
    key: Hashable
    answer: asyncio.Future[Answer]


class Lane(Generic[Item, Answer]):
    """One worker that runs `work` on batches of items.

    Somebody stands and waits for an ordinary item; a patient one is part of a file. Ordinary items go first, each class
    in order of arrival. Patient ones fill what is left of a batch, and one place in PATIENT_SHARE is theirs in any
    case: of those that wait, the nth goes at the latest with batch n * PATIENT_SHARE / batch_size, rounded up. The
    classes do not share a bound, so that files never make a till hear BUSY.

    Where `key` tells whose an item is, no batch holds two of one key, and a later one goes with a later batch.

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
        key: Callable[[Item], Hashable] | None = None,
    ) -> None:
        self._work = work
        self._batch_size = batch_size
        self._key = key
        self._bounds = {False: queue_size, True: patient_size}
        self._queues: dict[bool, OrderedDict[_Entry[Item, Answer], None]] = {False: OrderedDict(), True: OrderedDict()}
        self._in_flight: list[_Entry[Item, Answer]] = []
        self._owed = 0  # eighths of a place that patient items have not had
        self._filled = asyncio.Event()
        self._closing = False
        self._worker = asyncio.create_task(self._run(), name="lane")

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
        entries = [each for each in entered if not isinstance(each, Busy)]
        try:
            answers = iter(await asyncio.gather(*(entry.answer for entry in entries), return_exceptions=True))
        finally:
            for entry in entries:
                self._queues[patient].pop(entry, None)
        return [each if isinstance(each, Busy) else _told(next(answers)) for each in entered]

    async def close(self) -> None:
        """Finish what is queued, then stop. New items are refused from here on.

        Cancelled meanwhile, it stops at once: what is in flight is not known to have happened, the rest hears Busy.
        """
        self._closing = True
        self._filled.set()
        try:
            await asyncio.wait({self._worker})
        except asyncio.CancelledError:
            self._worker.cancel()
            raise

    def _enter(self, item: Item, patient: bool) -> _Entry[Item, Answer]:
        queue = self._queues[patient]
        if self._closing or len(queue) >= self._bounds[patient]:
            raise Busy
        key = self._key(item) if self._key else None
        entry: _Entry[Item, Answer] = _Entry(item, key, asyncio.get_running_loop().create_future())
        queue[entry] = None
        self._filled.set()
        return entry

    async def _run(self) -> None:
        try:
            while True:
                await self._filled.wait()
                self._in_flight = self._gather()
                if self._in_flight:
                    await self._answer(self._in_flight)
                elif self._closing:
                    return
                else:
                    self._filled.clear()
        finally:
            self._closing = True
            self._give_up()

    def _gather(self) -> list[_Entry[Item, Answer]]:
        """The next batch: ordinary items up to what is owed to patient ones, then these, then whoever still fits."""
        batch: list[_Entry[Item, Answer]] = []
        keys: set[Hashable] = set()
        waiting = len(self._queues[True])
        self._owed = min(self._owed, PATIENT_SHARE - 1) + self._batch_size if waiting else 0
        self._move(batch, keys, False, self._batch_size - min(waiting, self._owed // PATIENT_SHARE))
        ordinary = len(batch)
        self._move(batch, keys, True, self._batch_size)
        self._owed = max(0, self._owed - PATIENT_SHARE * (len(batch) - ordinary))
        self._move(batch, keys, False, self._batch_size)
        return batch

    def _move(self, batch: list[_Entry[Item, Answer]], keys: set[Hashable], patient: bool, until: int) -> None:
        queue = self._queues[patient]
        leaving: list[_Entry[Item, Answer]] = []
        for entry in queue:
            if len(batch) >= until:
                break
            if entry.answer.done():  # its caller has gone and did not have its turn yet
                leaving.append(entry)
            elif self._key is None or entry.key not in keys:
                keys.add(entry.key)
                batch.append(entry)
                leaving.append(entry)
        for entry in leaving:
            del queue[entry]

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
            worker = asyncio.current_task()
            if worker is not None and worker.cancelling():
                raise
            raise OutcomeUnknown("the work on a batch was cancelled") from cancelled
        if len(answers) != len(part):
            raise OutcomeUnknown(f"{len(part)} items were answered {len(answers)} times")
        return answers

    def _give_up(self) -> None:
        """The worker ends: nobody is left waiting, and nobody is told what is not known."""
        _deliver(self._in_flight, [OutcomeUnknown("the lane stopped while this was in flight")] * len(self._in_flight))
        for queue in self._queues.values():
            _deliver(list(queue), [Busy("the lane has stopped") for _ in queue])
            queue.clear()


def _deliver(entries: Sequence[_Entry[Item, Answer]], answers: Sequence[Answer | Exception]) -> None:
    for entry, answer in zip(entries, answers, strict=True):
        if entry.answer.done():
            continue
        if isinstance(answer, Exception):
            entry.answer.set_exception(answer)
        else:
            entry.answer.set_result(answer)


def _told(answer: Answer | BaseException) -> Answer | Exception:
    if isinstance(answer, BaseException) and not isinstance(answer, Exception):
        raise answer
    return answer
