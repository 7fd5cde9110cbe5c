"""PURE: a fee becomes revenue day by day, straight-line, and its days sum to it.

Whole minor units only: what does not divide goes to the first days, one unit each (largest remainder with equal
weights and ties to the earlier), so what was recognised through any day is known without adding up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Service:
    """A fee without tax, in minor units, for days [start, end) of the subscription's zone."""

    net_minor: int
    start: date
    end: date

    def __post_init__(self) -> None:
        if self.net_minor < 0 or self.end <= self.start:
            raise ValueError("a service lasts at least a day and costs nothing less than zero")

    @property
    def days(self) -> int:
        """How many days it lasts."""
        return (self.end - self.start).days

    def on(self, day: date) -> int:
        """What a day recognises, minor units."""
        return self.before(date.fromordinal(day.toordinal() + 1)) - self.before(day)

    def before(self, day: date) -> int:
        """What was recognised on all days before one, minor units."""
        passed = min(max((day - self.start).days, 0), self.days)
        each, rest = divmod(self.net_minor, self.days)
        return each * passed + min(passed, rest)

    def unserved(self, day: date) -> int:
        """What is not recognised when it ends before a day: what a refund gives back first, minor units."""
        return self.net_minor - self.before(day)
