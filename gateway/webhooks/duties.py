"""What the worker does with webhooks: finds what is to be told, sends it, forgets what is old."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta

from gateway.webhooks import addresses, calling, delivering, delivery_store, endpoints, gathering, kinds
from gateway.webhooks.gathering import Sources
from kit import clock, console
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import Settings, settings
from partners.directory import DirectoryCache

STEP_SECONDS = 1
ROUND_SECONDS = 50
"""How long the job goes on when partners listen: nearly until it is woken again, so that nobody waits for a minute."""
KEPT = timedelta(days=30)
FORGOTTEN_AT_ONCE = 1_000


async def tell_partners(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: tell partners what happened, as it happens, until it is nearly woken again; how many calls."""
    chosen = settings()
    vault = Vault(load_master_key(chosen))
    sources = Sources(database, vault, DirectoryCache(database.pool, vault))
    if not await gathering.any_listening(database):
        await gathering.gather(sources, at=at, now=clock.wall())
        await gathering.look(sources, at=at, now=clock.wall())
        return 0
    async with calling.opened(is_sandbox=addresses.is_own_sandbox(chosen)) as caller:
        going = delivering.Round(sources, caller, site=chosen.issuer, now=clock.wall)
        await gathering.look(sources, at=at, now=clock.wall())
        ends = time.monotonic() + ROUND_SECONDS
        try:
            while not stopping.is_set() and time.monotonic() < ends:
                at = await _now(database, chosen)
                _, is_behind = await gathering.gather(sources, at=at, now=clock.wall())
                is_busy = await going.start(at=at)
                if is_busy:
                    await going.wait(STEP_SECONDS)
                elif not is_behind:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stopping.wait(), STEP_SECONDS)
        finally:
            await going.finish()
    return going.sent


async def forget(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: delete events, deliveries and attempts of a month ago, and secrets that ended; how many events.

    Stops between two batches.
    """
    done = 0
    async with database.transaction() as connection:
        await endpoints.forget_secrets(connection, now=clock.wall())
    while not stopping.is_set():
        async with database.transaction() as connection:
            before = clock.wall() - KEPT
            forgotten = await delivery_store.forget(
                connection, before=before, lasting=kinds.LASTING, limit=FORGOTTEN_AT_ONCE
            )
        if not forgotten:
            break
        done += forgotten
    return done


async def _now(database: Database, chosen: Settings) -> datetime:
    async with database.reading() as connection:
        return await console.business_instant(connection, chosen)
