"""What finance reads of fees over GraphQL: invoices, arrears, what came and goes back, recognition, closed months and
how they are shared. A partner reads what months gave it; the rest is for whoever of finance is signed in."""

from datetime import date, timedelta
from typing import cast

import strawberry
from strawberry import Info

from gateway import access, connections, masking, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance import fee_types
from gateway.finance.calls import DESK
from gateway.finance.fee_types import (
    ClosedFeeMonth,
    FeeRecognition,
    FeeRulesVersion,
    FeeShare,
    FeeStanding,
    SubscriptionArrears,
    SubscriptionArrearsTotal,
    SubscriptionCreditNote,
    SubscriptionInvoiceFile,
    SubscriptionRefund,
)
from gateway.scalars import CurrencyCode
from gateway.subscription import subscription_types
from gateway.subscription.subscription_types import SubscriptionInvoice
from gateway.types import money
from members.subscription import invoices, overdue, recognition, returns
from members.subscription.invoices import InvoiceUnknown
from members.subscription.overdue import Step
from partners.agreements import programme
from partners.clearing import clearing
from settlement.subscription import months, rules

_STATES = ("OPEN", "PAID", "VOID", "CREDITED")
_KINDS = (invoices.UNSERVED, invoices.CHARGEBACK)
_EARLIEST, _DAY = date(2000, 1, 1), timedelta(days=1)
_LATEST = date(2200, 1, 1)


@strawberry.type
class FeeQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Invoices of subscriptions, the latest first, to the operator's staff; to partners none. Of a "
        "state (OPEN, PAID, VOID, CREDITED), a currency, what a payment names.",
    )
    async def subscription_invoices(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        state: str | None = None,
        currency_code: CurrencyCode | None = None,
        reference: str | None = None,
    ) -> Connection[SubscriptionInvoice]:
        _known("state", state, _STATES)
        services, is_staff = info.context.services, info.context.viewer.partner_id is None
        cursors = Cursors(services.vault, "subscription invoice")
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        async with services.database.reading() as connection:
            found = await invoices.page(
                connection, before=before, limit=wanted, state=state, currency=currency_code, reference=reference
            ) if is_staff else []  # fmt: skip
        return connections.page(
            found, first, after=after, cursor=lambda one: cursors.write(one.invoice_no),
            node=subscription_types.invoice,
        )  # fmt: skip

    @access.query(
        scopes=DESK, cost=5, description="One invoice with all that is known of it. Null where there is none."
    )
    async def subscription_invoice(self, info: Info[Context, None], number: int) -> SubscriptionInvoiceFile | None:
        async with info.context.services.database.reading() as connection:
            try:
                return fee_types.invoice_file(await invoices.numbered(connection, number))
            except InvoiceUnknown:
                return None

    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Who owes for a subscription, the oldest invoice first: in which step since when, what it waits "
        "for, when it is tried again, what is at stake, which letters were written. Of a step and a currency.",
    )
    async def subscription_arrears(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        step: str | None = None,
        currency_code: CurrencyCode | None = None,
    ) -> Connection[SubscriptionArrears]:
        _known("step", step, overdue.STEPS)
        services, at = info.context.services, await info.context.now()
        cursors = Cursors(services.vault, "subscription arrears")
        behind, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with services.database.reading() as connection:
            found = await overdue.page(
                connection, step=cast(Step | None, step), currency=currency_code, after=behind, limit=wanted, at=at
            )
            written = await overdue.notices(connection, [one.invoice_no for one in found[:first]])
        return connections.page(
            found, first, after=after, cursor=lambda one: cursors.write(one.invoice_no),
            node=lambda one: fee_types.arrears(one, written[one.invoice_no]),
        )  # fmt: skip

    @access.query(scopes=DESK, cost=20, description="What is at stake of open invoices, by currency and step.")
    async def subscription_arrears_totals(self, info: Info[Context, None]) -> list[SubscriptionArrearsTotal]:
        at = await info.context.now()
        async with info.context.services.database.reading() as connection:
            found = await overdue.sums(connection, at=at)
        return [
            SubscriptionArrearsTotal(
                currency_code=CurrencyCode(currency), step=step, invoices=count, amount=money(minor, currency)
            )
            for currency, step, count, minor in found
        ]

    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Credit notes, the latest first; of a kind (UNSERVED, CHARGEBACK) and a currency.",
    )
    async def subscription_credit_notes(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        kind: str | None = None,
        currency_code: CurrencyCode | None = None,
    ) -> Connection[SubscriptionCreditNote]:
        _known("kind", kind, _KINDS)
        services = info.context.services
        cursors = Cursors(services.vault, "subscription credit note")
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        async with services.database.reading() as connection:
            found = await returns.notes(connection, kind=kind, currency=currency_code, before=before, limit=wanted)
        return connections.page(
            found, first, after=after, cursor=lambda one: cursors.write(one.note_no), node=fee_types.credit_note
        )

    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Money that has to go back or went, the latest first; of one of both states and a currency.",
    )
    async def subscription_refunds(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        done: bool | None = None,
        currency_code: CurrencyCode | None = None,
    ) -> Connection[SubscriptionRefund]:
        services = info.context.services
        cursors = Cursors(services.vault, "subscription refund")
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        async with services.database.reading() as connection:
            found = await returns.refunds(connection, is_done=done, currency=currency_code, before=before, limit=wanted)
        return connections.page(
            found, first, after=after, cursor=lambda one: cursors.write(one.refund_no), node=fee_types.refund
        )

    @access.query(
        scopes=DESK,
        cost=50,
        size=access.ListSize(assumed_size=4),
        description="How fees stood at the end of a day, by currency: what came, what went back, what was recognised "
        "and what is deferred, counting what was told by then. Without a day, as of today so far.",
    )
    async def fee_standings(self, info: Info[Context, None], as_of: date | None = None) -> list[FeeStanding]:
        today = (await info.context.now()).date()
        day = _within(today if as_of is None else as_of) + _DAY
        found = []
        async with info.context.services.database.reading() as connection:
            zone = (await programme.read(connection)).time_zone
            for currency in await recognition.currencies(connection):
                [one] = await recognition.standings(connection, currency, [day], zone=zone)
                booked = await months.booked(connection, currency, before=day)
                found.append(fee_types.standing(one, currency, day - _DAY, booked))
        return found

    @access.query(
        scopes=DESK,
        cost=50,
        size=access.paged(),
        description="What each day or month (`by`: DAY, MONTH) of [since, until) brought of fees in a currency, in "
        "order, and what is deferred at its end. By default from the first that anything came in, today among them.",
    )
    async def fee_recognition(
        self,
        info: Info[Context, None],
        currency_code: CurrencyCode,
        since: date | None = None,
        until: date | None = None,
        by: str = "MONTH",
        first: First = 20,
        after: After = None,
    ) -> Connection[FeeRecognition]:
        _known("by", by, ("DAY", "MONTH"))
        services, today = info.context.services, (await info.context.now()).date()
        cursors = Cursors(services.vault, "fee recognition")
        wanted, end = connections.bounded(first) + 1, _within(until or today + _DAY)
        behind = cursors.read(after)
        async with services.database.reading() as connection:
            zone = (await programme.read(connection)).time_zone
            begin = since or await recognition.first_day(connection, currency_code, zone=zone) or end
            start = _begun(_within(begin), by) if behind is None else _next(date.fromordinal(behind), by)
            bounds = [start]
            while len(bounds) <= wanted and bounds[-1] < end:
                bounds.append(_next(bounds[-1], by))
            found = await recognition.stretches(connection, currency_code, bounds, zone=zone)
        return connections.page(
            found, first, after=after, cursor=lambda one: cursors.write(one.since.toordinal()),
            node=lambda one: fee_types.recognition(one, currency_code),
        )  # fmt: skip

    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Months of fees that were closed, the latest first: what was shared, and where it went.",
    )
    async def fee_months(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        currency_code: CurrencyCode | None = None,
    ) -> Connection[ClosedFeeMonth]:
        cursors = Cursors(info.context.services.vault, "fee month")
        behind, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with info.context.services.database.reading() as connection:
            every = [one for one in await months.months(connection) if currency_code in (None, one.currency)]
        rows = list(enumerate(reversed(every), start=1))[behind : behind + wanted]
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row[0]), node=lambda row: fee_types.month(row[1])
        )

    @access.query(
        scopes=DESK,
        cost=5,
        size=access.ListSize(assumed_size=12),
        description="How fees are shared: every version that was put in force, the latest first.",
    )
    async def fee_rules(self, info: Info[Context, None]) -> list[FeeRulesVersion]:
        async with info.context.services.database.reading() as connection:
            names = await clearing.names(connection)
            return [fee_types.rules_version(one, names) for one in await rules.versions(connection)]

    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        cost=20,
        description="Where fees of subscriptions went in the last twelve months that were closed, and what each method "
        "would have given: to the calling partner; for the operator's staff, to every one.",
    )
    async def fee_shares(self, info: Info[Context, None]) -> list[FeeShare]:
        whose = info.context.viewer.partner_id
        found = []
        async with info.context.services.database.reading() as connection:
            for month in (await months.months(connection))[-12:]:
                found += await fee_types.shares_of(info.context, connection, month, whose)
        return found


def _known(name: str, said: str | None, known: tuple[str, ...]) -> None:
    if said is not None and said not in known:
        raise masking.coded(masking.BAD_USER_INPUT, f"`{name}` is one of {', '.join(known)}.")


def _within(day: date) -> date:
    """A day of which there can be fees. Raises BAD_USER_INPUT."""
    if not _EARLIEST <= day <= _LATEST:
        raise masking.coded(masking.BAD_USER_INPUT, f"A day is from {_EARLIEST} to {_LATEST}.")
    return day


def _begun(day: date, by: str) -> date:
    return day.replace(day=1) if by == "MONTH" else day


def _next(day: date, by: str) -> date:
    if by == "DAY":
        return day + _DAY
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
