"""PURE: the periods of a subscription, counted from its anchor, and what changing in the middle of one costs.

A period begins at the anchor's local day and time, so many months later; where that day does not exist, on the last
day of the month. It is never counted from the period before: 31 January, 28 February, 31 March.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from kit.instants import add_months

Interval = Literal["MONTH", "QUARTER", "YEAR"]
Proportion = Literal["DAY", "SECOND"]

_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@dataclass(frozen=True, slots=True)
class Period:
    """The index-th period of a subscription, [start, end) as UTC instants."""

    index: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a subscription renews: every `count` intervals from the anchor (UTC), by the clock of a zone."""

    anchor_at: datetime
    interval: Interval
    count: int
    zone: str

    def boundary(self, index: int) -> datetime:
        """The instant (UTC) at which the index-th period begins."""
        local = self.anchor_at.astimezone(ZoneInfo(self.zone))
        return add_months(local, index * self.count * _MONTHS[self.interval]).astimezone(UTC)

    def period(self, index: int) -> Period:
        """The index-th period, from 0."""
        return Period(index, self.boundary(index), self.boundary(index + 1))

    def period_at(self, at: datetime) -> Period:
        """The period that an instant lies in. Raises ValueError before the anchor."""
        if at < self.anchor_at:
            raise ValueError("nothing of a subscription lies before its anchor")
        local, anchor = at.astimezone(ZoneInfo(self.zone)), self.anchor_at.astimezone(ZoneInfo(self.zone))
        months = (local.year - anchor.year) * 12 + local.month - anchor.month
        index = max(months // (self.count * _MONTHS[self.interval]) - 1, 0)
        while self.boundary(index + 1) <= at:
            index += 1
        return self.period(index)


@dataclass(frozen=True, slots=True)
class Proration:
    """Two lines of an invoice, minor units: what is given back of the old price, what is charged of the new."""

    credit_minor: int
    debit_minor: int

    @property
    def net_minor(self) -> int:
        """What is to be paid now; negative where something is left over."""
        return self.debit_minor - self.credit_minor


def prorate(
    old_minor: int, new_minor: int, period: Period, at: datetime, *, zone: str, by: Proportion = "DAY"
) -> Proration:
    """What a change of price in the middle of a period costs.

    Each line is price x remaining / whole, rounded half-up once. By days, calendar days of the zone are counted, the
    day of the change among the remaining. Raises ValueError for an instant outside the period.
    """
    remaining, whole = remaining_of(period, at, zone=zone, by=by)
    return Proration(half_up(old_minor * remaining, whole), half_up(new_minor * remaining, whole))


def remaining_of(period: Period, at: datetime, *, zone: str, by: Proportion = "DAY") -> tuple[int, int]:
    """How much of a period is left at an instant, and how much the whole is: days of the zone, or seconds."""
    if not period.start <= at < period.end:
        raise ValueError("the instant is not in the period")
    if by == "SECOND":
        return int((period.end - at).total_seconds()), int((period.end - period.start).total_seconds())
    local = ZoneInfo(zone)
    start, now, end = (instant.astimezone(local).date() for instant in (period.start, at, period.end))
    return (end - now).days, (end - start).days


def days_bought(left_minor: int, price_minor: int, days: int) -> int:
    """Days that a credit buys of a price for so many days, half-up: the other way to honour what was paid."""
    if price_minor <= 0:
        raise ValueError("a price is above zero")
    return half_up(left_minor * days, price_minor)


def half_up(numerator: int, denominator: int) -> int:
    """A quotient of non-negative integers rounded to the nearest, halves up. Raises ValueError otherwise."""
    if numerator < 0 or denominator <= 0:
        raise ValueError("half_up takes no negative amounts")
    return (2 * numerator + denominator) // (2 * denominator)
