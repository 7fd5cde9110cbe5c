"""What the loads act on: partners with terms, members with a card, and holders of the ledger's own with lots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

import migrations
from benchmarks import storage
from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from ledger import accounts
from members import enrolment
from members.cards import IssuedCard
from members.consents import ConsentGiven
from members.enrolment import Newcomer
from tests.builders import NOON, Coalition, found

DATABASE = "bench"
VAULT = Vault(bytes(range(32)))
PARTNERS = 50
AT_ONCE = 10_000  # holders opened in one call
BATCH = 2_000  # accruals in one set-based call: more of them cost more each
LANES = 2  # such calls at once


@dataclass
class Crowd:
    """A founded coalition and who collects in it. holders are numbers that no card leads to."""

    made: Coalition
    cards: list[IssuedCard]
    holders: list[int] = field(default_factory=list)

    @property
    def pool(self) -> asyncpg.Pool:
        """The hot path's connections, as the application's role."""
        return self.made.database.pool

    async def report(self) -> None:
        """Let the pool's connections tell the server what they have counted."""
        await storage.flush(self.pool)


@asynccontextmanager
async def founded(
    server: postgres.Server, *, members: int, holders: int, partners: int, name: str = DATABASE
) -> AsyncIterator[Crowd]:
    """A fresh database with a coalition, gone with the next one."""
    postgres.drop_database(server, name)
    postgres.create_database(server, name)
    await migrations.upgrade_async(server.url(name, server.superuser))
    async with connect(server.url(name, APPLICATION_ROLE), pool_size=8) as database:
        made = await found(database, VAULT)
        for number in range(1, partners + 1):
            await made.add_partner(f"partner{number}")
        crowd = Crowd(made, await _enrol(database, members), await _open(database, holders))
        await analyze(server, name)
        yield crowd
        await made.desk.close()


@asynccontextmanager
async def found_again(server: postgres.Server, name: str) -> AsyncIterator[tuple[asyncpg.Pool, list[int]]]:
    """The hot path's connections and the holders of a database that was founded before."""
    async with connect(server.url(name, APPLICATION_ROLE), pool_size=8) as again:
        rows = await again.pool.fetch("SELECT holder_id FROM ledger.account ORDER BY holder_id", timeout=600)
        yield again.pool, [row["holder_id"] for row in rows]


async def _enrol(database: Database, members: int) -> list[IssuedCard]:
    cards: list[IssuedCard] = []
    for start in range(0, members, 2_000):
        newcomers = [
            Newcomer(consents=(ConsentGiven("PROGRAMME", "1", NOON),)) for _ in range(min(2_000, members - start))
        ]
        async with database.transaction() as connection:
            enrolled = await enrolment.enrol_many(connection, VAULT, newcomers, at=NOON, enrolled_by=0)
        cards += [one.card for one in enrolled if one.card is not None]
    return cards


async def _open(database: Database, holders: int) -> list[int]:
    opened: list[int] = []
    for start in range(0, holders, AT_ONCE):
        async with database.transaction() as connection:
            opened += await accounts.open_accounts(connection, min(AT_ONCE, holders - start))
    return opened


async def analyze(server: postgres.Server, name: str = DATABASE) -> None:
    """Statistics for what has rows. Empty tables stay without, as in a young database: told that they are empty, the
    planner would make plans for nothing."""
    owner = await asyncpg.connect(server.dsn(name, server.superuser))
    for table, size in (await storage.sizes(owner)).items():
        if size.rows:
            await owner.execute(f"VACUUM ANALYZE {table}", timeout=3600)
    await owner.close()


# Everything a till's accrual does, for many holders in one statement: the lots are real, and the audit holds. The keys
# are always the same, so that what is repeated is known.
_STOCK = """
    SELECT count(*) FROM ledger.accrue_many(
      1::smallint, $4::timestamptz, $1::bigint[],
      ARRAY(SELECT 1 + h % $2::int FROM unnest($1::bigint[]) h)::int[],
      ARRAY(SELECT md5(format('%s %s', h, $3::int))::uuid FROM unnest($1::bigint[]) h),
      ARRAY(SELECT md5(format('%s %s', h, $3::int))::uuid FROM unnest($1::bigint[]) h),
      ARRAY(SELECT generate_series(1, cardinality($1::bigint[]))),
      ARRAY(SELECT 1 + h % $2::int FROM unnest($1::bigint[]) h)::int[],
      ARRAY(SELECT 1 + h % $2::int FROM unnest($1::bigint[]) h)::int[],
      ARRAY(SELECT 1 + h % $2::int FROM unnest($1::bigint[]) h)::int[],
      array_fill(100::bigint, ARRAY[cardinality($1::bigint[])]),
      array_fill($4::timestamptz, ARRAY[cardinality($1::bigint[])]),
      array_fill($4::timestamptz + $3::int * interval '30 days', ARRAY[cardinality($1::bigint[])]))
    WHERE status IN (0, 1)
"""


async def stock(
    pool: asyncpg.Pool, holders: list[int], lots: int, *, begin: int = 0, partners: int = PARTNERS
) -> AsyncIterator[int]:
    """Give each holder so many lots, one to everybody and then the next, as visits come; yields accruals as they are
    done. The first `begin` of them are left out: they were done before, whole steps of what was yielded then.

    Raises RuntimeError where one was not recorded.
    """
    step = LANES * BATCH
    done = 0
    for number in range(1, lots + 1):
        for start in range(0, len(holders), step):
            some = holders[start : start + step]
            done += len(some)
            if done <= begin:
                continue
            told = await asyncio.gather(
                *(
                    pool.fetchval(_STOCK, some[one : one + BATCH], partners, 12 + number, NOON, timeout=600)
                    for one in range(0, len(some), BATCH)
                )
            )
            if sum(told) != len(some):
                raise RuntimeError(f"only {sum(told)} of {len(some)} accruals were recorded")
            yield len(some)


@dataclass(frozen=True, slots=True)
class Stocked:
    """Lots that were recorded, in how many seconds, and what they take up on disk: bytes per accrual by table."""

    lots: int
    holders: int
    seconds: float
    bytes_stored: dict[str, dict[str, float]]

    @property
    def bytes_of_ledger(self) -> float:
        """Bytes of journal, posting and lot per accrual, with their indexes."""
        return sum(sum(self.bytes_stored[table].values()) for table in storage.LEDGER)

    @property
    def per_second(self) -> float:
        """Accruals a second."""
        return self.lots / self.seconds


async def stocked(
    server: postgres.Server,
    pool: asyncpg.Pool,
    holders: list[int],
    lots: int,
    advance: Callable[[int], None] = lambda _: None,
    *,
    partners: int = PARTNERS,
) -> Stocked:
    """Give each holder so many lots of 100 points, available at once, that expire a month apart; tables are vacuumed
    and their statistics current afterwards. advance hears of accruals as they are done.

    Raises RuntimeError where one was not recorded.
    """
    owner = await asyncpg.connect(server.dsn(DATABASE, server.superuser))
    before = await storage.sizes(owner)
    began, done = time.perf_counter(), 0
    async for some in stock(pool, holders, lots, partners=partners):
        done += some
        advance(some)
    seconds = time.perf_counter() - began
    found = Stocked(done, len(holders), seconds, storage.grown(before, await storage.sizes(owner), done))
    await owner.close()
    await analyze(server)
    return found
