"""Cut-offs: which entries belong together, decided as they are recorded and never afterwards.

An entry is recorded in the cut-off that is open; closing opens the next one, waits for the writers that still hold
the old one, and counts it. From then on its content cannot change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from ledger import cutoff_store
from ledger.accounts import POINTS

COUNTED_AT_ONCE = 20_000
SWEPT_AT_ONCE = 500  # accounts per transaction: what a till may have to wait for


class CutoffOutOfOrder(Rejection):
    """A cut-off cannot close before it was opened."""

    code = "CUTOFF_OUT_OF_ORDER"
    retryable = False


class CutoffNotOpen(Rejection):
    """The cut-off that was named is not the open one: it is closed already, or there is none of this number."""

    code = "CUTOFF_NOT_OPEN"
    retryable = False


@dataclass(frozen=True, slots=True)
class Cutoff:
    """A set of journal entries that is closed as one. state: OPEN, DRAINING, CUT.

    opened_at is None for the first. The counts and the sum of points are taken at the cut and None before it.
    """

    cutoff_id: int
    state: str
    opened_at: datetime | None
    cut_at: datetime | None
    journal_count: int | None
    posting_count: int | None
    posting_points: int | None


@dataclass(frozen=True, slots=True)
class Turnover:
    """Postings with the same accounts, parties and terms: how many and how many points together."""

    debit: int
    credit: int
    issuer_id: int
    funder_id: int
    partner_id: int
    lot_terms_id: int
    terms_id: int
    points: int
    postings: int


async def close(database: Database, *, at: datetime, progress: Callable[[int], None] | None = None) -> Cutoff:
    """Close the open cut-off at a business instant and open the next; returns it with its counts.

    First applies what is due up to `at`, so that activations and expiries lie in the cut-off they belong to, and counts
    what was recorded and not counted yet, so that nobody waits for it.
    Takes the database and opens its own transactions, because the protocol needs several: the next cut-off must be
    seen by everyone before the writers of the old one are waited for. A crash in between leaves the old one
    draining; closing again finishes it first. progress hears how many accounts each step of the sweep touched.
    Rejects: CUTOFF_OUT_OF_ORDER.
    """
    await _check_order(database, at)
    await _sweep(database, at, progress or (lambda _: None))
    await tally_up(database)
    while True:
        closed = await _cut(database, at)
        if closed.cut_at == at:
            return closed


async def ready(database: Database, cutoff_id: int, *, at: datetime) -> None:
    """Do what closing a cut-off that is named does before anybody is stopped: apply what is due, count what is known.

    For whoever closes in steps: then `drain`, then `seal`. Rejects CUTOFF_NOT_OPEN, CUTOFF_OUT_OF_ORDER.
    """
    async with database.reading() as connection:
        _require_open(await cutoffs(connection), cutoff_id)
    await _check_order(database, at)
    await _sweep(database, at, lambda _: None)
    await tally_up(database)


async def drain(connection: AsyncConnection, cutoff_id: int, *, at: datetime) -> None:
    """Open the next cut-off in the place of the one that is named, in the caller's transaction, which ends soon: the
    tills go on in the next one when it has committed. Rejects CUTOFF_NOT_OPEN.
    """
    _require_open(await cutoffs(connection), cutoff_id)
    if await cutoff_store.drain_cutoff(connection, at=at) != cutoff_id:
        raise CutoffNotOpen(f"cut-off {cutoff_id} was closed by somebody else")


async def seal(database: Database, cutoff_id: int) -> Cutoff:
    """Count a cut-off that drains, when its writers have ended; one that is cut is what it was."""
    async with database.transaction() as connection:
        return _cutoff(await cutoff_store.seal_cutoff(connection, cutoff_id=cutoff_id))


async def sweep(connection: AsyncConnection, *, at: datetime, limit: int = SWEPT_AT_ONCE) -> int:
    """Apply the activations and expiries due by an instant for up to `limit` accounts; how many were touched.

    0 when none is left. May be repeated, and run beside tills and other sweeps: it locks accounts in their order.
    """
    return await cutoff_store.sweep_due(connection, unit=POINTS, at=at, limit=limit)


async def tally_up(database: Database, *, limit: int = COUNTED_AT_ONCE) -> int:
    """Count what was recorded in cut-offs by now, in transactions of about `limit` entries; how many entries.

    Beside the tills, whenever one likes: what is counted then need not be counted when the cut-off closes.
    """
    done = 0
    while True:
        async with database.transaction() as connection:
            taken = await cutoff_store.tallied(connection, limit)
        done += taken
        if taken < limit:  # the end; while tills go on there is always more
            return done


async def cutoffs(connection: AsyncConnection) -> list[Cutoff]:
    """All cut-offs, oldest first; the last one is open."""
    return [_cutoff(row) for row in await cutoff_store.cutoffs(connection)]


async def turnover(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> list[Turnover]:
    """The points moved in cut-offs, by accounts, issuer, funder, partner and terms."""
    rows = await cutoff_store.turnover(connection, cutoff_ids=cutoff_ids, unit=POINTS)
    return [Turnover(**row._mapping) for row in rows]


async def enter(connection: AsyncConnection) -> int:
    """The cut-off that all of the transaction belongs to from here on; it is not closed before the transaction ends."""
    return await cutoff_store.keep_cutoff(connection)


def _require_open(known: Sequence[Cutoff], cutoff_id: int) -> None:
    if known[-1].cutoff_id != cutoff_id or any(one.state == "DRAINING" for one in known):
        raise CutoffNotOpen(f"cut-off {cutoff_id} is not the open one, which is {known[-1].cutoff_id}")


async def _check_order(database: Database, at: datetime) -> None:
    async with database.reading() as connection:
        opened_at = (await cutoffs(connection))[-1].opened_at
    if opened_at is not None and at < opened_at:
        raise CutoffOutOfOrder(f"the open cut-off began at {opened_at.isoformat()}, it cannot close before that")


async def _sweep(database: Database, at: datetime, progress: Callable[[int], None]) -> None:
    touched = 1
    while touched:
        async with database.transaction() as connection:
            touched = await sweep(connection, at=at, limit=SWEPT_AT_ONCE)
        progress(touched)


async def _cut(database: Database, at: datetime) -> Cutoff:
    async with database.transaction() as connection:
        draining = await cutoff_store.drain_cutoff(connection, at=at)
    if draining is None:
        raise CutoffOutOfOrder(f"the open cut-off began after {at.isoformat()}, it cannot close before that")
    async with database.transaction() as connection:
        return _cutoff(await cutoff_store.seal_cutoff(connection, cutoff_id=draining))


def _cutoff(row: Any) -> Cutoff:
    counted = row.posting_points
    return Cutoff(**{**row._mapping, "posting_points": None if counted is None else int(counted)})
