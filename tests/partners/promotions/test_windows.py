"""Budgets over any days in a row: no run of them holds more than the ceiling, whoever comes at once and however late."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta

import asyncpg
import pytest

from kit.database import APPLICATION_ROLE, Database, driver_url
from kit.postgres import Server
from kit.secrets import Vault
from partners.decisions import decisions
from partners.promotions import budgets, simulation
from partners.promotions.basket import Outcome
from partners.promotions.budgets import BudgetInvalid
from partners.promotions.simulation import fullest
from partners.returns.returning import Wish
from tests.builders import DAY, NOON, a_receipt
from tests.founded import a_coalition
from tests.partners.promotions.market import Market, bonus, late, met_market, open_market
from tests.partners.promotions.offers import basket, budget, context, line, release, rule
from tests.partners.promotions.test_promoted import give_back

CALLERS, EACH, DAYS, SPAN = 16, 25, 7, 20
FIRST = date(2026, 3, 2)


template = a_coalition(open_market, bakery={"return_window_days": 0})


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await met_market(database, vault)
    yield made
    assert await made.violations() == []
    await made.desk.close()


@pytest.fixture
async def callers(market: Market, server: Server, database_name: str) -> AsyncIterator[asyncpg.Pool]:
    """A connection for each of sixteen callers. Their charges are of no receipts: they are gone before the audit."""
    url = driver_url(server.url(database_name, APPLICATION_ROLE))
    async with asyncpg.create_pool(url, min_size=CALLERS, max_size=CALLERS) as pool:
        yield pool
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    await owner.execute("DELETE FROM partners.budget_counter")
    await owner.close()


async def hundred_a_week(market: Market) -> int:
    """A budget of a hundred points in any seven days, for each member."""
    await market.budget("week", limit=100, scopes=["member"], period=f"rolling:{DAYS}")
    found: int = await market.desk.pool.fetchval("SELECT budget_id FROM partners.budget WHERE code = 'week'")
    return found


async def charge(on: asyncpg.Pool | asyncpg.Connection, budget_id: int, day: date, amount: int = 10) -> bool:
    """One call that charges a day; whether there was room."""
    denied = await on.fetchval(
        "SELECT partners.use_budgets(ARRAY[1],ARRAY[$1::int],ARRAY['member:1'],ARRAY[$2],ARRAY[$3::bigint])",
        budget_id, f"{day}/{DAYS}", amount,
    )  # fmt: skip
    return denied is None


async def used(pool: asyncpg.Pool) -> Counter[date]:
    rows = await pool.fetch("SELECT left(period, 10) AS day, used FROM partners.budget_counter")
    return Counter({date.fromisoformat(row["day"]): row["used"] for row in rows})


def runs(days: Counter[date]) -> list[int]:
    """What every run of days holds."""
    return [sum(days[FIRST + timedelta(start + n)] for n in range(DAYS)) for start in range(-DAYS, SPAN)]


async def rush(pool: asyncpg.Pool, budget_id: int) -> int:
    """How many of sixteen callers' attempts on days of three weeks were let through."""

    async def caller(number: int) -> int:
        chance = random.Random(number)
        return sum([await charge(pool, budget_id, FIRST + timedelta(chance.randrange(SPAN))) for _ in range(EACH)])

    return sum(await asyncio.gather(*(caller(number) for number in range(CALLERS))))


async def test_no_run_of_days_holds_more_than_the_ceiling_and_full_ones_hold_it_to_the_point(
    market: Market, callers: asyncpg.Pool
) -> None:
    budget_id = await hundred_a_week(market)
    through = await rush(callers, budget_id)
    held = await used(callers)
    assert max(runs(held)) == 100
    assert sum(held.values()) == 10 * through
    for day in range(SPAN):  # nothing is refused that there is room for
        assert not await charge(callers, budget_id, FIRST + timedelta(day))
    for table in ("budget_window", "budget_counter"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await callers.execute(f"UPDATE partners.{table} SET used = 1000")


async def test_without_its_guards_more_is_given_than_there_is(
    market: Market, callers: asyncpg.Pool, server: Server, database_name: str
) -> None:
    budget_id = await hundred_a_week(market)
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    source = await owner.fetchval("SELECT pg_get_functiondef('partners.use_windows'::regproc)")
    guard = "WHERE r.would_be > coalesce(b.ceiling, 0)"
    assert guard in source
    await owner.execute(source.replace(guard, "WHERE false"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="budget_window"):
        await rush(callers, budget_id)  # the table refuses by itself
    await owner.execute("ALTER TABLE partners.budget_window DISABLE ROW LEVEL SECURITY")
    await rush(callers, budget_id)
    assert max(runs(await used(callers))) > 100
    await owner.close()


@pytest.mark.parametrize("is_held", [True, False])
async def test_who_charges_another_day_of_the_same_run_waits_for_who_came_first(
    market: Market, callers: asyncpg.Pool, server: Server, database_name: str, is_held: bool
) -> None:
    """And without the lock both get through: sixty and sixty of a hundred."""
    budget_id = await hundred_a_week(market)
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    if not is_held:
        source = await owner.fetchval("SELECT pg_get_functiondef('partners.use_windows'::regproc)")
        lock = "ORDER BY w.budget_id, w.scope FOR NO KEY UPDATE OF w"
        assert lock in source
        late_one = "WHERE (w.budget_id, w.scope) = (n.budget_id, n.scope)"  # it would wait there, and know no better
        assert late_one in source
        await owner.execute(source.replace(lock, "").replace(late_one, "WHERE false"))
    await charge(callers, budget_id, FIRST - timedelta(60), 1)  # the row to be held is there
    async with callers.acquire() as one, callers.acquire() as other:
        first = one.transaction()
        await first.start()
        assert await charge(one, budget_id, FIRST, 60)
        pid = await other.fetchval("SELECT pg_backend_pid()")
        second = asyncio.create_task(charge(other, budget_id, FIRST + timedelta(1), 60))
        waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        while not second.done() and not await owner.fetchval(waits, pid):
            await asyncio.sleep(0)
        await first.commit()
        assert await second is (not is_held)
    assert max(runs(await used(callers))) == (60 if is_held else 120)
    await owner.close()


async def test_a_member_gets_so_much_in_any_thirty_days_and_a_late_receipt_no_more(market: Market) -> None:
    """Days 0, 15, 29 and 30; a receipt of day 14 that comes late; a return that gives back to its day."""
    await market.budget("monthly", limit=25, scopes=["member"], period="rolling:30", on_exceed="partial")
    await market.publish(bonus("gift", 10, caps=["monthly"]))
    card = await market.coalition.add_member()
    bought = {day: await market.buy(card, late(a_receipt(50), day)) for day in (0, 15, 29, 30)}
    assert [one.receipt.awarded_points for one in bought.values()] == [10, 10, 5, 10]
    assert bought[29].receipt.decision["known"]["left"] == {f"monthly/member:{card.member_id}/2026-03-31/30": 5}
    behind = await market.buy(card, late(a_receipt(50), 14), at=NOON + 31 * DAY)
    assert behind.receipt.awarded_points == 0
    async with market.coalition.database.reading() as connection:
        shown = {one.period_key: (one.used, one.remaining) for one in await budgets.usage(connection, "monthly")}
    assert shown == {
        "2026-03-02/30": (10, 0), "2026-03-17/30": (10, 0), "2026-03-31/30": (5, 0), "2026-04-01/30": (10, 0),
    }  # fmt: skip
    await give_back(market, bought[15], Wish(), after=20)
    again = await market.buy(card, late(a_receipt(50), 40))
    assert again.receipt.awarded_points == 10
    around = (await market.desk.directory.get()).around(again.receipt)
    for one in (*bought.values(), behind, again):
        recalled = decisions.recalled(one.receipt, around).outcome
        assert recalled.outcome_sha256 == one.receipt.decision["outcome_sha256"]


async def test_many_purchases_of_a_member_at_once_share_a_run_of_days_to_the_point(market: Market) -> None:
    await market.budget("monthly", limit=95, scopes=["member"], period="rolling:30", on_exceed="partial")
    await market.publish(bonus("gift", 10, caps=["monthly"]))
    card = await market.coalition.add_member()
    done = await asyncio.gather(*(market.buy(card, late(a_receipt(50), day), at=NOON + 30 * DAY) for day in range(14)))
    assert sum(one.receipt.awarded_points for one in done) == 95
    assert sum((await market.used("monthly")).values()) == 95


async def test_a_period_of_days_is_one_to_999(market: Market) -> None:
    count = "SELECT count(*) FROM partners.budget"
    for period in ("rolling:0", "rolling:1000", "rolling:", "rolling", "30"):
        with pytest.raises(BudgetInvalid):
            await market.budget("x", period=period)
    assert await market.desk.pool.fetchval(count) == 0


def test_a_simulation_keeps_to_any_days_in_a_row_too() -> None:
    offer = release(
        rule("gift", {"type": "points_fixed", "points": 10}, caps=["week"]),
        budget("week", limit=25, scopes=("member",), period=f"rolling:{DAYS}", on_exceed="partial"),
    )
    what = basket(line(1, 1_000))
    stored = [
        simulation.Decided(what, context(NOON + day * DAY), Outcome()) for day in (0, 3, 6, 7, 3)
    ]  # fmt: skip
    told = simulation.simulate(offer, stored)
    assert told.draft.points_by_rule["gift"] == 10 + 10 + 5 + 10
    assert told.exhausted == {"week": 2}
    assert fullest({FIRST: 5, FIRST + timedelta(7): 4}, FIRST + timedelta(3), DAYS) == 5
    assert fullest({}, FIRST, DAYS) == 0
