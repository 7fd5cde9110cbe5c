"""PURE: what becomes of an invoice that was not paid: when it is tried again, what stays, and when it is over.

Attempts fail softly (no money, try later), hard (this card never again: ask for another one) or with an unknown
outcome, which is only ever asked about and never tried anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from members.subscription.contract import Phase

Outcome = Literal["PAID", "SOFT", "HARD", "UNKNOWN"]


@dataclass(frozen=True, slots=True)
class ArrearsPolicy:
    """Days after the due date: on which a soft failure is tried again; until when benefits stay; when it is over; when
    whoever pays by themselves is reminded."""

    retry_days: tuple[int, ...] = (1, 3, 5, 7)
    grace_days: int = 7
    end_days: int = 21
    remind_days: int = 3


@dataclass(frozen=True, slots=True)
class Attempt:
    """A charge that was tried, and whether the member has given another means of payment since."""

    at: datetime
    outcome: Outcome
    has_new_means_since: bool = False


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do about an open invoice, and when: CHARGE, ASK (the provider, about an unknown outcome), ASK_MEMBER
    (for another means of payment), or END."""

    kind: Literal["CHARGE", "ASK", "ASK_MEMBER", "END", "NOTHING"]
    at: datetime


def next_step(due_at: datetime, attempts: Sequence[Attempt], policy: ArrearsPolicy) -> NextStep:
    """The next step for an invoice due at an instant (UTC), after these attempts in order."""
    over_at = due_at + timedelta(days=policy.end_days)
    if not attempts:
        return NextStep("CHARGE", due_at)
    last = attempts[-1]
    if last.outcome == "PAID":
        return NextStep("NOTHING", last.at)
    if last.outcome == "UNKNOWN":
        return NextStep("ASK", last.at)
    if last.outcome == "HARD":
        return NextStep("CHARGE", last.at) if last.has_new_means_since else NextStep("ASK_MEMBER", over_at)
    ahead = [due_at + timedelta(days=day) for day in policy.retry_days if due_at + timedelta(days=day) > last.at]
    return NextStep("CHARGE", ahead[0]) if ahead else NextStep("END", over_at)


LetterStep = Literal["UNPAID", "ON_HOLD", "ENDED"]


def letter_step(due_at: datetime, at: datetime, policy: ArrearsPolicy) -> LetterStep:
    """Which letter whoever owes for a period is to have had at an instant; ENDED is written when it ends."""
    return "ON_HOLD" if at >= due_at + timedelta(days=policy.grace_days) else "UNPAID"


def phase(due_at: datetime | None, at: datetime, policy: ArrearsPolicy) -> Phase:
    """Where arrears stand at an instant: due_at is that of the oldest unpaid invoice, None where nothing is owed."""
    if due_at is None or at < due_at:
        return "NONE"
    return "GRACE" if at < due_at + timedelta(days=policy.grace_days) else "ON_HOLD"
