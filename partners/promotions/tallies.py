"""PURE: counters of members added up purchase by purchase, where nobody stored them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date


class Tallies:
    """What members bought so far, by the counters' names (`basket.COUNTERS`). Sums are minor units."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int, str, str]] = Counter()

    def before(self, member_id: int, partner_id: int, day: date, names: Iterable[str]) -> dict[str, int]:
        """The counters of these names before a purchase on a local day at a partner."""
        found = {}
        for name in names:
            where, period, what = name.split(".")
            place = partner_id if where == "partner" else 0
            found[name] = self._counts[member_id, place, _period(period, day), what]
        return found

    def add(self, member_id: int, partner_id: int, day: date, amount_minor: int) -> None:
        """Count a purchase."""
        for place in (0, partner_id):
            for period in ("ever", "year", "month", "day"):
                key = _period(period, day)
                self._counts[member_id, place, key, "count"] += 1
                self._counts[member_id, place, key, "sum"] += amount_minor


def _period(period: str, day: date) -> str:
    """The key of a period of the calendar: `ever`, `2026`, `2026-03`, `2026-03-02`."""
    return period if period == "ever" else day.isoformat()[: {"year": 4, "month": 7, "day": 10}[period]]
