"""Coupons, stamps and grants in a purchase's own call: used once, given once, and undone with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import lots
from members.cards import IssuedCard
from members.identification import MemberRef
from partners import callers, calls
from partners.coupons import batches, coupons, guesses, store
from partners.coupons.batches import BatchDraft
from partners.coupons.coupons import CouponInvalid
from partners.coupons.guesses import Asking
from partners.decisions.decisions import DiscountNotGranted
from partners.holds import holds
from partners.mechanics import facts, grants
from partners.outcomes import IdempotencyKeyReused, Recorded
from partners.promotions import budgets
from partners.promotions.documents import MOST_PIECES
from partners.receipts.receipts import Line, Receipt, ReceiptRef
from partners.receipts.records import ProofUse
from partners.returns.returning import ReturnExceedsOriginal, Wish
from partners.tills import batches as tills_batches
from partners.tills import tills
from tests.builders import DAY, NOON, PROGRAMME, a_receipt, identified
from tests.founded import a_coalition
from tests.partners.promotions.market import EARLIER, Market, bonus, met_market, open_market
from tests.partners.promotions.offers import document
from tests.partners.promotions.test_promoted import basket, give_back

template = a_coalition(open_market, bakery={"return_window_days": 0})


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await met_market(database, vault)
    yield made
    assert await made.violations() == []
    await made.desk.close()


async def batch(market: Market, code: str = "spring", count: int = 1) -> list[str]:
    """Codes of a batch of single-use coupons."""
    async with market.coalition.database.transaction() as connection:
        vault, actor = market.coalition.vault, market.maker
        await batches.add(connection, vault, BatchDraft(code, EARLIER, NOON + 90 * DAY), actor=actor, at=EARLIER)
        return await batches.draw(connection, vault, code, count, actor=actor, at=EARLIER) if count else []


def call(market: Market, key: str) -> calls.Call:
    caller = market.coalition.callers["bakery"]
    return calls.Call(caller, callers.idem_key_of(caller, "recordPurchase", key), NOON, NOON)


async def show(market: Market, card: IssuedCard, receipt: Receipt, *codes: str) -> Recorded:
    """A purchase at which coupons are shown."""
    return await tills.record_purchase(
        market.desk, call(market, receipt.reference), MemberRef(card_number=card.number), receipt, spend=None,
        shown=tills.Coupons(codes, NOON),
    )  # fmt: skip


async def test_a_single_use_code_shown_by_many_at_once_is_redeemed_by_one(market: Market) -> None:
    (code,) = await batch(market)
    await market.publish(bonus("spring-gift", 100, codes={"required": "spring"}))
    cards = [await market.coalition.add_member() for _ in range(8)]
    done = await asyncio.gather(*(show(market, card, a_receipt(50), code) for card in cards), return_exceptions=True)
    recorded = [one for one in done if isinstance(one, Recorded)]
    assert [one.receipt.awarded_points for one in recorded] == [100]
    assert {type(one) for one in done if not isinstance(one, Recorded)} == {CouponInvalid}
    assert await market.desk.pool.fetchval("SELECT count(*) FROM partners.receipt") == 1


async def test_a_retry_hears_its_answer_though_the_coupon_is_used_and_other_coupons_are_another_request(
    market: Market,
) -> None:
    first, second = await batch(market, count=2)
    await market.publish(bonus("spring-gift", 100, codes={"required": "spring"}))
    card, receipt = await market.coalition.add_member(), a_receipt(50)
    done = await show(market, card, receipt, first)
    again = await show(market, card, receipt, first)
    assert (again.replayed, again.receipt) == (True, done.receipt)
    with pytest.raises(IdempotencyKeyReused):
        await show(market, card, receipt, second)
    stored = await market.desk.pool.fetchval("SELECT detail::text || decision::text FROM partners.receipt")
    assert first not in stored


async def test_a_till_that_retries_is_not_taken_for_one_that_guesses(market: Market) -> None:
    """Ten retries of one purchase, and for an hour no coupon of the member was looked at any more."""
    first, second = await batch(market, count=2)
    await market.publish(bonus("spring-gift", 100, codes={"required": "spring"}))
    card, receipt = await market.coalition.add_member(), a_receipt(50)
    await show(market, card, receipt, first)
    for _ in range(guesses.MOST["MEMBER"]):
        assert (await show(market, card, receipt, first)).replayed
    assert await market.desk.pool.fetchval("SELECT count(*) FROM partners.coupon_guess") == 0
    with pytest.raises(CouponInvalid):
        await show(market, card, a_receipt(50), first)
    assert await market.desk.pool.fetchval("SELECT sum(wrong) FROM partners.coupon_guess WHERE kind = 'MEMBER'") == 1
    assert (await show(market, card, a_receipt(50), second)).receipt.awarded_points == 100


@pytest.mark.parametrize(
    "given", [{"who": {"counters": [{"counter": "partner.ever.count", "max": 0}]}}, {"caps": ["once"]}]
)
async def test_a_retry_hears_its_answer_though_its_own_purchase_ended_its_discount(
    market: Market, given: dict[str, Any]
) -> None:
    """A discount on the first purchase, and one under a cap: decided again, neither is granted any more."""
    await market.budget("once", unit="count", limit=1, scopes=["member"])
    await market.publish(document("off", {"type": "discount_percent", "rate_bp": 1_000}, **given))
    card = await market.coalition.add_member()
    ref, caller = MemberRef(card_number=card.number), market.coalition.callers["bakery"]
    receipt = basket({"1": (1_000, "x")}, {"1": ("off", 100)})
    done = await show(market, card, receipt)
    before = await market.rows()
    again = await show(market, card, receipt)
    [in_a_batch] = await tills_batches.accrue_many(market.desk, caller, [(ref, receipt)], at=NOON)
    assert isinstance(in_a_batch, Recorded)
    assert (again.replayed, in_a_batch.replayed) == (True, True)
    assert again.receipt == in_a_batch.receipt == done.receipt
    other = basket({"1": (1_000, "x")}, {"1": ("off", 100)})
    with pytest.raises(DiscountNotGranted):
        await show(market, card, other)
    [refused] = await tills_batches.accrue_many(market.desk, caller, [(ref, other)], at=NOON)
    assert isinstance(refused, DiscountNotGranted)
    with pytest.raises(IdempotencyKeyReused):
        await show(market, card, structs.replace(other, reference=receipt.reference, total_minor=800))
    assert await market.rows() == before


async def test_a_retry_of_a_capture_hears_its_answer_though_its_own_purchase_ended_its_discount(
    market: Market,
) -> None:
    await market.budget("once", unit="count", limit=1, scopes=["member"])
    await market.publish(document("off", {"type": "discount_percent", "rate_bp": 1_000}, caps=["once"]))
    desk, caller, card = market.desk, market.coalition.callers["bakery"], await market.coalition.add_member()
    await market.buy(card, a_receipt(100_000), at=NOON)
    directory = await desk.directory.get()
    held = await holds.place(
        desk, caller, identified(card), callers.place_of(directory, caller, "1", "1"),
        holds.HoldWish(100, None, "order"), terms=callers.terms_at(directory, caller.partner_id, NOON), use=ProofUse(),
        idem_key=callers.idem_key_of(caller, "placeHold", "once"), at=NOON,
    )  # fmt: skip
    receipt = basket({"1": (1_000, "x")}, {"1": ("off", 100)})
    done, again = [
        await tills.record_purchase(
            desk, call(market, "capture"), MemberRef(card_number=card.number), receipt,
            spend=tills.Spend(None, held.hold.ref, None),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert (done.replayed, again.replayed, again.receipt) == (False, True, done.receipt)


async def test_a_coupon_comes_back_with_the_whole_purchase_and_what_was_granted_goes(market: Market) -> None:
    (code,) = await batch(market)
    await batch(market, "next", 0)
    await market.publish(
        bonus("spring-gift", 100, codes={"required": "spring"}),
        document("next-time", {"type": "grant_coupon", "batch": "next"}, stack={"priority": 11}),
    )
    card = await market.coalition.add_member()
    done = await show(market, card, a_receipt(lines={"1": 500}), code)
    async with market.coalition.database.reading() as connection:
        assert [one.batch for one in await coupons.held(connection, card.member_id, at=NOON)] == ["next"]
    await give_back(market, done, Wish())
    async with market.coalition.database.reading() as connection:
        assert await coupons.held(connection, card.member_id, at=NOON) == []
    assert (await show(market, card, a_receipt(50), code)).receipt.awarded_points == 100


async def test_a_quote_tells_what_a_coupon_that_is_shown_would_give_and_leaves_it_good(market: Market) -> None:
    (code,) = await batch(market)
    await market.publish(
        bonus("spring-gift", 100, codes={"required": "spring"}),
        document("off", {"type": "discount_percent", "rate_bp": 2_000}, codes={"required": "spring"}),
    )
    card, caller = await market.coalition.add_member(), market.coalition.callers["bakery"]

    async def quote(*codes: str) -> tuple[int, int]:
        ref, shown = MemberRef(card_number=card.number), tills.Coupons(codes, NOON)
        quoted = await tills.quote(market.desk, caller, ref, a_receipt(lines={"1": 500}), at=NOON, shown=shown)
        assert quoted.prepared.decided is not None
        return quoted.prepared.award.points, quoted.prepared.decided.outcome.discount_minor

    assert await quote() == (5, 0)
    assert await quote(code) == (104, 100)
    with pytest.raises(CouponInvalid):
        await quote("AAAA-BBBB-CCCC-D")
    assert (await show(market, card, a_receipt(500), code)).receipt.awarded_points == 105


async def test_a_till_keeps_coupons_for_its_receipt_until_it_is_paid_or_let_go(market: Market) -> None:
    """Reserved under the receipt: nobody else's receipt uses them, its own does, once, whatever is retried."""
    (code,) = await batch(market)
    await market.publish(bonus("spring-gift", 100, codes={"required": "spring"}))
    mine, other = await market.coalition.add_member(), await market.coalition.add_member()
    receipt, shown = a_receipt(50), tills.Coupons((code,), NOON)
    ref = ReceiptRef("1", "1", NOON.date(), receipt.reference)
    desk, ours = market.desk, MemberRef(card_number=mine.number)
    for key in ("one", "again"):
        assert await tills.reserve_coupons(desk, call(market, key), ours, ref, shown) == NOON + timedelta(minutes=15)
    with pytest.raises(CouponInvalid):
        await show(market, other, a_receipt(50), code)
    assert await tills.release_coupons(desk, call(market, "let go"), ref, shown) == 1
    assert await tills.release_coupons(desk, call(market, "let go"), ref, shown) == 0
    await tills.reserve_coupons(desk, call(market, "once more"), ours, ref, shown)
    for _ in range(2):
        assert (await show(market, mine, receipt, code)).receipt.awarded_points == 100
    assert await tills.release_coupons(desk, call(market, "too late"), ref, shown) == 0
    with pytest.raises(CouponInvalid):
        await show(market, other, a_receipt(50), code)


async def test_of_two_coupons_only_the_one_whose_benefit_went_back_is_good_again(market: Market) -> None:
    """A part comes back: who got both back would have a discount and its coupon."""
    (first,), (second,) = await batch(market, "coffee"), await batch(market, "tea")
    await market.publish(
        bonus("on-coffee", 100, codes={"required": "coffee"}, what={"categories": ["coffee"]}),
        bonus("on-tea", 50, codes={"required": "tea"}, what={"categories": ["tea"]}, stack={"priority": 11}),
    )
    card, other = await market.coalition.add_member(), await market.coalition.add_member()
    done = await show(market, card, basket({"1": (500, "coffee"), "2": (500, "tea")}), first, second)
    assert done.receipt.awarded_points == 160
    await give_back(market, done, Wish(lines={"2": None}))
    with pytest.raises(CouponInvalid):
        await show(market, other, basket({"1": (500, "coffee")}), first)
    assert (await show(market, other, basket({"1": (500, "tea")}), second)).receipt.awarded_points == 55


async def test_a_coupon_that_two_rules_share_stays_used_while_one_of_them_gives_something(market: Market) -> None:
    (code,) = await batch(market)
    await market.publish(
        bonus("on-coffee", 100, codes={"required": "spring"}, what={"categories": ["coffee"]}),
        bonus("on-tea", 50, codes={"required": "spring"}, what={"categories": ["tea"]}, stack={"priority": 11}),
    )
    card, other = await market.coalition.add_member(), await market.coalition.add_member()
    done = await show(market, card, basket({"1": (500, "coffee"), "2": (500, "tea")}), code)
    await give_back(market, done, Wish(lines={"1": None}))
    with pytest.raises(CouponInvalid):
        await show(market, other, basket({"1": (500, "tea")}), code)
    await give_back(market, done, Wish())
    assert (await show(market, other, basket({"1": (500, "tea")}), code)).receipt.awarded_points == 55


async def test_stamps_that_a_purchase_used_and_gave_are_both_undone_with_it(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "coffee", "Coffee stamps", actor=market.maker, at=EARLIER)
    coffee, pastry = {"categories": ["coffee"]}, {"categories": ["pastry"]}
    await market.publish(
        document("stamp", {"type": "grant_stamp", "unit": "coffee", "quantity": 4}, what={"min_basket_minor": 500}),
        bonus("free", 250, what=coffee, costs={"unit": "coffee", "quantity": 3}, stack={"priority": 12}),
        bonus("half", 125, what=pastry, costs={"unit": "coffee", "quantity": 2}, stack={"priority": 13}),
    )

    async def stamps() -> int:
        held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON + DAY)
        return held.available if held else 0

    card = await market.coalition.add_member()
    for _ in range(2):
        await market.buy(card, a_receipt(500))
    assert await stamps() == 8
    done = await market.buy(card, basket({"1": (300, "coffee"), "2": (300, "pastry")}))
    assert (done.receipt.awarded_points, await stamps()) == (6 + 375, 8 + 4 - 5)
    await give_back(market, done, Wish(lines={"1": None}))
    assert await stamps() == 8 - 2  # those that it had given went, and those for the coffee are back
    await give_back(market, done, Wish())
    assert await stamps() == 8


async def test_a_return_gives_back_the_stamps_that_were_used_though_the_rest_would_have_used_others(
    market: Market,
) -> None:
    """Of two benefits the first counts: when the coffee goes the tea would use three, but two were used."""
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "cup", "Cups", actor=market.maker, at=EARLIER)
    first = {"group": "one-benefit"}
    await market.publish(
        document("cups", {"type": "grant_stamp", "unit": "cup", "quantity": 5}, what={"min_basket_minor": 50_000}),
        bonus("on-coffee", 200, what={"categories": ["coffee"]}, costs={"unit": "cup", "quantity": 2},
              stack={**first, "priority": 11}),
        bonus("on-tea", 300, what={"categories": ["tea"]}, costs={"unit": "cup", "quantity": 3},
              stack={**first, "priority": 12}),
        groups=[{"code": "one-benefit", "mode": "FIRST", "priority": 20, "scope": "basket"}],
    )  # fmt: skip

    async def cups() -> int:
        held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON + 3 * DAY)
        return held.available if held else 0

    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(50_000))
    done = await market.buy(card, basket({"1": (500, "coffee"), "2": (500, "tea")}))
    assert (done.receipt.awarded_points, await cups()) == (210, 3)
    assert (await give_back(market, done, Wish(lines={"1": None}))).taken_points == 0  # worth 305 now
    assert await cups() == 3
    await give_back(market, done, Wish(), after=2)
    assert await cups() == 5


@pytest.mark.parametrize("alone", [True, False])
async def test_what_cost_nothing_comes_back_when_it_is_named_or_nothing_else_is_left(
    market: Market, alone: bool
) -> None:
    """A coffee that stamps paid for has no amount to return; its stamps, and what another owes for it, go back all the
    same."""
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "cup", "Cups", actor=market.maker, at=EARLIER)
    await market.publish(
        document("cups", {"type": "grant_stamp", "unit": "cup", "quantity": 5}, what={"min_basket_minor": 50_000}),
        document("free", {"type": "discount_percent", "rate_bp": 10_000}, what={"categories": ["coffee"]},
                 costs={"unit": "cup", "quantity": 5}, funding=[{"party": "OPERATOR", "bp": 10_000}],
                 stack={"priority": 11}),
    )  # fmt: skip

    async def standing() -> tuple[int, int]:
        held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON + 3 * DAY)
        owed = "SELECT coalesce(sum(CASE WHEN is_return THEN -amount ELSE amount END), 0) FROM partners.clearing_event"
        return held.available if held else 0, await market.desk.pool.fetchval(owed)

    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(50_000))
    lines = {"1": (250, "coffee")} | ({} if alone else {"2": (300, "cake")})
    done = await market.buy(card, basket(lines, {"1": ("free", 250)}))
    assert await standing() == (0, 250)
    if not alone:
        await give_back(market, done, Wish(amount_minor=100))
        assert await standing() == (0, 250)
    returned = await give_back(market, done, Wish() if alone else Wish(lines={"1": None}), after=2)
    assert (returned.refund_money_minor, await standing()) == (0, (5, 0))
    if alone:
        with pytest.raises(ReturnExceedsOriginal):
            await give_back(market, done, Wish(), after=3)
    else:
        assert (await give_back(market, done, Wish(), after=3)).refund_money_minor == 200
    assert await standing() == (5, 0)


async def test_what_two_rules_gave_goes_as_far_as_the_rest_does_not_deserve_it(market: Market) -> None:
    """A badge stays while one rule gives it still; of credit toward a tier goes what the returned line brought."""
    coffee, tea = {"categories": ["coffee"]}, {"categories": ["tea"]}
    await market.publish(
        document("badge-1", {"type": "grant_badge", "badge": "fan"}, what=coffee),
        document("badge-2", {"type": "grant_badge", "badge": "fan"}, what=tea, stack={"priority": 11}),
        document("credit-1", {"type": "tier_credit", "reason": "fan", "quantity": 2}, what=coffee,
                 stack={"priority": 12}),
        document("credit-2", {"type": "tier_credit", "reason": "fan", "quantity": 3}, what=tea, stack={"priority": 13}),
    )  # fmt: skip

    async def held() -> tuple[int, int]:
        badges = "SELECT count(*) FROM members.badge WHERE badge = 'fan' AND revoked_at IS NULL"
        credits = "SELECT coalesce(sum(credits), 0)::int FROM members.tier_credit WHERE revoked_at IS NULL"
        return await market.desk.pool.fetchval(badges), await market.desk.pool.fetchval(credits)

    card = await market.coalition.add_member()
    done = await market.buy(card, basket({"1": (500, "coffee"), "2": (500, "tea")}))
    assert await held() == (1, 5)
    await give_back(market, done, Wish(lines={"1": None}))
    assert await held() == (1, 3)
    await give_back(market, done, Wish(), after=2)
    assert await held() == (0, 0)


async def test_stamps_collect_with_purchases_and_the_sixth_coffee_costs_five(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "coffee", "Coffee stamps", actor=market.maker, at=EARLIER)
    effect = {"type": "grant_stamp", "unit": "coffee", "expiry": {"days": 60}}
    stamp = document("stamp", effect, what={"min_basket_minor": 3_000}, stack={"priority": 11})
    free = bonus("free", 250, costs={"unit": "coffee", "quantity": 5}, stack={"priority": 12})
    await market.publish(stamp, free)
    card = await market.coalition.add_member()
    points = [(await market.buy(card, a_receipt(3_000))).receipt.awarded_points for _ in range(6)]
    assert points == [30, 30, 30, 30, 30, 280]
    held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON)
    assert held is not None
    assert held.available == 1


async def test_what_a_purchase_would_pay_for_with_the_same_stamps_twice_it_pays_for_once(market: Market) -> None:
    """Chosen line by line; it used to be refused for ever, since the stamps were never enough."""
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "coffee", "Coffee stamps", actor=market.maker, at=EARLIER)
    costs = {"unit": "coffee", "quantity": 5}
    await market.publish(
        document("stamp", {"type": "grant_stamp", "unit": "coffee", "quantity": 5}, what={"min_amount_minor": 20_000}),
        *(
            bonus(name, 250, costs=costs, what={"categories": [name]}, stack={"group": "one-each", "priority": place})
            for place, name in enumerate(("coffee", "tea"), start=12)
        ),
        groups=[{"code": "one-each", "mode": "BEST", "scope": "line", "priority": 5}],
    )
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(20_000))
    done = await market.buy(card, basket({"1": (500, "coffee"), "2": (500, "tea")}))
    held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON)
    assert (done.receipt.awarded_points, held and held.available) == (10 + 250, 0)


async def test_where_points_are_stopped_their_coupons_and_stamps_stay_and_those_of_what_is_given_go(
    market: Market,
) -> None:
    """The partner may grant nothing more; whoever shows a coupon for points keeps it for another day."""
    (gift,) = await batch(market, "gift")
    (both,) = await batch(market, "both")
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "cup", "Cups", actor=market.maker, at=EARLIER)
    costs = {"unit": "cup", "quantity": 2}
    await market.publish(
        document("cups", {"type": "grant_stamp", "unit": "cup", "quantity": 5}, what={"min_basket_minor": 20_000}),
        bonus("gift", 100, codes={"required": "gift"}, stack={"priority": 11}),
        bonus("both", 100, codes={"required": "both"}, stack={"priority": 12}),
        document("fan", {"type": "grant_badge", "badge": "fan"}, codes={"required": "both"}, stack={"priority": 13}),
        bonus("cup", 100, costs=costs, what={"categories": ["coffee"]}, stack={"priority": 14}),
    )

    async def stand() -> tuple[list[str], int]:
        held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON)
        rows = await market.desk.pool.fetch(
            "SELECT b.code FROM partners.coupon c JOIN partners.coupon_batch b USING (batch_id) WHERE c.state = 3"
        )
        return [row["code"] for row in rows], held.available if held else 0

    async def exposure(limit: int) -> None:
        async with market.coalition.database.transaction() as connection:
            await budgets.set_limit(connection, "exposure:bakery", limit, actor="settlement", at=NOON)
        await market.desk.directory.refresh()

    card = await market.coalition.add_member()
    await show(market, card, a_receipt(20_000))
    async with market.coalition.database.transaction() as connection:
        source = {"code": "exposure:bakery", "unit": "points", "limit": 0}
        await budgets.add(connection, source=source, sponsor_id=0, actor="settlement", at=EARLIER)
    await market.desk.directory.refresh()
    stopped = await show(market, card, basket({"1": (500, "coffee")}), gift, both)
    assert (stopped.receipt.awarded_points, await stand()) == (0, (["both"], 5))
    await give_back(market, stopped, Wish())
    assert await stand() == ([], 5)
    await exposure(1_000)
    done = await show(market, card, basket({"1": (500, "coffee")}), gift, both)
    assert (done.receipt.awarded_points, await stand()) == (5 + 300, (["gift", "both"], 3))


async def test_a_till_that_says_a_milliard_is_given_no_more_stamps_than_can_be_counted(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        unit = await grants.define_stamps(connection, "cup", "Cups", actor=market.maker, at=EARLIER)
    await market.publish(document("each", {"type": "grant_stamp", "unit": "cup", "quantity": 5, "per": "unit"}))
    card = await market.coalition.add_member()
    line = Line("1", "GOODS", 500, {"quantity": "1000000000"})
    await market.buy(card, structs.replace(a_receipt(500), lines=(line,)), at=NOON)
    held = await lots.standing(market.desk.pool, card.member_id, unit=unit, at=NOON)
    assert held is not None
    assert held.available == MOST_PIECES


async def test_stamps_are_used_by_one_of_many_purchases_at_once(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        await grants.define_stamps(connection, "coffee", "Coffee stamps", actor=market.maker, at=EARLIER)
    await market.publish(
        document(
            "stamp",
            {"type": "grant_stamp", "unit": "coffee", "quantity": 5},
            what={"categories": ["coffee"], "min_amount_minor": 20_000},
        ),
        bonus("free", 250, costs={"unit": "coffee", "quantity": 5}, stack={"priority": 12}),
    )
    card = await market.coalition.add_member()
    await market.buy(card, basket({"1": (20_000, "coffee")}))
    done = await asyncio.gather(*(market.buy(card, a_receipt(50)) for _ in range(3)))
    assert sorted(one.receipt.awarded_points for one in done) == [0, 0, 250]


async def test_a_purchase_paid_with_a_hold_is_decided_by_rules_and_within_budgets(market: Market) -> None:
    await market.budget("pot", limit=150, on_exceed="partial")
    await market.publish(bonus("gift", 100, caps=["pot"]))
    desk, caller = market.desk, market.coalition.callers["bakery"]

    async def pay_with_a_hold() -> int:
        card = await market.coalition.add_member()
        await market.buy(card, a_receipt(100_000), at=NOON)
        directory = await desk.directory.get()
        where = callers.place_of(directory, caller, "1", "1")
        terms = callers.terms_at(directory, caller.partner_id, NOON)
        held = await holds.place(
            desk, caller, identified(card), where, holds.HoldWish(100, None, "order"), terms=terms, use=ProofUse(),
            idem_key=callers.idem_key_of(caller, "placeHold", str(card.member_id)), at=NOON,
        )  # fmt: skip
        done = await tills.record_purchase(
            desk, call(market, f"pay-{card.member_id}"), MemberRef(card_number=card.number), a_receipt(1_000),
            spend=tills.Spend(None, held.hold.ref, None),
        )  # fmt: skip
        assert done.receipt.redeemed_points == 100
        return done.receipt.awarded_points

    async with market.coalition.database.transaction() as connection:
        await budgets.set_limit(connection, "pot", 10_000, actor="test", at=NOON)
    await market.buy(await market.coalition.add_member(), a_receipt(50))
    used = sum((await market.used("pot")).values())
    async with market.coalition.database.transaction() as connection:
        await budgets.set_limit(connection, "pot", used + 3 * 100 + 3 * 100 - 50, actor="test", at=NOON)
    given = await asyncio.gather(*(pay_with_a_hold() for _ in range(3)))
    assert sum((await market.used("pot")).values()) == used + 550
    assert all(points >= 9 for points in given)


async def word(market: Market, **limits: int) -> str:
    """A word that many use, under limits."""
    draft = BatchDraft("word", EARLIER, NOON + 90 * DAY, kind=batches.GENERIC, word="SPRING-26", **limits)
    async with market.coalition.database.transaction() as connection:
        await batches.add(connection, market.coalition.vault, draft, actor=market.maker, at=EARLIER)
    await market.publish(bonus("word-gift", 100, codes={"required": "word"}, what={"categories": ["coffee"]}))
    return draft.word or ""


async def quoted(market: Market, card: IssuedCard, receipt: Receipt, *codes: str, at: datetime = NOON) -> int:
    """The points that a quote promises."""
    ref, caller = MemberRef(card_number=card.number), market.coalition.callers["bakery"]
    found = await tills.quote(market.desk, caller, ref, receipt, at=at, shown=tills.Coupons(codes, NOON))
    return found.prepared.award.points


async def answer(work: Awaitable[object]) -> object:
    """What a till hears: the points, or the code of the "no"."""
    try:
        heard = await work
    except Rejection as no:
        return no.code
    return heard.receipt.awarded_points if isinstance(heard, Recorded) else heard


def coffee() -> Receipt:
    return basket({"1": (500, "coffee")})


@pytest.mark.parametrize("limits", [{"total_limit": 1}, {"member_limit": 1}])
async def test_a_quote_tells_what_its_purchase_will_tell_of_a_word_that_is_used_up(
    market: Market, limits: dict[str, int]
) -> None:
    code = await word(market, **limits)
    card, other = await market.coalition.add_member(), await market.coalition.add_member()
    assert await quoted(market, card, coffee(), code) == 105
    assert (await show(market, card, coffee(), code)).receipt.awarded_points == 105
    before = await market.rows()
    assert await answer(quoted(market, card, coffee(), code)) == "COUPON_EXHAUSTED"
    assert await answer(show(market, card, coffee(), code)) == "COUPON_EXHAUSTED"
    assert await market.rows() == before
    for_another = 105 if "member_limit" in limits else "COUPON_EXHAUSTED"
    assert await answer(quoted(market, other, coffee(), code)) == for_another
    assert await answer(show(market, other, coffee(), code)) == for_another


async def test_a_coupon_that_nothing_uses_is_weighed_by_neither_quote_nor_purchase(market: Market) -> None:
    code = await word(market, total_limit=1)
    card = await market.coalition.add_member()
    await show(market, card, coffee(), code)
    tea = basket({"1": (500, "tea")})
    assert (await quoted(market, card, tea, code), await answer(show(market, card, tea, code))) == (5, 5)


async def test_a_quote_counts_what_its_own_receipt_has_reserved_and_what_is_over_as_free(market: Market) -> None:
    code = await word(market, total_limit=1)
    card, other = await market.coalition.add_member(), await market.coalition.add_member()
    receipt = coffee()
    ref = ReceiptRef("1", "1", NOON.date(), receipt.reference)
    until = await tills.reserve_coupons(
        market.desk, call(market, "keep"), MemberRef(card_number=card.number), ref, tills.Coupons((code,), NOON)
    )
    assert await quoted(market, card, receipt, code) == 105
    assert await answer(quoted(market, other, coffee(), code)) == "COUPON_EXHAUSTED"
    assert await quoted(market, other, coffee(), code, at=until) == 105
    counted = await market.desk.pool.fetchval("SELECT used FROM partners.coupon_count WHERE holder_id = 0")
    assert counted == 1  # what is over was not let go by looking


async def test_a_quote_of_a_coupon_that_needs_a_proof_says_so(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        vault, actor = market.coalition.vault, market.maker
        draft = BatchDraft("spring", EARLIER, NOON + 90 * DAY)
        spring = await batches.add(connection, vault, draft, actor=actor, at=EARLIER)
        [guessed] = await batches.draw(connection, vault, "spring", 1, actor=actor, at=EARLIER)
        await guesses.count_wrong(connection, Asking(0, None, 0), 20, [spring] * 20, now=NOON)
    await market.publish(bonus("spring", 50, codes={"required": "spring"}))
    card = await market.coalition.add_member()
    assert await answer(quoted(market, card, coffee(), guessed)) == "COUPON_PROOF_REQUIRED"
    assert await answer(show(market, card, coffee(), guessed)) == "COUPON_PROOF_REQUIRED"


async def test_coupons_that_add_up_are_used_when_there_are_enough_and_kept_when_there_are_not(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        vault, actor = market.coalition.vault, market.maker
        draft = BatchDraft("saving", EARLIER, NOON + 90 * DAY, per_receipt=6, needed=3)
        await batches.add(connection, vault, draft, actor=actor, at=EARLIER)
        drawn = await batches.draw(connection, vault, "saving", 3, actor=actor, at=EARLIER)
    await market.publish(bonus("saver", 100, codes={"required": "saving", "quantity": 3}))
    card = await market.coalition.add_member()
    for shown, points, used in ((drawn[:2], 0, 0), (drawn, 100, 3)):
        assert (await show(market, card, a_receipt(50), *shown)).receipt.awarded_points == points
        assert await market.desk.pool.fetchval("SELECT count(*) FROM partners.coupon WHERE state = 3") == used


async def next_time(market: Market) -> None:
    """A rule that gives a coupon on coffee for the next purchase, and one that takes two euros off tea for it."""
    await batch(market, "next", 0)
    await market.publish(
        document("give", {"type": "grant_coupon", "batch": "next"}, what={"categories": ["coffee"]}),
        document(
            "off", {"type": "discount_amount", "amount_minor": 200}, codes={"required": "next"},
            what={"categories": ["tea"]}, stack={"priority": 11},
        ),
    )  # fmt: skip


async def held_by(market: Market, card: IssuedCard) -> list[str]:
    """What a till may show of the coupons that lie with a member."""
    async with market.coalition.database.reading() as connection:
        found = await coupons.held(connection, card.member_id, at=NOON)
    partner_id = market.coalition.callers["bakery"].partner_id
    return [coupons.ref_for(market.coalition.vault, partner_id, one.coupon_id) for one in found]


def cheaper_tea() -> Receipt:
    """Tea of 5.00 that the till sold for 3.00."""
    return basket({"1": (500, "tea")}, {"1": ("off", 200)})


async def test_a_coupon_that_lies_with_a_member_is_shown_by_its_reference_and_used_once(market: Market) -> None:
    await next_time(market)
    card = await market.coalition.add_member()
    await show(market, card, coffee())
    [code] = await held_by(market, card)
    assert (await show(market, card, cheaper_tea(), code)).receipt.total_minor == 300
    assert await held_by(market, card) == []
    assert await answer(show(market, card, cheaper_tea(), code)) == "COUPON_INVALID"


async def test_a_granted_coupon_that_was_used_leaves_its_purchase_alone_when_what_granted_it_goes_back(
    market: Market,
) -> None:
    """The discount was right when it was given: of the other receipt nothing changes, also not what parties owe for it."""
    await next_time(market)
    card = await market.coalition.add_member()
    first = await show(market, card, coffee())
    [code] = await held_by(market, card)
    second = await show(market, card, cheaper_tea(), code)
    before = await market.desk.pool.fetch("SELECT * FROM partners.receipt WHERE seq = $1", second.receipt.seq)
    returned = await give_back(market, first, Wish())
    assert (returned.taken_points, returned.refund_money_minor, returned.deduct_minor) == (5, 500, 0)
    assert await market.desk.pool.fetch("SELECT * FROM partners.receipt WHERE seq = $1", second.receipt.seq) == before
    assert await market.desk.pool.fetchval("SELECT state FROM partners.coupon") == store.REDEEMED


@pytest.mark.parametrize("granting_first", [True, False])
async def test_who_gives_both_purchases_back_keeps_no_coupon_in_either_order(
    market: Market, granting_first: bool
) -> None:
    """A purchase grants a coupon, another uses it, both go back: who kept it would have it for nothing, again and again."""
    await next_time(market)
    card = await market.coalition.add_member()
    first = await show(market, card, coffee())
    [code] = await held_by(market, card)
    second = await show(market, card, cheaper_tea(), code)
    for number, done in enumerate([first, second] if granting_first else [second, first], start=1):
        await give_back(market, done, Wish(), after=number)
    assert await held_by(market, card) == []
    with pytest.raises(CouponInvalid):
        await show(market, card, cheaper_tea(), code)
    async with market.coalition.database.reading() as connection:
        assert await facts.audit(connection, PROGRAMME) == []


async def test_of_coupons_of_one_purchase_the_unused_ones_go_first(market: Market) -> None:
    """Two were granted for two coffees and one was used; a coffee comes back, and it is the other that goes."""
    await batch(market, "next", 0)
    await market.publish(
        document("first", {"type": "grant_coupon", "batch": "next"}, what={"categories": ["coffee"]}),
        document("second", {"type": "grant_coupon", "batch": "next"}, what={"min_basket_minor": 1_000},
                 stack={"priority": 11}),
        document("off", {"type": "discount_amount", "amount_minor": 200}, codes={"required": "next"},
                 what={"categories": ["tea"]}, stack={"priority": 12}),
    )  # fmt: skip
    card = await market.coalition.add_member()
    done = await show(market, card, basket({"1": (500, "coffee"), "2": (500, "coffee")}))
    _, used = await held_by(market, card)
    tea = await show(market, card, cheaper_tea(), used)
    await give_back(market, done, Wish(lines={"2": None}))
    assert await held_by(market, card) == []
    await give_back(market, tea, Wish(), after=2)  # the purchase keeps the coupon of the coffee that is left
    assert await held_by(market, card) == [used]
    await give_back(market, done, Wish(), after=3)
    assert await held_by(market, card) == []
