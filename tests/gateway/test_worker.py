"""What time makes due is done once, as of the business clock, and stops when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from gateway import worker
from kit import clock
from kit.database import APPLICATION_ROLE, Database, connect
from kit.postgres import Server
from kit.settings import Settings
from ledger import accounts, cutoffs, rollups, watch
from members import enrolment
from members.consents import ConsentGiven

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WHEN_WOKEN = "0 0 29 2 *"
"""As in crontab: so rarely that a test alone makes it due."""


async def open_account(database: Database) -> int:
    """A new holder without points."""
    async with database.transaction() as connection:
        [holder] = await accounts.open_accounts(connection, 1)
    return holder


async def accrue(database: Database, holder: int, points: int = 100) -> None:
    """Points at noon, pending for a fortnight, good for a year."""
    status = await database.pool.fetchval(
        "SELECT status FROM ledger.accrue($1, 1::smallint, 1, $2, $2, $3, ARRAY[1], ARRAY[1], ARRAY[1],"
        " ARRAY[$4::bigint], ARRAY[$5::timestamptz], ARRAY[$6::timestamptz])",
        holder, uuid4(), NOON, points, NOON + 14 * DAY, NOON + 365 * DAY,
    )  # fmt: skip
    assert status == 0


async def entry_kinds(database: Database, holder: int) -> list[int]:
    """Kinds of a holder's journal entries, in their order."""
    rows = await database.pool.fetch("SELECT kind FROM ledger.journal WHERE holder_id = $1 ORDER BY seq", holder)
    return [row["kind"] for row in rows]


async def wake_now(database: Database) -> None:
    """Let every job be due at once."""
    await database.pool.execute("UPDATE jobs.pgqueuer_schedules SET next_run = now() - interval '1 second'")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def scheduled(database: Database) -> bool:
    """Whether a worker has written its jobs down."""
    return bool(await database.pool.fetchval("SELECT count(*) FROM jobs.pgqueuer_schedules"))


async def have_run(runs: Sequence[object], times: int) -> bool:
    """Whether a job has run so often."""
    return len(runs) >= times


@asynccontextmanager
async def working(database: Database, heartbeat: Path | None = None) -> AsyncIterator[None]:
    """A worker for the time of a block, told to stop at its end."""
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.work(database, Settings(), stopping, heartbeat))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


@pytest.fixture
def runs(monkeypatch) -> list[datetime]:
    """Instants at which the only job of the schedule ran, instead of the real ones."""
    seen: list[datetime] = []

    async def note(_: Database, at: datetime, stopping: asyncio.Event) -> int:
        seen.append(at)
        await asyncio.sleep(0.2)
        return len(seen)

    monkeypatch.setattr(worker, "SCHEDULE", {"note": (WHEN_WOKEN, note)})
    return seen


async def test_points_become_available_and_expire_when_their_instant_has_come(database):
    holder = await open_account(database)
    await accrue(database, holder)
    never = asyncio.Event()

    assert await worker.apply_due(database, NOON + 14 * DAY - timedelta(seconds=1), never) == 0
    assert await entry_kinds(database, holder) == [1]
    assert await worker.apply_due(database, NOON + 14 * DAY, never) == 1
    assert await entry_kinds(database, holder) == [1, 2]
    assert await worker.apply_due(database, NOON + 365 * DAY, never) == 1
    assert await entry_kinds(database, holder) == [1, 2, 7]
    assert await worker.apply_due(database, NOON + 365 * DAY, never) == 0
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_more_accounts_than_one_batch_are_all_swept_by_two_at_once(database, monkeypatch):
    monkeypatch.setattr(cutoffs.sweep, "__kwdefaults__", {"limit": 3})
    holders = [await open_account(database) for _ in range(20)]
    for holder in holders:
        await accrue(database, holder)
    never = asyncio.Event()
    at = NOON + 14 * DAY
    done = await asyncio.gather(worker.apply_due(database, at, never), worker.apply_due(database, at, never))
    assert sum(done) == 20
    assert [await entry_kinds(database, holder) for holder in holders] == [[1, 2]] * 20


async def test_a_worker_that_is_told_to_stop_begins_no_further_batch(database):
    holder = await open_account(database)
    await accrue(database, holder)
    stopping = asyncio.Event()
    stopping.set()
    assert await worker.apply_due(database, NOON + 14 * DAY, stopping) == 0
    assert await entry_kinds(database, holder) == [1]


async def test_tiers_are_assessed_from_the_points_that_qualify(database, vault):
    async with database.transaction() as connection:
        enrolled = await enrolment.enrol(
            connection,
            vault,
            enrolled_by=0,
            at=NOON,
            personal=None,
            consents=[ConsentGiven("PROGRAMME", "1", NOON)],
            language="en",
        )
    await accrue(database, enrolled.member_id, points=1_000)
    assert await worker.assess_tiers(database, NOON + DAY, asyncio.Event()) == 1
    assert await worker.assess_tiers(database, NOON + DAY, asyncio.Event()) == 0
    found = await database.pool.fetchval("SELECT tier FROM members.member WHERE member_id = $1", enrolled.member_id)
    assert found == "SILVER"


async def test_what_was_recorded_is_rolled_up_batch_after_batch(database, monkeypatch):
    monkeypatch.setattr(rollups, "ENTRIES_AT_ONCE", 2)
    monkeypatch.setattr(rollups.roll_up, "__kwdefaults__", {"limit": 2})
    holder = await open_account(database)
    for _ in range(5):
        await accrue(database, holder)
    assert await worker.roll_up(database, NOON, asyncio.Event()) == 5
    assert await worker.roll_up(database, NOON, asyncio.Event()) == 0
    assert await database.pool.fetchval("SELECT sum(points)::bigint FROM ledger.rollup") == 500


async def test_the_watch_reads_all_that_was_touched_and_one_slice_of_all_accounts(
    database, server, database_name, monkeypatch
):
    monkeypatch.setattr(watch.step, "__kwdefaults__", {"entries": 2, "accounts": 1})
    holders = [await open_account(database) for _ in range(5)]
    for holder in holders:
        await accrue(database, holder)
    assert await worker.watch_accounts(database, NOON, asyncio.Event()) == 0
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.account SET pending = pending + 1 WHERE holder_id <> $1", holders[0])
    await owner.close()
    found = [await worker.watch_accounts(database, NOON + n * DAY, asyncio.Event()) for n in range(5)]
    assert found == [2, 2, 2, 2, 0]


async def test_a_job_runs_as_of_the_sandbox_s_clock(database):
    holder = await open_account(database)
    await accrue(database, holder)
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON + DAY)
    await worker.run_job("apply-due", database, Settings(clock="sandbox"), asyncio.Event())
    assert await entry_kinds(database, holder) == [1]

    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON + 14 * DAY)
    await worker.run_job("apply-due", database, Settings(clock="sandbox"), asyncio.Event())
    assert await entry_kinds(database, holder) == [1, 2]


async def test_of_two_workers_one_takes_the_job_and_the_next_waking_is_for_either(database, runs):
    async with working(database):
        await until(lambda: scheduled(database))
    await wake_now(database)
    async with working(database), working(database):
        await until(lambda: have_run(runs, 1))
        await asyncio.sleep(0.3)  # time for the other to do it too, were it let
    assert len(runs) == 1
    await wake_now(database)
    async with working(database):
        await until(lambda: have_run(runs, 2))
    assert len(runs) == 2


async def test_a_job_that_fails_is_tried_again_at_the_next_waking(database, monkeypatch):
    tries: list[int] = []

    async def fail(*_: object) -> int:
        tries.append(1)
        raise RuntimeError("the third party is away")

    monkeypatch.setattr(worker, "SCHEDULE", {"fail": (WHEN_WOKEN, fail)})
    for expected in (0, 1, 2):
        async with working(database):
            await until(lambda: scheduled(database))
            await until(lambda expected=expected: have_run(tries, expected))
        assert len(tries) == expected
        await wake_now(database)


async def test_the_heartbeat_is_a_file_that_is_touched(database, tmp_path):
    async with working(database, tmp_path / "worker"):
        await asyncio.sleep(0.2)
        assert (tmp_path / "worker").exists()


async def test_the_tables_of_the_job_queue_are_those_of_the_installed_pgqueuer(database):
    plan = await worker.waker(database, Settings(), asyncio.Event()).queries.plan_upgrade()
    assert list(plan.statements) == []


async def test_the_application_s_role_may_not_change_the_job_tables_themselves(server, database_name):
    async with connect(server.url(database_name, APPLICATION_ROLE)) as database:
        owner = await database.pool.fetchval(
            "SELECT tableowner FROM pg_tables WHERE schemaname = 'jobs' AND tablename = 'pgqueuer_schedules'"
        )
    assert owner == server.superuser


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_ends_well_when_it_is_told_to(server: Server, database_name, tmp_path, ending):
    beat = tmp_path / "worker"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.commands", "worker", "--heartbeat", str(beat),
        env={
            **os.environ, "DATABASE_URL": server.dsn(database_name, APPLICATION_ROLE),
            "TESSERA_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    for _ in range(600):
        if beat.exists():
            break
        await asyncio.sleep(0.05)
    process.send_signal(ending)
    said, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert b"apply-due" in said
