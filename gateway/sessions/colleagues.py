"""Colleagues: people of one partner who sign in to the portal, each with roles there (docs/decisions/0020-people.md).

Staff in ONBOARDING invite the first, a partner's managers the others. A colleague is an actor under the name
`partner/name`, so that the audit trail knows who did what, and no two partners can see each other's names. What a
colleague may do follows from the roles at the partner alone; roles of the programme mean nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import scopes
from gateway.context import LANGUAGES
from gateway.messages import letters
from gateway.messages.notices import Sender
from gateway.sessions import colleague_store, session, store
from gateway.sessions.invitations import INVITATION_LIFE, hash_of, is_one, new_invitation
from gateway.sessions.session import Person
from kit import actors, audit
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from members import aliases, messages
from members.messages import COLLEAGUE, AddressUnknown, Recipient
from partners.agreements import onboarding
from partners.directory import Partner

MANAGER: Final = "MANAGER"
DEVELOPER: Final = "DEVELOPER"
FINANCE: Final = "FINANCE"
CASHIER: Final = "CASHIER"

SCOPES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        MANAGER: frozenset(
            {
                scopes.HISTORY_READ,
                scopes.SETTLEMENT_READ,
                scopes.RULES_READ,
                scopes.COLLEAGUES_MANAGE,
                scopes.OUTLETS_MANAGE,
            }
        ),
        DEVELOPER: frozenset({scopes.HISTORY_READ, scopes.SCHEMA_READ, scopes.CLIENTS_MANAGE, scopes.WEBHOOKS_MANAGE}),
        FINANCE: frozenset(
            {scopes.HISTORY_READ, scopes.SETTLEMENT_READ, scopes.STATEMENTS_ACCEPT, scopes.DISPUTES_WRITE}
        ),
        CASHIER: frozenset(
            {
                scopes.POINTS_ACCRUE,
                scopes.POINTS_REDEEM,
                scopes.POINTS_RETURN,
                scopes.MEMBERS_READ,
                scopes.HISTORY_READ,
            }
        ),
    }
)
"""What each role at a partner may do over GraphQL."""

_NAME = re.compile(r"[^\W_](?:[\w .'-]{0,58}[\w.])?")


class ColleagueInvalid(Rejection):
    """A name, roles, an e-mail address or a language that a colleague cannot have; `fields` says which."""

    code = "COLLEAGUE_INVALID"
    retryable = False

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("this cannot be a colleague", problems=problems)


class ColleagueUnknown(Rejection):
    """Nobody of this name signs in for the partner."""

    code = "COLLEAGUE_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("nobody of this name signs in for this partner")


class LastManager(Rejection):
    """The partner's last manager stays one; staff in ONBOARDING can remove them."""

    code = "LAST_MANAGER"
    retryable = True

    def __init__(self) -> None:
        super().__init__("nobody at the partner could invite colleagues any more")


@dataclass(frozen=True, slots=True)
class Colleague:
    """Somebody who may sign in for a partner. is_invited: and holds an invitation that is still good."""

    actor_id: int
    partner_id: int
    name: str
    roles: frozenset[str]
    language: str
    is_invited: bool

    @property
    def scopes(self) -> frozenset[str]:
        """What the roles may do."""
        return frozenset().union(*(SCOPES[role] for role in self.roles))


async def invite(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    partner: Partner,
    *,
    name: str,
    roles: Collection[str],
    email: str,
    language: str,
    by: int,
    now: datetime,
) -> str:
    """Let somebody sign in for a partner with codes sent to an e-mail address; returns an invitation, good once.

    Inviting again gives other roles, address and invitation, and ends their sessions. by is an actor: staff in
    ONBOARDING, or a manager of this partner. Rejects NOT_PERMITTED, COLLEAGUE_INVALID, LAST_MANAGER.
    """
    await _require_manager(connection, partner.partner_id, by, now)
    name = name.strip()
    alias = aliases.email(vault, email)
    _check(name, roles, alias is not None, language)
    actor_id = await actors.ensure_actor(connection, f"{partner.code}/{name}", ())
    await _keep_a_manager(connection, partner.partner_id, actor_id, roles, by, now)
    lookup = address_lookup(vault, email)
    if not await colleague_store.address_is_free(connection, lookup, actor_id):
        raise ColleagueInvalid([FieldProblem(("email",), "TAKEN", "another colleague signs in with this address")])
    invitation = new_invitation()
    await colleague_store.write(
        connection,
        {
            "actor_id": actor_id, "partner_id": partner.partner_id, "name": name, "roles": sorted(roles),
            "lookup": lookup, "sealed_address": vault.seal(email.strip().encode(), f"colleague:{actor_id}"),
            "language": language, "invitation_hash": hash_of(invitation), "until": now + INVITATION_LIFE,
        },
    )  # fmt: skip
    await session.end_all(connection, Person(COLLEAGUE, actor_id), now=now, by=by)
    letter = letters.invitation(language, name=name, programme=sender.programme, site=f"{sender.site}/portal")
    await messages.accept(
        connection, await recipient(connection, vault, actor_id), letter,
        message_id=uuid4(), purpose=messages.INVITATION, at=now, now=now,
    )  # fmt: skip
    detail = {"partner": partner.partner_id, "roles": sorted(roles)}
    await audit.write(
        connection, actor=by, action="COLLEAGUE_INVITED", subject=f"actor:{actor_id}", detail=detail, at=now
    )
    return invitation


async def remove(connection: AsyncConnection, partner: Partner, *, name: str, by: int, now: datetime) -> None:
    """Let a colleague sign in no more: address, passkeys, sessions, and what they let apps do, end now.

    by as for `invite`. Rejects NOT_PERMITTED, COLLEAGUE_UNKNOWN, LAST_MANAGER.
    """
    await _require_manager(connection, partner.partner_id, by, now)
    found = {each.name: each for each in await everybody(connection, partner.partner_id, now=now)}.get(name)
    if found is None:
        raise ColleagueUnknown
    await _keep_a_manager(connection, partner.partner_id, found.actor_id, (), by, now)
    await colleague_store.delete(connection, found.actor_id)
    await store.delete_passkeys(connection, COLLEAGUE, found.actor_id)
    await session.end_all(connection, Person(COLLEAGUE, found.actor_id), now=now, by=by)
    detail = {"partner": partner.partner_id}
    await audit.write(
        connection, actor=by, action="COLLEAGUE_REMOVED", subject=f"actor:{found.actor_id}", detail=detail, at=now
    )


async def everybody(connection: AsyncConnection, partner_id: int, *, now: datetime) -> list[Colleague]:
    """All who may sign in for a partner, by name."""
    return [_colleague(row, now) for row in await colleague_store.of_partner(connection, partner_id)]


async def standing(connection: AsyncConnection, actor_id: int, *, now: datetime) -> Colleague | None:
    """A colleague as they stand now; None for who may not sign in (any more)."""
    row = await colleague_store.by_actor(connection, actor_id)
    return None if row is None else _colleague(row, now)


async def find(connection: AsyncConnection, vault: Vault, address: str) -> Recipient | None:
    """The colleague who has an e-mail address. The same statement runs whether or not."""
    row = await colleague_store.by_lookup(connection, address_lookup(vault, address))
    return None if row is None else _recipient(vault, row)


async def recipient(connection: AsyncConnection, vault: Vault, actor_id: int) -> Recipient:
    """A colleague to write to. Rejects ADDRESS_UNKNOWN."""
    row = await colleague_store.by_actor(connection, actor_id)
    if row is None:
        raise AddressUnknown
    return _recipient(vault, row)


async def accept_invitation(connection: AsyncConnection, person: Person, typed: str, *, now: datetime) -> bool:
    """Use up an invitation; False where this is none of theirs that is good."""
    if person.audience != COLLEAGUE or not is_one(typed):
        return False
    return await colleague_store.use_invitation(connection, person.number, hash_of(typed), now)


def address_lookup(vault: Vault, address: str) -> UUID:
    """The keyed hash under which a colleague's address is found."""
    return vault.lookup("colleague", aliases.normal_email(address) or address)


async def _require_manager(connection: AsyncConnection, partner_id: int, by: int, now: datetime) -> None:
    await onboarding.lock_partner(connection, partner_id)  # changed by one at a time
    asking = await standing(connection, by, now=now)
    if asking is not None:
        if asking.partner_id != partner_id or MANAGER not in asking.roles:
            raise actors.NotPermitted("this takes a manager of the partner")
        return
    await actors.require_role(connection, by, actors.ONBOARDING)


async def _keep_a_manager(
    connection: AsyncConnection, partner_id: int, actor_id: int, roles: Collection[str], by: int, now: datetime
) -> None:
    """A partner's own people always leave it a manager; staff may do without."""
    if MANAGER in roles or await standing(connection, by, now=now) is None:
        return
    managers = {each.actor_id for each in await everybody(connection, partner_id, now=now) if MANAGER in each.roles}
    if managers == {actor_id}:
        raise LastManager


def _check(name: str, roles: Collection[str], is_address: bool, language: str) -> None:
    problems = []
    if not _NAME.fullmatch(name):
        problems.append(FieldProblem(("name",), "INVALID", "1 to 60 letters, digits, spaces and . ' -"))
    if not roles or not set(roles) <= SCOPES.keys():
        problems.append(FieldProblem(("roles",), "INVALID", f"one or more of {', '.join(SCOPES)}"))
    if not is_address:
        problems.append(FieldProblem(("email",), "INVALID", "an e-mail address"))
    if language not in LANGUAGES:
        problems.append(FieldProblem(("language",), "INVALID", f"one of {', '.join(LANGUAGES)}"))
    if problems:
        raise ColleagueInvalid(problems)


def _colleague(row: RowMapping, now: datetime) -> Colleague:
    until = row["invitation_until"]
    return Colleague(
        row["actor_id"], row["partner_id"], row["name"], frozenset(row["roles"]), row["language"],
        until is not None and until > now,
    )  # fmt: skip


def _recipient(vault: Vault, row: RowMapping) -> Recipient:
    actor_id = row["actor_id"]
    address = vault.open(bytes(row["sealed_address"]), f"colleague:{actor_id}").decode()
    return Recipient(COLLEAGUE, actor_id, messages.staff_key(vault, actor_id), row["language"], email=address)
