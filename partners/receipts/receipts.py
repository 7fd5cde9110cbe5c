"""PURE: a receipt as a partner reports it, its lines, and what is wrong with it.

Amounts are integers in minor units of the receipt's one currency. A receipt without lines is one nameless line of
goods over its total.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from kit.errors import FieldProblem, Rejection
from kit.secrets import fingerprint

LARGEST_AMOUNT_MINOR = 10**12
MOST_LINES = 500
MOST_DETAIL_BYTES = 256 * 1024
LONGEST_REFERENCE = 64
LONGEST_REASON = 500
CLOCK_TOLERANCE = timedelta(minutes=10)
LINE_KINDS = frozenset({"GOODS", "SERVICE", "DELIVERY", "TIP", "DEPOSIT", "GIFT_CARD", "FEE"})
WHOLE_RECEIPT = ""  # the line id of a receipt that has no lines


class ReceiptInvalid(Rejection):
    """The receipt contradicts itself; `problems` names every part."""

    code = "RECEIPT_INVALID"
    retryable = False


class AmountNegative(Rejection):
    """A total, line or payment is below zero; returns have an operation of their own."""

    code = "AMOUNT_NEGATIVE"
    retryable = False


class LinesDoNotSum(Rejection):
    """The lines do not sum to the total."""

    code = "LINES_DO_NOT_SUM"
    retryable = False


class PaymentsDoNotSum(Rejection):
    """Payments and points do not sum to the total."""

    code = "PAYMENTS_DO_NOT_SUM"
    retryable = False


class CurrencyMismatch(Rejection):
    """The agreement is in another currency."""

    code = "CURRENCY_MISMATCH"
    retryable = False


class ReceiptInFuture(Rejection):
    """The receipt says it happened later than now; the till's clock is wrong."""

    code = "RECEIPT_IN_FUTURE"
    retryable = True


class Line(Struct, frozen=True):
    """One line: its amount is after discounts and before points, in minor units."""

    line_id: str
    kind: str
    amount_minor: int
    facts: Mapping[str, Any] = field(default_factory=dict)  # sku, category, quantity, discounts, tax: kept as sent


@dataclasses.dataclass(frozen=True, slots=True)
class Payment:
    """How a part of the total was paid with money, in minor units; instrument is the partner's token of a bank card, if
    it told one. It is never stored."""

    kind: str
    amount_minor: int
    instrument: str = dataclasses.field(default="", repr=False)


class Receipt(Struct, frozen=True):
    """A purchase as a partner reports it. outlet and terminal are the partner's own codes."""

    reference: str
    outlet: str
    terminal: str | None
    business_date: date
    occurred_at: datetime
    currency: str
    total_minor: int
    lines: tuple[Line, ...] = ()
    payments: tuple[Payment, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def effective_lines(self) -> tuple[Line, ...]:
        """The lines, or one of goods over the total where none were sent."""
        return self.lines or (Line(WHOLE_RECEIPT, "GOODS", self.total_minor),)

    @property
    def detail(self) -> dict[str, Any] | None:
        """What the receipt says beyond its head, as it is stored; None when there is nothing."""
        found: dict[str, Any] = dict(self.facts)
        if self.lines:
            found["lines"] = [
                {"id": line.line_id, "kind": line.kind, "amount": line.amount_minor, **line.facts}
                for line in self.lines
            ]
        if self.payments:
            found["payments"] = [{"kind": paid.kind, "amount": paid.amount_minor} for paid in self.payments]
        return found or None


@dataclasses.dataclass(frozen=True, slots=True)
class ReceiptRef:
    """How a partner names one of its own receipts."""

    outlet: str
    terminal: str | None
    business_date: date
    reference: str


def with_fact(receipt: Receipt, name: str, value: Any) -> Receipt:
    """The receipt with one more thing that came with it, to be stored."""
    return replace(receipt, facts={**receipt.facts, name: value})


def claim_of(partner_id: int, outlet_id: int, terminal_id: int | None, ref: Receipt | ReceiptRef, kind: str) -> UUID:
    """The identity under which a receipt is recorded once (decision 8). kind is SALE, RETURN or CANCELLATION."""
    place = f"{partner_id}:{outlet_id}:{terminal_id or ''}:{ref.business_date.isoformat()}"
    return fingerprint(kind, place, ref.reference)


def check(receipt: Receipt, *, currency: str, at: datetime, points_value_minor: int = 0) -> None:
    """Raise the first Rejection a receipt deserves: negative, contradictory, foreign or from the future.

    currency is the agreement's; points_value_minor is what points pay, and counts as a payment where payments are
    given.
    """
    if min(_amounts(receipt), default=0) < 0:
        raise AmountNegative("an amount is negative; report a return with returnPurchase")
    if problems := list(_problems(receipt)):
        raise ReceiptInvalid("the receipt contradicts itself", problems=problems)
    if receipt.currency != currency:
        raise CurrencyMismatch(f"the agreement is in {currency}, the receipt in {receipt.currency}")
    if receipt.lines and sum(line.amount_minor for line in receipt.lines) != receipt.total_minor:
        raise LinesDoNotSum("the lines' amounts do not sum to the total")
    if receipt.payments and points_value_minor + sum(p.amount_minor for p in receipt.payments) != receipt.total_minor:
        raise PaymentsDoNotSum("payments and points do not sum to the total")
    if receipt.occurred_at > at + CLOCK_TOLERANCE:
        raise ReceiptInFuture("the receipt lies in the future; check the till's clock")


def check_slip(ref: ReceiptRef, *, occurred_at: datetime, reason: str | None, at: datetime) -> None:
    """As `check`, of a return's own reference, time and reason. Raises ReceiptInvalid, ReceiptInFuture."""
    found = []
    if not 1 <= len(ref.reference) <= LONGEST_REFERENCE:
        found.append(FieldProblem(("reference",), "LENGTH", f"1 to {LONGEST_REFERENCE} characters"))
    if reason is not None and len(reason) > LONGEST_REASON:
        found.append(FieldProblem(("reason",), "LENGTH", f"at most {LONGEST_REASON} characters"))
    if found:
        raise ReceiptInvalid("the return contradicts itself", problems=found)
    if occurred_at > at + CLOCK_TOLERANCE:
        raise ReceiptInFuture("the return lies in the future; check the till's clock")


def check_detail(detail: str | None) -> None:
    """Raise ReceiptInvalid where what a receipt carries beyond its head, as JSON, is more than any needs."""
    if detail is not None and len(detail) > MOST_DETAIL_BYTES:
        problem = FieldProblem(
            ("receipt", "lines"), "TOO_LARGE", f"at most {MOST_DETAIL_BYTES} bytes with all its texts"
        )
        raise ReceiptInvalid("the receipt carries too much", problems=[problem])


def _amounts(receipt: Receipt) -> list[int]:
    return [
        receipt.total_minor,
        *[line.amount_minor for line in receipt.lines],
        *[paid.amount_minor for paid in receipt.payments],
    ]


def _problems(receipt: Receipt) -> list[FieldProblem]:
    found = []
    if receipt.total_minor > LARGEST_AMOUNT_MINOR:
        found.append(FieldProblem(("receipt", "total"), "TOO_LARGE", "larger than any receipt may be"))
    if not 1 <= len(receipt.reference) <= LONGEST_REFERENCE:
        found.append(FieldProblem(("receipt", "reference"), "LENGTH", f"1 to {LONGEST_REFERENCE} characters"))
    if len(receipt.lines) > MOST_LINES:
        found.append(FieldProblem(("receipt", "lines"), "TOO_MANY", f"at most {MOST_LINES} lines"))
    return found + _line_problems(receipt.lines) if receipt.lines else found


def _line_problems(lines: Sequence[Line]) -> list[FieldProblem]:
    repeated = {line_id for line_id, count in Counter(line.line_id for line in lines).items() if count > 1}
    found = []
    for index, line in enumerate(lines):
        path = ("receipt", "lines", str(index))
        if line.kind not in LINE_KINDS:
            found.append(FieldProblem((*path, "kind"), "UNKNOWN", f"one of {', '.join(sorted(LINE_KINDS))}"))
        if not 1 <= len(line.line_id) <= 64 or line.line_id in repeated:
            found.append(FieldProblem((*path, "lineId"), "NOT_UNIQUE", "1 to 64 characters, once in a receipt"))
    return found
