"""What users of other loyalty systems complained about, and what holds here instead. The numbers are those of the
collection that the complaints were gathered in; each name says what must hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from kit.database import Database
from kit.secrets import Vault
from members import standings
from members.cards import IssuedCard
from partners.returns.returning import Wish
from tests.builders import DAY, NOON, Coalition, a_receipt, rows_written, violations
from tests.founded import a_coalition, met
from tests.ledger.test_operations import Holder, open_holder
from tests.partners.purchases.test_purchases import available, record
from tests.partners.returns.test_returns import cancel, give_back

template = a_coalition(bakery={"return_window_days": 0}, grocer={})


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()


@pytest.fixture
async def card(coalition: Coalition) -> IssuedCard:
    return await coalition.add_member()


@pytest.fixture
async def holder(database: Database) -> AsyncIterator[Holder]:
    yield await open_holder(database.pool)
    assert await violations(database.pool) == []


async def test_c1_of_twenty_spendings_of_a_whole_balance_at_once_one_succeeds(holder: Holder) -> None:
    await holder.accrue(100)
    tries = await asyncio.gather(*(holder.redeem(100) for _ in range(20)))
    assert sorted(one["status"] for one in tries) == [0] + [3] * 19
    assert await holder.balance() == (0, 0)


async def test_c3_no_balance_is_ever_negative_not_even_for_who_owns_the_tables(
    holder: Holder, server, database_name: str
) -> None:
    await holder.accrue(10)
    assert (await holder.redeem(11))["status"] == 3
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    for balance in ("available", "pending", "held", "debt", "spent", "daily_cap"):
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.execute(f"UPDATE ledger.account SET {balance} = -1")
    await owner.close()


async def test_c3_a_return_after_spending_leaves_a_debt_and_never_a_negative_balance(coalition: Coalition) -> None:
    await coalition.add_partner("florist", return_window_days=0, return_policy="MEMBER_DEBT")
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt, partner="florist")
    await record(coalition, card, a_receipt(200), spend=100)
    done = await give_back(coalition, receipt, partner="florist", after=0)
    assert (done.owed_points, await available(coalition, card)) == (99, 0)
    await record(coalition, card, a_receipt(15_000))
    assert await available(coalition, card) == 51


async def test_c4_buying_spending_and_returning_a_hundred_times_leaves_no_points_where_the_member_owes(
    coalition: Coalition, card: IssuedCard
) -> None:
    await coalition.add_partner("florist", return_window_days=0, return_policy="MEMBER_DEBT", bill_share_bp=10_000)
    spent = 0
    for n in range(100):
        receipt = a_receipt(1_000)
        await record(coalition, card, receipt, partner="florist")
        if await available(coalition, card):
            await record(coalition, card, a_receipt(10), partner="florist", spend=10)
            spent += 10
        await give_back(coalition, receipt, partner="florist", reference=f"back-{n}", after=0)
        assert await available(coalition, card) == 0
    assert spent == 10


async def test_c4_buying_and_returning_a_hundred_times_leaves_nothing(coalition: Coalition, card: IssuedCard) -> None:
    for _ in range(100):
        receipt = a_receipt(1_000)
        await record(coalition, card, receipt)
        await give_back(coalition, receipt, after=0)
    assert await available(coalition, card) == 0


async def test_c5_returning_a_purchase_paid_with_points_never_takes_points_again(
    coalition: Coalition, card: IssuedCard
) -> None:
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(lines={"1": 1_000, "2": 1_000})
    await record(coalition, card, receipt, spend=1_000)
    half = await give_back(coalition, receipt, Wish(lines={"1": None}), reference="half", after=0)
    assert half.refunded_points == 500
    await give_back(coalition, receipt, reference="rest", after=0)
    assert await available(coalition, card) == 1_000


async def test_c6_returning_a_line_takes_back_what_that_line_earned(coalition: Coalition, card: IssuedCard) -> None:
    receipt = a_receipt(lines={"earns": 2_000, "does not": 5_000}, kinds={"does not": "DELIVERY"})
    done = await record(coalition, card, receipt)
    assert done.receipt.awarded_points == 20
    nothing = await give_back(coalition, receipt, Wish(lines={"does not": None}), reference="a", after=0)
    everything = await give_back(coalition, receipt, Wish(lines={"earns": None}), reference="b", after=0)
    assert (nothing.taken_points, everything.taken_points) == (0, 20)


async def test_c8_a_spent_lot_does_not_expire_again_and_the_balance_is_what_the_lots_hold(holder: Holder) -> None:
    await holder.accrue(100, expires=10)
    await holder.accrue(100, expires=400)
    await holder.redeem(100)
    await holder.sweep(20)
    assert await holder.balance() == (100, 0)
    assert sum((await holder.lots()).values()) == 100
    assert 7 not in {kind for kind, _, _ in await holder.entries()}


async def test_c9_a_lot_expires_by_its_own_date_whatever_it_was_granted_for(holder: Holder) -> None:
    await holder.accrue(100, issuer=1, expires=10)
    await holder.accrue(50, issuer=2, expires=10)
    await holder.redeem(20)
    await holder.refund(3, 20, day=1)
    await holder.sweep(10)
    assert await holder.balance() == (0, 0)


async def test_c10_the_balance_follows_from_the_postings_alone(holder: Holder) -> None:
    await holder.accrue(100, activates=3)
    await holder.accrue(70)
    await holder.redeem(30)
    await holder.sweep(3)
    derived = await holder.pool.fetchval(
        "SELECT sum(CASE WHEN credit = 1 THEN amount WHEN debit = 1 THEN -amount ELSE 0 END) FROM ledger.posting"
    )
    assert (derived, 0) == await holder.balance() == (140, 0)


async def test_c13_spending_never_lowers_a_tier(coalition: Coalition, card: IssuedCard) -> None:
    await record(coalition, card, a_receipt(150_000))
    await assess(coalition, after=1)
    before = await tier_of(coalition, card, after=1)
    await record(coalition, card, a_receipt(200_000, at=NOON + DAY), spend=1_000, partner="grocer", after=1)
    await assess(coalition, after=2)
    assert (before, await tier_of(coalition, card, after=2)) == ("SILVER", "SILVER")


async def assess(coalition: Coalition, after: int) -> None:
    async with coalition.database.transaction() as connection:
        await standings.assess(connection, at=NOON + after * DAY)


async def tier_of(coalition: Coalition, card: IssuedCard, after: int) -> str:
    async with coalition.database.reading() as connection:
        return (await standings.standing(connection, card.member_id, NOON + after * DAY)).tier


async def test_c21_a_till_that_was_offline_and_sends_its_day_twice_doubles_nothing(
    coalition: Coalition, card: IssuedCard
) -> None:
    receipts = [a_receipt(1_000 * n) for n in range(1, 6)]
    for receipt in receipts:
        await record(coalition, card, receipt)
    before = await rows_written(coalition.desk.pool)
    late = [await record(coalition, card, receipt, key=f"again-{n}", after=3) for n, receipt in enumerate(receipts)]
    assert all(one.replayed for one in late)
    assert await rows_written(coalition.desk.pool) == before


async def test_c23_a_purchase_event_delivered_twice_pays_once_even_at_the_same_moment(
    coalition: Coalition, card: IssuedCard
) -> None:
    receipt = a_receipt(1_000)
    both = await asyncio.gather(*(record(coalition, card, receipt, key=f"delivery-{n}") for n in range(4)))
    assert sorted(one.replayed for one in both) == [False, True, True, True]
    assert await available(coalition, card) == 10


async def test_c24_points_of_a_hold_come_back_once_whether_it_lapses_is_released_or_both(holder: Holder) -> None:
    await holder.accrue(100)
    placed = (await holder.hold(60, days=2))["seq"]
    tries = await asyncio.gather(*(holder.release(placed, day=1) for _ in range(5)))
    assert sorted(one["status"] for one in tries) == [0, 8, 8, 8, 8]
    await holder.sweep(5)
    assert await holder.balance() == (100, 0)


async def test_c25_every_redemption_can_be_taken_back(coalition: Coalition, card: IssuedCard) -> None:
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(2_000)
    await record(coalition, card, receipt, spend=900)
    done = await cancel(coalition, receipt, after=0)
    assert done.refunded_points == 900
    assert await available(coalition, card) == 1_000


async def test_c26_pressing_the_button_again_does_nothing_more(coalition: Coalition, card: IssuedCard) -> None:
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(2_000)
    pressed = [await record(coalition, card, receipt, spend=100, key="button") for _ in range(5)]
    assert [one.replayed for one in pressed] == [False, True, True, True, True]
    assert len({one.receipt.seq for one in pressed}) == 1


async def test_c27_a_hold_lowers_what_is_available_at_once_and_repeating_it_gives_the_same_answer(
    holder: Holder,
) -> None:
    await holder.accrue(100)
    key = uuid4()
    placed, again = await holder.hold(60, key=key), await holder.hold(60, key=key)
    assert (placed["available"], again["status"], again["seq"]) == (40, 1, placed["seq"])
    assert await holder.balance() == (40, 0)


async def test_c28_a_hold_answers_to_the_partner_that_placed_it_alone(holder: Holder) -> None:
    await holder.accrue(100)
    placed = (await holder.hold(60))["seq"]
    assert [
        (await holder.capture(placed, 60, partner=3))["status"],
        (await holder.release(placed, partner=3))["status"],
    ] == [5, 5]
    assert (await holder.capture(placed, 60))["status"] == 0


async def test_c29_what_is_held_can_be_captured_whatever_happens_meanwhile(holder: Holder) -> None:
    await holder.accrue(100, expires=5)
    placed = (await holder.hold(60, days=10))["seq"]
    assert (await holder.redeem(40, day=1))["status"] == 0
    assert (await holder.redeem(1, day=2))["status"] == 3
    await holder.sweep(6)
    assert (await holder.capture(placed, 60, day=7))["status"] == 0
