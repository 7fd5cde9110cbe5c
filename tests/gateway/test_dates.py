"""When points come and go, as a member reads it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from gateway.pages.dates import Dated, by_day


def test_points_of_one_day_and_partner_are_one_line_and_none_is_lost() -> None:
    bakery, fish = {"name": "Bakery"}, {"name": "Fish"}
    told: list[dict[str, Any]] = [
        {"kind": "ACTIVATION", "points": "5", "at": "2026-03-01T21:00:00+00:00", "partner": bakery},
        {"kind": "ACTIVATION", "points": "7", "at": "2026-03-01T21:30:00+00:00", "partner": bakery},
        {"kind": "ACTIVATION", "points": "1", "at": "2026-03-01T22:30:00+00:00", "partner": bakery},
        {"kind": "ACTIVATION", "points": "2", "at": "2026-03-01T22:30:00+00:00", "partner": fish},
        {"kind": "EXPIRY", "points": "4", "at": "2026-03-01T22:30:00+00:00", "partner": None},
    ]
    found = by_day(told, ZoneInfo("Europe/Chisinau"))  # two hours ahead: the third is of the next day
    assert found == [
        Dated("ACTIVATION", "2026-03-01T21:00:00+00:00", "Bakery", 12),
        Dated("ACTIVATION", "2026-03-01T22:30:00+00:00", "Bakery", 1),
        Dated("ACTIVATION", "2026-03-01T22:30:00+00:00", "Fish", 2),
        Dated("EXPIRY", "2026-03-01T22:30:00+00:00", None, 4),
    ]
    assert sum(each.points for each in found) == sum(int(each["points"]) for each in told)
