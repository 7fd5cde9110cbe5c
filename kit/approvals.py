"""What takes two people: a maker proposes, a checker who is somebody else decides, once."""

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


class ProposalUnknown(Rejection):
    """Nothing of this number was proposed."""

    code = "PROPOSAL_UNKNOWN"
    retryable = False


class FourEyesRequired(Rejection):
    """Who proposed it may not decide it."""

    code = "FOUR_EYES_REQUIRED"
    retryable = False


class AlreadyDecided(Rejection):
    """A checker has decided it before."""

    code = "ALREADY_DECIDED"
    retryable = False


class RoleSelfGranted(Rejection):
    """Who gave the role to himself decides nothing with it for a day."""

    code = "ROLE_SELF_GRANTED"
    retryable = True


@dataclass(frozen=True, slots=True)
class Approval:
    """A proposal that awaits its decision."""

    approval_id: int
    kind: str
    subject: str
    maker_id: int
    made_at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)


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
    if row["decided_at"] is not None:
        decision = "approved" if row["approved"] else "declined"
        raise AlreadyDecided(f"it was {decision} at {row['decided_at']:%Y-%m-%d %H:%M:%S} UTC")
    return _approval(row)


async def read(connection: AsyncConnection, approval_id: int) -> Approval:
    """A proposal, decided or not. Rejects PROPOSAL_UNKNOWN."""
    row = await store.approval(connection, approval_id)
    if row is None:
        raise ProposalUnknown(f"there is no proposal number {approval_id}")
    return _approval(row)


async def waiting(connection: AsyncConnection, kinds: Sequence[str]) -> list[Approval]:
    """Proposals of these kinds that nobody has decided, the oldest first."""
    return [_approval(row) for row in await store.approvals_waiting(connection, kinds)]


async def standing(connection: AsyncConnection, kind: str, subject: str) -> int | None:
    """The number of a proposal of a kind about a subject that waits or was approved; None where there is none."""
    return await store.proposal_standing(connection, kind, subject)


async def decide(
    connection: AsyncConnection, approval_id: int, *, checker: int, role: str, approved: bool, at: datetime
) -> None:
    """Approve or decline, once and for all, on behalf of a checker who holds the role and is not the maker.

    Rejects what `examine` rejects.
    """
    await examine(connection, approval_id, checker=checker, role=role)
    await store.record_decision(connection, approval_id, checker_id=checker, approved=approved, decided_at=at)


def _approval(row: RowMapping) -> Approval:
    return Approval(
        row["approval_id"], row["kind"], row["subject"], row["maker_id"], row["made_at"], detail=row["detail"]
    )
