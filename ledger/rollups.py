"""Roll-ups: what was recorded, added up by day and parties, beside the hot path and never ahead of it.

Totals are fed from the journal behind a watermark of transaction numbers: an entry is counted once, whatever order
commits come in, and only when every transaction with a smaller number has ended. The oldest transaction is that of the
whole cluster, so one that is left open anywhere delays the totals (`lags` tells), and cannot make them wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import rollup_store
from ledger.accounts import POINTS
from ledger.audit import Violation

ENTRIES_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Rollup:
    """Postings of one UTC day between the same accounts of the same parties: how many, and points together.

    The day is of the entry's business instant: what fell due counts on the day it did, whenever it was recorded.
    """

    day: date
    unit: int
    issuer_id: int
    funder_id: int
    partner_id: int
    debit: int
    credit: int
    postings: int
    points: int


@dataclass(frozen=True, slots=True)
class Activity:
    """Points of a partner's UTC day: issued by it, less what it took back; spent there, less what it gave back."""

    day: date
    issued: int
    redeemed: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a reader of the journal (ROLL_UP, WATCH) is behind.

    entries are those it has not read, at most 100,000 counted; oldest_recorded_at is of the first of them. held_back
    is how many transaction numbers the oldest running transaction of the cluster keeps from all readers. epoch counts
    the clusters that the database has lived in; is_at_home is False after a restore that `re_base` has not followed.
    """

    reader: str
    epoch: int
    is_at_home: bool
    entries: int
    oldest_recorded_at: datetime | None
    held_back: int


async def roll_up(connection: AsyncConnection, *, limit: int = ENTRIES_AT_ONCE) -> int:
    """Count entries that were not counted yet, about `limit` of them; how many it took, 0 when none is left.

    Meant for a transaction of its own: entries of the caller's are never among them. Raises the driver's error with
    SQLSTATE LX002 in a cluster that the database was restored into, until `re_base`.
    """
    return await rollup_store.rolled_entries(connection, limit)


async def totals(connection: AsyncConnection, *, since: date, until: date, unit: int = POINTS) -> list[Rollup]:
    """Totals of the UTC days in [since, until), as far as they are rolled up."""
    return [Rollup(**row._mapping) for row in await rollup_store.totals(connection, since, until, unit)]


async def issued(connection: AsyncConnection, *, unit: int = POINTS) -> dict[int, int]:
    """Points that each issuer ever gave, as far as they are rolled up, whatever became of them since."""
    return {row.issuer_id: row.points for row in await rollup_store.issued(connection, unit)}


async def activity(
    connection: AsyncConnection, partner_id: int, *, since: date, until: date, unit: int = POINTS
) -> list[Activity]:
    """A partner's UTC days in [since, until) on which points moved, in order, as far as they are rolled up."""
    found = await rollup_store.activity(connection, partner_id, since, until, unit)
    return [Activity(**row._mapping) for row in found]


async def lags(connection: AsyncConnection) -> list[Lag]:
    """How far each reader of the journal is behind."""
    return [Lag(**row._mapping) for row in await rollup_store.lags(connection)]


async def violations(connection: AsyncConnection) -> list[Violation]:
    """Where totals are not what their postings sum to (A12). Reads all postings."""
    return [Violation(**row._mapping) for row in await rollup_store.violations(connection)]


async def re_base(connection: AsyncConnection) -> int | None:
    """Go on in another cluster, after a restore: the new epoch's number, None where the cluster is the same.

    For the tables' owner. Nobody can write to the journal while it adds up all postings anew.
    """
    return await rollup_store.new_epoch(connection)
