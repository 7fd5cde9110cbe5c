"""Accruals: points come into being, for one account or for many at once.

Below the receipts: whoever has decided on points and who pays for them records them here, exactly once by their
idempotency keys. Concurrent callers share a lane, whose batches are one database call each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kit.lane import Lane
from ledger import accrual_store
from ledger.accounts import POINTS

RECORDED = 0
REPLAYED = 1
KEY_REUSED = 2
ACCOUNT_UNKNOWN = 4
_AGAIN = 9


@dataclass(frozen=True, slots=True)
class Lot:
    """Points from one funder under one version of terms, available from activates_at until expires_at (UTC)."""

    issuer_id: int
    funder_id: int
    terms_id: int
    points: int
    activates_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Accrual:
    """One entry to be recorded: whose, where, of which lots. fingerprint is what the idempotency key stands for.

    at is the business instant (UTC). A batch is recorded at the latest instant of its items.
    """

    holder_id: int
    partner_id: int
    idem_key: UUID
    fingerprint: UUID
    lots: tuple[Lot, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Accrued:
    """What became of an accrual: status RECORDED, REPLAYED, KEY_REUSED or ACCOUNT_UNKNOWN.

    The entry's number and the balances after it, in points, are those of the first time where it is replayed, and None
    where nothing was written.
    """

    status: int
    seq: int | None
    available: int | None
    pending: int | None


async def accrue_many(pool: asyncpg.Pool, items: Sequence[Accrual], *, unit: int = POINTS) -> list[Accrued]:
    """Record accruals in one database call; each answers for itself, in order. A "no" is a status, nothing is raised.

    Several of one account are taken in order. One that repeats an earlier one's key hears that one's answer.
    """
    found: dict[int, Accrued] = {}
    waiting = list(range(len(items)))
    while waiting:
        records = await _record(pool, unit, [items[index] for index in waiting])
        for index, record in zip(waiting, records, strict=True):
            if record["status"] != _AGAIN:
                found[index] = Accrued(record["status"], record["seq"], record["available"], record["pending"])
        waiting = [index for index in waiting if index not in found]  # shorter each time: the first of a key is taken
    return [found[index] for index in range(len(items))]


async def _record(pool: asyncpg.Pool, unit: int, items: Sequence[Accrual]) -> Sequence[asyncpg.Record]:
    if len(items) == 1:
        return [await accrual_store.accrue_one(pool, unit, items[0], items[0].at)]
    return await accrual_store.accrue_many(pool, unit, items, max(item.at for item in items))


def open_lane(
    pool: asyncpg.Pool, *, unit: int = POINTS, batch_size: int = 128, queue_size: int = 2048
) -> Lane[Accrual, Accrued]:
    """A lane for one unit's accruals: many callers at once, each batch one call. Close it to finish what is queued.

    Two batches fly at a time, so that the database works on one while answers of the other are told.
    """

    async def work(items: Sequence[Accrual]) -> list[Accrued | Exception]:
        return list(await accrue_many(pool, items, unit=unit))

    return Lane(work, batch_size=batch_size, queue_size=queue_size, flights=2, abreast=2)
