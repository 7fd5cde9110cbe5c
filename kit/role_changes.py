"""Roles change with two people: one OPERATOR_ADMIN proposes, another decides. Where there is one alone, they act alone.

Giving a role away is what needs two; so does taking OPERATOR_ADMIN from somebody else, or two could be made one. Any
other role is taken back at once, because that must be quick and opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit, store
from kit.actors import OPERATOR_ADMIN
from kit.approvals import Approval

GRANT: Final = "ROLES_GRANT"
TAKE_BACK: Final = "ROLES_TAKE_BACK"
KINDS = (GRANT, TAKE_BACK)


async def grant(connection: AsyncConnection, *, name: str, roles: Iterable[str], by: str, at: datetime) -> int | None:
    """Give an actor roles, whoever is new is added; None where it took effect, else the number of the proposal.

    For an OPERATOR_ADMIN, or by whoever is the first. Rejects ROLE_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    wanted = sorted(set(roles))
    actors.check_roles(set(wanted))
    await store.lock_founding(connection)
    if not await store.any_actor_exists(connection) or not await _others(connection, by):
        await actors.add(connection, name=name, roles=wanted, by=by, at=at)
        return None
    return await _propose(connection, GRANT, name, wanted, by, at)


async def take_back(
    connection: AsyncConnection, *, name: str, roles: Iterable[str], by: str, at: datetime
) -> int | None:
    """Take roles from an actor; None where it took effect, else the number of the proposal.

    For an OPERATOR_ADMIN. Rejects ROLE_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    wanted = sorted(set(roles))
    actors.check_roles(set(wanted))
    await store.lock_founding(connection)
    is_anothers_admin = OPERATOR_ADMIN in wanted and name != by
    if is_anothers_admin and await _others(connection, by):
        await actors.by_name(connection, name)
        return await _propose(connection, TAKE_BACK, name, wanted, by, at)
    await actors.take_back(connection, name=name, roles=wanted, by=by, at=at)
    return None


async def decide(connection: AsyncConnection, approval_id: int, *, by: str, approved: bool, at: datetime) -> Approval:
    """Approve or decline a proposal, on behalf of another OPERATOR_ADMIN; what was proposed.

    Whoever approves what gives himself a role decides nothing with it for a day, as who grants it to himself. Rejects
    ACTOR_UNKNOWN, what `approvals.decide` rejects, and PROPOSAL_UNKNOWN for a proposal of another kind.
    """
    await store.lock_founding(connection)
    checker = await actors.by_name(connection, by)
    found = await approvals.read(connection, approval_id)
    if found.kind not in KINDS:
        raise approvals.ProposalUnknown(f"number {approval_id} is not about roles")
    await approvals.decide(connection, approval_id, checker=checker, role=OPERATOR_ADMIN, approved=approved, at=at)
    if approved:
        name, roles = str(found.detail["name"]), list(found.detail["roles"])
        change = actors.add if found.kind == GRANT else actors.take_back
        await change(connection, name=name, roles=roles, by=by, at=at)
    return found


async def waiting(connection: AsyncConnection) -> list[Approval]:
    """Proposals about roles that nobody has decided, the oldest first."""
    return await approvals.waiting(connection, KINDS)


async def _others(connection: AsyncConnection, by: str) -> bool:
    """Whether somebody else could decide. Rejects ACTOR_UNKNOWN, NOT_PERMITTED where the first may not propose."""
    by_id = await actors.by_name(connection, by)
    await actors.require_role(connection, by_id, OPERATOR_ADMIN)
    return bool(await store.holders_of(connection, OPERATOR_ADMIN) - {by_id})


async def _propose(connection: AsyncConnection, kind: str, name: str, roles: list[str], by: str, at: datetime) -> int:
    maker = await actors.by_name(connection, by)
    detail = {"name": name, "roles": roles}
    approval_id = await approvals.propose(connection, kind=kind, subject="roles", detail=detail, maker=maker, at=at)
    await audit.write(
        connection, actor=by, action="ROLES_PROPOSED", subject=f"proposal:{approval_id}", detail={"roles": roles}, at=at
    )
    return approval_id
