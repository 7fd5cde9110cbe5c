"""PURE: what windows are called: `NET.EUR.2026.03.01.09.00.1`, from the model, the currency and the time it is for.

The instant is when the cut-off opened in whose time the postings took effect. The first window of a name has the number
1; what comes late for it, in a later cut-off, has the next, and so has another cut-off that opened in the same minute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

NET = "NET"
BEGINNING = datetime.min.replace(tzinfo=UTC)
_NAME = re.compile(r"([A-Z]+)\.([A-Z]{3})\.(\d{4})\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)\.([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class WindowName:
    """The parts of a name. since is to the minute, UTC; BEGINNING for the very first cut-off."""

    model: str
    currency: str
    since: datetime
    seq: int

    def __str__(self) -> str:
        s = self.since.astimezone(UTC) if self.since != BEGINNING else self.since
        return f"{self.model}.{self.currency}.{s.year:04}.{s.month:02}.{s.day:02}.{s.hour:02}.{s.minute:02}.{self.seq}"


def minute_of(opened_at: datetime | None) -> datetime:
    """The minute that a cut-off opened at some instant is named for; None is the very first cut-off."""
    return BEGINNING if opened_at is None else opened_at.astimezone(UTC).replace(second=0, microsecond=0)


def parse(name: str) -> WindowName:
    """The parts of a window's name. Raises ValueError for what is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is not the name of a window")
    model, currency, *numbers, seq = match.groups()
    year, month, day, hour, minute = map(int, numbers)
    return WindowName(model, currency, datetime(year, month, day, hour, minute, tzinfo=UTC), int(seq))
