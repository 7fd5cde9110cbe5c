"""PURE: the kinds of difference between two sides, and how long one has been open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Category(StrEnum):
    """Why two sides differ. EXPECTED is no break: it is not due yet."""

    EXPECTED = "EXPECTED"
    TIMING = "TIMING"
    MISSING_OURS = "MISSING_OURS"
    MISSING_THEIRS = "MISSING_THEIRS"
    DUPLICATE = "DUPLICATE"
    AMOUNT = "AMOUNT"
    QUANTITY = "QUANTITY"
    PRICE = "PRICE"
    CURRENCY = "CURRENCY"
    TAX = "TAX"
    STATUS = "STATUS"
    REFERENCE = "REFERENCE"
    MAPPING = "MAPPING"
    UNIDENTIFIED_RECEIPT = "UNIDENTIFIED_RECEIPT"
    PAYMENT_DIFFERENCE = "PAYMENT_DIFFERENCE"
    RETURNED_PAYMENT = "RETURNED_PAYMENT"
    BANK_FEE = "BANK_FEE"
    FILE = "FILE"


BUCKETS = ((0, 1), (2, 5), (6, 10), (11, 30), (31, 60), (61, None))


def business_days_open(since: date, until: date, *, is_holiday: Callable[[date], bool] = lambda _: False) -> int:
    """Whole business days from the day a break was first seen to another: Monday to Friday without holidays."""
    days = 0
    day = since
    while day < until:
        day += timedelta(days=1)
        if day.weekday() < 5 and not is_holiday(day):
            days += 1
    return days


def bucket(days_open: int) -> str:
    """The ageing bucket of so many business days: `0-1`, `2-5`, … `61+`."""
    for least, most in BUCKETS:
        if most is None or days_open <= most:
            return f"{least}+" if most is None else f"{least}-{most}"
    raise AssertionError("the last bucket is open")


_MUCH, _SOME = 1_000_000_000, 100_000_000  # micro-units: a thousand and a hundred units of a currency


def days_to_resolve(value_micro: int) -> int:
    """Within how many business days a break of a value has to be resolved: the more it is about, the sooner."""
    if abs(value_micro) >= _MUCH:
        return 1
    return 3 if abs(value_micro) >= _SOME else 10


def local_day(at: datetime, zone: str) -> date:
    """The day of an instant in a zone."""
    return at.astimezone(ZoneInfo(zone)).date()
