"""Proofs that whoever shows a card may spend from it: the rotating code and the PIN.

The rotating code is `L1.<card_ref>.<step>.<8 digits>`, the digits by RFC 6238 with SHA-256, 30 s and the card's secret,
so a member's phone makes it without a network, and a screenshot of it is worth nothing a minute later. It is used up
inside the purchase's own database call.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import cards, guesses, store
from members.cards import CardBlocked, MemberUnknown, Recognised

STEP_SECONDS = 30
STEPS_EITHER_WAY = 1
PIN_TRIES = 5
PIN_LOCK = timedelta(minutes=15)

_CODE = re.compile(r"L1\.([A-Za-z0-9_-]{1,64})\.([0-9]{1,12})\.([0-9]{8})", re.ASCII)
_PIN = re.compile(r"[0-9]{4,8}", re.ASCII)
_SALT_BYTES = 16


class CodeInvalid(Rejection):
    """Not a code that the card's secret makes, or one of a moment that has not come yet."""

    code = "CODE_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the code is not right")


class CodeExpired(Recognised):
    """A right code, of more than a minute ago. The card shows a new one every 30 seconds."""

    code = "CODE_EXPIRED"
    sentence = "the code is too old; ask for the one shown now"


class CodeUsed(Recognised):
    """A right code that was used already, here or at any other partner."""

    code = "CODE_USED"
    sentence = "the code was used already; ask for the next one"


class CodeLocked(Recognised):
    """Too many wrong codes of this card: for ten minutes even the right one is not taken."""

    code = "CODE_LOCKED"
    sentence = "too many wrong codes of this card; try again in ten minutes, or with the PIN"
    retryable = True


class PinInvalid(Rejection):
    """Not the member's PIN."""

    code = "PIN_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the PIN is not right")


class PinFormat(Rejection):
    """A new PIN that is not 4 to 8 digits."""

    code = "PIN_FORMAT"
    retryable = False

    def __init__(self) -> None:
        super().__init__("a PIN has 4 to 8 digits")


class PinLocked(Rejection):
    """Too many wrong PINs: for a quarter of an hour even the right one is not taken."""

    code = "PIN_LOCKED"
    retryable = True

    def __init__(self) -> None:
        super().__init__(f"{PIN_TRIES} wrong PINs; try again in {PIN_LOCK.seconds // 60} minutes")


class PinNotSet(Rejection):
    """The member has no PIN."""

    code = "PIN_NOT_SET"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the member has no PIN")


@dataclass(frozen=True, slots=True)
class CodeProof:
    """A rotating code that was good when looked at: the card it came from, and the step to be used up."""

    card_id: int
    member_id: int
    step: int


# --- The rotating code --------------------------------------------------------------------------------------


def step_at(at: datetime) -> int:
    """The number of the 30 seconds that an instant lies in."""
    return int(at.timestamp()) // STEP_SECONDS


def code_for(secret: bytes, card_ref: str, step: int) -> str:
    """The code that a card shows during a step."""
    return f"L1.{card_ref}.{step}.{digits_for(secret, step)}"


def digits_for(secret: bytes, step: int) -> str:
    """The eight digits of a step: HMAC-SHA-256 truncated as RFC 4226 says, like any TOTP of that kind."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha256")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**8:08d}"


async def verify_code(connection: AsyncConnection, vault: Vault, code: str, *, at: datetime) -> CodeProof:
    """Look whether a rotating code is good at an instant of the server's clock (of a sandbox: the business clock).

    A right one writes nothing: two calls may both be told yes, and the purchase's database call takes the code from
    one. That the proof's member is the one who pays is the caller's to check. A wrong one is counted, which takes a
    connection that commits each statement by itself.
    Rejects CODE_INVALID, CODE_LOCKED, CARD_BLOCKED, CODE_EXPIRED, CODE_USED; all but the first tell the member to the
    caller, who first sees whether this very request was answered before.
    """
    found = _CODE.fullmatch(code)
    card_id = cards.read_ref(vault, found[1]) if found else None
    if found is None or card_id is None:
        raise CodeInvalid
    step, now = int(found[2]), step_at(at)
    since = at - guesses.CODE_WINDOW
    card = await store.card_and_code_use(connection, card_id, step, most_wrong=guesses.WRONG_CODES, since=since)
    if card is None or step > now + STEPS_EITHER_WAY:
        raise CodeInvalid
    secret = cards.open_secret(vault, card.sealed_secret, card.number_lookup)
    is_right = hmac.compare_digest(digits_for(secret, step), found[3])
    if card.is_locked:
        raise CodeLocked(card.member_id)
    if not is_right:
        await guesses.count_wrong_code(connection, card_id, at=at)
        raise CodeInvalid
    if card.card_status != "ACTIVE":
        raise CardBlocked(card.member_id)
    if step < now - STEPS_EITHER_WAY:
        raise CodeExpired(card.member_id)
    if card.is_used:
        raise CodeUsed(card.member_id)
    return CodeProof(card.card_id, card.member_id, step)


# --- The PIN ------------------------------------------------------------------------------------------------


async def set_pin(connection: AsyncConnection, vault: Vault, member_id: int, pin: str) -> None:
    """Give a member a PIN of 4 to 8 digits and forget wrong ones. Rejects PIN_FORMAT, MEMBER_UNKNOWN."""
    if not _PIN.fullmatch(pin):
        raise PinFormat
    pin_hash = await _hash(vault.derive("pin"), member_id, pin, secrets.token_bytes(_SALT_BYTES))
    if not await store.write_pin(connection, member_id, pin_hash):
        raise MemberUnknown


async def check_pin(database: Database, vault: Vault, member_id: int, pin: str, *, now: datetime) -> None:
    """Look whether this is a member's PIN, at an instant of the wall clock. Rejects PIN_INVALID, PIN_LOCKED,
    PIN_NOT_SET, MEMBER_UNKNOWN.

    Takes the database, not a connection, and commits by itself: a try must stay counted although the purchase that it
    was for is refused and rolled back. The try is counted before the PIN is looked at, so that guesses made in parallel
    share the five tries; the right one gives them back. Call it with no transaction of one's own open on the member.
    """
    if not _PIN.fullmatch(pin):
        raise PinInvalid
    async with database.transaction() as connection:
        pin_hash = await _count_try(connection, member_id, now)
    made = [await _hash(key, member_id, pin, pin_hash[:_SALT_BYTES]) for key in vault.derived("pin")]
    if not any(hmac.compare_digest(guess, pin_hash) for guess in made):
        raise PinInvalid
    async with database.transaction() as connection:
        await store.write_pin_tries(connection, member_id, pin_hash, 0, None)


async def _count_try(connection: AsyncConnection, member_id: int, now: datetime) -> bytes:
    member = await store.pin_tries(connection, member_id)
    if member is None:
        raise MemberUnknown
    if member.pin_hash is None:
        raise PinNotSet
    is_recent = member.pin_tried_at is not None and now < member.pin_tried_at + PIN_LOCK
    failures = member.pin_failures if is_recent else 0
    if failures >= PIN_TRIES:
        raise PinLocked
    await store.write_pin_tries(connection, member_id, member.pin_hash, failures + 1, now)
    return bytes(member.pin_hash)


async def _hash(pepper: bytes, member_id: int, pin: str, salt: bytes) -> bytes:
    # Ten thousand PINs are tried in minutes whatever the function; without the vault's key nobody can try one.
    peppered = hmac.digest(pepper, f"{member_id}:{pin}".encode(), "sha256")
    return salt + await asyncio.to_thread(hashlib.scrypt, peppered, salt=salt, n=2**14, r=8, p=1)
