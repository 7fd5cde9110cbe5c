"""PURE: what a volume period changes in the price of points, told as lines of its own. Lots are never priced again.

Tiers are progressive: only the points above a step cost less, so a rebate for a part of a period is that of the whole
up to there less what was given before, and the parts sum to the whole however they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kit.amounts import BASIS, divide_half_even
from partners.terms import SettlementTerms, VolumeRebate, VolumeTier

TIER_REBATE, VOLUME_REBATE, PLATFORM_FEE, MINIMUM_FEE = "TIER_REBATE", "VOLUME_REBATE", "PLATFORM_FEE", "MINIMUM_FEE"
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@dataclass(frozen=True, slots=True)
class Volume:
    """What a partner did in a volume period so far: points billed less points given back, and the service part of it.

    before_points are those that earlier statements of the period covered, points those of this one, service_micro is of
    both, months are the platform's months that this statement charges, charged_months those of earlier ones.
    is_over: the period ends with this statement.
    """

    before_points: int
    points: int
    service_micro: int
    months: int = 0
    charged_months: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class PeriodLine:
    """A line that a period brings: what the partner receives (positive) or pays (negative), micro-units."""

    kind: str
    amount_micro: int


def period_of(day: date, volume_period: str) -> tuple[date, date]:
    """The volume period (MONTH, QUARTER, YEAR) that a day is in: its first day, and the first of the next."""
    months = _MONTHS[volume_period]
    first = (day.month - 1) // months * months + 1
    after = first + months
    return date(day.year, first, 1), date(day.year + (after > 12), after - 12 if after > 12 else after, 1)


def lines(terms: SettlementTerms, volume: Volume) -> list[PeriodLine]:
    """The lines that a volume period brings to a statement; none of nothing.

    The rebate of the tiers for this statement's points and the platform fee of its months; at the end of the period
    also the rebate on all of the service part, and what is missing of the minimum fee after both rebates.
    """
    fee = terms.platform_fee_micro
    found = [
        PeriodLine(TIER_REBATE, tier_rebate(terms.volume_tiers, before=volume.before_points, points=volume.points)),
        PeriodLine(PLATFORM_FEE, -fee * volume.months),
    ]
    if volume.is_over:
        total = volume.before_points + volume.points
        by_tier = tier_rebate(terms.volume_tiers, before=0, points=total)
        rebate = volume_rebate(terms.volume_rebates, points=total, service_micro=volume.service_micro)
        billed = volume.service_micro + fee * (volume.charged_months + volume.months) - by_tier - rebate
        found.append(PeriodLine(VOLUME_REBATE, rebate))
        found.append(PeriodLine(MINIMUM_FEE, -max(0, terms.minimum_fee_micro - billed)))
    return [line for line in found if line.amount_micro]


def tier_rebate(tiers: Sequence[VolumeTier], *, before: int, points: int) -> int:
    """What the tiers give for points that come after so many of the period; below zero for points given back."""
    return _up_to(tiers, before + points) - _up_to(tiers, before)


def volume_rebate(rebates: Sequence[VolumeRebate], *, points: int, service_micro: int) -> int:
    """What whoever reached the highest step gets back of the whole service part, micro-units, half-even."""
    reached = [rebate.rebate_bp for rebate in rebates if points >= rebate.from_points]
    return divide_half_even(max(0, service_micro) * reached[-1], BASIS) if reached else 0


def _up_to(tiers: Sequence[VolumeTier], points: int) -> int:
    given, bounds = 0, [tier.above_points for tier in tiers[1:]]
    for tier, end in zip(tiers, [*bounds, points], strict=True) if tiers else ():
        given += max(0, min(points, end) - tier.above_points) * tier.rebate_micro
    return given
