"""PURE: the states of a claim to missing points, the reasons that are given, when one may come, what silence means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

from kit.errors import Rejection

FILED, ACCEPTED, REFUSED, CONTESTED = "FILED", "ACCEPTED", "REFUSED", "CONTESTED"
UPHELD, DISMISSED = "UPHELD", "DISMISSED"
CREDITED, FOUND, REPLACED, CLOSED = "CREDITED", "FOUND", "REPLACED", "CLOSED"
WAITING = (FILED, REFUSED, CONTESTED)
"""States in which somebody is waited for, until a deadline."""
TO_CREDIT = (ACCEPTED, UPHELD)
"""States whose points are to be given."""

MEMBER, PARTNER, OPERATOR, SILENCE, SYSTEM = "MEMBER", "PARTNER", "OPERATOR", "SILENCE", "SYSTEM"

REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "P01": "no such purchase",
        "P02": "another day, place or total",
        "P03": "the points went to another card",
        "P04": "the purchase was taken back or cancelled",
        "P05": "nothing of it earns points",
        "P06": "suspected misuse",
    }
)
CONTESTS: Mapping[str, str] = MappingProxyType(
    {
        "C01": "the member has the receipt",
        "C02": "the member's particulars are right",
        "C03": "the card was shown",
        "C09": "too much for silence to decide",
    }
)
TOO_MUCH_FOR_SILENCE = "C09"
MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp", "application/pdf")
LARGEST_EVIDENCE_BYTES = 10 * 1024 * 1024
MOST_EVIDENCE = 5
"""Pieces of evidence that one side shows with one thing that it says."""


class ClaimTooEarly(Rejection):
    """A till may still send the receipt; the message tells from which day on it can be claimed."""

    code = "CLAIM_TOO_EARLY"
    retryable = True


class ClaimTooLate(Rejection):
    """The purchase is older than what can be claimed."""

    code = "CLAIM_TOO_LATE"
    retryable = False


class ClaimBeforeEnrolment(Rejection):
    """The purchase happened before the member took part."""

    code = "CLAIM_BEFORE_ENROLMENT"
    retryable = False


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """How claims to points at a partner are taken.

    From earliest_days to latest_days after the purchase; the partner answers within answer_days of business, a refusal
    is contested within contest_days of the calendar, the operator decides within decision_days of business. One member
    makes most_per_month claims in thirty days. Above silence_most_minor (minor units of the partner's currency) silence
    gives nothing.
    """

    earliest_days: int = 2
    latest_days: int = 120
    answer_days: int = 10
    contest_days: int = 14
    decision_days: int = 10
    most_per_month: int = 10
    silence_most_minor: int = 100_000

    @property
    def is_possible(self) -> bool:
        """Whether its numbers make sense together."""
        days = (self.answer_days, self.contest_days, self.decision_days, self.most_per_month)
        is_ordered = 0 <= self.earliest_days <= self.latest_days <= 1_000
        return is_ordered and all(1 <= one <= 366 for one in days) and 0 <= self.silence_most_minor <= 10**12


def check_day(bought_on: date, *, today: date, enrolled_on: date, rule: ClaimRule) -> None:
    """Nothing where a purchase of a day may be claimed today, days being those of the programme's zone.

    Raises ClaimBeforeEnrolment, ClaimTooEarly, ClaimTooLate.
    """
    if bought_on < enrolled_on:
        raise ClaimBeforeEnrolment(f"the member takes part since {enrolled_on.isoformat()}")
    if today < (first := bought_on + timedelta(days=rule.earliest_days)):
        raise ClaimTooEarly(f"it can be claimed from {first.isoformat()} on: the till may still send the receipt")
    if today > bought_on + timedelta(days=rule.latest_days):
        raise ClaimTooLate(f"purchases can be claimed for {rule.latest_days} days")


def on_silence(state: str, *, total_minor: int, silence_most_minor: int) -> str | None:
    """What a state becomes when its deadline is over: the partner's silence accepts, or leaves to the operator what is
    too much; the member's silence ends it. None: the operator is waited for, however late."""
    if state == FILED:
        return ACCEPTED if total_minor <= silence_most_minor else CONTESTED
    return CLOSED if state == REFUSED else None
