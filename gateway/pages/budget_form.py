"""PURE: the form in which a marketer describes a new budget: what it says to the API, and what is said at which field.

Whatever cannot be is sent as something that the API refuses, so that it names all that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.pages.catalogues import marked as _
from gateway.pages.operator_phrases import BUDGET_SCOPES
from gateway.pages.workplace import Problem

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "points": _("points that rules give"),
        "count": _("how many times rules give something"),
        "money": _("money that rules take off the bill; it is as large as what is paid into it"),
    }
)
EXHAUSTED: Mapping[str, str] = MappingProxyType(
    {
        "deny": _("nothing: where less is left than a rule would give, it gives nothing"),
        "partial": _("the rest: a rule gives as much as is left"),
    }
)
ROLLING = "rolling"
SCOPE = "scope "
"""What the name of a box for a scope begins with."""
NOT_ADDED = _("It was not added. What is to be put right stands at its field, and what you typed is still there.")
_MOST_DIGITS = 18
_NONE = "-1"  # no budget's limit

_EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "code": _("Expected 1 to 64 Latin letters, digits and _ . : - of which the first is a letter or a digit."),
        "unit": _("Expected one of these."),
        "currency": _("Expected a currency for a budget of money, and none for any other."),
        "limit": _("Expected a whole number of points or of times, zero or more, of at most 15 digits."),
        "scopes": _("Expected some of these, or none."),
        "period": _("Expected one of these."),
        "days": _(
            "Expected a whole number of days from 1 to 999 for any days in a row, and none for any other period."
        ),
        "zone": _("Expected the name of a time zone, such as Europe/Chisinau."),
        "onExceed": _("Expected one of these."),
    }
)
_LIMIT_OF_MONEY = _("Expected nothing here: a budget of money is as large as what is paid into it.")
_BY_CODE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "BUDGET_EXISTS": ("code", _("There is a budget of this code. Expected another one.")),
        "BUDGET_RESERVED": ("code", _("Codes that begin like this are settlement's. Expected another one.")),
        "PARTNER_UNKNOWN": ("sponsor", _("Expected the code of a partner, or nothing for the operator.")),
    }
)
_NAMES = {"on_exceed": "onExceed"}


def given(fields: Mapping[str, str]) -> dict[str, Any]:
    """What the form says, as the API's input of a budget."""
    return {
        "code": _text(fields, "code"),
        "unit": _text(fields, "unit"),
        "currencyCode": _text(fields, "currency") or None,
        "limit": _limit(fields),
        "scopes": [scope for scope in BUDGET_SCOPES if SCOPE + scope in fields],
        "period": _period(fields),
        "zone": _text(fields, "zone"),
        "onExceed": _text(fields, "onExceed"),
        "sponsor": _text(fields, "sponsor") or None,
    }


def wrong(problem: Problem, fields: Mapping[str, str]) -> dict[str, str]:
    """What was expected at each field that is wrong, in English, in the form's order."""
    if problem.code in _BY_CODE:
        name, expected = _BY_CODE[problem.code]
        return {name: expected}
    found = {_NAMES.get(part, part) for part in problem.parts}
    if "period" in found and (_text(fields, "days") or _text(fields, "period") == ROLLING):
        found = found - {"period"} | {"days"}
    told = {name: expected for name, expected in _EXPECTED.items() if name in found}
    if "limit" in told and _text(fields, "unit") == "money":
        told["limit"] = _LIMIT_OF_MONEY
    return told


def _text(fields: Mapping[str, str], name: str) -> str:
    return fields.get(name, "").strip()


def _limit(fields: Mapping[str, str]) -> str:
    """A whole number, with the spaces that people put between thousands; nothing where money takes none."""
    typed = "".join(fields.get("limit", "").split())
    if _text(fields, "unit") == "money":
        return "0" if typed in ("", "0") else _NONE
    return str(int(typed)) if typed.isascii() and typed.isdecimal() and len(typed) <= _MOST_DIGITS else _NONE


def _period(fields: Mapping[str, str]) -> str:
    period, days = _text(fields, "period"), _text(fields, "days")
    return f"{period}:{days}" if days or period == ROLLING else period
