"""The bank's notices (camt.054): they say what an entry was made of, before or beside the statement that books it.

A notice moves no money at the bank, however often it comes: only a statement has balances. An entry of a statement that
names no payments has those that a notice told under the same number of the bank's, if they sum to it; where the notice
comes last, what it tells takes the entry out of suspense (`late_notices`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO, Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.database import Database
from settlement import store
from settlement.bank import camt, details, late_notices, payment_store
from settlement.bank.camt import Entry, NoticeHead, Tail
from settlement.bank.receiving import BankAccountNotOurs, BankStatementChanged
from settlement.rating import OPERATOR

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Noticed:
    """A notice that was taken: how many entries it has. is_replayed: it was taken before, and nothing was written."""

    notice_ref: str
    currency: str
    entries: int
    is_replayed: bool = False


@dataclass
class _Taking:
    """A notice that is being read: its payments go out with its end, when its content is known."""

    head: NoticeHead
    rows: list[dict[str, Any]] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)


async def receive(
    database: Database, source: IO[bytes], *, actor: str, at: datetime, most_bytes: int = camt.MOST_BYTES,
    progress: Callable[[int], None] | None = None, once: Callable[[AsyncConnection], Awaitable[object]] | None = None,
) -> list[Noticed]:  # fmt: skip
    """Take every notice of a file, on behalf of a FINANCE_MAKER, all of them or none. A notice that was taken before is
    passed over. once is done first in the same transaction.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BANK_FILE_INVALID, BANK_ACCOUNT_NOT_OURS, BANK_STATEMENT_CHANGED,
    PERIOD_LOCKED.
    """
    async with database.transaction() as connection:
        await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
        if once is not None:
            await once(connection)
        await store.lock_runs(connection)
        found: list[Noticed] = []
        taking: _Taking | None = None
        events = camt.read_notices(source, most_bytes=most_bytes)
        while chunk := await asyncio.to_thread(_read_on, events):
            for event in chunk:
                if isinstance(event, NoticeHead):
                    taking = _Taking(event)
                elif isinstance(event, Entry):
                    assert taking is not None
                    _keep(taking, event)
                else:
                    assert taking is not None
                    found.append(await _end(connection, taking, event, actor, at))
            if progress is not None:
                progress(len(chunk))
        return found


def _read_on(events: Iterator[NoticeHead | Entry | Tail]) -> list[NoticeHead | Entry | Tail]:
    return list(islice(events, _CHUNK))


def _keep(taking: _Taking, entry: Entry) -> None:
    """What an entry is made of, where the bank's own number says which it is."""
    taking.digest.update(repr(entry).encode())
    if entry.servicer_reference is None or not entry.is_booked:
        return
    taking.rows += [
        {
            "entry_no": entry.number, "payment_no": number, "entry_reference": entry.servicer_reference,
            "entry_minor": entry.amount_minor, "amount_minor": one.amount_minor, "end_to_end_id": one.end_to_end_id,
            "creditor_reference": one.creditor_reference, "message": one.text, "party": one.party,
            "party_account": one.party_account, "servicer_reference": one.servicer_reference,
            "return_reason": one.return_reason,
        }
        for number, one in enumerate(entry.payments, start=1)
        if one.amount_minor
    ]  # fmt: skip


async def _end(connection: AsyncConnection, taking: _Taking, tail: Tail, actor: str, at: datetime) -> Noticed:
    head, digest = taking.head, taking.digest.digest()
    own = (await details.in_force(connection, head.currency, at=at)).get(OPERATOR)
    if own is None or own.account.iban != head.account:
        raise BankAccountNotOurs(f"notice {head.notice_id} is of no account of ours in {head.currency}")
    known = await payment_store.notice_of(connection, head.account, head.notice_id)
    if known is not None:
        if known.content_sha256 != digest:
            raise BankStatementChanged(f"notice {head.notice_id} was taken with another content")
        return Noticed(head.notice_id, head.currency, tail.entries, is_replayed=True)
    row = {
        "iban": head.account, "notice_ref": head.notice_id, "message_id": head.message_id, "currency": head.currency,
        "entries": tail.entries, "content_sha256": digest, "actor": actor, "at": at,
    }  # fmt: skip
    notice_id = await payment_store.insert_notice(connection, row)
    await payment_store.insert_notice_payments(connection, [{"notice_id": notice_id, **one} for one in taking.rows])
    joined = await late_notices.join(connection, head.account, head.currency, taking.rows, actor=actor, at=at)
    await audit.write(
        connection, actor=actor, action="BANK_NOTICE_TAKEN", subject=f"bank-notice:{notice_id}",
        detail={"notice": head.notice_id, "entries": tail.entries, "joined": joined}, at=at,
    )  # fmt: skip
    return Noticed(head.notice_id, head.currency, tail.entries)
