"""Cards: how a member is recognised. One member has several; one can be lost without the others.

A number is 16 digits: the coalition's prefix, twelve random ones, a check digit. It names, it does not prove: who knows
it can give points, never spend them. Only a keyed hash of it is stored, so it can be shown once, when it is issued.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault, opaque_id, read_opaque_id
from ledger import accounts
from members import store

PREFIX = "970"
SECRET_BYTES = 20
MOST_ACTIVE = 20

_NUMBER = re.compile(r"[0-9]{16}", re.ASCII)
_BETWEEN_DIGITS = str.maketrans("", "", " \u00a0-")
_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))  # of two digits their sum


class MemberUnknown(Rejection):
    """Nobody is found by what was given; nothing says whether anything like it exists."""

    code = "MEMBER_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("no such member")


class CardUnknown(Rejection):
    """No card has this number, or it is none."""

    code = "CARD_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("no such card")


class CardsTooMany(Rejection):
    """A member has as many cards in use as a member may have; one of them is to be reported gone first."""

    code = "CARDS_TOO_MANY"
    retryable = True

    def __init__(self) -> None:
        super().__init__(f"a member has at most {MOST_ACTIVE} cards in use")


class Recognised(Rejection):
    """A "no" about somebody who is known. member_id is for the probe whether this very request was answered before:
    a repeated purchase must hear its first answer although the card was blocked, or its code grew old, meanwhile."""

    sentence: ClassVar[str]
    retryable = False

    def __init__(self, member_id: int) -> None:
        super().__init__(self.sentence)
        self.member_id = member_id


class CardBlocked(Recognised):
    """The card was reported lost, or blocked."""

    code = "CARD_BLOCKED"
    sentence = "the card is blocked"


class CardRegistered(Recognised):
    """The card to be registered is somebody's already."""

    code = "CARD_REGISTERED"
    sentence = "the card is already registered"


class MemberClosed(Recognised):
    """The member has left."""

    code = "MEMBER_CLOSED"
    sentence = "the membership has ended"


@dataclass(frozen=True, slots=True)
class IssuedCard:
    """A card as its member gets it: the only time that number and secret are in clear. Neither prints.

    secret is the 160 bits that the member's phone makes rotating codes from, together with `ref`.
    """

    card_id: int
    member_id: int
    number: str = field(repr=False)
    last_four: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldCard:
    """A card as its member sees it in a list."""

    card_id: int
    last_four: str
    status: str
    status_at: datetime
    issued_at: datetime


def check_digit(payload: str) -> str:
    """The Luhn digit (ISO/IEC 7812-1) to put behind digits."""
    digits = payload.encode("ascii")[::-1]
    return str(-(sum(digits[::2].translate(_DOUBLED)) + sum(digits[1::2].translate(_PLAIN))) % 10)


def normal_number(text: str) -> str | None:
    """A card number as its 16 digits, spaces and hyphens taken out; None for what cannot be one of ours."""
    digits = text if _NUMBER.fullmatch(text) else text.translate(_BETWEEN_DIGITS)
    is_ours = _NUMBER.fullmatch(digits) and digits.startswith(PREFIX) and check_digit(digits[:-1]) == digits[-1]
    return digits if is_ours else None


def check_number(text: str) -> bool:
    """Whether a text is a card number as far as can be told without looking: length, prefix, check digit."""
    return normal_number(text) is not None


def number_lookup(vault: Vault, number: str) -> UUID:
    """The keyed hash under which a normal number is found."""
    return vault.lookup("card", number)


def ref(vault: Vault, card_id: int) -> str:
    """What stands for a card inside a rotating code: it finds the card, and tells nobody else the number."""
    return opaque_id(long_key(vault, "card-ref"), "c", card_id.to_bytes(8, "big"))


def read_ref(vault: Vault, card_ref: str) -> int | None:
    """The card's id inside what `ref` made; None for anything else."""
    for mac, encrypt in zip(vault.derived("card-ref.mac"), vault.derived("card-ref.encrypt"), strict=True):
        clear = read_opaque_id(mac + encrypt, "c", card_ref)
        if clear is not None:
            return int.from_bytes(clear, "big")
    return None


def long_key(vault: Vault, purpose: str) -> bytes:
    """A key of 64 bytes for the ids of one purpose."""
    return vault.derive(f"{purpose}.mac") + vault.derive(f"{purpose}.encrypt")


async def issue(connection: AsyncConnection, vault: Vault, *, member_id: int, at: datetime) -> IssuedCard:
    """Issue one more card to a member. Rejects MEMBER_UNKNOWN, MEMBER_CLOSED."""
    member = await store.member_by_id(connection, member_id)
    if member is None:
        raise MemberUnknown
    if member.member_status == "CLOSED":
        raise MemberClosed(member_id)
    [card] = await issue_many(connection, vault, [member_id], at)
    return card


async def issue_to_device(connection: AsyncConnection, vault: Vault, *, member_id: int, at: datetime) -> IssuedCard:
    """Issue a card to one of a member's devices. Rejects as `issue` does, and CARDS_TOO_MANY."""
    if not await store.lock_member(connection, member_id):
        raise MemberUnknown
    if sum(card.status == "ACTIVE" for card in await of_member(connection, member_id)) >= MOST_ACTIVE:
        raise CardsTooMany
    return await issue(connection, vault, member_id=member_id, at=at)


async def issue_many(
    connection: AsyncConnection, vault: Vault, member_ids: Sequence[int], at: datetime
) -> list[IssuedCard]:
    """Issue one card to each of these members, who are there and distinct; the cards in their order."""
    issued: dict[int, IssuedCard] = {}
    while missing := [member_id for member_id in member_ids if member_id not in issued]:
        drawn = {number_lookup(vault, number): number for number in (_draw_number() for _ in missing)}
        cards = [
            (member_id, lookup, number, secrets.token_bytes(SECRET_BYTES))
            for member_id, (lookup, number) in zip(missing, drawn.items(), strict=False)
        ]
        card_ids = await store.insert_cards(
            connection,
            [member_id for member_id, _, _, _ in cards],
            [lookup for _, lookup, _, _ in cards],
            [number[-4:] for _, _, number, _ in cards],
            [vault.seal(secret, secret_context(lookup)) for _, lookup, _, secret in cards],
            at,
        )
        for member_id, lookup, number, secret in cards:
            if lookup in card_ids:
                issued[member_id] = IssuedCard(card_ids[lookup], member_id, number, number[-4:], secret)
    return [issued[member_id] for member_id in member_ids]


async def issue_anonymous(
    connection: AsyncConnection, vault: Vault, count: int, at: datetime, *, language: str = "en"
) -> list[IssuedCard]:
    """Issue cards to be printed in advance. Each earns at once, for a member without a name and an account of its own;
    `enrolment.enrol` with its number makes that member somebody."""
    member_ids = await accounts.open_accounts(connection, count)
    await store.insert_members(connection, member_ids, [language] * count, "ANONYMOUS", at, 0)
    return await issue_many(connection, vault, member_ids, at)


async def find_anonymous(connection: AsyncConnection, vault: Vault, number: str) -> IssuedCard:
    """The card that somebody wants to register. Rejects CARD_UNKNOWN, CARD_BLOCKED, CARD_REGISTERED."""
    normal = normal_number(number)
    if normal is None:
        raise CardUnknown
    lookup = number_lookup(vault, normal)
    card = await store.card_by_lookup(connection, lookup)
    if card is None:
        raise CardUnknown
    if card.card_status != "ACTIVE":
        raise CardBlocked(card.member_id)
    if card.member_status != "ANONYMOUS":
        raise CardRegistered(card.member_id)
    secret = open_secret(vault, await store.card_secret(connection, card.card_id), lookup)
    return IssuedCard(card.card_id, card.member_id, normal, normal[-4:], secret)


async def mark_lost(connection: AsyncConnection, card_id: int, *, at: datetime) -> None:
    """A member says that a card is gone: it neither earns nor spends from now on. Rejects CARD_UNKNOWN.

    A card that is not active stays as it is: what keeps it from being used is not weakened.
    """
    await _change_status(connection, card_id, "LOST", at)


async def block(connection: AsyncConnection, card_id: int, *, at: datetime) -> None:
    """The programme blocks a card, as `mark_lost` does. Rejects CARD_UNKNOWN."""
    await _change_status(connection, card_id, "BLOCKED", at)


async def of_member(connection: AsyncConnection, member_id: int) -> list[HeldCard]:
    """The cards that were issued to a member, those in use first, then the latest."""
    return [HeldCard(**row._mapping) for row in await store.cards_of(connection, member_id)]


def open_secret(vault: Vault, sealed: bytes, lookup: UUID) -> bytes:
    """The secret of a card, sealed in its row under the hash of its number."""
    return vault.open(sealed, secret_context(lookup))


async def _change_status(connection: AsyncConnection, card_id: int, status: str, at: datetime) -> None:
    if await store.card_by_id(connection, card_id) is None:
        raise CardUnknown
    await store.change_card_status(connection, card_id, status, at)


def _draw_number() -> str:
    payload = f"{PREFIX}{secrets.randbelow(10**12):012d}"
    return payload + check_digit(payload)


def secret_context(lookup: UUID) -> str:
    """What the seal of a card's secret is bound to."""
    return f"card:{lookup}"
