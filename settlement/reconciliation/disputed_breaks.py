"""Breaks that end as disputes: what differs is a line of a statement, and the dispute decides what money follows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.amounts import minor_from_micro
from settlement.reconciliation import dispute_store, disputes, register
from settlement.reconciliation.disputes import Dispute
from settlement.reconciliation.register import BreakState
from settlement.reconciliation.resolving import NothingToGive


async def dispute(
    connection: AsyncConnection, break_id: int, *, statement_id: int, line_no: int, reason: str, cause: str, actor: str,
    at: datetime,
) -> Dispute:  # fmt: skip
    """Resolve a break by disputing, for its partner, the line of its statement that the break is about, by what it is
    worth; on behalf of a FINANCE_MAKER. The break itself moves no money, and is not opened again.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, CAUSE_MISSING, BREAK_UNKNOWN, BREAK_STATE, NOTHING_TO_GIVE and what
    `disputes.dispute` rejects.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    register.check_cause(cause)
    its = await register.locked(connection, break_id)
    if not its.is_unresolved:
        raise BreakState(f"break {break_id} is {its.state}")
    if its.leg != "FILE" or its.partner_id is None or its.currency is None or its.value_micro <= 0:
        raise NothingToGive(f"break {break_id} is about nothing that its partner would have back")
    made = await disputes.dispute(
        connection, statement_id, line_no, partner_id=its.partner_id, reason=reason,
        amount_minor=minor_from_micro(its.value_micro, its.currency), note=cause, actor=actor, at=at,
        reference=its.detail.get("reference"),
    )  # fmt: skip
    if made.currency != its.currency:
        raise disputes.DisputeInvalid(f"the break is about {its.currency}, the statement is in {made.currency}")
    await register.close(connection, break_id, register.DISPUTE, reason=cause, actor=actor, at=at)
    row = {"dispute_id": made.dispute_id, "break_id": break_id, "actor": actor, "at": at}
    await dispute_store.link(connection, row)
    return made


async def dispute_of(connection: AsyncConnection, break_id: int) -> int | None:
    """The number of the dispute that resolved a break; None where none did."""
    row = await dispute_store.linked(connection, break_id=break_id)
    return None if row is None else int(row.dispute_id)


async def break_of(connection: AsyncConnection, dispute_id: int) -> int | None:
    """The number of the break that a dispute resolved; None where it did none."""
    row = await dispute_store.linked(connection, dispute_id=dispute_id)
    return None if row is None else int(row.break_id)
