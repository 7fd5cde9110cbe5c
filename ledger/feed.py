"""The journal as a feed: every entry once, in one order, also when commits come out of order.

A follower remembers the transaction number that it has read up to, and reads on behind it as far as every transaction
is finished. The order is that of (transaction number, holder, number of the entry).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ledger import feed_store
from ledger.accounts import POINTS

ENTRIES_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands in the feed."""

    xid: int
    holder_id: int
    seq: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the journal as a follower needs it: its place, and where it happened (partner 0: the operator)."""

    place: Place
    partner_id: int


@dataclass(frozen=True, slots=True)
class Lapse:
    """A hold whose time was over at an instant, with the points that were set aside, and the partner that placed it."""

    place: Place
    partner_id: int
    hold_seq: int
    points: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Points of one issuer that an adjustment gave, or took where they are below zero."""

    place: Place
    issuer_id: int
    points: int
    at: datetime


async def horizon(pool: asyncpg.Pool) -> int:
    """Where a follower begins that wants what happens from now on: every earlier transaction is finished.

    Raises the driver's error with SQLSTATE LX002 in a cluster that the database was restored into, until `re_base`.
    """
    return await feed_store.horizon(pool)


async def entries(
    pool: asyncpg.Pool,
    *,
    since: int,
    holder_ids: Sequence[int] = (),
    partner_ids: Sequence[int] = (),
    limit: int = ENTRIES_AT_ONCE,
    unit: int = POINTS,
) -> tuple[list[Entry], int]:
    """One step of a follower: entries on some holders' accounts or at some partners, and where the next step begins.

    A step looks at about `limit` entries of all. Where it ends where it began there is nothing more yet.
    """
    until = await feed_store.readable_until(pool, since, limit)
    if until <= since:
        return [], since
    rows = await feed_store.entries(pool, since, until, unit, holder_ids, partner_ids)
    return [Entry(_place(row), row["partner_id"]) for row in rows], until


async def readable_until(pool: asyncpg.Pool, since: int, *, limit: int = ENTRIES_AT_ONCE) -> int:
    """Where a follower may read to in one step, about `limit` entries on; where it began, while there is no more.

    Raises as `horizon`.
    """
    return await feed_store.readable_until(pool, since, limit)


async def entries_of(
    pool: asyncpg.Pool, *, since: int, until: int, partner_ids: Sequence[int], unit: int = POINTS
) -> list[Entry]:
    """Entries at some partners of transactions in [since, until), which a step may read."""
    rows = await feed_store.entries(pool, since, until, unit, (), partner_ids)
    return [Entry(_place(row), row["partner_id"]) for row in rows]


async def lapses(
    pool: asyncpg.Pool, *, since: int, until: int, partner_ids: Sequence[int], unit: int = POINTS
) -> list[Lapse]:
    """Holds of some partners that lapsed in transactions of [since, until), which a step may read."""
    rows = await feed_store.lapses(pool, since, until, unit, partner_ids)
    return [Lapse(_place(row), row["partner_id"], row["hold_seq"], row["amount"], row["at"]) for row in rows]


async def adjustments(
    pool: asyncpg.Pool, *, since: int, until: int, issuer_ids: Sequence[int], unit: int = POINTS
) -> list[Adjusted]:
    """What adjustments in transactions of [since, until) gave and took of some issuers' points, each issuer's apart."""
    rows = await feed_store.adjustments(pool, since, until, unit, issuer_ids)
    return [Adjusted(_place(row), row["partner_id"], row["points"], row["at"]) for row in rows]


def _place(row: asyncpg.Record) -> Place:
    return Place(row["xid"], row["holder_id"], row["seq"])
