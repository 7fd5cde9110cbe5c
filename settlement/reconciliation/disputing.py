"""PURE: the reasons of disputes, how long each side has to say something, and what its silence means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

OPENED, ACKNOWLEDGED, INFO_REQUESTED = "OPENED", "ACKNOWLEDGED", "INFO_REQUESTED"
PROPOSED, REJECTED, ESCALATED = "PROPOSED", "REJECTED", "ESCALATED"
ACCEPTED, ARBITRATED, CLOSED = "ACCEPTED", "ARBITRATED", "CLOSED"
ENDS = (ACCEPTED, ARBITRATED, CLOSED)
WITHHELD, PAY_FIRST = "WITHHELD", "PAY_FIRST"

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "D01": "not our member or sale",
        "D02": "duplicate",
        "D03": "amount or quantity",
        "D04": "wrong price or version of the agreement",
        "D05": "missing item",
        "D06": "return not credited",
        "D07": "campaign not agreed, or beyond its cap",
        "D08": "wrong window, or late",
        "D09": "tax",
        "D10": "fraud",
        "D11": "exchange rate",
    }
)

MEDIA_TYPES = (
    "image/jpeg", "image/png", "image/webp", "application/pdf", "text/plain", "text/csv", "application/json",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)  # fmt: skip
LARGEST_EVIDENCE_BYTES = 10 * 1024 * 1024
MOST_EVIDENCE, MOST_NOTES = 40, 100
LONGEST_NAME, LONGEST_NOTE = 200, 2_000
PARTNER, OPERATOR = "PARTNER", "OPERATOR"

DAYS: Mapping[str, int] = MappingProxyType(
    {OPENED: 10, ACKNOWLEDGED: 10, INFO_REQUESTED: 10, PROPOSED: 10, REJECTED: 10, ESCALATED: 20}
)
"""Business days in each state until silence decides."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where silence brings a dispute, what it gives the partner (minor units), and who was silent."""

    state: str
    awarded_minor: int
    silent: str


def waits_for(state: str) -> str | None:
    """Which side has to say something in a state; None where it is over."""
    if state in ENDS:
        return None
    return PARTNER if state in (INFO_REQUESTED, PROPOSED, REJECTED) else OPERATOR


def side_of(from_state: str | None, to_state: str) -> str:
    """Which side takes a step where it is not silence that does: the partner opens, tells, agrees, escalates and
    withdraws, all else is the operator's."""
    edge = (from_state, to_state)
    is_theirs = from_state is None or to_state in (ESCALATED, CLOSED)
    return PARTNER if is_theirs or edge in ((INFO_REQUESTED, ACKNOWLEDGED), (PROPOSED, ACCEPTED)) else OPERATOR


def on_silence(state: str, *, amount_minor: int, offered_minor: int | None) -> Outcome:
    """What a state becomes when its time is over: the operator's silence gives all, the partner's leaves what is said
    last. ValueError for a state in which nobody is waited for."""
    if state in (OPENED, ACKNOWLEDGED):
        return Outcome(ACCEPTED, amount_minor, "OPERATOR")
    if state == ESCALATED:
        return Outcome(ARBITRATED, amount_minor, "OPERATOR")
    if state == PROPOSED and offered_minor is not None:
        return Outcome(ACCEPTED, offered_minor, "PARTNER")
    if state in (INFO_REQUESTED, REJECTED):
        return Outcome(CLOSED, 0, "PARTNER")
    raise ValueError(f"nobody is waited for in {state}")
