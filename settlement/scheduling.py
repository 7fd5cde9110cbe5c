"""Cut-offs and runs by the clock: when an agreement's cycle ends, a cut-off closes and its currency's run is begun.

Of one currency everybody is settled together: the shortest cycle among its agreements is the currency's. What was
missed is not made up piece by piece: what was recorded until somebody looked is one cut-off, cut at the latest end.
The schedule makes nothing that people have to answer for: it goes as far as a controlled run, which a person issues and
another approves. What is due is told by cut-offs and runs alone, so that it may be killed anywhere and begun again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from ledger import cutoffs
from partners.agreements import programme
from partners.clearing import clearing
from settlement import archive, cycles, runs, states, store
from settlement.runs import NothingToSettle
from settlement.windows.cycle import SYSTEM, WindowUnread

BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Done:
    """What the schedule did: the cut-off that it closed, if it did, and the runs that it controlled."""

    cutoff_id: int | None
    run_ids: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many things it did."""
        return (self.cutoff_id is not None) + len(self.run_ids)


async def advance(database: Database, *, at: datetime, stopping: asyncio.Event | None = None) -> Done:
    """Close the cut-off whose cycle has ended by a business instant, and bring the runs that are due to their control.

    Every step is a transaction of its own; between two it looks whether it is to stop. Rejects CONTROL_FAILED,
    WINDOW_BROKEN, TAX_RULE_UNKNOWN, PERIOD_LOCKED: then a person has to look.
    """
    async with database.transaction() as turn:
        # Whoever comes second waits for the first to have closed, and then finds nothing to close. Nothing is written
        # here and nothing read is held on to, so that the closer does not wait for this transaction.
        await store.lock_schedule(turn)
        zone = (await programme.read(turn)).time_zone
        by_currency = await _cycles(turn, at)
        every = {one for found in by_currency.values() for one in found}
        end = cycles.ended(every, since=await _opened_at(turn), at=at, zone=zone)
        closed = None
        if end is not None:
            closed = (await runs.close_cutoff(database, actor=runs.SCHEDULE, at=end)).cutoff_id
    if stopping is not None and stopping.is_set():
        return Done(closed, ())
    return Done(closed, await _settle(database, by_currency, zone, at, stopping))


async def due(connection: AsyncConnection, *, at: datetime) -> list[str]:
    """Currencies of which a cycle ended by an instant, with its cut-off cut, and no run covers it yet."""
    zone = (await programme.read(connection)).time_zone
    return await _due(connection, await _cycles(connection, at), zone)


async def _settle(
    database: Database, by_currency: Mapping[str, Collection[str]], zone: str, at: datetime,
    stopping: asyncio.Event | None,
) -> tuple[int, ...]:  # fmt: skip
    async with database.reading() as connection:
        wanted = await _due(connection, by_currency, zone)
    if wanted:
        try:
            async with database.transaction() as connection:
                await runs.begin(connection, actor=runs.SCHEDULE, at=at, currencies=wanted)
        except (NothingToSettle, WindowUnread):
            pass  # nothing moved, or somebody's old transaction is in the way until the next time
    async with database.reading() as connection:
        own = [r.run_id for r in await archive.runs(connection) if r.actor == SYSTEM and r.state in _OPEN]
    done: list[int] = []
    for run_id in sorted(own):
        for step in (runs.calculate, runs.control):
            if stopping is not None and stopping.is_set():
                return tuple(done)
            async with database.transaction() as connection:
                await step(connection, run_id, actor=runs.SCHEDULE, at=at)
        done.append(run_id)
    return tuple(done)


_OPEN = (states.DRAFT, states.CALCULATED)


async def _cycles(connection: AsyncConnection, at: datetime) -> dict[str, set[str]]:
    """The cycles of the agreements in force at an instant, by currency."""
    found: dict[str, set[str]] = defaultdict(set)
    for terms in (await clearing.settlement_terms_at(connection, at=at)).values():
        found[terms.currency].add(terms.cycle)
    return dict(found)


async def _opened_at(connection: AsyncConnection) -> datetime:
    """When the open cut-off opened; of the very first, when the first agreement began."""
    opened_at = (await cutoffs.cutoffs(connection))[-1].opened_at
    return opened_at if opened_at is not None else await _first_agreement(connection)


async def _first_agreement(connection: AsyncConnection) -> datetime:
    return min((terms.valid_from for terms, _ in await clearing.signed(connection)), default=BEGINNING)


async def _due(connection: AsyncConnection, by_currency: Mapping[str, Collection[str]], zone: str) -> list[str]:
    cut = [one.cut_at for one in await cutoffs.cutoffs(connection) if one.cut_at is not None]
    if not cut:
        return []
    covered: dict[str, datetime] = {}
    for run in await archive.runs(connection):
        if run.state not in states.GONE:
            covered[run.currency] = max(run.cut_at, covered.get(run.currency, BEGINNING))
    first = await _first_agreement(connection)
    return sorted(
        currency
        for currency, found in by_currency.items()
        if cycles.ended(found, since=covered.get(currency, first), at=cut[-1], zone=zone) is not None
    )
