"""What does not balance, or is late: one list of everything that somebody should look at today."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.amounts import decimal_from_minor, micro_per_minor
from partners.agreements import programme
from settlement.bank import paying, payment_store, suspense
from settlement.claims import claims
from settlement.reconciliation import breaks, comparing, disputes, late_answers, register


@dataclass(frozen=True, slots=True)
class Late:
    """Something that does not balance (kind BALANCE) or is late: a break, a payment, money in suspense, a file."""

    kind: str
    subject: str
    since: str
    detail: str


async def late(connection: AsyncConnection, *, at: datetime) -> list[Late]:
    """Everything at an instant, what does not balance first."""
    zone = (await programme.read(connection)).time_zone
    on = breaks.local_day(at, zone)
    found = [Late("BALANCE", "books", on.isoformat(), sentence) for sentence in await unbalanced(connection)]
    found += [
        Late("BREAK", f"break {one.break_id} {one.category}", str(one.due_on or breaks.local_day(one.seen_at, zone)),
             f"{one.owner or 'nobody'} has it, {one.state.lower()}"
             + (f", went to {one.escalated_to}" if one.escalated_to else ""))
        for one in await register.late(connection, on=on)
    ]  # fmt: skip
    found += [
        Late("PAYMENT", f"payment {leg.leg_id} of run {leg.run_id}", leg.due_on.isoformat(),
             f"{leg.direction} {decimal_from_minor(leg.left_minor, leg.currency)} {leg.currency} by partner "
             f"{leg.partner_id}, {leg.state}")
        for leg in await paying.unpaid(connection)
        if leg.due_on < on and not leg.is_closed
    ]  # fmt: skip
    found += [
        Late("SUSPENSE", f"item {item.item_id}", item.at.date().isoformat(),
             f"{decimal_from_minor(item.amount_minor, item.currency)} {item.currency}")
        for item in await suspense.items(connection)
    ]  # fmt: skip
    found += [
        Late("DISPUTE", f"dispute {one.dispute_id}", one.deadline.date().isoformat(), f"{one.state}: silence decides")
        for one in await disputes.undecided(connection)
        if one.deadline is not None and one.deadline <= at
    ]
    found += [
        Late("CLAIM", f"claim {one.claim_id}", (one.deadline or one.state_at).date().isoformat(),
             f"{one.state}: {'the operator decides' if one.deadline else 'its receipt cannot be recorded'}")
        for one in await claims.late(connection, at=at)
    ]  # fmt: skip
    found += [
        Late("ANSWER", f"{one.kind.lower()} {one.subject_id}", one.deadline.date().isoformat(),
             f"the operator's answer is with {one.role}, {one.owner or 'nobody'} had it")
        for one in await late_answers.standing(connection)
    ]  # fmt: skip
    waiting = await comparing.waiting(connection)
    return found + [Late("FILE", f"file {number}", on.isoformat(), "taken, not compared yet") for number in waiting]


async def unbalanced(connection: AsyncConnection) -> list[str]:
    """Where the bank and the books differ: 1110 and the closing balance, 1410 and what is on its way, 2600 and what is
    in suspense; and payments or statements that do not add up."""
    found = [f"B2 {s}" for s in await payment_store.violations(connection, payment_store.ENTRIES_MAKE_CLOSING)]
    found += [f"B3 {s}" for s in await payment_store.violations(connection, payment_store.LEGS_ARE_PAID)]
    for row in await payment_store.closings(connection):
        if row.kept_micro != row.closing_minor * micro_per_minor(row.currency):
            found.append(
                f"B1 1110 is {row.kept_micro} micro-units of {row.currency}, the bank says {row.closing_minor}"
            )
    for row in await payment_store.in_transit(connection):
        if row.kept_micro != row.sent_minor * micro_per_minor(row.currency):
            found.append(
                f"B4 1410 is {row.kept_micro} micro-units of {row.currency}, {row.sent_minor} are on their way"
            )
    for row in await payment_store.suspended(connection):
        if row.kept_micro != row.open_minor * micro_per_minor(row.currency) + row.due_micro:
            found.append(f"B5 2600 is {row.kept_micro} micro-units of {row.currency}, {row.open_minor} are in suspense")
    return found
