"""Simulations: rehearsals that somebody asked for, run by a worker, and kept, so that a launch is judged by them.

A long window takes minutes, so nobody waits for it: whoever asked reads how far it is, and what it came to. What is
kept are sums; of members only how many gain or lose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.database import Database
from kit.errors import FieldProblem, Rejection
from partners.directory import DirectoryCache
from partners.promotions import drafts, launching, publishing, rehearsals, simulation_store
from partners.promotions.launching import Aim
from partners.promotions.plain import canonical
from partners.promotions.publishing import Change, Launch
from partners.promotions.releases import Release
from partners.promotions.simulation import Simulation, Totals

MOST_DAYS = 366
MOST_AT_ONCE = 3
LEASE = timedelta(minutes=5)
WAITING, RUNNING, DONE, FAILED = "WAITING", "RUNNING", "DONE", "FAILED"


class SimulationInvalid(Rejection):
    """It would look at fewer days than one, or at more than a year."""

    code = "SIMULATION_INVALID"
    retryable = False


class SimulationsTooMany(Rejection):
    """As many of this person's simulations wait or run as may."""

    code = "SIMULATIONS_TOO_MANY"
    retryable = True


class SimulationUnknown(Rejection):
    """There is no simulation of this number."""

    code = "SIMULATION_UNKNOWN"
    retryable = False


class SimulationUnfinished(Rejection):
    """The simulation has not come to its end, or failed."""

    code = "SIMULATION_UNFINISHED"
    retryable = True


class SimulationDiffers(Rejection):
    """Other rules, groups or budgets were simulated than are submitted."""

    code = "SIMULATION_DIFFERS"
    retryable = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a simulation came to: totals of what was given and of what the draft gives, how many members gain, lose or
    stay, what who gains or loses most does by (minor units), and how often each budget bound."""

    baskets: int
    was: Totals
    draft: Totals
    winners: int
    losers: int
    unchanged: int
    most_gained_minor: int
    most_lost_minor: int
    exhausted: Mapping[str, int]

    @property
    def points_minor(self) -> int:
        """What points more (or less) are worth at the till."""
        return self.draft.worth_minor - self.was.worth_minor

    @property
    def off_minor(self) -> int:
        """Discounts that are given more (or less)."""
        return self.draft.discount_minor - self.was.discount_minor


@dataclass(frozen=True, slots=True)
class Kept:
    """A simulation as it stands; baskets is how many purchases its window has, None before anybody counted."""

    simulation_id: int
    author: str
    at: datetime
    since: datetime
    until: datetime
    content_sha256: str
    state: str
    baskets: int | None
    baskets_done: int
    report: Report | None


class _Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The process is to end, or somebody else has taken the simulation over."""


async def order(connection: AsyncConnection, change: Change, *, days: int, author: int, at: datetime) -> int:
    """Ask for a change of the latest release to be rehearsed on purchases of the last days; the simulation's number.

    Rejects NOT_PERMITTED, SIMULATION_INVALID, SIMULATIONS_TOO_MANY, RELEASE_INVALID.
    """
    await actors.require_role(connection, author, actors.PROMOTION_MAKER)
    if not 1 <= days <= MOST_DAYS:
        problem = FieldProblem(("days",), "INVALID", f"expected 1 to {MOST_DAYS}")
        raise SimulationInvalid("a simulation looks at a day at least and at a year at most", problems=[problem])
    await publishing.hold(connection)
    if await simulation_store.unfinished(connection, author) >= MOST_AT_ONCE:
        raise SimulationsTooMany(f"{MOST_AT_ONCE} of yours wait or run: read them first")
    parent = await publishing.latest(connection)
    release = await publishing.compose(connection, parent, change, effective_from=max(at, parent.effective_from))
    since = at - timedelta(days=days)
    rehearsed = drafts.in_force_since(release, list(change.rules), since)
    simulation_id = await simulation_store.insert(
        connection, author_id=author, at=at, since=since, until=at, content_sha256=release.content_sha256,
        manifest=canonical(rehearsed.manifest).decode(),
    )  # fmt: skip
    detail = {"rules": dict(change.rules), "without": sorted(change.without), "days": days}
    subject = f"simulation:{simulation_id}"
    await audit.write(connection, actor=author, action="SIMULATION_ORDERED", subject=subject, detail=detail, at=at)
    return simulation_id


async def find(connection: AsyncConnection, simulation_id: int) -> Kept | None:
    """A simulation as it stands; None where there is none of this number."""
    row = await simulation_store.by_number(connection, simulation_id)
    return None if row is None else _kept(row)


async def submit(
    connection: AsyncConnection,
    change: Change,
    *,
    effective_from: datetime,
    maker: int,
    at: datetime,
    simulation_id: int,
    aim: Aim,
) -> int:
    """Submit a release, its launch judged by a simulation of the very same content; returns the release's number.

    Rejects SIMULATION_UNKNOWN, SIMULATION_UNFINISHED, SIMULATION_DIFFERS and what `publishing.submit` rejects.
    """
    kept = await find(connection, simulation_id)
    if kept is None:
        raise SimulationUnknown(f"there is no simulation {simulation_id}")
    if kept.report is None:
        raise SimulationUnfinished(f"simulation {simulation_id} is {kept.state.lower()}")
    report = kept.report
    expected = launching.expectation(
        aim, points_minor=report.points_minor, off_minor=report.off_minor, rehearsed=report.baskets
    )
    release_id = await publishing.submit(
        connection, change, effective_from=effective_from, maker=maker, at=at, launch=Launch(aim.objective, expected)
    )
    if (await publishing.read(connection, release_id)).content_sha256 != kept.content_sha256:
        raise SimulationDiffers("what was simulated is not what is submitted: simulate it again")
    return release_id


async def run_next(
    database: Database, directory: DirectoryCache, *, now: Callable[[], datetime], stopping: asyncio.Event
) -> int | None:
    """Run the next simulation that waits; its number, None where none does. now is the wall's clock.

    One whose worker died is taken over after its lease, three times at most. Raises what a rehearsal raises.
    """
    async with database.transaction() as connection:
        await simulation_store.give_up(connection, now())
        row = await simulation_store.take(connection, now=now(), leased_until=now() + LEASE)
    if row is None:
        return None
    try:
        found = await _rehearse(database, directory, row, now, stopping)
        async with database.transaction() as connection:
            await simulation_store.finish(connection, row.simulation_id, row.attempts, report_of(found))
    except _Stopped:
        await _put_back(database, row, counts=False)
    except Exception:
        await _put_back(database, row, counts=True)
        raise
    return int(row.simulation_id)


async def _rehearse(
    database: Database, directory: DirectoryCache, row: Row[Any], now: Callable[[], datetime], stopping: asyncio.Event
) -> Simulation:
    loop = asyncio.get_running_loop()

    async def note(done: int) -> bool:
        async with database.transaction() as connection:
            return await simulation_store.note_progress(
                connection, row.simulation_id, row.attempts, baskets_done=done, leased_until=now() + LEASE
            )

    def told(done: int) -> None:
        if stopping.is_set() or not asyncio.run_coroutine_threadsafe(note(done), loop).result():
            raise _Stopped

    async with database.transaction() as connection:
        await simulation_store.count_baskets(connection, row.simulation_id, row.attempts)
    release = Release.from_manifest(
        0, orjson.loads(row.manifest), effective_from=row.since, published_at=row.since, author="", approver=""
    )
    around = await directory.refresh()
    return await rehearsals.simulate(
        database.pool, around, release, since=row.since, until=row.until, progress=told
    )  # fmt: skip


async def _put_back(database: Database, row: Row[Any], *, counts: bool) -> None:
    async with database.transaction() as connection:
        await simulation_store.put_back(connection, row.simulation_id, row.attempts, counts=counts)


def report_of(found: Simulation) -> dict[str, Any]:
    """What is kept of a simulation, as plain JSON."""
    return {
        "baskets": found.baskets,
        "was": asdict(found.was),
        "draft": asdict(found.draft),
        "winners": found.winners,
        "losers": found.losers,
        "unchanged": found.unchanged,
        "most_gained_minor": found.most_gained[0].worth_minor if found.most_gained else 0,
        "most_lost_minor": found.most_lost[0].worth_minor if found.most_lost else 0,
        "exhausted": dict(found.exhausted),
    }


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        row.simulation_id, row.author, row.at, row.since, row.until, row.content_sha256, row.state, row.baskets,
        row.baskets_done, None if row.report is None else _report(row.report),
    )  # fmt: skip


def _report(kept: Mapping[str, Any]) -> Report:
    return Report(**{**kept, "was": _totals(kept["was"]), "draft": _totals(kept["draft"])})


def _totals(kept: Mapping[str, Any]) -> Totals:
    by_funder = {
        name: {int(party): amount for party, amount in kept[name].items()}
        for name in ("points_by_funder", "discount_by_funder")
    }
    return Totals(**{**kept, **by_funder})
