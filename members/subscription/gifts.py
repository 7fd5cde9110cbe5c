"""Presents: somebody pays so many periods of a plan, and whoever enters the code gets them.

Who gives has a subscription of its own for it, which is charged as any other and gives nothing itself. Who gets it
begins at once, or when the period ends that they are in, and nothing is charged for the periods of the present. What
was paid is earned over those days, by what the receiver uses. A present stays one: a bank that takes the payment back
takes nothing from whoever got it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import codes
from kit.errors import Rejection
from kit.secrets import Vault
from members import sharing
from members import store as members_store
from members.subscription import crediting, gift_store, invoice_store, invoices, offer_store, offers, plans, store
from members.subscription import subscriptions as held
from members.subscription.contract import Event, State
from members.subscription.invoices import InvoiceLine
from members.subscription.offers import PlanCodeInvalid, PlanCodeUsed, Shown
from members.subscription.periods import Interval, Period, Rhythm
from members.subscription.providers import Provider
from members.subscription.subscriptions import EXPIRE, PaymentMeansMissing, Subscription, SubscriptionState

MOST_INTERVALS = 12
_WAITS_IN = ("ACTIVE", "TRIALING", "CANCELLING")


class GiftInvalid(Rejection):
    """A present of no periods, or of more than twelve."""

    code = "GIFT_INVALID"
    retryable = False


class GiftUnknown(Rejection):
    """The member gave no such present."""

    code = "GIFT_UNKNOWN"
    retryable = False


class GiftUsed(Rejection):
    """Somebody has the present already, or it was taken back."""

    code = "GIFT_USED"
    retryable = False


@dataclass(frozen=True, slots=True)
class GiftWish:
    """What somebody gives: so many intervals of a plan, paid in a currency; zone is the one whose days count."""

    giver_id: int
    plan: str
    currency: str
    interval: Interval
    intervals: int
    zone: str


@dataclass(frozen=True, slots=True)
class Gift:
    """A present as who gave it sees it: state is OPEN (not paid), WAITING, USED, TAKEN_BACK or VOID. The code is told
    when it is bought and never again; tail is what is kept of it."""

    gift_no: int
    plan: str
    interval: str
    intervals: int
    invoice_no: int
    state: str
    tail: str
    at: datetime
    code: str | None = field(default=None, repr=False)


async def buy(connection: AsyncConnection, vault: Vault, provider: Provider, wish: GiftWish, *, at: datetime) -> Gift:
    """Somebody buys a present: it is invoiced to them, and its code is good when it is paid.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON, PLAN_UNKNOWN, GIFT_INVALID, PAYMENT_MEANS_MISSING.
    """
    giver = await sharing.person(connection, wish.giver_id)
    await members_store.lock_member(connection, giver.member_id)
    if not 1 <= wish.intervals <= MOST_INTERVALS:
        raise GiftInvalid(f"a present is of 1 to {MOST_INTERVALS} periods")
    plan = await plans.named(connection, wish.plan)
    price = await plans.price_in_force(connection, plan.plan_id, wish.currency, wish.interval, at=at)
    if provider.is_automatic and await invoice_store.means(connection, giver.member_id, provider.name) is None:
        raise PaymentMeansMissing("nobody can be charged before a means of payment is given")
    number = await store.insert_subscription(
        connection,
        {"holder_id": giver.member_id, "zone": wish.zone, "provider": provider.name, "currency": price.currency,
         "at": at, "is_gift": True},
    )  # fmt: skip
    await store.append_event(connection, giver.member_id, number, Event("CREATED", at, price_no=price.price_no))
    until = Rhythm(at, price.interval, 1, wish.zone).boundary(wish.intervals)
    invoice = await invoices.issue(
        connection, provider, holder_id=giver.member_id, subscription_no=number, kind=invoices.GIFT,
        period=Period(0, at, until), price=price,
        lines=[InvoiceLine("GIFT", price.price_no, price.amount_minor * wish.intervals)], at=at,
    )  # fmt: skip
    await gift_store.insert_gift(
        connection,
        {"holder_id": giver.member_id, "gift_no": number, "price_no": price.price_no, "intervals": wish.intervals,
         "invoice_no": invoice.invoice_no, "at": at},
    )  # fmt: skip
    code = codes.draw()
    while not await offer_store.insert_gift_code(
        connection, number, offers.lookup(vault, code), code[-codes.TAIL :]
    ):  # pragma: no cover - one in 2^60
        code = codes.draw()
    await held.expect(connection, provider, invoice, at=at)
    await store.put_due(
        connection, giver.member_id, number, EXPIRE, invoice.invoice_no, at + provider.first_payment_within
    )
    return _gift(await gift_store.gift(connection, number), code)


async def redeem(
    connection: AsyncConnection, provider: Provider, shown: Shown, *, member_id: int, zone: str, at: datetime
) -> Subscription:
    """A member enters the code of a present: what it gives begins now, or when the period ends that they are in.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON, PLAN_CODE_INVALID, PLAN_CODE_USED, SUBSCRIPTION_STATE.
    """
    if shown.gift_no is None:
        raise PlanCodeInvalid
    member = await sharing.person(connection, member_id)
    await members_store.lock_member(connection, member.member_id)
    gift = await gift_store.gift(connection, shown.gift_no)
    await store.lock(connection, gift.holder_id, gift.gift_no)
    if (await gift_store.gift(connection, shown.gift_no)).state != "WAITING":
        raise PlanCodeUsed("the present was used a moment ago")
    running = [one for one in await held.of_member(connection, member.member_id) if not one.is_over]
    its = running[0] if running else None
    if its is None:
        return await _begin(connection, provider, gift, member.member_id, zone, at)
    return await _wait(connection, await held.locked(connection, member.member_id, its.subscription_no), gift, at)


async def take_back(connection: AsyncConnection, giver_id: int, gift_no: int, *, at: datetime) -> Gift:
    """Who gave a present that nobody has used takes it back, and the money goes back. Again changes nothing.

    Rejects GIFT_UNKNOWN, GIFT_USED.
    """
    row = await gift_store.gift(connection, gift_no)
    if row is None or all(one.gift_no != gift_no for one in await of_giver(connection, giver_id)):
        raise GiftUnknown("the member gave no such present")
    its = await held.locked(connection, row.holder_id, gift_no)
    row = await gift_store.gift(connection, gift_no)
    if row.state == "USED":
        raise GiftUsed("somebody has the present already")
    if row.state == "OPEN":
        await held.expire(connection, its, reason="CANCELLED", at=at)
    elif row.state == "WAITING":
        paid = await invoices.read(connection, row.holder_id, row.invoice_no)
        await crediting.credit(connection, paid, its.zone, reason="TAKEN_BACK", at=at)
    return _gift(await gift_store.gift(connection, gift_no))


async def of_giver(connection: AsyncConnection, giver_id: int) -> list[Gift]:
    """The presents that a member gave, the latest first."""
    return [_gift(row) for row in await gift_store.of_giver(connection, giver_id)]


async def _begin(
    connection: AsyncConnection, provider: Provider, gift: Row[tuple[object, ...]], member_id: int, zone: str,
    at: datetime,
) -> Subscription:  # fmt: skip
    price = await plans.price(connection, gift.price_no)
    number = await store.insert_subscription(
        connection,
        {"holder_id": member_id, "zone": zone, "provider": provider.name, "currency": price.currency, "at": at},
    )
    await store.append_event(connection, member_id, number, Event("CREATED", at, price_no=price.price_no))
    its = await held.append(
        connection, await held.read(connection, member_id, number), Event("ACTIVATED", at, interval=price.interval)
    )
    await _use(connection, its, gift, Rhythm(at, price.interval, 1, zone), 0, None, at)
    await held.begin_period(connection, provider, its, at=at)
    return await held.read(connection, member_id, number)


async def _wait(
    connection: AsyncConnection, its: Subscription, gift: Row[tuple[object, ...]], at: datetime
) -> Subscription:
    """The present begins when the period ends; then it goes on as before, or ends where that was wished."""
    end, price = its.contract.period_end, await plans.price(connection, gift.price_no)
    if (
        its.status(at) not in _WAITS_IN or its.contract.pause_at is not None or end is None
        or its.currency != price.currency or await gift_store.ahead(connection, its.holder_id, its.subscription_no, at)
    ):  # fmt: skip
        raise SubscriptionState(f"a subscription that is {its.status(at)} takes no present now")
    before = None if its.contract.cancel_at is not None else (its.next_price or its.price).price_no
    rhythm, index = Rhythm(end, price.interval, 1, its.zone), 0
    if its.contract.state is State.ACTIVE and its.price.interval == price.interval:
        assert its.contract.rhythm is not None
        rhythm, index = its.contract.rhythm, its.contract.period_index + 1
    await _use(connection, its, gift, rhythm, index, before, at)
    if its.contract.cancel_at is not None:
        its = await held.append(connection, its, Event("CANCEL_WITHDRAWN", at))
    if its.contract.pending_price_no is not None and price.price_no == its.price.price_no:
        its = await held.append(connection, its, Event("PRICE_CHANGE_WITHDRAWN", at))
    elif price.price_no != its.price.price_no:
        its = await held.append(connection, its, Event("PRICE_CHANGE_PLANNED", at, price_no=price.price_no))
    await held.announce(connection, its, at=at)
    return its


async def _use(
    connection: AsyncConnection, its: Subscription, gift: Row[tuple[object, ...]], rhythm: Rhythm, index: int,
    before: int | None, at: datetime,
) -> None:  # fmt: skip
    starts_at, ends_at = rhythm.boundary(index), rhythm.boundary(index + gift.intervals)
    days = invoices.days_of(Period(0, starts_at, ends_at), its.zone)
    await gift_store.insert_use(
        connection,
        {"holder_id": its.holder_id, "subscription_no": its.subscription_no, "gift_no": gift.gift_no,
         "invoice_no": gift.invoice_no, "starts_at": starts_at, "ends_at": ends_at, "service_from": days[0],
         "service_until": days[1], "price_no": gift.price_no, "price_no_before": before, "at": at},
    )  # fmt: skip


def _gift(row: Row[tuple[object, ...]], code: str | None = None) -> Gift:
    return Gift(
        row.gift_no, row.plan, row.interval, row.intervals, row.invoice_no, row.state, row.tail, row.at, code
    )  # fmt: skip
