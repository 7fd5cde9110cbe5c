"""The coalition's business days: replayed one after the other, closed and settled at each month's end.

What an operator's own programs do at such an hour is done here in process: points that are due, tiers, the cut-off,
the run. The business clock is the only memory of how far a demonstration came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time

from gateway import worker
from gateway.demo.coalition import CHECKER, MAKER
from gateway.demo.data import Journeys
from gateway.demo.replay import Replay, work_of
from gateway.demo.report import Check, Points, points_of
from kit import clock
from kit.database import Database
from ledger import cutoffs
from settlement import archive, runs
from settlement.states import IN_REVIEW

Advance = Callable[[int], None]
MonthsEnd = Callable[[Database, datetime], Awaitable[None]]


def midnight(day: date) -> datetime:
    """The instant at which a business day begins."""
    return datetime.combine(day, time(), UTC)


async def set_clock(database: Database, at: datetime) -> None:
    """Move the sandbox's business clock forward."""
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, at)


async def replayed_until(database: Database) -> date:
    """The first day that was not replayed in full."""
    async with database.reading() as connection:
        return (await clock.sandbox(connection)).date()


async def settle(database: Database, at: datetime) -> None:
    """What an operator does at the end of a period: apply what is due, assess tiers, close the cut-off, settle, and
    approve the runs to which nobody may object any more.

    Nothing happens twice: a cut-off that was closed at this instant stays closed, a settled one settled.
    """
    await set_clock(database, at)
    never = asyncio.Event()
    await worker.apply_due(database, at, never)
    await worker.assess_tiers(database, at, never)
    await worker.roll_up(database, at, never)  # what partners see of their days
    async with database.reading() as connection:
        opened_at = (await cutoffs.cutoffs(connection))[-1].opened_at
    if opened_at is None or opened_at < at:
        await runs.close_cutoff(database, actor=MAKER, at=at)
    with suppress(runs.NothingToSettle):
        async with database.transaction() as connection:
            await runs.settle(connection, actor=MAKER, at=at)
    async with database.reading() as connection:
        reviewed = [run.run_id for run in await archive.runs(connection) if run.state == IN_REVIEW]
    for run_id in reviewed:
        with suppress(runs.ReviewOpen):
            async with database.transaction() as connection:
                await runs.approve(connection, run_id, actor=CHECKER, at=at)


async def forward(
    database: Database, replay: Replay, journeys: Journeys, *, seed: int, since: date, until: date, advance: Advance,
    at_months_end: MonthsEnd = settle,
) -> None:  # fmt: skip
    """Replay the days [since, until) and settle at each month's end and at the span's, whatever is open then."""
    month = since.replace(day=1)
    async for work in work_of(journeys, seed, since, until):
        if work.day.replace(day=1) != month:
            month = work.day.replace(day=1)
            await at_months_end(database, midnight(month))
        await replay.day(work)
        advance(work.receipt_count)
    await at_months_end(database, midnight(until))


async def again(
    database: Database, replay: Replay, journeys: Journeys, *, seed: int, since: date, until: date, advance: Advance
) -> Check:
    """Send the days [since, until) once more; held where nothing has changed by it."""
    before = await _fingerprint(database)
    async for work in work_of(journeys, seed, since, until):
        await replay.day(work)
        advance(work.receipt_count)
    after = await _fingerprint(database)
    return Check("replaying the same weeks changed nothing", before == after, f"from {before} to {after}")


async def _fingerprint(database: Database) -> tuple[Points, int]:
    async with database.reading() as connection:
        numbers = [one.cutoff_id for one in await cutoffs.cutoffs(connection)]
        turnovers = await cutoffs.turnover(connection, numbers)
    return points_of(turnovers), sum(one.postings for one in turnovers)
