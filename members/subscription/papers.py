"""Invoices and credit notes on paper: everything that stands on one, gathered. The PDF is drawn by `kit.reports`."""

from __future__ import annotations

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.reports.tables import Report
from members.subscription import invoice_store, invoices, paper_words, plan_store, plans, sellers, store
from members.subscription.invoices import Invoice, InvoiceUnknown
from members.subscription.paper_words import InvoicePaper, Money, NotePaper, Parties
from members.subscription.periods import Period
from members.subscription.providers import MANUAL
from members.subscription.sellers import Seller


async def invoice(connection: AsyncConnection, invoice_no: int, *, buyer: str) -> Report:
    """An invoice as it is printed; buyer is how the member is named on it. Rejects INVOICE_UNKNOWN, SELLER_UNKNOWN."""
    its = await invoices.numbered(connection, invoice_no)
    seller = await sellers.at_issue(connection, its.issued_at)
    price = await plans.price(connection, its.price_no)
    plan = await plans.plan(connection, price.plan_id)
    zone = await _zone(connection, its)
    paid = await invoice_store.payment(connection, invoice_no)  # a first period begins when it is paid
    from_day, until_day = (
        invoices.days_of(Period(0, its.period_from, its.period_until), zone)
        if paid is None
        else (paid.service_from, paid.service_until)
    )
    note = await invoice_store.note_of(connection, invoice_no)
    lines = [(one.kind, one.amount_minor) for one in await invoices.lines(connection, its)]
    paper = InvoicePaper(
        invoice_no, its.reference, its.state, plan.code, plan.names, plan.seats, price.amount_minor, price.interval,
        from_day, until_day, lines, await _money(connection, its, its.net_minor, its.tax_minor), its.is_test,
        its.provider != MANUAL.name, its.issued_at, its.due_at, its.paid_at,
        None if note is None else await _note(connection, its, note),
    )  # fmt: skip
    return paper_words.invoice(paper, _parties(seller, buyer), zone=zone)


async def credit_note(connection: AsyncConnection, note_no: int, *, buyer: str) -> Report:
    """A credit note as it is printed. Rejects INVOICE_UNKNOWN, SELLER_UNKNOWN."""
    its, row = await of_note(connection, note_no)
    seller = await sellers.at_issue(connection, row.at)
    paper = await _note(connection, its, row)
    return paper_words.credit_note(
        paper, _parties(seller, buyer), zone=await _zone(connection, its), is_test=its.is_test
    )


async def of_note(connection: AsyncConnection, note_no: int) -> tuple[Invoice, Row[tuple[object, ...]]]:
    """The invoice that a credit note is of, and the note. Rejects INVOICE_UNKNOWN."""
    row = await invoice_store.note(connection, note_no)
    if row is None:
        raise InvoiceUnknown(f"there is no credit note {note_no}")
    return await invoices.numbered(connection, row.invoice_no), row


async def _note(connection: AsyncConnection, its: Invoice, row: Row[tuple[object, ...]]) -> NotePaper:
    net, tax = (its.net_minor, its.tax_minor) if row.lost_minor else (row.net_minor, row.tax_minor)
    money = await _money(connection, its, net, tax)
    return NotePaper(row.note_no, its.invoice_no, row.reason, row.from_day, money, row.at)


async def _money(connection: AsyncConnection, its: Invoice, net_minor: int, tax_minor: int) -> Money:
    rate_bp = await plan_store.tax_version(connection, its.tax_code, its.tax_version)
    return Money(its.currency, net_minor, tax_minor, its.tax_code, its.tax_version, rate_bp)


async def _zone(connection: AsyncConnection, its: Invoice) -> str:
    row = await store.subscription(connection, its.holder_id, its.subscription_no)
    assert row is not None, "an invoice is of a subscription"
    zone: str = row.zone
    return zone


def _parties(seller: Seller, buyer: str) -> Parties:
    return Parties(seller.name, seller.address, seller.registration, seller.tax_id, seller.bank, seller.account, buyer)
