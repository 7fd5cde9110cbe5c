"""Manual adjustments of somebody's points: one proposes, another approves, and it is said who pays.

Points given are issued under a partner's agreement in force, as if earned there, spendable at once; the partner named
or the operator funds them, and is billed like any funder. Points taken come from the lots that expire first, and
whoever had funded those gets back what it paid (decision 0014). Both are bounded per person and day, on both sides of
the decision; beyond a sum the checker is one of finance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import FieldProblem, Rejection
from kit.instants import add_months
from kit.secrets import fingerprint
from ledger import adjustments
from ledger.adjustments import Grant
from members import sharing
from partners import store
from partners.adjustments import adjustment_store
from partners.agreements import agreements, onboarding, programme, roles
from partners.callers import AgreementMissing
from partners.terms import Terms

KIND = "ADJUSTMENT"
OPERATOR = 0
DAILY_POINTS = 50_000
"""The most that one person proposes, and that one person approves, in one day of the programme."""
FINANCE_ABOVE_POINTS = 10_000
"""An adjustment of more takes a FINANCE_CHECKER to approve."""
REASONS = ("GOODWILL", "CORRECTION", "LATE_RECEIPT", "FRAUD")


class AdjustmentInvalid(Rejection):
    """The adjustment cannot be proposed; `problems` says why."""

    code = "ADJUSTMENT_INVALID"
    retryable = False


class AdjustmentCapReached(Rejection):
    """The person's limit for adjustments in one day would be exceeded."""

    code = "ADJUSTMENT_CAP_REACHED"
    retryable = True


@dataclass(frozen=True, slots=True)
class AdjustmentDraft:
    """An adjustment as somebody proposes it: points above zero are given, below taken.

    Of points given, issuer is the code of the partner under whose agreement they are issued, and is_funded_by_issuer
    says whether it pays for them or the operator does.
    """

    member_id: int
    points: int
    reason: str
    issuer: str | None = None
    is_funded_by_issuer: bool = False


async def propose(connection: AsyncConnection, draft: AdjustmentDraft, *, maker: int, at: datetime) -> int:
    """Propose an adjustment for somebody else to approve; returns the approval's number. Nothing moves yet.

    Rejects NOT_PERMITTED, ADJUSTMENT_INVALID, ADJUSTMENT_CAP_REACHED, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON,
    PARTNER_UNKNOWN, AGREEMENT_MISSING, PARTNER_DOES_NOT_ISSUE.
    """
    await actors.require_role(connection, maker, actors.MEMBER_CARE_MAKER)
    if found := list(_problems(draft)):
        raise AdjustmentInvalid("this adjustment cannot be proposed", problems=found)
    member = await sharing.person(connection, draft.member_id)
    issuer_id = None
    if draft.issuer is not None:
        issuer_id = await onboarding.partner_id_of(connection, draft.issuer)
        roles.require_issuer(await _terms_at(connection, issuer_id, at))
    rules = await programme.read(connection)
    day = at.astimezone(ZoneInfo(rules.time_zone)).date()
    await adjustment_store.lock_person(connection, maker)
    _check_cap(await adjustment_store.proposed_points(connection, maker, day), draft.points, "proposed")
    values = {
        "holder_id": member.member_id,
        "points": draft.points,
        "reason": draft.reason,
        "issuer_id": issuer_id,
        "funder_id": None if issuer_id is None else issuer_id if draft.is_funded_by_issuer else OPERATOR,
    }
    subject = f"member:{member.member_id}"
    approval_id = await approvals.propose(connection, kind=KIND, subject=subject, detail=values, maker=maker, at=at)
    await adjustment_store.insert(connection, {**values, "approval_id": approval_id, "day": day})
    await _note(connection, "ADJUSTMENT_PROPOSED", subject, approval_id, draft.points, maker, at)
    return approval_id


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime
) -> int | None:
    """Approve or decline an adjustment; returns the number of the entry that it made, None where it was declined.

    Rejects NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED, ADJUSTMENT_CAP_REACHED, ADJUSTMENT_EXCEEDS_BALANCE,
    AGREEMENT_MISSING, PARTNER_DOES_NOT_ISSUE, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON; each leaves the proposal
    undecided.
    """
    row = await adjustment_store.read(connection, approval.approval_id)
    if row is None:
        raise approvals.ProposalUnknown(f"there is no adjustment under proposal {approval.approval_id}")
    role = actors.FINANCE_CHECKER if abs(row.points) > FINANCE_ABOVE_POINTS else actors.MEMBER_CARE_CHECKER
    await approvals.decide(connection, approval.approval_id, checker=checker, role=role, approved=approved, at=at)
    action = "ADJUSTMENT_APPROVED" if approved else "ADJUSTMENT_DECLINED"
    await _note(connection, action, approval.subject, approval.approval_id, row.points, checker, at)
    return await _carry_out(connection, row, checker, at) if approved else None


async def _carry_out(connection: AsyncConnection, row: Row[tuple[object, ...]], checker: int, at: datetime) -> int:
    rules = await programme.read(connection)
    day = at.astimezone(ZoneInfo(rules.time_zone)).date()
    await adjustment_store.lock_person(connection, checker)
    # This one is decided already, in this transaction: it is among them.
    approved = await adjustment_store.approved_points(connection, checker, day, rules.time_zone)
    _check_cap(approved - abs(row.points), row.points, "approved")
    member = await sharing.person(connection, row.holder_id)  # who may have been merged since
    key = fingerprint("adjustment", str(row.approval_id))
    if row.points < 0:
        return await adjustments.take(connection, member.member_id, -row.points, key=key, at=at)
    terms = await _terms_at(connection, row.issuer_id, at)
    roles.require_issuer(terms)
    expires_at = max(add_months(at, terms.expiry_months), at + timedelta(days=1))
    grant = Grant(row.issuer_id, row.funder_id, terms.terms_id, expires_at)
    return await adjustments.give(connection, member.member_id, row.points, grant, key=key, at=at)


async def _terms_at(connection: AsyncConnection, partner_id: int, at: datetime) -> Terms:
    signed = [terms for terms in await store.signed_terms(connection) if terms.partner_id == partner_id]
    terms = agreements.in_force(signed, at)
    if terms is None:
        raise AgreementMissing("no agreement was in force at that time")
    return terms


def _problems(draft: AdjustmentDraft) -> list[FieldProblem]:
    found = []
    if draft.points == 0 or abs(draft.points) > DAILY_POINTS:
        found.append(FieldProblem(("points",), "OUT_OF_RANGE", f"1 to {DAILY_POINTS}, given or taken"))
    if not re.fullmatch("|".join(REASONS), draft.reason):
        found.append(FieldProblem(("reason",), "UNKNOWN", ", ".join(REASONS)))
    if (draft.points > 0) != (draft.issuer is not None):
        message = "points given are issued under a partner's agreement, points taken under that of their lots"
        found.append(FieldProblem(("issuer",), "INVALID", message))
    return found


def _check_cap(before_points: int, points: int, done: str) -> None:
    if before_points + abs(points) > DAILY_POINTS:
        raise AdjustmentCapReached(
            f"one person may have {DAILY_POINTS} points {done} in one day, and has {before_points}"
        )


async def _note(
    connection: AsyncConnection, action: str, subject: str, approval_id: int, points: int, actor: int, at: datetime
) -> None:
    detail = {"of": approval_id, "points": points}
    await audit.write(connection, actor=actor, action=action, subject=subject, detail=detail, at=at)
