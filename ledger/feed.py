"""The journal as a feed: every entry once, in one order, also when commits come out of order.

A follower remembers the transaction number that it has read up to, and reads on behind it as far as every transaction
is finished. The order is that of (transaction number, holder, number of the entry).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    return [Entry(Place(row["xid"], row["holder_id"], row["seq"]), row["partner_id"]) for row in rows], until
