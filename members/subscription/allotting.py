"""PURE: points that a plan promises for every month that is paid. Who makes points of it is above."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Allotment:
    """Points for a month [starts_at, ends_at) of a subscription, issued under a partner's agreement. unserved: how much
    of the month (of how much) is not served, where points are to be taken back; None where they are to be given."""

    holder_id: int
    subscription_no: int
    points: int
    issuer_id: int
    starts_at: datetime
    ends_at: datetime
    unserved: tuple[int, int] | None = None


Allot = Callable[[Any, Allotment, datetime], Awaitable[bool]]
"""Gives or takes points in the caller's transaction (its connection first), once for a month; False: it has to wait."""


async def nobody_allots(connection: Any, its: Allotment, at: datetime) -> bool:
    """Stands where no plan promises points. Raises AssertionError for one that does."""
    raise AssertionError(f"subscription {its.subscription_no} is promised points, and nobody gives them")
