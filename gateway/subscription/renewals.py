"""Renewals: what time makes of subscriptions, by the worker's clock or a sandbox's. Each is announced by a letter
before it is charged, whoever owes is written to, and that it was done is kept."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.charging import choice
from gateway.messages import notices
from gateway.messages.notices import Sender
from kit import clock
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import Settings, settings
from members import messages
from members.messages import AddressUnknown, MessageNotPermitted
from members.subscription import due_work, nightly
from members.subscription.due_work import Announce, Renewal
from members.subscription.reminding import Remind, Reminder
from partners.adjustments import allotments

PATIENCE = timedelta(hours=6)
"""What was due for longer is done as of now: a worker that stood still does not try four times in a minute."""


NIGHT_TASKS = 2
"""So many batches at once: one waits for the database while another thinks."""


def announcing(vault: Vault, sender: Sender) -> Announce:
    """What writes to members that their subscription goes on; who told no address or wants no letters is not written
    to, and sees it in the app."""

    async def announce(connection: AsyncConnection, renewal: Renewal, at: datetime) -> UUID | None:
        try:
            to = await messages.member(connection, vault, renewal.holder_id)
            accepted = await notices.renewal(
                connection, vault, sender, renewal.holder_id, at=at, now=clock.wall(),
                plan=renewal.plan.get(to.language) or next(iter(renewal.plan.values())),
                amount_minor=renewal.amount_minor, currency=renewal.currency, renews_at=renewal.renews_at,
            )  # fmt: skip
        except (AddressUnknown, MessageNotPermitted):
            return None
        return accepted.message_id

    return announce


def reminding(vault: Vault, sender: Sender) -> Remind:
    """What writes to members who owe for a subscription; whoever is not written to sees it in the app."""

    async def remind(connection: AsyncConnection, its: Reminder, at: datetime) -> UUID | None:
        try:
            accepted = await notices.payment(connection, vault, sender, its, at=at, now=clock.wall())
        except (AddressUnknown, MessageNotPermitted):
            return None
        return accepted.message_id

    return remind


async def renew(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: do what is due of subscriptions, with this process's settings; how many things."""
    chosen = settings()
    return await _advance(database, at, stopping, PATIENCE, chosen, Vault(load_master_key(chosen)))


async def advance_clock(
    database: Database, to: datetime, *, chosen: Settings, vault: Vault, stopping: asyncio.Event | None = None
) -> int:
    """A sandbox's clock goes on to an instant, and what is due by then is done, each at its own instant; how many
    things. Where it is stopped before, the clock stands at the first that is still due."""
    done = await _advance(database, to, stopping or asyncio.Event(), None, chosen, vault)
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, await due_work.first_due(connection, to) or to)
    return done


async def _advance(
    database: Database, to: datetime, stopping: asyncio.Event, patience: timedelta | None, chosen: Settings,
    vault: Vault,
) -> int:  # fmt: skip
    async with database.reading() as connection:
        if await due_work.first_due(connection, to) is None:
            return 0
        sender = await notices.sender_of(connection, chosen.issuer)
    announce, providers, done = announcing(vault, sender), choice.of(chosen, vault), 0
    if patience is not None:  # a sandbox's clock keeps the total order
        done = await nightly.renew(database, providers, to=to, patience=patience, tasks=NIGHT_TASKS, stopping=stopping)
    return done + await due_work.advance(
        database, providers, announce, to=to, patience=patience, stopping=stopping, allot=allotments.allot,
        remind=reminding(vault, sender),
    )  # fmt: skip
