"""What finance proposes and somebody else of finance decides, whatever it is about: one list, one way to decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval, ProposalUnknown
from members.subscription import charging
from members.subscription.providers import MANUAL
from settlement.bank import details, suspense
from settlement.claims import claims
from settlement.documents import taxes
from settlement.exposure import defaults, deposits
from settlement.money import locks, openings, stock
from settlement.reconciliation import resolving
from settlement.subscription import rules

_Decide = Callable[..., Awaitable[None]]
_WITH_NUMBERS: Mapping[str, _Decide] = {
    locks.KIND: locks.decide, stock.TRANSFER: stock.decide, stock.OPENING: stock.decide,
    openings.KIND: openings.decide, deposits.KIND: deposits.decide,
    claims.APPROVAL: claims.decide,
}  # fmt: skip


async def _receipt(connection: AsyncConnection, number: int, *, checker: str, at: datetime) -> None:
    await charging.approve_receipt(connection, MANUAL, number, actor=checker, at=at)


_BY_NAMES: Mapping[str, Callable[..., Awaitable[object]]] = {
    taxes.APPROVAL: taxes.approve, defaults.APPROVAL: defaults.cover, rules.APPROVAL: rules.approve,
    charging.APPROVAL: _receipt,
}  # fmt: skip


async def _break(connection: AsyncConnection, number: int, checker: str, approved: bool, at: datetime) -> None:
    await resolving.decide(connection, number, approved=approved, actor=checker, at=at)


async def _suspense(connection: AsyncConnection, number: int, checker: str, approved: bool, at: datetime) -> None:
    await suspense.decide(connection, number, approved=approved, actor=checker, at=at)


async def _account(connection: AsyncConnection, number: int, checker: str, approved: bool, at: datetime) -> None:
    await details.decide(connection, number, approved=approved, checker=checker, at=at)


_WHOLE: Mapping[str, Callable[[AsyncConnection, int, str, bool, datetime], Awaitable[None]]] = {
    resolving.APPROVAL: _break, suspense.APPROVAL: _suspense, details.APPROVAL: _account,
}  # fmt: skip
KINDS = (*_WITH_NUMBERS, *_BY_NAMES, *_WHOLE)
"""Kinds of proposals that are decided here. A run is approved by its own step, an agreement by whoever signs those."""


async def waiting(connection: AsyncConnection) -> list[Approval]:
    """What finance proposed and nobody has decided, the oldest first."""
    return await approvals.waiting(connection, KINDS)


async def makers(connection: AsyncConnection, found: Sequence[Approval]) -> list[str]:
    """Who proposed each."""
    names = await actors.names_of(connection, [one.maker_id for one in found])
    return [names[one.maker_id] for one in found]


async def decide(
    connection: AsyncConnection, approval_id: int, *, checker: str, approved: bool, at: datetime
) -> Approval:
    """Approve what was proposed and do it, or decline it, on behalf of a FINANCE_CHECKER who did not propose it.

    Rejects PROPOSAL_UNKNOWN also for what is decided elsewhere, what kit.approvals.decide rejects, and whatever keeps
    the thing itself from being done.
    """
    found = await approvals.read(connection, approval_id)
    if found.kind not in KINDS:
        raise ProposalUnknown(f"proposal {approval_id} is decided elsewhere")
    checker_id = await actors.by_name(connection, checker)
    if decides := _WITH_NUMBERS.get(found.kind):
        await decides(connection, found, checker=checker_id, approved=approved, at=at)
    elif whole := _WHOLE.get(found.kind):
        await whole(connection, approval_id, checker, approved, at)
    elif approved:
        await _BY_NAMES[found.kind](connection, approval_id, checker=checker, at=at)
    else:
        await approvals.decide(
            connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER, approved=False, at=at
        )
        subject = f"approval:{approval_id}"
        await audit.write(connection, actor=checker, action=f"{found.kind}_DECLINED", subject=subject, detail={}, at=at)
    return found
