"""Points that earn points: circles above one are found and told, what ends by itself is not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from partners.promotions import checking, cycles
from partners.promotions.basket import SpendBase
from tests.partners.promotions.offers import TERMS, budget, group, release, rule

STAMP = {"type": "grant_stamp", "unit": "cup"}
CASH = {"type": "points_fixed", "points": 100}
COSTS = {"unit": "cup", "quantity": 10}


def found(*parts: Any, spend: SpendBase = SpendBase(("GIFT_CARD",)), rate_bp: int = 500) -> cycles.Cycle | None:
    """The circle in a release under one agreement."""
    return cycles.find(release(*parts), [replace(TERMS, spend=spend, earn_rate_bp=rate_bp)])


def test_points_that_earn_on_what_points_paid_are_a_circle_only_above_the_whole() -> None:
    def net(rate_bp: int, base: str = "net", code: str = "a") -> Any:
        return rule(code, {"type": "points_per_money", "rate_bp": rate_bp, "base": base})

    assert found(net(10_000)) is None
    circle = found(net(10_001))
    assert circle is not None
    assert circle.factor == Fraction(10_001, 10_000)
    assert found(net(6_000), net(4_001, "gross", "b")) is not None
    assert found(net(20_000, "money_paid")) is None


def test_rules_of_partners_apart_do_not_add_up() -> None:
    at = [
        rule(name, {"type": "points_per_money", "rate_bp": 6_000, "base": "net"}, where={"partners": [name]})
        for name in ("cafe", "roaster")
    ]
    assert found(*at) is None
    assert found(*at, rule("all", {"type": "points_per_money", "rate_bp": 4_001, "base": "net"})) is not None


def test_stamps_bought_with_a_point_each_and_cashed_for_more_are_told_as_they_run() -> None:
    circle = found(rule("stamp", STAMP), rule("cash", CASH, costs=COSTS))
    assert circle is not None
    assert circle.factor == 10
    told = str(circle)
    assert "points (×10 by cash)" in told
    assert "stamp cup (×1 by stamp)" in told
    assert told.endswith("one becomes 10")


@pytest.mark.parametrize(
    "stamp",
    [
        rule("stamp", STAMP, what={"of": "MONEY"}),
        rule("stamp", STAMP, what={"of": "MONEY", "min_quantity_milli": 5_000}),
        rule("stamp", STAMP | {"per": "unit"}, what={"min_amount_minor": 1_000}),
        rule("stamp", STAMP | {"per": "line"}, what={"min_basket_minor": 1_000}),
        rule("stamp", STAMP, codes={"required": "club", "uses_up": False}),
    ],
)
def test_what_asks_for_no_money_or_only_for_it_in_all_or_for_a_code_that_stays_ends_nothing(stamp: Any) -> None:
    """A threshold is on the whole purchase, which has as many pieces as it has points; `of` alone asks for nothing."""
    circle = found(stamp, rule("cash", CASH, costs=COSTS))
    assert circle is not None
    assert circle.factor == 10


def test_the_fewest_points_that_pay_for_a_purchase_are_those_of_the_currency_in_which_they_are_worth_most() -> None:
    """A threshold of a thousand is a thousand points in euros and ten where a point is worth a whole rouble."""
    offer = release(
        rule("stamp", STAMP, what={"min_amount_minor": 1_000}),
        rule("cash", CASH | {"points": 200}, costs=COSTS),
    )
    roubles = replace(TERMS, currency="RUB", point_value_micro=1_000_000)
    assert cycles.find(offer, [TERMS]) is None
    circle = cycles.find(offer, [TERMS, roubles])
    assert circle is not None
    assert circle.factor == 2


def test_what_one_purchase_gives_in_several_ways_adds_up() -> None:
    """A stamp from each of two rules; points and a stamp; neither is a circle alone."""
    cash = rule("cash", {"type": "points_fixed", "points": 6}, costs=COSTS)
    circle = found(rule("one", STAMP), rule("two", STAMP, stack={"priority": 11}), cash)
    assert found(rule("one", STAMP), cash) is None
    assert circle is not None
    assert circle.factor == Fraction(12, 10)
    back = rule("back", {"type": "points_per_money", "rate_bp": 5_000, "base": "net"})
    both = found(rule("one", STAMP), back, cash)
    assert found(back, cash) is None
    assert both is not None
    assert both.factor == Fraction(11, 10)
    assert str(both) == (
        "points → points (×1/2 by back); at once points → stamp cup (×1 by one) → points (×3/5 by cash): "
        "one becomes 11/10"
    )


def test_what_no_one_purchase_gives_together_does_not_add_up() -> None:
    """Rules of partners apart, and a purchase that is large enough for one and then too dear for the other."""
    cash = rule("cash", {"type": "points_fixed", "points": 6}, costs=COSTS)
    apart = [rule(name, STAMP, where={"partners": [name]}) for name in ("cafe", "roaster")]
    assert found(*apart, cash) is None
    best = [rule(code, STAMP, stack={"group": "cups", "priority": n}) for n, code in enumerate(("one", "two"))]
    assert found(*best, group("cups", "BEST"), cash) is None
    assert found(*best, group("cups", "SUM"), cash) is not None
    assert found(rule("small", STAMP), rule("large", STAMP, what={"min_basket_minor": 2}), cash) is None
    assert found(rule("small", STAMP), rule("large", STAMP | {"quantity": 3}, what={"min_basket_minor": 2}), cash)


@pytest.mark.parametrize(
    "stamp",
    [
        rule("stamp", STAMP, what={"min_amount_minor": 10}),
        rule("stamp", STAMP, what={"min_basket_minor": 1, "of": "MONEY"}),
        rule("stamp", STAMP, caps=["cap"]),
    ],
)
def test_a_minimum_that_is_dear_enough_or_in_money_or_a_budget_ends_it(stamp: Any) -> None:
    cash = rule("cash", CASH, costs=COSTS)
    assert found(stamp, cash, budget("cap", unit="count", limit=5)) is None


def test_coupons_that_bring_coupons_that_bring_points_are_a_circle() -> None:
    """Through three places: points to a coupon, that to two of another, each of those to points."""
    circle = found(
        rule("a", {"type": "grant_coupon", "batch": "red"}, what={"min_amount_minor": 100}),
        rule("b", {"type": "grant_coupon", "batch": "blue", "quantity": 2}, codes={"required": "red"}),
        rule("c", {"type": "points_fixed", "points": 60}, codes={"required": "blue"}),
    )
    assert circle is not None
    assert circle.factor == Fraction(120, 100)
    assert len(circle.ways) == 3


def test_gift_cards_bought_with_points_earn_as_money_does_and_only_above_the_whole_is_a_circle() -> None:
    """Complaint C17."""
    assert found(spend=SpendBase()) is None
    assert found(spend=SpendBase(), rate_bp=10_001) is not None
    net = rule("net", {"type": "points_per_money", "rate_bp": 9_600, "base": "net"})
    assert found(net, spend=SpendBase(), rate_bp=400) is None
    assert found(net, spend=SpendBase(), rate_bp=401) is not None
    assert found(rate_bp=10_001) is None


def test_a_release_with_a_circle_is_refused_and_the_circle_printed() -> None:
    offer = release(rule("a", {"type": "points_per_money", "rate_bp": 12_000, "base": "net"}))
    (problem,) = checking.problems(offer, [TERMS])
    assert problem.code == "POINTS_EARN_POINTS"
    assert problem.message == "expected no circle: points → points (×6/5 by a): one becomes 6/5"
