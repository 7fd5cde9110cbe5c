"""Staff: actors who may sign in to the console, the address that their codes go to, and their invitations.

An invitation is a code of 80 bits, shown once to whoever invites. It is entered where a code from a message would be,
so that the first person can sign in before any mail server is configured.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.context import LANGUAGES
from gateway.messages import letters
from gateway.messages.notices import Sender
from gateway.sessions import session, store
from gateway.sessions.invitations import INVITATION_LIFE, hash_of, is_one, new_invitation
from gateway.sessions.session import Person
from kit import actors, audit
from kit.errors import Rejection
from kit.secrets import Vault
from members import aliases, messages
from members.messages import STAFF, AddressUnknown, Recipient


class StaffAddressInvalid(Rejection):
    """Not an e-mail address, one that another actor has, or a language that we do not write."""

    code = "STAFF_ADDRESS_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Colleague:
    """An actor who may sign in. is_invited: and holds an invitation that is still good."""

    name: str
    roles: frozenset[str]
    is_invited: bool


async def invite(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    *,
    name: str,
    email: str,
    language: str,
    by: str,
    now: datetime,
) -> str:
    """Let an actor sign in with codes sent to an e-mail address; returns an invitation, good once, for three days.

    Inviting again gives a new address and invitation and takes the old ones back. On behalf of an OPERATOR_ADMIN.
    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, STAFF_ADDRESS_INVALID.
    """
    by_id = await _admin(connection, by)
    actor_id = await actors.by_name(connection, name)
    alias = aliases.email(vault, email)
    if alias is None or language not in LANGUAGES:
        raise StaffAddressInvalid(f"an e-mail address, and a language of {', '.join(LANGUAGES)}")
    invitation = new_invitation()
    is_free = await store.write_staff(
        connection,
        {
            "actor_id": actor_id,
            "lookup": _lookup(vault, email),
            "sealed_address": vault.seal(email.strip().encode(), f"staff:{actor_id}"),
            "language": language,
            "invitation_hash": hash_of(invitation),
            "until": now + INVITATION_LIFE,
        },
    )
    if not is_free:
        raise StaffAddressInvalid("another actor signs in with this address")
    letter = letters.invitation(language, name=name, programme=sender.programme, site=f"{sender.site}/staff")
    await messages.accept(
        connection, await recipient(connection, vault, actor_id), letter,
        message_id=uuid4(), purpose=messages.INVITATION, at=now, now=now,
    )  # fmt: skip
    await audit.write(connection, actor=by_id, action="STAFF_INVITED", subject=f"actor:{actor_id}", detail={}, at=now)
    return invitation


async def remove(connection: AsyncConnection, *, name: str, by: str, now: datetime) -> None:
    """Let an actor sign in no more: address, passkeys and sessions end now; roles stay as they are.

    On behalf of an OPERATOR_ADMIN. Rejects ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    by_id = await _admin(connection, by)
    actor_id = await actors.by_name(connection, name)
    await store.delete_staff(connection, actor_id)
    await store.delete_passkeys(connection, STAFF, actor_id)
    await session.end_all(connection, Person(STAFF, actor_id), now=now, by=by_id)
    await audit.write(connection, actor=by_id, action="STAFF_REMOVED", subject=f"actor:{actor_id}", detail={}, at=now)


async def everybody(connection: AsyncConnection, *, now: datetime) -> list[Colleague]:
    """All actors who may sign in, in the order they were added."""
    colleagues = []
    for row in await store.all_staff(connection):
        name, roles = await actors.standing(connection, row["actor_id"])
        until = row["invitation_until"]
        colleagues.append(Colleague(name, roles, until is not None and until > now))
    return colleagues


async def may_sign_in(connection: AsyncConnection, actor_id: int) -> bool:
    """Whether an actor may sign in now."""
    return await store.staff_by_actor(connection, actor_id) is not None


async def find(connection: AsyncConnection, vault: Vault, address: str) -> Recipient | None:
    """The staff who have an e-mail address. The same statement runs whether or not."""
    row = await store.staff_by_lookup(connection, _lookup(vault, address))
    return None if row is None else _recipient(vault, row)


async def recipient(connection: AsyncConnection, vault: Vault, actor_id: int) -> Recipient:
    """Staff to write to. Rejects ADDRESS_UNKNOWN."""
    row = await store.staff_by_actor(connection, actor_id)
    if row is None:
        raise AddressUnknown
    return _recipient(vault, row)


async def accept_invitation(connection: AsyncConnection, person: Person, typed: str, *, now: datetime) -> bool:
    """Use up an invitation; False where this is none of theirs that is good."""
    if person.audience != STAFF or not is_one(typed):
        return False
    return await store.use_invitation(connection, person.number, hash_of(typed), now)


async def _admin(connection: AsyncConnection, by: str) -> int:
    by_id = await actors.by_name(connection, by)
    await actors.require_role(connection, by_id, actors.OPERATOR_ADMIN)
    return by_id


def _lookup(vault: Vault, address: str) -> UUID:
    return vault.lookup("staff", aliases.normal_email(address) or address)


def _recipient(vault: Vault, row: RowMapping) -> Recipient:
    actor_id = row["actor_id"]
    address = vault.open(bytes(row["sealed_address"]), f"staff:{actor_id}").decode()
    return Recipient(STAFF, actor_id, messages.staff_key(vault, actor_id), row["language"], email=address)
