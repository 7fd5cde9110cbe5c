"""What a recording call answers: the status of an item as an outcome or as the Rejection it stands for."""

from __future__ import annotations

from msgspec import Struct

from kit.errors import Rejection
from partners.receipts.records import StoredReceipt


class IdempotencyKeyReused(Rejection):
    """The key was used before with another input."""

    code = "IDEMPOTENCY_KEY_REUSED"
    retryable = False


class InsufficientPoints(Rejection):
    """Fewer points are available than were to be spent. Final: the same key gets this answer for ever."""

    code = "INSUFFICIENT_POINTS"
    retryable = False


class AccountUnknown(Rejection):
    """The member has no account in this unit."""

    code = "ACCOUNT_UNKNOWN"
    retryable = False


class ReceiptAlreadyRecorded(Rejection):
    """The receipt is recorded already, with another content or another card."""

    code = "RECEIPT_ALREADY_RECORDED"
    retryable = False


class ReceiptCancelled(Rejection):
    """The receipt was cancelled before it arrived."""

    code = "RECEIPT_CANCELLED"
    retryable = False


class Stale(Rejection):
    """The account moved again and again while the return was decided."""

    code = "STALE"
    retryable = True


class SpendingLocked(Rejection):
    """The member has locked spending."""

    code = "SPENDING_LOCKED"
    retryable = True


class DailyCapReached(Rejection):
    """The member's limit for one day would be exceeded."""

    code = "DAILY_CAP_REACHED"
    retryable = True


class HoldUnknown(Rejection):
    """The partner has no such hold."""

    code = "HOLD_UNKNOWN"
    retryable = False


class HoldResolved(Rejection):
    """The hold was captured or released before."""

    code = "HOLD_RESOLVED"
    retryable = False


class HoldLapsed(Rejection):
    """The hold's time ran out and its points went back to the member."""

    code = "HOLD_LAPSED"
    retryable = False


class CaptureExceedsHold(Rejection):
    """More is captured than was set aside; `maximum_points` tells how much was."""

    code = "CAPTURE_EXCEEDS_HOLD"
    retryable = False


RECORDED = 0
REPLAYED = 1
KEY_REUSED = 2
INSUFFICIENT = 3
RECORDED_ALREADY = 5
STALE = 7
CODE_USED = 8
AGAIN = 9
APPROVAL_USED = 10
HOLD_UNKNOWN = 15
_REJECTIONS: dict[int, tuple[type[Rejection], str]] = {
    2: (IdempotencyKeyReused, "the idempotency key was used before with another input"),
    3: (InsufficientPoints, "fewer points are available than were to be spent"),
    4: (AccountUnknown, "the member has no account for points"),
    5: (ReceiptAlreadyRecorded, "the receipt is recorded already, with another content or another card"),
    6: (ReceiptCancelled, "the receipt was cancelled before it arrived"),
    7: (Stale, "the account moved while this was decided"),
    9: (Stale, "the receipt is being recorded by another call"),
    15: (HoldUnknown, "there is no such hold"),
    16: (SpendingLocked, "the member has locked spending"),
    17: (DailyCapReached, "the member's limit for one day would be exceeded"),
    18: (HoldResolved, "the hold was captured or released before"),
    19: (HoldLapsed, "the hold's time ran out"),
    20: (CaptureExceedsHold, "more is captured than was set aside"),
}


class Recorded(Struct, frozen=True):
    """A receipt that is on record, and the balances after it where the call told them (points); debt is owed."""

    receipt: StoredReceipt
    replayed: bool
    available: int | None = None
    pending: int | None = None
    debt: int = 0
    held: int | None = None


def rejection(status: int, *, available: int | None = None) -> Rejection:
    """The Rejection that a status other than recorded and replayed stands for."""
    kind, message = _REJECTIONS[status]
    return kind(message, available_points=available if status == INSUFFICIENT else None)
