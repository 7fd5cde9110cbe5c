"""Closing a cut-off loses nothing, whoever writes meanwhile; and the guards that see to it are seen to matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from ledger import cutoffs
from ledger.cutoffs import Cutoff, CutoffOutOfOrder

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
GATE = 7_305_999
# An accrual enters the cut-off in the same words as everybody else by enter_cutoff.
LOCK = "v_locked := pg_advisory_xact_lock_shared(7305002, v_cutoff) IS NOT NULL;"
CHECK_AGAIN = "PERFORM FROM ledger.cutoff WHERE cutoff_id = v_cutoff AND state = 'OPEN';"
NO_CHECK = "PERFORM FROM ledger.cutoff WHERE cutoff_id = v_cutoff;"


async def accrue(
    connection: asyncpg.Connection,
    holder: int,
    *,
    at: datetime = START,
    activates_at: datetime | None = None,
    expires_at: datetime | None = None,
    points: int = 10,
) -> int:
    return await connection.fetchval(
        "SELECT status FROM ledger.accrue($1, 1::smallint, 1, $2, $2, $3, ARRAY[1], ARRAY[1], ARRAY[1],"
        " ARRAY[$4::bigint], ARRAY[$5::timestamptz], ARRAY[$6::timestamptz])",
        holder, uuid4(), at, points, activates_at or at, expires_at or at + 365 * DAY,
    )  # fmt: skip


async def open_accounts(database: Database, count: int) -> list[int]:
    rows = await database.pool.fetch("SELECT ledger.open_accounts($1, 1::smallint) AS holder", count)
    return [row["holder"] for row in rows]


async def violations(database: Database) -> list[str]:
    return [f"{row['rule']}: {row['detail']}" for row in await database.pool.fetch("SELECT * FROM ledger.audit()")]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another connection is about to do."""
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what was waited for did not happen in five seconds")


async def somebody_waits(database: Database, classid: int) -> bool:
    return await database.pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
        classid,
    )


@pytest.fixture
async def owner(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """The schema's owner, who may change what the application may not."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


@asynccontextmanager
async def connections(server: Server, name: str, count: int) -> AsyncIterator[list[asyncpg.Connection]]:
    opened = [await asyncpg.connect(server.dsn(name, APPLICATION_ROLE)) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            await connection.close()


async def test_closing_an_empty_cutoff_counts_nothing_and_opens_the_next(database: Database) -> None:
    closed = await cutoffs.close(database, at=START)

    assert (closed.cutoff_id, closed.state, closed.opened_at, closed.cut_at) == (1, "CUT", None, START)
    assert (closed.journal_count, closed.posting_count, closed.posting_points) == (0, 0, 0)
    async with database.reading() as connection:
        assert [(c.cutoff_id, c.state) for c in await cutoffs.cutoffs(connection)] == [(1, "CUT"), (2, "OPEN")]


async def test_a_cutoff_does_not_close_before_it_was_opened(database: Database) -> None:
    await cutoffs.close(database, at=START)

    with pytest.raises(cutoffs.CutoffOutOfOrder):
        await cutoffs.close(database, at=START - DAY)
    async with database.reading() as connection:
        assert len(await cutoffs.cutoffs(connection)) == 2


async def test_what_is_due_by_the_cut_lies_in_the_cutoff(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutoffs, "SWEPT_AT_ONCE", 2)
    holders = await open_accounts(database, 5)
    async with database.pool.acquire() as connection:
        for holder in holders:
            await accrue(connection, holder, activates_at=START + DAY, expires_at=START + 2 * DAY)
    steps: list[int] = []

    first = await cutoffs.close(database, at=START + DAY, progress=steps.append)
    second = await cutoffs.close(database, at=START + 3 * DAY)

    assert (first.posting_count, first.posting_points) == (10, 100)  # five accruals, five activations
    assert steps == [2, 2, 1, 0]
    assert (second.posting_count, second.posting_points) == (5, 50)  # five expiries
    assert await database.pool.fetchval("SELECT sum(available + pending) FROM ledger.account") == 0
    assert await violations(database) == []


async def test_closing_again_finishes_what_a_crash_left_draining(database: Database) -> None:
    [holder] = await open_accounts(database, 1)
    async with database.pool.acquire() as connection:
        await accrue(connection, holder)
        await connection.fetchval("SELECT ledger.drain_cutoff($1)", START + DAY)  # and then the process died
        await accrue(connection, holder, at=START + 2 * DAY)

    closed = await cutoffs.close(database, at=START + 3 * DAY)

    async with database.reading() as connection:
        states = [(c.cutoff_id, c.state, c.cut_at, c.posting_count) for c in await cutoffs.cutoffs(connection)]
    assert closed.cutoff_id == 2
    assert states == [(1, "CUT", START + DAY, 1), (2, "CUT", START + 3 * DAY, 1), (3, "OPEN", None, None)]
    assert await violations(database) == []


async def test_the_same_close_after_a_crash_is_the_same_cutoff(database: Database) -> None:
    await database.pool.fetchval("SELECT ledger.drain_cutoff($1)", START)

    assert (await cutoffs.close(database, at=START)).cutoff_id == 1
    async with database.reading() as connection:
        assert [c.state for c in await cutoffs.cutoffs(connection)] == ["CUT", "OPEN"]


async def test_closing_under_eight_concurrent_writers_loses_nothing(
    database: Database, database_name: str, server: Server
) -> None:
    holders = await open_accounts(database, 8)
    async with connections(server, database_name, 8) as writers:
        enough = asyncio.Event()
        tasks = [asyncio.create_task(_write(w, h, 60, enough)) for w, h in zip(writers, holders, strict=True)]
        closes = 0
        while not all(task.done() for task in tasks):
            closes += 1
            await cutoffs.close(database, at=START + closes * timedelta(seconds=1))
            if closes == 4:
                enough.set()
        written = sum(await asyncio.gather(*tasks))
    await cutoffs.close(database, at=START + 2 * DAY)

    async with database.reading() as connection:
        closed = [c for c in await cutoffs.cutoffs(connection) if c.state == "CUT"]
    assert sum(1 for c in closed if c.posting_count) >= 3
    assert sum(c.posting_count or 0 for c in closed) == written >= 8 * 60
    assert sum(c.posting_points or 0 for c in closed) == written * 10
    assert await violations(database) == []


async def _write(connection: asyncpg.Connection, holder: int, least: int, enough: asyncio.Event) -> int:
    """Earn at least so often, and on until it is enough; how often it was."""
    written = 0
    while written < least or not enough.is_set():
        assert await accrue(connection, holder) == 0
        written += 1
    return written


async def close_while_a_writer_stands_between_reading_and_locking(
    database: Database, owner: asyncpg.Connection, *, routine: str = "ledger.enter_cutoff", checks: bool = True
) -> list[str]:
    """Violations after this interleaving of a routine: a writer has read the number of the open cut-off and not yet
    locked it, the cut-off is closed and counted, the writer goes on. It checks again whether it is open, or not.

    An accrual enters by itself the cut-off that its session remembers, here from an accrual before.
    """
    source = await owner.fetchval("SELECT pg_get_functiondef($1::regproc)", routine)
    assert source.count(LOCK) == 1
    replaced = source if checks else source.replace(CHECK_AGAIN, NO_CHECK)
    assert checks or replaced != source
    await owner.execute(replaced.replace(LOCK, f"PERFORM pg_catalog.pg_advisory_xact_lock_shared({GATE}, 1); {LOCK}"))
    [holder] = await open_accounts(database, 1)

    async with database.pool.acquire() as connection:
        if routine == "ledger.accrue_lot":
            assert await accrue(connection, holder) == 0
        await owner.execute(f"SELECT pg_advisory_lock({GATE}, 1)")
        writer = asyncio.create_task(accrue(connection, holder))
        await until(lambda: somebody_waits(database, GATE))
        # Not cutoffs.close: its sweep would stand before the gate too. These are its two steps.
        async with database.transaction() as closer:
            draining = await cutoffs.cutoff_store.drain_cutoff(closer, at=START + DAY)
        async with database.transaction() as closer:
            await cutoffs.cutoff_store.seal_cutoff(closer, cutoff_id=draining)
        await owner.execute(f"SELECT pg_advisory_unlock({GATE}, 1)")
        assert await writer == 0
    return await violations(database)


async def test_a_writer_overtaken_by_the_closer_lands_in_the_next_cutoff(
    database: Database, owner: asyncpg.Connection
) -> None:
    assert await close_while_a_writer_stands_between_reading_and_locking(database, owner) == []
    assert await database.pool.fetchval("SELECT cutoff_id FROM ledger.posting") == 2


async def test_an_accrual_that_remembers_a_cutoff_and_is_overtaken_lands_in_the_next(
    database: Database, owner: asyncpg.Connection
) -> None:
    assert (
        await close_while_a_writer_stands_between_reading_and_locking(database, owner, routine="ledger.accrue_lot")
        == []
    )
    rows = await database.pool.fetch("SELECT cutoff_id FROM ledger.posting ORDER BY seq")
    assert [row["cutoff_id"] for row in rows] == [1, 2]


@pytest.mark.parametrize(
    ("routine", "lost"),
    [
        ("ledger.enter_cutoff", "counted 0 entries, 0 postings, 0 points; found 1, 1, 10"),
        ("ledger.accrue_lot", "counted 1 entries, 1 postings, 10 points; found 2, 2, 20"),
    ],
)
async def test_without_the_re_check_the_overtaken_writer_is_lost(
    database: Database, owner: asyncpg.Connection, routine: str, lost: str
) -> None:
    found = await close_while_a_writer_stands_between_reading_and_locking(
        database, owner, routine=routine, checks=False
    )

    assert lost in "".join(found)
    assert "A16 cut-off = what is recorded in it: cut-off 1" in found[0]


async def close_while_a_writer_has_not_committed(
    database: Database, *, remembered: bool = False
) -> tuple[bool, list[str]]:
    """Whether the closer waited for a writer that had recorded and not committed, and the violations afterwards. The
    writer's session may remember the cut-off from an accrual before."""
    [holder] = await open_accounts(database, 1)
    async with database.pool.acquire() as connection:
        if remembered:
            assert await accrue(connection, holder) == 0
        writing = connection.transaction()
        await writing.start()
        assert await accrue(connection, holder) == 0
        closing = asyncio.create_task(cutoffs.close(database, at=START + DAY))

        async def waits_or_is_done() -> bool:
            return closing.done() or await somebody_waits(database, 7_305_002)

        await until(waits_or_is_done)
        waited = not closing.done()
        await writing.commit()
        await closing
    return waited, await violations(database)


async def test_the_closer_waits_for_a_writer_that_has_not_committed(database: Database) -> None:
    assert await close_while_a_writer_has_not_committed(database) == (True, [])


async def test_the_closer_waits_for_an_accrual_that_remembers_its_cutoff(database: Database) -> None:
    assert await close_while_a_writer_has_not_committed(database, remembered=True) == (True, [])


@pytest.mark.parametrize(
    ("routine", "lost"),
    [
        ("ledger.enter_cutoff", "counted 0 entries, 0 postings, 0 points; found 1, 1, 10"),
        ("ledger.accrue_lot", "counted 1 entries, 1 postings, 10 points; found 2, 2, 20"),
    ],
)
async def test_without_the_lock_a_writer_that_has_not_committed_is_lost(
    database: Database, owner: asyncpg.Connection, routine: str, lost: str
) -> None:
    source = await owner.fetchval("SELECT pg_get_functiondef($1::regproc)", routine)
    assert LOCK in source
    await owner.execute(source.replace(LOCK, ""))

    waited, found = await close_while_a_writer_has_not_committed(database, remembered=routine == "ledger.accrue_lot")

    assert not waited
    assert len(found) == 1
    assert lost in found[0]


async def closes_that_meet(database: Database, owner: asyncpg.Connection, second_at: datetime) -> Cutoff:
    """What the second of two closes hears when it began while the first had the open cut-off in hand."""
    async with owner.transaction():
        await owner.fetchval("SELECT ledger.drain_cutoff($1)", START + DAY)
        second = asyncio.create_task(cutoffs.close(database, at=second_at))

        async def waits_or_is_done() -> bool:
            return second.done() or bool(
                await database.pool.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
                )
            )

        await until(waits_or_is_done)
        assert not second.done()
    return await second


async def test_of_two_closes_at_once_for_one_instant_both_tell_of_one_cutoff(
    database: Database, owner: asyncpg.Connection
) -> None:
    closed = await closes_that_meet(database, owner, START + DAY)

    assert (closed.cutoff_id, closed.state, closed.cut_at) == (1, "CUT", START + DAY)
    async with database.reading() as connection:
        assert [one.state for one in await cutoffs.cutoffs(connection)] == ["CUT", "OPEN"]


async def test_of_two_closes_at_once_the_later_instant_closes_the_next_cutoff(
    database: Database, owner: asyncpg.Connection
) -> None:
    closed = await closes_that_meet(database, owner, START + 2 * DAY)

    assert (closed.cutoff_id, closed.cut_at) == (2, START + 2 * DAY)
    assert await violations(database) == []


async def test_of_two_closes_at_once_an_earlier_instant_is_refused_and_closes_nothing(
    database: Database, owner: asyncpg.Connection
) -> None:
    with pytest.raises(CutoffOutOfOrder):
        await closes_that_meet(database, owner, START)

    async with database.reading() as connection:
        assert [one.cut_at for one in await cutoffs.cutoffs(connection)] == [START + DAY, None]


AGAIN = "v_cutoff := ledger.enter_cutoff();"


async def cutoffs_of_a_spending_that_waited(database: Database, having: asyncpg.Connection) -> list[tuple[int, int]]:
    """Kind and cut-off of an account's entries, in order: somebody spends, and waits for who has the account; the next
    cut-off is opened; who has the account records ten points in it; the points are spent."""
    [holder] = await open_accounts(database, 1)
    async with having.transaction():
        await having.execute("SELECT FROM ledger.account WHERE holder_id = $1 FOR NO KEY UPDATE", holder)
        spent = asyncio.create_task(
            database.pool.fetchval(
                "SELECT status FROM ledger.spend(3::smallint, $1, 1::smallint, 10, NULL, 1, 1, $2, $2, $3, $4)",
                holder, uuid4(), START, START.date(),
            )
        )  # fmt: skip
        await until(lambda: waits_for_a_row(database))
        async with database.transaction() as closer:
            assert await cutoffs.cutoff_store.drain_cutoff(closer, at=START + DAY) == 1
        assert await accrue(having, holder) == 0
    assert await spent == 0
    rows = await database.pool.fetch("SELECT kind, cutoff_id FROM ledger.journal ORDER BY seq")
    return [(row["kind"], row["cutoff_id"]) for row in rows]


async def waits_for_a_row(database: Database) -> bool:
    return await database.pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') AND NOT granted)"
    )


async def test_points_are_spent_in_no_cutoff_before_the_one_that_they_came_in(
    database: Database, owner: asyncpg.Connection
) -> None:
    """A cut-off with what was spent and without what it was spent of could not be settled: its stock were below zero."""
    assert await cutoffs_of_a_spending_that_waited(database, owner) == [(1, 2), (3, 2)]
    assert await violations(database) == []


async def test_who_does_not_look_again_once_it_has_the_account_spends_points_of_the_next_cutoff(
    database: Database, owner: asyncpg.Connection
) -> None:
    source = await owner.fetchval("SELECT pg_get_functiondef('ledger.spend'::regproc)")
    assert source.count(f"  {AGAIN}") == 1
    await owner.execute(source.replace(f"  {AGAIN}", ""))
    assert await cutoffs_of_a_spending_that_waited(database, owner) == [(1, 2), (3, 1)]


async def test_everything_that_takes_points_looks_again_at_the_cutoff_once_it_has_the_account(
    database: Database,
) -> None:
    """Whatever waits for an account before it takes something from it, one by one or in a batch; what gives need not."""
    rows = await database.pool.fetch(
        "SELECT p.proname AS name, pg_get_functiondef(p.oid) AS source FROM pg_proc p JOIN pg_namespace n "
        "ON n.oid = p.pronamespace WHERE n.nspname = 'ledger' AND p.prosrc LIKE '%enter_cutoff()%'"
    )
    waiting = {
        row["name"]: AGAIN in row["source"].partition("BEGIN")[2]
        for row in rows
        if "FOR NO KEY UPDATE" in row["source"] or "lock_accounts(" in row["source"]
    }
    assert {name for name, again in waiting.items() if not again} == {
        "accrue_lots",
        "accrue_many",
        "record_expiry_notices",
    }
    assert len(waiting) > 10
