"""What people ask to be done over their sessions, each once: by the key that their page made for it.

A retry that comes late must not undo what was done since: a lock that was opened again, say. So a call is kept under
its key in the transaction of what it does, and one that comes again does nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import masking, person_call_store
from gateway.context import Person, Viewer
from gateway.sessions.session import StepUpRequired
from kit.secrets import Vault, fingerprint
from partners import calls, outcomes


def person_of(viewer: Viewer, audience: str) -> Person:
    """Who is signed in. Raises FORBIDDEN where it is nobody of this audience; the scopes have asked before."""
    if viewer.person is None or viewer.person.audience != audience:
        raise masking.coded(masking.FORBIDDEN, "Only somebody who is signed in may ask for this.")
    return viewer.person


def require_fresh(person: Person) -> None:
    """Nothing where who they are was proved a moment ago. Rejects STEP_UP_REQUIRED."""
    if not person.is_fresh:
        raise StepUpRequired


async def is_new(
    connection: AsyncConnection, vault: Vault, person: Person, operation: str, key: str, *content: str, at: datetime
) -> bool:
    """Whether this is to be done now; False where it was done under this key before. content is what is asked for.

    It is kept as a keyed hash, because an address in it could be guessed. Rejects IDEMPOTENCY_KEY_INVALID,
    IDEMPOTENCY_KEY_REUSED.
    """
    calls.check_key(key)
    asked = vault.lookup("person_call", fingerprint(operation, *content).hex)
    earlier = await person_call_store.insert_call(
        connection, person_id=person.number, audience=person.audience, operation=operation,
        idem_key=fingerprint(key), fingerprint=asked, at=at,
    )  # fmt: skip
    if earlier is not None and earlier != asked:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return earlier is None


async def was_made(connection: AsyncConnection, person: Person, operation: str, key: str) -> bool:
    """Whether something was done under this key before, whatever was asked for: `is_new` compares that."""
    return await person_call_store.is_kept(
        connection, person_id=person.number, audience=person.audience, operation=operation, idem_key=fingerprint(key)
    )


@dataclass(frozen=True, slots=True)
class PersonCall:
    """What somebody who is signed in asks to be done: the operation, their key, what is asked for, and when."""

    person: Person
    operation: str
    key: str
    content: tuple[str, ...]
    at: datetime


async def numbered(
    connection: AsyncConnection, vault: Vault, call: PersonCall, work: Callable[[], Awaitable[int]]
) -> tuple[int, bool]:
    """Do work that makes something with a number, once under the call's key: the number, and whether it was made
    before. Rejects IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED and what the work rejects."""
    person, idem_key = call.person, fingerprint(call.key)
    if not await is_new(connection, vault, call.person, call.operation, call.key, *call.content, at=call.at):
        made = await person_call_store.made_by(
            connection, person_id=person.number, audience=person.audience, operation=call.operation, idem_key=idem_key
        )
        assert made is not None
        return made, True
    made = await work()
    await person_call_store.set_made(
        connection, person_id=person.number, audience=person.audience, operation=call.operation, idem_key=idem_key,
        made=made,
    )  # fmt: skip
    return made, False
