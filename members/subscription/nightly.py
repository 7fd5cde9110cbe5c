"""Many renewals in one night: those that are plain, some hundred to a transaction, as many at once as one likes, in as
many processes. What comes of each is what `due_work` makes of it, which does all that is not plain.

Plain is the renewal of an active subscription at the price that it has, with nothing asked for or planned, no code, no
present and no points that its plan gives, and the first charge of its invoice. An attempt is written and committed
before the provider is called, as always. A process that dies leaves what it had not committed as it was, and orders
whose outcome nobody knows, which are asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from members.subscription import charging, contract, invoices, night_store, plans
from members.subscription.contract import Event, State
from members.subscription.periods import Period
from members.subscription.plans import Plan, Price
from members.subscription.providers import Answer, ChargeOrder, Provider, Silent
from members.subscription.subscriptions import ARREARS, CHARGE, END, NOTICE, PERIOD, REMIND

AT_ONCE = 400
CALLS_AT_ONCE = 16
LEASE = timedelta(minutes=15)
"""For how long nobody else asks about orders that are being given."""
_BEGINNING = (datetime(1, 1, 1, tzinfo=UTC), 0, 0)


@dataclass
class Lists:
    """Plans and prices, read once: versions never change."""

    plans: dict[int, Plan] = field(default_factory=dict)
    prices: dict[int, Price] = field(default_factory=dict)

    async def priced(self, connection: AsyncConnection, price_no: int) -> tuple[Price, Plan]:
        """A version of a price, and its plan."""
        if price_no not in self.prices:
            price = await plans.price(connection, price_no)
            self.plans[price.plan_id] = await plans.plan(connection, price.plan_id)
            self.prices[price_no] = price
        price = self.prices[price_no]
        return price, self.plans[price.plan_id]


@dataclass(frozen=True, slots=True)
class Begun:
    """A period that begins: of which subscription, at what price, from when, and the instant that it is done as of."""

    holder_id: int
    subscription_no: int
    provider: Provider
    price: Price
    plan: Plan
    period: Period
    due_at: datetime
    at: datetime


async def renew(
    database: Database,
    providers: Mapping[str, Provider],
    *,
    to: datetime,
    patience: timedelta | None = None,
    tasks: int = 1,
    at_once: int = AT_ONCE,
    stopping: asyncio.Event | None = None,
) -> int:
    """Do what is plain of all that is due by an instant: periods that begin, then first charges; how many of both.
    tasks do it side by side, and other processes may. patience as in `due_work.advance`."""
    stop, lists, done = stopping or asyncio.Event(), Lists(), 0
    for step in (_begin_periods, _charge):
        done += sum(
            await asyncio.gather(*(step(database, providers, lists, to, patience, at_once, stop) for _ in range(tasks)))
        )
    return done


# --- Periods ----------------------------------------------------------------------------------------------------


async def _begin_periods(
    database: Database, providers: Mapping[str, Provider], lists: Lists, to: datetime, patience: timedelta | None,
    at_once: int, stop: asyncio.Event,
) -> int:  # fmt: skip
    done, after = 0, _BEGINNING
    while not stop.is_set():
        async with database.transaction() as connection:
            taken, locked = await night_store.take_due(connection, PERIOD, to, after, at_once)
            rows = await night_store.periods(connection, [row for row in taken if _whose(row) in locked])
            begun = await _plain(connection, providers, lists, rows, to, patience)
            if begun:
                await _begin(connection, begun)
        done += len(begun)
        if not taken:
            break
        after = _place(taken[-1])
    return done


async def _plain(
    connection: AsyncConnection, providers: Mapping[str, Provider], lists: Lists, taken: Sequence[Row[Any]],
    to: datetime, patience: timedelta | None,
) -> list[Begun]:  # fmt: skip
    """Those of some periods that are over which are followed by one like them."""
    begun, plain_plans = [], await night_store.plain_plans(connection)
    happened = await night_store.events(connection, [(row.holder_id, row.subscription_no) for row in taken])
    for row in taken:
        was = contract.fold(happened[row.holder_id, row.subscription_no], zone=row.zone)
        is_asked = was.cancel_at or was.pause_at or was.pending_price_no
        if was.state is not State.ACTIVE or is_asked or row.provider not in providers or was.period_end != row.due_at:
            continue
        found = contract.apply(was, Event("RENEWED", row.due_at))
        assert found.rhythm is not None
        price, plan = await lists.priced(connection, found.price_no)
        if plan.plan_id not in plain_plans:
            continue
        at = to if patience is not None and to - row.due_at > patience else row.due_at
        period = found.rhythm.period(found.period_index)
        begun.append(
            Begun(row.holder_id, row.subscription_no, providers[row.provider], price, plan, period, row.due_at, at)
        )
    return begun


async def _begin(connection: AsyncConnection, begun: Sequence[Begun]) -> None:
    """As `subscriptions.begin_period` does for one. Numbers come last: whoever takes some keeps others waiting."""
    whose = [(one.holder_id, one.subscription_no) for one in begun]
    taxes = await plans.taxes(connection, [(one.price.tax_code, one.at) for one in begun])
    await night_store.append_renewals(connection, whose, [one.due_at for one in begun])
    grace, end = timedelta(days=ARREARS.grace_days), timedelta(days=ARREARS.end_days)
    await night_store.insert_grants(
        connection,
        "GRACE",
        [
            {"holder_id": one.holder_id, "subscription_no": one.subscription_no, "plan_id": one.plan.plan_id,
             "valid_from": one.period.start, "valid_until": min(one.period.end, one.at + grace), "at": one.at}
            for one in begun
        ],
    )  # fmt: skip
    due: list[tuple[int, int, str, int, datetime]] = []
    rows = []
    numbers = await night_store.next_numbers(connection, "INVOICE", len(begun))
    for one, tax, number in zip(begun, taxes, numbers, strict=True):
        whom, gross_minor = (one.holder_id, one.subscription_no), one.price.amount_minor
        due.append((*whom, PERIOD, 0, one.period.end))
        due.append((*whom, NOTICE, 0, max(one.period.end - timedelta(days=one.plan.notice_days), one.at)))
        due.append((*whom, END, number, one.at + end))
        if one.provider.is_automatic:
            due.append((*whom, CHARGE, number, one.at))
        else:
            due.append((*whom, REMIND, number, one.at + timedelta(days=ARREARS.remind_days)))
        rows.append(
            {
                "holder_id": one.holder_id, "invoice_no": number, "subscription_no": one.subscription_no,
                "period_from": one.period.start, "period_until": one.period.end, "price_no": one.price.price_no,
                "currency": one.price.currency, "net_minor": gross_minor - tax.within(gross_minor),
                "tax_minor": tax.within(gross_minor), "gross_minor": gross_minor, "tax_code": tax.code,
                "tax_version": tax.version, "provider": one.provider.name, "reference": invoices.reference_of(number),
                "is_test": one.provider.is_test, "at": one.at,
            }
        )  # fmt: skip
    await night_store.insert_invoices(connection, rows)
    await night_store.put_due(connection, due)


# --- Charges ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """A first order of an invoice that is committed: what it is of, and the instant that it is done as of."""

    row: Row[Any]
    order: ChargeOrder
    at: datetime

    @property
    def whose(self) -> tuple[int, int]:
        """The subscription: holder and number."""
        return self.row.holder_id, self.row.subscription_no


async def _charge(
    database: Database, providers: Mapping[str, Provider], lists: Lists, to: datetime, patience: timedelta | None,
    at_once: int, stop: asyncio.Event,
) -> int:  # fmt: skip
    done, after = 0, _BEGINNING
    names = [name for name, provider in providers.items() if provider.is_automatic]
    while names and not stop.is_set():
        async with database.transaction() as connection:
            taken, locked = await night_store.take_due(connection, CHARGE, to, after, at_once)
            rows = await night_store.charges(connection, [row for row in taken if _whose(row) in locked], names, to)
            given = await _give(connection, rows, to, patience)
        if not taken:
            break
        after = _place(taken[-1])
        if not given:
            continue
        answers = await _answers(providers, given)
        await _settle(database, providers, lists, list(zip(given, answers, strict=True)))
        done += len(given)
    return done


async def _give(
    connection: AsyncConnection, rows: Sequence[Row[Any]], to: datetime, patience: timedelta | None
) -> list[Given]:
    """Write first attempts; as `charging.prepare` does for one. The charge stays due, a little later: should nobody
    hear of these any more, they are asked about then."""
    given = []
    for row in rows:
        at = to if patience is not None and to - row.due_at > patience else row.due_at
        order = ChargeOrder(
            f"{row.reference}-1", row.invoice_no, 1, row.gross_minor, row.currency, row.token
        )  # fmt: skip
        given.append(Given(row, order, at))
    if given:
        await night_store.insert_first_attempts(
            connection,
            [(one.row.holder_id, one.row.invoice_no, one.order.key, one.row.means_no, one.at) for one in given],
        )
        await night_store.put_due(
            connection, [(*one.whose, CHARGE, one.row.invoice_no, max(to, one.at) + LEASE) for one in given]
        )
    return given


async def _answers(providers: Mapping[str, Provider], given: Sequence[Given]) -> list[Answer]:
    """What providers say of orders, so many asked at once."""
    places = asyncio.Semaphore(CALLS_AT_ONCE)

    async def ask(one: Given) -> Answer:
        async with places:
            try:
                return await providers[one.row.provider].charge(one.order)
            except Silent:
                return Answer("PENDING")

    return list(await asyncio.gather(*(ask(one) for one in given)))


async def _settle(
    database: Database, providers: Mapping[str, Provider], lists: Lists, answered: Sequence[tuple[Given, Answer]]
) -> None:
    """Write what became of orders: of all that were paid at once, of any other one by one."""
    paid = [(one, answer) for one, answer in answered if answer.state == "PAID"]
    async with database.transaction() as connection:
        await night_store.lock(connection, [one.whose for one, _ in paid])
        which = [(one.row.holder_id, one.row.invoice_no) for one, _ in paid]
        plain = await night_store.undecided(connection, which)
        came = [(one, answer) for one, answer in paid if one.row.invoice_no in plain]
        if came:
            await _came(connection, lists, came)
    for one, answer in answered:
        if answer.state != "PAID" or one.row.invoice_no not in plain:
            async with database.transaction() as connection:
                await charging.settle(connection, providers[one.row.provider], one.order.key, answer, at=one.at)


async def _came(connection: AsyncConnection, lists: Lists, came: Sequence[tuple[Given, Answer]]) -> None:
    """As `charging` does for one whose invoice is open and who is not new: the money, and what it pays for."""
    payments, grants = [], []
    for one, answer in came:
        row = one.row
        _, plan = await lists.priced(connection, row.price_no)
        first, behind = invoices.days_of(Period(0, row.period_from, row.period_until), row.zone)
        payments.append(
            (row.holder_id, row.invoice_no, row.provider, answer.reference, row.gross_minor, answer.charging_minor,
             first, behind, f"charge {one.order.key}", one.at)
        )  # fmt: skip
        grants.append(
            {"holder_id": row.holder_id, "subscription_no": row.subscription_no, "plan_id": plan.plan_id,
             "invoice_no": row.invoice_no, "valid_from": row.period_from, "valid_until": row.period_until, "at": one.at}
        )  # fmt: skip
    await night_store.insert_payments(connection, payments)
    await night_store.insert_grants(connection, "PAID", grants)


def _whose(row: Row[Any]) -> tuple[int, int]:
    return row.holder_id, row.subscription_no


def _place(row: Row[Any]) -> night_store.Place:
    return row.due_at, row.holder_id, row.subscription_no
