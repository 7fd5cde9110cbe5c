"""Cut-offs and runs by the clock of the agreements' cycles, over a virtual year's beginning and through crashes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.database import APPLICATION_ROLE
from kit.postgres import Server
from ledger import cutoffs
from settlement import archive, cycles, runs, scheduling
from settlement.windows import cycle

Coalition = Any
DAY = timedelta(days=1)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))
zones = st.sampled_from(["UTC", "Europe/Chisinau", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"])


@given(st.sampled_from([cycles.DAY, cycles.WEEK, cycles.MONTH]), instants, zones)
def test_an_end_is_a_midnight_not_behind_the_instant_and_the_last_one(name: str, at: datetime, zone: str) -> None:
    end = cycles.last_end(name, at, zone=zone)
    local = end.astimezone(ZoneInfo(zone))
    longest = {cycles.DAY: 2, cycles.WEEK: 8, cycles.MONTH: 32}[name]
    assert at - longest * DAY < end <= at
    assert local.hour in (0, 1)  # where summer time begins at midnight there is none
    assert cycles.last_end(name, end, zone=zone) == end
    assert name != cycles.WEEK or local.weekday() == 0
    assert name != cycles.MONTH or local.day == 1
    assert cycles.ended([name], since=end, at=at, zone=zone) is None
    assert cycles.ended([name], since=end - timedelta(microseconds=1), at=at, zone=zone) == end


async def tick(coalition: Coalition, at: datetime) -> scheduling.Done:
    coalition.at = at
    return await scheduling.advance(coalition.database, at=at)


async def heads(coalition: Coalition) -> list[archive.RunHead]:
    async with coalition.database.reading() as connection:
        return sorted(await archive.runs(connection), key=lambda run: run.run_id)


async def issued(coalition: Coalition, run_id: int) -> None:
    await coalition.step(runs.issue, run_id)


async def test_runs_follow_the_shortest_cycle_of_their_currency_where_the_programme_is(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE partners.programme SET time_zone = 'Europe/Chisinau'")
    a = await coalition.partner("a", says={"cycle": "WEEK"})
    b = await coalition.partner("b", says={"cycle": "MONTH"})
    await coalition.partner("c", says={"cycle": "MONTH"}, currency="USD")
    member = await coalition.member()
    begun, ends = coalition.at, []
    for hour in range(12, 45 * 24, 12):  # 1 March to the middle of April, a look every twelve hours
        done = await tick(coalition, begun + timedelta(hours=hour))
        if done.cutoff_id is not None:
            async with coalition.database.reading() as connection:
                ends.append(next(c.cut_at for c in await cutoffs.cutoffs(connection) if c.cutoff_id == done.cutoff_id))
        for run_id in done.run_ids:
            await issued(coalition, run_id)
        if hour % 24 == 0:
            await coalition.earn(member, "a", a, 10)
            await coalition.earn(member, "b", b, 10)
        assert (await tick(coalition, coalition.at)).count == 0, "again does nothing"
    found = await heads(coalition)
    assert {run.currency for run in found} == {"EUR"}  # in the other nothing moved
    mondays = [datetime(2026, 3, d, 22, tzinfo=UTC) for d in (1, 8, 15, 22)]  # midnight is 22:00, then 21:00
    summer = [datetime(2026, *md, 21, tzinfo=UTC) for md in ((3, 29), (3, 31), (4, 5), (4, 12))]
    assert ends == [*mondays, *summer]
    # The first Monday came before anything was earned; a month's end in the middle of a week is a run of its own.
    assert [run.cut_at for run in found] == [*mondays[1:], *summer]
    assert all(run.actor == cycle.SYSTEM for run in found)
    assert await coalition.violations() == []


async def test_what_was_missed_is_one_cut_off_and_goes_on_after_being_stopped_anywhere(
    coalition: Coalition, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await coalition.partner("a", says={"cycle": "DAY"})
    await coalition.earn(await coalition.member(), "a", a, 500)
    at = coalition.at + 4 * DAY
    for broken in ("begin", "calculate", "control"):
        with monkeypatch.context() as patched:
            patched.setattr(runs, broken, _crashes)
            with pytest.raises(Killed):
                await tick(coalition, at)
    done = await tick(coalition, at)
    assert (done.cutoff_id, len(done.run_ids)) == (None, 1)  # the cut-off was closed before the first crash
    [run] = await heads(coalition)
    assert (run.state, run.cut_at) == ("CONTROLLED", cycles.last_end("DAY", at, zone="UTC"))
    assert (await tick(coalition, at)).count == 0
    stopping = asyncio.Event()
    stopping.set()
    coalition.at = at + DAY
    await coalition.earn(await coalition.member(), "a", a, 5)
    first = await scheduling.advance(coalition.database, at=at + 2 * DAY, stopping=stopping)
    assert (first.cutoff_id is not None, first.run_ids) == (True, ())
    await issued(coalition, run.run_id)
    assert len((await tick(coalition, at + 2 * DAY)).run_ids) == 1


class Killed(Exception):  # noqa: N818 - it is what happened
    """The process died here."""


async def _crashes(*_: Any, **__: Any) -> None:
    raise Killed


async def test_several_workers_at_once_close_one_cut_off_and_make_one_run(
    coalition: Coalition, server: Server, database_name: str
) -> None:
    a = await coalition.partner("a", says={"cycle": "DAY"})
    await coalition.earn(await coalition.member(), "a", a, 500)
    at = coalition.at + DAY
    done = await asyncio.gather(*(tick(coalition, at) for _ in range(3)), return_exceptions=True)
    await tick(coalition, at)
    assert all(isinstance(one, scheduling.Done) for one in done), done
    assert [one.cutoff_id for one in done if isinstance(one, scheduling.Done) and one.cutoff_id is not None] == [1]
    async with coalition.database.reading() as connection:
        found = await cutoffs.cutoffs(connection)
    assert len({one.cut_at for one in found if one.cut_at is not None}) == 1
    [run] = await heads(coalition)
    assert run.state == "CONTROLLED"
    assert await coalition.violations() == []
    other = await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE))
    try:
        assert await other.fetchval("SELECT count(*) FROM settlement.run") == 1
    finally:
        await other.close()


async def test_the_clock_neither_issues_nor_is_anybody_who_has_its_name(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"cycle": "DAY"})
    await coalition.earn(await coalition.member(), "a", a, 500)
    done = await tick(coalition, coalition.at + DAY)
    for actor in (runs.SCHEDULE, str(runs.SCHEDULE)):
        with pytest.raises(Exception, match="settlement"):
            async with coalition.database.transaction() as connection:
                await runs.issue(connection, done.run_ids[0], actor=actor, at=coalition.at)
    [run] = await heads(coalition)
    assert run.state == "CONTROLLED"
