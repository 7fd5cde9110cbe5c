"""Positions: what has moved since, added up a batch at a time behind a watermark, so that a close adds up sums.

A batch is an interval of transaction numbers below the oldest transaction that still runs, so that each entry is in one
batch and none that commits late is passed over. Adding a batch again is impossible: the next begins where it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from ledger.accounts import POINTS
from ledger.cutoffs import Turnover
from settlement.windows import store
from settlement.windows.shares import Moved, Outstanding

ENTRIES_AT_ONCE = 50_000


async def add_up(connection: AsyncConnection, *, at: datetime, limit: int = ENTRIES_AT_ONCE) -> int:
    """Add what was recorded since, about `limit` entries of it; how many it took, 0 when none is left.

    Of several at once one works, the others wait and go on behind it. Raises the driver's error with SQLSTATE LX002 in
    a cluster that the database was restored into, until it was migrated.
    """
    await store.lock_positions(connection)
    return await store.add_batch(connection, at=at, entries=limit)


async def catch_up(database: Database, *, at: datetime, advance: Callable[[int], None] = lambda _: None) -> int:
    """Add all that was recorded by now, a transaction for each batch; how many entries."""
    done = 0
    while True:
        async with database.transaction() as connection:
            taken = await add_up(connection, at=at)
        advance(taken)
        done += taken
        if taken < ENTRIES_AT_ONCE:  # the end; while tills go on there is always more
            return done


async def moved(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> list[Moved]:
    """What moved in cut-offs, as far as it was added up: points alone, by origin, parties and terms."""
    return _moved(await store.turnover(connection, cutoff_ids, POINTS))


async def recounted(
    connection: AsyncConnection, cutoff_ids: Sequence[int], *, at: datetime | None = None
) -> list[Moved]:
    """The same from every posting; with an instant, what was recorded by then. For controls and for the past."""
    return _moved(await store.recounted(connection, cutoff_ids, POINTS, at))


async def difference(connection: AsyncConnection, cutoff_id: int) -> str | None:
    """How what was added up of a cut-off differs from what was counted at the cut; None where it does not.

    The two know nothing of each other: one went by the number of the transaction, the other by the cut-off's lock.
    """
    row = await store.counted(connection, cutoff_id)
    added = (row.entries, row.postings, row.points)
    counted = (row.journal_count, row.posting_count, row.posting_points)
    if added == counted:
        return None
    return "added up {} entries, {} postings, {} points; counted at the cut {}, {}, {}".format(*added, *counted)


async def outstanding(connection: AsyncConnection) -> list[Outstanding]:
    """What there is of each funder's points, as far as it was added up."""
    return [Outstanding(**row._mapping) for row in await store.stock_now(connection)]


def _moved(rows: Sequence[Row[Any]]) -> list[Moved]:
    found = []
    for row in rows:
        fields = dict(row._mapping)
        found.append(Moved(fields.pop("cutoff_id"), fields.pop("origin_cutoff"), Turnover(**fields)))
    return found
