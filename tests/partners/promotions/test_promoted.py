"""Purchases that rules decide: what they write, what a return undoes, and that each is decided alike for ever."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from kit.database import Database
from kit.secrets import Vault
from members.cards import IssuedCard
from partners import callers
from partners.clearing import clearing
from partners.decisions import decisions
from partners.decisions.decisions import DiscountNotGranted
from partners.decisions.preparing import PointsExceedShare
from partners.outcomes import Recorded
from partners.promotions import budgets, publishing
from partners.purchases import purchases
from partners.receipts import store as receipt_store
from partners.receipts.receipts import Line, Receipt
from partners.returns import returns
from partners.returns.returning import Wish
from tests.builders import DAY, NOON, Coalition, a_receipt
from tests.founded import a_coalition, met
from tests.partners.promotions.market import EARLIER, Market, bonus, met_market, open_market
from tests.partners.promotions.offers import document

ELSEWHERE = timezone(timedelta(hours=3))  # of a till that tells the time as it sees it

OPERATOR_PAYS = [{"party": "OPERATOR", "bp": 10_000}]
SHARED = [{"party": "bakery", "bp": 7_000}, {"party": "grocer", "bp": 3_000}]


template = a_coalition(
    open_market,
    bakery={"return_window_days": 0, "tier_bonus_bp": {"GOLD": 50}},
    grocer={"return_window_days": 0},
)


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> Coalition:
    return await met(database, vault)


@pytest.fixture
async def market(coalition: Coalition) -> AsyncIterator[Market]:
    made = await met_market(coalition.database, coalition.vault)
    made.coalition = coalition
    yield made
    assert await made.violations() == []
    await coalition.desk.close()


def basket(lines: Mapping[str, tuple[int, str]], off: Mapping[str, tuple[str, int]] | None = None) -> Receipt:
    """A receipt of lines (amount, category), with discounts that the till gave in a rule's name (rule, amount)."""
    off = off or {}
    made = tuple(
        Line(line_id, "GOODS", amount - off.get(line_id, ("", 0))[1],
             {"category": category, "discounts": [
                 {"source": "PROGRAMME", "promotion": off[line_id][0], "amount": f"{off[line_id][1] / 100:.2f}"}
             ]} if line_id in off else {"category": category})
        for line_id, (amount, category) in lines.items()
    )  # fmt: skip
    bare = a_receipt()
    return replace(bare, lines=made, total_minor=sum(line.amount_minor for line in made))


async def give_back(
    market: Market, done: Recorded, wish: Wish, *, after: int = 1, partner: str = "bakery"
) -> returns.Returned:
    """A return of a purchase some days later."""
    caller = market.coalition.callers[partner]
    directory = await market.desk.directory.get()
    slip_receipt = a_receipt()
    place = callers.place_of(directory, caller, "1", "1")
    at = done.receipt.at + after * DAY
    ref = returns.ReceiptRef("1", "1", at.date(), slip_receipt.reference)
    slip = returns.ReturnSlip(slip_receipt.reference, place, ref, at)
    return await returns.return_purchase(
        market.desk, caller, slip, done.receipt, wish,
        idem_key=callers.idem_key_of(caller, "returnPurchase", slip_receipt.reference), at=at,
    )  # fmt: skip


async def lots(market: Market, done: Recorded) -> list[tuple[int, int, int]]:
    """The lots of a purchase: issuer, funder, points."""
    rows = await market.desk.pool.fetch(
        "SELECT issuer_id, funder_id, granted FROM ledger.lot WHERE holder_id = $1 AND seq = $2 AND unit = 1 ORDER BY lot_no",
        done.receipt.holder_id, done.receipt.seq,
    )  # fmt: skip
    return [tuple(row) for row in rows]


async def owed(market: Market) -> list[tuple[int, int, int, bool]]:
    """Who owes whom how much for discounts, in order of writing."""
    rows = await market.desk.pool.fetch(
        "SELECT payer_id, payee_id, amount, is_return FROM partners.clearing_event ORDER BY holder_id, seq, event_no"
    )
    return [tuple(row) for row in rows]


async def test_without_a_rule_that_may_meet_it_a_purchase_is_decided_as_ever(market: Market) -> None:
    card = await market.coalition.add_member()
    before = await market.decide(card, receipt := a_receipt(12_345))
    await market.publish(bonus("elsewhere", 50, where={"partners": ["grocer"]}))
    after = await market.decide(card, receipt)
    assert after.row == before.row
    assert after.promoted is None


async def test_a_rule_adds_points_for_which_another_pays_in_a_lot_of_their_own(market: Market) -> None:
    await market.publish(bonus("gift", 50, funding=OPERATOR_PAYS))
    done = await market.buy(await market.coalition.add_member(), a_receipt(10_000))
    assert (done.receipt.awarded_points, done.available) == (150, 150)
    here = market.coalition.callers["bakery"].partner_id
    assert await lots(market, done) == [(here, here, 100), (here, 0, 50)]
    assert [reason[:2] for reason in done.receipt.decision["reasons"]] == [["BASE", 100], ["RULE", 50]]


async def test_co_funding_is_a_lot_per_funder_under_the_funders_own_terms(market: Market) -> None:
    await market.publish(bonus("gift", 15, funding=SHARED))
    done = await market.buy(await market.coalition.add_member(), a_receipt(50))
    here, other = (market.coalition.callers[code].partner_id for code in ("bakery", "grocer"))
    assert await lots(market, done) == [(here, here, 11), (here, other, 4)]
    rows = await market.desk.pool.fetch(
        "SELECT l.funder_id, a.partner_id FROM ledger.lot l JOIN partners.agreement a USING (terms_id) WHERE unit = 1"
    )
    assert all(row["funder_id"] == row["partner_id"] for row in rows)


async def test_a_bonus_may_be_there_at_once_and_end_before_the_rest(market: Market) -> None:
    effect = {"type": "points_fixed", "points": 30, "activation_days": 0, "expiry": {"days": 14, "end_of_day": True}}
    await market.coalition.add_partner("florist", return_window_days=14)
    await market.publish(document("welcome", effect, funding=OPERATOR_PAYS))
    done = await market.buy(await market.coalition.add_member(), a_receipt(10_000), partner="florist")
    assert (done.available, done.pending) == (30, 100)
    ends = await market.desk.pool.fetchval("SELECT expires_at FROM ledger.lot WHERE funder_id = 0")
    assert ends == NOON.replace(hour=0) + 15 * DAY


async def test_a_rule_of_the_members_tier_or_of_the_till_alone_reads_nothing(market: Market) -> None:
    await market.publish(bonus("gold", 5, who={"tiers": ["GOLD"]}), bonus("mornings", 7, when={"hours": {"start": 0, "end": 24}}, stack={"priority": 11}))  # fmt: skip
    prepared = await market.decide(await market.coalition.add_member(), a_receipt(50), tier="GOLD")
    assert prepared.decided is not None
    assert prepared.decided.basis.if_seq is None
    assert prepared.award.points == 12


async def test_the_first_purchase_counts_once_however_many_are_decided_at_once(market: Market) -> None:
    first = {"counters": [{"counter": "partner.ever.count", "max": 0}]}
    await market.publish(bonus("first", 100, who=first))
    card = await market.coalition.add_member()
    prepared = [await market.decide(card, a_receipt(50)) for _ in range(4)]
    assert [one.award.points for one in prepared] == [100] * 4
    done = await purchases.accrue_file(market.desk, prepared)
    assert sorted(one.receipt.awarded_points for one in done if isinstance(one, Recorded)) == [0, 0, 0, 100]


async def test_a_discount_is_proposed_given_by_the_till_and_owed_by_whoever_funds_it(market: Market) -> None:
    tenth = {"type": "discount_percent", "rate_bp": 1_000}
    await market.publish(
        document("tenth", tenth, what={"categories": ["bread"]}, funding=[{"party": "grocer", "bp": 10_000}])
    )
    card = await market.coalition.add_member()
    goods = {"1": (2_000, "bread"), "2": (1_000, "tea")}
    quote = await market.decide(card, basket(goods), is_quote=True)
    assert [(one.line_id, one.amount_minor) for one in quote.decided.outcome.discounts] == [("1", 200)]
    done = await market.buy(card, basket(goods, {"1": ("tenth", 200)}))
    assert (done.receipt.total_minor, done.receipt.awarded_points) == (2_800, 28)
    here, other = (market.coalition.callers[code].partner_id for code in ("bakery", "grocer"))
    assert await owed(market) == [(other, here, 200, False)]
    async with market.coalition.database.transaction() as connection:
        (group,) = await clearing.owed_groups(connection, [done_cutoff := await cutoff(market)])
        rows = [
            one async for one in clearing.owed(connection, partner_id=other, currency="EUR", cutoff_ids=[done_cutoff])
        ]
    assert (group.payer_id, group.payee_id, group.amount_minor, group.count) == (other, here, 200, 1)
    assert [(one.reference, one.rule) for one in rows] == [(done.receipt.reference, "tenth")]


async def cutoff(market: Market) -> int:
    found: int = await market.desk.pool.fetchval("SELECT max(cutoff_id) FROM partners.receipt")
    return found


async def test_a_discount_that_was_not_given_is_owed_by_nobody_and_the_whole_price_earns(market: Market) -> None:
    await market.publish(document("tenth", {"type": "discount_percent", "rate_bp": 1_000}, funding=OPERATOR_PAYS))
    done = await market.buy(await market.coalition.add_member(), basket({"1": (2_000, "bread")}))
    assert done.receipt.awarded_points == 20
    assert await owed(market) == []


async def test_a_discount_of_the_partners_own_is_its_own_whatever_it_is_called(market: Market) -> None:
    await market.publish(document("tenth", {"type": "discount_percent", "rate_bp": 1_000}, funding=OPERATOR_PAYS))
    own = {"discounts": [{"source": "PARTNER", "promotion": "tenth", "amount": "5.00"}]}
    receipt = replace(a_receipt(1_500), lines=(Line("1", "GOODS", 1_500, own),))
    done = await market.buy(await market.coalition.add_member(), receipt)
    assert (done.receipt.awarded_points, await owed(market)) == (15, [])


async def test_a_discount_of_which_the_partner_pays_a_part_is_owed_for_the_rest(market: Market) -> None:
    funding = [{"party": "HERE", "bp": 7_000}, {"party": "OPERATOR", "bp": 3_000}]
    await market.publish(document("tenth", {"type": "discount_percent", "rate_bp": 1_000}, funding=funding))
    await market.buy(await market.coalition.add_member(), basket({"1": (1_000, "x")}, {"1": ("tenth", 100)}))
    assert await owed(market) == [(0, market.coalition.callers["bakery"].partner_id, 30, False)]


@pytest.mark.parametrize("off", [("tenth", 99), ("tenth", 201), ("nothing", 200), ("", 200)])
async def test_a_discount_in_the_programmes_name_that_no_rule_gives_is_refused_and_nothing_written(
    market: Market, off: tuple[str, int]
) -> None:
    await market.publish(document("tenth", {"type": "discount_percent", "rate_bp": 1_000}, funding=OPERATOR_PAYS))
    card = await market.coalition.add_member()
    before = await market.rows()
    with pytest.raises(DiscountNotGranted):
        await market.buy(card, basket({"1": (2_000, "bread")}, {"1": off}))
    assert await market.rows() == before


@pytest.mark.parametrize("stacked", ["BEST", "FIRST", "exclusive", "EXCLUSIVE"])
async def test_a_till_does_not_choose_the_discount_that_another_pays_over_the_one_that_counts(
    market: Market, stacked: str
) -> None:
    """Its own counts and keeps the other out; who gives the other alone would have the operator pay for it."""
    alone = stacked == "exclusive"
    inner = "" if alone else "one"
    own = document("own", {"type": "discount_percent", "rate_bp": 2_000},
                   stack={"group": inner, "priority": 1, "exclusive": alone})  # fmt: skip
    theirs = document("theirs", {"type": "discount_percent", "rate_bp": 1_000}, funding=OPERATOR_PAYS,
                      stack={"group": "" if stacked == "EXCLUSIVE" else inner, "priority": 50})  # fmt: skip
    groups = [] if alone else [{"code": "one", "mode": stacked, "priority": 5}]
    await market.publish(own, theirs, groups=groups)
    card = await market.coalition.add_member()
    before = await market.rows()
    with pytest.raises(decisions.DiscountNotGranted):
        await market.buy(card, basket({"1": (1_000, "a")}, {"1": ("theirs", 100)}))
    assert await market.rows() == before
    await market.buy(card, basket({"1": (1_000, "a")}, {"1": ("own", 200)}))
    await market.buy(card, basket({"1": (1_000, "a")}))
    assert await owed(market) == []


async def test_the_cap_that_binds_a_spending_is_named_and_kept(market: Market) -> None:
    cap = document("tobacco", {"type": "set_redeem_cap", "share_bp": 1_000}, where={"partners": ["bakery"]})
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(100_000))
    await market.publish(cap)
    quote = await market.decide(card, a_receipt(1_000), is_quote=True)
    assert quote.decided.outcome.spend_limit.bound_by == "RULE:tobacco"
    before = await market.rows()
    with pytest.raises(PointsExceedShare) as refused:
        await market.buy(card, a_receipt(1_000), spend=101)
    assert refused.value.maximum_points == 100
    assert await market.rows() == before
    done = await market.buy(card, a_receipt(1_000), spend=100)
    assert (done.receipt.redeemed_points, done.receipt.awarded_points) == (100, 9)


async def test_a_return_below_a_threshold_takes_the_bonus_back_and_gives_its_budget_back(market: Market) -> None:
    await market.budget("pot", limit=1_000, scopes=["member"], period="month")
    await market.publish(bonus("big", 100, what={"min_basket_minor": 3_000}, caps=["pot"], funding=OPERATOR_PAYS))
    card = await market.coalition.add_member()
    done = await market.buy(card, basket({"1": (2_000, "a"), "2": (1_500, "b")}))
    assert done.receipt.awarded_points == 135
    back = await give_back(market, done, Wish(lines={"2": None}), after=40)  # in another month
    assert back.taken_points == 115
    assert await market.used("pot") == {(f"member:{card.member_id}", "2026-03"): 0}
    await give_back(market, done, Wish(), after=41)
    assert await market.desk.pool.fetchval("SELECT available FROM ledger.account WHERE unit = 1") == 0


async def test_a_return_of_a_part_lets_the_payer_owe_less_and_keeps_a_lost_discount_from_the_refund(
    market: Market,
) -> None:
    off = document("tenth", {"type": "discount_percent", "rate_bp": 1_000}, funding=OPERATOR_PAYS,
                   what={"min_basket_minor": 3_000, "of": "GROSS"})  # fmt: skip
    await market.publish(off)
    goods = {"1": (2_000, "a"), "2": (1_500, "b")}
    done = await market.buy(
        await market.coalition.add_member(), basket(goods, {"1": ("tenth", 200), "2": ("tenth", 150)})
    )
    here = market.coalition.callers["bakery"].partner_id
    assert await owed(market) == [(0, here, 350, False)]
    back = await give_back(market, done, Wish(lines={"2": None}))
    assert back.refund_money_minor == 1_350 - 200
    assert await owed(market) == [(0, here, 350, False), (here, 0, 350, True)]
    again = await give_back(market, done, Wish())
    assert again.refund_money_minor == 1_800 + 200
    assert len(await owed(market)) == 2


async def test_returns_in_parts_give_back_no_more_than_was_paid_though_the_first_lost_more_than_it_was_worth(
    market: Market,
) -> None:
    """A small line comes back and a large discount is lost with it: what was kept is not paid out at the end."""
    off = document("ten-off", {"type": "discount_amount", "amount_minor": 1_000}, funding=OPERATOR_PAYS,
                   what={"min_basket_minor": 3_050, "of": "GROSS"})  # fmt: skip
    await market.publish(off)
    goods, given = {"1": (3_000, "a"), "2": (100, "b")}, {"1": ("ten-off", 968), "2": ("ten-off", 32)}
    for parts in (("2", "1"), ("1", "2"), (None,)):
        done = await market.buy(await market.coalition.add_member(), basket(goods, given))
        assert done.receipt.total_minor == 2_100
        back = [await give_back(market, done, Wish(lines={one: None}) if one else Wish()) for one in parts]
        assert sum(one.refund_money_minor for one in back) == 2_100
        assert back[0].refund_money_minor == {"2": 0, "1": 2_000, None: 2_100}[parts[0]]


async def test_goods_that_come_back_give_no_more_than_they_cost_though_the_rest_would_be_cheaper_now(
    market: Market,
) -> None:
    """Half off had no room for both; for one it would have, but nobody would pay the partner for it."""
    await market.budget("fund", unit="money", currency="EUR")
    async with market.coalition.database.transaction() as connection:
        await budgets.fund(connection, "fund", 300, payer_id=0, reference="INV-1", actor="test", at=NOON)
    stack = [{"group": "one", "priority": place} for place in (1, 2)]
    half = document("half", {"type": "discount_percent", "rate_bp": 5_000}, caps=["fund"], funding=OPERATOR_PAYS,
                    stack=stack[0])  # fmt: skip
    tenth = document("tenth", {"type": "discount_percent", "rate_bp": 1_000}, funding=OPERATOR_PAYS, stack=stack[1])
    await market.publish(half, tenth, groups=[{"code": "one", "mode": "FIRST", "priority": 5}])
    card = await market.coalition.add_member()
    done = await market.buy(card, basket({"1": (500, "a"), "2": (500, "a")}, {"1": ("tenth", 50), "2": ("tenth", 50)}))
    assert done.receipt.total_minor == 900
    back = await give_back(market, done, Wish(lines={"2": None}))
    rest = await give_back(market, done, Wish(), after=2)
    assert (back.refund_money_minor, rest.refund_money_minor) == (450, 450)
    assert await market.used("fund") == {}


async def test_what_a_partner_may_grant_comes_back_with_a_return(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        source = {"code": "exposure:bakery", "unit": "points", "limit": 30}
        await budgets.add(connection, source=source, sponsor_id=0, actor="settlement", at=EARLIER)
    await market.desk.directory.refresh()
    done = await market.buy(await market.coalition.add_member(), basket({"1": (2_000, "a"), "2": (1_000, "b")}))
    assert await market.used("exposure:bakery") == {("", ""): 30}
    await give_back(market, done, Wish(lines={"1": None}))
    assert await market.used("exposure:bakery") == {("", ""): 10}


async def test_a_suspended_rule_still_decides_what_happened_before(market: Market) -> None:
    await market.publish(bonus("gift", 50))
    async with market.coalition.database.transaction() as connection:
        await publishing.suspend(connection, ["gift"], actor=market.maker, at=NOON)
    await market.desk.directory.refresh()
    card = await market.coalition.add_member()
    before = await market.buy(card, a_receipt(50, at=NOON - timedelta(seconds=1)), at=NOON + DAY)
    after = await market.buy(card, a_receipt(50, at=NOON), at=NOON + DAY)
    assert (before.receipt.awarded_points, after.receipt.awarded_points) == (50, 0)


async def test_whatever_was_decided_in_a_long_run_is_decided_alike_again(market: Market) -> None:
    chance = random.Random(20260302)
    await market.budget("pot", limit=900, on_exceed="partial")
    await market.budget("mine", limit=120, scopes=["member"], period="day", on_exceed="partial")
    await market.publish(
        bonus("gift", 40, caps=["pot", "mine"], funding=SHARED),
        bonus("third", 25, who={"counters": [{"counter": "coalition.month.count", "min": 2}]}, stack={"priority": 11}),
        document("double", {"type": "points_multiplier", "factor_bp": 20_000}, what={"categories": ["bread"]}, stack={"priority": 12}),
        document("off", {"type": "discount_percent", "rate_bp": 500}, what={"categories": ["tea"]}, funding=OPERATOR_PAYS, stack={"priority": 13}),
        document("limit", {"type": "set_redeem_cap", "share_bp": 3_000}, stack={"priority": 14}),
    )  # fmt: skip
    cards = [await market.coalition.add_member() for _ in range(5)]
    done = [await _shop(market, chance, chance.choice(cards)) for _ in range(60)]
    for bought in chance.sample([one for one in done if one.receipt.total_minor], 20):
        await give_back(market, bought, Wish(lines={chance.choice(list(bought.receipt.decision["lines"])): None}))
    directory = await market.desk.directory.get()
    rows = await market.desk.pool.fetch("SELECT partner_id, holder_id, seq FROM partners.receipt WHERE kind = 1")
    kept = await receipt_store.receipts_at(market.desk.pool, [tuple(row) for row in rows])
    assert len(kept) == 60
    for one in kept:
        recalled = decisions.recalled(one, directory.around(one))
        assert recalled.outcome.outcome_sha256 == one.decision["outcome_sha256"]
        assert sum(reason[1] for reason in one.decision["reasons"]) == one.awarded_points


async def _shop(market: Market, chance: random.Random, card: IssuedCard) -> Recorded:
    goods = {str(n): (chance.randrange(100, 3_000), chance.choice(["bread", "tea", "soap"])) for n in range(1, 4)}
    at = NOON + timedelta(minutes=chance.randrange(10_000))
    quote = await market.decide(card, replace(basket(goods), occurred_at=at), is_quote=True)
    off: dict[str, Any] = {one.line_id: (one.rule, one.amount_minor) for one in quote.decided.outcome.discounts}
    receipt = replace(basket(goods, off if chance.random() < 0.7 else {}), occurred_at=at.astimezone(ELSEWHERE))
    held = await market.desk.pool.fetchval(
        "SELECT available FROM ledger.account WHERE holder_id = $1 AND unit = 1", card.member_id
    )
    spend = chance.choice([0, min(held, receipt.total_minor * 3 // 10)])
    return await market.buy(card, receipt, spend=spend)
