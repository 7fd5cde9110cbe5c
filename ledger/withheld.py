"""Points that were granted and wait for a word from outside: they stay pending until somebody lets them go.

Such a lot would become spendable in the last moment of its life (`kit.instants.just_before` its expiry). Nothing else
tells it from other pending points: it is returned, moved and expires like them, and the mark goes wherever the points
go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import withheld_store


@dataclass(frozen=True, slots=True)
class Withheld:
    """A lot that waits, with the points left in it; granted_at is the business instant of the entry that made it."""

    holder_id: int
    seq: int
    lot_no: int
    funder_id: int
    terms_id: int
    points: int
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """Points of one funder and version that wait, in all."""

    funder_id: int
    terms_id: int
    points: int


async def waiting(connection: AsyncConnection, *, unit: int, below: int) -> list[Waiting]:
    """What waits, by funder and version, of entries whose transaction's number is below one."""
    return [Waiting(**row._mapping) for row in await withheld_store.sums(connection, unit, below)]


async def oldest(connection: AsyncConnection, funder_id: int, *, unit: int, below: int, limit: int) -> list[Withheld]:
    """A funder's lots that wait, in the order in which they were recorded, at most so many."""
    return [Withheld(**row._mapping) for row in await withheld_store.oldest(connection, funder_id, unit, below, limit)]


async def let_go(connection: AsyncConnection, lots: Sequence[tuple[Withheld, datetime]], *, unit: int) -> int:
    """Let lots become spendable, each at its instant instead of at its end; how many. Again does nothing.

    Nothing is posted here: they are activated when they are due, like all pending points.
    """
    if not lots:
        return 0
    return await withheld_store.let_go(connection, unit, [(one.holder_id, one.seq, one.lot_no, at) for one, at in lots])
