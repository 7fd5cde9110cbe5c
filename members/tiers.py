"""PURE: the tier ladder. What a member did in the qualifying period decides; spending never lowers a tier.

A ladder's steps are reached by any of several ways, each a mix of points, amount, number of purchases, number of
partners and time as a member. A step that is reached counts at once; it lasts as the ladder's expiry policy says, and
what comes after is the downgrade policy's.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

MONTHS = 12
"""How far back points qualify, and how long a tier that was reached lasts, on the standard ladder."""

BASE = "BASE"

AFTER_MONTHS, END_OF_YEAR, ANNIVERSARY, FOR_EVER = "AFTER_MONTHS", "END_OF_YEAR", "ANNIVERSARY", "FOR_EVER"
EXPIRIES = (AFTER_MONTHS, END_OF_YEAR, ANNIVERSARY, FOR_EVER)
"""A tier ends so many months after it was reached; at the end of the year after so many months; at the anniversary of
the enrolment after so many months; never."""

TO_WHAT_QUALIFIES, ONE_STEP = "TO_WHAT_QUALIFIES", "ONE_STEP"
DOWNGRADES = (TO_WHAT_QUALIFIES, ONE_STEP)
"""At its end a tier becomes what the member qualifies for then, or at worst the one below."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a member did in the qualifying period, less what was returned: points and tier credit, minor units of the
    base currency whether points or money paid them, purchases, partners bought at; and days as a member."""

    points: int = 0
    amount_minor: int = 0
    purchases: int = 0
    partners: int = 0
    tenure_days: int = 0


CRITERIA = tuple(each.name for each in fields(Activity))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a step: all that it names must be reached. 0 asks nothing."""

    points: int = 0
    amount_minor: int = 0
    purchases: int = 0
    partners: int = 0
    tenure_days: int = 0

    def missing(self, done: Activity) -> dict[str, int]:
        """What is missing, by criterion; empty where the step is reached this way. Less than nothing done is nothing
        asked for all the same."""
        wanted = {name: getattr(self, name) for name in CRITERIA}
        return {
            name: wanted[name] - getattr(done, name)
            for name in CRITERIA
            if wanted[name] > 0 and getattr(done, name) < wanted[name]
        }


@dataclass(frozen=True, slots=True)
class Step:
    """A tier above the base and the ways to it, of which one is enough."""

    tier: str
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Steps from the bottom, over BASE. months is how far back activity qualifies and, where the expiry policy asks,
    how long a tier lasts at least; zone is where years begin (IANA); gone are tiers that earlier ladders had and this
    one has not, each with its place among these steps. Raises ValueError for what makes no ladder."""

    steps: tuple[Step, ...]
    version: int = 0
    months: int = MONTHS
    expiry: str = AFTER_MONTHS
    downgrade: str = TO_WHAT_QUALIFIES
    zone: str = "UTC"
    gone: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        names = [BASE, *(step.tier for step in self.steps)]
        if len(set(names)) != len(names) or not all(step.ways for step in self.steps):
            raise ValueError("a ladder's tiers are different, and each has a way to it")
        if self.expiry not in EXPIRIES or self.downgrade not in DOWNGRADES or not 1 <= self.months <= 120:
            raise ValueError("no such expiry or downgrade policy, or not 1 to 120 months")
        if any(not any(getattr(way, name) > 0 for name in CRITERIA) for step in self.steps for way in step.ways):
            raise ValueError("a way to a tier asks for something")

    def rank(self, tier: str) -> int:
        """The place of a tier from the bottom, 0 for BASE and for one that this ladder does not know."""
        return next((place for place, step in enumerate(self.steps, 1) if step.tier == tier), 0)

    def place(self, tier: str) -> int:
        """As `rank`; for a tier that was taken off, the place up to which no step is above it. No step is above one
        that nobody knows."""
        if tier == BASE:
            return 0
        return self.rank(tier) or dict(self.gone).get(tier, len(self.steps))

    def after(self, earlier: Iterable[Ladder]) -> Ladder:
        """This ladder, which knows where the tiers stood that earlier ones had, given from the latest."""
        gone: dict[str, int] = {}
        for old in earlier:
            for step in old.steps:
                if not self.rank(step.tier):
                    gone.setdefault(step.tier, self._place_in(old, step.tier))
        return replace(self, gone=tuple(gone.items()))

    def _place_in(self, old: Ladder, tier: str) -> int:
        """Where a tier of an earlier ladder stands among these steps: above those that it was above, below those that
        it was below. Steps that are new between these stand for what was there, from the bottom one for one."""
        was = old.rank(tier)
        below = max((self.rank(step.tier) for step in old.steps[: was - 1]), default=0)
        above = min(
            (place for step in old.steps[was:] if (place := self.rank(step.tier)) > below), default=len(self.steps) + 1
        )
        since = was - old.rank(self.tier(below))
        return min(below + since, above - 1)

    def tier(self, rank: int) -> str:
        """The tier at a place."""
        return self.steps[rank - 1].tier if rank else BASE

    def since(self, at: datetime) -> datetime:
        """The instant from which activity qualifies for an assessment at `at`."""
        return months_later(at, -self.months)

    def reached(self, done: Activity) -> int:
        """The place of the highest step that so much reaches."""
        return max(
            (place for place, step in enumerate(self.steps, 1) if any(not way.missing(done) for way in step.ways)),
            default=0,
        )

    def until(self, rank: int, *, at: datetime, enrolled_at: datetime) -> datetime | None:
        """When a tier reached at an instant ends; None where it has no end."""
        if rank == 0 or self.expiry == FOR_EVER:
            return None
        end = months_later(at, self.months)
        if self.expiry == END_OF_YEAR:
            there = end.astimezone(ZoneInfo(self.zone))
            return datetime(there.year + 1, 1, 1, tzinfo=ZoneInfo(self.zone)).astimezone(at.tzinfo)
        if self.expiry == ANNIVERSARY:
            months = (end.year - enrolled_at.year) * 12
            anniversary = months_later(enrolled_at, months)
            return anniversary if anniversary >= end else months_later(enrolled_at, months + 12)
        return end


STANDARD = Ladder((Step("SILVER", (Way(points=1_000),)), Step("GOLD", (Way(points=5_000),))))
"""The ladder of a programme that has said nothing else."""

LADDER: tuple[tuple[str, int], ...] = ((BASE, 0), *((step.tier, step.ways[0].points) for step in STANDARD.steps))
"""Tiers of the standard ladder from the bottom, each with the qualifying points that reach it."""

assert all(lower[1] < upper[1] for lower, upper in pairwise(LADDER))


@dataclass(frozen=True, slots=True)
class Standing:
    """A tier, the instant it ends (None: it has no end), and the qualifying points still missing for the next one
    (None: there is none). ways tells per way to the next tier what is missing, by criterion."""

    tier: str
    until: datetime | None
    points_to_next: int | None
    ways: tuple[Mapping[str, int], ...] = field(default=(), compare=False)


def months_later(at: datetime, months: int) -> datetime:
    """The same time of day so many calendar months later (earlier where negative), on the month's last day at most."""
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))


def standing_of(ladder: Ladder, tier: str, until: datetime | None, done: Activity) -> Standing:
    """A tier that is held, with what is missing for the next one."""
    above = ladder.place(tier) + 1
    if above > len(ladder.steps):
        return Standing(tier, until, None)
    ways = tuple(way.missing(done) for way in ladder.steps[above - 1].ways)
    points = [way["points"] for way in ways if "points" in way]
    return Standing(tier, until, min(points) if points else 0, ways)


def decide(
    ladder: Ladder, tier: str, until: datetime | None, done: Activity, *, at: datetime, enrolled_at: datetime
) -> Standing | None:
    """The new standing of a member who holds a tier until an instant; None where nothing changes.

    A higher tier counts at once. A tier that was reached stays until its end, whatever happens, and is then decided
    again, which may renew it. A tier that the ladder does not know any more stays to its end, too, or until a step is
    reached that is above where it stood.
    """
    reached = ladder.reached(done)
    is_over = until is not None and until <= at
    if reached > ladder.place(tier) or is_over:
        lowest = ladder.rank(tier) - 1 if ladder.downgrade == ONE_STEP and is_over else 0
        rank = max(reached, lowest)
        return standing_of(ladder, ladder.tier(rank), ladder.until(rank, at=at, enrolled_at=enrolled_at), done)
    return None


def qualify(points: int, *, at: datetime) -> Standing:
    """The standing that so many qualifying points reach at an instant on the standard ladder."""
    done = Activity(points=points)
    rank = STANDARD.reached(done)
    return standing_of(STANDARD, STANDARD.tier(rank), STANDARD.until(rank, at=at, enrolled_at=at), done)


def points_to_next(tier: str, points: int) -> int | None:
    """Qualifying points that are missing for the tier above on the standard ladder, at least one as long as it is not
    reached."""
    return standing_of(STANDARD, tier, None, Activity(points=points)).points_to_next


def reassess(tier: str, until: datetime | None, points: int, *, at: datetime) -> Standing | None:
    """As `decide`, on the standard ladder."""
    return decide(STANDARD, tier, until, Activity(points=points), at=at, enrolled_at=at)
