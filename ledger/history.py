"""The past: balances, lots, entries and what is outstanding, as of any instant.

There is one axis of time, the order in which entries were recorded: an entry made today for yesterday's receipt is
part of today. What falls due by itself carries its due instant, so an activation, a lapse or an expiry counts from then
on, whether somebody touched the account the same minute, a month later, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import history_store
from ledger.accounts import POINTS

_TICK = timedelta(microseconds=1)  # the finest that PostgreSQL tells apart


@dataclass(frozen=True, slots=True)
class BalanceAt:
    """An account at an instant, in points. seq is its last entry by then; what was due and not recorded is counted."""

    seq: int
    available: int
    pending: int
    held: int
    debt: int


@dataclass(frozen=True, slots=True)
class LotAt:
    """A lot at an instant: what was left of it and what of it was held. A lot that is not active is pending.

    expires_at is what holds now: a refund with grace may have moved it later since.
    """

    seq: int
    lot_no: int
    issuer_id: int
    funder_id: int
    terms_id: int
    granted: int
    remaining: int
    held: int
    is_active: bool
    activates_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Points of one issuer, funder and version of terms that holders owned at an instant.

    active counts what activated lots kept and what of them was held: times the fund part that was billed for them it is
    the obligation at face. held is the part of active that was held; pending was not yet activated.
    """

    issuer_id: int
    funder_id: int
    terms_id: int
    active: int
    pending: int
    held: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an account's statement, with the balances behind it.

    kind is a word such as ACCRUAL; ref_seq is the entry that it answers.
    """

    seq: int
    kind: str
    amount: int
    ref_seq: int | None
    partner_id: int
    at: datetime
    recorded_at: datetime
    available_after: int
    pending_after: int
    held_after: int
    debt_after: int


@dataclass(frozen=True, slots=True)
class LatestEntry(Entry):
    """An entry, with what the holder owned before it: available, pending and held, less what was owed."""

    owned_before: int


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer of an entry, between two of the ledger's accounts (a word each) of the entry's holder.

    lot_seq and lot_no are the lot that moved, lot_terms_id the agreement version that it was issued under, terms_id
    that of the entry; issuer, funder and partner are numbers, 0 is the operator.
    """

    leg: int
    debit: str
    credit: str
    points: int
    issuer_id: int
    funder_id: int
    partner_id: int
    lot_seq: int
    lot_no: int
    lot_terms_id: int
    terms_id: int
    cutoff_id: int


async def postings(connection: AsyncConnection, holder_id: int, seq: int, unit: int = POINTS) -> list[Posting]:
    """What an entry moved, leg by leg; empty where there is no such entry."""
    return [Posting(**row._mapping) for row in await history_store.postings(connection, holder_id, unit, seq)]


async def balance_at(
    connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, at: datetime
) -> BalanceAt | None:
    """What a holder owned at an instant, past or to come if nothing happens; None where there is no such account.

    A few probes of the journal's key, however long the account.
    """
    row = await history_store.balance(connection, holder_id, unit, at)
    return row and BalanceAt(**row._mapping)


async def lots_at(connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, at: datetime) -> list[LotAt]:
    """The lots that a holder had by an instant, added up from their postings, empty ones too; the oldest first."""
    return [LotAt(**row._mapping) for row in await history_store.lots(connection, holder_id, unit, at)]


async def outstanding_at(connection: AsyncConnection, unit: int = POINTS, *, at: datetime) -> list[Outstanding]:
    """What all holders owned at an instant, by issuer, funder and terms. Reads every posting up to then."""
    return [Outstanding(**row._mapping) for row in await history_store.outstanding(connection, unit, at)]


async def answers(
    connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, seqs: Sequence[int]
) -> dict[int, list[int]]:
    """Which of a holder's entries answer some of them, by number: a return its accrual, a capture its hold.

    What nothing answers is not in it.
    """
    found: dict[int, list[int]] = {}
    for row in await history_store.answers(connection, holder_id, unit, seqs) if seqs else ():
        found.setdefault(row.ref_seq, []).append(row.seq)
    return found


async def latest(
    connection: AsyncConnection,
    holder_id: int,
    unit: int = POINTS,
    *,
    before: int | None = None,
    kinds: Sequence[str] | None = None,
    partner_id: int | None = None,
    limit: int = 50,
) -> list[LatestEntry]:
    """A holder's last entries, or the last before number `before`, the latest first; of some kinds or of one partner
    where that is said."""
    rows = await history_store.latest(
        connection, holder_id, unit, before=before, kinds=kinds, partner_id=partner_id, limit=limit
    )
    return [LatestEntry(**row._mapping) for row in rows]


async def entries(
    connection: AsyncConnection,
    holder_id: int,
    unit: int = POINTS,
    *,
    since: datetime,
    until: datetime,
    after: int = 0,
    limit: int = 50,
) -> list[Entry]:
    """A holder's entries recorded in [since, until), at most `limit` of those behind number `after`, in their order.

    To go on, pass the last one's seq as `after`.
    """
    rows = await history_store.entries(
        connection, holder_id, unit, before=since - _TICK, last=until - _TICK, after=after, limit=limit
    )
    return [Entry(**row._mapping) for row in rows]
