"""The benchmarks run: a level in slices of a second on the tests' server, and every script of pgbench. No time is judged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks import callers, coalition, draws, levels, pgbench, scenarios, stage, storage
from benchmarks.coalition import DATABASE, PARTNERS, Crowd
from benchmarks.figures import Slice
from benchmarks.stage import Plan, Stage
from kit.database import APPLICATION_ROLE
from kit.postgres import PostgresError, Server
from ledger import accruals

PLAN = Plan(seconds=1, rounds=1, members=10, holders=200, scale=1)


@pytest.fixture
async def crowd(server: Server) -> AsyncIterator[Crowd]:
    async with coalition.founded(server, members=10, holders=200, partners=2) as found:
        yield found
        assert await found.pool.fetch("SELECT * FROM ledger.audit()") == []


@pytest.fixture
async def ready(server: Server) -> Stage:
    """Without asking for durability, which the tests' server has not."""
    made = Stage(server, PLAN, lambda _: None)
    await made.prepare()
    return made


async def test_a_server_that_may_lose_commits_is_not_measured(server: Server) -> None:
    with pytest.raises(PostgresError, match="fsync"):
        async with stage.prepared(server, PLAN):
            pass


async def test_a_level_is_measured_against_tpc_b_with_what_it_costs(ready: Stage, crowd: Crowd) -> None:
    lane = accruals.open_lane(crowd.pool)
    call = levels.accruing(lane.submit, draws.uniform(crowd.holders, 1))
    figure = await ready.measure(
        "lane", callers.load(8, call), database=DATABASE, entries=(1.0, 1.0), reports=crowd.report
    )
    await lane.close()
    assert figure.operations > 0
    assert figure.ratio_low <= figure.ratio <= figure.ratio_high
    assert figure.p50_ms is not None
    assert set(figure.cpu_us) == {"server", "driver"}
    assert figure.wal_bytes is not None
    assert figure.wal_bytes > 500
    unit = ready.unit_figure()
    assert unit.operations > 0
    assert unit.ratio == 1.0


async def test_a_load_that_does_not_do_its_work_stops_the_run(ready: Stage, crowd: Crowd) -> None:
    async def idle(_: int) -> Slice:
        return Slice(100, 1.0)

    with pytest.raises(RuntimeError, match="100 operations made 0 entries"):
        await ready.measure("idle", idle, database=DATABASE, against=("itself", idle), entries=(1.0, 1.0))


async def test_every_script_of_pgbench_writes_entries(server: Server, crowd: Crowd, tmp_path: Path) -> None:
    made = await coalition.stocked(server, crowd.pool, crowd.holders, scenarios.LOTS)
    assert made.lots == 200 * scenarios.LOTS
    assert made.bytes_of_ledger > 300
    first, last = crowd.holders[0], crowd.holders[-1]
    accrue = levels.ACCRUE.format(partner=1, first=first, last=last)
    purchase = levels.PURCHASE.format(detail=levels.four_lines(), decision=levels.decision(), first=first, last=last)
    for script in (accrue, purchase, *scenarios.mix_scripts(first, last, PARTNERS)):
        file = tmp_path / "script.sql"
        file.write_text(script)
        before = await _entries(crowd)
        printed = await pgbench.run(
            server, DATABASE, APPLICATION_ROLE, "-n", "-M", "prepared", "-c", "2", "-t", "5", "-f", str(file)
        )
        assert pgbench.count(printed) == 10
        assert await _entries(crowd) - before >= 8, script  # a return may find nothing left to take back


async def _entries(crowd: Crowd) -> int:
    async with crowd.pool.acquire() as connection:
        return await storage.entries(connection)
