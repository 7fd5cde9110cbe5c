"""Subscriptions: a member takes a plan, changes it, pauses, leaves. What happened is appended; what a subscription is,
is the fold over it (`contract`). What time makes of it is in `due_work`, what money makes of it in `charging`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import fingerprint
from members import sharing
from members import store as members_store
from members.subscription import (
    arrears,
    contract,
    crediting,
    entitlement_store,
    gift_store,
    invoice_store,
    invoices,
    offers,
    periods,
    plans,
    store,
)
from members.subscription.arrears import ArrearsPolicy
from members.subscription.contract import Contract, Event, State, Status
from members.subscription.invoices import Invoice, InvoiceLine
from members.subscription.offers import Cheaper, Shown
from members.subscription.periods import Interval, Period, Rhythm
from members.subscription.plans import CREDIT, TAKE_BACK, Plan, Price
from members.subscription.providers import Provider

ARREARS = ArrearsPolicy()
CHANGE_WITHIN = timedelta(hours=23)
"""How long a change that has to be paid waits for the money."""

ALLOT, ASK, CHARGE, END, EXPIRE, NOTICE, PERIOD, REFUND, REMIND, RESUME, TAKE = (
    "ALLOT", "ASK", "CHARGE", "END", "EXPIRE", "NOTICE", "PERIOD", "REFUND", "REMIND", "RESUME", "TAKE",
)  # fmt: skip


class SubscriptionUnknown(Rejection):
    """There is no such subscription, or it is another member's."""

    code = "SUBSCRIPTION_UNKNOWN"
    retryable = False


class SubscriptionExists(Rejection):
    """The member has a subscription already that has not ended."""

    code = "SUBSCRIPTION_EXISTS"
    retryable = True


class SubscriptionState(Rejection):
    """What is asked for does not fit what the subscription is now."""

    code = "SUBSCRIPTION_STATE"
    retryable = True


class TrialUsed(Rejection):
    """The plan has no trial, or this person or this means of payment has had one."""

    code = "TRIAL_USED"
    retryable = False


class PaymentMeansMissing(Rejection):
    """The provider charges a means of payment, and the member has given none."""

    code = "PAYMENT_MEANS_MISSING"
    retryable = True


class LeavingAtOnceNotOffered(Rejection):
    """The plan is kept until the end of what is paid."""

    code = "LEAVING_AT_ONCE_NOT_OFFERED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a member asks for. zone is the one whose days count, the programme's where the member told none; code is
    one that was looked at and makes it cheaper."""

    member_id: int
    plan: str
    currency: str
    interval: Interval
    zone: str
    wants_trial: bool = False
    code: Shown | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as it is: what of, what happened, what is unpaid. price is that of the present period; next_price
    and next_plan are what is planned for the next. is_gift: it stands for a present that its holder gave."""

    holder_id: int
    subscription_no: int
    zone: str
    provider: str
    currency: str
    at: datetime
    contract: Contract
    plan: Plan
    price: Price
    next_price: Price | None
    next_plan: Plan | None
    unpaid_since: datetime | None
    is_gift: bool = False

    def status(self, at: datetime) -> Status:
        """INCOMPLETE, TRIALING, ACTIVE, CANCELLING, GRACE, ON_HOLD, PAUSED or ENDED."""
        return contract.status(self.contract, arrears.phase(self.unpaid_since, at, ARREARS))

    @property
    def is_over(self) -> bool:
        """Whether nothing will come of it any more."""
        return self.contract.state in (State.ENDED, State.EXPIRED)

    @property
    def period(self) -> Period | None:
        """The period that it is in."""
        rhythm = self.contract.rhythm
        return None if rhythm is None else rhythm.period(self.contract.period_index)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do: when, what it costs now (0: nothing), and what is credited, minor units."""

    takes_effect_at: datetime
    due_minor: int
    credit_minor: int
    kept_until: datetime | None
    lines: tuple[InvoiceLine, ...] = ()


# --- Taking a plan ----------------------------------------------------------------------------------------------


async def subscribe(connection: AsyncConnection, provider: Provider, wish: Wish, *, at: datetime) -> Subscription:
    """A member takes a plan: with a trial, or with a first invoice that is to be paid before anything is given.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON, PLAN_UNKNOWN, SUBSCRIPTION_EXISTS, TRIAL_USED,
    PAYMENT_MEANS_MISSING, PLAN_CODE_INVALID, PLAN_CODE_ELSEWHERE, PLAN_CODE_USED.
    """
    member = await sharing.person(connection, wish.member_id)
    await members_store.lock_member(connection, member.member_id)
    plan = await plans.named(connection, wish.plan)
    price = await plans.price_in_force(connection, plan.plan_id, wish.currency, wish.interval, at=at)
    if any(not one.is_over for one in await of_member(connection, member.member_id)):
        raise SubscriptionExists("there is a subscription that has not ended; change that one")
    means = await invoice_store.means(connection, member.member_id, provider.name)
    if provider.is_automatic and means is None:
        raise PaymentMeansMissing("nobody can be charged before a means of payment is given")
    trials = [("PERSON", fingerprint("trial", str(member.member_id)))]
    trials += [("MEANS", means.fingerprint)] if means is not None and means.fingerprint is not None else []
    if wish.wants_trial and (
        plan.trial_days == 0 or await entitlement_store.trials_had(connection, member.member_id, trials)
    ):
        raise TrialUsed("the plan has no trial, or it was had before")
    number = await store.insert_subscription(
        connection,
        {"holder_id": member.member_id, "zone": wish.zone, "provider": provider.name, "currency": price.currency,
         "at": at},
    )  # fmt: skip
    await store.append_event(connection, member.member_id, number, Event("CREATED", at, price_no=price.price_no))
    if wish.code is not None:
        await offers.take(connection, wish.code, price, holder_id=member.member_id, subscription_no=number, at=at)
    if wish.wants_trial:
        await _begin_trial(connection, member.member_id, number, plan, wish.zone, trials, at)
    else:
        await _begin_first(connection, provider, await read(connection, member.member_id, number), at=at)
    return await read(connection, member.member_id, number)


async def give_means(
    connection: AsyncConnection, provider: Provider, member_id: int, *, token: str, mark: str | None,
    text_version: str, at: datetime,
) -> int:  # fmt: skip
    """A member lets a means of payment be charged from now on; its number. mark tells it from others at the provider,
    whatever its token. What could not be charged is tried again at once.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    member = await sharing.person(connection, member_id)
    await members_store.lock_member(connection, member.member_id)
    values = {
        "holder_id": member.member_id, "provider": provider.name, "token": token, "text_version": text_version,
        "fingerprint": None if mark is None else fingerprint("means", provider.name, mark), "at": at,
    }  # fmt: skip
    means_no = await invoice_store.insert_means(connection, values)
    for one in await of_member(connection, member.member_id):
        if one.is_over or one.provider != provider.name:
            continue
        for its in await invoices.of_subscription(connection, one.holder_id, one.subscription_no):
            if its.state == invoices.OPEN:
                await expect(connection, provider, its, at=at)
    return means_no


async def means_given_at(connection: AsyncConnection, provider: Provider, member_id: int) -> datetime | None:
    """When a member gave the means of payment that a provider charges; None where there is none."""
    found = await invoice_store.means(connection, member_id, provider.name)
    return None if found is None else found.at


# --- Changing it ------------------------------------------------------------------------------------------------


async def change(
    connection: AsyncConnection,
    provider: Provider,
    member_id: int,
    subscription_no: int,
    *,
    plan: str,
    interval: Interval,
    at: datetime,
) -> Subscription:
    """Go over to another plan or interval. What costs more for the same interval counts as soon as the difference is
    paid; anything else at the end of the period. The plan that it is now takes a planned change back.

    Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE, PLAN_UNKNOWN.
    """
    its = await locked(connection, member_id, subscription_no)
    await _check_no_gift(connection, its, at)
    price = await _changed_price(connection, its, plan, interval, at)
    if price.price_no == its.price.price_no:
        if its.contract.pending_price_no is not None:
            await _append(connection, its, Event("PRICE_CHANGE_WITHDRAWN", at))
    elif _is_upgrade(its, price):
        await _void_changes(connection, its, at)
        invoice = await invoices.issue(
            connection, provider, holder_id=its.holder_id, subscription_no=its.subscription_no, kind=invoices.CHANGE,
            period=_rest(its, at), price=price, lines=await _prorated(connection, its, price, at), at=at,
        )  # fmt: skip
        await expect(connection, provider, invoice, at=at)
        await store.put_due(
            connection, its.holder_id, its.subscription_no, EXPIRE, invoice.invoice_no, at + CHANGE_WITHIN
        )
    else:
        await _append(connection, its, Event("PRICE_CHANGE_PLANNED", at, price_no=price.price_no))
    return await read(connection, its.holder_id, its.subscription_no)


async def preview_change(
    connection: AsyncConnection, member_id: int, subscription_no: int, *, plan: str, interval: Interval, at: datetime
) -> Preview:
    """What `change` would do now; writes nothing. Rejects as it does."""
    its = await own(connection, member_id, subscription_no)
    await _check_no_gift(connection, its, at)
    price = await _changed_price(connection, its, plan, interval, at)
    end = its.contract.period_end
    assert end is not None
    if price.price_no == its.price.price_no or not _is_upgrade(its, price):
        return Preview(end, 0, 0, None)
    lines = await _prorated(connection, its, price, at)
    return Preview(at, sum(line.amount_minor for line in lines), 0, None, tuple(lines))


async def pause(
    connection: AsyncConnection, member_id: int, subscription_no: int, *, until: datetime, at: datetime
) -> Subscription:
    """Pause from the end of the period until an instant: nothing is charged and nothing given meanwhile.

    Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE.
    """
    its = await locked(connection, member_id, subscription_no)
    await _pausable(connection, its, until, at)
    await _append(connection, its, Event("PAUSE_PLANNED", at, until=until))
    return await read(connection, its.holder_id, its.subscription_no)


async def preview_pause(
    connection: AsyncConnection, member_id: int, subscription_no: int, *, until: datetime, at: datetime
) -> Preview:
    """What `pause` would do now: from when nothing is charged or given, until when it lasts (kept_until is when it
    begins, as everything is kept until then). Writes nothing, and rejects as it does."""
    its = await own(connection, member_id, subscription_no)
    end = await _pausable(connection, its, until, at)
    return Preview(end, 0, 0, end)


async def preview_renewal(
    connection: AsyncConnection, member_id: int, subscription_no: int, *, at: datetime
) -> Preview | None:
    """When the next period begins and what it will cost, with what is planned, codes and presents; None where none
    follows. Rejects SUBSCRIPTION_UNKNOWN."""
    its = await own(connection, member_id, subscription_no)
    end = its.contract.period_end
    if its.is_over or end is None or its.contract.cancel_at is not None or its.contract.state is State.PAUSED:
        return None
    _, cost_minor = await next_cost(connection, its)
    return Preview(its.contract.paused_until or end, cost_minor, 0, None)


async def _pausable(connection: AsyncConnection, its: Subscription, until: datetime, at: datetime) -> datetime:
    """When a pause would begin. Rejects SUBSCRIPTION_STATE."""
    await _check_no_gift(connection, its, at)
    end = its.contract.period_end
    if not contract.may(its.contract, "PAUSE_PLANNED") or its.contract.cancel_at is not None or end is None:
        raise SubscriptionState(f"a subscription that is {its.status(at)} cannot be paused")
    if not end < until <= end + contract.LONGEST_PAUSE:
        raise SubscriptionState(f"a pause ends within {contract.LONGEST_PAUSE.days} days of its beginning")
    return end


async def resume(
    connection: AsyncConnection, provider: Provider, member_id: int, subscription_no: int, *, at: datetime
) -> Subscription:
    """Go on now: out of a pause, with a new first day and an invoice; or take back a pause that is only planned.

    Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE.
    """
    its = await locked(connection, member_id, subscription_no)
    if its.contract.pause_at is not None:
        await _append(connection, its, Event("PAUSE_WITHDRAWN", at))
    elif its.contract.state is State.PAUSED and its.contract.cancel_at is None:
        await end_pause(connection, provider, its, at=at)
    else:
        raise SubscriptionState(f"a subscription that is {its.status(at)} has no pause to end")
    return await read(connection, its.holder_id, its.subscription_no)


# --- Leaving ----------------------------------------------------------------------------------------------------


async def preview_cancellation(
    connection: AsyncConnection, member_id: int, subscription_no: int, *, at_once: bool, at: datetime
) -> Preview:
    """What `cancel` would do now: until when everything is kept, or what would be given back. Writes nothing.

    Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE, LEAVING_AT_ONCE_NOT_OFFERED.
    """
    its = await own(connection, member_id, subscription_no)
    await _check_leaving(connection, its, at_once, at)
    if not at_once and its.contract.state in (State.ACTIVE, State.TRIALING):
        end = its.contract.period_end
        assert end is not None
        return Preview(end, 0, 0, end)
    credits = [await crediting.unserved(connection, one, its.zone, at=at) for one in await _paid(connection, its)]
    return Preview(at, 0, sum(one.gross_minor for one in credits), at)


async def cancel(
    connection: AsyncConnection, member_id: int, subscription_no: int, *, at_once: bool, at: datetime
) -> Subscription:
    """Leave: at the end of the period, and everything is kept until then; or at once, where the plan offers it, and
    the days that are paid and not served are given back. Asked again it changes nothing.

    Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE, LEAVING_AT_ONCE_NOT_OFFERED.
    """
    its = await locked(connection, member_id, subscription_no)
    await _check_leaving(connection, its, at_once, at)
    if its.contract.state is State.PENDING:
        await expire(connection, its, reason="CANCELLED", at=at)
    elif at_once or its.contract.state is State.PAUSED or its.status(at) in ("GRACE", "ON_HOLD"):
        for one in await _paid(connection, its) if at_once else []:
            await crediting.credit(connection, one, its.zone, reason="CANCELLED", at=at)
        await take_points(connection, its, at=at)
        await end(connection, its, reason="CANCELLED", at=at)
    elif its.contract.cancel_at is None:
        await _append(connection, its, Event("CANCEL_ASKED", at))
        await store.drop_due(connection, its.holder_id, its.subscription_no, [NOTICE])
    return await read(connection, its.holder_id, its.subscription_no)


async def stay(connection: AsyncConnection, member_id: int, subscription_no: int, *, at: datetime) -> Subscription:
    """Take a cancellation back before it has come true. Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE."""
    its = await locked(connection, member_id, subscription_no)
    if its.contract.cancel_at is None or its.is_over:
        raise SubscriptionState("nothing was cancelled that could go on")
    await _append(connection, its, Event("CANCEL_WITHDRAWN", at))
    its = await read(connection, its.holder_id, its.subscription_no)
    await announce(connection, its, at=at)
    return its


# --- Reading ----------------------------------------------------------------------------------------------------


async def read(connection: AsyncConnection, holder_id: int, subscription_no: int) -> Subscription:
    """A subscription by its owner and number. Rejects SUBSCRIPTION_UNKNOWN."""
    row = await store.subscription(connection, holder_id, subscription_no)
    if row is None:
        raise SubscriptionUnknown(f"there is no subscription {subscription_no}")
    return await _subscription(connection, row)


async def of_member(connection: AsyncConnection, member_id: int) -> list[Subscription]:
    """A member's own subscriptions, the latest first, without those that stand for presents to others."""
    rows = await store.of_holder(connection, member_id)
    return [await _subscription(connection, row) for row in rows if not row.is_gift]


async def own(connection: AsyncConnection, member_id: int, subscription_no: int) -> Subscription:
    """A subscription of a member's own. Rejects SUBSCRIPTION_UNKNOWN."""
    for row in await store.of_holder(connection, member_id):
        if row.subscription_no == subscription_no:
            return await _subscription(connection, row)
    raise SubscriptionUnknown(f"the member has no subscription {subscription_no}")


async def locked(connection: AsyncConnection, member_id: int, subscription_no: int) -> Subscription:
    """The same, which nobody else changes until the transaction ends. Rejects SUBSCRIPTION_UNKNOWN."""
    its = await own(connection, member_id, subscription_no)
    await store.lock(connection, its.holder_id, its.subscription_no)
    return await read(connection, its.holder_id, its.subscription_no)


async def digest(connection: AsyncConnection) -> str:
    """A hash over every fact about every subscription: two histories that came to the same have the same."""
    return fingerprint(*await store.digests(connection)).hex


# --- Steps that charging and time take too: the subscription is locked ------------------------------------------


async def expect(connection: AsyncConnection, provider: Provider, its: Invoice, *, at: datetime) -> None:
    """An invoice is to be charged now, where somebody charges."""
    if provider.is_automatic:
        await store.put_due(connection, its.holder_id, its.subscription_no, CHARGE, its.invoice_no, at)


async def remind(connection: AsyncConnection, its: Invoice, *, at: datetime) -> None:
    """Whoever owes for a period that began is to be written to at an instant."""
    await store.put_due(connection, its.holder_id, its.subscription_no, REMIND, its.invoice_no, at)


async def begin_period(connection: AsyncConnection, provider: Provider, its: Subscription, *, at: datetime) -> None:
    """A period of an active subscription begins: its invoice is issued, and what it gives goes on for the days of
    grace, until it is paid."""
    period = its.period
    assert period is not None
    if await _begin_given(connection, its, period, at=at):
        return
    off = await offers.cheaper(connection, its.holder_id, its.subscription_no, its.price)
    if off is not None and off.off_minor == its.price.amount_minor:
        await _begin_free(connection, its, period, off, at=at)
        return
    invoice = await _invoice_period(connection, provider, its, period, off, at=at)
    until = min(period.end, at + timedelta(days=ARREARS.grace_days))
    await grant(connection, its, "GRACE", period.start, until, at)
    await expect(connection, provider, invoice, at=at)
    await store.put_due(
        connection, its.holder_id, its.subscription_no, END, invoice.invoice_no, at + timedelta(days=ARREARS.end_days)
    )
    if not provider.is_automatic:
        await remind(connection, invoice, at=at + timedelta(days=ARREARS.remind_days))
    await store.put_due(connection, its.holder_id, its.subscription_no, PERIOD, 0, period.end)
    await announce(connection, its, at=at)


async def _begin_first(connection: AsyncConnection, provider: Provider, its: Subscription, *, at: datetime) -> None:
    """A subscription begins when its first invoice is paid, or at once where a code left nothing to pay."""
    off = await offers.cheaper(connection, its.holder_id, its.subscription_no, its.price)
    if off is not None and off.off_minor == its.price.amount_minor:
        its = await append(connection, its, Event("ACTIVATED", at, interval=its.price.interval))
        assert its.period is not None
        await _begin_free(connection, its, its.period, off, at=at)
        return
    period = Rhythm(at, its.price.interval, 1, its.zone).period(0)
    invoice = await _invoice_period(connection, provider, its, period, off, at=at)
    await expect(connection, provider, invoice, at=at)
    until = at + provider.first_payment_within
    await store.put_due(connection, its.holder_id, its.subscription_no, EXPIRE, invoice.invoice_no, until)


async def _invoice_period(
    connection: AsyncConnection, provider: Provider, its: Subscription, period: Period, off: Cheaper | None, *,
    at: datetime,
) -> Invoice:  # fmt: skip
    lines = [_whole(its.price)]
    lines += [] if off is None else [InvoiceLine("PROMO", its.price.price_no, -off.off_minor)]
    invoice = await invoices.issue(
        connection, provider, holder_id=its.holder_id, subscription_no=its.subscription_no, kind=invoices.PERIOD,
        period=period, price=its.price, lines=lines, at=at,
    )  # fmt: skip
    if off is not None:
        await offers.keep(
            connection, its.holder_id, its.subscription_no, period.start, off, invoice_no=invoice.invoice_no
        )
    return invoice


async def _begin_free(
    connection: AsyncConnection, its: Subscription, period: Period, off: Cheaper, *, at: datetime
) -> None:
    """A period that a code pays: it is given whole, and nobody owes anything for it."""
    await offers.keep(connection, its.holder_id, its.subscription_no, period.start, off, invoice_no=None)
    await grant(connection, its, "FREE", period.start, period.end, at)
    await store.put_due(connection, its.holder_id, its.subscription_no, PERIOD, 0, period.end)
    await announce(connection, its, at=at)


async def _begin_given(connection: AsyncConnection, its: Subscription, period: Period, *, at: datetime) -> bool:
    """A period that a present pays begins; False where none does. With the last it ends, or goes back to what was."""
    given = await gift_store.covering(connection, its.holder_id, its.subscription_no, period.start)
    if given is None:
        return False
    await grant(connection, its, "GIFT", period.start, period.end, at, invoice_no=given.invoice_no)
    await store.put_due(connection, its.holder_id, its.subscription_no, PERIOD, 0, period.end)
    await promise_points(connection, its, given.invoice_no, at=at)
    if period.end >= given.ends_at:
        if given.price_no_before is None:
            its = await append(connection, its, Event("CANCEL_ASKED", at))
        elif given.price_no_before != its.price.price_no:
            its = await append(connection, its, Event("PRICE_CHANGE_PLANNED", at, price_no=given.price_no_before))
    await announce(connection, its, at=at)
    return True


async def _check_no_gift(connection: AsyncConnection, its: Subscription, at: datetime) -> None:
    if await gift_store.ahead(connection, its.holder_id, its.subscription_no, at):
        raise SubscriptionState("a present is running or begins soon; that is possible when it is over")


async def next_cost(connection: AsyncConnection, its: Subscription) -> tuple[Price, int]:
    """What the next period is had at, and what it will cost with the code that it was taken with; a present pays it."""
    price, end = its.next_price or its.price, its.contract.period_end
    if end is not None and await gift_store.covering(connection, its.holder_id, its.subscription_no, end) is not None:
        return price, 0
    off = await offers.cheaper(connection, its.holder_id, its.subscription_no, price)
    return price, price.amount_minor - (0 if off is None else off.off_minor)


async def announce(connection: AsyncConnection, its: Subscription, *, at: datetime) -> None:
    """The next renewal is to be announced, so many days before as the plan says, or now where that is past."""
    end = its.contract.period_end
    assert end is not None
    due_at = max(end - timedelta(days=its.plan.notice_days), at)
    await store.put_due(connection, its.holder_id, its.subscription_no, NOTICE, 0, due_at)


async def end_pause(connection: AsyncConnection, provider: Provider, its: Subscription, *, at: datetime) -> None:
    """A pause is over: periods are counted from now on."""
    await store.drop_due(connection, its.holder_id, its.subscription_no, [RESUME])
    await _append(connection, its, Event("RESUMED", at))
    await begin_period(connection, provider, await read(connection, its.holder_id, its.subscription_no), at=at)


async def grant(
    connection: AsyncConnection, its: Subscription, source: str, since: datetime, until: datetime, at: datetime,
    *, plan_id: int | None = None, invoice_no: int | None = None,
) -> None:  # fmt: skip
    """What the plan gives is given in [since, until)."""
    await entitlement_store.insert_grant(
        connection,
        {"holder_id": its.holder_id, "subscription_no": its.subscription_no, "plan_id": plan_id or its.plan.plan_id,
         "source": source, "invoice_no": invoice_no, "valid_from": since, "valid_until": until, "at": at},
    )  # fmt: skip


async def promise_points(connection: AsyncConnection, its: Subscription, invoice_no: int, *, at: datetime) -> None:
    """Points that the plan gives for the months of a paid period are due, the first of them now."""
    if its.plan.allotment_points:
        await store.put_due(connection, its.holder_id, its.subscription_no, ALLOT, invoice_no, at)


async def take_points(connection: AsyncConnection, its: Subscription, *, at: datetime) -> None:
    """Points of a month that ends early are to be taken back, where the plan says so."""
    if its.plan.allotment_points and its.plan.allotment_on_leaving == TAKE_BACK and its.contract.state is State.ACTIVE:
        await store.put_due(connection, its.holder_id, its.subscription_no, TAKE, 0, at)


async def end(connection: AsyncConnection, its: Subscription, *, reason: str, at: datetime) -> None:
    """A subscription ends: what is open is void, nothing is due and nothing given any more. Points stay as they are."""
    await void_open(connection, its, reason=reason, at=at)
    await _append(connection, its, Event("ENDED", at, reason=reason))
    await entitlement_store.insert_block(connection, its.holder_id, its.subscription_no, "ENDED", at)
    await store.drop_due(connection, its.holder_id, its.subscription_no, [ALLOT, END, EXPIRE, NOTICE, PERIOD, RESUME])


async def expire(connection: AsyncConnection, its: Subscription, *, reason: str, at: datetime) -> None:
    """A subscription that nobody paid never began."""
    await void_open(connection, its, reason=reason, at=at)
    await offers.release(connection, its.holder_id, its.subscription_no, at=at)
    await _append(connection, its, Event("EXPIRED", at, reason=reason))
    await store.drop_due(connection, its.holder_id, its.subscription_no, [EXPIRE])


async def void_open(connection: AsyncConnection, its: Subscription, *, reason: str, at: datetime) -> None:
    """What is open of a subscription is void. What was ordered already is asked about: money that comes goes back."""
    for one in await invoices.of_subscription(connection, its.holder_id, its.subscription_no):
        if one.state == invoices.OPEN:
            await void(connection, one, reason=reason, at=at)


async def void(connection: AsyncConnection, one: Invoice, *, reason: str, at: datetime) -> None:
    """An invoice is void, and nothing is due about it but to ask what became of an order."""
    await invoices.void(connection, one, reason=reason, at=at)
    over = [CHARGE, END, EXPIRE, REMIND]
    await store.drop_due(connection, one.holder_id, one.subscription_no, over, one.invoice_no)
    if any(row.outcome is None for row in await invoice_store.attempts(connection, one.holder_id, one.invoice_no)):
        await store.put_due(connection, one.holder_id, one.subscription_no, ASK, one.invoice_no, at)


async def _append(connection: AsyncConnection, its: Subscription, event: Event) -> None:
    contract.apply(its.contract, event)  # what does not fit is a fault of ours, and is not written
    await store.append_event(connection, its.holder_id, its.subscription_no, event)


async def append(connection: AsyncConnection, its: Subscription, event: Event) -> Subscription:
    """The subscription after one more event. Raises contract.EventOutOfOrder."""
    await _append(connection, its, event)
    return await read(connection, its.holder_id, its.subscription_no)


async def _begin_trial(
    connection: AsyncConnection, holder_id: int, number: int, plan: Plan, zone: str, trials: list[tuple[str, UUID]],
    at: datetime,
) -> None:  # fmt: skip
    until = (at.astimezone(ZoneInfo(zone)) + timedelta(days=plan.trial_days)).astimezone(at.tzinfo)
    for kind, lookup in trials:
        if not await entitlement_store.insert_trial(connection, kind, lookup, holder_id, number, at):
            raise TrialUsed("it was had before")
    its = await read(connection, holder_id, number)
    its = await append(connection, its, Event("TRIAL_STARTED", at, until=until))
    await grant(connection, its, "TRIAL", at, until, at)
    await store.put_due(connection, holder_id, number, PERIOD, 0, until)
    await announce(connection, its, at=at)


async def _changed_price(
    connection: AsyncConnection, its: Subscription, plan: str, interval: Interval, at: datetime
) -> Price:
    if its.status(at) not in ("ACTIVE", "TRIALING"):
        raise SubscriptionState(f"a subscription that is {its.status(at)} cannot be changed")
    if (plan, interval) == (its.plan.code, its.price.interval):
        return its.price
    found = await plans.named(connection, plan)
    return await plans.price_in_force(connection, found.plan_id, its.currency, interval, at=at)


def _is_upgrade(its: Subscription, price: Price) -> bool:
    same = its.contract.state is State.ACTIVE and price.interval == its.price.interval
    return same and price.amount_minor > its.price.amount_minor


def _rest(its: Subscription, at: datetime) -> Period:
    period = its.period
    assert period is not None
    return Period(period.index, at, period.end)


async def _prorated(connection: AsyncConnection, its: Subscription, price: Price, at: datetime) -> list[InvoiceLine]:
    period = its.period
    assert period is not None
    worth = await _worth(connection, its, period)
    found = periods.prorate(worth, price.amount_minor, period, at, zone=its.zone)
    lines = [
        InvoiceLine("PRORATION_CREDIT", its.price.price_no, -found.credit_minor),
        InvoiceLine("PRORATION_DEBIT", price.price_no, found.debit_minor),
    ]
    if found.net_minor <= 0:
        raise SubscriptionState("so little of the period is left that nothing would be charged; change at its end")
    return [line for line in lines if line.amount_minor]


async def _worth(connection: AsyncConnection, its: Subscription, period: Period) -> int:
    """What a whole period at the present price was had for, minor units: less what a code took off it. What an upgrade
    since came to was paid without the code."""
    paid = await _paid(connection, its)
    if any(one.kind == invoices.CHANGE and one.issued_at >= period.start for one in paid):
        return its.price.amount_minor
    last = await offers.last_period(connection, its.holder_id, its.subscription_no)
    latest = max((one.invoice_no for one in paid if one.kind == invoices.PERIOD), default=None)
    if last is None or (last.starts_at != period.start if last.invoice_no is None else last.invoice_no != latest):
        return its.price.amount_minor
    return its.price.amount_minor - last.off_minor


def _whole(price: Price) -> InvoiceLine:
    return InvoiceLine("PERIOD", price.price_no, price.amount_minor)


async def _check_leaving(connection: AsyncConnection, its: Subscription, at_once: bool, at: datetime) -> None:
    if its.is_over:
        raise SubscriptionState("the subscription has ended")
    end = its.contract.period_end
    if not at_once and end is not None and await gift_store.ahead(connection, its.holder_id, its.subscription_no, end):
        raise SubscriptionState("a present pays for what follows this period; leave in its last, or at once")
    if at_once and its.plan.on_leaving != CREDIT and its.contract.state is State.ACTIVE:
        raise LeavingAtOnceNotOffered("the plan is kept until the end of what is paid")


async def _paid(connection: AsyncConnection, its: Subscription) -> list[Invoice]:
    found = await invoices.of_subscription(connection, its.holder_id, its.subscription_no)
    return [one for one in found if one.state == invoices.PAID]


async def _void_changes(connection: AsyncConnection, its: Subscription, at: datetime) -> None:
    for one in await invoices.of_subscription(connection, its.holder_id, its.subscription_no):
        if one.kind == invoices.CHANGE and one.state == invoices.OPEN:
            await void(connection, one, reason="REPLACED", at=at)


async def _subscription(connection: AsyncConnection, row: Row[tuple[object, ...]]) -> Subscription:
    happened = await store.events(connection, row.holder_id, row.subscription_no)
    found = contract.fold(happened, zone=row.zone)
    price = await plans.price(connection, found.price_no)
    pending = found.pending_price_no
    open_since = [
        one.due_at
        for one in await invoices.of_subscription(connection, row.holder_id, row.subscription_no)
        if one.state == invoices.OPEN and one.kind == invoices.PERIOD
    ]
    next_price = None if pending is None else await plans.price(connection, pending)
    return Subscription(
        row.holder_id, row.subscription_no, row.zone, row.provider, row.currency, row.at, found,
        await plans.plan(connection, price.plan_id), price, next_price,
        None if next_price is None else await plans.plan(connection, next_price.plan_id),
        min(open_since, default=None), row.is_gift,
    )  # fmt: skip
