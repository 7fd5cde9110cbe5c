"""Who uses which field of the schema: counted per prepared document, written down in batches.

A request adds one to a number in memory. Every few seconds the numbers become rows of a client, a day and a field; what
a process has counted and not written when it is killed is lost, which a look at thirty days does not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import usage_store
from gateway.gate.pricing import Operation
from kit.clock import wall
from kit.database import Database

WRITE_SECONDS = 5.0
LOOK_BACK = timedelta(days=30)
KEPT = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class FieldUse:
    """How often a client used a field within the days that were asked for, and on which of them last."""

    field: str
    client_id: str
    uses: int
    last_on: date


class Usage:
    """One process's counts since they were written last."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = wall) -> None:
        self._database = database
        self._now = now
        self._counts: Counter[tuple[int, Operation]] = Counter()

    def count(self, client_no: int, operation: Operation) -> None:
        """One more request of a client with an operation."""
        self._counts[client_no, operation] += 1

    async def write(self) -> None:
        """Add the counts to the rows of today. Where that fails they are kept for the next time."""
        counts, self._counts = self._counts, Counter()
        uses: Counter[tuple[int, str]] = Counter()
        for (client_no, operation), requests in counts.items():
            for field in operation.fields:
                uses[client_no, field] += requests
        if not uses:
            return
        try:
            async with self._database.transaction() as connection:
                await usage_store.add_uses(connection, self._now().date(), uses)
        except BaseException:
            self._counts.update(counts)
            raise


async def forget(connection: AsyncConnection, *, today: date) -> int:
    """Delete what was counted more than thirteen months ago; how many rows."""
    return await usage_store.delete_before(connection, today - KEPT)


async def used(connection: AsyncConnection, *, since: date, fields: Sequence[str] | None = None) -> list[FieldUse]:
    """What was used since a day, by field and client; of these fields alone (Type.field) where some are given."""
    return [FieldUse(**row) for row in await usage_store.uses(connection, since, fields)]


async def totals(connection: AsyncConnection, *, since: date) -> dict[str, int]:
    """How often each field was used since a day, whoever did."""
    return await usage_store.totals(connection, since)
