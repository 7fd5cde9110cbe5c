"""PURE: business days. Saturdays, Sundays and the days that were declared are none."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def is_business_day(day: date, holidays: Collection[date]) -> bool:
    """Whether people work on a day."""
    return day.weekday() < 5 and day not in holidays


def business_days_on(day: date, count: int, holidays: Collection[date]) -> date:
    """The business day that is `count` of them after a day; for 0 the day itself. ValueError where count < 0."""
    if count < 0:
        raise ValueError("days are counted forward")
    while count:
        day += _DAY
        if is_business_day(day, holidays):
            count -= 1
    return day


def review_end(issued_at: datetime, days: int, *, zone: str, holidays: Collection[date]) -> datetime:
    """When the time to object ends: at the end of the business day that is so many after that of the issue, where the
    programme is (an IANA zone). For 0 days at the instant of the issue itself."""
    if days == 0:
        return issued_at
    local = ZoneInfo(zone)
    last = business_days_on(issued_at.astimezone(local).date(), days, holidays)
    return datetime.combine(last + _DAY, time(), local).astimezone(issued_at.tzinfo)
