"""Cut-offs that are counted as they fill: closing counts the rest, and the seal covers every entry whoever counted it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from ledger import chain, cutoffs
from tests.ledger.test_cutoffs import accrue, open_accounts, violations

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def owner(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """The schema's owner, who may change what the application may not."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


async def record(database: Database, count: int) -> None:
    for holder in await open_accounts(database, count):
        async with database.pool.acquire() as connection:
            assert await accrue(connection, holder) == 0


async def tallies(database: Database) -> list[tuple[int, int, int, bool]]:
    rows = await database.pool.fetch("SELECT * FROM ledger.tally ORDER BY cutoff_id, tally_no")
    return [(r["cutoff_id"], r["journal_count"], r["posting_count"], r["until_xid"] is None) for r in rows]


async def test_a_cutoff_that_was_counted_in_parts_holds_what_one_counted_at_once_does(database: Database) -> None:
    await record(database, 5)
    assert await cutoffs.tally_up(database, limit=2) == 5
    await record(database, 3)
    first = await cutoffs.close(database, at=START)
    await record(database, 4)
    second = await cutoffs.close(database, at=START + DAY)

    assert (first.journal_count, first.posting_count, first.posting_points) == (8, 8, 80)
    assert (second.journal_count, second.posting_count, second.posting_points) == (4, 4, 40)
    found = await tallies(database)
    assert [n for c, n, _, _ in found if c == 1] == [2, 2, 1, 3, 0]  # closing counts, and then the rest
    assert [is_rest for *_, is_rest in found] == [False] * 4 + [True, False, True]
    assert await violations(database) == []
    async with database.reading() as connection:
        assert (await chain.verify(connection)).holds


async def test_many_that_count_at_once_count_everything_once(database: Database) -> None:
    await record(database, 12)
    counted = await asyncio.gather(*(cutoffs.tally_up(database, limit=3) for _ in range(4)))
    assert sum(counted) == 12
    assert (await cutoffs.close(database, at=START)).posting_count == 12
    assert await violations(database) == []


async def test_what_an_old_transaction_hides_from_counting_is_in_the_rest(
    database: Database, server: Server, database_name: str
) -> None:
    old = await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE))
    try:
        hanging = old.transaction()
        await hanging.start()
        await old.fetchval("SELECT pg_current_xact_id()")
        await record(database, 3)
        assert (await cutoffs.close(database, at=START)).posting_count == 3
        await hanging.rollback()
    finally:
        await old.close()
    await cutoffs.tally_up(database)  # and now it can be read, it was counted
    assert [n for _, n, _, _ in await tallies(database)] == [3]
    assert await violations(database) == []
    async with database.reading() as connection:
        assert (await chain.verify(connection)).holds


@pytest.mark.parametrize(
    "alteration",
    [
        "UPDATE ledger.tally SET hash = sha256('x') WHERE tally_no = 1",
        "UPDATE ledger.journal SET hash = sha256('x') WHERE holder_id = (SELECT min(holder_id) FROM ledger.journal)",
        "DELETE FROM ledger.journal WHERE holder_id = (SELECT max(holder_id) FROM ledger.journal)",
        "UPDATE ledger.journal SET cutoff_id = 2 WHERE holder_id = (SELECT min(holder_id) FROM ledger.journal)",
        "INSERT INTO ledger.journal SELECT holder_id, seq + 1, amount, ref_seq, available_after, pending_after, held_after, "
        "debt_after, at, recorded_at, '3', gen_random_uuid(), fingerprint, partner_id, 1, unit, kind, hash "
        "FROM ledger.journal WHERE cutoff_id = 1 ORDER BY holder_id LIMIT 1",
        "DELETE FROM ledger.tally WHERE tally_no = 1 AND cutoff_id = 1",
    ],
)
async def test_whatever_is_done_to_a_sealed_cutoff_breaks_its_seal(
    database: Database, owner: asyncpg.Connection, alteration: str
) -> None:
    await record(database, 4)
    await cutoffs.tally_up(database, limit=2)
    await cutoffs.close(database, at=START)
    await cutoffs.close(database, at=START + DAY)
    assert await database.pool.fetch("SELECT * FROM ledger.verify_seals()") == []

    await owner.execute(alteration)

    broken = [row[0] for row in await database.pool.fetch("SELECT * FROM ledger.verify_seals()")]
    assert 1 in broken


async def test_a_cutoff_that_was_sealed_before_there_were_tallies_keeps_its_seal(
    database: Database, owner: asyncpg.Connection
) -> None:
    await record(database, 3)
    await cutoffs.close(database, at=START)
    await owner.execute("DELETE FROM ledger.tally")
    await owner.execute("UPDATE ledger.cutoff SET seal = ledger.seal_of(1) WHERE cutoff_id = 1")
    await record(database, 2)
    await cutoffs.close(database, at=START + DAY)
    assert await database.pool.fetch("SELECT * FROM ledger.verify_seals()") == []
    await owner.execute("UPDATE ledger.journal SET hash = sha256('x') WHERE cutoff_id = 1")
    assert [row[0] for row in await database.pool.fetch("SELECT * FROM ledger.verify_seals()")] == [1]


async def test_the_application_cannot_write_a_tally(database: Database) -> None:
    for attempt in (
        "DELETE FROM ledger.tally",
        "INSERT INTO ledger.tally VALUES (1, 1, '1', '2', 0, 0, 0, sha256(''))",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.execute(attempt)
