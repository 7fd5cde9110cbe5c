"""Money that the bank has and nobody claimed yet: it ends with a payment of ours, in a partner's next statement, or
kept; and what a partner paid too little is written off. Suspense ages to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import micro_per_minor
from kit.approvals import Approval
from kit.errors import Rejection
from settlement import netting, store
from settlement.bank import assigning, paying, payment_store, receiving
from settlement.bank.assigning import Share
from settlement.bank.paying import LegState, PaymentLeg
from settlement.money import entries, journal
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.reconciliation import corrections, register, resolving

APPROVAL = "SUSPENSE"
IDENTIFIED, CREDITED, KEPT, WRITTEN_OFF = "IDENTIFIED", "CREDITED", "KEPT", "WRITTEN_OFF"


class SuspenseUnknown(Rejection):
    """There is no such money in suspense, or it is said already what it is for."""

    code = "SUSPENSE_UNKNOWN"
    retryable = False


class SuspenseMismatch(Rejection):
    """The money is not for this payment: another currency, another direction, or more than is left of it."""

    code = "SUSPENSE_MISMATCH"
    retryable = False


@dataclass(frozen=True, slots=True)
class Item:
    """Money in suspense, minor units, in above zero, and how it ended, if it did."""

    item_id: int
    bank_statement_id: int
    entry_no: int
    payment_no: int
    currency: str
    amount_minor: int
    partner_id: int | None
    at: datetime
    end_kind: str | None

    @property
    def source(self) -> str:
        """What its break is of."""
        return f"bank-payment:{self.bank_statement_id}/{self.entry_no}/{self.payment_no}"


async def items(connection: AsyncConnection) -> list[Item]:
    """Money of which nobody has said what it is for, the oldest first."""
    return [Item(**row._mapping) for row in await payment_store.open_items(connection)]


async def identify(connection: AsyncConnection, item_id: int, leg_id: int, *, actor: str, at: datetime) -> PaymentLeg:
    """Say that money in suspense is for a payment of a run, on behalf of a FINANCE_MAKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, SUSPENSE_UNKNOWN, SUSPENSE_MISMATCH, LEG_STATE, PERIOD_LOCKED.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    item = await _open_item(connection, item_id)
    leg = (await paying.legs(connection, [leg_id])).get(leg_id)
    if leg is None or leg.is_closed:
        raise LegState(f"payment {leg_id} does not exist, or its run is over")
    way = 1 if leg.direction == netting.PAY_IN else -1
    amount = way * item.amount_minor
    is_sent = leg.direction == netting.PAY_IN or leg.state in paying.SENT
    if leg.currency != item.currency or not 0 < amount <= leg.left_minor or not is_sent:
        raise SuspenseMismatch(f"{item.amount_minor} of {item.currency} cannot be for payment {leg_id}")
    row = {
        "bank_statement_id": item.bank_statement_id, "entry_no": item.entry_no, "payment_no": item.payment_no,
        "leg_id": leg_id, "amount_minor": amount, "rule": assigning.MANUAL,
        "rules_version": assigning.RULES_VERSION, "actor": actor, "at": at,
    }  # fmt: skip
    await payment_store.insert_leg_payments(connection, [row])
    event = _identified(leg, item.amount_minor)
    await _end(connection, item, IDENTIFIED, [event], actor=actor, at=at, leg_id=leg_id, partner_id=leg.partner_id)
    await receiving.settle_leg(connection, leg_id, amount, was=leg, actor=actor, at=at)
    await paying.advance(connection, [leg.run_id], actor=actor, at=at)
    return (await paying.legs(connection, [leg_id]))[leg_id]


async def identify_as(
    connection: AsyncConnection, item_id: int, shares: Sequence[Share], *, actor: str, at: datetime
) -> None:
    """Say that money in suspense is for these payments of runs, by the rules that found them and to the minor unit.

    Who asks has the right to. Rejects SUSPENSE_UNKNOWN, LEG_STATE, PERIOD_LOCKED.
    """
    item = await _open_item(connection, item_id)
    found = await paying.legs(connection, [share.leg_id for share in shares])
    rows, events = [], []
    for share in shares:
        leg = found[share.leg_id]
        way = 1 if leg.direction == netting.PAY_IN else -1
        rows.append(
            {"bank_statement_id": item.bank_statement_id, "entry_no": item.entry_no, "payment_no": item.payment_no,
             "leg_id": leg.leg_id, "amount_minor": share.amount_minor, "rule": share.rule,
             "rules_version": assigning.RULES_VERSION, "actor": actor, "at": at}
        )  # fmt: skip
        events.append(_identified(leg, way * share.amount_minor))
    await payment_store.insert_leg_payments(connection, rows)
    first = found[shares[0].leg_id]
    await _end(connection, item, IDENTIFIED, events, actor=actor, at=at, leg_id=first.leg_id,
               partner_id=first.partner_id)  # fmt: skip
    for share in shares:
        leg = found[share.leg_id]
        await receiving.settle_leg(connection, leg.leg_id, share.amount_minor, was=leg, actor=actor, at=at)
    await paying.advance(connection, {leg.run_id for leg in found.values()}, actor=actor, at=at)


def _identified(leg: PaymentLeg, amount_minor: int) -> MoneyEvent:
    """What it does to the books that so much in suspense, above zero what came in, is for a payment."""
    kind = "RECEIPT_IDENTIFIED" if leg.direction == netting.PAY_IN else "RECEIPT_SENT_BACK"
    micro = amount_minor * micro_per_minor(leg.currency)
    return MoneyEvent(kind, leg.partner_id, OPERATOR, leg.currency, micro, reference=leg.reference)


async def credit(connection: AsyncConnection, item_id: int, partner_id: int, *, actor: str, at: datetime) -> None:
    """Have a partner's next statement give it what is in suspense, on behalf of a FINANCE_MAKER: paid too much, or come
    back after its run was over. Until that run it stays in suspense.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, SUSPENSE_UNKNOWN, SUSPENSE_MISMATCH.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    item = await _open_item(connection, item_id)
    if item.partner_id not in (None, partner_id):
        raise SuspenseMismatch(f"the money came from partner {item.partner_id}")
    micro = item.amount_minor * micro_per_minor(item.currency)
    await corrections.tell(
        connection, source=f"suspense:{item_id}", kind=corrections.RECEIPT_CREDITED, partner_id=partner_id,
        currency=item.currency, amount_micro=-micro, reason="money in suspense", actor=actor, at=at,
    )  # fmt: skip
    await _end(connection, item, CREDITED, [], actor=actor, at=at, partner_id=partner_id)


async def propose_keep(connection: AsyncConnection, item_id: int, *, cause: str, actor: str, at: datetime) -> int:
    """Propose to keep money of which nobody could say whose it is, or to bear it where it went out, on behalf of a
    FINANCE_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, SUSPENSE_UNKNOWN, CAUSE_MISSING.
    """
    maker = await register.permit(connection, actor, actors.FINANCE_MAKER)
    register.check_cause(cause)
    item = await _open_item(connection, item_id)
    detail = {"item": item_id, "amount_minor": item.amount_minor, "currency": item.currency, "cause": cause}
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"suspense:{item_id}", detail=detail, maker=maker, at=at
    )


async def write_off(connection: AsyncConnection, leg_id: int, *, cause: str, actor: str, at: datetime) -> int | None:
    """Give up what is left of a payment that a partner made in part, on behalf of a FINANCE_MAKER: at once where the
    month's budget for the partner has room (None), otherwise another decides and this is the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, LEG_STATE, CAUSE_MISSING, PERIOD_LOCKED.
    """
    maker = await register.permit(connection, actor, actors.FINANCE_MAKER)
    register.check_cause(cause)
    leg = await _short_leg(connection, leg_id)
    value = leg.left_minor * micro_per_minor(leg.currency)
    if not await resolving.has_room(connection, leg.partner_id, leg.currency, value, at=at):
        detail = {"leg": leg_id, "left_minor": leg.left_minor, "currency": leg.currency, "cause": cause}
        return await approvals.propose(
            connection, kind=APPROVAL, subject=f"leg:{leg_id}", detail=detail, maker=maker, at=at
        )
    await _relieve(connection, leg, cause, actor, at, None)
    return None


async def decide(connection: AsyncConnection, approval_id: int, *, approved: bool, actor: str, at: datetime) -> None:
    """Decide what another proposed about suspense or a short payment, on behalf of a FINANCE_CHECKER.

    Rejects what kit.approvals.decide rejects, ACTOR_UNKNOWN, SUSPENSE_UNKNOWN, LEG_STATE, PERIOD_LOCKED.
    """
    checker = await actors.by_name(connection, actor)
    proposal = await approvals.examine(connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER)
    if proposal.kind != APPROVAL:
        raise approvals.ProposalUnknown(f"proposal {approval_id} is about something else: {proposal.subject}")
    await approvals.decide(
        connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    if approved:
        await _decided(connection, proposal, actor, at)


async def waiting(connection: AsyncConnection) -> list[Approval]:
    """What was proposed about suspense and short payments and is not decided."""
    return await approvals.waiting(connection, [APPROVAL])


async def _decided(connection: AsyncConnection, proposal: Approval, actor: str, at: datetime) -> None:
    said: dict[str, Any] = dict(proposal.detail)
    if "leg" in said:
        leg = await _short_leg(connection, said["leg"])
        if leg.left_minor != said["left_minor"]:
            raise LegState(f"of payment {leg.leg_id} {leg.left_minor} is left by now")
        await _relieve(connection, leg, said["cause"], actor, at, proposal.approval_id)
        return
    item = await _open_item(connection, said["item"])
    micro = item.amount_minor * micro_per_minor(item.currency)
    event = MoneyEvent("RECEIPT_KEPT", OPERATOR, OPERATOR, item.currency, micro)
    await _end(connection, item, KEPT, [event], actor=actor, at=at, approval_id=proposal.approval_id)


async def _open_item(connection: AsyncConnection, item_id: int) -> Item:
    """Money in suspense, which nobody else ends until the transaction ends. Rejects SUSPENSE_UNKNOWN."""
    await store.lock_runs(connection)
    row = await payment_store.item(connection, item_id)
    if row is None or row.end_kind is not None:
        raise SuspenseUnknown(f"there is no money {item_id} in suspense, or it has ended")
    return Item(**row._mapping)


async def _short_leg(connection: AsyncConnection, leg_id: int) -> PaymentLeg:
    await store.lock_runs(connection)
    leg = (await paying.legs(connection, [leg_id])).get(leg_id)
    is_short = leg is not None and leg.direction == netting.PAY_IN and leg.paid_minor > 0 and leg.left_minor > 0
    if leg is None or not is_short or leg.is_closed:
        raise LegState(f"payment {leg_id} was not paid in part")
    return leg


async def _relieve(
    connection: AsyncConnection, leg: PaymentLeg, cause: str, actor: str, at: datetime, approval_id: int | None
) -> None:
    value = leg.left_minor * micro_per_minor(leg.currency)
    row = {"leg_id": leg.leg_id, "amount_minor": leg.left_minor, "approval_id": approval_id, "actor": actor, "at": at}
    await payment_store.insert_relief(connection, row)
    event = MoneyEvent("PAYMENT_WRITTEN_OFF", leg.partner_id, OPERATOR, leg.currency, value, reference=leg.reference)
    await journal.post(
        connection, source=f"relief:{leg.leg_id}", entries=entries.of_events([event]), at=at, actor=actor,
        run_id=leg.run_id,
    )  # fmt: skip
    await paying.move_leg(connection, leg, paying.MATCHED, actor=actor, reason="the rest was written off", at=at)
    for break_id in await register.of_source(connection, f"leg-short:{leg.leg_id}"):
        await register.close(
            connection, break_id, register.WRITE_OFF, reason=cause, actor=actor, at=at, approval_id=approval_id,
            value_micro=value,
        )  # fmt: skip
    await paying.advance(connection, [leg.run_id], actor=actor, at=at)


async def _end(
    connection: AsyncConnection, item: Item, kind: str, events: list[MoneyEvent], *, actor: str, at: datetime,
    leg_id: int | None = None, partner_id: int | None = None, approval_id: int | None = None,
) -> None:  # fmt: skip
    row = {
        "item_id": item.item_id, "kind": kind, "leg_id": leg_id, "partner_id": partner_id, "approval_id": approval_id,
        "actor": actor, "at": at,
    }  # fmt: skip
    await payment_store.insert_item_end(connection, row)
    if events:
        await journal.post(
            connection, source=f"suspense:{item.item_id}", entries=entries.of_events(events), at=at, actor=actor
        )
    resolution = register.MATCHED if kind == IDENTIFIED else register.POST if kind == CREDITED else register.WRITE_OFF
    for break_id in await register.of_source(connection, item.source):
        await register.close(
            connection, break_id, resolution, reason=kind.lower(), actor=actor, at=at, approval_id=approval_id
        )
    detail = {"kind": kind, "amount_minor": item.amount_minor, "leg": leg_id}
    await audit.write(
        connection, actor=actor, action="SUSPENSE_ENDED", subject=f"suspense:{item.item_id}", detail=detail, at=at
    )
