"""A partner above its cap with PENDING_HOLD: its purchases go on earning, and the points wait until it has settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.database import Database
from kit.secrets import Vault
from ledger import cutoffs, withheld
from ledger.accounts import POINTS
from members.cards import IssuedCard
from partners import callers
from partners.agreements import agreements
from partners.outcomes import Recorded
from partners.returns import returns
from partners.returns.returning import Wish
from settlement.exposure import limits
from settlement.exposure.caps import Exposure
from settlement.exposure.tills import TillLimits
from settlement.money import journal
from settlement.money.events import MoneyEvent
from settlement.windows import cycle
from tests.builders import DAY, NOON, a_receipt, draft, found
from tests.partners.promotions.market import Market, open_market

CAP = {"debit_cap_micro": 1_000_000, "cap_policy": "PENDING_HOLD", "return_window_days": 0}
"""A hundred points at 0.01."""
EVERYTHING = 2**60


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", **CAP)
    await coalition.add_partner("grocer", return_window_days=0)
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
    yield await open_market(coalition)
    await coalition.desk.close()


async def enforce(market: Market, at: datetime = NOON) -> Exposure:
    found = await limits.enforce(market.coalition.database, TillLimits(), at=at)
    await market.desk.directory.refresh()
    return found[0]


async def deposit(market: Market, amount_micro: int, at: datetime) -> None:
    payer = market.coalition.callers["bakery"].partner_id
    async with market.coalition.database.transaction() as connection:
        await journal.post_events(
            connection, source=f"deposit:{at.isoformat()}", at=at, actor="maker",
            found=[MoneyEvent("DEPOSIT", payer, 0, "EUR", amount_micro)],
        )  # fmt: skip


async def balances(market: Market) -> tuple[int, int]:
    """Points that can be spent, and points that are pending, of everybody."""
    row = await market.desk.pool.fetchrow(
        "SELECT coalesce(sum(available), 0)::bigint AS a, coalesce(sum(pending), 0)::bigint AS p FROM ledger.account"
    )
    return row["a"], row["p"]


async def give_back(market: Market, bought: Recorded, at: datetime) -> Recorded:
    """All of a purchase at the bakery is returned."""
    caller, slip = market.coalition.callers["bakery"], a_receipt()
    place = callers.place_of(await market.desk.directory.get(), caller, "1", "1")
    return await returns.return_purchase(
        market.desk, caller,
        returns.ReturnSlip(slip.reference, place, returns.ReceiptRef("1", "1", at.date(), slip.reference), at),
        bought.receipt, Wish(),
        idem_key=callers.idem_key_of(caller, "returnPurchase", slip.reference), at=at,
    )  # fmt: skip


async def waiting(market: Market) -> int:
    async with market.coalition.database.reading() as connection:
        return sum(one.points for one in await withheld.waiting(connection, unit=POINTS, below=EVERYTHING))


async def due(market: Market, at: datetime) -> None:
    async with market.coalition.database.transaction() as connection:
        await cutoffs.sweep(connection, at=at)


async def test_above_its_cap_a_partner_grants_points_that_wait_until_it_has_deposited(market: Market) -> None:
    card, at = await market.coalition.add_member(), NOON + timedelta(hours=1)
    await enforce(market)
    within, above = [await market.buy(card, a_receipt(8_000)), await market.buy(card, a_receipt(3_000))]
    assert [one.receipt.awarded_points for one in (within, above)] == [80, 30]
    assert above.receipt.decision["reasons"][-1] == ["EXPOSURE_HELD", 0, {}]
    elsewhere = await market.buy(card, a_receipt(1_000), partner="grocer")
    assert elsewhere.receipt.decision["reasons"][-1][0] == "BASE"
    assert await balances(market) == (90, 30)
    assert await market.used("holding:bakery") == {("", ""): 80}

    now = await enforce(market, at)
    assert (now.pending_micro, now.withheld_micro, now.exposure_micro, now.limit_points) == (
        300_000,
        300_000,
        800_000,
        0,
    )
    small = await market.buy(card, a_receipt(1_000, at=at))  # ten would fit, and have to wait behind the thirty
    assert small.receipt.awarded_points == 10
    assert (await balances(market), await waiting(market)) == ((90, 40), 40)

    await deposit(market, 150_000, at)  # room for thirty-five
    now = await enforce(market, at + DAY)
    assert (now.withheld_micro, now.limit_points) == (100_000, 0)
    await due(market, at + DAY)
    assert (await balances(market), await waiting(market)) == ((120, 10), 10)
    await deposit(market, 1_000_000, at + DAY)
    now = await enforce(market, at + 2 * DAY)
    assert (now.withheld_micro, now.limit_points) == (0, 95)
    await due(market, at + 2 * DAY)
    assert (await balances(market), await waiting(market)) == ((130, 0), 0)
    assert (await market.buy(card, a_receipt(2_000, at=at + 2 * DAY))).receipt.awarded_points == 20
    assert (await balances(market), await waiting(market)) == ((150, 0), 0)
    assert await market.violations() == []


class Interrupted(TillLimits):
    """Limits of which one is read when a till has just sold something, beside a transaction that began before and lasts."""

    def __init__(self, market: Market, card: IssuedCard, old: asyncpg.Connection) -> None:
        self.market, self.card, self.old = market, card, old

    async def used(self, connection: AsyncConnection, partner_code: str, policy: str) -> int:
        if partner_code == "bakery":
            await self.old.fetchval("SELECT pg_current_xact_id()")
            await self.market.buy(self.card, a_receipt(6_000))
        return await super().used(connection, partner_code, policy)


async def test_what_a_till_sells_while_limits_are_read_is_not_room_for_as_much_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycle, "PATIENCE", 2)
    monkeypatch.setattr(cycle, "PAUSE", timedelta(0))
    card, at = await market.coalition.add_member(), NOON + timedelta(hours=1)
    await enforce(market)
    async with market.desk.pool.acquire() as old:
        transaction = old.transaction()
        await transaction.start()
        assert await limits.enforce(market.coalition.database, Interrupted(market, card, old), at=at) == []
        await transaction.rollback()
    await market.desk.directory.refresh()
    await market.buy(card, a_receipt(9_000, at=at))
    assert await balances(market) == (60, 90)


class TakenBack(TillLimits):
    """Limits of which one was read when a purchase that counts against it is returned."""

    def __init__(self, market: Market, bought: Recorded, at: datetime) -> None:
        self.market, self.bought, self.at = market, bought, at

    async def used(self, connection: AsyncConnection, partner_code: str, policy: str) -> int:
        found = await super().used(connection, partner_code, policy)
        if partner_code == "bakery":
            await give_back(self.market, self.bought, self.at)
        return found


async def test_what_is_returned_while_limits_are_set_makes_room_once(market: Market) -> None:
    card, at = await market.coalition.add_member(), NOON + timedelta(hours=1)
    await enforce(market)
    bought = await market.buy(card, a_receipt(8_000))
    await limits.enforce(market.coalition.database, TakenBack(market, bought, at), at=at)
    await market.desk.directory.refresh()
    assert (await balances(market), await market.used("holding:bakery")) == ((0, 0), {("", ""): 0})
    await market.buy(card, a_receipt(18_000, at=at))  # the cap is a hundred
    assert await balances(market) == (0, 180)
    await market.buy(card, a_receipt(10_000, at=at))
    assert await balances(market) == (100, 180)
    assert await market.violations() == []


class Beside(TillLimits):
    """Limits of which one is set when a till has just sold something."""

    def __init__(self, market: Market, card: IssuedCard, minor: int) -> None:
        self.market, self.card, self.minor = market, card, minor

    async def set_limit(
        self, connection: AsyncConnection, partner_code: str, points: int, *, policy: str, at: datetime
    ) -> None:
        await self.market.buy(self.card, a_receipt(self.minor, at=at))
        await super().set_limit(connection, partner_code, points, policy=policy, at=at)


async def test_room_that_tills_may_still_take_is_not_given_to_what_waits(market: Market) -> None:
    one, other = [await market.coalition.add_member() for _ in range(2)]
    await enforce(market)
    await market.buy(one, a_receipt(9_000))
    await deposit(market, 500_000, NOON)
    at = NOON + timedelta(hours=1)
    await limits.enforce(
        market.coalition.database, Beside(market, one, 3_000), at=at
    )  # it waits, and nobody saw it yet
    await market.desk.directory.refresh()
    assert (await balances(market), await waiting(market)) == ((90, 30), 30)
    later = at + timedelta(hours=1)
    await limits.enforce(market.coalition.database, Beside(market, other, 5_500), at=later)
    await due(market, later)
    assert (await balances(market), await waiting(market)) == ((145, 30), 30)
    await deposit(market, 250_000, later)
    await enforce(market, later + DAY)
    await due(market, later + DAY)
    assert (await balances(market), await waiting(market)) == ((175, 0), 0)


async def test_what_waits_can_be_returned_and_gives_nothing_back_that_was_not_charged(market: Market) -> None:
    card = await market.coalition.add_member()
    await enforce(market)
    await market.buy(card, a_receipt(9_000))
    held = await market.buy(card, a_receipt(5_000))
    at = NOON + DAY
    assert (await give_back(market, held, at)).taken_points == 50
    assert (await balances(market), await waiting(market)) == ((90, 0), 0)
    assert await market.used("holding:bakery") == {("", ""): 90}
    assert (await enforce(market, at)).limit_points == 10
    assert await market.violations() == []


async def test_another_policy_lets_everything_go_and_limits_nobody(market: Market) -> None:
    card, caller = await market.coalition.add_member(), market.coalition.callers["bakery"]
    await enforce(market)
    await market.buy(card, a_receipt(20_000))
    assert await waiting(market) == 200
    async with market.coalition.database.transaction() as connection:
        terms_id = await agreements.propose(
            connection, partner_id=caller.partner_id, maker=market.coalition.maker, at=NOON,
            draft=draft(valid_from=NOON + DAY, return_window_days=3),
        )  # fmt: skip
        await agreements.approve(connection, terms_id, checker=market.coalition.checker, at=NOON)
    await limits.enforce(market.coalition.database, TillLimits(), at=NOON + DAY)
    await market.desk.directory.refresh()
    assert await waiting(market) == 0
    await due(market, NOON + DAY)
    assert await balances(market) == (200, 0)
    bought = await market.buy(card, a_receipt(50_000, at=NOON + DAY))
    assert bought.receipt.decision["reasons"][-1][0] == "BASE"
    assert (await balances(market), await waiting(market)) == ((200, 500), 0)  # pending until it can not be returned


async def test_many_tills_and_the_one_who_lets_go_lose_and_double_nothing(market: Market) -> None:
    """Tills sell while limits are set anew and cover comes: at any time no more is spendable than there is room for."""
    cards = [await market.coalition.add_member() for _ in range(4)]
    await enforce(market)
    ended = asyncio.Event()

    async def sell(card: IssuedCard) -> int:
        awarded = 0
        for n in range(12):
            done = await market.buy(card, a_receipt(700, at=NOON + timedelta(seconds=n)))
            awarded += done.receipt.awarded_points
        return awarded

    async def let_go() -> None:
        for n in range(1, 100):
            if n % 3 == 0 and n <= 9:
                await deposit(market, 500_000, NOON + timedelta(minutes=n))
            await limits.enforce(market.coalition.database, TillLimits(), at=NOON + timedelta(hours=1, minutes=n))
            await due(market, NOON + timedelta(hours=1, minutes=n))
            available, _ = await balances(market)
            assert available <= 100 + 50 * min(3, n // 3)
            if ended.is_set() and n >= 9:
                return

    letting = asyncio.create_task(let_go())
    try:
        sold = await asyncio.gather(*map(sell, cards))
    finally:
        ended.set()
    await letting
    assert sum(sold) == 4 * 12 * 7
    available, pending = await balances(market)
    assert available + pending == sum(sold)
    assert pending == await waiting(market)
    await deposit(market, 10_000_000, NOON + 2 * DAY)
    await enforce(market, NOON + 2 * DAY)
    await due(market, NOON + 2 * DAY)
    assert await balances(market) == (sum(sold), 0)
    assert await market.violations() == []
