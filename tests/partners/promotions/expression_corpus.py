"""Conditions and what they come to, for any engine: hand-written rows, and families whose answer Python computes."""

from __future__ import annotations

import operator
from itertools import product

from partners.promotions.basket import Basket, BasketLine, Context, Coupon, Event, Local, Member, Payment
from tests.partners.promotions.offers import context

YES, NO, ERROR = "OK", "FALSE", "ERROR"

BASKET = Basket(
    "EUR",
    (
        BasketLine("1", "GOODS", 500, 2_000, "esp-1", "coffee", ("hot",)),
        BasketLine("2", "GOODS", 300, 1_000, "san-7", "sandwich"),
        BasketLine("3", "GIFT_CARD", 1_000, 1_000, "gc-10", "cards"),
        BasketLine("4", "GOODS", 900, 1_500, "tob-2", "tobacco", ("tobacco", "excise"), 950),
        BasketLine("5", "SERVICE", 0, 1_000, "", "чай"),
    ),
    (Payment("CARD", 2_000), Payment("CASH", 500)),
    points=200,
    points_minor=200,
)  # fmt: skip
CONTEXT: Context = context(
    member=Member(
        tier="GOLD", plan="plus", benefits=("delivery",), segments=("fans", "vip"), attributes=("veteran",),
        badges=("first",), age_days=400, enrolled_here=True, days_to_birthday=-2,
        counters={"partner.ever.count": 3, "partner.month.sum": 25_000, "coalition.ever.sum": 300_000},
        stamps={"cup": 9},
    ),
    local=Local("2026-03-08", 7, 23, 30, ("women",)), channel="app",
    event=Event("review", {"stars": 5}, {"language": "ro"}),
    coupons=(Coupon("leaf", "c1"), Coupon("leaf", "c2"), Coupon("old", "c3", "USED")),
)  # fmt: skip

HAND: list[tuple[str, str]] = [
    ("true", YES), ("false", NO), ("!false", YES), ("!true", NO), ("!!true", YES),
    ("true && false", NO), ("true || false", YES), ("false || false", NO), ("true && true && false", NO),
    ("false && 1 / 0 == 1", NO), ("true || 1 / 0 == 1", YES), ("true ? true : false", YES),
    ("false ? true : false", NO), ("1 / 0 == 1", ERROR), ("1 % 0 == 1", ERROR),
    ("9223372036854775807 + 1 > 0", ERROR), ("-9223372036854775807 - 2 < 0", ERROR),
    ("7 / 2 == 3", YES), ("-7 / 2 == -3", YES), ("7 % 3 == 1", YES), ("-7 % 3 == -1", YES),
    ("2 + 3 * 4 == 14", YES), ("(2 + 3) * 4 == 20", YES), ("10 - 3 - 2 == 5", YES), ("-(-3) == 3", YES),
    ('member.tier == "GOLD"', YES), ('member.tier == "gold"', NO), ('member.tier != "BASE"', YES),
    ('member.tier in ["GOLD", "ELITE"]', YES), ('member.tier in ["SILVER"]', NO), ("member.tier in []", NO),
    ('member.tier.startsWith("GO")', YES), ('member.tier.endsWith("LD")', YES), ('member.tier.contains("OL")', YES),
    ('member.tier.contains("x")', NO), ("size(member.tier) == 4", YES), ("member.tier.size() == 4", YES),
    ('member.tier.matches("^G.*D$")', YES), ('member.tier.matches("^S")', NO),
    ('member.tier + "!" == "GOLD!"', YES), ('member.tier < "H"', YES),
    ("member.subscriber", YES), ("!member.subscriber", NO), ('member.plan == "plus"', YES),
    ('"vip" in member.segments', YES), ('"none" in member.segments', NO), ('!("vip" in member.segments)', NO),
    ('member.segments.exists(s, s == "fans")', YES), ('member.segments.all(s, s != "x")', YES),
    ('member.segments.exists_one(s, s == "vip")', YES), ('member.segments.filter(s, s == "vip").size() == 1', YES),
    ("size(member.segments) == 2", YES), ("member.segments[0] == \"fans\"", YES), ('member.segments[2] == "x"', ERROR),
    ('"veteran" in member.attributes', YES), ('"delivery" in member.benefits', YES), ('"first" in member.badges', YES),
    ("member.age_days >= 365", YES), ("member.age_days < 365", NO), ("member.enrolled_here", YES),
    ("member.in_household", NO), ("member.has_birthday", YES), ("member.days_to_birthday == -2", YES),
    ("member.has_birthday && member.days_to_birthday <= 3 && member.days_to_birthday >= -3", YES),
    ('member.counters["partner.ever.count"] == 3', YES), ('member.counters["partner.month.sum"] >= 30000', NO),
    ('member.counters["coalition.ever.sum"] >= 300000', YES), ('member.counters["partner.day.sum"] == 0', ERROR),
    ('"partner.day.sum" in member.counters', NO), ('"partner.ever.count" in member.counters', YES),
    ('"partner.day.sum" in member.counters && member.counters["partner.day.sum"] > 0', NO),
    ('member.counters["partner.month.sum"] + basket.total_minor >= 27700', YES),
    ('member.stamps["cup"] >= 9', YES), ('member.stamps["tea"] >= 1', ERROR), ('"tea" in member.stamps', NO),
    ('basket.currency == "EUR"', YES), ("basket.points_minor == 200", YES),
    ("basket.total_minor - basket.points_minor == 2500", YES), ("size(basket.lines) == 5", YES),
    ('basket.lines.exists(l, l.category == "coffee")', YES), ('basket.lines.exists(l, l.category == "tea")', NO),
    ('basket.lines.exists(l, l.category == "чай")', YES), ('basket.lines.exists(l, l.sku.startsWith("esp"))', YES),
    ("basket.lines.all(l, l.amount_minor >= 0)", YES), ("basket.lines.all(l, l.amount_minor > 0)", NO),
    ('basket.lines.exists_one(l, l.kind == "GIFT_CARD")', YES), ('basket.lines.exists_one(l, l.kind == "GOODS")', NO),
    ('size(basket.lines.filter(l, l.kind == "GOODS")) >= 3', YES),
    ('basket.lines.filter(l, l.kind == "GOODS").map(l, l.no).size() == 3', YES),
    ('basket.lines.exists(l, "tobacco" in l.classes)', YES), ('basket.lines.exists(l, "beer" in l.classes)', NO),
    ('basket.lines.exists(l, l.category == "coffee" && l.quantity_milli >= 2000)', YES),
    ("basket.lines.exists(l, l.list_minor > l.amount_minor)", YES), ("basket.lines[0].amount_minor == 500", YES),
    ("basket.lines[9].amount_minor == 0", ERROR), ("basket.lines.exists(l, 10 / l.amount_minor == 0)", YES),
    ("basket.lines.all(l, 10 / l.amount_minor < 100)", ERROR), ("basket.lines.map(l, l.no)[4] == 4", YES),
    ('basket.payments.exists(p, p.kind == "CARD" && p.amount_minor >= 2000)', YES),
    ('basket.payments.all(p, p.kind == "CARD")', NO), ('local.date == "2026-03-08"', YES),
    ('local.date >= "2026-03-01" && local.date <= "2026-03-31"', YES), ("local.weekday in [6, 7]", YES),
    ("local.weekday in [1, 2, 3]", NO), ("local.hour >= 22 || local.hour < 3", YES),
    ("local.hour >= 8 && local.hour < 12", NO), ("local.minute == 30", YES), ('"women" in local.holidays', YES),
    ("local.hour * 60 + local.minute == 1410", YES), ("local.holidays.size() > 0", YES),
    ('place.partner == "cafe"', YES), ('place.outlet == "cafe:1"', YES), ('place.channel in ["web", "app"]', YES),
    ('event.code == "review"', YES), ('event.numbers["stars"] >= 4', YES), ('event.words["language"] == "ro"', YES),
    ('event.numbers["words"] > 10', ERROR), ('"leaf" in coupons.batches', YES), ('"old" in coupons.batches', NO),
    ('coupons.batches.filter(b, b == "leaf").size() >= 2', YES), ('coupons.batches.exists(b, b == "x")', NO),
    ("string(local.hour) == \"23\"", YES), ('int("42") == 42', YES), ('int("x") == 42', ERROR),
    ('"a\\"b" == \'a"b\'', YES), ('"\\u0434\\u0430" == "да"', YES), ("[1, 2] + [3] == [1, 2, 3]", YES),
    ("1 in [1, 2]", YES), ('{"a": 1}["a"] == 1', YES), ('{"a": 1}["b"] == 1', ERROR), ('"a" in {"a": 1}', YES),
    ("has(member.tier)", YES), ("2 in basket.lines.map(l, l.no)", YES),
    ("true // a comment", YES), ("(true\n)", YES),
]  # fmt: skip

_OPERATORS = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_FIGURES = {
    "member.age_days": 400, "basket.total_minor": 2_700, "local.hour": 23, "basket.lines[3].quantity_milli": 1_500,
}  # fmt: skip


def rows() -> list[tuple[str, str]]:
    """All rows: expression and whether it holds, fails or errs on BASKET in CONTEXT."""
    found = list(HAND)
    for (subject, value), (sign, compare), step in product(_FIGURES.items(), _OPERATORS.items(), (-1, 0, 1)):
        found.append((f"{subject} {sign} {value + step}", YES if compare(value, value + step) else NO))
    for one, two in product((-7, -1, 0, 3), (-2, 1, 4)):
        found.append((f"{one} + {two} == {one + two} && {one} - {two} == {one - two}", YES))
        found.append((f"{one} * {two} > {one * two}", NO))
    return found
