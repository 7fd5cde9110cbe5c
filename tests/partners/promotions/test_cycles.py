"""Points that earn points: circles above one are found and told, what ends by itself is not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from partners.promotions import checking, cycles
from partners.promotions.basket import SpendBase
from tests.partners.promotions.offers import TERMS, budget, release, rule

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
    assert found(rate_bp=10_001) is None


def test_a_release_with_a_circle_is_refused_and_the_circle_printed() -> None:
    offer = release(rule("a", {"type": "points_per_money", "rate_bp": 12_000, "base": "net"}))
    (problem,) = checking.problems(offer, [TERMS])
    assert problem.code == "POINTS_EARN_POINTS"
    assert problem.message == "expected no circle: points → points (×6/5 by a): one becomes 6/5"
