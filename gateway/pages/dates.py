"""PURE: when points come and go, as a member reads it: one line for a day and a partner, however many purchases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Dated:
    """Points that become available, or expire, on one day; where they were earned, None where nowhere in particular."""

    kind: str
    at: str
    partner: str | None
    points: int


def by_day(dates: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> list[Dated]:
    """The dates that the API tells, those of one kind, day of the zone and partner together, in the order of time."""
    found: dict[tuple[str, object, str | None], Dated] = {}
    for each in dates:
        partner = each["partner"]["name"] if each["partner"] else None
        key = each["kind"], datetime.fromisoformat(each["at"]).astimezone(zone).date(), partner
        before = found.get(key)
        points = int(each["points"]) + (before.points if before else 0)
        found[key] = Dated(each["kind"], before.at if before else each["at"], partner, points)
    return list(found.values())
