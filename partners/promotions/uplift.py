"""PURE: what a promotion brought, told from the members who were held out of it by lot.

Members are compared as they were drawn, with those who bought nothing (intention to treat). Before anything is said it
is looked whether the draw fell as it was agreed; an interval stands beside every figure, and where it holds zero
nothing is claimed. Means and variances by Welch (1947); the relative figure's variance by the delta method; 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kit.amounts import BASIS

UP, DOWN, CANNOT_TELL = "UP", "DOWN", "CANNOT_TELL"
TOO_FEW, NOT_AS_DRAWN, NO_HOLDOUT = "TOO_FEW", "NOT_AS_DRAWN", "NO_HOLDOUT"
LEAST_OF_AN_ARM = 30
"""Below so many members of an arm nothing is said: the normal law holds no more, and one member would show."""
QUANTILE = Decimal("1.959964")
"""Of the normal distribution, for an interval that holds the truth in 95 of 100 experiments."""
SRM_LIMIT = Decimal("10.827566")
"""Of the chi-square distribution with one degree of freedom: so lopsided a draw comes once in a thousand."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Members of one arm: how many were drawn into it, and the sums of what they bought (minor units, and squares)."""

    members: int
    sales_minor: int
    squares: int

    @property
    def mean(self) -> Decimal:
        """What a member bought on average, minor units."""
        return Decimal(self.sales_minor) / self.members

    @property
    def variance_of_mean(self) -> Decimal:
        """The variance of that average, from the sample."""
        spread = Decimal(self.squares) - Decimal(self.sales_minor) ** 2 / self.members
        return max(Decimal(0), spread) / (self.members - 1) / self.members


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its interval, rounded half to even to whole numbers."""

    estimate: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Uplift:
    """What was found. per_member: minor units more (or less) that a treated member bought; relative_bp: the same in
    basis points of what one who was held out bought, None where these bought nothing; total_minor: of all who were
    treated together. All None where nothing may be said (TOO_FEW, NOT_AS_DRAWN, NO_HOLDOUT)."""

    verdict: str
    per_member: Interval | None = None
    relative_bp: Interval | None = None
    total_minor: Interval | None = None


def measured(treated: Arm, control: Arm, control_bp: int | None) -> Uplift:
    """What being treated brought. control_bp of ten thousand were to be held out; None where it is not known any more,
    so that the draw cannot be held against it."""
    if not control.members:
        return Uplift(NO_HOLDOUT)
    if control_bp is not None and not as_drawn(treated.members, control.members, control_bp):
        return Uplift(NOT_AS_DRAWN)
    if min(treated.members, control.members) < LEAST_OF_AN_ARM:
        return Uplift(TOO_FEW)
    difference = treated.mean - control.mean
    half = QUANTILE * (treated.variance_of_mean + control.variance_of_mean).sqrt()
    per_member = _interval(difference, half)
    verdict = UP if difference - half > 0 else DOWN if difference + half < 0 else CANNOT_TELL
    return Uplift(
        verdict, per_member, _relative(treated, control),
        _interval(difference * treated.members, half * treated.members),
    )  # fmt: skip


def as_drawn(treated: int, control: int, control_bp: int) -> bool:
    """Whether so many of each arm may come of a fair draw with that share; chi-square with one degree of freedom."""
    members = treated + control
    if not members:
        return True
    expected = Decimal(members * control_bp) / BASIS
    if not 0 < expected < members:
        return control == expected
    missed = (control - expected) ** 2
    return missed / expected + missed / (members - expected) <= SRM_LIMIT


def _relative(treated: Arm, control: Arm) -> Interval | None:
    if control.mean <= 0:
        return None
    ratio = treated.mean / control.mean
    spread = (treated.variance_of_mean + ratio**2 * control.variance_of_mean).sqrt() / control.mean
    return _interval((ratio - 1) * BASIS, QUANTILE * spread * BASIS)


def _interval(estimate: Decimal, half: Decimal) -> Interval:
    return Interval(*(int(each.to_integral_value()) for each in (estimate, estimate - half, estimate + half)))
