"""A night in which so many subscriptions renew: invoiced, charged, paid, by several processes, of which one is killed
in the middle and started again.

Charged by the simulator, which answers at once in the same process: a provider's own time and that of a library's calls
over HTTP are not in it. What is counted at the end is what is stored.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.context import SpawnProcess
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

import migrations
from gateway.charging.simulator import Simulator
from kit import postgres
from kit.database import APPLICATION_ROLE, connect
from kit.settings import Settings
from members.subscription import due_work, nightly
from members.subscription.due_work import Renewal
from members.subscription.providers import MANUAL
from tests.gateway.subscribing import open_plans

DATABASE = "bench_renewals"
BEGAN = datetime(2026, 3, 1, 20, tzinfo=UTC)
SPREAD = timedelta(hours=8)
NIGHT = datetime(2026, 4, 2, 6, tzinfo=UTC)
TASKS = 2
POLL_SECONDS = 0.5

# A month ago: taken, charged, paid. {n} is how many, {price} the version of the price.
_STOCKED = """
SET session_replication_role = replica;
CREATE TEMPORARY TABLE one AS
  SELECT n, 1000000 + n AS holder_id, timestamptz '{began}' + n * interval '{step} microseconds' AS at
  FROM generate_series(1, {n}) n;
INSERT INTO members.payment_means (holder_id, provider, token, text_version, at)
  SELECT holder_id, 'simulator', 'ok', '1', at FROM one;
INSERT INTO members.subscription (holder_id, subscription_no, zone, provider, currency, version, at)
  OVERRIDING SYSTEM VALUE SELECT holder_id, n, 'UTC', 'simulator', 'EUR', 2, at FROM one;
INSERT INTO members.subscription_event (holder_id, subscription_no, seq, kind, at, price_no, interval)
  SELECT holder_id, n, 1, 'CREATED', at, {price}, NULL FROM one UNION ALL
  SELECT holder_id, n, 2, 'ACTIVATED', at, NULL, 'MONTH' FROM one;
INSERT INTO members.invoice
  SELECT holder_id, n, n, 'PERIOD', at, at + interval '1 month', {price}, 'EUR', 1000, 0, 1000, 'NONE', 1, 'simulator',
         'first-' || n, true, at, at FROM one;
INSERT INTO members.invoice_line SELECT holder_id, n, 1, 'PERIOD', {price}, 1000 FROM one;
INSERT INTO members.charge_attempt SELECT holder_id, n, 1, 'first-' || n, at FROM one;
INSERT INTO members.charge_outcome SELECT holder_id, n, 1, 'PAID', 'first-' || n, at FROM one;
INSERT INTO members.fee_payment
  SELECT holder_id, n, 'simulator', 'first-' || n, 1000, 15, false, at::date, (at + interval '1 month')::date, 'charge',
         'simulator', NULL, at FROM one;
INSERT INTO members.entitlement_grant
    (holder_id, subscription_no, plan_id, source, invoice_no, valid_from, valid_until, at)
  SELECT holder_id, n, {plan}, 'PAID', n, at, at + interval '1 month', at FROM one;
INSERT INTO members.subscription_due SELECT holder_id, n, 'PERIOD', 0, at + interval '1 month' FROM one;
UPDATE members.invoice_counter SET last_no = {n} WHERE series = 'INVOICE';
RESET session_replication_role;
ANALYZE members.subscription, members.subscription_event, members.subscription_due, members.invoice,
  members.payment_means, members.charge_attempt, members.charge_outcome, members.fee_payment, members.entitlement_grant;
"""

_WRONG = """
SELECT what, count(*) AS n FROM (
  SELECT 'renewals without their one invoice' AS what FROM members.subscription s
  WHERE 1 <> (SELECT count(*) FROM members.invoice i WHERE i.holder_id = s.holder_id AND i.invoice_no > $1)
  UNION ALL
  SELECT 'invoices that are not paid once' FROM members.invoice i
  WHERE i.invoice_no > $1 AND 1 <> (
    SELECT count(*) FROM members.fee_payment p WHERE p.invoice_no = i.invoice_no AND NOT p.is_surplus
      AND p.amount_minor = i.gross_minor)
  UNION ALL
  SELECT 'payments of what was paid' FROM members.fee_payment WHERE is_surplus
  UNION ALL
  SELECT 'invoices charged under two keys' FROM members.charge_attempt WHERE attempt_no > 1
  UNION ALL
  SELECT 'members who are not given what they paid' FROM members.invoice i
  WHERE i.invoice_no > $1 AND 1 <> (
    SELECT count(*) FROM members.entitlement_grant g
    WHERE g.holder_id = i.holder_id AND g.invoice_no = i.invoice_no AND g.source = 'PAID'
      AND (g.valid_from, g.valid_until) = (i.period_from, i.period_until))
  UNION ALL
  SELECT 'things that are still due' FROM members.subscription_due WHERE kind NOT IN ('PERIOD', 'NOTICE')
  UNION ALL
  SELECT 'numbers left out' FROM members.invoice_counter
  WHERE series = 'INVOICE' AND last_no <> (SELECT count(*) FROM members.invoice)
) found GROUP BY what ORDER BY what
"""


@dataclass(frozen=True, slots=True)
class Night:
    """A night: how many renewed, in what seconds from the first process to the last fact, by how many processes, how
    many of which were killed in the middle; what is wrong of what is stored, in words with numbers."""

    renewals: int
    seconds: float
    processes: int
    kills: int
    paid_when_killed: int
    asked_after: int
    wrong: dict[str, int]

    @property
    def per_second(self) -> float:
        """Renewals a second, each invoiced, charged and paid."""
        return self.renewals / self.seconds

    def content(self) -> dict[str, object]:
        """As it is stored."""
        return asdict(self) | {"per_second": self.per_second}


async def measure(
    server: postgres.Server, renewals: int, *, processes: int = 2, kill: bool = True,
    watch: Callable[[str], None] = lambda _: None, advance: Callable[[int], None] = lambda _: None,
) -> Night:  # fmt: skip
    """A night of so many renewals. Raises RuntimeError where a process fails."""
    watch(f"{renewals:,} subscribers")
    await stocked(server, renewals)
    url = server.url(DATABASE, APPLICATION_ROLE)
    async with connect(url, pool_size=1) as database:
        watch("renewing")
        began = time.perf_counter()
        working, kills, paid, when_killed = [_started(url, NIGHT) for _ in range(processes)], 0, 0, 0
        while any(one.is_alive() for one in working):
            await asyncio.sleep(POLL_SECONDS)
            was, paid = paid, await database.pool.fetchval("SELECT count(*) FROM members.fee_payment") - renewals
            advance(paid - was)
            if kill and not kills and 3 * paid >= renewals:
                working[0].kill()
                working[0].join()
                kills, when_killed = 1, paid
                working[0] = _started(url, NIGHT)
        _check(working)
        unknown = await database.pool.fetchval(
            "SELECT count(*) FROM members.charge_attempt a WHERE NOT EXISTS (SELECT FROM members.charge_outcome o "
            "WHERE o.holder_id = a.holder_id AND o.invoice_no = a.invoice_no AND o.attempt_no = a.attempt_no)"
        )
        watch("asking what became of orders that nobody heard of")
        last = _started(url, NIGHT + nightly.LEASE)
        await asyncio.to_thread(last.join)
        _check([last])
        seconds = time.perf_counter() - began
        watch("counting")
        wrong = {row["what"]: row["n"] for row in await database.pool.fetch(_WRONG, renewals, timeout=600)}
    postgres.drop_database(server, DATABASE)
    return Night(renewals, seconds, processes, kills, when_killed, unknown, wrong)


async def stocked(server: postgres.Server, renewals: int) -> None:
    """A database of its own with so many subscribers whose period is over in one night."""
    postgres.drop_database(server, DATABASE)
    postgres.create_database(server, DATABASE)
    await migrations.upgrade_async(server.url(DATABASE, server.superuser))
    async with connect(server.url(DATABASE, server.superuser), pool_size=1) as database:
        async with database.transaction() as connection:
            await open_plans(connection, BEGAN)
        price, plan = await database.pool.fetchrow(
            "SELECT price_no, plan_id FROM members.plan_price ORDER BY 1 LIMIT 1"
        )
        step = SPREAD // timedelta(microseconds=1) // renewals
        statements = _STOCKED.format(n=renewals, price=price, plan=plan, began=BEGAN.isoformat(), step=step)
        async with database.pool.acquire() as raw:
            await raw.execute(statements, timeout=600)


def renew(url: str, to: datetime) -> None:
    """A process: all that is due by an instant, what is plain first."""

    async def run() -> None:
        simulator = Simulator(Settings(clock="sandbox", charging="simulator"))
        providers = {MANUAL.name: MANUAL, simulator.name: simulator}
        async with connect(url, pool_size=TASKS + 2) as database:
            await nightly.renew(database, providers, to=to, tasks=TASKS)
            await due_work.advance(database, providers, _nobody, to=to)

    asyncio.run(run())


async def _nobody(connection: AsyncConnection, renewal: Renewal, at: datetime) -> UUID | None:
    return None


def _started(url: str, to: datetime) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=renew, args=(url, to))
    process.start()
    return process


def _check(processes: list[SpawnProcess]) -> None:
    failed = [one.exitcode for one in processes if one.exitcode]
    if failed:
        raise RuntimeError(f"a process that renews ended with {failed[0]}")
