"""PURE: arithmetic on instants that the standard library lacks."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TypeVar

_IN_EVERY_MONTH = 28
_MINUTE = timedelta(minutes=1)
_MOST_KEPT = 1024

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def add_months(at: datetime, months: int) -> datetime:
    """The same day and time some months later; the last day of the month where that day does not exist."""
    index = at.year * 12 + at.month - 1 + months
    year, month = divmod(index, 12)
    day = at.day if at.day <= _IN_EVERY_MONTH else min(at.day, monthrange(year, month + 1)[1])
    return at.replace(year=year, month=month + 1, day=day)


def just_before(at: datetime) -> datetime:
    """The last instant before another that the database can tell from it."""
    return at - timedelta(microseconds=1)


def same_for_a_minute(make: Callable[[datetime, Key], Value]) -> Callable[[datetime, Key], Value]:
    """A function of an instant and a key which keeps, for each key, what it came to in the last minute it was asked of:
    most of what happens in a network happens now.

    make is given the first instant of the minute (UTC), and must come to the same for all of it, as calendars do.
    """
    kept: dict[Key, tuple[datetime, datetime, Value]] = {}

    @wraps(make)
    def found(at: datetime, key: Key) -> Value:
        known = kept.get(key)
        if known is None or not known[0] <= at < known[1]:
            minute = at.astimezone(UTC).replace(second=0, microsecond=0)
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            known = kept[key] = (minute, minute + _MINUTE, make(minute, key))
        return known[2]

    return found
