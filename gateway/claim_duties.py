"""What the worker does with claims to missing points: lets silence decide, gives what was accepted, tells members."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from gateway.messages import notices
from gateway.messages.notices import Sender
from kit import clock
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from members.messages import AddressUnknown, MessageNotPermitted
from partners.desk import Desk
from partners.directory import DirectoryCache
from settlement.claims import claims, crediting
from settlement.reconciliation import late_answers

log = structlog.get_logger(__name__)
Duty = Callable[[Desk], Awaitable[int]]


async def settle(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: decide what silence decides, and give what was accepted; how many steps."""
    return await _at_a_desk(database, lambda desk: crediting.advance(desk, at=at, stopping=stopping))


async def watch_originals(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: let originals that came late stand in place of what claims gave; how many."""
    return await _at_a_desk(database, lambda desk: crediting.watch_originals(desk, at=at, stopping=stopping))


async def escalate(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: give answers that the operator owes, in disputes and claims, to the next role; how many."""
    async with database.transaction() as connection:
        gone = await late_answers.escalate(connection, at=at)
    for one in gone:
        log.warning("an answer is late", kind=one.kind, number=one.subject_id, role=one.role)
    return len(gone)


async def tell(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: write to members what became of their claims, with this process's settings; how many."""
    async with database.reading() as connection:
        if not await claims.untold(connection, limit=1):
            return 0
        sender = await notices.sender_of(connection, settings().issuer)
    vault = Vault(load_master_key(settings()))
    return await tell_all(database, vault, sender, at=at, now=clock.wall(), stopping=stopping)


async def tell_all(
    database: Database, vault: Vault, sender: Sender, *, at: datetime, now: datetime, stopping: asyncio.Event
) -> int:
    """Write to members what became of their claims, one transaction each; how many were told. Who told no address or
    wants no letters sees it in the app, and is not written to later."""
    partners = (await DirectoryCache(database.pool, vault).get()).partner
    done = 0
    while not stopping.is_set():
        async with database.reading() as connection:
            page = await claims.untold(connection)
        if not page:
            break
        for news in page:
            partner = partners(news.partner_id)
            assert partner is not None
            async with database.transaction() as connection:
                try:
                    accepted = await notices.claim(connection, vault, sender, news, partner.name, at=at, now=now)
                except (AddressUnknown, MessageNotPermitted):
                    accepted = None
                message_id = None if accepted is None else accepted.message_id
                done += await claims.mark_told(connection, news, message_id=message_id, at=at)
    return done


async def _at_a_desk(database: Database, duty: Duty) -> int:
    vault = Vault(load_master_key(settings()))
    desk = Desk(database, vault, DirectoryCache(database.pool, vault))
    try:
        return await duty(desk)
    finally:
        await desk.close()
