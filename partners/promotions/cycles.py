"""PURE: whether points can be turned into more points, round and round, without any money.

Points are spent, what is bought earns stamps, coupons or points again, and those points. Each way from one to another
has a factor: how many come of one. A circle whose factors multiply to more than one is refused, and told as it runs; so
are circles that one purchase begins together, where they come to more than one together. What money pays for is no part
of it: money ends. A rule under a budget is none either: the budget ends.
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
    """A circle in which points become more points; beside are others that the same purchase begins."""

    ways: tuple[Way, ...]
    beside: tuple[Cycle, ...] = ()

    @property
    def factor(self) -> Fraction:
        """What one becomes in one round."""
        return sum((one.factor for one in self.beside), start=_product(self.ways))

    def __str__(self) -> str:
        return f"{'; at once '.join(one.round for one in (self, *self.beside))}: one becomes {self.factor}"

    @property
    def round(self) -> str:
        """How it runs by itself."""
        return " → ".join([self.ways[0].start, *(f"{way.end} (×{way.factor} by {way.by})" for way in self.ways)])


def find(release: Release, terms: Iterable[BaseTerms] = ()) -> Cycle | None:
    """A circle of a factor above one, or None. terms are the agreements in force, for what points may pay for there."""
    signed = tuple(terms)
    together = list(purchases(release, signed))
    best: dict[tuple[str, str], Way] = {}
    for way in (*ways(release, signed), *(way for one in together for way in one)):
        key = (way.start, way.end)
        if key not in best or way.factor > best[key].factor:
            best[key] = way
    found = sorted(best.values(), key=lambda way: (way.start, way.end))
    return _circle(found) or _circles_at_once(found, together)


def ways(release: Release, terms: tuple[BaseTerms, ...]) -> Iterator[Way]:
    """Every way from stamps, coupons and gift cards to one another and to points, and from points to gift cards, that
    needs no money and no budget: of those that begin with one of them each time one is gone."""
    rules = _unbounded(release)
    yield from _gift_cards(rules, terms)
    for rule in rules:
        yield from _cashed(rule)


def purchases(release: Release, terms: tuple[BaseTerms, ...]) -> Iterator[tuple[Way, ...]]:
    """What points come to that pay for something, likewise: all that one purchase gives, at every partner, of every
    size at which something more is given."""
    rules = _unbounded(release)
    point = max((Fraction(one.point_value_micro, micro_per_minor(one.currency)) for one in terms), default=Fraction(1))
    alone = {group.code for group in release.groups if group.mode in ("BEST", "FIRST")}
    for partner in sorted({partner for rule in rules for partner in rule.where.partners} | {""}):
        here = [rule for rule in rules if not rule.where.partners or partner in rule.where.partners]
        earned = list(_points_on_points(here))
        for size in sorted({_least(rule) for rule in here if _collects(rule)}):
            yield (
                *earned,
                *_given([rule for rule in here if _collects(rule) and _least(rule) <= size], size, point, alone),
            )
        if earned:
            yield tuple(earned)


def _given(rules: Iterable[RuleDocument], size: int, point: Fraction, alone: set[str]) -> Iterator[Way]:
    """What rules give for one purchase: all that they give, of a group of which one counts the most."""
    found: dict[str, dict[str, tuple[Fraction, str]]] = {}
    for rule in rules:
        what, factor = _collected(rule, size, point)
        place = f"group {rule.stack.group}" if rule.stack.group in alone else rule.code
        parts = found.setdefault(what, {})
        parts[place] = max(parts.get(place, (Fraction(0), "")), (factor, rule.code))
    for what, parts in sorted(found.items()):
        total = sum((factor for factor, _ in parts.values()), start=Fraction(0))
        yield Way(POINTS, what, total, ", ".join(sorted(code for _, code in parts.values())))


def _unbounded(release: Release) -> list[RuleDocument]:
    return [rule for rule in release.rules if not rule.caps]


def _points_on_points(rules: Iterable[RuleDocument]) -> Iterator[Way]:
    """What points pay for earns under rules that look at the amount and not at the money."""
    here = [(rule.code, rule.effect) for rule in rules if isinstance(rule.effect, PointsPerMoney)]
    paid = {code: effect.rate_bp for code, effect in here if effect.base in ("net", "gross")}
    if paid:
        yield Way(POINTS, POINTS, Fraction(sum(paid.values()), BASIS), ", ".join(sorted(paid)))


def _gift_cards(rules: Iterable[RuleDocument], terms: tuple[BaseTerms, ...]) -> Iterator[Way]:
    """Where points may buy gift cards, what a gift card pays for earns as money does."""
    if not any(GIFT_CARD not in one.spend.excluded_kinds for one in terms):
        return
    yield Way(POINTS, GIFT_MONEY, Fraction(1), "paying for gift cards with points")
    base = max(one.earn_rate_bp for one in terms)
    rate, names = max(one.earn_rate_bp + max(one.tier_bonus_bp.values(), default=0) for one in terms), ["agreement"]
    for rule in rules:
        effect = rule.effect
        if isinstance(effect, PointsPerMoney):
            rate += effect.rate_bp
            names.append(rule.code)
        elif isinstance(effect, PointsMultiplier):
            rate += base * (effect.factor_bp - BASIS) // BASIS
            names.append(rule.code)
    yield Way(GIFT_MONEY, POINTS, Fraction(rate, BASIS), ", ".join(names))


def _collects(rule: RuleDocument) -> bool:
    """Whether a rule gives stamps or coupons for a purchase that points can pay for, and uses nothing up for it."""
    what = rule.what
    needs_money = what.of == "MONEY" and (what.min_amount_minor or what.min_basket_minor)
    uses_up = rule.costs or (rule.codes and rule.codes.uses_up)
    is_collected = isinstance(rule.effect, GrantStamp | GrantCoupon) and rule.trigger == "purchase"
    return is_collected and not needs_money and not uses_up


def _least(rule: RuleDocument) -> int:
    """The cheapest purchase that counts, in minor units."""
    return max(rule.what.min_amount_minor or 0, rule.what.min_basket_minor or 0, 1)


def _collected(rule: RuleDocument, size: int, point_minor: Fraction) -> tuple[str, Fraction]:
    """What a rule gives for a purchase, and how much of it for each point: for each line or piece, of the cheapest."""
    effect = rule.effect
    assert isinstance(effect, GrantStamp | GrantCoupon)
    if isinstance(effect, GrantCoupon):
        what, whole = f"coupon {effect.batch}", True
    else:
        what, whole = f"stamp {effect.unit}", effect.per == "basket"
    return what, Fraction(effect.quantity, max(Fraction(size if whole else 1, point_minor), Fraction(1)))


def _cashed(rule: RuleDocument) -> Iterator[Way]:
    """What stamps and coupons are given for: points, or stamps and coupons again."""
    effect = rule.effect
    if rule.costs:
        start, each = f"stamp {rule.costs.unit}", rule.costs.quantity
    elif rule.codes and rule.codes.uses_up:
        start, each = f"coupon {rule.codes.required}", rule.codes.quantity
    else:
        return
    if isinstance(effect, PointsFixed):
        yield Way(start, POINTS, Fraction(effect.points, each), rule.code)
    elif isinstance(effect, GrantStamp):
        yield Way(start, f"stamp {effect.unit}", Fraction(effect.quantity, each), rule.code)
    elif isinstance(effect, GrantCoupon):
        yield Way(start, f"coupon {effect.batch}", Fraction(effect.quantity, each), rule.code)


def _circles_at_once(found: list[Way], together: Iterable[tuple[Way, ...]]) -> Cycle | None:
    """Circles that one purchase begins and that come to more than one together; none of them does by itself."""
    back: dict[str, tuple[Way, ...]] = {POINTS: ()}  # the best way to points again
    for _ in found:
        for way in found:
            if way.start != POINTS and way.end in back:
                onward = (way, *back[way.end])
                if way.start not in back or _product(onward) > _product(back[way.start]):
                    back[way.start] = onward
    for begun in together:
        circles = [Cycle((way, *back[way.end])) for way in begun if way.end in back]
        if len(circles) > 1 and sum(one.factor for one in circles) > 1:
            return Cycle(circles[0].ways, tuple(circles[1:]))
    return None


def _product(ways: Iterable[Way]) -> Fraction:
    found = Fraction(1)
    for way in ways:
        found *= way.factor
    return found


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
