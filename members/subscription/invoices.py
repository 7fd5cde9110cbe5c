"""Invoices of subscriptions, numbered without a gap; the money that comes for them and goes back. Nothing is edited: an
invoice that nobody pays is void, one that was paid is credited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from members.subscription import invoice_store, plans
from members.subscription.periods import Period
from members.subscription.plans import Price
from members.subscription.providers import Provider

PERIOD, CHANGE, GIFT = "PERIOD", "CHANGE", "GIFT"
UNSERVED, CHARGEBACK = "UNSERVED", "CHARGEBACK"
OPEN, PAID, VOID, CREDITED = "OPEN", "PAID", "VOID", "CREDITED"


class InvoiceUnknown(Rejection):
    """There is no such invoice."""

    code = "INVOICE_UNKNOWN"
    retryable = False


class InvoiceNotOpen(Rejection):
    """The invoice is paid, void or credited: nobody owes anything for it."""

    code = "INVOICE_NOT_OPEN"
    retryable = False


class PaymentMismatch(Rejection):
    """What came is not what the invoice says, or the payment is recorded for another one."""

    code = "PAYMENT_MISMATCH"
    retryable = False


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """A line: PERIOD, PRORATION_CREDIT, PRORATION_DEBIT, PROMO or GIFT, minor units with tax; credits and discounts are
    below zero."""

    kind: str
    price_no: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice of a subscription, minor units; reference is what a payment names. is_test: nobody pays anything;
    note_no is that of its credit note."""

    holder_id: int
    invoice_no: int
    subscription_no: int
    kind: str
    period_from: datetime
    period_until: datetime
    price_no: int
    currency: str
    net_minor: int
    tax_minor: int
    gross_minor: int
    tax_code: str
    tax_version: int
    provider: str
    reference: str
    is_test: bool
    issued_at: datetime
    due_at: datetime
    paid_at: datetime | None
    voided_at: datetime | None
    credited_at: datetime | None
    note_no: int | None = None

    @property
    def state(self) -> str:
        """OPEN, PAID, VOID or CREDITED."""
        if self.credited_at is not None:
            return CREDITED
        if self.voided_at is not None:
            return VOID
        return OPEN if self.paid_at is None else PAID


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came for an invoice: how much, which of it the provider keeps, its reference there, and who says so by
    which evidence."""

    amount_minor: int
    reference: str
    actor: str
    evidence: str = ""
    charging_minor: int = 0
    approval_id: int | None = None


def days_of(period: Period, zone: str) -> tuple[date, date]:
    """The first day of a period in a zone and the first behind it; a period within one day has that day."""
    first, last = (instant.astimezone(ZoneInfo(zone)).date() for instant in (period.start, period.end))
    return first, max(last, date.fromordinal(first.toordinal() + 1))


async def issue(
    connection: AsyncConnection,
    provider: Provider,
    *,
    holder_id: int,
    subscription_no: int,
    kind: str,
    period: Period,
    price: Price,
    lines: Sequence[InvoiceLine],
    at: datetime,
) -> Invoice:
    """Issue an invoice for a period, due at once, with the next number. Lines sum to above zero."""
    gross_minor = sum(line.amount_minor for line in lines)
    tax = await plans.tax(connection, price.tax_code, at=at)
    tax_minor = tax.within(gross_minor)
    invoice_no = await invoice_store.next_number(connection, "INVOICE")
    await invoice_store.insert_invoice(
        connection,
        {
            "holder_id": holder_id, "invoice_no": invoice_no, "subscription_no": subscription_no, "kind": kind,
            "period_from": period.start, "period_until": period.end, "price_no": price.price_no,
            "currency": price.currency, "net_minor": gross_minor - tax_minor, "tax_minor": tax_minor,
            "gross_minor": gross_minor, "tax_code": tax.code, "tax_version": tax.version, "provider": provider.name,
            "reference": reference_of(invoice_no), "is_test": provider.is_test, "issued_at": at, "due_at": at,
        },
    )  # fmt: skip
    rows = [(line.kind, line.price_no, line.amount_minor) for line in lines]
    await invoice_store.insert_lines(connection, holder_id, invoice_no, rows)
    return await read(connection, holder_id, invoice_no)


def reference_of(invoice_no: int) -> str:
    """What a payment of an invoice names: digits with a check digit (mod 97), so that a slip is noticed."""
    return f"{invoice_no:09d}-{98 - invoice_no * 100 % 97:02d}"


async def read(connection: AsyncConnection, holder_id: int, invoice_no: int) -> Invoice:
    """An invoice. Rejects INVOICE_UNKNOWN."""
    row = await invoice_store.invoice(connection, holder_id, invoice_no)
    if row is None:
        raise InvoiceUnknown(f"there is no invoice {invoice_no}")
    return _invoice(row)


async def numbered(connection: AsyncConnection, invoice_no: int) -> Invoice:
    """An invoice of whomever. Rejects INVOICE_UNKNOWN."""
    row = await invoice_store.invoice_by_number(connection, invoice_no)
    if row is None:
        raise InvoiceUnknown(f"there is no invoice {invoice_no}")
    return _invoice(row)


async def of_subscription(connection: AsyncConnection, holder_id: int, subscription_no: int) -> list[Invoice]:
    """The invoices of a subscription, in order of their numbers."""
    return [_invoice(row) for row in await invoice_store.of_subscription(connection, holder_id, subscription_no)]


async def page(
    connection: AsyncConnection, *, before: int | None, limit: int, state: str | None = None,
    currency: str | None = None, reference: str | None = None,
) -> list[Invoice]:  # fmt: skip
    """Everybody's invoices, the latest first, with numbers below one; of a state, a currency and what a payment names
    where they are said."""
    asked = {"before": before, "limit": limit, "state": state, "currency": currency, "reference": reference}
    return [_invoice(row) for row in await invoice_store.page(connection, asked)]


async def lines(connection: AsyncConnection, its: Invoice) -> list[InvoiceLine]:
    """An invoice's lines, in order."""
    rows = await invoice_store.lines(connection, its.holder_id, its.invoice_no)
    return [InvoiceLine(**row._mapping) for row in rows]


async def void(connection: AsyncConnection, its: Invoice, *, reason: str, at: datetime) -> None:
    """Nobody owes an open invoice any more. Rejects INVOICE_NOT_OPEN."""
    if its.state != OPEN:
        raise InvoiceNotOpen(f"invoice {its.invoice_no} is {its.state}")
    await invoice_store.insert_void(connection, its.holder_id, its.invoice_no, reason, at)


async def keep_payment(
    connection: AsyncConnection, its: Invoice, paid: Payment, *, days: tuple[date, date], is_surplus: bool, at: datetime
) -> bool:
    """Write money that came for an invoice; False where it was written before, by its reference.

    Rejects PAYMENT_MISMATCH where the reference is of another payment.
    """
    is_new = await invoice_store.insert_payment(
        connection,
        {
            "holder_id": its.holder_id, "invoice_no": its.invoice_no, "provider": its.provider,
            "reference": paid.reference, "amount_minor": paid.amount_minor, "charging_minor": paid.charging_minor,
            "is_surplus": is_surplus, "service_from": days[0], "service_until": days[1], "evidence": paid.evidence,
            "actor": paid.actor, "approval_id": paid.approval_id, "at": at,
        },
    )  # fmt: skip
    if not is_new:
        held = await invoice_store.payment_by_reference(connection, its.provider, paid.reference)
        if held is None or (held.invoice_no, held.amount_minor) != (its.invoice_no, paid.amount_minor):
            raise PaymentMismatch(f"payment {paid.reference} is recorded otherwise")
    return is_new


async def known_payment(connection: AsyncConnection, provider: str, reference: str) -> int | None:
    """The number of the invoice that a payment of this reference is recorded for."""
    row = await invoice_store.payment_by_reference(connection, provider, reference)
    return None if row is None else int(row.invoice_no)


def _invoice(row: Row[tuple[object, ...]]) -> Invoice:
    return Invoice(**row._mapping)
