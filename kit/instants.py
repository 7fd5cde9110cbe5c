"""PURE: arithmetic on instants that the standard library lacks."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta

_IN_EVERY_MONTH = 28


def add_months(at: datetime, months: int) -> datetime:
    """The same day and time some months later; the last day of the month where that day does not exist."""
    index = at.year * 12 + at.month - 1 + months
    year, month = divmod(index, 12)
    day = at.day if at.day <= _IN_EVERY_MONTH else min(at.day, monthrange(year, month + 1)[1])
    return at.replace(year=year, month=month + 1, day=day)


def just_before(at: datetime) -> datetime:
    """The last instant before another that the database can tell from it."""
    return at - timedelta(microseconds=1)
