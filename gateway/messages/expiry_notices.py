"""Tell members that points of theirs end soon, and record it where the points are.

Where the programme asks for notice, a lot that nobody was told of does not expire: who cannot be told keeps the points.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.messages import notices
from gateway.messages.notices import Sender
from kit import clock
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from ledger import notices as ledger_notices
from ledger.notices import Waiting
from members.messages import AddressUnknown, MessageNotPermitted

AHEAD = timedelta(days=7)  # told a week before it must be, so that a letter that comes late is not too late


async def tell_of_expiry(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: tell whoever must be told within a week, with this process's settings; how many were told."""
    chosen = settings()
    async with database.reading() as connection:
        if not await ledger_notices.waiting(connection, by=at + AHEAD, limit=1):
            return 0
        sender = await notices.sender_of(connection, chosen.issuer)
    return await tell(database, Vault(load_master_key(chosen)), sender, at=at, now=clock.wall, stopping=stopping)


async def tell(
    database: Database,
    vault: Vault,
    sender: Sender,
    *,
    at: datetime,
    now: Callable[[], datetime],
    stopping: asyncio.Event,
) -> int:
    """Tell members, one transaction each, of points that must be told of by AHEAD from a business instant; how many.

    The letter and the record are one: both, or neither where a member told no address or gave no consent.
    """
    told, after = 0, None
    while not stopping.is_set():
        async with database.reading() as connection:
            page = await ledger_notices.waiting(connection, by=at + AHEAD, after=after)
        if not page:
            break
        for holder_id, lots in groupby(page, key=lambda each: each.lot.holder_id):
            try:
                async with database.transaction() as connection:
                    told += await _tell_one(connection, vault, sender, holder_id, list(lots), at=at, now=now())
            except (AddressUnknown, MessageNotPermitted):
                continue
        after = page[-1]
    return told


async def _tell_one(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    holder_id: int,
    waiting: Sequence[Waiting],
    *,
    at: datetime,
    now: datetime,
) -> int:
    points = {each.lot: each.points for each in waiting}
    ending: defaultdict[datetime, int] = defaultdict(int)
    for noticed in await ledger_notices.record(connection, list(points), at=at):
        ending[noticed.expires_at] += points[noticed.lot]
    for expires_at, amount in sorted(ending.items()):
        await notices.expiry(connection, vault, sender, holder_id, points=amount, expires_at=expires_at, at=at, now=now)
    return bool(ending)
