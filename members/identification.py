"""Identification: which member is standing at the till, and how well that is known.

A card's number, an alias or an id only says who earns; what may spend is decided from proofs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault, opaque_id, read_opaque_id
from members import aliases, cards, proofs, store
from members.cards import CardBlocked, CardUnknown, MemberClosed, MemberUnknown, Recognised

NUMBER: Final = "NUMBER"
CODE: Final = "CODE"
VISIT: Final = "VISIT"
ALIAS: Final = "ALIAS"
ID: Final = "ID"
PAIRING: Final = "PAIRING"
LEVELS = (NUMBER, CODE, VISIT, ALIAS, ID, PAIRING)

VISIT_LASTS = timedelta(minutes=10)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAYLOAD = struct.Struct(">qqiiBq")


class VisitExpired(Recognised):
    """A visit ended: the member is to be identified again."""

    code = "VISIT_EXPIRED"
    sentence = "the visit has ended; identify the member again"


@dataclass(frozen=True, slots=True)
class Visit:
    """A member was identified at a terminal, this well, and need not be again until expires_at (business clock)."""

    member_id: int
    card_id: int | None
    partner_id: int
    terminal_id: int | None
    level: str
    expires_at: datetime


class Identified(Struct, frozen=True):
    """A member, recognised. level says by what; of a visit, visit.level says by what it was begun.

    status is ACTIVE, ANONYMOUS for the holder of a card that nobody has registered, or HOUSEHOLD for the pool of
    several members. issued_to is the member whom the card or alias is of where that one was ever merged, and None else.
    """

    member_id: int
    card_id: int | None
    level: str
    tier: str
    language: str
    status: str
    visit: Visit | None = None
    issued_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRef:
    """What a till says of a member: exactly one of these. id is the member's number, already read from the partner's
    own id of them; everything else is as it came in. Raises ValueError for none or several."""

    id: int | None = None
    card_number: str | None = field(default=None, repr=False)
    card_code: str | None = field(default=None, repr=False)
    visit: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    instrument_token: str | None = field(default=None, repr=False)
    external_id: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        given = (
            self.id, self.card_number, self.card_code, self.visit, self.phone, self.instrument_token, self.external_id,
        )  # fmt: skip
        if given.count(None) != len(given) - 1:
            raise ValueError("a member is named in exactly one way")


async def identify_cards(
    source: store.Fetches, vault: Vault, numbers: Sequence[str]
) -> dict[str, Identified | Rejection]:
    """Members by card number, every number given with its answer: CARD_UNKNOWN, CARD_BLOCKED and MEMBER_CLOSED are
    values here. One query over raw asyncpg (a pool or a connection); none for numbers that cannot be right."""
    return await identify_hashed(source, numbers, lookups_of(vault, numbers))


async def identify_hashed(
    source: store.Fetches, numbers: Sequence[str], lookups: Mapping[str, UUID]
) -> dict[str, Identified | Rejection]:
    """As `identify_cards`, of numbers whose keyed hashes (`lookups_of`) are known: hashing is most of the work."""
    found = await store.cards_by_lookup(source, list(lookups.values())) if lookups else {}
    return {number: judged(found.get(lookups[number]) if number in lookups else None) for number in numbers}


def lookups_of(vault: Vault, numbers: Sequence[str]) -> dict[str, UUID]:
    """The keyed hash under which `members.recognised` knows a card, by its number; none of what cannot be a number."""
    return {
        number: cards.number_lookup(vault, normal)
        for number in numbers
        if (normal := cards.normal_number(number)) is not None
    }


def judged(row: Any) -> Identified | Rejection:
    """A row of `members.recognised` as whom the card's number names; None is no such card: CARD_UNKNOWN."""
    return _judge(row, NUMBER) or CardUnknown()


async def identify(
    connection: AsyncConnection,
    vault: Vault,
    ref: MemberRef,
    *,
    partner_id: int,
    terminal_id: int | None,
    at: datetime,
) -> Identified:
    """The member that a partner's terminal names.

    Rejects MEMBER_UNKNOWN, CARD_UNKNOWN, CARD_BLOCKED, MEMBER_CLOSED, of a visit VISIT_EXPIRED, of a code what
    `proofs.verify_code` rejects. A code that identifies is not used up by it.
    """
    if ref.card_number is not None:
        return await _by_number(connection, vault, ref.card_number)
    if ref.card_code is not None:
        proof = await proofs.verify_code(connection, vault, ref.card_code, at=at)
        return _checked(await store.card_by_id(connection, proof.card_id), CODE)
    if ref.visit is not None:
        return await _by_visit(connection, read_visit(vault, ref.visit, partner_id, terminal_id, at=at))
    if ref.id is not None:
        return _checked(await store.member_by_id(connection, ref.id), ID)
    alias = _alias(vault, ref, partner_id)
    return _checked(await store.member_by_alias(connection, alias) if alias else None, ALIAS)


async def holder_of(connection: AsyncConnection, vault: Vault, number: str) -> tuple[int, int]:
    """(member, card) of a card number whatever became of the card, for the desk. Rejects CARD_UNKNOWN."""
    normal = cards.normal_number(number)
    row = await store.card_by_lookup(connection, cards.number_lookup(vault, normal)) if normal else None
    if row is None:
        raise CardUnknown
    return row.member_id, row.card_id


def begin_visit(identified: Identified, *, partner_id: int, terminal_id: int | None, at: datetime) -> Visit:
    """The visit of somebody who was just identified. One that runs already is the same visit and ends no later."""
    if identified.visit is not None:
        return identified.visit
    return Visit(identified.member_id, identified.card_id, partner_id, terminal_id, identified.level, at + VISIT_LASTS)


def issue_visit(vault: Vault, visit: Visit) -> str:
    """The token of a visit; says nothing to whoever holds it, and nothing at another terminal."""
    payload = _PAYLOAD.pack(
        visit.member_id,
        visit.card_id or 0,
        visit.partner_id,
        visit.terminal_id or 0,
        LEVELS.index(visit.level),
        (visit.expires_at - _EPOCH) // timedelta(microseconds=1),
    )
    return opaque_id(cards.long_key(vault, "visit"), "vst", payload)


def read_visit(vault: Vault, token: str, partner_id: int, terminal_id: int | None, *, at: datetime) -> Visit:
    """The visit of a token. Rejects MEMBER_UNKNOWN (not ours, or of another partner or terminal), VISIT_EXPIRED."""
    payload = read_opaque_id(cards.long_key(vault, "visit"), "vst", token)
    if payload is None:
        raise MemberUnknown
    member_id, card_id, partner, terminal, level, micros = _PAYLOAD.unpack(payload)
    if (partner, terminal) != (partner_id, terminal_id or 0):
        raise MemberUnknown
    expires_at = _EPOCH + timedelta(microseconds=micros)
    if expires_at <= at:
        raise VisitExpired(member_id)
    return Visit(member_id, card_id or None, partner, terminal or None, LEVELS[level], expires_at)


async def _by_number(connection: AsyncConnection, vault: Vault, number: str) -> Identified:
    normal = cards.normal_number(number)
    if normal is None:
        raise CardUnknown
    row = await store.card_by_lookup(connection, cards.number_lookup(vault, normal))
    if row is None:
        raise CardUnknown
    return _checked(row, NUMBER)


async def _by_visit(connection: AsyncConnection, visit: Visit) -> Identified:
    # Looked up again: the card may have been reported lost since the visit began.
    if visit.card_id is None:
        row = await store.member_by_id(connection, visit.member_id)
    else:
        row = await store.card_by_id(connection, visit.card_id)
    return _checked(row, VISIT, visit)


def _alias(vault: Vault, ref: MemberRef, partner_id: int) -> aliases.Alias | None:
    if ref.phone is not None:
        return aliases.phone(vault, ref.phone)
    if ref.instrument_token is not None:
        return aliases.instrument(vault, partner_id, ref.instrument_token)
    assert ref.external_id is not None
    return aliases.external(vault, partner_id, ref.external_id)


def _checked(row: Any, level: str, visit: Visit | None = None) -> Identified:
    found = _judge(None if row is None else row._mapping, level, visit)
    if found is None:
        raise MemberUnknown
    if isinstance(found, Rejection):
        raise found
    return found


def _judge(row: Any, level: str, visit: Visit | None = None) -> Identified | Rejection | None:
    if row is None:
        return None
    if row["card_status"] not in (None, "ACTIVE"):
        return CardBlocked(row["member_id"])
    if row["member_status"] == "CLOSED":
        return MemberClosed(row["member_id"])
    return Identified(
        row["member_id"],
        row["card_id"],
        level,
        row["tier"],
        row["language"],
        row["member_status"],
        visit,
        row["issued_to"],
    )
