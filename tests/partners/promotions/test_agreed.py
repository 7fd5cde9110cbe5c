"""What the agreement says of earning, of paying with points and of returns, at the till, with rules beside it or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from kit.database import Database
from kit.secrets import Vault
from members.cards import IssuedCard
from members.identification import MemberRef
from partners.agreements import onboarding
from partners.decisions import decisions
from partners.decisions.preparing import PointsExceedShare
from partners.promotions import budgets, explanations
from partners.purchases import purchases
from partners.receipts.receipts import Line, Receipt
from partners.returns.returning import Wish
from partners.tills import tills
from tests.builders import NOON, a_receipt, rows_written
from tests.founded import a_coalition
from tests.partners.promotions.market import EARLIER, Market, bonus, met_market, open_market
from tests.partners.promotions.offers import document
from tests.partners.promotions.test_promoted import give_back, lots

MONEY = 10_000


template = a_coalition(open_market, bakery={"return_window_days": 0})


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await met_market(database, vault)
    yield made
    assert await made.violations() == []
    await made.desk.close()


def bill(*lines: tuple[str, int, dict[str, Any]]) -> Receipt:
    """A receipt of lines: kind, amount, and what else is told of each."""
    made = tuple(Line(str(n), kind, amount, facts) for n, (kind, amount, facts) in enumerate(lines, 1))
    return replace(a_receipt(), lines=made, total_minor=sum(line.amount_minor for line in made))


async def limit_of(market: Market, partner: str, card: IssuedCard, receipt: Receipt) -> tuple[int, str]:
    """The most points that a quote lets a member spend, and what bound them."""
    quoted = await tills.quote(
        market.desk, market.coalition.callers[partner], MemberRef(card_number=card.number), receipt, at=NOON
    )  # fmt: skip
    return quoted.limit.points, quoted.limit.bound_by


@pytest.mark.parametrize("with_a_rule", [False, True])
async def test_what_earns_is_what_the_agreement_names_less_what_never_does_and_the_tax(
    market: Market, with_a_rule: bool
) -> None:
    """Complaint C20 at a till: delivery earns where it is signed so, tobacco and the tax in an amount do not."""
    await market.coalition.add_partner(
        "kiosk", earn_kinds=("GOODS", "DELIVERY"), never_earn_classes=("tobacco",),
        never_earn_categories=("stamps",), earns_on_tax=False,
    )  # fmt: skip
    if with_a_rule:
        await market.publish(bonus("never", 5, who={"tiers": ["GOLD"]}))
    receipt = bill(
        ("GOODS", MONEY, {"taxAmount": "20.00"}), ("DELIVERY", 500, {}), ("SERVICE", MONEY, {}),
        ("GOODS", MONEY, {"classes": ["tobacco"]}), ("GOODS", MONEY, {"category": "stamps"}),
    )  # fmt: skip
    card = await market.coalition.add_member()
    kiosk = (await market.buy(card, receipt, partner="kiosk")).receipt
    assert kiosk.awarded_points == 80 + 5
    assert kiosk.decision["reasons"][1:] == [
        ["CLASS_DOES_NOT_EARN", 0, {"kind": "stamps"}], ["CLASS_DOES_NOT_EARN", 0, {"kind": "tobacco"}],
        ["KIND_DOES_NOT_EARN", 0, {"kind": "SERVICE"}],
    ]  # fmt: skip
    bakery = (await market.buy(card, bill(*((line.kind, line.amount_minor, {}) for line in receipt.lines)))).receipt
    assert bakery.awarded_points == 400


async def test_points_leave_the_least_money_and_pay_no_kind_that_was_left_out_and_the_quote_names_it(
    market: Market,
) -> None:
    await market.coalition.add_partner("hotel", bill_share_bp=10_000, minimum_money_minor=3_000)
    await market.coalition.add_partner("shop", bill_share_bp=10_000, unpayable_kinds=("GIFT_CARD", "FEE"))
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(2_000_000))
    assert await limit_of(market, "hotel", card, a_receipt(10_000)) == (7_000, "MINIMUM_MONEY")
    assert await limit_of(market, "hotel", card, a_receipt(2_000)) == (0, "MINIMUM_MONEY")
    assert await limit_of(market, "shop", card, bill(("GOODS", 500, {}), ("FEE", 700, {}))) == (500, "AGREEMENT_SHARE")
    assert await limit_of(market, "shop", card, bill(("GIFT_CARD", 700, {}))) == (0, "NOTHING_ELIGIBLE")
    await market.coalition.add_partner("issuer", role="ISSUER")
    assert await limit_of(market, "issuer", card, a_receipt(10_000)) == (0, "AGREEMENT_SHARE")
    before = await rows_written(market.desk.pool)
    with pytest.raises(PointsExceedShare):
        await market.buy(card, a_receipt(10_000), partner="hotel", spend=7_001)
    assert await rows_written(market.desk.pool) == before
    done = await market.buy(card, bill(("GOODS", 500, {}), ("FEE", 700, {})), partner="shop", spend=500)
    assert done.receipt.decision["paid"] == {"1": [500, 500]}


async def test_a_part_that_comes_back_takes_its_share_where_the_agreement_says_so(market: Market) -> None:
    """A bonus for a whole bill: elsewhere it goes when the bill falls below its threshold."""
    await market.coalition.add_partner("atelier", return_window_days=0, returns_in_proportion=True)
    await market.publish(bonus("big", 100, what={"min_basket_minor": 1_200}))
    card = await market.coalition.add_member()
    for partner, taken in (("atelier", 56), ("bakery", 106)):
        done = await market.buy(card, bill(("GOODS", 600, {}), ("GOODS", 600, {})), partner=partner)
        assert done.receipt.awarded_points == 112
        back = await give_back(market, done, Wish(lines={"2": None}), partner=partner)
        assert back.taken_points == taken
        rest = await give_back(market, done, Wish(), partner=partner)
        assert back.taken_points + rest.taken_points == 112


async def test_buying_more_to_give_it_back_makes_no_room_in_a_budget_where_a_part_takes_its_share(
    market: Market,
) -> None:
    """The bonus is the coffee's; what was beside it and came back is nothing to the budget."""
    await market.coalition.add_partner("atelier", return_window_days=0, returns_in_proportion=True)
    await market.budget("pot", limit=150)
    await market.publish(bonus("coffee", 100, what={"categories": ["coffee"]}, caps=["pot"]))
    card = await market.coalition.add_member()
    lines = ("GOODS", 500, {"category": "coffee"}), ("GOODS", 9_500, {"category": "machine"})
    done = await market.buy(card, bill(*lines), partner="atelier")
    await give_back(market, done, Wish(lines={"2": None}), partner="atelier")
    assert await market.used("pot") == {("", ""): 100}
    assert (await market.buy(card, bill(*lines), partner="atelier")).receipt.awarded_points == 100
    await give_back(market, done, Wish(), partner="atelier", after=2)
    assert await market.used("pot") == {("", ""): 0}


async def test_hours_and_days_are_those_on_the_outlets_clock(market: Market) -> None:
    """Noon in the programme's zone is three in the afternoon in Moscow, and tomorrow already in Auckland."""
    happy = bonus("happy", 10, when={"hours": {"start": 15, "end": 16}})
    monday = bonus("monday", 100, when={"weekdays": [1]}, stack={"priority": 11})
    today = bonus("today", 1_000, stack={"priority": 12})
    today["effect"] |= {"activation_days": 0, "expiry": {"days": 1, "end_of_day": True}}
    await market.publish(happy, monday, today)
    coalition, card = market.coalition, await market.coalition.add_member()
    partner_id = coalition.callers["bakery"].partner_id
    found = {}
    for zone in (None, "Europe/Moscow", "Pacific/Auckland"):
        async with coalition.database.transaction() as connection:
            await onboarding.set_outlet_zone(
                connection, partner_id=partner_id, code="1", time_zone=zone, actor=coalition.onboarder, at=NOON
            )
        await market.desk.directory.refresh()
        done = await market.buy(card, a_receipt(100))
        ends = max(
            lot.expires_at for lot in (await market.decide(card, a_receipt(100))).award.lots if lot.points == 1_000
        )
        found[zone] = (done.receipt.awarded_points, ends.isoformat())
        around = (await market.desk.directory.get()).around(done.receipt)
        assert (
            decisions.recalled(done.receipt, around).outcome.outcome_sha256 == done.receipt.decision["outcome_sha256"]
        )
    assert found == {
        None: (1_101, "2026-03-04T00:00:00+00:00"),
        "Europe/Moscow": (1_111, "2026-03-03T21:00:00+00:00"),
        "Pacific/Auckland": (1_001, "2026-03-04T11:00:00+00:00"),
    }
    async with coalition.database.transaction() as connection:
        with pytest.raises(onboarding.OnboardingInvalid):
            await onboarding.set_outlet_zone(
                connection, partner_id=partner_id, code="1", time_zone="Mars/Base", actor=coalition.onboarder, at=NOON
            )


async def test_a_discount_stays_charged_to_what_it_shares_with_points_that_were_stopped(market: Market) -> None:
    """One budget for both: a partner that may grant nothing gives the discount as often as it may be given, not for ever."""
    async with market.coalition.database.transaction() as connection:
        source = {"code": "exposure:bakery", "unit": "points", "limit": 0}
        await budgets.add(connection, source=source, sponsor_id=0, actor="settlement", at=EARLIER)
    await market.budget("once", unit="count", limit=2, scopes=["member"])
    await market.publish(
        bonus("gift", 100, caps=["once"]),
        document("badge", {"type": "grant_badge", "badge": "first"}, caps=["once"], stack={"priority": 11}),
    )
    card = await market.coalition.add_member()
    given = []
    for _ in range(3):
        done = await market.decide(card, a_receipt(1_000))
        assert done.decided is not None
        given.append((done.award.points, len(done.decided.outcome.grants)))
        await purchases.accrue(market.desk, done)
    assert given == [(0, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize("role", ["REDEEMER", "HONOURS", "RUN_OFF"])
async def test_a_rule_gives_no_points_where_the_agreement_grants_none_and_says_so(market: Market, role: str) -> None:
    """Neither the agreed ones nor a bonus, whoever pays: a discount is another thing."""
    await market.coalition.add_partner("leaving", role=role, bill_share_bp=0)
    await market.publish(
        bonus("gift", 100, funding=[{"party": "OPERATOR", "bp": 10_000}]),
        document("off", {"type": "discount_percent", "rate_bp": 1_000}, stack={"priority": 11}),
    )
    card = await market.coalition.add_member()
    done = await market.buy(card, a_receipt(5_000), partner="leaving")
    assert done.receipt.awarded_points == 0
    assert [code for code, _, _ in done.receipt.decision["reasons"]] == ["PARTNER_DOES_NOT_ISSUE"]
    assert await lots(market, done) == []
    quoted = await market.decide(card, a_receipt(5_000), partner="leaving", is_quote=True)
    assert quoted.decided is not None
    assert quoted.decided.outcome.discount_minor == 500
    basis = quoted.decided.basis
    why = explanations.explain(basis.release, quoted.decided.basket, basis.context, basis.counters)
    assert (why.points, [one.reason for one in why.agreed]) == (0, ["PARTNER_DOES_NOT_ISSUE"])
    assert {one.rule: one.reason for one in why.rules} == {"gift": "ZERO_EFFECT", "off": "APPLIED"}


async def test_what_the_operator_funds_it_funds_with_rules_as_without(market: Market) -> None:
    """Points of a partner whose agreement the operator pays for: a rule beside them does not turn them into its own."""
    shop = await market.coalition.add_partner("shop", funding="OPERATOR", service_price_micro=0)
    card = await market.coalition.add_member()
    assert await lots(market, await market.buy(card, a_receipt(10_000), partner="shop")) == [(shop.partner_id, 0, 100)]
    await market.publish(bonus("gift", 7))
    done = await market.buy(card, a_receipt(10_000), partner="shop")
    assert await lots(market, done) == [(shop.partner_id, 0, 100), (shop.partner_id, shop.partner_id, 7)]
    around = (await market.desk.directory.get()).around(done.receipt)
    assert decisions.recalled(done.receipt, around).outcome.outcome_sha256 == done.receipt.decision["outcome_sha256"]
    back = await give_back(market, done, Wish(), partner="shop", after=0)
    assert (back.taken_points, back.unrecovered_points) == (107, 0)


async def test_what_only_the_agreement_lets_earn_goes_back_with_its_line(
    market: Market,
) -> None:
    await market.coalition.add_partner("kiosk", return_window_days=0, earn_kinds=("DELIVERY", "GOODS"))
    card = await market.coalition.add_member()
    done = await market.buy(card, bill(("GOODS", 600, {}), ("DELIVERY", 600, {})), partner="kiosk")
    assert done.receipt.awarded_points == 12
    assert (await give_back(market, done, Wish(lines={"2": None}), partner="kiosk")).taken_points == 6
