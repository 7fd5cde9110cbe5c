"""Rehearsals that somebody asked for: run once by whichever worker, taken over when one dies, given up in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.database import Database
from kit.secrets import Vault
from partners.promotions import publishing, rehearsals, simulations
from partners.promotions.publishing import Change
from partners.promotions.simulations import LEASE, SimulationsTooMany
from tests.builders import DAY, NOON, a_receipt
from tests.founded import a_coalition
from tests.partners.promotions.market import Market, bonus, met_market, open_market

WALL = datetime(2026, 3, 9, tzinfo=UTC)


template = a_coalition(open_market, bakery={"return_window_days": 0})


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await met_market(database, vault)
    coalition = made.coalition
    for _ in range(2):
        await made.buy(await coalition.add_member(), a_receipt(1_000))
    async with database.transaction() as connection:
        await publishing.draft(connection, source=bonus("gift", 7), author=made.maker, at=NOON)
    yield made
    await coalition.desk.close()


async def order(market: Market, *, days: int = 7) -> int:
    async with market.coalition.database.transaction() as connection:
        return await simulations.order(
            connection, Change({"gift": None}), days=days, author=market.maker, at=NOON + DAY
        )


async def run(market: Market, *, at: datetime = WALL, stopping: asyncio.Event | None = None) -> int | None:
    return await simulations.run_next(
        market.coalition.database, market.desk.directory, now=lambda: at, stopping=stopping or asyncio.Event()
    )


async def state(market: Market, number: int) -> tuple[str, int]:
    row = await market.desk.pool.fetchrow(
        "SELECT state, attempts FROM partners.simulation WHERE simulation_id = $1", number
    )
    return row["state"], row["attempts"]


async def test_each_is_run_once_by_many_workers_and_nothing_but_it_is_written(market: Market) -> None:
    numbers = [await order(market) for _ in range(3)]
    before = await market.rows()
    done = await asyncio.gather(*[run(market) for _ in range(5)])
    assert sorted(one for one in done if one is not None) == numbers
    async with market.coalition.database.reading() as connection:
        kept = [await simulations.find(connection, number) for number in numbers]
    assert {(one.state, one.baskets, one.baskets_done) for one in kept if one} == {("DONE", 2, 2)}
    assert all(one and one.report and (one.report.was.points, one.report.draft.points) == (20, 34) for one in kept)
    assert await market.rows() == before


async def test_one_person_has_three_at_once(market: Market) -> None:
    for _ in range(3):
        await order(market)
    with pytest.raises(SimulationsTooMany):
        await order(market)
    assert await market.desk.pool.fetchval("SELECT count(*) FROM partners.simulation") == 3
    await run(market)
    await order(market)


async def test_who_is_told_to_stop_puts_it_back_and_no_attempt_is_counted(market: Market) -> None:
    number = await order(market)
    stopping = asyncio.Event()
    stopping.set()
    assert await run(market, stopping=stopping) == number
    assert await state(market, number) == ("WAITING", 0)
    assert await run(market) == number
    assert await state(market, number) == ("DONE", 1)


async def test_what_fails_is_tried_three_times(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ConnectionResetError

    number = await order(market)
    with monkeypatch.context() as patch:
        patch.setattr(rehearsals, "simulate", broken)
        for attempt in (1, 2, 3):
            with pytest.raises(ConnectionResetError):
                await run(market)
            assert await state(market, number) == ("FAILED" if attempt == 3 else "WAITING", attempt)
    assert await run(market) is None


async def test_one_whose_worker_died_is_taken_over_and_the_dead_one_writes_nothing_more(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await order(market)
    waiting, going_on = asyncio.Event(), asyncio.Event()
    real = rehearsals.simulate

    async def slow(*given: Any, **more: Any) -> Any:
        waiting.set()
        await going_on.wait()
        return await real(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(rehearsals, "simulate", slow)
        first = asyncio.create_task(run(market))
        await waiting.wait()
    assert await run(market, at=WALL + LEASE - timedelta(seconds=1)) is None
    assert await run(market, at=WALL + LEASE) == number
    async with market.coalition.database.reading() as connection:
        kept = await simulations.find(connection, number)
    going_on.set()
    assert await first == number
    assert await state(market, number) == ("DONE", 2)
    async with market.coalition.database.reading() as connection:
        assert await simulations.find(connection, number) == kept


async def test_one_that_nobody_finished_three_times_is_given_up(market: Market) -> None:
    number = await order(market)
    await market.desk.pool.execute(
        "UPDATE partners.simulation SET state = 'RUNNING', attempts = 3, leased_until = $1", WALL
    )
    assert await run(market) is None
    assert await state(market, number) == ("FAILED", 3)
