"""`tessera worker`: what time makes due is done here, in as many processes as one likes.

PgQueuer only wakes: a row per job, taken by one worker at a time. What is due is decided by the database and the
business clock's instant, so that a job may run late or twice, and a test's clock can drive it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import structlog
import typer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.domain.models import Schedule
from pgqueuer.domain.settings import DBSettings

from gateway import claim_duties, logs, usage
from gateway.charging import choice
from gateway.charging.choice import BadProvider
from gateway.charging.simulator import NotInProduction
from gateway.finance import dispute_duties
from gateway.integration import request_figures, request_log
from gateway.messages import expiry_notices, expiry_reminders, sending, sms
from gateway.sessions import session
from gateway.subscription import payment_events, renewals
from gateway.webhooks import duties as webhook_duties
from kit import clock, console, keyring
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import Settings, settings
from ledger import cutoffs, rollups, transfers, watch
from members import merging, messages, pairings
from partners.decisions import paces
from partners.desk import Desk
from partners.directory import DirectoryCache
from partners.mechanics import invitations, ranks, rewards
from partners.promotions import simulations
from settlement import scheduling
from settlement.exposure import limits
from settlement.exposure.tills import TillLimits
from settlement.reconciliation import escalating
from settlement.windows import positions

JOBS_SCHEMA = "jobs"
BEAT_SECONDS = 15
CODES_KEPT = timedelta(days=1)

Job = Callable[[Database, datetime, asyncio.Event], Awaitable[int]]

app = typer.Typer(add_completion=False)
log = structlog.get_logger("gateway.worker")


async def apply_due(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Activate and expire the points that are due by a business instant; how many accounts it touched.

    A till finds what is due by itself; this does it for those who do not come. Stops between two batches.
    """
    done = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            touched = await cutoffs.sweep(connection, at=at)
        if not touched:
            break
        done += touched
    return done


async def assess_tiers(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Add up what members bought and decide every member's tier as of a business instant; how many changed. Stops
    between two batches."""
    changes, after = 0, 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            done = await ranks.assess(connection, at=at, after=after)
        changes += done.changes
        if done.next_after is None:
            break
        after = done.next_after
    return changes


_CLIMBERS = ranks.Climbers()


async def raise_tiers(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Decide the tiers of whoever did something since the last time, so that a tier that is reached counts at once; how
    many changed. Stops between two steps."""
    changes = 0
    while not stopping.is_set():
        changed, is_more = await _CLIMBERS.step(database, at=at)
        changes += changed
        if not is_more:
            break
    return changes


async def advance_invitations(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Go on with invitations: find first purchases, reward those that were kept; put returned rewards back into stock.
    How many. Stops between two steps."""
    vault = Vault(load_master_key(settings()))
    desk = Desk(database, vault, DirectoryCache(database.pool, vault))
    done = 0
    try:
        while not stopping.is_set():
            step = await invitations.advance(desk, at=at)
            restocked = await rewards.restock(database, at=at)
            done += step.rewarded + restocked
            if not (step.qualifying or step.rewarded or step.lapsed or restocked):
                break
    finally:
        await desk.close()
    return done


async def complete_transfers(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Complete what a crash left on its way between two holders; send on what came late to merged members. How many.

    Stops between two transfers.
    """
    done, after = 0, None
    while not stopping.is_set():
        async with database.reading() as connection:
            page = await transfers.unfinished(connection, after=after)
        for after in page:
            if stopping.is_set():
                return done
            _, sender_id, unit, seq = after
            await transfers.complete(database, sender_id, seq, unit=unit, at=at)
            done += 1
        if not page:
            return done + await merging.forward(database, at=at)
    return done


async def roll_up(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Add to the totals what was recorded since; how many entries. Stops between two batches."""
    done = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            counted = await rollups.roll_up(connection)
        done += counted
        if counted < rollups.ENTRIES_AT_ONCE:  # the end; while tills go on there is always more
            break
    return done


async def tally_up(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Count what was recorded in cut-offs since, so that closing one need not; how many entries."""
    return await cutoffs.tally_up(database)


async def add_up_positions(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Add to settlement's positions what was recorded since; how many entries. Stops between two batches."""
    done = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            taken = await positions.add_up(connection, at=at)
        done += taken
        if taken < positions.ENTRIES_AT_ONCE:
            break
    return done


async def enforce_caps(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Measure what partners with a cap may come to owe, and tell tills how many points they may issue; how many."""
    return len(await limits.enforce(database, TillLimits(), at=at))


async def settle_by_cycle(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Close the cut-off of a cycle that ended and make its runs ready to be issued; how many cut-offs and runs."""
    done = await scheduling.advance(database, at=at, stopping=stopping)
    return done.count


async def escalate_breaks(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Tell the next role of breaks that nobody resolved in time; how many notices. Stops between two batches."""
    told, after = 0, 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            done = await escalating.escalate(connection, at=at, after=after)
        told += done.escalated
        if done.next_after is None:
            break
        after = done.next_after
    return told


async def watch_accounts(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Audit the accounts touched since, and the next slice of all; how many violations are new.

    Stops between two steps. The slice is taken once, so that a busy hour does not make the pass over all accounts more
    work.
    """
    async with database.transaction() as connection:
        done = await watch.step(connection, at=at)
    found = done.found
    while done.is_behind and not stopping.is_set():
        async with database.transaction() as connection:
            done = await watch.step(connection, at=at, accounts=0)
        found += done.found
    if found:
        log.error("the ledger's rules are broken", violations=found)
    return found


async def forget_sign_ins(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Delete codes, challenges and sessions that are over; how many rows. They go by the wall's clock."""
    now = clock.wall()
    async with database.transaction() as connection:
        done = await session.forget(connection, now=now)
    while not stopping.is_set():
        async with database.transaction() as connection:
            forgotten = await messages.forget_codes(connection, before=now - CODES_KEPT)
        if not forgotten:
            break
        done += forgotten
    return done


async def watch_paces(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Stop partners that give far more points than they ever did; how many were stopped now."""
    async with database.transaction() as connection:
        stopped = await paces.watch(connection, at=at)
    for burst in stopped:
        log.error("a partner gives far too many points", partner=burst.partner_id, points=burst.points, most=burst.most)
    return len(stopped)


async def forget_members(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Delete sessions, passkeys and codes of members who have left; how many rows. Stops between two batches."""
    done = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            forgotten = await session.forget_members(connection)
        if not forgotten:
            break
        done += forgotten
    return done


async def forget_uses(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Delete counts of the use of fields that are older than anybody asks for; how many rows."""
    async with database.transaction() as connection:
        return await usage.forget(connection, today=clock.wall().date())


async def forget_requests(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Delete requests of partners' programs that are older than they are kept; how many. Stops between two batches."""
    done = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            forgotten = await request_log.forget(connection, at=clock.wall())
            forgotten += await request_figures.forget(connection, at=clock.wall())
        if not forgotten:
            break
        done += forgotten
    return done


async def forget_pairings(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Delete codes that tills showed a day ago, and who confirmed them; how many. Stops between two batches."""
    done = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            forgotten = await pairings.forget(connection, at=at)
        if not forgotten:
            break
        done += forgotten
    return done


async def run_simulations(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Run the simulations of releases that marketers asked for, one after another; how many. Stops within one."""
    directory = DirectoryCache(database.pool, Vault(load_master_key(settings())))
    done = 0
    while not stopping.is_set():
        if await simulations.run_next(database, directory, now=clock.wall, stopping=stopping) is None:
            break
        done += 1
    return done


SCHEDULE: dict[str, tuple[str, Job]] = {
    "apply-due": ("* * * * *", apply_due),
    "complete-transfers": ("* * * * *", complete_transfers),
    "roll-up": ("* * * * *", roll_up),
    "tally-up": ("* * * * *", tally_up),
    "add-up-positions": ("* * * * *", add_up_positions),
    "enforce-caps": ("* * * * *", enforce_caps),
    "settle-by-cycle": ("*/5 * * * *", settle_by_cycle),
    "escalate-breaks": ("13 * * * *", escalate_breaks),
    "watch-accounts": ("* * * * *", watch_accounts),
    "watch-paces": ("* * * * *", watch_paces),
    "tell-partners": ("* * * * *", webhook_duties.tell_partners),
    "forget-webhooks": ("47 * * * *", webhook_duties.forget),
    "send-messages": ("* * * * *", sending.send_messages),
    "tell-of-expiry": ("23 * * * *", expiry_notices.tell_of_expiry),
    "remind-of-expiry": ("29 */6 * * *", expiry_reminders.remind_of_expiry),
    "forget-sign-ins": ("41 * * * *", forget_sign_ins),
    "forget-members": ("*/5 * * * *", forget_members),
    "forget-uses": ("11 4 * * *", forget_uses),
    "forget-requests": ("31 * * * *", forget_requests),
    "forget-pairings": ("51 * * * *", forget_pairings),
    "assess-tiers": ("17 * * * *", assess_tiers),
    "raise-tiers": ("* * * * *", raise_tiers),
    "run-simulations": ("* * * * *", run_simulations),
    "renew-subscriptions": ("* * * * *", renewals.renew),
    "look-at-payment-events": ("* * * * *", payment_events.look),
    "settle-claims": ("* * * * *", claim_duties.settle),
    "watch-originals": ("*/10 * * * *", claim_duties.watch_originals),
    "escalate-answers": ("31 * * * *", claim_duties.escalate),
    "tell-of-claims": ("* * * * *", claim_duties.tell),
    "settle-disputes": ("*/5 * * * *", dispute_duties.settle),
    "compare-files": ("*/5 * * * *", dispute_duties.compare),
    "advance-invitations": ("11 * * * *", advance_invitations),
}
"""Jobs by name: when they are woken, as in crontab, and what they do."""


async def run_job(name: str, database: Database, settings: Settings, stopping: asyncio.Event) -> None:
    """Run one job as of the business clock's instant. A failure is logged; the next waking tries again."""
    try:
        async with database.reading() as connection:
            at = await console.business_instant(connection, settings)
        done = await SCHEDULE[name][1](database, at, stopping)
    except Exception:
        log.exception("job failed", job=name)
    else:
        log.info("job done", job=name, at=at.isoformat(), done=done)


def waker(database: Database, settings: Settings, stopping: asyncio.Event) -> SchedulerManager:
    """What calls the jobs when their time has come, until it is told to stop; it finishes what it has begun."""
    names = DBSettings(db_schema=JOBS_SCHEMA)
    manager = SchedulerManager(
        Queries(
            AsyncpgPoolDriver(database.pool),
            qbe=QueryBuilderEnvironment(names),
            qbq=QueryQueueBuilder(names),
            qbs=QuerySchedulerBuilder(names),
        )
    )
    manager.shutdown = stopping

    async def wake(schedule: Schedule) -> None:
        await run_job(schedule.entrypoint, database, settings, stopping)

    for name, (expression, _) in SCHEDULE.items():
        manager.schedule(name, expression)(wake)
    return manager


async def work(database: Database, settings: Settings, stopping: asyncio.Event, heartbeat: Path | None = None) -> None:
    """Run jobs until told to stop. Touches the heartbeat file whenever the database has answered."""
    manager = waker(database, settings, stopping)
    beat = asyncio.create_task(_beat(manager, heartbeat, stopping))
    try:
        await manager.run()
    finally:
        stopping.set()
        await beat


async def _beat(manager: SchedulerManager, heartbeat: Path | None, stopping: asyncio.Event) -> None:
    while heartbeat is not None and not stopping.is_set():
        await manager.queries.has_table(manager.queries.qbe.settings.schedules_table)
        await asyncio.to_thread(heartbeat.touch)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), BEAT_SECONDS)


Heartbeat = Annotated[
    Path | None,
    typer.Option(help="File to touch while all is well, for a health check.", show_default=False),
]


@app.command()
def worker(heartbeat: Heartbeat = None) -> None:
    """Do what time makes due: activate and expire points, roll up, audit, assess tiers, send messages.

    Ends at SIGTERM or Ctrl-C, after its batch.
    """
    with console.clear_errors():
        chosen = settings()
    try:
        sending.channels_of(chosen)
        choice.of(chosen)
    except (sending.BadSmtpUrl, sms.BadSmsUrl, NotInProduction, BadProvider) as wrong:
        console.fail(str(wrong))
    logs.configure(chosen.log_level)
    console.run(_worker(chosen, heartbeat))


async def _worker(settings: Settings, heartbeat: Path | None) -> None:
    stopping = asyncio.Event()
    for reason in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(reason, stopping.set)
    async with console.database(settings) as database:
        async with database.transaction() as connection:
            await keyring.admit(connection, Vault(load_master_key(settings)), now=clock.wall())
        console.out.print(f"Working: {', '.join(SCHEDULE)}.")
        await work(database, settings, stopping, heartbeat)
