"""Sign-in by a one-time code: eight digits, good once, for ten minutes, in the browser that asked for them.

Asking runs the same statements and answers the same whether or not anybody has the address. Tries are counted per code,
codes per address and hour. Neither locks anybody out: wrong tries spend only the asker's own code, a browser that the
person signed in from before has an hourly number of its own, and passkeys ask for no code.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.messages import letters
from gateway.messages.notices import Sender
from gateway.sessions import colleagues, staff, store
from gateway.sessions.session import CODE, INVITATION, Person, hash_of, new_token
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import aliases, messages
from members.messages import COLLEAGUE, MEMBER, Recipient

DIGITS = 8
CODE_LIFE = timedelta(minutes=10)
MOST_TRIES = 5
MOST_CODES = 5
BUDGET_LIFE = timedelta(hours=1)
LONGEST_ADDRESS = 254

_BETWEEN = str.maketrans("", "", " \u00a0-\t\r\n")
_CODE = re.compile(rf"[0-9]{{{DIGITS}}}", re.ASCII)


class SignInCodeInvalid(Rejection):
    """Not the code that was sent, or one that was used, is over, or was tried too often; it is not said which."""

    code = "SIGN_IN_CODE_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the code is not right, or its time is over")


class SignInTooOften(Rejection):
    """The address was asked for as many codes as it may be in an hour, whether or not anybody has it."""

    code = "SIGN_IN_TOO_OFTEN"
    retryable = True

    def __init__(self) -> None:
        super().__init__(f"{MOST_CODES} codes were asked for; try again in an hour")


@dataclass(frozen=True, slots=True)
class Proved:
    """Who proved to be whom, and how (CODE or INVITATION)."""

    person: Person
    by: str


async def ask(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    *,
    audience: str,
    address: str,
    known: str | None,
    at: datetime,
    now: datetime,
) -> str:
    """Send a code to whoever has an address; returns the token that the browser enters it with.

    known is what `recognise` gave this browser when somebody signed in before. Rejects SIGN_IN_TOO_OFTEN.
    """
    typed = _normal(address)
    recipient = await _find(connection, vault, audience, typed)
    budget = _budget_of(vault, audience, typed, recipient, known)
    return await _send(connection, vault, sender, audience, recipient, budget, at, now)


async def ask_again(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    person: Person,
    *,
    at: datetime,
    now: datetime,
) -> str:
    """Send a code to somebody who is signed in, for a step-up; else as `ask`. Rejects SIGN_IN_TOO_OFTEN."""
    recipient = await recipient_of(connection, vault, person)
    budget = f"{person.audience}:signed in:{person.number}"
    return await _send(connection, vault, sender, person.audience, recipient, budget, at, now)


async def enter(database: Database, vault: Vault, *, audience: str, token: str, code: str, now: datetime) -> Proved:
    """Who is proved by the code that a browser enters. The caller begins the session. Rejects SIGN_IN_CODE_INVALID.

    Takes the database and commits by itself: a wrong try must stay counted, and it is counted before the code is looked
    at, so that guesses made in parallel share the tries. Of several right ones in parallel one wins.
    """
    typed = code.translate(_BETWEEN)
    token_hash = hash_of(token)
    async with database.transaction() as connection:
        asked = await store.count_try(connection, audience, token_hash, now, MOST_TRIES)
    if asked is None:
        raise SignInCodeInvalid
    is_code = _CODE.fullmatch(typed) is not None and hmac.compare_digest(
        _hash(vault, token_hash, typed), bytes(asked["code_hash"])
    )
    if asked["person_id"] is None:
        raise SignInCodeInvalid
    person = Person(audience, asked["person_id"])
    async with database.transaction() as connection:
        is_invited = not is_code and await _accept_invitation(connection, person, typed, now)
        if not (is_code or is_invited) or not await store.use_sign_in(connection, token_hash, now):
            raise SignInCodeInvalid
    return Proved(person, CODE if is_code else INVITATION)


def recognise(vault: Vault, person: Person) -> str:
    """What a browser keeps of the person who signed in with it; opaque, and good for nothing but an hourly number."""
    told = f"{person.audience}:{person.number}:{secrets.token_hex(8)}"
    return base64.urlsafe_b64encode(vault.seal(told.encode(), "known_browser")).decode()


async def recipient_of(connection: AsyncConnection, vault: Vault, person: Person) -> Recipient:
    """Somebody who can sign in, to write to. Rejects ADDRESS_UNKNOWN."""
    if person.audience == MEMBER:
        return await messages.member(connection, vault, person.number)
    of_actor = colleagues.recipient if person.audience == COLLEAGUE else staff.recipient
    return await of_actor(connection, vault, person.number)


async def _find(connection: AsyncConnection, vault: Vault, audience: str, typed: str) -> Recipient | None:
    if audience == MEMBER:
        return await messages.find_member(connection, vault, typed)
    return await (colleagues.find if audience == COLLEAGUE else staff.find)(connection, vault, typed)


async def _accept_invitation(connection: AsyncConnection, person: Person, typed: str, now: datetime) -> bool:
    accept = colleagues.accept_invitation if person.audience == COLLEAGUE else staff.accept_invitation
    return await accept(connection, person, typed, now=now)


async def _send(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    audience: str,
    recipient: Recipient | None,
    budget: str,
    at: datetime,
    now: datetime,
) -> str:
    token = new_token()
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    if not await store.take_from_budget(
        connection, vault.lookup("sign_in", budget), now, now - BUDGET_LIFE, MOST_CODES
    ):
        raise SignInTooOften
    await store.insert_sign_in(
        connection,
        {
            "token_hash": hash_of(token),
            "audience": audience,
            "person_id": recipient.person_id if recipient else None,
            "code_hash": _hash(vault, hash_of(token), code),
            "now": now,
            "ends_at": now + CODE_LIFE,
        },
    )
    to = recipient or messages.nobody()
    letter = letters.sign_in_code(
        to.language,
        code=code,
        minutes=int(CODE_LIFE.total_seconds()) // 60,
        programme=sender.programme,
        site=sender.site,
    )
    await messages.accept(
        connection, to, letter, message_id=uuid4(), purpose=messages.SIGN_IN_CODE, at=at, now=now,
        good_until=now + CODE_LIFE,
    )  # fmt: skip
    return token


def _normal(address: str) -> str:
    typed = address.strip()[:LONGEST_ADDRESS]
    normal = aliases.normal_email(typed) if "@" in typed else aliases.normal_phone(typed)
    return normal or typed


def _budget_of(vault: Vault, audience: str, typed: str, recipient: Recipient | None, known: str | None) -> str:
    if known is not None and recipient is not None and len(known) < 512:
        try:
            told = vault.open(base64.urlsafe_b64decode(known), "known_browser").decode()
        except (ValueError, InvalidTag):
            told = ""
        if told.startswith(f"{audience}:{recipient.person_id}:"):
            return f"known:{told}"
    return f"{audience}:{typed}"


def _hash(vault: Vault, token_hash: bytes, code: str) -> bytes:
    # Eight digits are guessed offline in no time; without the vault's key nobody can try one.
    return hmac.digest(vault.derive("sign_in_code"), token_hash + code.encode(), "sha256")
