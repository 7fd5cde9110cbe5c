"""A desk that closes under load, and callers that go away: nothing acknowledged is lost, nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from kit.database import Database
from kit.lane import Busy
from kit.secrets import Vault
from partners.decisions import preparing
from partners.decisions.prepared import Prepared
from partners.desk import Desk
from partners.directory import DirectoryCache
from partners.outcomes import Recorded
from partners.purchases import purchases
from tests.builders import NOON, a_receipt, found, identified, violations

pytestmark = pytest.mark.deep

CALLERS = 600
ROUNDS = 6


async def _call(desk: Desk, prepared: Prepared, starts: float) -> Recorded:
    await asyncio.sleep(starts)
    return await purchases.accrue(desk, prepared)


async def _gone(task: asyncio.Task[Recorded], after: float) -> None:
    await asyncio.sleep(after)
    task.cancel()


def _told(outcome: Recorded | BaseException) -> str:
    return "acknowledged" if isinstance(outcome, Recorded) else type(outcome).__name__


@pytest.mark.parametrize("seed", [20260304])
async def test_callers_that_go_away_and_a_desk_that_closes_under_load_lose_nothing_acknowledged(
    database: Database, vault: Vault, seed: int, tell: Callable[..., None]
) -> None:
    coalition = await found(database, vault)
    caller = await coalition.add_partner("bakery", return_window_days=0)
    members = [identified(await coalition.add_member()) for _ in range(20)]
    dice, directory, heard, wrong = random.Random(seed), await coalition.desk.directory.get(), Counter[str](), []
    recorded: dict[object, Recorded] = {}
    for _ in range(ROUNDS):
        desk = Desk(database, vault, DirectoryCache(database.pool, vault))
        items = [
            preparing.prepare(
                directory, caller, dice.choice(members), a_receipt(dice.randint(0, 9_000)), at=NOON, idem_key=None
            )
            for _ in range(CALLERS)
        ]
        calls = [asyncio.create_task(_call(desk, item, dice.uniform(0, 0.2))) for item in items]
        going = [asyncio.create_task(_gone(call, dice.uniform(0, 0.2))) for call in dice.sample(calls, CALLERS // 3)]
        await asyncio.sleep(dice.uniform(0.02, 0.15))
        await asyncio.wait_for(desk.close(), 20)
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
        await asyncio.gather(*going)
        heard.update(map(_told, outcomes))
        stored = {row["claim"] for row in await database.pool.fetch("SELECT claim FROM partners.receipt")}
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Recorded) and item.row.claim not in stored:
                wrong.append(f"acknowledged and not stored: {outcome}")
            if isinstance(outcome, Busy) and item.row.claim in stored:
                wrong.append(f"refused as busy and stored: {item.row.claim}")
            again = await purchases.accrue(coalition.desk, item)
            if isinstance(outcome, Recorded) and (not again.replayed or again.receipt != outcome.receipt):
                wrong.append(f"heard {outcome}, then {again}")
            recorded[item.row.claim] = again
    rows = await database.pool.fetch("SELECT claim, count(*) AS n FROM partners.receipt GROUP BY claim")
    wrong += [f"stored {row['n']} times: {row['claim']}" for row in rows if row["n"] != 1]
    total = await database.pool.fetchval("SELECT sum(available + pending) FROM ledger.account")
    wrong += [str(one) for one in await violations(database.pool)]
    await coalition.desk.close()
    tell(operations=len(recorded), **heard, crashes=ROUNDS, violations=len(wrong), seed=seed)
    assert wrong == []
    assert len(rows) == len(recorded) == ROUNDS * CALLERS
    assert total == sum(one.receipt.awarded_points for one in recorded.values())
    assert set(heard) == {"acknowledged", "Busy", "CancelledError"}
    assert min(heard.values()) > CALLERS // 10
