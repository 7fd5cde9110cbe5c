"""What is used of a budget, as people look at it: the fullest first, and quickly where it counts for millions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest
from sqlalchemy import text

from kit.database import Database
from kit.postgres import Server
from kit.secrets import Vault
from partners.promotions import budgets, store
from tests.builders import found
from tests.partners.promotions.market import Market, open_market

MANY = 20_000


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await open_market(await found(database, vault))
    await made.budget("each", limit=1_000, scopes=["member"], period="month")
    yield made
    await made.desk.close()


async def budget_id(market: Market) -> int:
    number: int = await market.desk.pool.fetchval("SELECT budget_id FROM partners.budget WHERE code = 'each'")
    return number


async def count(market: Market, *counters: tuple[str, str, int]) -> None:
    """Counters of the budget as charges leave them: scope, period, used."""
    number = await budget_id(market)
    await market.desk.pool.executemany(
        "INSERT INTO partners.budget_counter VALUES ($1, $2, $3, $4, 1000)", [(number, *one) for one in counters]
    )


async def shown(market: Market, limit: int = 10) -> list[tuple[str, str, int]]:
    async with market.coalition.database.reading() as connection:
        told = await budgets.usage(connection, "each", limit=limit)
    return [(one.scope_key, one.period_key, one.used) for one in told]


async def is_sampled(market: Market) -> bool:
    async with market.coalition.database.reading() as connection:
        return await budgets.is_sampled(connection, "each")


async def test_the_latest_period_and_the_fullest_of_it_come_first(market: Market) -> None:
    assert await shown(market) == []
    await count(market, *[(f"member:{n}", f"2026-0{month}", n * month) for n in range(1, 6) for month in (1, 2, 3)])
    assert await shown(market, 7) == [
        *[(f"member:{n}", "2026-03", n * 3) for n in (5, 4, 3, 2, 1)], ("member:5", "2026-02", 10),
        ("member:4", "2026-02", 8),
    ]  # fmt: skip
    assert len(await shown(market, 100)) == 15
    assert not await is_sampled(market)


async def test_of_more_than_are_looked_at_some_are_shown_and_it_is_said(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "MOST_LOOKED_AT", 3)
    await count(market, *[(f"member:{n}", period, n) for n in (1, 2, 3) for period in ("2026-02", "2026-03")])
    assert not await is_sampled(market)
    await count(market, ("member:4", "2026-03", 900))
    assert await is_sampled(market)
    assert await shown(market, 2) == [("member:3", "2026-03", 3), ("member:2", "2026-03", 2)]


async def test_of_many_counters_neither_all_are_read_nor_all_are_sorted(
    market: Market, server: Server, database_name: str
) -> None:
    number = await budget_id(market)
    await market.desk.pool.execute(
        "INSERT INTO partners.budget_counter SELECT $1, 'member:' || n, '2026-0' || m, n % 1000, 1000 "
        "FROM generate_series(1, $2::int) n, generate_series(1, 2) m", number, MANY,
    )  # fmt: skip
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("ANALYZE partners.budget_counter")
    await owner.close()
    asked = {"budget_id": number, "limit": 10, "scopes": budgets.MOST_LOOKED_AT}
    async with market.coalition.database.reading() as connection:
        told = await connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {store.USAGE}"), asked)
        plan = told.scalar_one()
    nodes = list(_nodes((plan if isinstance(plan, list) else orjson.loads(plan))[0]["Plan"]))
    assert [one["Node Type"] for one in nodes if one.get("Relation Name") == "budget_counter"] != []
    assert [one for one in nodes if one["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")] == []
    assert max(one["Actual Rows"] * one["Actual Loops"] for one in nodes) <= 10 * budgets.MOST_LOOKED_AT
    assert await is_sampled(market)
    assert len(await shown(market)) == 10


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)
