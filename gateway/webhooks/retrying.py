"""PURE: when a delivery that was not taken is sent again, and when an endpoint is left alone.

The waits are those that Standard Webhooks recommends: ten attempts over some three days.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

WAITS = (
    timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5),
    timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24),
)  # fmt: skip
MOST_TRIES = len(WAITS) + 1
JITTER_PERCENT = 20
LONGEST_ASKED_WAIT = timedelta(hours=24)
"""How long an endpoint may ask us to wait (Retry-After)."""

TRIPPED_AFTER = 5
"""After so many failures in a row an endpoint rests: then one delivery is tried, and the others wait for it."""
_FIRST_REST, _LONGEST_REST = timedelta(minutes=1), timedelta(hours=1)
PATIENCE = timedelta(days=5)
"""An endpoint that took nothing for so long is disabled."""


def next_at(delivery_no: int, tries: int, *, at: datetime, asked: timedelta | None = None) -> datetime | None:
    """When a delivery is sent again that was not taken `tries` times; None when it is given up.

    To a wait up to a fifth of it is added, by the delivery's number, so that what failed together does not come back
    together. asked is the wait that the endpoint asked for, where it did.
    """
    if tries >= MOST_TRIES:
        return None
    wait = WAITS[tries - 1]
    digest = hashlib.sha256(f"{delivery_no}/{tries}".encode()).digest()
    wait += wait * (int.from_bytes(digest[:4], "big") % (JITTER_PERCENT * 10 + 1)) // 1_000
    return at + max(wait, min(asked or timedelta(0), LONGEST_ASKED_WAIT))


def rests_until(failures: int, *, at: datetime) -> datetime | None:
    """Until when an endpoint rests after so many failures in a row; None while it need not."""
    if failures < TRIPPED_AFTER:
        return None
    doubled: int = 2 ** min(failures - TRIPPED_AFTER, 10)
    return at + min(_FIRST_REST * doubled, _LONGEST_REST)


def is_given_up(failing_since: datetime, *, at: datetime) -> bool:
    """Whether an endpoint that took nothing since an instant is to be disabled."""
    return at - failing_since >= PATIENCE
