"""Giving back: days that were paid and not served are credited, and the money goes back the way it came.

A bank that takes a payment back takes all of it: the days that were served by then are lost, and the operator bears
them, unless a partner's agreement says that what it was allocated for them is corrected; see settlement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription import invoice_store, store
from members.subscription.invoices import CHARGEBACK, UNSERVED, Invoice
from members.subscription.serving import Service


@dataclass(frozen=True, slots=True)
class Credit:
    """What of an invoice was not served from a day on, minor units: without tax, and the tax."""

    from_day: date
    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """What goes back to the member."""
        return self.net_minor + self.tax_minor


async def unserved(connection: AsyncConnection, its: Invoice, zone: str, *, at: datetime) -> Credit:
    """What of a paid invoice is not served when its subscription ends at an instant. The day of it is not served."""
    paid = await invoice_store.payment(connection, its.invoice_no)
    assert paid is not None, "a paid invoice has a payment"
    today = paid.service_from if paid.is_waiting else at.astimezone(ZoneInfo(zone)).date()
    day = min(max(today, paid.service_from), paid.service_until)
    net = Service(its.net_minor, paid.service_from, paid.service_until).unserved(day)
    gross = Service(its.gross_minor, paid.service_from, paid.service_until).unserved(day)
    return Credit(day, net, gross - net)


async def credit(connection: AsyncConnection, its: Invoice, zone: str, *, reason: str, at: datetime) -> Credit:
    """Credit what of a paid invoice is not served, and order the money back; nothing where all of it was served."""
    found = await unserved(connection, its, zone, at=at)
    if not found.gross_minor:
        return found
    await _note(connection, its, UNSERVED, found, lost_minor=0, reason=reason, at=at)
    paid = await invoice_store.payment(connection, its.invoice_no)
    assert paid is not None
    await give_back(connection, its, paid.reference, found.gross_minor, reason="CREDIT_NOTE", at=at)
    return found


async def charge_back(connection: AsyncConnection, its: Invoice, zone: str, *, at: datetime) -> None:
    """Note that a bank took the payment of an invoice back, all of it. The subscription's end is the caller's."""
    found = await unserved(connection, its, zone, at=at)
    lost = its.gross_minor - found.gross_minor
    await _note(connection, its, CHARGEBACK, found, lost_minor=lost, reason="CHARGEBACK", at=at)


async def give_back(
    connection: AsyncConnection, its: Invoice, payment: str, amount_minor: int, *, reason: str, at: datetime
) -> None:
    """Order money of a payment back, once; it goes when time makes it due."""
    refund_no = await invoice_store.insert_refund(
        connection,
        {"holder_id": its.holder_id, "invoice_no": its.invoice_no, "payment": payment, "amount_minor": amount_minor,
         "reason": reason, "at": at},
    )  # fmt: skip
    if refund_no is not None:
        await store.put_due(connection, its.holder_id, its.subscription_no, "REFUND", refund_no, at)


async def _note(
    connection: AsyncConnection, its: Invoice, kind: str, found: Credit, *, lost_minor: int, reason: str, at: datetime
) -> None:
    note_no = await invoice_store.next_number(connection, "CREDIT_NOTE")
    await invoice_store.insert_note(
        connection,
        {"holder_id": its.holder_id, "note_no": note_no, "invoice_no": its.invoice_no, "kind": kind,
         "from_day": found.from_day, "net_minor": found.net_minor, "tax_minor": found.tax_minor,
         "lost_minor": lost_minor, "reason": reason, "at": at},
    )  # fmt: skip
