"""What a killed process left on its way between two holders is completed by the worker, once."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from gateway import worker
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

# A process that dies without a word where its argument says.
DIES = """
import asyncio, os, signal, sys
from datetime import datetime
from uuid import uuid4
from kit.database import connect
from ledger import transfer_store as store, transfers
from ledger.transfers import Order

url, sender, receiver, place = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    at = datetime.fromisoformat(sys.argv[5])
    async with connect(url) as database:
        if place == "before the first half is committed":
            store.finish = die
            async with database.transaction() as connection:
                await transfers.send(connection, Order(sender, receiver, 60), idem_key=uuid4(), fingerprint=uuid4(), at=at, day=at.date())
                await die()
        async with database.transaction() as connection:
            sent = await transfers.send(connection, Order(sender, receiver, 60), idem_key=uuid4(), fingerprint=uuid4(), at=at, day=at.date())
        if place == "between the halves":
            await die()
        store.finish = die
        await transfers.complete(database, sender, sent.seq, at=at)

asyncio.run(main())
"""


async def holder_with(database: Database, points: int) -> int:
    holder = await database.pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)")
    if points:
        await database.pool.fetchval(
            "SELECT ledger.accrue($1, 1::smallint, 1, $2, $2, $3, ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[$4::bigint],"
            " ARRAY[$3::timestamptz], ARRAY[$3::timestamptz + interval '1 year'])",
            holder, uuid4(), NOON, points,
        )  # fmt: skip
    return holder


async def available(database: Database, holder: int) -> int:
    return await database.pool.fetchval("SELECT available FROM ledger.account WHERE holder_id = $1", holder)


@pytest.mark.parametrize(
    ("place", "moved"),
    [("before the first half is committed", 0), ("between the halves", 60), ("after the second half", 60)],
)
async def test_a_transfer_whose_process_was_killed_is_completed_once_or_never_was(
    database: Database, server: Server, database_name: str, place: str, moved: int
) -> None:
    sender, receiver = await holder_with(database, 100), await holder_with(database, 0)
    address = server.url(database_name, APPLICATION_ROLE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES, address, str(sender), str(receiver), place, NOON.isoformat()
    )
    assert await process.wait() == -signal.SIGKILL
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    never = asyncio.Event()
    done = await asyncio.gather(*(worker.complete_transfers(database, NOON, never) for _ in range(3)))
    assert sum(done) >= (1 if moved else 0)
    assert await worker.complete_transfers(database, NOON, never) == 0
    assert (await available(database, sender), await available(database, receiver)) == (100 - moved, moved)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_a_worker_that_is_told_to_stop_completes_no_further_transfer(database: Database) -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert await worker.complete_transfers(database, NOON, stopping) == 0


async def test_one_transfer_that_nobody_can_receive_does_not_keep_the_others_waiting(database: Database) -> None:
    sender, receiver = await holder_with(database, 100), await holder_with(database, 0)
    for to in (404, receiver):
        await database.pool.fetchrow(
            "SELECT * FROM ledger.transfer_out($1, 1::smallint, $2, 10, NULL, NULL, false, true, false, true, $3, $3, $4, $5)",
            sender, to, uuid4(), NOON, NOON.date(),
        )  # fmt: skip
    await worker.complete_transfers(database, NOON, asyncio.Event())
    assert await available(database, receiver) == 10
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
