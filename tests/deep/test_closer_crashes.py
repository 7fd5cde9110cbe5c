"""A closer that dies between the two steps of closing a cut-off, and the one that comes after it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from gateway.masking import is_unavailable
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from tests.builders import DAY, NOON
from tests.deep.load import DeskWindow, Load, differences, unsound
from tests.deep.test_database_crashes import coalition_of, kill, stored_key
from tests.ledger.test_cutoffs import somebody_waits, until

pytestmark = pytest.mark.deep

STEP = timedelta(seconds=30)

# A closer as a process of its own. Told to dawdle, it says so after the drain and stays there until it is killed.
CLOSER = """
import asyncio, sys
from datetime import datetime
from kit.database import connect
from ledger import cutoffs

async def main(url, at, dawdles):
    seal = cutoffs.cutoff_store.seal_cutoff
    async def late(connection, *, cutoff_id):
        print("drained", cutoff_id, flush=True)
        if dawdles:
            await asyncio.sleep(3600)
        return await seal(connection, cutoff_id=cutoff_id)
    cutoffs.cutoff_store.seal_cutoff = late
    async with connect(url, pool_size=1) as database:
        await cutoffs.close(database, at=datetime.fromisoformat(at))

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "dawdles"))
"""


async def closer(url: str, at: str, manner: str) -> tuple[asyncio.subprocess.Process, int]:
    """A closing process that has drained a cut-off, and the cut-off's number."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLOSER, url, at, manner, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = await asyncio.wait_for(process.stdout.readline(), 30)
    assert said.startswith(b"drained "), said
    return process, int(said.split()[1])


async def states(database: Database) -> dict[int, str]:
    async with database.reading() as connection:
        return {one.cutoff_id: one.state for one in await cutoffs.cutoffs(connection)}


@pytest.mark.parametrize("seed", [20260303])
async def test_what_a_killed_closer_left_draining_is_finished_by_the_next_and_nothing_is_lost(
    durable_server: postgres.Server, durable_database: Database, durable_name: str, vault: Vault, seed: int,
    tell: Callable[..., None],
) -> None:  # fmt: skip
    coalition = await coalition_of(durable_database, vault)
    cards = [await coalition.add_member() for _ in range(12)]
    load = Load(DeskWindow(coalition, coalition.desk, is_unavailable), cards, seed, lambda number: NOON + number * STEP)
    url = durable_server.url(durable_name, APPLICATION_ROLE)
    stop = asyncio.Event()
    working = asyncio.create_task(load.run(stop))
    crashes = 0
    for round_no in range(1, 4):
        await asyncio.sleep(0.4)
        at = NOON + round_no * DAY
        process, draining = await closer(url, at.isoformat(), "dawdles")
        process.kill()
        await process.wait()
        crashes += 1
        await asyncio.sleep(0.3)  # the tills go on, in the next cut-off
        if round_no == 2:
            kill(durable_server)
            crashes += 1
            await asyncio.to_thread(postgres.start, durable_server.data_folder, durable=True)
        with suppress(Exception):  # a pool remembers connections that died
            await states(durable_database)
        assert (await states(durable_database))[draining] == "DRAINING"
        closed = await cutoffs.close(durable_database, at=at if round_no == 1 else at + DAY / 2)
        assert (await states(durable_database))[draining] == "CUT"
        # The same instant is the same cut-off; a later one closes the next as well.
        assert closed.cutoff_id == (draining if round_no == 1 else draining + 1)
    crashes += await _killed_while_it_waits_for_a_writer(durable_database, url)
    stop.set()
    await working
    wrong = load.violations + await differences(load, durable_database.pool, stored_key(coalition))
    wrong += await unsound(durable_database, NOON + 30 * DAY)
    await coalition.desk.close()
    counted = await durable_database.pool.fetchval("SELECT sum(posting_count) FROM ledger.cutoff WHERE state = 'CUT'")
    assert counted == await durable_database.pool.fetchval("SELECT count(*) FROM ledger.posting")
    tell(**load.figures(), crashes=crashes, violations=len(wrong), seed=seed)
    assert wrong == []


async def _killed_while_it_waits_for_a_writer(database: Database, url: str) -> int:
    """Kill a closer that stands in the seal, behind a writer that has not committed; the writer loses nothing."""
    holder = await database.pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)")
    async with database.pool.acquire() as connection:
        writing = connection.transaction()
        await writing.start()
        seq = await connection.fetchval(
            "SELECT seq FROM ledger.accrue($1, 1::smallint, 1, NULL, NULL, $2, ARRAY[1],"
            " ARRAY[1], ARRAY[1], ARRAY[10::bigint], ARRAY[$2::timestamptz],"
            " ARRAY[$2::timestamptz + interval '1 year'])",
            holder, NOON,
        )  # fmt: skip
        process, draining = await closer(url, (NOON + 10 * DAY).isoformat(), "hurries")
        await until(lambda: somebody_waits(database, 7_305_002))
        process.kill()
        await process.wait()
        await writing.commit()
    await cutoffs.close(database, at=NOON + 11 * DAY)
    written_in = await database.pool.fetchval(
        "SELECT cutoff_id FROM ledger.posting WHERE holder_id = $1 AND seq = $2", holder, seq
    )
    assert (written_in, (await states(database))[draining]) == (draining, "CUT")
    await database.pool.fetchval(  # so that the balance check, which knows only the load's cards, is not surprised
        "SELECT status FROM ledger.return_accrual($1, 1::smallint, $2, ARRAY[1::smallint], ARRAY[10::bigint], 1, NULL,"
        " NULL, $3)",
        holder, seq, NOON,
    )  # fmt: skip
    return 1
