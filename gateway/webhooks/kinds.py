"""PURE: the events that a partner can be told of, and the document that tells them.

A document is thin: ids in the partner's own encryption, points as strings, instants of the business clock. Whoever
wants more asks for it by the id. A field is never taken out of a version and never changes its meaning; one may be
added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import orjson

PURCHASE_RECORDED: Final = "purchase.recorded"
PURCHASE_RETURNED: Final = "purchase.returned"
PURCHASE_CANCELLED: Final = "purchase.cancelled"
REDEMPTION_RECORDED: Final = "redemption.recorded"
HOLD_LAPSED: Final = "hold.lapsed"
POINTS_ADJUSTED: Final = "points.adjusted"
STATEMENT_PUBLISHED: Final = "statement.published"
DISPUTE_ANSWERED: Final = "dispute.answered"
BUDGET_NEAR_ITS_END: Final = "budget.near_its_end"

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of events: what it tells, and `data` as a sample of it has it."""

    what: str
    sample: Mapping[str, Any]


_RECEIPT = {
    "outlet": "1", "terminal": "1", "reference": "R-1", "businessDate": "2026-03-02", "currencyCode": "EUR",
    "total": "42.00",
}  # fmt: skip
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        PURCHASE_RECORDED: Kind(
            "a purchase was recorded, and points accrued or spent",
            {"transactionId": "txn", "memberId": "mbr", **_RECEIPT, "points": "42", "awarded": "42", "redeemed": "0"},
        ),
        REDEMPTION_RECORDED: Kind(
            "points were spent without a purchase that earns",
            {"transactionId": "txn", "memberId": "mbr", **_RECEIPT, "points": "-100", "awarded": "0",
             "redeemed": "100"},
        ),
        PURCHASE_RETURNED: Kind(
            "a purchase came back, whole or in part",
            {"transactionId": "txn", "memberId": "mbr", "originalTransactionId": "txn", **_RECEIPT, "points": "-42",
             "awarded": "42", "redeemed": "0"},
        ),
        PURCHASE_CANCELLED: Kind(
            "a purchase was cancelled",
            {"transactionId": "txn", "memberId": "mbr", "originalTransactionId": "txn", **_RECEIPT, "points": "-42",
             "awarded": "42", "redeemed": "0"},
        ),
        HOLD_LAPSED: Kind(
            "points that were set aside went back to the member, because the time for the sale was over",
            {"holdId": "hld", "memberId": "mbr", "points": "100"},
        ),
        POINTS_ADJUSTED: Kind(
            "points that the partner issued were given or taken by the operator's people",
            {"memberId": "mbr", "points": "-50"},
        ),
        STATEMENT_PUBLISHED: Kind(
            "a settlement statement was issued",
            {"statementId": "stm", "run": 7, "net": "-120.50", "currencyCode": "EUR",
             "reviewEndsAt": "2026-03-12T00:00:00Z"},
        ),
        DISPUTE_ANSWERED: Kind(
            "a dispute was answered, or silence decided it",
            {"disputeId": "dsp", "statementId": "stm", "line": 1, "state": "PROPOSED", "side": "OPERATOR",
             "awarded": "10.00", "currencyCode": "EUR", "deadline": "2026-03-12T00:00:00Z"},
        ),
        BUDGET_NEAR_ITS_END: Kind(
            "four fifths of a budget that the partner pays for are used, or all of it",
            {"budget": "spring", "unit": "points", "currencyCode": None, "period": "2026-03", "used": "8000",
             "ceiling": "10000", "thresholdBasisPoints": 8000},
        ),
    }
)  # fmt: skip
"""Every type. New ones may appear: an endpoint is told of those that it named."""

LASTING: Final = (BUDGET_NEAR_ITS_END,)
"""What stays true for months, and is told once."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a partner can be told. source says what it is of; at is the business instant of what happened."""

    partner_id: int
    type: str
    source: str
    at: datetime
    data: Mapping[str, Any]
    is_sample: bool = False
    version: int = VERSION


def document(event: Event, *, event_id: str, sequence: int) -> bytes:
    """The document that tells an event to an endpoint: the same bytes however often it is sent."""
    told = {
        "id": event_id,
        "type": event.type,
        "version": str(event.version),
        "timestamp": instant(event.at),
        "sequence": sequence,
        "data": dict(sorted(event.data.items())),
    }
    return orjson.dumps({**told, "sample": True} if event.is_sample else told)


def instant(at: datetime) -> str:
    """An instant as documents have it: UTC, to the microsecond where that is known."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
