"""Whoever acts on the programme's side, and what each may do.

A role is held or not; roles are granted and taken back, and the trail says by whom. Access is a matter of the
wall's time, so nothing here asks for a business instant but the audit trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit, store
from kit.errors import Rejection

OPERATOR_ADMIN = "OPERATOR_ADMIN"
ONBOARDING = "ONBOARDING"
AGREEMENT_MAKER = "AGREEMENT_MAKER"
AGREEMENT_CHECKER = "AGREEMENT_CHECKER"
FINANCE_MAKER = "FINANCE_MAKER"
FINANCE_CHECKER = "FINANCE_CHECKER"
MEMBER_CARE_MAKER = "MEMBER_CARE_MAKER"
MEMBER_CARE_CHECKER = "MEMBER_CARE_CHECKER"
PROMOTION_MAKER = "PROMOTION_MAKER"
PROMOTION_CHECKER = "PROMOTION_CHECKER"

ROLES: Mapping[str, str] = MappingProxyType(
    {
        OPERATOR_ADMIN: "adds actors, grants roles and takes them back",
        ONBOARDING: "adds, suspends and resumes partners, outlets, terminals and their clients",
        AGREEMENT_MAKER: "proposes versions of agreements",
        AGREEMENT_CHECKER: "approves or declines what another proposed",
        FINANCE_MAKER: "closes cut-offs and makes settlement runs",
        FINANCE_CHECKER: "approves or declines the settlement runs of another",
        MEMBER_CARE_MAKER: "proposes adjustments of members' points, merges and their ends",
        MEMBER_CARE_CHECKER: "approves or declines what another proposed of these",
        PROMOTION_MAKER: "drafts rules, adds and funds budgets, submits releases, takes rules out of force",
        PROMOTION_CHECKER: "publishes or declines the releases of another, and what another wants budgets raised by",
    }
)


class NotPermitted(Rejection):
    """The actor does not hold the role that this takes."""

    code = "NOT_PERMITTED"
    retryable = True


class ActorUnknown(Rejection):
    """Nobody of this name was added."""

    code = "ACTOR_UNKNOWN"
    retryable = True


class RoleUnknown(Rejection):
    """There is no such role."""

    code = "ROLE_UNKNOWN"
    retryable = False


async def ensure_actor(connection: AsyncConnection, name: str, roles: Iterable[str]) -> int:
    """The number of the actor of this name, added if new, and holding at least these roles afterwards.

    For founding a coalition and for tests: it asks nobody. People are added with `add`.
    """
    check_roles(wanted := set(roles))
    await store.insert_actor(connection, name)
    actor_id = await store.actor_id_by_name(connection, name)
    assert actor_id is not None
    if missing := wanted - await store.roles_of(connection, actor_id):
        await store.insert_roles(connection, actor_id, sorted(missing), granted=True)
    return actor_id


async def add(connection: AsyncConnection, *, name: str, roles: Iterable[str], by: str, at: datetime) -> int:
    """Add an actor, or give one more roles, on behalf of an OPERATOR_ADMIN; returns the actor's number.

    Where there is no actor at all, the first one is added by whoever asks, and must become OPERATOR_ADMIN.
    Rejects ROLE_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    check_roles(wanted := set(roles))
    await store.lock_founding(connection)
    if await store.any_actor_exists(connection):
        await require_role(connection, await by_name(connection, by), OPERATOR_ADMIN)
    elif OPERATOR_ADMIN not in wanted:
        raise NotPermitted(f"the first actor must hold {OPERATOR_ADMIN}, or nobody could add the next one")
    else:
        by = name
    actor_id = await ensure_actor(connection, name, wanted)
    detail = {"roles": sorted(wanted)}
    await audit.write(connection, actor=by, action="ROLES_GRANTED", subject=f"actor:{actor_id}", detail=detail, at=at)
    return actor_id


async def take_back(connection: AsyncConnection, *, name: str, roles: Iterable[str], by: str, at: datetime) -> None:
    """Take roles from an actor on behalf of an OPERATOR_ADMIN; one that is not held is passed over.

    Rejects ROLE_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED (also where nobody would be left to grant roles).
    """
    check_roles(wanted := set(roles))
    await store.lock_founding(connection)
    await require_role(connection, await by_name(connection, by), OPERATOR_ADMIN)
    actor_id = await by_name(connection, name)
    if OPERATOR_ADMIN in wanted and await store.holders_of(connection, OPERATOR_ADMIN) <= {actor_id}:
        raise NotPermitted(f"'{name}' is the last {OPERATOR_ADMIN}: nobody could grant roles any more")
    taken = sorted(wanted & await store.roles_of(connection, actor_id))
    await store.insert_roles(connection, actor_id, taken, granted=False)
    await audit.write(
        connection,
        actor=by,
        action="ROLES_TAKEN_BACK",
        subject=f"actor:{actor_id}",
        detail={"roles": taken},
        at=at,
    )


async def by_name(connection: AsyncConnection, name: str) -> int:
    """The number of the actor of this name. Rejects ACTOR_UNKNOWN."""
    actor_id = await store.actor_id_by_name(connection, name)
    if actor_id is None:
        raise ActorUnknown(f"nobody called '{name}' acts here: an {OPERATOR_ADMIN} says `tessera actor add` first")
    return actor_id


async def standing(connection: AsyncConnection, actor_id: int) -> tuple[str, frozenset[str]]:
    """An actor's name and the roles held now. Rejects ACTOR_UNKNOWN."""
    name = await store.actor_name(connection, actor_id)
    if name is None:
        raise ActorUnknown(f"there is no actor number {actor_id}")
    return name, frozenset(await store.roles_of(connection, actor_id))


async def require_role(connection: AsyncConnection, actor_id: int, role: str) -> None:
    """Nothing where the actor holds the role now. Rejects NOT_PERMITTED."""
    if role not in await store.roles_of(connection, actor_id):
        raise NotPermitted(f"this takes the role {role}, which the actor does not hold")


async def everybody(connection: AsyncConnection) -> list[tuple[str, list[str]]]:
    """All actors by name, each with the roles held now."""
    return [(row["name"], list(row["roles"])) for row in await store.actors_with_roles(connection)]


async def names_of(connection: AsyncConnection, actor_ids: Iterable[int]) -> dict[int, str]:
    """The names of actors by their numbers."""
    return await store.names_of(connection, sorted(set(actor_ids)))


def check_roles(roles: set[str]) -> None:
    """Nothing where there are all of these roles. Rejects ROLE_UNKNOWN."""
    if unknown := sorted(roles - ROLES.keys()):
        raise RoleUnknown(f"there is no role {', '.join(unknown)}; there are {', '.join(ROLES)}")
