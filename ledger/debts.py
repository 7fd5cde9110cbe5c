"""Debt: points that a return could not take back and the holder owes. What becomes available later repays it first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import debt_store, lot_store
from ledger.accounts import POINTS

LEFT_ALONE = 0
"""What a return lacks is none of the ledger's business."""
OWED = 1
"""What a return lacks, the holder owes."""
FORGIVEN = 2
"""What a return lacks, nobody owes; it is written down."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a return would do, in points: taken from the holder's lots, owed when all is done, forgiven."""

    taken: int
    owed: int
    forgiven: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What one return could not take from one lot, in points: owed and of that repaid since, or forgiven.

    seq is the return's entry, lot_seq the accrual's; issuer and terms are the lot's.
    """

    seq: int
    lot_seq: int
    lot_no: int
    issuer_id: int
    terms_id: int
    owed: int
    repaid: int
    forgiven: int


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Points that all holders together still owe for lots of one issuer under one version of terms."""

    issuer_id: int
    terms_id: int
    points: int


async def preview(
    pool: asyncpg.Pool,
    holder_id: int,
    *,
    unit: int,
    seq: int,
    lot_points: Mapping[int, int],
    shortfall: int,
    refund: int,
    at: datetime,
) -> Foreseen:
    """What returning points of each lot (by number) of an accrual would do at an instant; writes nothing.

    shortfall is one of LEFT_ALONE, OWED, FORGIVEN; refund are points given back by the same return.
    """
    row = await lot_store.preview_return(pool, holder_id, unit, seq, lot_points, shortfall, refund, at)
    return Foreseen(row["taken"], row["owed"], row["forgiven"])


async def shortfalls(connection: AsyncConnection, holder_id: int, unit: int = POINTS) -> list[Shortfall]:
    """What the returns of a holder fell short of, the first first, whether repaid since or not."""
    return [Shortfall(**row._mapping) for row in await debt_store.shortfalls(connection, holder_id, unit)]


async def outstanding(connection: AsyncConnection, unit: int = POINTS) -> list[Outstanding]:
    """What all holders owe, by issuer and terms: the operator's claim on members, in points."""
    return [Outstanding(**row._mapping) for row in await debt_store.outstanding(connection, unit)]


async def debt(pool: asyncpg.Pool, holder_id: int, *, unit: int) -> int:
    """Points that an account owes now; 0 where there is none."""
    return await lot_store.debt(pool, holder_id, unit) or 0
