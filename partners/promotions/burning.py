"""PURE: how fast a budget is used up, and when it will be if it goes on like that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_LONGEST = timedelta(days=3_650)


@dataclass(frozen=True, slots=True)
class Burn:
    """A budget by now: used since an instant, so much a day on average (rounded up), and when nothing is left of it:
    None where it lasts longer than ten years, or its period ends first."""

    since: datetime
    used: int
    per_day: int
    runs_out_at: datetime | None


def begins_at(period: str, at: datetime, *, zone: str, first: datetime) -> datetime:
    """When the period of a budget began that an instant is in; first for one that counts in all (total) or over days in
    a row (rolling)."""
    local = at.astimezone(ZoneInfo(zone))
    day = local.date()
    if period == "year":
        day = day.replace(month=1, day=1)
    elif period == "month":
        day = day.replace(day=1)
    elif period == "week":
        day -= timedelta(days=day.weekday())
    elif period != "day":
        return first
    return max(first, datetime.combine(day, time(), ZoneInfo(zone)).astimezone(at.tzinfo))


def ends_at(period: str, at: datetime, *, zone: str) -> datetime | None:
    """When the period of a budget ends that an instant is in; None where it has no end."""
    local = ZoneInfo(zone)
    day = at.astimezone(local).date()
    if period == "year":
        day = day.replace(year=day.year + 1, month=1, day=1)
    elif period == "month":
        day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    elif period == "week":
        day += timedelta(days=7 - day.weekday())
    elif period == "day":
        day += _DAY
    else:
        return None
    return datetime.combine(day, time(), local).astimezone(at.tzinfo)


def burn(used: int, remaining: int, *, since: datetime, at: datetime, ends: datetime | None) -> Burn:
    """How a budget was used since an instant, and when it runs out at that pace."""
    seconds = max(1, int((at - since).total_seconds()))
    per_day = -(-used * 86_400 // seconds)
    if remaining <= 0:
        return Burn(since, used, per_day, at)
    if used <= 0:
        return Burn(since, used, 0, None)
    left = timedelta(seconds=min(remaining * seconds // used, int(_LONGEST.total_seconds())))
    runs_out_at = at + left
    is_later = left >= _LONGEST or (ends is not None and runs_out_at >= ends)
    return Burn(since, used, per_day, None if is_later else runs_out_at)
