"""kill -9 of whoever settles, at any moment of any step, and of the database: a run is done once, with the same bytes."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from partners.decisions import preparing
from partners.purchases import purchases
from settlement import archive, controls, runs, statements
from tests.builders import NOON, a_receipt, identified
from tests.deep.test_database_crashes import coalition_of, kill

pytestmark = pytest.mark.deep

ROUNDS = 6

# Whoever settles, as a process of its own: closes, begins, and takes every step in a transaction of its own.
SETTLER = """
import asyncio, sys
from datetime import datetime
from kit.database import connect
from settlement import runs

async def main(url, at):
    at = datetime.fromisoformat(at)
    async with connect(url, pool_size=2) as database:
        print("began", flush=True)
        await runs.close_cutoff(database, actor="finance", at=at)
        try:
            async with database.transaction() as connection:
                begun = await runs.begin(connection, actor="finance", at=at)
        except runs.NothingToSettle:
            begun = []
        for run_id in begun:
            for step in (runs.calculate, runs.control, runs.issue):
                async with database.transaction() as connection:
                    await step(connection, run_id, actor="finance", at=at)
        print("done", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def settler(url: str, at: str) -> asyncio.subprocess.Process:
    """A settling process that has begun."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SETTLER, url, at, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"began\n"
    return process


async def issued(database: Database) -> dict[int, list[bytes]]:
    """The canonical bytes of every issued run."""
    found = {}
    async with database.reading() as connection:
        for head in await archive.runs(connection):
            if head.state in ("IN_REVIEW", "APPROVED"):
                run = await archive.run(connection, head.run_id)
                names = [w.name for w in run.windows]
                found[head.run_id] = [statements.content(s.draft(), names) for s in run.statements]
    return found


@pytest.mark.parametrize("seed", [20260305])
async def test_a_settler_that_is_killed_anywhere_leaves_a_run_that_is_not_done_or_done(
    durable_server: postgres.Server, durable_database: Database, durable_name: str, vault: Vault, seed: int,
    tell: Callable[..., None],
) -> None:  # fmt: skip
    coalition = await coalition_of(durable_database, vault)
    async with durable_database.transaction() as connection:
        await actors.ensure_actor(connection, "finance", [actors.FINANCE_MAKER])
        await actors.ensure_actor(connection, "checker", [actors.FINANCE_CHECKER])
    dice, url = random.Random(seed), durable_server.url(durable_name, APPLICATION_ROLE)
    members = [identified(await coalition.add_member()) for _ in range(6)]
    caller, crashes, at = coalition.callers["bakery"], 0, NOON
    for number in range(ROUNDS):
        directory = await coalition.desk.directory.get()
        for _ in range(20):
            item = preparing.prepare(
                directory, caller, dice.choice(members), a_receipt(dice.randint(100, 9_000)), at=at, idem_key=None
            )
            with suppress(Exception):  # a pool remembers connections that died with the database
                await purchases.accrue(coalition.desk, item)
        at += timedelta(days=1)
        patience = dice.uniform(0, 0.1)
        while True:  # each one lives a little longer than the one before, however fast the machine is
            patience += dice.uniform(0.02, 0.2)
            before = await _patiently(durable_database)
            process = await settler(url, at.isoformat())
            try:
                await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                process.kill()
                await process.wait()
                crashes += 1
                if dice.random() < 0.2:
                    kill(durable_server)
                    crashes += 1
                    await asyncio.to_thread(postgres.start, durable_server.data_folder, durable=True)
                after = await _patiently(durable_database)
                assert all(after[run_id] == said for run_id, said in before.items()), "what was issued has changed"
                continue
            assert process.returncode == 0
            break
        assert len(await _patiently(durable_database)) == number + 1
    async with durable_database.transaction() as connection:
        wrong = [f"{v.code} {v.detail}" for v in await controls.run(connection)]
        first = await archive.runs(connection)
        ended = await runs.abort(
            connection, first[0].run_id, actor="checker", reason="to be drawn once more", at=at + timedelta(days=30)
        )
    said = await issued_of(durable_database, ended.run_id)
    async with durable_database.transaction() as connection:
        [again] = await runs.settle(connection, actor="finance", at=at + timedelta(days=30))
    if await issued_of(durable_database, again.head.run_id) != said:
        wrong.append("the last run, drawn once more, gives other bytes")
    await coalition.desk.close()
    tell(operations=ROUNDS * 20, crashes=crashes, violations=len(wrong), seed=seed)
    assert wrong == []
    assert crashes >= ROUNDS


async def issued_of(database: Database, run_id: int) -> list[bytes]:
    """The canonical bytes of a run."""
    async with database.reading() as connection:
        run = await archive.run(connection, run_id)
    return [statements.content(s.draft(), [w.name for w in run.windows]) for s in run.statements]


async def _patiently(database: Database) -> dict[int, list[bytes]]:
    """What is issued, asked until the pool has let go of connections that died."""
    for _ in range(20):
        with suppress(Exception):
            return await issued(database)
    return await issued(database)
