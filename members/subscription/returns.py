"""What came for invoices and what goes back of it, as finance reads it: payments with their evidence, credit notes,
money that has to go back and that went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription import return_store


@dataclass(frozen=True, slots=True)
class Came:
    """Money that came for an invoice, minor units: its reference, who says so by which evidence, and the proposal that
    a second person approved (None: it took one)."""

    invoice_no: int
    reference: str
    amount_minor: int
    charging_minor: int
    is_surplus: bool
    evidence: str
    actor: str
    approval_id: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note, minor units: UNSERVED days that are given back, or a CHARGEBACK, whose served days are lost."""

    note_no: int
    invoice_no: int
    holder_id: int
    kind: str
    currency: str
    from_day: date
    net_minor: int
    tax_minor: int
    lost_minor: int
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that has to go back, minor units, of a payment; reference and done_at where it went."""

    refund_no: int
    invoice_no: int
    holder_id: int
    currency: str
    provider: str
    payment: str
    amount_minor: int
    reason: str
    at: datetime
    reference: str | None
    actor: str | None
    done_at: datetime | None


async def came(connection: AsyncConnection, invoice_nos: Sequence[int]) -> list[Came]:
    """What came for invoices, in the order in which it did."""
    return [Came(**row._mapping) for row in await return_store.came(connection, invoice_nos)]


async def notes(
    connection: AsyncConnection, *, kind: str | None, currency: str | None, before: int | None, limit: int
) -> list[CreditNote]:
    """Credit notes, the latest first, with numbers below one; of a kind and a currency where they are said."""
    asked = {"kind": kind, "currency": currency, "before": before, "limit": limit}
    return [CreditNote(**row._mapping) for row in await return_store.notes(connection, asked)]


async def refunds(
    connection: AsyncConnection, *, is_done: bool | None, currency: str | None, before: int | None, limit: int
) -> list[Refund]:
    """Money that has to go back or went, the latest first, with numbers below one; of a state and a currency where they
    are said."""
    asked = {"is_done": is_done, "currency": currency, "before": before, "limit": limit}
    return [Refund(**row._mapping) for row in await return_store.refunds(connection, asked)]
