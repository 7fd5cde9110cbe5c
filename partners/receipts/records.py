"""PURE: a receipt on its way into the database, and as it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from msgspec import Struct

PURCHASE, REDEMPTION, RETURN, CANCELLATION = 1, 2, 3, 4  # kinds of a receipt
DISCOUNT, COUPON, BENEFIT = 1, 2, 3  # kinds of what one party owes another because of a decision


class Row(Struct, frozen=True):
    """A receipt's columns as they go into the database; total in minor units, awarded and redeemed in points. decision
    is plain JSON, as `StoredReceipt` gives it back. reward_id is the reward of the catalogue that a redemption is for,
    to be taken from its stock in the same call."""

    holder_id: int
    claim: UUID
    idem_key: UUID
    fingerprint: UUID
    partner_id: int
    outlet_id: int
    terminal_id: int | None
    client_id: int
    card_id: int | None
    terms_id: int
    reference: str
    business_date: date
    occurred_at: datetime
    currency: str
    total: int
    awarded: int
    detail: str | None
    decision: dict[str, Any]
    reward_id: int | None = None

    @property
    def decision_json(self) -> str:
        """The decision as the database takes it."""
        return orjson.dumps(self.decision).decode()


class StoredReceipt(Struct, frozen=True):
    """A receipt as it is recorded. kind: 1 purchase, 2 redemption, 3 return, 4 cancellation."""

    holder_id: int
    unit: int
    seq: int
    kind: int
    partner_id: int
    outlet_id: int
    terminal_id: int | None
    reference: str
    business_date: date
    occurred_at: datetime
    at: datetime
    currency: str
    total_minor: int
    awarded_points: int
    redeemed_points: int
    redemption_seq: int | None
    original_seq: int | None
    terms_id: int
    card_id: int | None
    detail: dict[str, Any]
    decision: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProofUse:
    """The proof that a spending uses up: the card and step of a rotating code, or the number of an approval, or neither
    where a PIN was right."""

    code_card: int | None = None
    code_step: int | None = None
    approval_no: int | None = None


class BudgetCharge(Struct, frozen=True):
    """What a decision uses of a budget in a scope and a period: points, times, or minor units."""

    budget_id: int
    code: str
    scope_key: str
    period_key: str
    amount: int


@dataclass(frozen=True, slots=True)
class OwedRow:
    """What one party owes another because of a decision, in minor units; kind is DISCOUNT, COUPON or BENEFIT."""

    kind: int
    payer_id: int
    payee_id: int
    terms_id: int
    rule: str
    currency: str
    amount_minor: int


class Promoted(Struct, frozen=True):
    """What a decision by rules writes beside the receipt. if_seq is the account's number when its counters were read,
    None where none was; given is what partners.record_given takes of the item, None where it gives and uses nothing."""

    charges: tuple[BudgetCharge, ...] = ()
    owed: tuple[OwedRow, ...] = ()
    if_seq: int | None = None
    given: Mapping[str, Any] | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to write, and nothing that may have changed meanwhile."""
        return not (self.charges or self.owed or self.given) and self.if_seq is None


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold's columns as they go into the database, in points."""

    holder_id: int
    claim: UUID
    idem_key: UUID
    fingerprint: UUID
    partner_id: int
    outlet_id: int
    terminal_id: int | None
    client_id: int
    card_id: int | None
    terms_id: int
    reference: str
    points: int
    lapses_at: datetime
