"""PURE: when cycles of settlement end: at midnight, where the programme is, of a day, a week, a month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY, WEEK, MONTH = "DAY", "WEEK", "MONTH"
_LONGEST = {DAY: timedelta(days=1), WEEK: timedelta(days=7), MONTH: timedelta(days=31)}
"""From the first day of a cycle so long is in the next one, never behind it."""


def last_end(cycle: str, at: datetime, *, zone: str) -> datetime:
    """The latest end of a cycle (DAY, WEEK, MONTH) at or before an instant, UTC; zone is an IANA one."""
    local = ZoneInfo(zone)
    end = datetime.combine(_first_day(cycle, at.astimezone(local).date()), time(), local).astimezone(UTC)
    return end if end <= at else last_end(cycle, end - timedelta(microseconds=1), zone=zone)  # two midnights in one day


def next_end(cycle: str, at: datetime, *, zone: str) -> datetime:
    """The first end of a cycle (DAY, WEEK, MONTH) behind an instant, UTC; zone is an IANA one."""
    local = ZoneInfo(zone)
    day = _first_day(cycle, at.astimezone(local).date())
    while True:
        day = _first_day(cycle, day + _LONGEST[cycle])
        end = datetime.combine(day, time(), local).astimezone(UTC)
        if end > at:
            return end


def ended(cycles: Iterable[str], *, since: datetime, at: datetime, zone: str) -> datetime | None:
    """The latest instant behind `since` and not behind `at` at which one of the cycles ended; None where none did."""
    ends = [end for cycle in set(cycles) if (end := last_end(cycle, at, zone=zone)) > since]
    return max(ends, default=None)


def _first_day(cycle: str, day: date) -> date:
    if cycle == MONTH:
        return day.replace(day=1)
    if cycle == WEEK:
        return day - timedelta(days=day.weekday())
    if cycle == DAY:
        return day
    raise ValueError(f"there is no cycle {cycle}")
