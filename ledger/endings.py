"""What ends soon: points that can be spent now and no longer on a day to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import ending_store
from ledger.accounts import POINTS


@dataclass(frozen=True, slots=True)
class Ending:
    """So many points of a holder end at an instant."""

    at: datetime
    points: int


async def holders(
    connection: AsyncConnection,
    unit: int = POINTS,
    *,
    since: datetime,
    until: datetime,
    after: int = 0,
    limit: int = 1_000,
) -> list[tuple[int, datetime]]:
    """Holders of points that end between two instants, with the last instant between them at which some do, by number;
    to go on, pass the last one's number as `after`."""
    rows = await ending_store.holders(connection, unit, since, until, after, limit)
    return [(row.holder_id, row.last_at) for row in rows]


async def of_holder(
    connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, since: datetime, until: datetime
) -> list[Ending]:
    """What of a holder's points ends between two instants, the next first."""
    rows = await ending_store.ending(connection, holder_id, unit, since, until)
    return [Ending(row.expires_at, row.points) for row in rows]
