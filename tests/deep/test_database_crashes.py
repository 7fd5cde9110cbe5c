"""kill -9 of the whole database under load: nothing acknowledged is lost, nothing is recorded twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest

from gateway.masking import is_unavailable
from kit import postgres
from kit.database import Database
from kit.secrets import Vault
from partners import calls
from tests.builders import NOON, Coalition, found
from tests.deep.load import PURCHASE, RETURN, DeskWindow, Intent, Load, close_cutoffs, differences, unsound

pytestmark = pytest.mark.deep

ROUNDS = 8
STEP = timedelta(minutes=10)


def kill(server: postgres.Server) -> None:
    """SIGKILL to the postmaster and to every process it has, by their numbers; none gets to say goodbye."""
    number = int((server.data_folder / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(number)
    assert postmaster.cwd() == str(server.data_folder)
    for process in (postmaster, *postmaster.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


async def coalition_of(database: Database, vault: Vault) -> Coalition:
    """Two partners, one with a return window, one without."""
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    await coalition.add_partner("grocer")
    return coalition


def stored_key(coalition: Coalition) -> Callable[[Intent], object]:
    """How a call's key is stored for the in-process desk's callers."""
    return lambda intent: calls.scoped_key(
        coalition.callers[intent.partner], RETURN if intent.operation == RETURN else PURCHASE, intent.key
    )


@pytest.mark.parametrize("seed", [20260301])
async def test_what_was_acknowledged_survives_kill_9_of_the_database(
    durable_server: postgres.Server, durable_database: Database, vault: Vault, seed: int, tell: Callable[..., None]
) -> None:
    coalition = await coalition_of(durable_database, vault)
    cards = [await coalition.add_member() for _ in range(12)]
    load = Load(DeskWindow(coalition, coalition.desk, is_unavailable), cards, seed, lambda number: NOON + number * STEP)
    dice, stop = random.Random(seed), asyncio.Event()
    working = asyncio.create_task(load.run(stop))
    closing = asyncio.create_task(
        close_cutoffs(durable_database, lambda: NOON + len(load.intents) * STEP, stop, is_unavailable)
    )
    for _ in range(ROUNDS):
        before = sum(one.answer is not None for one in load.intents)
        await asyncio.sleep(dice.uniform(0.7, 1.6))
        assert sum(one.answer is not None for one in load.intents) > before, "the load stands still"
        kill(durable_server)
        await asyncio.sleep(dice.uniform(0, 0.3))
        await asyncio.to_thread(postgres.start, durable_server.data_folder, durable=True)
    await asyncio.sleep(1)
    stop.set()
    closes, _ = await asyncio.gather(closing, working)
    await load.ask_all_again(400)
    wrong = load.violations + await differences(load, durable_database.pool, stored_key(coalition))
    wrong += await unsound(durable_database, NOON + (len(load.intents) + 1) * STEP)
    await coalition.desk.close()
    figures = load.figures()
    tell(**figures, crashes=ROUNDS, cutoffs=closes, violations=len(wrong), seed=seed)
    assert wrong == []
    assert figures["indeterminate"] >= ROUNDS  # type: ignore[operator]
