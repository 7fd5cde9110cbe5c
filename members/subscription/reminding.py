"""PURE: whoever owes for a period is written to, once for each step. Who writes is above."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from members.subscription.arrears import LetterStep


@dataclass(frozen=True, slots=True)
class Reminder:
    """What somebody owes, minor units, for which plan (its names by language) by which invoice; the step that it has
    come to, and when it is over."""

    holder_id: int
    subscription_no: int
    invoice_no: int
    reference: str
    step: LetterStep
    plan: Mapping[str, str]
    amount_minor: int
    currency: str
    over_at: datetime


Remind = Callable[[Any, Reminder, datetime], Awaitable[UUID | None]]
"""Writes to a member in the caller's transaction (its connection first); the message's id, None where there is nobody
to write to."""


async def nobody_reminds(connection: Any, its: Reminder, at: datetime) -> UUID | None:
    """Stands where nobody writes letters: that there was none is kept."""
    return None
