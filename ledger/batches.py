"""Batches: redemptions, holds, captures, releases and returns of many accounts in one call, on the raw pool.

One item of an account is decided per call. Later ones of the same account whose keys are new are answered ASK_AGAIN
and have written nothing; a lane that knows an item's account never sends two. Every other answer is what the single
call of ledger/routines would give, and each item is answered for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg

from ledger import batch_store
from ledger.accounts import POINTS

REDEMPTION, HOLD, CAPTURE, RELEASE = 3, 4, 5, 6
ASK_AGAIN = 20


@dataclass(frozen=True, slots=True)
class Spending:
    """Points to redeem (REDEMPTION) or to set aside until an instant (HOLD), under the spender's terms."""

    holder_id: int
    kind: int
    points: int
    partner_id: int
    terms_id: int
    idem_key: UUID
    fingerprint: UUID
    lapses_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """A hold, by the number of the entry that placed it, to CAPTURE for some of its points or to RELEASE."""

    holder_id: int
    kind: int
    hold_seq: int
    points: int
    partner_id: int
    terms_id: int
    idem_key: UUID
    fingerprint: UUID


@dataclass(frozen=True, slots=True)
class Return:
    """Points to take back from an accrual, by the number of its entry: lot number to points.

    shortfall says what becomes of points that its lots have no more: 0 nothing, 1 they are owed, 2 forgiven.
    """

    holder_id: int
    accrual_seq: int
    lot_points: Mapping[int, int]
    partner_id: int
    idem_key: UUID
    fingerprint: UUID
    shortfall: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item: a status of ledger/routines/accounts.sql or ASK_AGAIN, its entry, the balances after it.

    Points. seq is None where nothing was recorded; taken, owed and forgiven are told for returns.
    """

    status: int
    seq: int | None
    available: int | None
    pending: int | None
    taken: int | None = None
    owed: int | None = None
    forgiven: int | None = None


async def spend(
    pool: asyncpg.Pool, items: Sequence[Spending], *, unit: int = POINTS, at: datetime, day: date
) -> list[Outcome]:
    """Redeem or hold, the lots that expire first going first; day is the programme's, for the daily cap."""
    return [_outcome(row) for row in await batch_store.spend(pool, items, unit, at, day)]


async def resolve(
    pool: asyncpg.Pool, items: Sequence[Resolution], *, unit: int = POINTS, at: datetime
) -> list[Outcome]:
    """Capture or release open holds; what is not captured goes back to its own lots."""
    return [_outcome(row) for row in await batch_store.resolve(pool, items, unit, at)]


async def take_back(pool: asyncpg.Pool, items: Sequence[Return], *, unit: int = POINTS, at: datetime) -> list[Outcome]:
    """Take back from the accruals' own lots as far as they hold points; the rest as each item's shortfall says."""
    rows = await batch_store.take_back(pool, items, unit, at)
    return [_outcome(row, row["taken"], row["owed"], row["forgiven"]) for row in rows]


def _outcome(row: asyncpg.Record, *returned: int | None) -> Outcome:
    return Outcome(row["status"], row["seq"], row["available"], row["pending"], *returned)
