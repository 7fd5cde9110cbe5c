"""A run from its approval to its seal: who pays what, the files for the bank, and what became of each payment.

Debtors pay first. A leg is done when the bank's statements say that it was paid, when what covers a default took its
place, or when the rest of it was written off; a run is settled when every leg is. Each step is one transaction of the
caller's and changes nothing when it is done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import micro_per_minor
from kit.approvals import FourEyesRequired
from kit.errors import Rejection
from partners.agreements import programme
from partners.clearing import clearing
from settlement import archive, calendars, netting, states, store
from settlement.archive import RunHead
from settlement.bank import details, orders, payment_store
from settlement.bank.accounts import creditor_reference
from settlement.bank.details import BankAccountMissing, Details
from settlement.bank.orders import Leg, Order
from settlement.money import entries, journal
from settlement.money.events import MoneyEvent
from settlement.netting import Instruction
from settlement.rating import OPERATOR
from settlement.reconciliation import breaks, disputes
from settlement.states import APPROVED, INSTRUCTED, SEALED, SETTLED, SETTLING

DUE, ACKED, REJECTED, PARTIAL, MATCHED = "DUE", "ACKED", "REJECTED", "PARTIAL", "MATCHED"
RETURNED, OVERDUE, DEFAULTED = "RETURNED", "OVERDUE", "DEFAULTED"
DONE = (MATCHED, DEFAULTED)
SENT = (INSTRUCTED, ACKED, PARTIAL)
PAIN_001, PAIN_008 = "PAIN_001", "PAIN_008"
_PAYOUT_DAYS_LATER = 1  # creditors are paid when debtors have paid


class OrderUnknown(Rejection):
    """There is no payment file of this number, or no such leg in it."""

    code = "ORDER_UNKNOWN"
    retryable = False


class OrderNotReleased(Rejection):
    """The payment file goes to nobody before somebody else than who wrote it has let it go."""

    code = "ORDER_NOT_RELEASED"
    retryable = True


class LegState(Rejection):
    """The payment is where this cannot be done to it."""

    code = "LEG_STATE"
    retryable = True


class PaymentsOpen(Rejection):
    """A run is sealed when every payment of it is done and the books say so; the message says what is missing."""

    code = "PAYMENTS_OPEN"
    retryable = True


@dataclass(frozen=True, slots=True)
class PaymentLeg:
    """What a partner has to pay for a run (PAY_IN) or is paid (PAY_OUT), and where that stands; minor units.

    left_minor is what is not paid, covered or written off. reference is what a payment for it carries.
    """

    leg_id: int
    run_id: int
    partner_id: int
    currency: str
    direction: str
    amount_minor: int
    due_on: date
    reference: str
    state: str
    state_at: datetime
    paid_minor: int
    left_minor: int
    run_state: str

    @property
    def is_closed(self) -> bool:
        """Whether its run is settled: what comes now is for another one."""
        return self.run_state in (SETTLED, SEALED)


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """A file for the bank: pain.001 pays out, pain.008 collects. released_by: who let it go, None: nobody yet."""

    order_id: int
    message_id: str
    run_id: int
    kind: str
    currency: str
    execute_on: date
    legs: int
    total_minor: int
    sha256: bytes
    actor: str
    at: datetime
    released_by: str | None = None


# --- From the approval to the bank ----------------------------------------------------------------------------


async def instruct(connection: AsyncConnection, run_id: int, *, actor: str, at: datetime) -> list[PaymentOrder]:
    """Write the payment files of an approved run, on behalf of a FINANCE_MAKER; all files of the run.

    Again it writes files for what the bank rejected or returned, and nothing else. What is paid out is booked as in
    transit. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, RUN_UNKNOWN, RUN_STATE, BANK_ACCOUNT_MISSING, PERIOD_LOCKED.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    await store.lock_runs(connection)
    its = await archive.head(connection, run_id)
    if its.state == APPROVED:
        await _make_legs(connection, its, actor, at)
    elif its.state not in (INSTRUCTED, SETTLING):
        states.check_run(its.name, its.state, INSTRUCTED)
    await _order(connection, its, actor, at)
    made = await orders_of(connection, run_id)
    if its.state == APPROVED:
        said = {"files": {one.message_id: one.sha256.hex() for one in made}}
        await step(connection, its, INSTRUCTED, actor=actor, reason="payment files written", at=at, evidence=said)
        await audit.write(connection, actor=actor, action="RUN_INSTRUCTED", subject=f"run:{run_id}", detail=said, at=at)
        await advance(connection, [run_id], actor=actor, at=at)
    return made


async def release(connection: AsyncConnection, order_id: int, *, actor: str, at: datetime) -> PaymentOrder:
    """Let a payment file go to the bank, on behalf of a FINANCE_CHECKER who did not write it; again it is as it was.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, ORDER_UNKNOWN, FOUR_EYES_REQUIRED.
    """
    await _permit(connection, actor, actors.FINANCE_CHECKER)
    await store.lock_runs(connection)
    order = await order_of(connection, order_id)
    if order.released_by is not None:
        return order
    if order.actor == actor:
        raise FourEyesRequired("who wrote a payment file does not let it go: another actor has to")
    await payment_store.insert_release(connection, order_id, actor=actor, at=at)
    detail = {"message": order.message_id, "sha256": order.sha256.hex(), "total_minor": order.total_minor}
    await audit.write(
        connection, actor=actor, action="PAYMENT_FILE_RELEASED", subject=f"run:{order.run_id}", detail=detail, at=at
    )
    return await order_of(connection, order_id)


async def acknowledge(
    connection: AsyncConnection, order_id: int, *, rejected: Iterable[str] = (), actor: str, at: datetime,
    taken: Iterable[str] | None = None,
) -> list[PaymentLeg]:  # fmt: skip
    """Note what the bank said to a file (pain.002), on behalf of a FINANCE_MAKER: taken (None: all others), but for the
    end-to-end ids that are named. What it rejected is taken back in the books and may be instructed again.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, ORDER_UNKNOWN, ORDER_NOT_RELEASED, LEG_STATE, PERIOD_LOCKED.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    await store.lock_runs(connection)
    if (await order_of(connection, order_id)).released_by is None:
        raise OrderNotReleased(f"payment file {order_id} was not let go, so the bank cannot have answered")
    told = {row.end_to_end_id: row.leg_id for row in await payment_store.order_legs(connection, order_id)}
    refused = set(rejected)
    if not told or refused - told.keys():
        raise OrderUnknown(f"there is no payment file {order_id} with these ids")
    found, last = await legs(connection, told.values()), await payment_store.latest_orders(connection, [*told.values()])
    said = told.keys() - refused if taken is None else set(taken)
    for end_to_end_id, leg_id in told.items():
        leg = found[leg_id]
        if end_to_end_id in refused and last[leg_id] != order_id:
            raise LegState(f"payment {end_to_end_id} was sent again since: what was rejected is not what is under way")
        if end_to_end_id in refused and leg.state in (INSTRUCTED, ACKED):
            await move_leg(connection, leg, REJECTED, actor=actor, reason="rejected by the bank", at=at)
            if leg.direction == netting.PAY_OUT:
                source = f"rejected:{end_to_end_id}"
                await _book(connection, source, [_pay_out(leg, -leg.left_minor)], leg.run_id, actor, at)
        elif end_to_end_id in refused:
            raise LegState(f"payment {end_to_end_id} is {leg.state}")
        elif end_to_end_id in said and leg.state == INSTRUCTED and last[leg_id] == order_id:
            await move_leg(connection, leg, ACKED, actor=actor, reason="taken by the bank", at=at)
    await advance(connection, sorted({leg.run_id for leg in found.values()}), actor=actor, at=at)
    return list((await legs(connection, told.values())).values())


# --- From the bank to the seal --------------------------------------------------------------------------------


async def follow_up(connection: AsyncConnection, *, actor: str, at: datetime) -> list[PaymentLeg]:
    """Say of what should have been paid by yesterday that it is overdue, and of what a default covered that it is done;
    what is overdue. On behalf of a FINANCE_MAKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    await store.lock_runs(connection)
    zone = (await programme.read(connection)).time_zone
    late = [PaymentLeg(**row._mapping) for row in await payment_store.unpaid(connection, breaks.local_day(at, zone))]
    for leg in late:
        if leg.direction == netting.PAY_IN and leg.state != OVERDUE:
            await move_leg(connection, leg, OVERDUE, actor=actor, reason=f"due on {leg.due_on}", at=at)
    runs = [its.run_id for its in await archive.runs(connection) if its.state in (INSTRUCTED, SETTLING)]
    for run_id in runs:
        for leg in await of_run(connection, run_id):
            if leg.state in (DUE, OVERDUE, PARTIAL, RETURNED) and leg.left_minor == 0:
                await move_leg(connection, leg, DEFAULTED, actor=actor, reason="covered or written off", at=at)
    await advance(connection, runs, actor=actor, at=at)
    return [leg for leg in (await legs(connection, [leg.leg_id for leg in late])).values() if leg.state == OVERDUE]


async def advance(connection: AsyncConnection, run_ids: Iterable[int], *, actor: str, at: datetime) -> None:
    """Move instructed runs on as far as their legs allow: settling once something happened, settled when all is done.

    The caller holds the right to move runs on.
    """
    for run_id in sorted(set(run_ids)):
        its, found = await archive.head(connection, run_id), await of_run(connection, run_id)
        if its.state == INSTRUCTED and (not found or any(leg.state not in (DUE, INSTRUCTED) for leg in found)):
            await step(connection, its, SETTLING, actor=actor, reason="payments are under way", at=at)
            its = await archive.head(connection, run_id)
        if its.state == SETTLING and all(leg.state in DONE for leg in found):
            await step(connection, its, SETTLED, actor=actor, reason="every payment is done", at=at)


async def seal(connection: AsyncConnection, run_id: int, *, actor: str, at: datetime) -> RunHead:
    """Seal a settled run, on behalf of a FINANCE_CHECKER: what was paid is what was to be paid, to the minor unit, and
    a hash over it and over the seal of the run before stays with the run.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, RUN_UNKNOWN, RUN_STATE, PAYMENTS_OPEN.
    """
    await _permit(connection, actor, actors.FINANCE_CHECKER)
    await store.lock_runs(connection)
    its = await archive.head(connection, run_id)
    if its.state == SEALED:
        return its
    states.check_run(its.name, its.state, SEALED)
    if its.previous_run_id is not None:
        before = await archive.head(connection, its.previous_run_id)
        if before.state != SEALED:
            raise PaymentsOpen(f"run {before.name} comes before it and is {before.state}")
    if wrong := await payment_store.violations(connection, payment_store.LEGS_ARE_PAID):
        raise PaymentsOpen(f"the payments do not add up: {wrong[0]}")
    found = await of_run(connection, run_id)
    said = {
        "run": its.name,
        "before": await _seal_of(connection, its.previous_run_id),
        "legs": [[leg.reference, leg.direction, leg.amount_minor, leg.paid_minor, leg.state] for leg in found],
        "files": {one.message_id: one.sha256.hex() for one in await orders_of(connection, run_id)},
    }
    said["seal"] = hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    await step(connection, its, SEALED, actor=actor, reason="paid as it was to be paid", at=at, evidence=said)
    await audit.write(
        connection, actor=actor, action="RUN_SEALED", subject=f"run:{run_id}", detail={"seal": said["seal"]}, at=at
    )
    return await archive.head(connection, run_id)


# --- Read -----------------------------------------------------------------------------------------------------


async def of_run(connection: AsyncConnection, run_id: int) -> list[PaymentLeg]:
    """The payments of a run and where they stand."""
    return [PaymentLeg(**row._mapping) for row in await payment_store.legs_of_run(connection, run_id)]


async def page(
    connection: AsyncConnection, *, partner_id: int | None, run_id: int | None = None, state: str | None = None,
    before: int | None, limit: int,
) -> list[PaymentLeg]:  # fmt: skip
    """Payments, the latest first: of a partner, of a run, in a state, older than one, as asked for."""
    rows = await payment_store.legs_page(
        connection, partner_id=partner_id, run_id=run_id, state=state, before=before, limit=limit
    )
    return [PaymentLeg(**row._mapping) for row in rows]


async def legs(connection: AsyncConnection, leg_ids: Iterable[int]) -> dict[int, PaymentLeg]:
    """Payments by their numbers."""
    rows = await payment_store.legs(connection, sorted(set(leg_ids)))
    return {row.leg_id: PaymentLeg(**row._mapping) for row in rows}


async def legs_of_order(connection: AsyncConnection, order_id: int) -> list[PaymentLeg]:
    """The payments of a file for the bank."""
    told = await payment_store.order_legs(connection, order_id)
    return list((await legs(connection, [row.leg_id for row in told])).values())


async def unpaid(connection: AsyncConnection) -> list[PaymentLeg]:
    """Payments with something left to be paid, the longest due first."""
    return [PaymentLeg(**row._mapping) for row in await payment_store.unpaid(connection, None)]


async def orders_of(connection: AsyncConnection, run_id: int | None = None) -> list[PaymentOrder]:
    """The files for the bank, in order: of a run, or all."""
    return [PaymentOrder(**row._mapping) for row in await payment_store.orders(connection, run_id)]


async def order_of(connection: AsyncConnection, order_id: int) -> PaymentOrder:
    """One file for the bank. Rejects ORDER_UNKNOWN."""
    row = await payment_store.order(connection, order_id)
    if row is None:
        raise OrderUnknown(f"there is no payment file {order_id}")
    return PaymentOrder(**row._mapping)


async def orders_page(connection: AsyncConnection, *, before: int | None, limit: int) -> list[PaymentOrder]:
    """The files for the bank, the latest first, older than one."""
    rows = await payment_store.orders_page(connection, before=before, limit=limit)
    return [PaymentOrder(**row._mapping) for row in rows]


async def content(connection: AsyncConnection, order_id: int) -> bytes:
    """A file for the bank as it was written, once it was let go. Rejects ORDER_UNKNOWN, ORDER_NOT_RELEASED."""
    if (await order_of(connection, order_id)).released_by is None:
        raise OrderNotReleased(f"payment file {order_id} was not let go by a second person")
    found = await payment_store.order_content(connection, order_id)
    if found is None:
        raise OrderUnknown(f"there is no payment file {order_id}")
    return found


# --- Steps ----------------------------------------------------------------------------------------------------


async def step(
    connection: AsyncConnection, its: RunHead, wanted: str, *, actor: str, reason: str, at: datetime,
    evidence: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Move a run on. Rejects RUN_STATE."""
    states.check_run(its.name, its.state, wanted)
    row = {
        "run_id": its.run_id, "from_state": its.state, "to_state": wanted, "actor": actor, "reason": reason, "at": at,
        "input_hash": None, "output_hash": None, "evidence": json.dumps(evidence or {}),
    }  # fmt: skip
    await store.insert_run_step(connection, row)


async def move_leg(
    connection: AsyncConnection, leg: PaymentLeg, wanted: str, *, actor: str, reason: str, at: datetime
) -> None:
    """Move a payment on; the database refuses what follows no edge."""
    row = {"leg_id": leg.leg_id, "from_state": leg.state, "to_state": wanted}
    await payment_store.insert_leg_step(connection, {**row, "actor": actor, "reason": reason, "at": at})


async def _permit(connection: AsyncConnection, actor: str, role: str) -> None:
    await actors.require_role(connection, await actors.by_name(connection, actor), role)


async def _make_legs(connection: AsyncConnection, its: RunHead, actor: str, at: datetime) -> None:
    zone = (await programme.read(connection)).time_zone
    today = breaks.local_day(at, zone)
    holidays = frozenset(row.day for row in await store.holidays(connection))
    signed = await clearing.settlement_terms_at(connection, at=at)
    for row in await store.instructions(connection, its.run_id):
        one = Instruction(**row._mapping)
        days = signed[one.partner_id].payment_days if one.partner_id in signed else 0
        is_out = one.direction == netting.PAY_OUT
        withheld = 0 if is_out else await disputes.withheld(connection, its.run_id, one.partner_id)
        if one.amount == withheld:
            continue
        due_on = calendars.business_days_on(today, days + (_PAYOUT_DAYS_LATER if is_out else 0), holidays)
        leg = {
            "run_id": its.run_id, "partner_id": one.partner_id, "currency": one.currency, "direction": one.direction,
            "amount_minor": one.amount - withheld, "due_on": due_on, "actor": actor, "at": at,
            "reference": creditor_reference(f"{its.run_id}{'O' if is_out else 'I'}{one.partner_id}"),
        }  # fmt: skip
        await payment_store.insert_leg(connection, leg)


async def _order(connection: AsyncConnection, its: RunHead, actor: str, at: datetime) -> None:
    """Put what is to be paid out, and what may be collected, into files: one for each kind and day."""
    known = await details.in_force(connection, its.currency, at=at)
    ready = [leg for leg in await of_run(connection, its.run_id) if leg.state in (DUE, REJECTED, RETURNED)]
    out = [leg for leg in ready if leg.direction == netting.PAY_OUT]
    own = known.get(OPERATOR)
    collected = [
        leg for leg in ready
        if leg.direction == netting.PAY_IN and leg.state == DUE and own is not None and own.creditor_id is not None
        and leg.partner_id in known and known[leg.partner_id].mandate is not None
    ]  # fmt: skip
    if not out and not collected:
        return
    if missing := sorted({leg.partner_id for leg in out} - known.keys()):
        raise BankAccountMissing(f"partner {missing[0]} is paid in {its.currency} and has no bank account that is good")
    if own is None:
        raise BankAccountMissing(f"the operator has no bank account in {its.currency} that is good")
    for kind, some in ((PAIN_001, out), (PAIN_008, collected)):
        for day in sorted({leg.due_on for leg in some}):
            of_day = [leg for leg in some if leg.due_on == day]
            await _write_order(connection, its, kind, day, of_day, own, known, actor, at)


async def _write_order(
    connection: AsyncConnection, its: RunHead, kind: str, day: date, some: Sequence[PaymentLeg], own: Details,
    known: dict[int, Details], actor: str, at: datetime,
) -> None:  # fmt: skip
    tries = await payment_store.attempts(connection, [leg.leg_id for leg in some])
    ids = {leg.leg_id: f"T{its.run_id}-{leg.leg_id}-{tries.get(leg.leg_id, 0) + 1}" for leg in some}
    number = len(await payment_store.orders(connection, its.run_id)) + 1
    order = Order(
        message_id=f"TESSERA-{its.run_id}-{number}", own=own.account, currency=its.currency,
        execute_on=max(day, at.date()), created_at=at, creditor_id=own.creditor_id,
        legs=tuple(_leg(leg, ids[leg.leg_id], known[leg.partner_id]) for leg in some),
    )  # fmt: skip
    written = orders.pay_out(order) if kind == PAIN_001 else orders.collect(order)
    row = {
        "message_id": order.message_id, "run_id": its.run_id, "kind": kind, "account_id": own.account_id,
        "currency": its.currency, "execute_on": order.execute_on, "legs": len(some), "total_minor": order.total_minor,
        "content": written, "sha256": hashlib.sha256(written).digest(), "actor": actor, "at": at,
    }  # fmt: skip
    order_id = await payment_store.insert_order(connection, row)
    rows = [
        {"order_id": order_id, "leg_id": leg.leg_id, "end_to_end_id": ids[leg.leg_id],
         "account_id": known[leg.partner_id].account_id, "amount_minor": leg.left_minor}
        for leg in some
    ]  # fmt: skip
    await payment_store.insert_order_legs(connection, rows)
    for leg in some:
        await move_leg(connection, leg, INSTRUCTED, actor=actor, reason=order.message_id, at=at)
    if kind == PAIN_001:
        found = [_pay_out(leg, leg.left_minor, ids[leg.leg_id]) for leg in some]
        await _book(connection, f"order:{order.message_id}", found, its.run_id, actor, at)


def _leg(leg: PaymentLeg, end_to_end_id: str, to: Details) -> Leg:
    return Leg(end_to_end_id, to.account, leg.left_minor, leg.reference, to.mandate)


def _pay_out(leg: PaymentLeg, amount_minor: int, reference: str | None = None) -> MoneyEvent:
    amount = amount_minor * micro_per_minor(leg.currency)
    return MoneyEvent("PAY_OUT", OPERATOR, leg.partner_id, leg.currency, amount, reference=reference or leg.reference)


async def _book(
    connection: AsyncConnection, source: str, found: Sequence[MoneyEvent], run_id: int, actor: str, at: datetime
) -> None:
    await journal.post(connection, source=source, entries=entries.of_events(found), at=at, actor=actor, run_id=run_id)


async def _seal_of(connection: AsyncConnection, run_id: int | None) -> str | None:
    if run_id is None:
        return None
    for one in await archive.trail(connection, run_id):
        if one.to_state == SEALED:
            return str(one.evidence.get("seal"))
    return None
