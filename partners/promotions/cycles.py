"""PURE: whether points can be turned into more points, round and round, without any money.

Points are spent, what is bought earns stamps, coupons or points again, and those points. Each way from one to another
has a factor: how many come of one. A circle whose factors multiply to more than one is refused, and told as it runs.
What money pays for is no part of it: money ends. A rule under a budget is none either: the budget ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from kit.amounts import BASIS, micro_per_minor
from partners.promotions.basket import BaseTerms
from partners.promotions.documents import (
    GrantCoupon,
    GrantStamp,
    PointsFixed,
    PointsMultiplier,
    PointsPerMoney,
    RuleDocument,
)
from partners.promotions.releases import Release

POINTS = "points"
GIFT_MONEY = "money on a gift card"
GIFT_CARD = "GIFT_CARD"


@dataclass(frozen=True, slots=True)
class Way:
    """One becomes `factor` of another, by these rules (or by the agreement)."""

    start: str
    end: str
    factor: Fraction
    by: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """A circle in which points become more points."""

    ways: tuple[Way, ...]

    @property
    def factor(self) -> Fraction:
        """What one becomes in one round."""
        found = Fraction(1)
        for way in self.ways:
            found *= way.factor
        return found

    def __str__(self) -> str:
        rounds = " → ".join([self.ways[0].start, *(f"{way.end} (×{way.factor} by {way.by})" for way in self.ways)])
        return f"{rounds}: one becomes {self.factor}"


def find(release: Release, terms: Iterable[BaseTerms] = ()) -> Cycle | None:
    """A circle of a factor above one, or None. terms are the agreements in force, for what points may pay for there."""
    best: dict[tuple[str, str], Way] = {}
    for way in ways(release, tuple(terms)):
        key = (way.start, way.end)
        if key not in best or way.factor > best[key].factor:
            best[key] = way
    return _circle(sorted(best.values(), key=lambda way: (way.start, way.end)))


def ways(release: Release, terms: tuple[BaseTerms, ...]) -> Iterator[Way]:
    """Every way from points, stamps, coupons and gift cards to one another that needs no money and no budget."""
    rules = [rule for rule in release.rules if not rule.caps]
    yield from _points_on_points(rules)
    yield from _gift_cards(rules, terms)
    point = min((Fraction(one.point_value_micro, micro_per_minor(one.currency)) for one in terms), default=Fraction(1))
    for rule in rules:
        yield from _collected(rule, point)
        yield from _cashed(rule)


def _points_on_points(rules: Iterable[RuleDocument]) -> Iterator[Way]:
    """What points pay for earns under rules that look at the amount and not at the money."""
    paid = [
        (rule, rule.effect)
        for rule in rules
        if isinstance(rule.effect, PointsPerMoney) and rule.effect.base in ("net", "gross")
    ]
    for partner in sorted({partner for rule, _ in paid for partner in rule.where.partners} | {""}):
        here = [(rule, effect) for rule, effect in paid if not rule.where.partners or partner in rule.where.partners]
        if here:
            factor = Fraction(sum(effect.rate_bp for _, effect in here), BASIS)
            yield Way(POINTS, POINTS, factor, ", ".join(sorted(rule.code for rule, _ in here)))


def _gift_cards(rules: Iterable[RuleDocument], terms: tuple[BaseTerms, ...]) -> Iterator[Way]:
    """Where points may buy gift cards, what a gift card pays for earns as money does."""
    if not any(GIFT_CARD not in one.spend.excluded_kinds for one in terms):
        return
    yield Way(POINTS, GIFT_MONEY, Fraction(1), "paying for gift cards with points")
    base = max(one.earn_rate_bp for one in terms)
    rate, names = max(one.earn_rate_bp + max(one.tier_bonus_bp.values(), default=0) for one in terms), ["agreement"]
    for rule in rules:
        effect = rule.effect
        if isinstance(effect, PointsPerMoney) and effect.base == "money_paid":
            rate += effect.rate_bp
            names.append(rule.code)
        elif isinstance(effect, PointsMultiplier):
            rate += base * (effect.factor_bp - BASIS) // BASIS
            names.append(rule.code)
    yield Way(GIFT_MONEY, POINTS, Fraction(rate, BASIS), ", ".join(names))


def _collected(rule: RuleDocument, point_minor: Fraction) -> Iterator[Way]:
    """Stamps and coupons given for a purchase that points can pay for: as many for the cheapest that counts."""
    effect = rule.effect
    if not isinstance(effect, GrantStamp | GrantCoupon) or rule.trigger != "purchase" or rule.what.of == "MONEY":
        return
    least = Fraction(max(rule.what.min_amount_minor or 0, rule.what.min_basket_minor or 0, 1))
    cheapest = max(Fraction(least, point_minor), Fraction(1))
    what = f"stamp {effect.unit}" if isinstance(effect, GrantStamp) else f"coupon {effect.batch}"
    if not rule.codes and not rule.costs:
        yield Way(POINTS, what, Fraction(effect.quantity, cheapest), rule.code)


def _cashed(rule: RuleDocument) -> Iterator[Way]:
    """What stamps and coupons are given for: points, or stamps and coupons again."""
    effect = rule.effect
    if rule.costs:
        start, each = f"stamp {rule.costs.unit}", rule.costs.quantity
    elif rule.codes and rule.codes.uses_up:
        start, each = f"coupon {rule.codes.required}", rule.codes.quantity
    else:
        return
    if isinstance(effect, PointsFixed) and effect.per == "basket":
        yield Way(start, POINTS, Fraction(effect.points, each), rule.code)
    elif isinstance(effect, GrantStamp):
        yield Way(start, f"stamp {effect.unit}", Fraction(effect.quantity, each), rule.code)
    elif isinstance(effect, GrantCoupon):
        yield Way(start, f"coupon {effect.batch}", Fraction(effect.quantity, each), rule.code)


def _circle(found: list[Way]) -> Cycle | None:
    """A circle of a factor above one: what can still grow after as many rounds as there are places."""
    places = sorted({way.start for way in found} | {way.end for way in found})
    best = dict.fromkeys(places, Fraction(1))
    came_by: dict[str, Way] = {}
    grew = ""
    for _ in places:
        grew = ""
        for way in found:
            if best[way.start] * way.factor > best[way.end]:
                best[way.end], came_by[way.end], grew = best[way.start] * way.factor, way, way.end
        if not grew:
            return None
    return Cycle(tuple(_around(grew, came_by, len(places)))) if grew else None


def _around(place: str, came_by: dict[str, Way], rounds: int) -> list[Way]:
    for _ in range(rounds):  # back into the circle, whatever led to it
        place = came_by[place].start
    ways, here = [], place
    while True:
        way = came_by[here]
        ways.append(way)
        here = way.start
        if here == place:
            return ways[::-1]
