"""PURE: how the staff's pages write what the API tells as machines write it: figures, shares, days, instants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal

from gateway.pages.rendering import MINUS, Frame, percent
from kit.reports.tables import in_language
from settlement.reports import words

NUMBERS = frozenset({"count", "amount", "exact", "percent"})


def formats(frame: Frame) -> Mapping[str, Callable[..., str]]:
    """Formats of a frame: `figure` of a kind of a report's columns, `exact` of a decimal as money is written, `decimal`
    as short as it goes, `instant`, `short_day`, `line_kind`."""
    language, zone = frame.language, frame.zone

    def exact(text: str | int) -> str:
        value = Decimal(text)
        places = max(2, -value.normalize().as_tuple().exponent) if isinstance(text, str) else 0  # type: ignore[operator]
        return _signed(format_decimal(value, f"#,##0.{'0' * places}" if places else "#,##0", locale=language))

    def decimal(text: str) -> str:
        return _signed(format_decimal(Decimal(text), locale=language))

    def instant(text: str) -> str:
        return str(format_datetime(datetime.fromisoformat(text), "d MMM y, HH:mm", tzinfo=zone, locale=language))

    def short_day(text: str) -> str:
        return str(format_date(date.fromisoformat(text[:10]), "d MMM y", locale=language))

    def figure(kind: str, text: str) -> str:
        if not text:
            return ""
        if kind == "count":
            return _signed(format_decimal(int(text), locale=language))
        if kind in ("amount", "exact"):
            return exact(text)
        if kind == "percent":
            return percent(Decimal(text), language)
        return {"instant": instant, "date": short_day}.get(kind, str)(text)

    def line_kind(kind: str) -> str:
        return in_language(words.kind_of_line(kind).words, language)

    return {
        "line_kind": line_kind,
        "figure": figure,
        "exact": exact,
        "decimal": decimal,
        "instant": instant,
        "short_day": short_day,
    }


def _signed(text: str) -> str:
    return str(text).replace("-", MINUS)
