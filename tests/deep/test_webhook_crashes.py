"""kill -9 of whoever tells partners, at any moment: every event reaches its endpoint, under one id, and nobody else's."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta

import pytest

from gateway.webhooks import delivering, endpoints, kinds
from gateway.webhooks.endpoints import Wanted
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from partners.agreements.onboarding import OwnPerson
from partners.decisions import preparing
from partners.purchases import purchases
from tests.builders import NOON, Coalition, a_receipt, found, identified
from tests.gateway import receiving
from tests.gateway.receiving import Received

pytestmark = pytest.mark.deep

ROUNDS, SALES = 8, 40

# Whoever tells partners, as a process of its own. The wall's clock of each is later than the last one's leases.
TELLER = """
import asyncio, sys
from datetime import datetime, timedelta
from gateway.webhooks import calling, delivering, gathering
from gateway.webhooks.gathering import Sources
from kit import clock
from kit.database import connect
from kit.secrets import Vault
from partners.directory import DirectoryCache

async def main(url, key, at, late):
    at, late = datetime.fromisoformat(at), timedelta(seconds=int(late))
    now = lambda: clock.wall() + late
    vault = Vault(bytes.fromhex(key))
    async with connect(url, pool_size=4) as database, calling.opened(is_sandbox=True) as caller:
        sources = Sources(database, vault, DirectoryCache(database.pool, vault))
        print("began", flush=True)
        is_more = True
        while is_more:
            _, is_more = await gathering.gather(sources, at=at, now=now())
            await delivering.deliver(sources, caller, site="", at=at, now=now)
        print("done", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("seed", [20261122])
async def test_a_teller_that_is_killed_anywhere_loses_nothing_and_tells_nobody_else(
    durable_server: postgres.Server, durable_database: Database, durable_name: str, vault: Vault, seed: int,
    tell: Callable[..., None],
) -> None:  # fmt: skip
    coalition, dice = await found(durable_database, vault), random.Random(seed)
    for code in ("bakery", "grocer"):
        await coalition.add_partner(code, return_window_days=0)
    url = durable_server.url(durable_name, APPLICATION_ROLE)
    sold: defaultdict[str, set[str]] = defaultdict(set)
    members = [identified(await coalition.add_member()) for _ in range(5)]
    at, kills = NOON, 0
    async with receiving.opened() as receiver:

        def answer(_: Received) -> tuple[int, dict[str, str], bytes]:
            return dice.choice([(200, {}, b""), (200, {}, b""), (500, {}, b"")])

        receiver.script = answer
        for code in ("bakery", "grocer"):
            await _listen(coalition, code, receiver.url(f"/{code}"))
        for number in range(ROUNDS):
            for sale in range(SALES):
                code = dice.choice(("bakery", "grocer"))
                receipt = a_receipt(dice.randint(100, 9_000), reference=f"{code}-{number}-{sale}", at=at)
                directory = await coalition.desk.directory.get()
                await purchases.accrue(
                    coalition.desk,
                    preparing.prepare(
                        directory, coalition.callers[code], dice.choice(members), receipt, at=at, idem_key=None
                    ),
                )
                sold[code].add(receipt.reference)
            process = await _teller(url, vault, at, number)
            before = len(receiver.received)
            wanted = dice.randint(0, SALES)
            while process.returncode is None and len(receiver.received) - before < wanted:
                await asyncio.sleep(0.001)
            if process.returncode is None:
                process.kill()
                kills += 1
            await process.wait()
            at += timedelta(hours=1)
        receiver.script = receiving.taken
        for number in range(3):  # what failed comes when its time has come
            at += timedelta(days=1)
            process = await _teller(url, vault, at, ROUNDS + number)
            assert await process.wait() == 0
        heard = {code: {one.id: one.told for one in receiver.at(f"/{code}")} for code in sold}
    await coalition.desk.close()
    for code, told in heard.items():
        assert {each["data"]["reference"] for each in told.values()} == sold[code]
        assert len(told) == len(sold[code]), "one id for each event, however often it was sent"
    rest = await durable_database.pool.fetchval(
        "SELECT count(*) FROM gateway.webhook_delivery WHERE state <> 'DELIVERED'"
    )
    tell(events=sum(map(len, sold.values())), calls=len(receiver.received), crashes=kills, violations=rest, seed=seed)
    assert rest == 0
    assert kills >= ROUNDS // 2


async def _listen(coalition: Coalition, code: str, url: str) -> None:
    async with coalition.database.transaction() as connection:
        actor = await actors.ensure_actor(connection, f"{code}/Dev", [])
        by = OwnPerson(actor, coalition.callers[code].partner_id)
        await endpoints.add(
            connection, coalition.vault, by, Wanted(url, "", (kinds.PURCHASE_RECORDED,)), is_sandbox=True, at=NOON,
            now=clock.wall(),
        )  # fmt: skip


async def _teller(url: str, vault: Vault, at: object, number: int) -> asyncio.subprocess.Process:
    """A process that tells partners and has begun."""
    late = (number + 1) * int(delivering.LEASE.total_seconds() + 60)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TELLER, url, bytes(range(32)).hex(), str(at), str(late), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 120) == b"began\n"
    return process
