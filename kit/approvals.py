"""What takes two people: a maker proposes, a checker who is somebody else decides, once; the maker may withdraw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, clock, store
from kit.errors import Rejection

COOLING = timedelta(hours=24)
WAITING, APPROVED, DECLINED, WITHDRAWN = "WAITING", "APPROVED", "DECLINED", "WITHDRAWN"
LONGEST_REASON = 500


class ProposalUnknown(Rejection):
    """Nothing of this number was proposed."""

    code = "PROPOSAL_UNKNOWN"
    retryable = False


class FourEyesRequired(Rejection):
    """Who proposed it may not decide it."""

    code = "FOUR_EYES_REQUIRED"
    retryable = False


class AlreadyDecided(Rejection):
    """A checker has decided it before, or its maker withdrew it."""

    code = "ALREADY_DECIDED"
    retryable = False


class RoleSelfGranted(Rejection):
    """Who gave the role to himself decides nothing with it for a day."""

    code = "ROLE_SELF_GRANTED"
    retryable = True


@dataclass(frozen=True, slots=True)
class Approval:
    """A proposal, and what became of it: WAITING, APPROVED, DECLINED, WITHDRAWN."""

    approval_id: int
    kind: str
    subject: str
    maker_id: int
    made_at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)
    state: str = WAITING
    checker_id: int | None = None
    ended_at: datetime | None = None
    reason: str | None = None


async def propose(
    connection: AsyncConnection,
    *,
    kind: str,
    subject: str,
    detail: Mapping[str, Any],
    maker: int,
    at: datetime,
) -> int:
    """Record what an actor proposes; returns the approval's number. Which role it takes is the caller's rule.

    kind is UPPER_SNAKE, subject says what it is about (`partner:17 version 2`), detail is for the checker.
    """
    return await store.insert_approval(
        connection, kind=kind, subject=subject, detail=detail, maker_id=maker, made_at=at
    )


async def examine(connection: AsyncConnection, approval_id: int, *, checker: int, role: str) -> Approval:
    """The approval, which this checker may decide, locked until the transaction ends: the second one waits.

    For use cases with more to check before `decide`. Rejects NOT_PERMITTED, PROPOSAL_UNKNOWN,
    FOUR_EYES_REQUIRED, ROLE_SELF_GRANTED, ALREADY_DECIDED.
    """
    await actors.require_role(connection, checker, role)
    row = await store.approval_for_update(connection, approval_id)
    if row is None:
        raise ProposalUnknown(f"there is no proposal number {approval_id}")
    if row["maker_id"] == checker:
        raise FourEyesRequired("who proposed it may not decide it: another actor has to")
    if await store.granted_to_self(connection, checker, role, since=clock.wall() - COOLING):
        raise RoleSelfGranted("who gave the role to himself decides nothing with it for a day")
    return _open(row)


async def withdraw(connection: AsyncConnection, approval_id: int, *, maker: int, at: datetime) -> Approval:
    """Take a proposal back, on behalf of who made it; nobody decides it any more.

    Rejects PROPOSAL_UNKNOWN, NOT_PERMITTED where somebody else made it, ALREADY_DECIDED.
    """
    row = await store.approval_for_update(connection, approval_id)
    if row is None:
        raise ProposalUnknown(f"there is no proposal number {approval_id}")
    if row["maker_id"] != maker:
        raise actors.NotPermitted("who proposed it takes it back, and nobody else")
    found = _open(row)
    await store.record_withdrawal(connection, approval_id, at)
    return found


async def read(connection: AsyncConnection, approval_id: int) -> Approval:
    """A proposal, decided or not. Rejects PROPOSAL_UNKNOWN."""
    row = await store.approval(connection, approval_id)
    if row is None:
        raise ProposalUnknown(f"there is no proposal number {approval_id}")
    return _approval(row)


async def waiting(connection: AsyncConnection, kinds: Sequence[str]) -> list[Approval]:
    """Proposals of these kinds that nobody has decided, the oldest first."""
    return [_approval(row) for row in await store.approvals_waiting(connection, kinds)]


async def about(
    connection: AsyncConnection,
    kinds: Sequence[str],
    subject: str,
    *,
    limit: int,
    behind: tuple[bool, int] | None = None,
) -> list[Approval]:
    """Proposals of these kinds about a subject: those that wait, then what was decided, the latest first.

    behind: only what comes after one of them, whether it waited and its number.
    """
    return [_approval(row) for row in await store.approvals_about(connection, kinds, subject, limit, behind)]


async def standing(connection: AsyncConnection, kind: str, subject: str) -> int | None:
    """The number of a proposal of a kind about a subject that waits or was approved; None where there is none."""
    return await store.proposal_standing(connection, kind, subject)


async def decide(
    connection: AsyncConnection,
    approval_id: int,
    *,
    checker: int,
    role: str,
    approved: bool,
    at: datetime,
    reason: str | None = None,
) -> None:
    """Approve or decline, once and for all, on behalf of a checker who holds the role and is not the maker; reason, of
    at most LONGEST_REASON characters, is kept beside it.

    Rejects what `examine` rejects.
    """
    await examine(connection, approval_id, checker=checker, role=role)
    await store.record_decision(
        connection, approval_id, checker_id=checker, approved=approved, decided_at=at, reason=reason
    )


def _open(row: RowMapping) -> Approval:
    found = _approval(row)
    if found.state != WAITING:
        raise AlreadyDecided(f"it was {found.state.lower()} at {found.ended_at:%Y-%m-%d %H:%M:%S} UTC")
    return found


def _approval(row: RowMapping) -> Approval:
    state = {None: WAITING, True: APPROVED, False: DECLINED}[row["approved"]]
    return Approval(
        row["approval_id"], row["kind"], row["subject"], row["maker_id"], row["made_at"], row["detail"],
        WITHDRAWN if row["withdrawn_at"] else state, row["checker_id"], row["decided_at"] or row["withdrawn_at"],
        row["reason"],
    )  # fmt: skip
