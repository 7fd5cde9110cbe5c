"""PURE: what a promotion brought, told from the members who were held out of it by lot.

Members are compared as they were drawn, with those who bought nothing (intention to treat). Before anything is said it
is looked whether the draw fell as it was agreed; an interval stands beside every figure, and where it holds zero
nothing is claimed. Means and variances by Welch (1947); the relative figure's variance by the delta method; 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from kit.amounts import BASIS

UP, DOWN, CANNOT_TELL = "UP", "DOWN", "CANNOT_TELL"
TOO_FEW, NOT_AS_DRAWN, NO_HOLDOUT = "TOO_FEW", "NOT_AS_DRAWN", "NO_HOLDOUT"
LEAST_OF_AN_ARM = 30
"""Below so many members of an arm nothing is said: the normal law holds no more, and one member would show."""
QUANTILE = Fraction(1_959_964, 1_000_000)
"""Of the normal distribution, for an interval that holds the truth in 95 of 100 experiments."""
SRM_LIMIT = Fraction(10_827_566, 1_000_000)
"""Of the chi-square distribution with one degree of freedom: so lopsided a draw comes once in a thousand."""
_FINE = 10**9
"""Roots are taken to so many parts of a unit."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Members of one arm: how many were drawn into it, and the sums of what they bought (minor units, and squares)."""

    members: int
    sales_minor: int
    squares: int

    @property
    def mean(self) -> Fraction:
        """What a member bought on average, minor units."""
        return Fraction(self.sales_minor, self.members)

    @property
    def variance_of_mean(self) -> Fraction:
        """The variance of that average, from the sample."""
        spread = self.squares * self.members - self.sales_minor**2
        return Fraction(spread, self.members**2 * (self.members - 1))


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
    half = QUANTILE * _root(treated.variance_of_mean + control.variance_of_mean)
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
    expected = Fraction(members * control_bp, BASIS)
    if not 0 < expected < members:
        return control == expected
    missed = (control - expected) ** 2
    return Fraction(missed, expected) + Fraction(missed, members - expected) <= SRM_LIMIT


def _relative(treated: Arm, control: Arm) -> Interval | None:
    if control.mean <= 0:
        return None
    ratio = Fraction(treated.mean, control.mean)
    spread = Fraction(_root(treated.variance_of_mean + ratio**2 * control.variance_of_mean), control.mean)
    return _interval((ratio - 1) * BASIS, QUANTILE * spread * BASIS)


def _interval(estimate: Fraction, half: Fraction) -> Interval:
    return Interval(*(round(each) for each in (estimate, estimate - half, estimate + half)))


def _root(value: Fraction) -> Fraction:
    """The square root, rounded down to parts of a unit."""
    return Fraction(isqrt(value.numerator * _FINE**2 // value.denominator), _FINE)
