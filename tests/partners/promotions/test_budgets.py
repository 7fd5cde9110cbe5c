"""Budgets: never more than the ceiling, whoever comes at once; what they were charged is on record."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import orjson
import pytest

from kit.database import APPLICATION_ROLE, Database, driver_url
from kit.postgres import Server
from kit.secrets import Vault
from members.cards import IssuedCard
from partners.decisions import decisions
from partners.promotions import budgets
from partners.promotions.budgets import BudgetExists, BudgetInvalid, BudgetIsFunded, BudgetNotFunded, FundingReused
from partners.purchases import purchases
from partners.receipts.receipts import Payment
from tests.builders import NOON, a_receipt, found
from tests.partners.promotions.market import EARLIER, Market, bonus, late, open_market
from tests.partners.promotions.offers import document

CALLERS, EACH = 16, 50


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    await coalition.add_partner("grocer", return_window_days=0)
    made = await open_market(coalition)
    yield made
    assert await made.violations() == []
    await coalition.desk.close()


async def charge(pool: asyncpg.Pool, budget_id: int, amount: int) -> bool:
    """One call that charges a budget; whether there was room."""
    denied = await pool.fetchval(
        "SELECT partners.use_budgets(ARRAY[1],ARRAY[$1::int],ARRAY[''],ARRAY[''],ARRAY[$2::bigint])", budget_id, amount
    )
    return denied is None


async def rush(pool: asyncpg.Pool, budget_id: int) -> int:
    """How many of 16 callers' 50 attempts of 10 points each were let through."""

    async def caller() -> int:
        return sum([await charge(pool, budget_id, 10) for _ in range(EACH)])

    return sum(await asyncio.gather(*(caller() for _ in range(CALLERS))))


@pytest.fixture
async def callers(market: Market, server: Server, database_name: str) -> AsyncIterator[asyncpg.Pool]:
    """A connection for each of sixteen callers. Their charges are of no receipts: they are gone before the audit."""
    url = driver_url(server.url(database_name, APPLICATION_ROLE))
    async with asyncpg.create_pool(url, min_size=CALLERS, max_size=CALLERS) as pool:
        yield pool
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    await owner.execute("DELETE FROM partners.budget_counter")
    await owner.close()


async def budget_of_a_thousand(market: Market) -> int:
    await market.budget("all", limit=1_000)
    found: int = await market.desk.pool.fetchval("SELECT budget_id FROM partners.budget WHERE code = 'all'")
    return found


async def test_sixteen_callers_with_fifty_attempts_of_ten_get_a_hundred_out_of_a_thousand(
    market: Market, callers: asyncpg.Pool
) -> None:
    assert await rush(callers, await budget_of_a_thousand(market)) == 100
    assert await callers.fetchval("SELECT used FROM partners.budget_counter") == 1_000


async def test_without_its_guards_more_is_given_than_there_is(
    market: Market, callers: asyncpg.Pool, server: Server, database_name: str
) -> None:
    budget_id = await budget_of_a_thousand(market)
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    source = await owner.fetchval("SELECT pg_get_functiondef('partners.use_budgets'::regproc)")
    guard = "WHERE k.used + excluded.used <= excluded.ceiling"
    assert guard in source
    await owner.execute(source.replace(guard, ""))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="budget_counter"):
        await rush(callers, budget_id)  # the table refuses by itself
    await owner.execute("ALTER TABLE partners.budget_counter DISABLE ROW LEVEL SECURITY")
    await rush(callers, budget_id)
    assert await callers.fetchval("SELECT used FROM partners.budget_counter") > 1_000
    await owner.close()


async def test_of_charges_together_those_are_denied_that_a_list_says(market: Market, callers: asyncpg.Pool) -> None:
    """One charge or several, of one counter or of many: whole counters are charged, and of others the items are named
    behind which there is no room, in order."""
    chance = random.Random(5)
    for code in ("one", "two"):
        await market.budget(code, limit=100)
    budget_ids = [row[0] for row in await callers.fetch("SELECT budget_id FROM partners.budget ORDER BY 1")]
    held: dict[tuple[int, str], int] = {}
    for _ in range(60):
        charges = [
            (item, chance.choice([*budget_ids, 10**6]), chance.choice(["a", "b"]), chance.randint(1, 60))
            for item in range(1, chance.choice([2, 2, 3, 6]))
        ]
        denied, sums = set[tuple[int, int]](), dict[tuple[int, str], int]()
        for item, budget_id, scope, amount in charges:
            sums[budget_id, scope] = sums.get((budget_id, scope), 0) + amount
            if sums[budget_id, scope] > (100 if budget_id in budget_ids else 0) - held.get((budget_id, scope), 0):
                denied.add((item, budget_id))
        columns = [list(column) for column in zip(*charges, strict=True)]
        async with callers.acquire() as one:
            call = one.transaction()
            await call.start()
            told = await one.fetchval("SELECT partners.use_budgets($1, $2, $3, $5, $4)", *columns, [""] * len(charges))
            assert {tuple(each) for each in orjson.loads(told or "[]")} == denied, charges
            await (call.rollback() if denied else call.commit())
        if not denied:
            held |= {key: held.get(key, 0) + amount for key, amount in sums.items()}
        rows = await callers.fetch("SELECT budget_id, scope, used FROM partners.budget_counter")
        assert {(row["budget_id"], row["scope"]): row["used"] for row in rows} == held
        if min(held.values(), default=0) > 70:
            await callers.execute("UPDATE partners.budget_counter SET used = used - 60 WHERE used > 60")
            held = {key: amount - 60 if amount > 60 else amount for key, amount in held.items()}


async def test_what_was_refused_is_denied_though_there_is_room_in_the_next_moment(market: Market) -> None:
    budget_id = await budget_of_a_thousand(market)
    denied = await market.desk.pool.fetchval(
        "SELECT partners.denied_charges(ARRAY[1,2],ARRAY[$1::int,$1],ARRAY['',''],ARRAY['',''],ARRAY[10::bigint,10],NULL)",
        budget_id,
    )
    assert orjson.loads(denied) == [[1, budget_id], [2, budget_id]]


async def test_many_members_at_once_share_a_budget_to_the_point(market: Market) -> None:
    await market.budget("pot", limit=95, on_exceed="partial")
    await market.publish(bonus("gift", 10, caps=["pot"]))
    cards = [await market.coalition.add_member() for _ in range(24)]
    done = await asyncio.gather(*(market.buy(card, a_receipt(50)) for card in cards))
    given = sorted(one.receipt.awarded_points for one in done)
    assert given == [0] * 14 + [5] + [10] * 9
    assert await market.used("pot") == {("", ""): 95}


async def test_a_budget_that_denies_gives_whole_effects_or_none(market: Market) -> None:
    await market.budget("pot", limit=95)
    await market.publish(bonus("gift", 10, caps=["pot"]))
    cards = [await market.coalition.add_member() for _ in range(24)]
    done = await asyncio.gather(*(market.buy(card, a_receipt(50)) for card in cards))
    assert sum(one.receipt.awarded_points for one in done) == 90
    short = next(one for one in done if not one.receipt.awarded_points)
    assert "BUDGET_EXHAUSTED" in {reason for reason, _, _ in short.receipt.decision["reasons"]}


async def test_a_purchase_for_which_a_budget_has_no_room_writes_nothing_of_its_own(market: Market) -> None:
    await market.budget("pot", limit=10)
    await market.publish(bonus("gift", 10, caps=["pot"]))
    one, other = await market.coalition.add_member(), await market.coalition.add_member()
    late_one = await market.decide(other, a_receipt(50))  # decided while there was room
    await market.buy(one, a_receipt(50))
    before = await market.rows()
    with pytest.raises(asyncpg.PostgresError) as refused:
        await market.desk.pool.fetchval(
            "SELECT partners.record_promoted(1::smallint,ARRAY[1::bigint],ARRAY[9::bigint],ARRAY[NULL::bigint],ARRAY[1],"
            "ARRAY[$1::int],ARRAY[''],ARRAY[''],ARRAY[10::bigint],'{}','{}','{}','{}','{}','{}','{}','{}')",
            late_one.promoted.charges[0].budget_id,
        )
    assert refused.value.sqlstate == "TS002"
    assert await market.rows() == before


async def test_members_of_one_batch_beyond_a_cap_are_decided_again_one_by_one(market: Market) -> None:
    await market.budget("monthly", limit=25, scopes=["member"], period="month", on_exceed="partial")
    await market.publish(bonus("gift", 10, caps=["monthly"]))
    card = await market.coalition.add_member()
    prepared = [await market.decide(card, a_receipt(50)) for _ in range(5)]
    done = await purchases.accrue_file(market.desk, prepared)
    assert sorted(one.receipt.awarded_points for one in done) == [0, 0, 5, 10, 10]
    assert await market.used("monthly") == {(f"member:{card.member_id}", "2026-03"): 25}


async def test_a_month_ends_by_the_budgets_own_calendar(market: Market) -> None:
    await market.budget("monthly", limit=10, scopes=["member"], period="month", zone="Pacific/Kiritimati")
    await market.publish(bonus("gift", 10, caps=["monthly"]))
    card = await market.coalition.add_member()
    before = a_receipt(50, at=NOON.replace(month=3, day=31, hour=9))
    after = a_receipt(50, at=NOON.replace(month=3, day=31, hour=11))  # 1 April, 01:00 there
    assert [(await market.buy(card, one)).receipt.awarded_points for one in (before, after)] == [10, 10]
    assert set(await market.used("monthly")) == {
        (f"member:{card.member_id}", month) for month in ("2026-03", "2026-04")
    }


async def test_whichever_cap_bites_first_the_members_or_the_cards(market: Market) -> None:
    await market.budget("by-member", limit=100, scopes=["member"], period="month", on_exceed="partial")
    await market.budget("by-card", limit=100, scopes=["instrument"], period="month", on_exceed="partial")
    await market.publish(bonus("gift", 60, caps=["by-member", "by-card"]))
    ann, bob = await market.coalition.add_member(), await market.coalition.add_member()
    directory = await market.desk.directory.get()

    async def pay(card: IssuedCard, token: str) -> int:
        done = (await market.buy(card, a_receipt(100, payments=(Payment("CARD", 100, token),)))).receipt
        recalled = decisions.recalled(done, directory.around(done))  # what was paid with is kept as the decision saw it
        assert recalled.outcome.outcome_sha256 == done.decision["outcome_sha256"]
        return done.awarded_points - 1  # one point is the agreement's

    assert [await pay(ann, "visa"), await pay(ann, "mastercard"), await pay(ann, "visa")] == [60, 40, 0]
    assert [await pay(bob, "visa"), await pay(bob, "visa"), await pay(bob, "mastercard")] == [40, 0, 60]
    assert sum((await market.used("by-member")).values()) == sum((await market.used("by-card")).values()) == 200


async def test_a_purchase_without_the_scope_of_a_cap_gets_nothing_of_its_rule(market: Market) -> None:
    await market.budget("by-card", limit=100, scopes=["instrument"], period="month")
    await market.publish(bonus("gift", 60, caps=["by-card"]))
    done = await market.buy(await market.coalition.add_member(), a_receipt(100))
    assert done.receipt.awarded_points == 1
    around = (await market.desk.directory.get()).around(done.receipt)
    assert [step.reason for step in decisions.recalled(done.receipt, around).outcome.steps] == ["SCOPE_MISSING"]


async def test_a_limit_that_is_lowered_below_what_is_used_stops_and_takes_nothing_back(market: Market) -> None:
    await market.budget("pot", limit=100)
    await market.publish(bonus("gift", 60, caps=["pot"]))
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(50))
    async with market.coalition.database.transaction() as connection:
        await budgets.set_limit(connection, "pot", 50, actor="settlement", at=NOON)
    assert (await market.buy(card, a_receipt(50))).receipt.awarded_points == 0
    async with market.coalition.database.transaction() as connection:
        await budgets.set_limit(connection, "pot", 120, actor="settlement", at=NOON)
    assert (await market.buy(card, a_receipt(50))).receipt.awarded_points == 60
    assert await market.used("pot") == {("", ""): 120}


async def test_a_partner_whose_exposure_is_used_up_earns_its_members_nothing_and_lets_them_spend(
    market: Market,
) -> None:
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(50_000))
    async with market.coalition.database.transaction() as connection:
        await budgets.add(
            connection,
            source={"code": "exposure:bakery", "unit": "points", "limit": 15},
            sponsor_id=0,
            actor="settlement",
            at=NOON,
        )
    await market.desk.directory.refresh()
    points = [(await market.buy(card, a_receipt(1_000))).receipt for _ in range(2)]
    assert [one.awarded_points for one in points] == [10, 0]
    assert points[1].decision["reasons"] == [["EXPOSURE_REACHED", 0, {}]]
    spent = await market.buy(card, a_receipt(1_000), spend=100)
    assert (spent.receipt.redeemed_points, spent.receipt.awarded_points) == (100, 0)
    assert (await market.buy(card, a_receipt(1_000), partner="grocer")).receipt.awarded_points == 10
    assert await market.used("exposure:bakery") == {("", ""): 10}


async def test_exposure_holds_to_the_point_when_many_buy_at_once(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        await budgets.add(
            connection,
            source={"code": "exposure:bakery", "unit": "points", "limit": 95},
            sponsor_id=0,
            actor="settlement",
            at=NOON,
        )
    await market.desk.directory.refresh()
    cards = [await market.coalition.add_member() for _ in range(20)]
    done = await asyncio.gather(*(market.buy(card, a_receipt(1_000)) for card in cards))
    assert sorted(one.receipt.awarded_points for one in done) == [0] * 11 + [10] * 9


async def test_a_budget_of_money_pays_out_what_was_paid_in(market: Market) -> None:
    await market.budget("fund", unit="money", currency="EUR", on_exceed="partial")
    half_off = document("half", {"type": "discount_percent", "rate_bp": 5_000}, caps=["fund"],
                        funding=[{"party": "grocer", "bp": 10_000}])  # fmt: skip
    await market.publish(half_off)
    card = await market.coalition.add_member()
    quote = await market.decide(card, a_receipt(lines={"1": 1_000}), is_quote=True)
    assert quote.decided.outcome.discounts == ()
    grocer = market.coalition.callers["grocer"].partner_id
    async with market.coalition.database.transaction() as connection:
        paid = {"payer_id": grocer, "reference": "INV-1", "actor": "test", "at": NOON}
        assert await budgets.fund(connection, "fund", 700, **paid) == 700
        assert await budgets.fund(connection, "fund", 700, **paid) == 700  # the same payment
        with pytest.raises(FundingReused):
            await budgets.fund(connection, "fund", 800, **paid)
        with pytest.raises(BudgetIsFunded):
            await budgets.set_limit(connection, "fund", 5, actor=market.maker, at=NOON)
    quote = await market.decide(card, a_receipt(lines={"1": 1_000, "2": 1_000}), is_quote=True)
    assert sum(one.amount_minor for one in quote.decided.outcome.discounts) == 700
    assert await market.used("fund") == {}


async def test_a_budget_of_money_pays_nothing_in_another_currency(market: Market) -> None:
    """Cents of a dollar are none of a euro."""
    await market.coalition.add_partner("diner", currency="USD")
    await market.budget("fund", unit="money", currency="EUR")
    async with market.coalition.database.transaction() as connection:
        await budgets.fund(connection, "fund", 1_000, payer_id=0, reference="INV-1", actor="test", at=NOON)
    await market.publish(document("half", {"type": "discount_percent", "rate_bp": 5_000}, caps=["fund"]))
    card, found = await market.coalition.add_member(), {}
    for partner, currency in (("bakery", "EUR"), ("diner", "USD")):
        receipt = a_receipt(1_000, currency=currency)
        quote = await market.decide(card, receipt, partner=partner, is_quote=True)
        assert quote.decided is not None
        found[partner] = [one.amount_minor for one in quote.decided.outcome.discounts]
    assert found == {"bakery": [500], "diner": []}


async def test_what_is_no_budget_is_refused_and_writes_nothing(market: Market) -> None:
    await market.budget("pot")
    count = "SELECT (SELECT count(*) FROM partners.budget) + (SELECT count(*) FROM partners.budget_limit)"
    before = await market.desk.pool.fetchval(count)
    for source, currency, no in (
        ({"code": "pot", "unit": "points", "limit": 1}, None, BudgetExists),
        ({"code": "x", "unit": "points", "limit": -1}, None, BudgetInvalid),
        ({"code": "x", "unit": "money", "limit": 1}, None, BudgetInvalid),
        ({"code": "x", "unit": "points", "limit": 1}, "EUR", BudgetInvalid),
        ({"code": "x", "unit": "money", "limit": 1}, "XXX", BudgetInvalid),
        ({"code": "x", "unit": "points", "limit": 1, "zone": "Mars/Base"}, None, BudgetInvalid),
        ({"code": "x", "unit": "points", "limit": 1, "periodd": "day"}, None, BudgetInvalid),
    ):
        async with market.coalition.database.engine.connect() as connection:
            with pytest.raises(no):
                await budgets.add(
                    connection, source=source, sponsor_id=0, actor=market.maker, at=EARLIER, currency=currency
                )
            with pytest.raises(BudgetNotFunded):
                await budgets.fund(connection, "pot", 5, payer_id=0, reference="r", actor=market.maker, at=EARLIER)
    assert await market.desk.pool.fetchval(count) == before


async def test_the_application_can_neither_forget_nor_change_a_charge(market: Market) -> None:
    await market.budget("pot")
    await market.publish(bonus("gift", 5, caps=["pot"]))
    card = await market.coalition.add_member()
    await market.buy(card, late(a_receipt(50), 1))
    for statement in (
        "DELETE FROM partners.budget_charge", "UPDATE partners.budget_charge SET amount = 1",
        "DELETE FROM partners.budget_counter", "DELETE FROM partners.clearing_event",
        "UPDATE partners.clearing_event SET amount = 1", "UPDATE partners.release SET manifest = '{}'",
        "UPDATE partners.rule_version SET document = '{}'", "DELETE FROM partners.release",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await market.desk.pool.execute(statement)
