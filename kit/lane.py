"""A lane: concurrent callers' items go to the database in batches, the next gathered while one is in flight.

No timer: a lone caller waits for nobody. The queue is bounded, and a full one answers BUSY instead of growing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from kit.errors import Rejection

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Busy(Rejection):
    """More work is queued than will be done in time; the same call with the same key is welcome in a moment."""

    code = "BUSY"
    retryable = True


class Lane(Generic[Item, Answer]):
    """One worker that runs `work` on batches of items in order of arrival.

    work takes 1 to batch_size items and returns one answer per item, an answer being possibly an exception to raise
    to that caller. When work itself raises, the batch's items are run one by one, which their idempotency keys make
    safe, so that one bad item spoils nobody's call.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        batch_size: int = 128,
        queue_size: int = 2048,
    ) -> None:
        self._work = work
        self._batch_size = batch_size
        self._queue_size = queue_size
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._filled = asyncio.Event()
        self._closing = False
        self._worker = asyncio.create_task(self._run(), name="lane")

    async def submit(self, item: Item) -> Answer:
        """The answer to one item. Raises Busy when the queue is full or the lane closes, and what work answered.

        A caller that goes away takes its item out of the queue if it is not in flight yet.
        """
        if self._closing or len(self._queue) >= self._queue_size:
            raise Busy("too much is queued; call again in a moment with the same idempotency key")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((item, answer))
        self._filled.set()
        return await answer

    async def close(self) -> None:
        """Finish what is queued, then stop. New items are refused from here on."""
        self._closing = True
        self._filled.set()
        await self._worker

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            batch = self._gather()
            if batch:
                await self._answer(batch)
            elif self._closing:
                return
            else:
                self._filled.clear()

    def _gather(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._queue and len(batch) < self._batch_size:
            item, answer = self._queue.popleft()
            if not answer.cancelled():
                batch.append((item, answer))
        return batch

    async def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._work([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _deliver(batch[0][1], error)
                return
            for item, future in batch:
                if not future.done():  # its caller may have gone meanwhile
                    await self._answer([(item, future)])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _deliver(future, answer)


def _deliver(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
