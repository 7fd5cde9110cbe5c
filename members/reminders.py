"""Reminders of points that end: how far ahead a member was told already, so that nobody is told twice of the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from members import reminder_store


async def told_until(connection: AsyncConnection, member_ids: Sequence[int], days: int) -> dict[int, datetime]:
    """Up to when members were told of what ends, so many days before; who is not in it was never told."""
    return {row.member_id: row.told_until for row in await reminder_store.told(connection, member_ids, days)}


async def tell(
    connection: AsyncConnection, member_id: int, days: int, *, until: datetime, unless_told: datetime
) -> bool:
    """Count a member as told of everything that ends up to an instant, so many days before; whether they are to be told
    now: not where they were told up to unless_told already, be it by somebody else at this moment."""
    return await reminder_store.tell(connection, member_id, days, until=until, unless_told=unless_told)
