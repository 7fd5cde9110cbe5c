"""PURE: the tier ladder. Qualifying points of the last twelve months decide; spending never lowers a tier."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

MONTHS = 12
"""Both how far back points qualify and how long a tier that was reached lasts."""

BASE = "BASE"
LADDER: tuple[tuple[str, int], ...] = ((BASE, 0), ("SILVER", 1_000), ("GOLD", 5_000))
"""Tiers from the bottom, each with the qualifying points that reach it."""

assert all(lower[1] < upper[1] for lower, upper in pairwise(LADDER))

_RANKS = {tier: rank for rank, (tier, _) in enumerate(LADDER)}


@dataclass(frozen=True, slots=True)
class Standing:
    """A tier, the instant it ends (None: it has no end), and the qualifying points still missing for the next one
    (None: there is none)."""

    tier: str
    until: datetime | None
    points_to_next: int | None


def months_later(at: datetime, months: int) -> datetime:
    """The same time of day so many calendar months later (earlier where negative), on the month's last day at most."""
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))


def qualifying_since(at: datetime) -> datetime:
    """The instant from which points qualify for an assessment at `at`."""
    return months_later(at, -MONTHS)


def qualify(points: int, *, at: datetime) -> Standing:
    """The standing that so many qualifying points reach at an instant. Fewer than none counts as none."""
    tier = [name for name, threshold in LADDER if threshold <= max(points, 0)][-1]
    until = None if tier == BASE else months_later(at, MONTHS)
    return Standing(tier, until, points_to_next(tier, points))


def points_to_next(tier: str, points: int) -> int | None:
    """Qualifying points that are missing for the tier above, at least one as long as it is not reached."""
    above = _RANKS[tier] + 1
    return max(LADDER[above][1] - points, 0) if above < len(LADDER) else None


def reassess(tier: str, until: datetime | None, points: int, *, at: datetime) -> Standing | None:
    """The new standing of a member who holds a tier until an instant; None where nothing changes.

    A higher tier counts at once. A tier that was reached stays until its end, whatever happens, and is then decided
    again, which may renew it.
    """
    reached = qualify(points, at=at)
    if _RANKS[reached.tier] > _RANKS[tier]:
        return reached
    is_over = until is not None and until <= at
    return reached if is_over else None
