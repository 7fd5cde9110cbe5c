"""PURE: what a basket gets under a release.

`evaluate` is the one entry: the same release, basket, context and counters give the same outcome for ever. Without a
rule it gives what `partners.earning` gives, to the point and to the lot.
"""

from __future__ import annotations

from datetime import timedelta

from kit.amounts import BASIS, allocate, micro_per_minor
from kit.instants import add_months
from partners.promotions.basket import Award, Basket, BasketLine, Context, Counters, LinePart, Lot, Outcome, Share
from partners.promotions.releases import Release


def evaluate(release: Release, basket: Basket, context: Context, counters: Counters) -> Outcome:
    """The outcome of a basket under a release: points with lots, discounts, grants, charges to budgets, and why."""
    return _base(basket, context)


def _base(basket: Basket, context: Context) -> Outcome:
    terms = context.terms
    tender = basket.line_points_minor or allocate(basket.points_minor, [line.amount_minor for line in basket.lines])
    eligible = [_eligible(line, paid, context) for line, paid in zip(basket.lines, tender, strict=True)]
    bonus_bp = terms.tier_bonus_bp.get(context.member.tier, 0)
    base_micro = sum(eligible) * micro_per_minor(terms.currency)
    scale = BASIS * terms.point_value_micro
    base = base_micro * terms.earn_rate_bp // scale
    points = base_micro * (terms.earn_rate_bp + bonus_bp) // scale
    lines = allocate(points, eligible)
    activates_at = context.occurred_at + timedelta(days=terms.return_window_days)
    expires_at = max(add_months(context.occurred_at, terms.expiry_months), activates_at + timedelta(days=1))
    here = terms.partner_id
    lots = (Lot(1, here, here, terms.terms_id, points, activates_at, expires_at),) if points else ()
    return Outcome(
        points=points,
        line_points=tuple(LinePart(line.line_id, part) for line, part in zip(basket.lines, lines, strict=True)),
        lots=lots,
        awards=(Award("BASE", 0, base, (), (Share(here, base),), activates_at, expires_at),),
    )


def _eligible(line: BasketLine, paid_minor: int, context: Context) -> int:
    earn = context.terms.earn
    return max(line.amount_minor - paid_minor, 0) if line.kind in earn.kinds else 0
