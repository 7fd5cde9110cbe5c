"""What the worker does where people reconcile: it lets silence decide disputes, and compares files that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from settlement.reconciliation import comparing, disputes

log = structlog.get_logger(__name__)


async def settle(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: decide what silence decides in disputes; how many ended. What is withheld waits until its
    run is paid. Stops between two."""
    async with database.reading() as connection:
        silent = await disputes.overdue(connection, at=at)
    return await _each(database, stopping, "dispute", silent, lambda c, n: disputes.let_silence_decide(c, n, at=at))


async def compare(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: compare partners' files that nobody has compared yet with our receipts; how many. Stops between
    two. One that can hardly be of the day waits for a person."""
    async with database.reading() as connection:
        waiting = await comparing.waiting(connection)
    return await _each(database, stopping, "file", waiting, lambda c, n: comparing.compare_waiting(c, n, at=at))


async def _each(
    database: Database, stopping: asyncio.Event, what: str, numbers: Sequence[int],
    step: Callable[[AsyncConnection, int], Awaitable[object | None]],
) -> int:  # fmt: skip
    """Do a step for each number in a transaction of its own; how many did something."""
    done = 0
    for number in numbers:
        if stopping.is_set():
            break
        try:
            async with database.transaction() as connection:
                done += await step(connection, number) is not None
        except Rejection as no:
            log.warning("duty waits", of=what, number=number, reason=no.code)
    return done
