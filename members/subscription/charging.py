"""Charging: an attempt is written and committed before the provider is called, and what became of it is written once.

An outcome that nobody knows is asked about, under the same key, until somebody knows; nothing else is ordered for the
invoice meanwhile. What a provider tells by itself may come twice, late, early or in any order: it is the same facts.
Money that nobody owes any more is kept apart and goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.errors import Rejection
from members.subscription import arrears, contract, crediting, entitlement_store, invoice_store, invoices, plans, store
from members.subscription import subscriptions as held
from members.subscription.arrears import Attempt
from members.subscription.contract import Event, State
from members.subscription.invoices import Invoice, InvoiceNotOpen, Payment, PaymentMismatch
from members.subscription.periods import Period
from members.subscription.providers import Answer, ChargeOrder, Provider, RefundOrder, Told
from members.subscription.subscriptions import ARREARS, ASK, CHARGE, END, EXPIRE, PERIOD, REFUND, REMIND, Subscription

ASKED_EVERY, ASKED_AT_LEAST = timedelta(hours=1), timedelta(days=1)
TWO_PEOPLE_ABOVE_MINOR = 50_000
APPROVAL = "FEE_RECEIPT"


class ChargeRefused(Rejection):
    """Nothing may be charged for a subscription that is paused or over."""

    code = "CHARGE_REFUSED"
    retryable = False


class InvoiceNotPaid(Rejection):
    """Nothing is paid for the invoice that could be taken back."""

    code = "INVOICE_NOT_PAID"
    retryable = False


class ReceiptNeedsTwo(Rejection):
    """So large a receipt is proposed by one person and approved by another."""

    code = "RECEIPT_NEEDS_TWO"
    retryable = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """That money of an invoice came: its number and reference, how much, and what shows it (a bank's statement)."""

    invoice_no: int
    amount_minor: int
    reference: str
    evidence: str


# --- By a provider ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """What to call a provider with: an order that is new, or one given before whose outcome nobody knows."""

    order: ChargeOrder
    is_new: bool


async def prepare(connection: AsyncConnection, its: Subscription, one: Invoice, *, at: datetime) -> Call | None:
    """What to call the provider with about an open invoice: a new order, whose attempt is written (to be committed
    before the call), or the order to ask about; None where nothing is to be done now.

    its is locked. Rejects CHARGE_REFUSED, INVOICE_NOT_OPEN.
    """
    tried = await invoice_store.attempts(connection, one.holder_id, one.invoice_no)
    if tried and tried[-1].outcome is None:
        return Call(await _given(connection, one, tried[-1].attempt_no, tried[-1].charge_key), is_new=False)
    if one.state != invoices.OPEN:
        raise InvoiceNotOpen(f"invoice {one.invoice_no} is {one.state}")
    if its.contract.state not in (State.PENDING, State.ACTIVE):
        raise ChargeRefused(f"nothing is charged for a subscription that is {its.contract.state}")
    step = arrears.next_step(one.due_at, [Attempt(t.at, t.outcome, t.has_new_means_since) for t in tried], ARREARS)
    if step.kind != "CHARGE" or step.at > at:
        await _wait(connection, one, step.at if step.kind == "CHARGE" else None)
        return None
    means = await invoice_store.means(connection, one.holder_id, one.provider)
    if means is None:  # somebody who got a present went on and has yet to say what to charge
        await _wait(connection, one, None)
        return None
    number = len(tried) + 1
    order = order_of(one, number, means.token)
    await invoice_store.insert_attempt(connection, one.holder_id, one.invoice_no, number, order.key, at)
    await invoice_store.insert_call(connection, one.holder_id, one.invoice_no, number, 1, means.means_no)
    return Call(order, is_new=True)


def order_of(one: Invoice, attempt_no: int, token: str) -> ChargeOrder:
    """The order of an attempt at an invoice, before it is given to anybody."""
    return ChargeOrder(
        f"{one.reference}-{attempt_no}", one.invoice_no, attempt_no, one.gross_minor, one.currency, token
    )


async def again(connection: AsyncConnection, order: ChargeOrder) -> None:
    """Write that an order is given once more, as it was, to a provider that never heard of it; to be committed before
    the call."""
    attempt = await invoice_store.attempt_by_key(connection, order.key)
    assert attempt is not None
    one = await invoices.read(connection, attempt.holder_id, attempt.invoice_no)
    means_no = await _means_no(connection, one, attempt.attempt_no)
    await invoice_store.insert_call(
        connection, one.holder_id, one.invoice_no, attempt.attempt_no, len(order.given_at) + 1, means_no
    )


async def _given(connection: AsyncConnection, one: Invoice, attempt_no: int, key: str) -> ChargeOrder:
    """An order as it was given: by the means that it named then, whatever the member gave since. A provider takes
    another means under the same key for another order, and refuses it."""
    calls = await invoice_store.calls(connection, one.holder_id, one.invoice_no, attempt_no)
    means = calls[-1] if calls else await invoice_store.means(connection, one.holder_id, one.provider)
    assert means is not None
    return replace(order_of(one, attempt_no, means.token), key=key, given_at=tuple(call.given_at for call in calls))


async def _means_no(connection: AsyncConnection, one: Invoice, attempt_no: int) -> int:
    calls = await invoice_store.calls(connection, one.holder_id, one.invoice_no, attempt_no)
    means = calls[-1] if calls else await invoice_store.means(connection, one.holder_id, one.provider)
    assert means is not None
    return int(means.means_no)


async def settle(connection: AsyncConnection, provider: Provider, key: str, answer: Answer, *, at: datetime) -> None:
    """Write what became of an order, once, and what follows from it; of one that is not decided, ask again later."""
    attempt = await invoice_store.attempt_by_key(connection, key)
    if attempt is None:
        return  # not ours, or of a database that was restored: reconciliation finds it
    found = await invoices.read(connection, attempt.holder_id, attempt.invoice_no)
    its = await held.locked(connection, found.holder_id, found.subscription_no)
    one = await invoices.read(connection, attempt.holder_id, attempt.invoice_no)
    if answer.state in ("PENDING", "UNHEARD"):
        await store.drop_due(connection, one.holder_id, one.subscription_no, [CHARGE], one.invoice_no)
        later = at + min(max(at - attempt.at, ASKED_EVERY), ASKED_AT_LEAST)  # twice as long each time, up to a day
        await store.put_due(connection, one.holder_id, one.subscription_no, ASK, one.invoice_no, later)
        return
    is_new = await invoice_store.insert_outcome(
        connection, one.holder_id, one.invoice_no, attempt.attempt_no, answer.state, answer.reference, at
    )
    if answer.state == "PAID":
        paid = Payment(one.gross_minor, answer.reference, provider.name, f"charge {key}", answer.charging_minor)
        await _came(connection, provider, its, one, paid, at=at)
    elif is_new:
        await store.drop_due(connection, one.holder_id, one.subscription_no, [ASK, CHARGE], one.invoice_no)
        if one.state == invoices.OPEN:
            await _after_failure(connection, its, one, at)


async def hear(connection: AsyncConnection, provider: Provider, told: Sequence[Told], *, at: datetime) -> bool:
    """Write what a provider told by itself, in whatever order and however often it does. Of a payment of another sum
    than was ordered nothing is written: reconciliation finds it. False where a payment is taken back that nobody knows
    of yet: it is to be told again."""
    is_known = True
    for each in told:
        if each.state == "CHARGEBACK":
            is_known = await _charged_back(connection, provider, each, at=at) and is_known
        elif await _is_of_its_sum(connection, each):
            await settle(connection, provider, each.key, Answer(each.state, each.reference, each.charging_minor), at=at)
    return is_known


async def _is_of_its_sum(connection: AsyncConnection, told: Told) -> bool:
    if told.state != "PAID" or told.amount_minor is None:
        return True
    attempt = await invoice_store.attempt_by_key(connection, told.key)
    if attempt is None:
        return False
    one = await invoices.read(connection, attempt.holder_id, attempt.invoice_no)
    return (told.amount_minor, told.currency) == (one.gross_minor, one.currency)


async def refund_order(connection: AsyncConnection, refund_no: int) -> tuple[RefundOrder, int, int] | None:
    """What to call the provider with about money that has to go back, and of which subscription; None: it is done."""
    row = await invoice_store.refund(connection, refund_no)
    if row is None or row.is_done:
        return None
    order = RefundOrder(f"refund-{row.invoice_no}-{row.payment}", row.payment, row.amount_minor, row.currency)
    return order, row.holder_id, row.subscription_no


async def refunded(
    connection: AsyncConnection, refund_no: int, answer: Answer, *, provider: Provider, at: datetime
) -> None:
    """Write that money went back, once. What is not decided is asked again; of a provider that pays nothing back
    somebody records it."""
    row = await invoice_store.refund(connection, refund_no)
    if row is None or row.is_done:
        return
    if answer.state == "PAID":
        await invoice_store.insert_refund_done(
            connection, row.holder_id, refund_no, answer.reference, provider.name, at
        )
    if answer.state == "PAID" or not provider.is_automatic:
        await store.drop_due(connection, row.holder_id, row.subscription_no, [REFUND], refund_no)
    else:
        await store.put_due(connection, row.holder_id, row.subscription_no, REFUND, refund_no, at + ASKED_EVERY)


# --- By somebody at the desk ------------------------------------------------------------------------------------


async def record_receipt(
    connection: AsyncConnection, provider: Provider, receipt: Receipt, *, actor: str, at: datetime
) -> Invoice:
    """Record on behalf of a FINANCE_MAKER that the money of an invoice came, with what shows it. Again changes nothing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, INVOICE_UNKNOWN, INVOICE_NOT_OPEN, PAYMENT_MISMATCH, RECEIPT_NEEDS_TWO.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    if receipt.amount_minor > TWO_PEOPLE_ABOVE_MINOR:
        raise ReceiptNeedsTwo(f"above {TWO_PEOPLE_ABOVE_MINOR} minor units a receipt is proposed and approved")
    return await _record(connection, provider, receipt, actor=actor, approval_id=None, at=at)


async def take_receipt(
    connection: AsyncConnection, provider: Provider, receipt: Receipt, *, actor: str, at: datetime
) -> int | None:
    """Record a receipt on behalf of a FINANCE_MAKER, or propose it where it takes two people: the proposal's number.

    Rejects as `record_receipt` and `propose_receipt` do.
    """
    if receipt.amount_minor > TWO_PEOPLE_ABOVE_MINOR:
        return await propose_receipt(connection, receipt, actor=actor, at=at)
    await record_receipt(connection, provider, receipt, actor=actor, at=at)
    return None


async def propose_receipt(connection: AsyncConnection, receipt: Receipt, *, actor: str, at: datetime) -> int:
    """Propose a receipt on behalf of a FINANCE_MAKER for another to approve; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, INVOICE_UNKNOWN, INVOICE_NOT_OPEN, PAYMENT_MISMATCH.
    """
    maker = await actors.by_name(connection, actor)
    await actors.require_role(connection, maker, actors.FINANCE_MAKER)
    one = await invoices.numbered(connection, receipt.invoice_no)
    _check(one, receipt)
    detail = {"invoice": receipt.invoice_no, "currency": one.currency, "amount_minor": receipt.amount_minor,
              "reference": receipt.reference, "evidence": receipt.evidence}  # fmt: skip
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"invoice:{receipt.invoice_no}", detail=detail, maker=maker, at=at
    )


async def approve_receipt(
    connection: AsyncConnection, provider: Provider, approval_id: int, *, actor: str, at: datetime
) -> Invoice:
    """Approve a proposed receipt on behalf of a FINANCE_CHECKER who did not propose it.

    Rejects as kit.approvals.decide, and INVOICE_NOT_OPEN.
    """
    checker = await actors.by_name(connection, actor)
    proposal = await approvals.examine(connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER)
    if proposal.kind != APPROVAL:
        raise approvals.ProposalUnknown(f"proposal {approval_id} is no receipt")
    await approvals.decide(connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=True, at=at)
    said = proposal.detail
    receipt = Receipt(said["invoice"], said["amount_minor"], said["reference"], said["evidence"])
    return await _record(connection, provider, receipt, actor=actor, approval_id=approval_id, at=at)


async def record_refund(
    connection: AsyncConnection, refund_no: int, *, reference: str, actor: str, at: datetime
) -> None:
    """Record on behalf of a FINANCE_MAKER that money went back. Again changes nothing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, INVOICE_UNKNOWN.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    row = await invoice_store.refund(connection, refund_no)
    if row is None:
        raise invoices.InvoiceUnknown(f"there is no refund {refund_no}")
    if await invoice_store.insert_refund_done(connection, row.holder_id, refund_no, reference, actor, at):
        await store.drop_due(connection, row.holder_id, row.subscription_no, [REFUND], refund_no)
        detail = {"invoice": row.invoice_no, "amount": row.amount_minor}
        subject = f"refund:{refund_no}"
        await audit.write(connection, actor=actor, action="FEE_REFUNDED", subject=subject, detail=detail, at=at)


async def record_chargeback(
    connection: AsyncConnection, invoice_no: int, *, reference: str, actor: str, at: datetime
) -> Invoice:
    """Record on behalf of a FINANCE_MAKER that a bank took the payment of an invoice back, under a number of its own:
    the subscription gives nothing from now on, and ends. Again changes nothing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, INVOICE_UNKNOWN, INVOICE_NOT_PAID, PAYMENT_MISMATCH.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    if not reference:
        raise PaymentMismatch("the bank's number of what it took back has to be said")
    if await _take_back(connection, await invoices.numbered(connection, invoice_no), at=at):
        subject, detail = f"invoice:{invoice_no}", {"reference": reference}
        await audit.write(connection, actor=actor, action="FEE_CHARGED_BACK", subject=subject, detail=detail, at=at)
        return await invoices.numbered(connection, invoice_no)
    note = await invoice_store.note_of(connection, invoice_no)
    if note is None or note.kind != invoices.CHARGEBACK:
        raise InvoiceNotPaid(f"nothing is paid for invoice {invoice_no} that a bank could take back")
    return await invoices.numbered(connection, invoice_no)


async def _record(
    connection: AsyncConnection, provider: Provider, receipt: Receipt, *, actor: str, approval_id: int | None,
    at: datetime,
) -> Invoice:  # fmt: skip
    found = await invoices.numbered(connection, receipt.invoice_no)
    its = await held.locked(connection, found.holder_id, found.subscription_no)
    one = await invoices.numbered(connection, receipt.invoice_no)
    if await invoices.known_payment(connection, one.provider, receipt.reference) == one.invoice_no:
        return one
    _check(one, receipt)
    paid = Payment(receipt.amount_minor, receipt.reference, actor, receipt.evidence, approval_id=approval_id)
    await _came(connection, provider, its, one, paid, at=at)
    detail = {"amount": receipt.amount_minor, "reference": receipt.reference}
    subject = f"invoice:{one.invoice_no}"
    await audit.write(connection, actor=actor, action="FEE_RECEIVED", subject=subject, detail=detail, at=at)
    return await invoices.numbered(connection, receipt.invoice_no)


def _check(one: Invoice, receipt: Receipt) -> None:
    if one.state != invoices.OPEN:
        raise InvoiceNotOpen(f"invoice {one.invoice_no} is {one.state}")
    if receipt.amount_minor != one.gross_minor or not receipt.reference or not receipt.evidence:
        raise PaymentMismatch(f"a receipt says {one.gross_minor} minor units, a reference and what shows it")


# --- What money makes of a subscription -------------------------------------------------------------------------


async def _came(
    connection: AsyncConnection, provider: Provider, its: Subscription, one: Invoice, paid: Payment, *, at: datetime
) -> None:
    """Money came for an invoice: what it pays for begins. What nobody owes any more goes back."""
    period = Period(0, one.period_from, one.period_until)
    is_first = its.contract.state is State.PENDING and one.kind != invoices.GIFT
    if is_first:
        its_price = await plans.price(connection, one.price_no)
        began = Event("ACTIVATED", at, interval=its_price.interval)
        rhythm = contract.apply(its.contract, began).rhythm
        assert rhythm is not None
        period = rhythm.period(0)
    is_surplus = one.state != invoices.OPEN
    days = invoices.days_of(period, its.zone)
    if not await invoices.keep_payment(connection, one, paid, days=days, is_surplus=is_surplus, at=at):
        return
    over = [ASK, CHARGE, END, EXPIRE, REMIND]
    await store.drop_due(connection, one.holder_id, one.subscription_no, over, one.invoice_no)
    if is_surplus:
        await crediting.give_back(connection, one, paid.reference, paid.amount_minor, reason="SURPLUS", at=at)
        return
    if one.kind == invoices.GIFT:
        await held.append(connection, its, Event("GIVEN", at, reason="GIVEN"))
        return
    plan_id = (await plans.price(connection, one.price_no)).plan_id
    if is_first:
        its = await held.append(connection, its, began)
        await store.put_due(connection, one.holder_id, one.subscription_no, PERIOD, 0, period.end)
        await held.announce(connection, its, at=at)
    elif one.kind == invoices.CHANGE:
        its = await held.append(connection, its, Event("PRICE_CHANGED", at, price_no=one.price_no))
    since = max(period.start, at) if one.kind == invoices.CHANGE else period.start
    await held.grant(connection, its, "PAID", since, period.end, at, plan_id=plan_id, invoice_no=one.invoice_no)
    await held.promise_points(connection, its, one.invoice_no, at=at)


async def _charged_back(connection: AsyncConnection, provider: Provider, told: Told, *, at: datetime) -> bool:
    """A bank took a payment back. Of one that was surplus nothing goes back any more, and that is all. False where
    nobody knows of the payment."""
    invoice_no = await invoices.known_payment(connection, provider.name, told.reference)
    if invoice_no is None:
        return False
    one = await invoices.numbered(connection, invoice_no)
    await held.locked(connection, one.holder_id, one.subscription_no)
    await _keep_from_refunding(connection, one, told, at=at)
    counted = await invoice_store.payment(connection, invoice_no)
    if counted is not None and counted.reference == told.reference:
        await _take_back(connection, one, at=at)
    return True


async def _take_back(connection: AsyncConnection, one: Invoice, *, at: datetime) -> bool:
    """A bank took a payment back: its subscription gives nothing from now on, and ends. False where nothing is paid."""
    its = await held.locked(connection, one.holder_id, one.subscription_no)
    one = await invoices.numbered(connection, one.invoice_no)
    if one.state != invoices.PAID:
        return False
    await crediting.charge_back(connection, one, its.zone, at=at)
    await entitlement_store.insert_block(connection, its.holder_id, its.subscription_no, "CHARGEBACK", at)
    if not its.is_over:
        await held.take_points(connection, its, at=at)
        await held.end(connection, its, reason="CHARGEBACK", at=at)
    return True


async def _keep_from_refunding(connection: AsyncConnection, one: Invoice, told: Told, *, at: datetime) -> None:
    """Money of a payment that was still to go back went with what the bank took."""
    refund_no = await invoice_store.open_refund(connection, one.invoice_no, told.reference)
    if refund_no is not None:
        await invoice_store.insert_refund_done(connection, one.holder_id, refund_no, "chargeback", "bank", at)
        await store.drop_due(connection, one.holder_id, one.subscription_no, [REFUND], refund_no)


async def _after_failure(connection: AsyncConnection, its: Subscription, one: Invoice, at: datetime) -> None:
    if its.contract.state is State.ACTIVE and one.kind == invoices.PERIOD:
        await held.remind(connection, one, at=at)
    tried = await invoice_store.attempts(connection, one.holder_id, one.invoice_no)
    step = arrears.next_step(one.due_at, [Attempt(t.at, t.outcome, t.has_new_means_since) for t in tried], ARREARS)
    if step.kind == "CHARGE":
        await store.put_due(connection, one.holder_id, one.subscription_no, CHARGE, one.invoice_no, max(step.at, at))


async def _wait(connection: AsyncConnection, one: Invoice, until: datetime | None) -> None:
    await store.drop_due(connection, one.holder_id, one.subscription_no, [CHARGE], one.invoice_no)
    if until is not None:
        await store.put_due(connection, one.holder_id, one.subscription_no, CHARGE, one.invoice_no, until)
