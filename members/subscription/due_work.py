"""What time makes of subscriptions: periods begin, renewals are announced, charged, tried again, given up; pauses end.

Due work is taken in a total order, one after the other, each at the instant at which it is due: whether a clock jumps
or goes in small steps, the same comes of it. Production's scheduler and a sandbox's clock run the same code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from members.subscription import arrears, charging, invoice_store, invoices, plans, store
from members.subscription import subscriptions as held
from members.subscription.allotting import Allot, Allotment, nobody_allots
from members.subscription.arrears import LetterStep
from members.subscription.charging import Call
from members.subscription.contract import Event, State
from members.subscription.invoices import Invoice
from members.subscription.periods import Period, Rhythm, remaining_of
from members.subscription.providers import Answer, Provider, Silent
from members.subscription.reminding import Remind, Reminder, nobody_reminds
from members.subscription.subscriptions import (
    ALLOT,
    ARREARS,
    ASK,
    CHARGE,
    END,
    EXPIRE,
    NOTICE,
    PERIOD,
    REFUND,
    REMIND,
    RESUME,
    TAKE,
    Subscription,
)

_WITH_PROVIDER = (ASK, CHARGE, REFUND)
_ASKED_FIRST = timedelta(hours=1)
_ASKED_AGAIN = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A renewal that is to be announced: what goes on, when, for how many minor units."""

    holder_id: int
    subscription_no: int
    plan: Mapping[str, str]
    amount_minor: int
    currency: str
    renews_at: datetime


Announce = Callable[[AsyncConnection, Renewal, datetime], Awaitable[UUID | None]]
"""Writes to a member in the caller's transaction; the message's id, None where there is nobody to write to."""


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is due of a subscription; about is the number of an invoice or a refund, or 0."""

    due_at: datetime
    kind: str
    holder_id: int
    subscription_no: int
    about: int


async def advance(
    database: Database,
    providers: Mapping[str, Provider],
    announce: Announce,
    *,
    to: datetime,
    patience: timedelta | None = None,
    stopping: asyncio.Event | None = None,
    allot: Allot = nobody_allots,
    remind: Remind = nobody_reminds,
) -> int:
    """Do all that is due by an instant, in order, each as of the instant at which it is due; how many things.

    patience: what is due for longer than that is done as of `to`, so that a scheduler that stood still does not take
    retries of a week for one of a minute. allot makes points of what plans promise, remind writes to whoever owes.
    Takes the database, because charging takes several transactions.
    """
    done = 0
    while stopping is None or not stopping.is_set():
        async with database.reading() as connection:
            row = await store.next_due(connection, to)
        if row is None:
            break
        due = Due(**row._mapping)
        at = to if patience is not None and to - due.due_at > patience else due.due_at
        await _do(database, providers, announce, allot, remind, due, at)
        done += 1
    return done


async def first_due(connection: AsyncConnection, to: datetime) -> datetime | None:
    """When the first thing is due that is due by an instant; None where nothing is."""
    row = await store.next_due(connection, to)
    return None if row is None else row.due_at


async def _do(
    database: Database, providers: Mapping[str, Provider], announce: Announce, allot: Allot, remind: Remind, due: Due,
    at: datetime,
) -> None:  # fmt: skip
    if due.kind in _WITH_PROVIDER:
        await (_refund if due.kind == REFUND else _charge)(database, providers, due, at)
        return
    async with database.transaction() as connection:
        its = await _still(connection, due)
        if its is None:
            return
        await store.drop_due(connection, due.holder_id, due.subscription_no, [due.kind], due.about)
        if due.kind == NOTICE:
            await _announce(connection, announce, its, at)
        elif due.kind == REMIND:
            await _remind(connection, remind, its, due, at)
        elif due.kind == END:
            await _end(connection, remind, its, due, at)
        elif due.kind in (ALLOT, TAKE):
            await (_allot if due.kind == ALLOT else _take)(connection, allot, its, due, at)
        else:
            await _STEPS[due.kind](connection, providers[its.provider], its, due, at)


async def _still(connection: AsyncConnection, due: Due) -> Subscription | None:
    """The subscription, locked; None where what was due has been done meanwhile."""
    await store.lock(connection, due.holder_id, due.subscription_no)
    if not await store.is_due(connection, due.holder_id, due.subscription_no, due.kind, due.about, due.due_at):
        return None
    return await held.read(connection, due.holder_id, due.subscription_no)


async def _period(connection: AsyncConnection, provider: Provider, its: Subscription, due: Due, at: datetime) -> None:
    """A period, or a trial, is over."""
    for one in await invoices.of_subscription(connection, its.holder_id, its.subscription_no):
        if one.kind == invoices.CHANGE and one.state == invoices.OPEN:
            await held.void(connection, one, reason="PERIOD_OVER", at=at)
    if its.contract.cancel_at is not None:
        await held.end(connection, its, reason="CANCELLED", at=at)
    elif its.contract.pause_at is not None:
        its = await held.append(connection, its, Event("PAUSED", at, until=its.contract.paused_until))
        until = its.contract.paused_until
        assert until is not None
        await store.put_due(connection, its.holder_id, its.subscription_no, RESUME, 0, until)
    elif its.contract.state in (State.TRIALING, State.ACTIVE):
        await held.begin_period(connection, provider, await _renewed(connection, its, due.due_at), at=at)


async def _renewed(connection: AsyncConnection, its: Subscription, began_at: datetime) -> Subscription:
    if its.contract.state is State.TRIALING:
        price = its.next_price or its.price
        return await held.append(connection, its, Event("ACTIVATED", began_at, interval=price.interval))
    was = its.price
    its = await held.append(connection, its, Event("RENEWED", began_at))
    if its.price.interval == was.interval:
        return its
    changed = Event("PRICE_CHANGED", began_at, price_no=its.price.price_no, interval=its.price.interval)
    return await held.append(connection, its, changed)


async def _resume(connection: AsyncConnection, provider: Provider, its: Subscription, due: Due, at: datetime) -> None:
    if its.contract.state is State.PAUSED:
        await held.end_pause(connection, provider, its, at=at)


async def _end(connection: AsyncConnection, remind: Remind, its: Subscription, due: Due, at: datetime) -> None:
    """An invoice was not paid for so long that it is over, unless somebody has yet to say what became of an order."""
    one = await invoices.read(connection, due.holder_id, due.about)
    if one.state != invoices.OPEN or await _asked_first(connection, one, END, at):
        return
    await held.end(connection, its, reason="ARREARS", at=at)
    await _write(connection, remind, its, one, "ENDED", at)


async def _remind(connection: AsyncConnection, remind: Remind, its: Subscription, due: Due, at: datetime) -> None:
    """Whoever owes for a period is written to, once for each step; later while nobody knows what became of an order."""
    one = await invoices.read(connection, due.holder_id, due.about)
    if its.is_over or one.state != invoices.OPEN:
        return
    tried = await invoice_store.attempts(connection, one.holder_id, one.invoice_no)
    if tried and tried[-1].outcome is None:
        await held.remind(connection, one, at=at + _ASKED_FIRST)
        return
    step = arrears.letter_step(one.due_at, at, ARREARS)
    await _write(connection, remind, its, one, step, at)
    if step == "UNPAID":
        await held.remind(connection, one, at=one.due_at + timedelta(days=ARREARS.grace_days))


async def _write(
    connection: AsyncConnection, remind: Remind, its: Subscription, one: Invoice, step: LetterStep, at: datetime
) -> None:
    if await invoice_store.has_letter(connection, one.holder_id, one.invoice_no, step):
        return
    over_at = at if step == "ENDED" else one.due_at + timedelta(days=ARREARS.end_days)
    reminder = Reminder(
        its.holder_id, its.subscription_no, one.invoice_no, one.reference, step, its.plan.names, one.gross_minor,
        one.currency, over_at,
    )  # fmt: skip
    message_id = await remind(connection, reminder, at)
    await invoice_store.insert_letter(connection, one.holder_id, one.invoice_no, step, message_id, at)


async def _expire(connection: AsyncConnection, provider: Provider, its: Subscription, due: Due, at: datetime) -> None:
    """A first payment, or that of a change, did not come in time."""
    one = await invoices.read(connection, due.holder_id, due.about)
    if one.state != invoices.OPEN or await _asked_first(connection, one, EXPIRE, at):
        return
    if its.contract.state is State.PENDING:
        await held.expire(connection, its, reason="NOT_PAID", at=at)
    else:
        await held.void(connection, one, reason="NOT_PAID", at=at)


async def _asked_first(connection: AsyncConnection, one: Invoice, kind: str, at: datetime) -> bool:
    tried = await invoice_store.attempts(connection, one.holder_id, one.invoice_no)
    if not tried or tried[-1].outcome is not None:
        return False
    await store.put_due(connection, one.holder_id, one.subscription_no, ASK, one.invoice_no, at)
    await store.put_due(connection, one.holder_id, one.subscription_no, kind, one.invoice_no, at + _ASKED_FIRST)
    return True


_STEPS: Mapping[str, Callable[[AsyncConnection, Provider, Subscription, Due, datetime], Awaitable[None]]] = {
    PERIOD: _period,
    RESUME: _resume,
    EXPIRE: _expire,
}


async def _allot(connection: AsyncConnection, allot: Allot, its: Subscription, due: Due, at: datetime) -> None:
    """Points for the month of a paid period that begins; the next month's are due when it does."""
    period, paid = its.period, await invoices.numbered(connection, due.about)
    if its.is_over or period is None or paid.state != invoices.PAID or not its.plan.allotment_points:
        return
    month = _months(its).period_at(min(max(due.due_at, period.start), period.end - _INSTANT))
    due_at = month.end if await allot(connection, _allotment(its, month), at) else at + _ASKED_AGAIN
    if due_at < period.end:
        await store.put_due(connection, its.holder_id, its.subscription_no, ALLOT, due.about, due_at)


async def _take(connection: AsyncConnection, allot: Allot, its: Subscription, due: Due, at: datetime) -> None:
    """Points of the month in which a subscription ended, as far as it was not served."""
    period = its.period
    if period is None or not its.plan.allotment_points or not period.start <= due.due_at < period.end:
        return
    month = _months(its).period_at(due.due_at)
    left = remaining_of(month, due.due_at, zone=its.zone)
    await allot(connection, replace(_allotment(its, month), unserved=left), at)


def _months(its: Subscription) -> Rhythm:
    """The months of a subscription, from its anchor as its periods are: each is within one of them."""
    assert its.contract.rhythm is not None, "what has a period has a rhythm"
    return Rhythm(its.contract.rhythm.anchor_at, "MONTH", 1, its.zone)


def _allotment(its: Subscription, month: Period) -> Allotment:
    assert its.plan.allotment_issuer is not None, "a plan that promises points says under whose agreement"
    return Allotment(
        its.holder_id, its.subscription_no, its.plan.allotment_points, its.plan.allotment_issuer, month.start,
        month.end,
    )  # fmt: skip


async def _announce(connection: AsyncConnection, announce: Announce, its: Subscription, at: datetime) -> None:
    renews_at = its.contract.period_end
    if its.contract.cancel_at is not None or its.contract.pause_at is not None or renews_at is None or its.is_over:
        return
    price, cost_minor = await held.next_cost(connection, its)
    plan = (await plans.plan(connection, price.plan_id)).names
    renewal = Renewal(its.holder_id, its.subscription_no, plan, cost_minor, price.currency, renews_at)
    message_id = await announce(connection, renewal, at)
    await store.insert_notice(
        connection,
        {"holder_id": its.holder_id, "subscription_no": its.subscription_no, "renews_at": renews_at,
         "amount_minor": cost_minor, "currency": price.currency, "message_id": message_id, "at": at},
    )  # fmt: skip


async def _charge(database: Database, providers: Mapping[str, Provider], due: Due, at: datetime) -> None:
    """Order a charge, or ask about one: what is ordered is committed before, what became of it is written after."""
    async with database.transaction() as connection:
        its = await _still(connection, due)
        if its is None:
            return
        provider = providers[its.provider]
        one = await invoices.read(connection, due.holder_id, due.about)
        try:
            call = await charging.prepare(connection, its, one, at=at)
        except Rejection:
            call = None
        if call is None:
            await store.drop_due(connection, due.holder_id, due.subscription_no, [ASK], due.about)
            if one.state != invoices.OPEN:
                await store.drop_due(connection, due.holder_id, due.subscription_no, [CHARGE], due.about)
            return
    answer = await _answer(database, provider, call, is_wanted=one.state == invoices.OPEN)
    async with database.transaction() as connection:
        await charging.settle(connection, provider, call.order.key, answer, at=at)


async def _answer(database: Database, provider: Provider, call: Call, *, is_wanted: bool) -> Answer:
    """What the provider says. An order that it never heard of is given once more under the same key, where its invoice
    is still open; else it never was."""
    try:
        if call.is_new:
            return await provider.charge(call.order)
        found = await provider.fetch(call.order)
        if found.state != "UNHEARD":
            return found
        if not is_wanted:
            return Answer("SOFT", "unheard")
        async with database.transaction() as connection:
            await charging.again(connection, call.order)
        return await provider.charge(call.order)
    except Silent:
        return Answer("PENDING")


async def _refund(database: Database, providers: Mapping[str, Provider], due: Due, at: datetime) -> None:
    async with database.reading() as connection:
        its = await held.read(connection, due.holder_id, due.subscription_no)
        found = await charging.refund_order(connection, due.about)
    answer, provider = Answer("PENDING"), providers[its.provider]
    if found is not None:
        try:
            answer = await provider.refund(found[0])
        except Silent:
            answer = Answer("PENDING")
    async with database.transaction() as connection:
        if await _still(connection, due) is not None:
            await charging.refunded(connection, due.about, answer, provider=provider, at=at)
