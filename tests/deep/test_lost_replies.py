"""Replies lost after the commit: a retry hears what was done, and what was done was never called a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.masking import is_unavailable
from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from partners.desk import Desk
from partners.directory import DirectoryCache
from tests.builders import NOON
from tests.deep.cutting import HALF_REPLY, LOST_REPLY, LOST_REQUEST, wire
from tests.deep.load import DeskWindow, Load, close_cutoffs, differences, unsound
from tests.deep.test_database_crashes import STEP, coalition_of, stored_key

pytestmark = pytest.mark.deep

SECONDS = 10.0


@pytest.mark.parametrize("seed", [20260302])
async def test_a_reply_lost_after_the_commit_is_no_failure_and_a_retry_hears_it(
    server: postgres.Server, database: Database, database_name: str, vault: Vault, seed: int, tell: Callable[..., None]
) -> None:
    coalition = await coalition_of(database, vault)
    cards = [await coalition.add_member() for _ in range(12)]
    async with (
        wire(server, seed, one_in=25) as (far, cable),
        connect(far.url(database_name, APPLICATION_ROLE)) as cut_off,
    ):
        desk = Desk(cut_off, vault, DirectoryCache(cut_off.pool, vault))
        load = Load(DeskWindow(coalition, desk, is_unavailable), cards, seed, lambda number: NOON + number * STEP)
        stop, cable.cutting = asyncio.Event(), True
        working = asyncio.create_task(load.run(stop))
        closing = asyncio.create_task(
            close_cutoffs(cut_off, lambda: NOON + len(load.intents) * STEP, stop, is_unavailable)
        )
        await asyncio.sleep(SECONDS)
        stop.set()
        closes, _ = await asyncio.gather(closing, working)
        cable.cutting = False
        await desk.close()
        load.window = DeskWindow(coalition, coalition.desk, is_unavailable)
        await load.ask_all_again(400)
        wrong = load.violations + await differences(load, database.pool, stored_key(coalition))
        wrong += await unsound(database, NOON + (len(load.intents) + 1) * STEP)
    await coalition.desk.close()
    figures = load.figures()
    tell(**figures, **cable.cuts, cutoffs=closes, violations=len(wrong), seed=seed)
    assert wrong == []
    assert min(cable.cuts[kind] for kind in (LOST_REPLY, HALF_REPLY, LOST_REQUEST)) >= 5
    assert figures["found recorded on retry"] >= 5  # type: ignore[operator]
