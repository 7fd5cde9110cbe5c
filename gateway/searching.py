"""What a text finds across the programme, for staff with a purpose: members, receipts, partners, requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from gateway import masking
from gateway.context import Services
from gateway.integration import request_log
from gateway.membership import own_ids
from kit.errors import Rejection
from ledger import accounts
from members import cards
from members.identification import Identified, MemberRef, identify
from partners.directory import Directory, Partner
from partners.receipts import histories, receipts
from partners.receipts.receipts import ReceiptRef
from partners.receipts.records import StoredReceipt

PURPOSES = ("MEMBER_ASKED", "PARTNER_ASKED", "COMPLAINT", "FRAUD", "SUPPORT")
"""What somebody may look for a person for."""
OPERATOR = 0
MOST_HITS = 20
MOST_PLACES = 5_000
KINDS = {1: "PURCHASE", 2: "REDEMPTION", 3: "RETURN", 4: "CANCELLATION"}
CLAIMED_AS = ("SALE", "RETURN", "CANCELLATION")

_DIGITS = re.compile(r"\+?[\d ()-]{4,30}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_NUMBER = re.compile(r"member:(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; of a receipt also its day, and the partner where there are very many tills."""

    text: str
    business_date: date | None = None
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A card of a member's, without its number."""

    last_four: str
    status: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member who was found, without anything that tells who that is."""

    number: int
    status: str
    tier: str
    language: str
    available: int
    pending: int
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that was found, with the codes of where it is from."""

    partner: str
    outlet: str
    kind: str
    receipt: StoredReceipt


@dataclass(frozen=True, slots=True)
class Found:
    """All that a text finds."""

    members: Sequence[Member] = field(default=())
    receipts: Sequence[Receipt] = field(default=())
    partners: Sequence[Partner] = field(default=())
    requests: Sequence[request_log.Entry] = field(default=())

    @property
    def counts(self) -> Mapping[str, int]:
        """How much was found, by kind."""
        return {
            "members": len(self.members), "receipts": len(self.receipts), "partners": len(self.partners),
            "requests": len(self.requests),
        }  # fmt: skip

    @property
    def subject(self) -> str:
        """Whom the trail says this was about: the member who was found, or whose receipt was."""
        numbers = {one.number for one in self.members} | {one.receipt.holder_id for one in self.receipts}
        return f"member:{numbers.pop()}" if len(numbers) == 1 else "search:"


async def look(services: Services, directory: Directory, wanted: Wanted, *, at: datetime) -> Found:
    """What a text finds. Raises BAD_USER_INPUT where a receipt could be at too many tills to look."""
    text = wanted.text
    low = text.casefold()
    named = [one for one in directory.partners() if low in one.code or low in one.name.casefold()][:MOST_HITS]
    async with services.database.reading() as connection:
        asked = await request_log.everywhere(connection, text, limit=MOST_HITS) if _REQUEST_ID.fullmatch(text) else []
    return Found(await _members(services, text, at), await _receipts(services, directory, wanted), named, asked)


async def _members(services: Services, text: str, at: datetime) -> list[Member]:
    found: dict[int, Member] = {}
    for ref in _refs(services, text):
        async with services.database.reading() as connection:
            try:
                who = await identify(connection, services.vault, ref, partner_id=OPERATOR, terminal_id=None, at=at)
            except Rejection:
                continue  # nobody is found by this
            balance = await accounts.balance(connection, who.member_id, at=at)
            held = await cards.of_member(connection, who.member_id)
        found[who.member_id] = _member(who, balance, [Card(each.last_four, each.status) for each in held])
    return list(found.values())


def _member(who: Identified, balance: accounts.Balance | None, held: Sequence[Card]) -> Member:
    available, pending = (0, 0) if balance is None else (balance.available, balance.pending)
    return Member(who.member_id, who.status, who.tier, who.language, available, pending, held)


def _refs(services: Services, text: str) -> list[MemberRef]:
    """Whom a text could mean."""
    if (numbered := _NUMBER.fullmatch(text)) is not None:
        return [MemberRef(id=int(numbered[1]))]
    own = own_ids.read_any_own_id(services.vault, own_ids.MEMBER, text)
    if own is not None:
        return [MemberRef(id=own)]
    return [MemberRef(card_number=text), MemberRef(phone=text)] if _DIGITS.fullmatch(text) else []


async def _receipts(services: Services, directory: Directory, wanted: Wanted) -> list[Receipt]:
    if wanted.business_date is None:
        return []
    places = [
        (partner.partner_id, outlet.outlet_id, terminal_id)
        for partner in directory.partners()
        if wanted.partner in (None, partner.code)
        for outlet in directory.outlets(partner.partner_id)
        for terminal_id in (None, *(each.terminal_id for each in directory.terminals(outlet.outlet_id)))
    ]
    if len(places) > MOST_PLACES:
        raise masking.coded(masking.BAD_USER_INPUT, "There are too many tills to look at: name the partner.")
    ref = ReceiptRef("", None, wanted.business_date, wanted.text)
    claims = [receipts.claim_of(*place, ref, kind) for place in places for kind in CLAIMED_AS]
    found = await histories.claimed(services.database.pool, claims)
    return [_receipt(directory, one) for one in found[:MOST_HITS]]


def _receipt(directory: Directory, receipt: StoredReceipt) -> Receipt:
    partner, outlet = directory.partner(receipt.partner_id), directory.outlet_by_id(receipt.outlet_id)
    return Receipt(
        "" if partner is None else partner.code, "" if outlet is None else outlet.code,
        KINDS.get(receipt.kind, str(receipt.kind)), receipt,
    )  # fmt: skip
