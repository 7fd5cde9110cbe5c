"""The schema's scalars: exact, bounded, and with messages that never repeat the value they complain about.

Sets that will grow are scalars, never enums, so that an old generated client still reads a new answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from gateway.masking import Explained
from kit.amounts import LARGEST, Points

Scope = NewType("Scope", str)
RejectionCode = NewType("RejectionCode", str)
CurrencyCode = NewType("CurrencyCode", str)
LineKind = NewType("LineKind", str)
PaymentKind = NewType("PaymentKind", str)
EntryMode = NewType("EntryMode", str)
TransactionKind = NewType("TransactionKind", str)
EntryKind = NewType("EntryKind", str)
OfferKind = NewType("OfferKind", str)
WebhookEventType = NewType("WebhookEventType", str)

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")
_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_SCOPE = re.compile(r"[a-z]+:[a-z]+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_EVENT_TYPE = re.compile(r"[a-z]{1,32}\.[a-z_]{1,32}")


def _points_in(value: object) -> Points:
    if type(value) is str and _INTEGER.fullmatch(value):
        value = int(value)
    if type(value) is not int or abs(value) > LARGEST:
        raise Explained('Points are a whole number of 64 bits, as a string such as "250".')
    return Points(value)


def _points_out(value: object) -> str:
    if type(value) is not int:
        raise TypeError("points are integers")
    return str(value)


def _decimal_in(value: object) -> Decimal:
    if type(value) is int:
        value = str(value)
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        raise Explained('A Decimal is a string such as "10.50", with at most 15 and 9 digits; never a float.')
    return Decimal(value)


def _decimal_out(value: object) -> str:
    if not isinstance(value, Decimal):
        raise TypeError("decimals are of type Decimal")
    return f"{value:f}"


def _instant_in(value: object) -> datetime:
    try:
        if type(value) is str and _INSTANT.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Explained('A DateTime is a string such as "2026-11-21T09:30:00Z", with its offset.') from None


def _instant_out(value: object) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError("instants know their offset")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _date_in(value: object) -> date:
    try:
        if type(value) is str and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise Explained('A Date is a string such as "2026-11-21".') from None


def _date_out(value: object) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError("dates are of type date")
    return value.isoformat()


def _one_of(name: str, pattern: re.Pattern[str], example: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if type(value) is not str or not pattern.fullmatch(value):
            raise Explained(f'A {name} is a string such as "{example}".')
        return value

    return parse


def _open_set(name: str, example: str, description: str, pattern: re.Pattern[str] = _WORD) -> ScalarDefinition:
    return strawberry.scalar(
        name=name,
        description=f"{description} New values may appear at any time.",
        serialize=str,
        parse_value=_one_of(name, pattern, example),
    )


SCALARS: dict[Any, ScalarDefinition] = {
    Points: strawberry.scalar(
        name="Points",
        description="Whole points, signed 64-bit, as a decimal string because GraphQL's Int has 32 bits.",
        serialize=_points_out,
        parse_value=_points_in,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description="Exact decimal, as a string. Never a float.",
        serialize=_decimal_out,
        parse_value=_decimal_in,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="Instant with its offset (RFC 3339), always UTC in answers.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=_instant_out,
        parse_value=_instant_in,
    ),
    date: strawberry.scalar(
        name="Date",
        description="Calendar date in the programme's time zone.",
        specified_by_url="https://scalars.graphql.org/andimarek/local-date.html",
        serialize=_date_out,
        parse_value=_date_in,
    ),
    Scope: _open_set("Scope", "points:accrue", "What a client may do.", _SCOPE),
    RejectionCode: _open_set(
        "RejectionCode", "INSUFFICIENT_POINTS", "Why a request was refused; unknown ones are read by `retryable`."
    ),
    CurrencyCode: _open_set("CurrencyCode", "EUR", "ISO 4217 code.", _CURRENCY),
    LineKind: _open_set(
        "LineKind", "GOODS", "What a receipt line is: GOODS, SERVICE, DELIVERY, TIP, DEPOSIT, GIFT_CARD, FEE."
    ),
    PaymentKind: _open_set("PaymentKind", "CARD", "How a part of a receipt was paid."),
    EntryMode: _open_set("EntryMode", "ONLINE", "How a receipt reached us: ONLINE, OFFLINE, IMPORT."),
    TransactionKind: _open_set("TransactionKind", "PURCHASE", "What a journal entry is."),
    EntryKind: _open_set("EntryKind", "ACCRUAL", "What happened to an account."),
    OfferKind: _open_set("OfferKind", "PROMOTION", "What is on offer: PROMOTION, COUPON, REWARD, STAMPS."),
    WebhookEventType: _open_set("WebhookEventType", "purchase.recorded", "What a webhook tells of.", _EVENT_TYPE),
}
