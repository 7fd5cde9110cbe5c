"""Remind members of points that end, a month, a week and a day before, with where to spend them.

A letter tells of what ends a while after, too, so that who buys every day is not written to every day: points are told
of at least as long before as the step says. What a shorter step has told of, no longer one tells again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.messages import notices
from gateway.messages.notices import Sender
from kit import clock
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from ledger import endings
from members import reminders
from members.messages import AddressUnknown, MessageNotPermitted

HOLDERS_AT_ONCE = 1_000
WOKEN_EVERY = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Step:
    """So many days before points end their holder is told, of those with them that end some days later."""

    days: int
    more_days: int

    def due_by(self, at: datetime) -> datetime:
        """What ends by then is to be told of now, for the next look comes later."""
        return at + timedelta(days=self.days) + WOKEN_EVERY

    def told_by(self, at: datetime) -> datetime:
        """What ends by then is told of with it."""
        return self.due_by(at) + timedelta(days=self.more_days)


STEPS = (Step(1, 1), Step(7, 3), Step(30, 14))


async def remind_of_expiry(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: remind whoever is to be reminded, with this process's settings; how many letters."""
    chosen = settings()
    async with database.reading() as connection:
        sender = await notices.sender_of(connection, chosen.issuer)
    return await remind(database, Vault(load_master_key(chosen)), sender, at=at, now=clock.wall, stopping=stopping)


async def remind(
    database: Database,
    vault: Vault,
    sender: Sender,
    *,
    at: datetime,
    now: Callable[[], datetime],
    stopping: asyncio.Event,
) -> int:
    """Write to members, one transaction each, of points that end soon after a business instant; how many letters.

    Who told no address or agreed to no letters is left out, and told when that changes. Nobody gets two letters at
    once.
    """
    written: set[int] = set()
    for step in STEPS:
        after = 0
        while not stopping.is_set():
            async with database.reading() as connection:
                page = await endings.holders(
                    connection, since=at, until=step.due_by(at), after=after, limit=HOLDERS_AT_ONCE
                )
                told = await reminders.told_until(connection, [holder_id for holder_id, _ in page], step.days)
            if not page:
                break
            for holder_id, last_at in page:
                is_due = holder_id not in told or told[holder_id] < last_at
                if not is_due or holder_id in written or stopping.is_set():
                    continue
                if await _remind_one(database, vault, sender, step, holder_id, last_at, at=at, now=now()):
                    written.add(holder_id)
            after = page[-1][0]
    return len(written)


async def _remind_one(
    database: Database,
    vault: Vault,
    sender: Sender,
    step: Step,
    holder_id: int,
    last_at: datetime,
    *,
    at: datetime,
    now: datetime,
) -> bool:
    until = step.told_by(at)
    try:
        async with database.transaction() as connection:
            if not await reminders.tell(connection, holder_id, step.days, until=until, unless_told=last_at):
                return False
            ending = await endings.of_holder(connection, holder_id, since=at, until=until)
            if not ending:
                return False
            await notices.expiry_reminder(connection, vault, sender, holder_id, ending, at=at, now=now)
            await _spare_longer(connection, step, holder_id, until)
    except (AddressUnknown, MessageNotPermitted):
        return False
    return True


async def _spare_longer(connection: AsyncConnection, step: Step, holder_id: int, until: datetime) -> None:
    for longer in STEPS:
        if longer.days > step.days:
            await reminders.tell(connection, holder_id, longer.days, until=until, unless_told=until)
