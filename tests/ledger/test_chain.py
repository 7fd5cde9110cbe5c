"""`ledger verify`: what the use case and the command say of an intact and of an altered ledger."""

from __future__ import annotations

import asyncpg
import pytest
from typer.testing import CliRunner

from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.settings import settings
from ledger import chain, commands
from tests.ledger.test_operations import T0, open_holder


async def written(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(10)
    await database.pool.fetchrow(
        "SELECT * FROM ledger.seal_cutoff($1)", await database.pool.fetchval("SELECT ledger.drain_cutoff($1)", T0)
    )
    await holder.redeem(5)


async def test_an_intact_ledger_verifies_and_tells_its_seal(database: Database) -> None:
    await written(database)
    async with database.reading() as connection:
        found = await chain.verify(connection)
    assert (found.holds, found.sealed_cutoff) == (True, 1)
    assert found.seal is not None
    assert len(found.seal) == 64


@pytest.fixture
def address(server: postgres.Server, database_name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", server.url(database_name, APPLICATION_ROLE))
    settings.cache_clear()
    yield
    settings.cache_clear()


async def test_the_command_names_the_first_altered_entry_and_exits_1(
    database: Database, server: postgres.Server, database_name: str, address: None
) -> None:
    await written(database)
    runner = CliRunner()
    import anyio

    intact = await anyio.to_thread.run_sync(lambda: runner.invoke(commands.app, ["verify"]))
    assert intact.exit_code == 0
    assert "Nothing was altered." in intact.output
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.posting SET amount = 11 WHERE seq = 1")
    await owner.close()
    altered = await anyio.to_thread.run_sync(lambda: runner.invoke(commands.app, ["verify"]))
    assert altered.exit_code == 1
    assert "Altered: holder 1, unit 1, entry 1" in altered.output
