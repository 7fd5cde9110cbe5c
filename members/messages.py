"""Messages: what must reach a person, accepted in the transaction of its reason, sent afterwards by the gateway.

A message is accepted once under its id, whoever asks again. Address and words lie under the person's own key and are
noise when that key is destroyed. What it takes to write at all, a consent or none, is looked at when it is accepted and
again when it is sent. That it was accepted and what became of it are facts that nobody can change: proof of a notice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.exceptions import InvalidTag
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault, new_key, open_with, seal_with
from members import aliases, consents, message_store, store
from members.cards import MemberUnknown
from members.enrolment import PersonalInvalid, key_context

MEMBER: Final = "MEMBER"
STAFF: Final = "STAFF"
COLLEAGUE: Final = "COLLEAGUE"
NOBODY: Final = "NOBODY"

EMAIL: Final = "EMAIL"
SMS: Final = "SMS"

SIGN_IN_CODE: Final = "SIGN_IN_CODE"
SECURITY_NOTICE: Final = "SECURITY_NOTICE"
INVITATION: Final = "INVITATION"
EXPIRY_NOTICE: Final = "EXPIRY_NOTICE"
RENEWAL_NOTICE: Final = "RENEWAL_NOTICE"
CLAIM_NOTICE: Final = "CLAIM_NOTICE"
SERVICE_NOTICE: Final = "SERVICE_NOTICE"
PAYMENT_NOTICE: Final = "PAYMENT_NOTICE"

# Whoever asks for a code or is told about their own account need not have agreed to anything; a notice about points or
# money belongs to taking part.
CONSENT_FOR: Mapping[str, str | None] = MappingProxyType(
    {
        SIGN_IN_CODE: None,
        SECURITY_NOTICE: None,
        INVITATION: None,
        SERVICE_NOTICE: None,
        EXPIRY_NOTICE: consents.PROGRAMME,
        RENEWAL_NOTICE: consents.PROGRAMME,
        CLAIM_NOTICE: consents.PROGRAMME,
        PAYMENT_NOTICE: consents.PROGRAMME,
    }
)

SENT: Final = "SENT"
NO_CHANNEL: Final = "NO_CHANNEL"
CONSENT_WITHDRAWN: Final = "CONSENT_WITHDRAWN"
TOO_LATE: Final = "TOO_LATE"
REFUSED: Final = "REFUSED"
ERASED: Final = "ERASED"

MOST_TRIES = 8
LEASE = timedelta(minutes=2)
MOST_TAKEN = 5  # each may take a sender twenty seconds, and all of them must be done within the lease
_PAUSES = (1, 5, 15, 60, 180, 360, 720)  # minutes


class AddressUnknown(Rejection):
    """The member told no address that a message could be sent to, or the data was destroyed."""

    code = "ADDRESS_UNKNOWN"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the member has told no e-mail address and no phone number")


class MessageNotPermitted(Rejection):
    """The message takes a consent that the member has not given, or has withdrawn."""

    code = "MESSAGE_NOT_PERMITTED"
    retryable = True

    def __init__(self, purpose: str) -> None:
        super().__init__(f"a message of purpose {purpose} takes a consent that the member does not give")


@dataclass(frozen=True, slots=True)
class Letter:
    """The words of a message."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True, repr=False)
class Recipient:
    """Somebody to write to. key seals what is written; it never prints. time_zone None: the programme's."""

    audience: str
    person_id: int
    key: bytes
    language: str
    time_zone: str | None = None
    email: str | None = None
    phone: str | None = None

    @property
    def channel(self) -> str:
        """Where a message goes: to the e-mail address, else to the phone."""
        return EMAIL if self.email is not None or self.phone is None else SMS


@dataclass(frozen=True, slots=True)
class Manner:
    """How a member is written to. time_zone None: the programme's."""

    language: str
    time_zone: str | None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """That a message was accepted, and when (business clock); the first time, however often it was asked for."""

    message_id: UUID
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it stands, without its words. accepted_at is the business clock's instant, written_at and closed_at
    are the wall's. outcome None: still to be tried."""

    audience: str
    person_id: int
    message_id: UUID
    purpose: str
    channel: str
    accepted_at: datetime
    written_at: datetime
    outcome: str | None
    evidence: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, repr=False)
class Words:
    """The opened content of a message: to whom, and what."""

    to: str
    letter: Letter


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that one sender holds until its lease ends. tries counts this one."""

    audience: str
    person_id: int
    message_id: UUID
    purpose: str
    channel: str
    sealed: bytes
    good_until: datetime | None
    tries: int


def nobody() -> Recipient:
    """Stands in for an address that is no one's: what is written to it is sealed under a key that nobody keeps."""
    return Recipient(NOBODY, 0, new_key(), "en", email="nobody@invalid")


async def find_member(connection: AsyncConnection, vault: Vault, address: str) -> Recipient | None:
    """The active member whose e-mail address or phone number this is. The same statements run whether or not."""
    alias = aliases.email(vault, address) if "@" in address else aliases.phone(vault, address)
    row = await store.member_by_alias(connection, alias or aliases.Alias("EMAIL", 0, UUID(int=0)))
    found = await message_store.contact(connection, 0 if row is None else row.member_id)
    return _recipient(vault, found)


async def member(connection: AsyncConnection, vault: Vault, member_id: int) -> Recipient:
    """A member to write to. Rejects ADDRESS_UNKNOWN, also for who is not active."""
    found = _recipient(vault, await message_store.contact(connection, member_id))
    if found is None:
        raise AddressUnknown
    return found


async def manner(connection: AsyncConnection, member_id: int) -> Manner | None:
    """How an active member is written to."""
    row = await message_store.contact(connection, member_id)
    return None if row is None else Manner(row.language, row.time_zone)


async def set_manner(connection: AsyncConnection, member_id: int, *, language: str, time_zone: str | None) -> None:
    """Write to a member in a language from now on, dated in a time zone (None: the programme's).

    Rejects MEMBER_UNKNOWN, PERSONAL_INVALID.
    """
    problems = []
    if not (len(language) == 2 and language.isascii() and language.isalpha() and language.islower()):
        problems.append(FieldProblem(("language",), "INVALID", "two small letters (ISO 639-1)"))
    if time_zone is not None and not _is_time_zone(time_zone):
        problems.append(FieldProblem(("timeZone",), "INVALID", "a time zone of the IANA database"))
    if problems:
        raise PersonalInvalid(problems)
    if not await message_store.write_manner(connection, member_id, language, time_zone):
        raise MemberUnknown


async def accept(
    connection: AsyncConnection,
    recipient: Recipient,
    letter: Letter,
    *,
    message_id: UUID,
    purpose: str,
    at: datetime,
    now: datetime,
    good_until: datetime | None = None,
) -> Acceptance:
    """Accept a message to be sent from now (wall clock) on; at is the business instant of its reason.

    A message of this id that was accepted before stays as it was. Rejects MESSAGE_NOT_PERMITTED.
    """
    if not await _permitted(connection, recipient.audience, recipient.person_id, purpose, at):
        raise MessageNotPermitted(purpose)
    to = recipient.email or recipient.phone
    words = json.dumps({"to": to, "subject": letter.subject, "body": letter.body}, ensure_ascii=False)
    accepted_at = await message_store.insert_message(
        connection,
        person_id=recipient.person_id,
        audience=recipient.audience,
        message_id=message_id,
        purpose=purpose,
        channel=recipient.channel,
        sealed=seal_with(recipient.key, words.encode(), _context(message_id)),
        accepted_at=at,
        now=now,
        good_until=good_until,
    )
    return Acceptance(message_id, accepted_at)


async def proof(connection: AsyncConnection, audience: str, person_id: int, message_id: UUID) -> Message | None:
    """A message as it stands: that it was accepted, when, and what became of it."""
    row = await message_store.message(connection, audience, person_id, message_id)
    return None if row is None else _message(row)


async def latest(connection: AsyncConnection, limit: int) -> list[Message]:
    """The messages written last, without their words."""
    return [_message(row) for row in await message_store.latest(connection, limit)]


async def read(
    connection: AsyncConnection, vault: Vault, audience: str, person_id: int, message_id: UUID
) -> Words | None:
    """The words of a message; None where there is no such message, or no key to it any more."""
    row = await message_store.message(connection, audience, person_id, message_id)
    return None if row is None else await _open(connection, vault, audience, person_id, message_id, row.sealed)


# --- Sending ------------------------------------------------------------------------------------------------


async def take_due(connection: AsyncConnection, *, now: datetime, limit: int = MOST_TAKEN) -> list[Taken]:
    """Messages whose time has come by a wall instant, held by the caller for LEASE. Commit before they are sent."""
    await message_store.close_abandoned(connection, now, MOST_TRIES, REFUSED)
    rows = await message_store.take_due(connection, now, now + LEASE, MOST_TRIES, limit)
    return [
        Taken(
            row.audience, row.person_id, row.message_id, row.purpose, row.channel, row.sealed, row.good_until, row.tries
        )
        for row in rows
    ]


async def any_due(connection: AsyncConnection, *, now: datetime) -> bool:
    """Whether a message's time has come."""
    return await message_store.any_due(connection, now)


async def objection(connection: AsyncConnection, taken: Taken, *, at: datetime, now: datetime) -> str | None:
    """The outcome of a message that must not be sent (any more); None where it may be."""
    if taken.good_until is not None and taken.good_until <= now:
        return TOO_LATE
    if not await _permitted(connection, taken.audience, taken.person_id, taken.purpose, at):
        return CONSENT_WITHDRAWN
    return None


async def words_of(connection: AsyncConnection, vault: Vault, taken: Taken) -> Words | None:
    """The words of a message that is about to be sent; None where there is no key to them any more."""
    return await _open(connection, vault, taken.audience, taken.person_id, taken.message_id, taken.sealed)


async def close(
    connection: AsyncConnection, taken: Taken, outcome: str, *, now: datetime, evidence: str | None = None
) -> None:
    """Record what became of a message. evidence is the channel's own receipt and names nobody."""
    await message_store.close(connection, taken.audience, taken.person_id, taken.message_id, outcome, evidence, now)


async def postpone(connection: AsyncConnection, taken: Taken, *, now: datetime, evidence: str) -> None:
    """Try a message again later, each time after a longer pause; after the last try it is REFUSED."""
    if taken.tries >= MOST_TRIES:
        await close(connection, taken, REFUSED, now=now, evidence=evidence)
        return
    pause = timedelta(minutes=_PAUSES[taken.tries - 1])
    await message_store.put_back(connection, taken.audience, taken.person_id, taken.message_id, now + pause)


async def forget_codes(connection: AsyncConnection, *, before: datetime, limit: int = 1_000) -> int:
    """Delete one-time codes that were good until an earlier wall instant; how many. Notices are never deleted."""
    return await message_store.forget_codes(connection, before, limit)


async def _permitted(connection: AsyncConnection, audience: str, person_id: int, purpose: str, at: datetime) -> bool:
    wanted = CONSENT_FOR[purpose]
    if wanted is None or audience != MEMBER:
        return True
    return await consents.is_granted(connection, person_id, wanted, at)


async def _open(
    connection: AsyncConnection, vault: Vault, audience: str, person_id: int, message_id: UUID, sealed: bytes
) -> Words | None:
    keys = vault.derived(_staff_key(person_id)) if audience in (STAFF, COLLEAGUE) else []
    if audience == MEMBER:
        sealed_key = await message_store.sealed_key(connection, person_id)
        keys = [] if sealed_key is None else [_member_key(vault, person_id, sealed_key)]
    for key in keys:
        with suppress(InvalidTag):  # of an older generation; of a member, made anew after the first was destroyed
            told = json.loads(open_with(key, sealed, _context(message_id)))
            return Words(told["to"], Letter(told["subject"], told["body"]))
    return None


def staff_key(vault: Vault, actor_id: int) -> bytes:
    """The key that what is written to an actor, of the staff or of a partner, lies under."""
    return vault.derive(_staff_key(actor_id))


def _staff_key(actor_id: int) -> str:
    return f"staff_key:{actor_id}"


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _member_key(vault: Vault, member_id: int, sealed_key: bytes) -> bytes:
    return vault.open(sealed_key, key_context(member_id))


def _context(message_id: UUID) -> str:
    return f"message:{message_id}"


def _recipient(vault: Vault, row: Row[Any] | None) -> Recipient | None:
    if row is None or row.sealed_key is None or row.sealed is None:
        return None
    key = _member_key(vault, row.member_id, row.sealed_key)
    told = json.loads(open_with(key, row.sealed, f"personal:{row.member_id}"))
    if told.get("email") is None and told.get("phone") is None:
        return None
    return Recipient(MEMBER, row.member_id, key, row.language, row.time_zone, told.get("email"), told.get("phone"))


def _message(row: Row[Any]) -> Message:
    return Message(
        row.audience, row.person_id, row.message_id, row.purpose, row.channel, row.accepted_at, row.written_at,
        row.outcome, row.evidence, row.at,
    )  # fmt: skip
