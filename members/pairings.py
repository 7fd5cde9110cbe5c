"""Pairings: a till without a scanner shows a code, a member scans it with their phone and confirms who asks.

A code is good once, for a few minutes, and only while it is the latest of its till. What it is good for is a visit at
that very till; whoever else comes to know the code can at most confirm it with a membership of their own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault, fingerprint
from members import identification, pairing_store
from members.cards import MemberClosed, MemberUnknown
from members.identification import MemberRef, Visit

LASTS = timedelta(minutes=3)
KEPT = timedelta(days=1)
CODE_BYTES = 16
LONGEST_CODE = 64

WAITING = "WAITING"
CONFIRMED = "CONFIRMED"
EXPIRED = "EXPIRED"


class PairingUnknown(Rejection):
    """No till shows this code, or it shows a later one."""

    code = "PAIRING_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("no till shows this code")


class PairingExpired(Rejection):
    """The code was shown too long ago."""

    code = "PAIRING_EXPIRED"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the code is over; the till shows a new one")


class PairingUsed(Rejection):
    """Another member confirmed the code before; it is good once."""

    code = "PAIRING_USED"
    retryable = False

    def __init__(self) -> None:
        super().__init__("somebody confirmed this code before")


@dataclass(frozen=True, slots=True)
class Pairing:
    """A till's code and what became of it by an instant. state is WAITING, CONFIRMED or EXPIRED; member_id and
    answered_at are None until it is confirmed."""

    pairing_id: int
    partner_id: int
    outlet_id: int
    terminal_id: int
    client_no: int
    expires_at: datetime
    state: str
    member_id: int | None
    answered_at: datetime | None


def code_of(vault: Vault, idem_key: UUID) -> str:
    """The code of the pairing that a key began: 128 bits, the same for every retry, unknown without our key."""
    digest = hmac.digest(vault.derive("pairing"), idem_key.bytes, "sha256")
    return base64.urlsafe_b64encode(digest[:CODE_BYTES]).rstrip(b"=").decode()


async def begin(
    connection: AsyncConnection,
    vault: Vault,
    *,
    partner_id: int,
    outlet_id: int,
    terminal_id: int,
    client_no: int,
    idem_key: UUID,
    at: datetime,
) -> tuple[Pairing, bool] | None:
    """Let a till show a code (`code_of`), which ends its earlier ones; whether it was begun before under this key. None
    where the key was used for another till."""
    content = fingerprint("pairing", str(partner_id), str(outlet_id), str(terminal_id))
    is_new = await pairing_store.insert_pairing(
        connection, code_hash=_hash(code_of(vault, idem_key)), idem_key=idem_key, fingerprint=content,
        partner_id=partner_id, outlet_id=outlet_id, terminal_id=terminal_id, client_no=client_no, began_at=at,
        expires_at=at + LASTS,
    )  # fmt: skip
    row = await pairing_store.pairing_by_key(connection, idem_key)
    return (_pairing(row, at), not is_new) if row.fingerprint == content else None


async def find(connection: AsyncConnection, pairing_id: int, *, at: datetime) -> Pairing | None:
    """A pairing as it stands at an instant."""
    row = await pairing_store.pairing(connection, pairing_id)
    return None if row is None else _pairing(row, at)


async def look(connection: AsyncConnection, code: str, *, by: int, at: datetime) -> Pairing:
    """The pairing that a member's phone read, while its till shows it. Rejects PAIRING_UNKNOWN, PAIRING_EXPIRED,
    PAIRING_USED (by another one)."""
    return await _open(connection, code, by, at)


async def confirmed(connection: AsyncConnection, code: str, *, by: int, at: datetime) -> Pairing:
    """The pairing that a member has confirmed, for who asks the same once more. Rejects PAIRING_UNKNOWN."""
    row = await pairing_store.pairing_by_code(connection, _hash(code))
    if row is None or row.member_id != by:
        raise PairingUnknown
    return _pairing(row, at)


async def confirm(connection: AsyncConnection, code: str, member_id: int, *, at: datetime) -> Pairing:
    """Tell the till that shows a code that this member stands there. Once more by the same member changes nothing.

    Rejects PAIRING_UNKNOWN, PAIRING_EXPIRED, PAIRING_USED (also of two at the same moment to the later one).
    """
    found = await _open(connection, code, member_id, at)
    if found.member_id is None:
        await pairing_store.insert_answer(connection, found.pairing_id, member_id, at=at)
        found = await _open(connection, code, member_id, at)
    return found


async def visit(connection: AsyncConnection, vault: Vault, pairing: Pairing, *, at: datetime) -> Visit | None:
    """The visit at the till that a pairing led to; None before that, and where the member has left since."""
    if pairing.member_id is None or pairing.answered_at is None:
        return None
    ref = MemberRef(id=pairing.member_id)
    try:
        found = await identification.identify(
            connection, vault, ref, partner_id=pairing.partner_id, terminal_id=pairing.terminal_id, at=at
        )
    except (MemberUnknown, MemberClosed):
        return None
    ends = pairing.answered_at + identification.VISIT_LASTS
    return Visit(found.member_id, None, pairing.partner_id, pairing.terminal_id, identification.PAIRING, ends)


async def forget(connection: AsyncConnection, *, at: datetime, limit: int = 1_000) -> int:
    """Remove pairings that were over a day before an instant; how many, at most so many."""
    return await pairing_store.delete_over(connection, before=at - KEPT, limit=limit)


async def _open(connection: AsyncConnection, code: str, member_id: int, at: datetime) -> Pairing:
    row = await pairing_store.pairing_by_code(connection, _hash(code)) if len(code) <= LONGEST_CODE else None
    if row is None:
        raise PairingUnknown
    if row.member_id not in (None, member_id):
        raise PairingUsed
    if row.is_replaced:
        raise PairingUnknown
    if row.expires_at <= at:
        raise PairingExpired
    return _pairing(row, at)


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


def _pairing(row: Row[Any], at: datetime) -> Pairing:
    is_over = row.expires_at <= at or row.is_replaced
    state = CONFIRMED if row.member_id is not None else EXPIRED if is_over else WAITING
    return Pairing(
        row.pairing_id, row.partner_id, row.outlet_id, row.terminal_id, row.client_no, row.expires_at, state,
        row.member_id, row.answered_at,
    )  # fmt: skip
