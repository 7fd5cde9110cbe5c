"""Accounting periods: closed by two people once everything in them is booked, and nothing is booked in them again."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import Rejection
from settlement.money import store
from settlement.money.journal import PeriodLocked

KIND = "PERIOD_LOCK"


class PeriodIncomplete(Rejection):
    """Something of the period is not booked yet, or the period is not over."""

    code = "PERIOD_INCOMPLETE"
    retryable = True


async def propose(connection: AsyncConnection, *, through: datetime, maker: int, at: datetime) -> int:
    """Propose to close everything up to an instant, that instant included; returns the approval's number.

    Rejects NOT_PERMITTED, PERIOD_LOCKED, PERIOD_INCOMPLETE.
    """
    await actors.require_role(connection, maker, actors.FINANCE_MAKER)
    await _check(connection, through, at)
    through = through.astimezone(UTC)
    approval_id = await approvals.propose(
        connection, kind=KIND, subject=f"period through {through:%Y-%m-%d %H:%M:%S} UTC",
        detail={"through": through.isoformat()}, maker=maker, at=at,
    )  # fmt: skip
    await _note(connection, "PERIOD_LOCK_PROPOSED", approval_id, maker, at)
    return approval_id


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime
) -> None:
    """Close the period or decline to, on behalf of a FINANCE_CHECKER.

    Rejects NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED, PERIOD_LOCKED, PERIOD_INCOMPLETE.
    """
    await approvals.decide(
        connection, approval.approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    await _note(
        connection, "PERIOD_LOCK_APPROVED" if approved else "PERIOD_LOCK_DECLINED", approval.approval_id, checker, at
    )
    if approved:
        through = datetime.fromisoformat(approval.detail["through"])
        await store.lock_books(connection)
        await _check(connection, through, at)
        await store.insert_period_lock(connection, through=through, approval_id=approval.approval_id, at=at)


async def locked_through(connection: AsyncConnection) -> datetime | None:
    """Until when the books are closed; None where no period is."""
    return await store.locked_through(connection)


async def _check(connection: AsyncConnection, through: datetime, at: datetime) -> None:
    locked = await store.locked_through(connection)
    if locked is not None and through <= locked:
        raise PeriodLocked(f"everything up to {locked.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC is closed already")
    if through > at:
        raise PeriodIncomplete("the period is not over")
    if waiting := await store.unbooked_cutoff_ids(connection, through):
        raise PeriodIncomplete(f"cut-off {waiting[0]} reaches into the period and is not closed and booked")


async def _note(connection: AsyncConnection, action: str, approval_id: int, actor: int, at: datetime) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"approval:{approval_id}", detail={}, at=at)
