"""What was settled before runs had states, windows and currencies of their own stays readable, and is settled once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from kit import postgres
from kit.database import APPLICATION_ROLE, connect, engine_url
from kit.postgres import Server
from settlement import archive, runs
from settlement.netting import Instruction
from settlement.windows import cycle, positions

DAY = timedelta(days=1)
BEFORE = "0022"
_numbers = count(1)


@pytest.fixture
def old_name(server: Server) -> Iterator[str]:
    """A database as it was before runs had states."""
    name = f"old_{next(_numbers)}"
    postgres.create_database(server, name)

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations.HERE))
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        migrations._load_routines(connection, "ledger")

    async def make() -> None:
        engine = create_async_engine(engine_url(server.url(name, server.superuser)))
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()

    asyncio.run(make())
    yield name
    postgres.drop_database(server, name)


# What the settlement of then wrote of two cut-offs: A pays 10.00, B receives 4.80, C pays 300 yen; then A pays 1.00.
_WRITTEN_THEN = """
    INSERT INTO settlement.run (actor, at, through_cutoff, opened_at, cut_at)
    SELECT 'maker', cut_at, 1, NULL, cut_at FROM ledger.cutoff WHERE cutoff_id = 1;
    INSERT INTO settlement.run (actor, at, through_cutoff, opened_at, cut_at)
    SELECT 'maker', cut_at, 2, opened_at, cut_at FROM ledger.cutoff WHERE cutoff_id = 2;
    INSERT INTO settlement.run_cutoff VALUES (1, 1), (2, 2);
    INSERT INTO settlement.clearing_group VALUES
      (1, 'ACTIVATION', 1, 1, 1, 1, 1, 1000, 1), (1, 'ACTIVATION', 3, 3, 3, 3, 3, 300, 1),
      (1, 'REDEMPTION', 1, 1, 2, 1, 2, 600, 1), (2, 'ACTIVATION', 1, 1, 1, 1, 1, 100, 1);
    INSERT INTO settlement.statement (run_id, partner_id, currency, opening_micro, opening_minor, net_micro, net_minor)
    VALUES (1, 0, 'EUR', 0, 0, 5200000, 520), (1, 1, 'EUR', 0, 0, -10000000, -1000), (1, 2, 'EUR', 0, 0, 4800000, 480),
           (1, 0, 'JPY', 0, 0, 300000000, 300), (1, 3, 'JPY', 0, 0, -300000000, -300),
           (2, 0, 'EUR', 0, 0, 1000000, 100), (2, 1, 'EUR', 0, 0, -1000000, -100);
    INSERT INTO settlement.line VALUES
      (1, 1, 'FUND', 1, 1000, 1, 8500, 8500000, 850), (1, 2, 'REIMBURSEMENT', 2, 600, 1, 8000, -4800000, -480),
      (1, 3, 'SERVICE', 1, 1000, 1, 1500, 1500000, 150), (2, 1, 'ACTIVATION', 1, 1000, 1, 10000, -10000000, -1000),
      (3, 1, 'REDEMPTION', 2, 600, 1, 8000, 4800000, 480), (4, 1, 'FUND', 3, 300, 1, 1000000, 300000000, 300),
      (4, 2, 'SERVICE', 3, 300, 1, 0, 0, 0),
      (5, 1, 'ACTIVATION', 3, 300, 1, 1000000, -300000000, -300), (6, 1, 'FUND', 1, 100, 1, 8500, 850000, 85),
      (6, 2, 'SERVICE', 1, 100, 1, 1500, 150000, 15), (7, 1, 'ACTIVATION', 1, 100, 1, 10000, -1000000, -100);
    INSERT INTO settlement.instruction VALUES
      (1, 1, 'EUR', 'PAY_IN', 1000), (1, 2, 'EUR', 'PAY_OUT', 480), (1, 3, 'JPY', 'PAY_IN', 300), (2, 1, 'EUR', 'PAY_IN', 100);
    INSERT INTO settlement.obligation_movement VALUES
      (1, 1, 1, 'ACTIVATION', 'EUR', 1000, 8500, 8500000), (1, 1, 1, 'REDEMPTION', 'EUR', -600, 8500, -5100000),
      (1, 3, 3, 'ACTIVATION', 'JPY', 300, 1000000, 300000000), (2, 1, 1, 'ACTIVATION', 'EUR', 100, 8500, 850000);
"""


async def test_statements_of_old_runs_are_read_and_nothing_of_them_is_settled_again(
    server: Server, old_name: str, coalition_of: Any
) -> None:
    async with connect(server.url(old_name, APPLICATION_ROLE)) as database:
        coalition = coalition_of(database)
        await coalition.found()
        a, b = await coalition.partner("a"), await coalition.partner("b")
        c = await coalition.partner("c", currency="JPY", fund=1_000_000, service=0)
        member = await coalition.member()
        await coalition.earn(member, "a", a, 1000)
        await coalition.earn(await coalition.member(), "c", c, 300)
        await coalition.spend(member, "b", b, 600)
        coalition.at += DAY
        await coalition.close()
        coalition.at -= 2 * timedelta(hours=1)  # recorded late, and settled as if it were not: nobody knew of it
        await coalition.earn(await coalition.member(), "a", a, 100)
        coalition.at += DAY
        await coalition.close()
    owner = await asyncpg.connect(server.dsn(old_name, server.superuser))
    try:
        await owner.execute(_WRITTEN_THEN)
    finally:
        await owner.close()
    await migrations.upgrade_async(server.url(old_name, server.superuser))

    async with connect(server.url(old_name, APPLICATION_ROLE)) as database:
        coalition.database = database
        async with database.reading() as connection:
            heads = await archive.runs(connection)
            said = [(h.run_id, h.currency, h.state, h.previous_run_id, h.name) for h in heads]
            assert said == [
                (3, "JPY", "IN_REVIEW", None, "NET.JPY.0001.01.01.00.00.1.R1"),
                (2, "EUR", "IN_REVIEW", 1, "NET.EUR.2026.03.02.09.00.1.R1"),
                (1, "EUR", "IN_REVIEW", None, "NET.EUR.0001.01.01.00.00.1.R1"),
            ]
            first, yen = await archive.run(connection, 1), await archive.run(connection, 3)
            page = await archive.statements_page(connection, partner_id=3, before=None, limit=9)
        assert [(s.statement_id, s.partner_id, s.net_minor, len(s.lines)) for s in first.statements] == [
            (1, 0, 520, 3), (2, 1, -1000, 1), (3, 2, 480, 1),
        ]  # fmt: skip
        assert yen.instructions == (Instruction(3, "JPY", "PAY_IN", 300),)
        assert [s.statement_id for s in page] == [5]
        assert await coalition.violations() == []

        assert (await coalition.settle_closed()).runs == ()
        assert await coalition.violations() == []
        coalition.at += DAY
        await coalition.earn(await coalition.member(), "a", a, 50)
        done = await coalition.settle()
        assert [(r.head.previous_run_id, r.head.currency) for r in done.runs] == [(2, "EUR")]
        assert coalition.of(done, "a").net_minor == -50
        coalition.at += 30 * DAY
        for run_id in (1, 2, 3, 4):
            assert (await coalition.step(runs.approve, run_id, by="checker")).state == "APPROVED"
        assert await coalition.violations() == []
        async with database.reading() as connection:
            assert await positions.moved(connection, [1, 2, 3]) == await positions.recounted(connection, [1, 2, 3])
            assert not [w for w in await cycle.windows(connection) if w.is_late]
