"""Approvals: a partner asks a member to agree to spend, the member answers in the app, the answer is good once.

An approval is bound to the partner and to the exact number of points: agreeing to 500 here is agreeing to nothing else.
It is used up inside the spending's own database call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import fingerprint
from members import approval_store
from members.cards import Recognised

LASTS = timedelta(minutes=5)

ASKED = "ASKED"
APPROVED = "APPROVED"
DECLINED = "DECLINED"
EXPIRED = "EXPIRED"
USED = "USED"


class ApprovalUnknown(Recognised):
    """There is no such approval by this member for this partner."""

    code = "APPROVAL_UNKNOWN"
    sentence = "no such approval was given"


class ApprovalPending(Recognised):
    """The member has not answered yet."""

    code = "APPROVAL_PENDING"
    sentence = "the member has not answered yet"
    retryable = True


class ApprovalDeclined(Recognised):
    """The member said no."""

    code = "APPROVAL_DECLINED"
    sentence = "the member declined"


class ApprovalExpired(Recognised):
    """The approval was not answered or not used in time."""

    code = "APPROVAL_EXPIRED"
    sentence = "the approval is over; ask again"


class ApprovalMismatch(Recognised):
    """The member agreed to another number of points."""

    code = "APPROVAL_MISMATCH"
    sentence = "the member agreed to another number of points"


class ApprovalUsed(Recognised):
    """The approval was used already; it is good for one spending."""

    code = "APPROVAL_USED"
    sentence = "the approval was used already"


class ApprovalDecided(Recognised):
    """The member has answered before, and the answer stands."""

    code = "APPROVAL_DECIDED"
    sentence = "this was answered before"


@dataclass(frozen=True, slots=True)
class Approval:
    """A partner's question to a member and what became of it by an instant.

    state is ASKED, APPROVED, DECLINED, EXPIRED or USED.
    """

    member_id: int
    approval_no: int
    partner_id: int
    outlet_id: int
    points: int
    asked_at: datetime
    expires_at: datetime
    state: str


async def ask(
    connection: AsyncConnection,
    *,
    member_id: int,
    partner_id: int,
    outlet_id: int,
    points: int,
    idem_key: UUID,
    at: datetime,
) -> tuple[Approval, bool] | None:
    """Ask a member to agree that a partner takes so many points, above zero; the question, and whether it was asked
    before under this key. None where the key was used for another question."""
    content = fingerprint("approval", str(member_id), str(partner_id), str(outlet_id), str(points))
    is_new = await approval_store.insert_approval(
        connection,
        member_id=member_id,
        partner_id=partner_id,
        outlet_id=outlet_id,
        points=points,
        idem_key=idem_key,
        fingerprint=content,
        asked_at=at,
        expires_at=at + LASTS,
    )
    row = await approval_store.approval_by_key(connection, idem_key)
    assert row is not None
    return (_approval(row, at), not is_new) if row.fingerprint == content else None


async def asked_before(
    connection: AsyncConnection, idem_key: UUID, *, partner_id: int, at: datetime
) -> Approval | None:
    """The question that a partner asked under a key, for a retry whose member is not recognised any more."""
    row = await approval_store.approval_by_key(connection, idem_key)
    return None if row is None or row.partner_id != partner_id else _approval(row, at)


async def decide(
    connection: AsyncConnection, member_id: int, approval_no: int, *, approved: bool, at: datetime
) -> Approval:
    """A member's answer, once and for all; the same answer again is heard again.

    Rejects APPROVAL_UNKNOWN, APPROVAL_EXPIRED, APPROVAL_DECIDED (another answer was given).
    """
    row = await approval_store.approval_for_update(connection, member_id, approval_no)
    if row is None:
        raise ApprovalUnknown(member_id)
    if row.approved is None:
        if row.expires_at <= at:
            raise ApprovalExpired(member_id)
        await approval_store.insert_decision(connection, member_id, approval_no, approved=approved, at=at)
    elif row.approved != approved:
        raise ApprovalDecided(member_id)
    found = await approval_store.approval(connection, member_id, approval_no)
    assert found is not None
    return _approval(found, at)


async def check(
    connection: AsyncConnection, member_id: int, approval_no: int, *, partner_id: int, points: int, at: datetime
) -> None:
    """Look whether a member's approval covers a partner's spending of exactly so many points. Writes nothing: of two
    calls that are both told yes, the spending's database call takes it from one.

    Rejects APPROVAL_UNKNOWN, APPROVAL_MISMATCH, APPROVAL_PENDING, APPROVAL_DECLINED, APPROVAL_EXPIRED, APPROVAL_USED.
    """
    found = await find(connection, member_id, approval_no, partner_id=partner_id, at=at)
    if found is None:
        raise ApprovalUnknown(member_id)
    if found.points != points:
        raise ApprovalMismatch(member_id)
    if found.state in _REJECTIONS:
        raise _REJECTIONS[found.state](member_id)


async def find(
    connection: AsyncConnection, member_id: int, approval_no: int, *, partner_id: int, at: datetime
) -> Approval | None:
    """A partner's question to a member, as it stands at an instant; None where there is none or it is another's."""
    row = await approval_store.approval(connection, member_id, approval_no)
    return None if row is None or row.partner_id != partner_id else _approval(row, at)


async def waiting(connection: AsyncConnection, member_id: int, *, at: datetime) -> Sequence[Approval]:
    """The questions that a member can answer at an instant, the latest first."""
    return [_approval(row, at) for row in await approval_store.open_approvals(connection, member_id, at)]


_REJECTIONS: dict[str, type[Recognised]] = {
    ASKED: ApprovalPending,
    DECLINED: ApprovalDeclined,
    EXPIRED: ApprovalExpired,
    USED: ApprovalUsed,
}


def _approval(row: Row[Any], at: datetime) -> Approval:
    return Approval(
        row.member_id, row.approval_no, row.partner_id, row.outlet_id, row.points, row.asked_at, row.expires_at,
        _state(row, at),
    )  # fmt: skip


def _state(row: Row[Any], at: datetime) -> str:
    if row.is_used:
        return USED
    if row.approved is False:
        return DECLINED
    if row.expires_at <= at:
        return EXPIRED
    return APPROVED if row.approved else ASKED
