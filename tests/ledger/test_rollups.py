"""Every entry is rolled up once, whatever order commits come in and whichever cluster the database is in."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

import migrations
from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from ledger import rollups
from ledger.audit import Violation
from ledger.rollups import Rollup
from tests.conftest import SCRATCH
from tests.ledger.test_operations import DAY, T0, Holder, open_holder

FOUND = "SELECT coalesce(sum(points), 0)::bigint, coalesce(sum(postings), 0)::bigint FROM ledger.rollup"
EXPECTED = "SELECT coalesce(sum(amount), 0)::bigint, count(*) FROM ledger.posting"


async def roll_up(database: Database, limit: int = rollups.ENTRIES_AT_ONCE) -> int:
    async with database.transaction() as connection:
        return await rollups.roll_up(connection, limit=limit)


async def rolled(database: Database) -> tuple[int, int]:
    """Points and postings in the totals."""
    return tuple(await database.pool.fetchrow(FOUND))


async def posted(database: Database) -> tuple[int, int]:
    """Points and postings in the journal."""
    return tuple(await database.pool.fetchrow(EXPECTED))


async def violations(database: Database) -> list[Violation]:
    async with database.reading() as connection:
        return await rollups.violations(connection)


@asynccontextmanager
async def open_transaction(database: Database) -> AsyncIterator[Holder]:
    """A holder whose operations all lie in one transaction, committed at the end of the block."""
    async with database.pool.acquire() as connection, connection.transaction():
        yield await open_holder(connection)


@contextmanager
def another_cluster() -> Iterator[postgres.Server]:
    """A PostgreSQL of its own, where transactions count from the beginning."""
    place = Path(tempfile.mkdtemp(prefix="tessera-other-", dir=SCRATCH))
    folders = {place}
    try:
        with postgres.running(place, durable=False) as other:
            folders.add(other.data_folder)
            yield other
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


async def test_totals_are_by_day_parties_and_accounts(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100, issuer=1)
    await holder.accrue(30, issuer=1)
    await holder.accrue(40, issuer=3, day=1)
    await holder.redeem(120, day=1, partner=2)
    assert await roll_up(database) == 4
    async with database.reading() as connection:
        found = await rollups.totals(connection, since=date(2026, 1, 1), until=date(2026, 1, 3))
        assert await rollups.totals(connection, since=date(2026, 1, 1), until=date(2026, 1, 2)) == found[:1]
    first, second = date(2026, 1, 1), date(2026, 1, 2)
    assert found == [
        Rollup(first, 1, 1, 1, 1, 10, 1, 2, 130),
        Rollup(second, 1, 1, 1, 2, 1, 11, 2, 120),
        Rollup(second, 1, 3, 3, 3, 10, 1, 1, 40),
    ]


async def test_an_entry_that_commits_after_a_later_one_is_neither_missed_nor_counted_twice(database: Database) -> None:
    async with open_transaction(database) as slow:
        await slow.accrue(7)
        quick = await open_holder(database.pool)
        await quick.accrue(1_000)
        assert await roll_up(database) == 0
        assert await rolled(database) == (0, 0)
    assert await roll_up(database) == 2
    assert await rolled(database) == (1_007, 2)
    assert await roll_up(database) == 0
    assert await rolled(database) == (1_007, 2)
    assert await violations(database) == []


async def test_what_committed_before_the_oldest_open_transaction_began_does_not_wait_for_it(database: Database) -> None:
    await (await open_holder(database.pool)).accrue(5)
    async with open_transaction(database) as slow:
        await slow.accrue(7)
        assert await roll_up(database) == 1
        async with database.reading() as connection:
            lags = {lag.reader: lag for lag in await rollups.lags(connection)}
        assert lags["ROLL_UP"].entries == 0
        assert lags["ROLL_UP"].held_back > 0
        assert (lags["WATCH"].entries, lags["WATCH"].oldest_recorded_at) == (1, T0)
    assert await rolled(database) == (5, 1)


async def test_a_transaction_left_open_in_another_database_delays_and_its_end_lets_go(
    database: Database, server: postgres.Server
) -> None:
    foreign = await asyncpg.connect(server.dsn("postgres", server.superuser))
    try:
        async with foreign.transaction():
            await foreign.fetchval("SELECT pg_current_xact_id()")
            await (await open_holder(database.pool)).accrue(5)
            assert await roll_up(database) == 0
        assert await roll_up(database) == 1
    finally:
        await foreign.close()


async def test_what_is_rolled_back_is_never_counted(database: Database) -> None:
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await (await open_holder(connection)).accrue(7)
        await transaction.rollback()
    await (await open_holder(database.pool)).accrue(5)
    assert await roll_up(database) == 1
    assert await rolled(database) == (5, 1)


async def test_of_two_rollers_the_second_waits_and_goes_on_where_the_first_ended(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(5)
    async with database.engine.connect() as first, database.engine.connect() as second:
        assert await rollups.roll_up(first) == 1
        waiting = asyncio.create_task(rollups.roll_up(second))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        await holder.accrue(6)
        await first.commit()
        assert await waiting == 1
        await second.commit()
    assert await rolled(database) == (11, 2)


async def test_a_step_takes_about_as_many_entries_as_it_may_and_a_transaction_whole(database: Database) -> None:
    for size in (1, 3, 1, 2):
        async with open_transaction(database) as holder:
            for _ in range(size):
                await holder.accrue(1)
    assert [await roll_up(database, limit=2) for _ in range(4)] == [4, 3, 0, 0]
    assert await rolled(database) == (7, 7)


@pytest.mark.parametrize("seed", range(2))
async def test_under_concurrent_writers_that_dawdle_and_give_up_the_totals_are_the_postings(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)

    async def write() -> None:
        for _ in range(12):
            try:
                async with open_transaction(database) as holder:
                    await holder.accrue(dice.randint(1, 50))
                    await asyncio.sleep(dice.random() / 100)
                    await holder.redeem(dice.randint(1, 60))
                    if dice.random() < 0.2:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    async def roll() -> None:
        while not done.is_set():
            await roll_up(database, limit=dice.randint(1, 20))
            assert await violations(database) == []
            await asyncio.sleep(0.005)

    done = asyncio.Event()
    rollers = [asyncio.create_task(roll()) for _ in range(2)]
    await asyncio.gather(*(write() for _ in range(5)))
    done.set()
    await asyncio.gather(*rollers)
    while await roll_up(database):
        pass
    assert await rolled(database) == await posted(database)
    assert (await posted(database))[1] > 50


ALTERATIONS = {
    "a total": "UPDATE ledger.rollup SET points = points + 1",
    "a total removed": "DELETE FROM ledger.rollup",
    "a total of nothing": "INSERT INTO ledger.rollup VALUES ('2026-05-05', 1, 1, 1, 1, 10, 1, 1, 1)",
    "a posting": "UPDATE ledger.posting SET amount = amount + 1",
    "a watermark": "UPDATE ledger.watermark SET xid = '0'",
}


@pytest.mark.parametrize("alteration", ALTERATIONS.values(), ids=ALTERATIONS)
async def test_the_audit_of_roll_ups_sees_what_is_not_the_sum_of_its_postings(
    database: Database, server: postgres.Server, database_name: str, alteration: str
) -> None:
    await (await open_holder(database.pool)).accrue(5)
    await roll_up(database)
    assert await violations(database) == []
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(alteration)
    await owner.close()
    assert {each.rule for each in await violations(database)} == {"A12 roll-up = its postings"}


async def test_the_application_cannot_change_totals_or_watermarks_itself(database: Database) -> None:
    for table in ("rollup", "watermark", "epoch"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.execute(f"DELETE FROM ledger.{table}")


def copied(source: str, target: str) -> None:
    """Dump one database and restore it as another, with PostgreSQL's own programs."""
    dump = subprocess.run(
        [postgres.program("pg_dump"), "--no-owner", "-d", source], check=True, capture_output=True, timeout=60
    )
    subprocess.run(
        [postgres.program("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", target],
        input=dump.stdout, check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def restore(source: postgres.Server, target: postgres.Server, name: str) -> None:
    """The database of that name in another cluster, as pg_dump and psql bring it there."""
    postgres.create_database(target, name)
    copied(source.dsn(name, source.superuser), target.dsn(name, target.superuser))


AN_OLD_CLUSTER = "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


async def everything_counted_once(database: Database) -> None:
    while await roll_up(database):
        pass
    assert await rolled(database) == await posted(database)
    assert await violations(database) == []
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


NUMBERS = "SELECT extract(day FROM at)::int - 1 AS day FROM ledger.journal ORDER BY xid"


async def test_after_a_dump_and_restore_into_another_cluster_every_entry_is_still_counted_once(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    old = await open_holder(database.pool)
    await database.pool.execute(AN_OLD_CLUSTER)
    await old.accrue(100)
    await roll_up(database)
    await old.accrue(20, day=1)
    with another_cluster() as elsewhere:
        await _make_roles(elsewhere)
        restore(server, elsewhere, database_name)
        owner = elsewhere.url(database_name, elsewhere.superuser)
        async with connect(elsewhere.url(database_name, APPLICATION_ROLE)) as restored:
            holder = Holder(restored.pool, old.holder_id)
            with pytest.raises(DBAPIError, match="restored into another cluster"):
                await roll_up(restored)
            await holder.accrue(3, day=2)  # somebody was too early: before the migrations
            assert await migrations.upgrade_async(owner) == ["journal: epoch 2, in another cluster"]
            assert await migrations.upgrade_async(owner) == []
            assert await rolled(restored) == (123, 3)
            await holder.accrue(4, day=3)
            async with open_transaction(restored) as slow:
                await slow.accrue(50)
                await holder.redeem(30, day=4)
                await roll_up(restored)
                assert await rolled(restored) == (127, 4)
            await everything_counted_once(restored)
            rows = await restored.pool.fetch(NUMBERS)
            assert [row["day"] for row in rows] == [2, 0, 1, 3, 0, 4]  # the one before the migrations first


async def test_a_database_that_comes_home_again_begins_a_third_epoch(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    old = await open_holder(database.pool)
    await old.accrue(100)
    await roll_up(database)
    home = f"{database_name}_home"
    with another_cluster() as elsewhere:
        await _make_roles(elsewhere)
        restore(server, elsewhere, database_name)
        await migrations.upgrade_async(elsewhere.url(database_name, elsewhere.superuser))
        async with connect(elsewhere.url(database_name, APPLICATION_ROLE)) as away:
            await Holder(away.pool, old.holder_id).accrue(20, day=1)
            await everything_counted_once(away)
        postgres.create_database(server, home)
        copied(elsewhere.dsn(database_name, elsewhere.superuser), server.dsn(home, server.superuser))
    changed = await migrations.upgrade_async(server.url(home, server.superuser))
    assert changed == ["journal: epoch 3, in another cluster"]
    async with connect(server.url(home, APPLICATION_ROLE)) as database_at_home:
        await Holder(database_at_home.pool, old.holder_id).accrue(5, day=2)
        await everything_counted_once(database_at_home)
        assert await rolled(database_at_home) == (125, 3)
    postgres.drop_database(server, home)


async def test_a_copy_in_the_same_cluster_goes_on_as_if_nothing_had_happened(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    await roll_up(database)
    await holder.accrue(20)
    copy = f"{database_name}_copy"
    postgres.create_database(server, copy)
    copied(server.dsn(database_name, server.superuser), server.dsn(copy, server.superuser))
    assert await migrations.upgrade_async(server.url(copy, server.superuser)) == []
    async with connect(server.url(copy, APPLICATION_ROLE)) as copied_database:
        await Holder(copied_database.pool, holder.holder_id).accrue(3)
        assert await roll_up(copied_database) == 2
        await everything_counted_once(copied_database)
    postgres.drop_database(server, copy)


async def test_the_day_of_what_falls_due_is_its_due_day(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(10, expires=30)
    await holder.sweep(99)
    await roll_up(database)
    async with database.reading() as connection:
        found = await rollups.totals(connection, since=T0.date(), until=T0.date() + timedelta(days=100))
    assert [(each.day, each.credit) for each in found] == [(T0.date(), 1), ((T0 + 30 * DAY).date(), 12)]


async def _make_roles(server: postgres.Server) -> None:
    """A cluster's roles are no part of a dump; the migrations make them too."""
    owner = await asyncpg.connect(server.dsn("postgres", server.superuser))
    await owner.execute(f"CREATE ROLE {APPLICATION_ROLE} LOGIN; CREATE ROLE tessera_ledger NOLOGIN")
    await owner.close()
