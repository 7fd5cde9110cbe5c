"""Quotes: a sealed note of which terms were promised to whom, honoured for a quarter of an hour. Nothing is stored."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kit.secrets import Vault, opaque_id, read_opaque_id
from partners.tills.tills import QuoteExpired

LASTS = timedelta(minutes=15)
_NOTE = struct.Struct(">iqiq")


@dataclass(frozen=True, slots=True)
class Note:
    """What a quote promised: to which partner, for which member, under which terms, until when."""

    partner_id: int
    member_id: int
    terms_id: int
    until: datetime


def seal(vault: Vault, note: Note) -> str:
    """The quote's id."""
    until = int(note.until.timestamp())
    return opaque_id(_key(vault), "quo", _NOTE.pack(note.partner_id, note.member_id, note.terms_id, until))


def read(vault: Vault, quote_id: str, *, partner_id: int, at: datetime) -> Note:
    """The note inside a quote's id. Raises QuoteExpired when it is over, foreign, or none of ours."""
    raw = read_opaque_id(_key(vault), "quo", quote_id)
    if raw is None or len(raw) != _NOTE.size:
        raise QuoteExpired
    partner, member, terms, until = _NOTE.unpack(raw)
    note = Note(partner, member, terms, datetime.fromtimestamp(until, UTC))
    if partner != partner_id or note.until <= at:
        raise QuoteExpired
    return note


def _key(vault: Vault) -> bytes:
    return vault.derive("quote.mac") + vault.derive("quote.encrypt")
