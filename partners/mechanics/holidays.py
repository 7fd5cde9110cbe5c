"""PURE: holidays: which codes a day has by a country's calendar and by the programme's own days.

What a country keeps is data (holidays.json): days of the year, and days told from the Orthodox Easter. A programme says
which country's it keeps and adds its own, or leaves some out; see `documents.CalendarDocument`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from partners.mechanics.documents import CalendarDocument


@dataclass(frozen=True, slots=True)
class Calendar:
    """The programme's calendar: its versions with the instants that they are in force from, in order."""

    versions: Sequence[tuple[datetime, CalendarDocument]] = ()

    def codes(self, day: date, *, at: datetime) -> tuple[str, ...]:
        """The codes of a local day's holidays, as the version in force at an instant tells them, sorted."""
        found = [document for valid_from, document in self.versions if valid_from <= at]
        return codes_on(found[-1], day) if found else ()


def countries() -> tuple[str, ...]:
    """The countries of which a calendar is known."""
    return tuple(sorted(_known()))


def codes_on(document: CalendarDocument, day: date) -> tuple[str, ...]:
    """The codes of a day's holidays, sorted."""
    kept = set() if document.country is None else _of_country(document.country, day)
    own = {one.code for one in document.days if day in one.dates}
    return tuple(sorted((kept - set(document.without)) | own))


def orthodox_easter(year: int) -> date:
    """Easter Sunday of the Orthodox churches by the Gregorian calendar, 1900 to 2099 (Meeus, Astronomical Algorithms,
    chapter 8: the Julian date, 13 days later)."""
    if not 1900 <= year <= 2099:
        raise ValueError("the calendars are 13 days apart from 1900 to 2099 only")
    d = (19 * (year % 19) + 15) % 30
    e = (2 * (year % 4) + 4 * (year % 7) - d + 34) % 7
    month, day = divmod(d + e + 114, 31)
    return date(year, month, day + 1) + timedelta(days=13)


def _of_country(country: str, day: date) -> set[str]:
    known = _known()[country]
    found = {code for code, days in known["fixed"].items() if f"{day:%m-%d}" in days}
    if known["orthodox_easter"] and 1900 <= day.year <= 2099:
        away = (day - orthodox_easter(day.year)).days
        found |= {code for code, days in known["orthodox_easter"].items() if away in days}
    return found


@cache
def _known() -> Mapping[str, Any]:
    text = resources.files("partners.mechanics").joinpath("holidays.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
