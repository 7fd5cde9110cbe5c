"""PURE: what a purchase earns, line by line, with the reason for every point.

points = floor(eligible amount × rate), rounded once per receipt and toward the programme, then split to the lines by
largest remainder. Eligible is money really paid for goods and services: what points paid earns nothing, and neither
do gift cards, deposits, tips, delivery and fees. A tier adds basis points of its own to the agreement's rate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from kit.amounts import BASIS, allocate, micro_per_minor
from kit.instants import add_months
from partners.promotions.basket import Lot
from partners.terms import Programme, Terms

EARNING_KINDS = frozenset({"GOODS", "SERVICE"})


class EarnLine(Struct, frozen=True):
    """What earning looks at: a line's amount and the part of it that points pay, both in minor units."""

    line_id: str
    kind: str
    amount_minor: int
    points_value_minor: int = 0

    @property
    def eligible_minor(self) -> int:
        """Money really paid for something that earns."""
        return max(self.amount_minor - self.points_value_minor, 0) if self.kind in EARNING_KINDS else 0


class Reason(Struct, frozen=True):
    """Why points were or were not given: a code, the points it accounts for, and the figures it was computed on."""

    code: str
    points: int
    facts: Mapping[str, Any]


class Award(Struct, frozen=True):
    """What a purchase earns: the points, their split to lines, the reasons (which sum to the points), the lots."""

    points: int
    line_points: Mapping[str, int]
    reasons: tuple[Reason, ...]
    lots: tuple[Lot, ...]


def evaluate(
    lines: Sequence[EarnLine], *, terms: Terms, programme: Programme, tier: str, occurred_at: datetime
) -> Award:
    """The award for a purchase's lines under terms, for a member of a tier at the instant it occurred (UTC).

    The same input gives the same award for ever, which is how a return decides again what remains. Raises KeyError
    when the programme gives a point no value in the agreement's currency; agreements are refused without one.
    """
    if not terms.issues:
        nothing = Reason("PARTNER_DOES_NOT_ISSUE", 0, {"role": terms.role})
        return Award(0, {line.line_id: 0 for line in lines}, (nothing,), ())
    eligible = [line.eligible_minor for line in lines]
    eligible_minor = sum(eligible)
    bonus_bp = terms.tier_bonus_bp.get(tier, 0)
    value_micro = programme.point_value_micro[terms.currency]
    base_micro = eligible_minor * micro_per_minor(terms.currency)
    base_points = base_micro * terms.earn_rate_bp // (BASIS * value_micro)
    points = base_micro * (terms.earn_rate_bp + bonus_bp) // (BASIS * value_micro)
    reasons = [
        Reason("BASE", base_points, {"eligible_minor": eligible_minor, "rate_bp": terms.earn_rate_bp}),
        *_bonus_reason(points - base_points, tier, bonus_bp),
        *exclusions(lines),
    ]
    split = dict(zip([line.line_id for line in lines], allocate(points, eligible), strict=True))
    return Award(points, split, tuple(reasons), _lots(points, terms, occurred_at))


def _bonus_reason(points: int, tier: str, bonus_bp: int) -> list[Reason]:
    return [Reason("TIER_BONUS", points, {"tier": tier, "rate_bp": bonus_bp})] if bonus_bp else []


def exclusions(lines: Sequence[EarnLine], kinds_that_earn: Collection[str] = EARNING_KINDS) -> list[Reason]:
    """Why some of the lines' amounts earn nothing, whatever decides."""
    found, paid = list[Reason](), 0
    kinds = {line.kind for line in lines if line.kind not in kinds_that_earn and line.amount_minor}
    if kinds:
        found = [Reason("KIND_DOES_NOT_EARN", 0, {"kind": kind}) for kind in sorted(kinds)]
    for line in lines:
        paid += line.points_value_minor
    return [*found, Reason("PAID_WITH_POINTS", 0, {"value_minor": paid})] if paid else found


def _lots(points: int, terms: Terms, occurred_at: datetime) -> tuple[Lot, ...]:
    if not points:
        return ()
    activates_at = occurred_at + timedelta(days=terms.return_window_days)
    expires_at = max(add_months(occurred_at, terms.expiry_months), activates_at + timedelta(days=1))
    return (
        Lot(
            lot_no=1,
            issuer_id=terms.partner_id,
            funder_id=terms.funder_id,
            terms_id=terms.terms_id,
            points=points,
            activates_at=activates_at,
            expires_at=expires_at,
        ),
    )
