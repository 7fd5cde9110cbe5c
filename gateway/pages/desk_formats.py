"""PURE: how the staff's pages write what the API tells as machines write it: figures, shares, days, instants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal

from gateway.pages.rendering import MINUS, Frame, percent
from kit.reports.tables import in_language
from settlement.reports import words

MONEY_PLACES = 2
NUMBERS = frozenset({"count", "amount", "exact", "percent"})


def formats(frame: Frame) -> Mapping[str, Callable[..., str]]:
    """Formats of a frame: `figure` of a kind of a report's columns, `exact` of a decimal as money is written, with more
    places where it has them, `rounded` with two, `decimal` as short as it goes, `instant`, `short_day`, `line_kind`."""
    language, zone = frame.language, frame.zone

    def exact(text: str | int, depth: int = MONEY_PLACES) -> str:
        value = Decimal(text)
        places = max(depth, places_of(value)) if isinstance(text, str) else 0
        return _signed(format_decimal(value, f"#,##0.{'0' * places}" if places else "#,##0", locale=language))

    def decimal(text: str) -> str:
        return _signed(format_decimal(Decimal(text), locale=language))

    def instant(text: str) -> str:
        return str(format_datetime(datetime.fromisoformat(text), "d MMM y, HH:mm", tzinfo=zone, locale=language))

    def short_day(text: str) -> str:
        return str(format_date(date.fromisoformat(text[:10]), "d MMM y", locale=language))

    def rounded(text: str) -> str:
        return _signed(format_decimal(Decimal(text), "#,##0.00", locale=language))

    def figure(kind: str, text: str, depth: int = MONEY_PLACES) -> str:
        if not text:
            return ""
        if kind == "count":
            return _signed(format_decimal(int(text), locale=language))
        if kind in ("amount", "exact"):
            return exact(text, depth)
        if kind == "percent":
            return percent(Decimal(text), language)
        return {"instant": instant, "date": short_day}.get(kind, str)(text)

    def line_kind(kind: str) -> str:
        return in_language(words.kind_of_line(kind).words, language)

    return {
        "line_kind": line_kind,
        "figure": figure,
        "exact": exact,
        "rounded": rounded,
        "decimal": decimal,
        "instant": instant,
        "short_day": short_day,
    }


def depths(table: Mapping[str, Any]) -> list[int]:
    """How many places each column of a report's table is written with, so that its figures stand below each other."""
    rows = [each["cells"] for each in table["rows"]] + ([table["totals"]] if table["totals"] else [])
    return [
        max([MONEY_PLACES, *(places_of(Decimal(row[number])) for row in rows if row[number])])
        if column["kind"] in ("amount", "exact")
        else 0
        for number, column in enumerate(table["columns"])
    ]


def places_of(value: Decimal) -> int:
    """Places behind the point that say something."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _signed(text: str) -> str:
    return str(text).replace("-", MINUS)
