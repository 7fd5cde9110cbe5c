"""Sessions: that a person is signed in at a browser, known here by the hash of a random token alone.

A session ends after a time without use, at the latest after its absolute life, and at once when it is signed out.
Signing in always makes a new one, so that nobody can leave a known token in somebody's browser beforehand.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.oauth import endings
from gateway.sessions import store
from kit import audit
from kit.errors import Rejection
from members import cards
from members.messages import COLLEAGUE, MEMBER, STAFF

CODE: Final = "CODE"
PASSKEY: Final = "PASSKEY"
INVITATION: Final = "INVITATION"

STEP_UP = timedelta(minutes=5)
_TOUCH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Life:
    """How long a session lives without use, and at all."""

    idle: timedelta
    absolute: timedelta


LIVES: Mapping[str, Life] = MappingProxyType(
    {
        MEMBER: Life(idle=timedelta(days=14), absolute=timedelta(days=90)),
        STAFF: Life(idle=timedelta(minutes=30), absolute=timedelta(hours=12)),
        COLLEAGUE: Life(idle=timedelta(minutes=30), absolute=timedelta(hours=12)),
    }
)


class StepUpRequired(Rejection):
    """What is to be done takes a proof of a moment ago: a passkey or a code, within the last five minutes."""

    code = "STEP_UP_REQUIRED"
    retryable = True

    def __init__(self) -> None:
        super().__init__(f"prove who you are again; a proof is good for {STEP_UP.seconds // 60} minutes")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in: a MEMBER by the member's number, STAFF or a partner's COLLEAGUE by the actor's."""

    audience: str
    number: int

    @property
    def subject(self) -> str:
        """As the audit trail names them."""
        return f"{'member' if self.audience == MEMBER else 'actor'}:{self.number}"


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is good now. began_at is when the person last proved who they are."""

    session_id: int
    person: Person
    proved_by: str
    began_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Whether the proof is of a moment ago, as money and credentials demand."""
        return now < self.began_at + STEP_UP

    def require_fresh(self, now: datetime) -> None:
        """Nothing where the proof is of a moment ago. Rejects STEP_UP_REQUIRED."""
        if not self.is_fresh(now):
            raise StepUpRequired


@dataclass(frozen=True, slots=True)
class Listed:
    """A session as its owner sees it in a list."""

    session_id: int
    browser: str
    proved_by: str
    began_at: datetime
    seen_at: datetime


def new_token() -> str:
    """256 random bits for a cookie."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


async def begin(
    connection: AsyncConnection, person: Person, *, proved_by: str, browser: str, replaces: str | None, now: datetime
) -> str:
    """Sign somebody in; returns the new session's token. replaces: the one that the browser came with, which ends; the
    card of the device goes on where it is the same person's."""
    card_id = None
    if replaces is not None:
        replaced = await store.end_session_by_hash(connection, person.audience, hash_of(replaces), now)
        if replaced is not None and replaced["person_id"] == person.number:
            card_id = replaced["card_id"]
        elif replaced is not None:
            await _end_cards(connection, [replaced["card_id"]], now)
    token = new_token()
    session_id = await store.insert_session(
        connection,
        {
            "token_hash": hash_of(token),
            "audience": person.audience,
            "person_id": person.number,
            "browser": browser,
            "proved_by": proved_by,
            "now": now,
            "ends_at": now + LIVES[person.audience].absolute,
            "card_id": card_id,
        },
    )
    await record(connection, person, "SIGNED_IN", {"session": session_id, "by": proved_by}, now)
    return token


async def find(connection: AsyncConnection, audience: str, token: str, *, now: datetime) -> Session | None:
    """The session of a token where it is still good; its use is noted, at most once a minute."""
    idle = LIVES[audience].idle
    row = await store.session_by_hash(connection, audience, hash_of(token), now, now - idle)
    if row is None:
        return None
    if row["seen_at"] + _TOUCH <= now:
        await store.touch_session(connection, row["session_id"], now)
    return Session(row["session_id"], Person(audience, row["person_id"]), row["proved_by"], row["began_at"])


async def hold_card(connection: AsyncConnection, session_id: int, card_id: int, *, now: datetime) -> None:
    """A session's device holds this card from now on, which ends with the session; one that it held before ends now."""
    await _end_cards(connection, [await store.write_session_card(connection, session_id, card_id)], now)


async def end(connection: AsyncConnection, session: Session, *, now: datetime) -> None:
    """Sign a session out, and end the card of its device."""
    held = await store.end_sessions(connection, *_of(session.person), now, only=session.session_id, but=None)
    await _end_cards(connection, held, now)
    await record(connection, session.person, "SIGNED_OUT", {"session": session.session_id}, now)


async def end_one(connection: AsyncConnection, session: Session, session_id: int, *, now: datetime) -> None:
    """Sign another session of the same person out; nothing happens where it is none of theirs."""
    held = await store.end_sessions(connection, *_of(session.person), now, only=session_id, but=None)
    if held:
        await _end_cards(connection, held, now)
        await record(connection, session.person, "SIGNED_OUT", {"session": session_id}, now)


async def end_all(
    connection: AsyncConnection, person: Person, *, now: datetime, but: int | None = None, by: int | None = None
) -> int:
    """Sign a person out everywhere, or everywhere but in one session; how many ended. by: an actor, if not they.

    Out of everywhere are the apps too that act in the name of staff or of a colleague.
    """
    if person.audience != MEMBER:
        await endings.end_all_of(connection, person.number, at=now)
    held = await store.end_sessions(connection, *_of(person), now, only=None, but=but)
    await _end_cards(connection, held, now)
    await record(connection, person, "SIGNED_OUT_EVERYWHERE", {"sessions": len(held)}, now, by=by)
    return len(held)


async def of_person(connection: AsyncConnection, person: Person, *, now: datetime) -> list[Listed]:
    """A person's sessions that are good now, the one used last first."""
    idle = LIVES[person.audience].idle
    rows = await store.sessions_of(connection, *_of(person), now, now - idle)
    return [Listed(**row) for row in rows]


async def forget(connection: AsyncConnection, *, now: datetime) -> int:
    """Delete what is over: codes, challenges, sessions that ended a month ago; how many rows."""
    deleted, held = await store.forget(connection, now=now, sessions_before=now - timedelta(days=30))
    await _end_cards(connection, held, now)
    return deleted


async def forget_members(connection: AsyncConnection, *, limit: int = 500) -> int:
    """Delete what let members sign in who have left or were forgotten; how many rows. They are let in no more."""
    return await store.forget_members(connection, limit)


async def record(
    connection: AsyncConnection,
    person: Person,
    action: str,
    detail: Mapping[str, object],
    now: datetime,
    *,
    by: int | None = None,
) -> None:
    """Write into the audit trail what somebody did with their own sign-in, or an actor with it."""
    actor = by if by is not None else person.number if person.audience != MEMBER else "member"
    await audit.write(connection, actor=actor, action=action, subject=person.subject, detail=detail, at=now)


async def _end_cards(connection: AsyncConnection, card_ids: Iterable[int | None], now: datetime) -> None:
    """Cards of devices that are no longer signed in neither earn nor spend."""
    for card_id in card_ids:
        if card_id is not None:
            await cards.mark_lost(connection, card_id, at=now)


def _of(person: Person) -> tuple[str, int]:
    return person.audience, person.number
