"""The audit of single accounts finds what the full one finds, and the watch comes to every account in turn."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

from kit import postgres
from kit.database import Database
from ledger import audit, watch
from ledger.audit import Violation
from ledger.watch import Count, Step
from tests.ledger.test_ledger_machine import Model, play
from tests.ledger.test_operations import DAY, T0, TAMPERING, Holder, open_holder

# What an account shows of a rule that is kept over all accounts together.
SHOWN_BY_AN_ACCOUNT = {
    "A11 issued = all that became of it": "A3 lot = its postings",
    "A16 cut-off = what is recorded in it": "A16 postings lie in the cut-off of their entry",
}
OF_AN_ACCOUNT = {"A1", "A2", "A3", "A4", "A5", "A6", "A7", "A15", "A17", "A18"}


async def step(database: Database, *, entries: int = 1_000, accounts: int = 0, day: int = 0) -> Step:
    async with database.transaction() as connection:
        return await watch.step(connection, at=T0 + day * DAY, entries=entries, accounts=accounts)


async def findings(database: Database) -> list[watch.Finding]:
    async with database.reading() as connection:
        return await watch.findings(connection)


async def rules(database: Database) -> set[str]:
    return {each.rule for each in await findings(database)}


@pytest.fixture
async def owner(database: Database, server: postgres.Server, database_name: str):
    """Who may do what the application may not."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


async def busy_holder(database: Database) -> Holder:
    """A holder with entries on both sides of a cut-off."""
    holder = await open_holder(database.pool)
    await holder.accrue(10)
    cut = await database.pool.fetchval("SELECT ledger.drain_cutoff($1)", T0)
    await database.pool.fetchrow("SELECT * FROM ledger.seal_cutoff($1)", cut)
    await holder.accrue(10)
    await holder.redeem(5)
    return holder


@pytest.mark.parametrize(("rule", "tampering"), TAMPERING.items())
async def test_tampering_with_an_account_that_is_touched_afterwards_is_seen_at_the_next_step(
    database: Database, owner: asyncpg.Connection, rule: str, tampering: str
) -> None:
    holder = await busy_holder(database)
    assert await step(database) == Step(1, 0, 0, 0, False)
    await owner.execute(tampering)
    assert await step(database) == Step(0, 0, 0, 0, False)
    await holder.accrue(1)
    assert (await step(database)).found > 0
    assert SHOWN_BY_AN_ACCOUNT.get(rule, rule) in await rules(database)


@pytest.mark.parametrize(("rule", "tampering"), TAMPERING.items())
async def test_tampering_with_an_account_that_nobody_touches_is_seen_within_one_pass(
    database: Database, owner: asyncpg.Connection, rule: str, tampering: str
) -> None:
    await busy_holder(database)
    for _ in range(6):
        await open_holder(database.pool)
    await step(database)
    await owner.execute(tampering)
    visited = [(await step(database, accounts=3)).visited for _ in range(3)]
    assert visited == [3, 3, 1]
    assert SHOWN_BY_AN_ACCOUNT.get(rule, rule) in await rules(database)


async def test_the_pass_begins_anew_when_it_has_come_round(database: Database) -> None:
    for _ in range(4):
        await open_holder(database.pool)
    visited = [(await step(database, accounts=2, day=day)).visited for day in range(6)]
    assert visited == [2, 2, 0, 2, 2, 0]
    async with database.reading() as connection:
        position = await watch.position(connection)
    assert (position.passes, position.accounts) == (2, 8)
    assert (position.pass_began_at, position.pass_ended_at) == (T0 + 3 * DAY, T0 + 5 * DAY)


async def test_a_step_reads_no_more_than_it_may_and_says_whether_it_is_behind(database: Database) -> None:
    for _ in range(5):
        await (await open_holder(database.pool)).accrue(1)
    assert [await step(database, entries=2) for _ in range(4)] == [
        Step(2, 0, 0, 0, True), Step(2, 0, 0, 0, True), Step(1, 0, 0, 0, False), Step(0, 0, 0, 0, False),
    ]  # fmt: skip


async def test_what_commits_late_is_looked_at_then(database: Database, owner: asyncpg.Connection) -> None:
    async with database.pool.acquire() as connection, connection.transaction():
        slow = await open_holder(connection)
        await slow.accrue(7)
        quick = await open_holder(database.pool)
        await quick.accrue(5)
        assert (await step(database)).touched == 0
    await owner.execute("UPDATE ledger.account SET available = available + 1")
    assert (await step(database)).touched == 2
    assert {each.holder_id for each in await findings(database)} == {slow.holder_id, quick.holder_id}


async def test_a_violation_is_kept_once_with_its_first_instant_and_cleared_when_it_is_gone(
    database: Database, owner: asyncpg.Connection
) -> None:
    holder = await busy_holder(database)
    await step(database)
    await owner.execute("UPDATE ledger.lot SET granted = granted + 1 WHERE seq = 1")
    assert (await step(database, accounts=9, day=1)).found == 1
    assert await step(database, day=2) == Step(0, 0, 0, 0, False)
    await holder.accrue(1, day=3)
    assert (await step(database, day=3)).found == 0
    [one] = await findings(database)
    assert (one.rule, one.holder_id, one.places) == ("A3 lot = its postings", holder.holder_id, 1)
    assert (one.first_seen_at, one.cleared_at) == (T0 + DAY, None)
    await owner.execute("UPDATE ledger.lot SET granted = granted - 1 WHERE seq = 1")
    assert (await step(database, accounts=9, day=4)).cleared == 1
    assert [each.cleared_at for each in await findings(database)] == [T0 + 4 * DAY]
    await owner.execute("UPDATE ledger.lot SET granted = granted + 1 WHERE seq = 1")
    assert (await step(database, accounts=9, day=4)).found == 1
    async with database.reading() as connection:
        assert await watch.counts(connection) == [Count("A3 lot = its postings", 2, 1)]


async def test_what_stands_is_looked_at_again_without_being_touched(
    database: Database, owner: asyncpg.Connection
) -> None:
    for _ in range(5):
        await open_holder(database.pool)
    await owner.execute(
        "UPDATE ledger.account SET debt = 1 WHERE holder_id = (SELECT min(holder_id) FROM ledger.account)"
    )
    assert [(await step(database, accounts=2)).found for _ in range(2)] == [2, 0]
    assert await rules(database) == {
        "A1 balance = its postings",
        "A17 debt = what returns fell short of and nobody repaid",
    }
    await owner.execute("UPDATE ledger.account SET debt = 0")
    assert (await step(database, accounts=2)).cleared == 2


async def test_many_places_of_one_account_are_one_finding(database: Database, owner: asyncpg.Connection) -> None:
    holder = await busy_holder(database)
    await owner.execute("UPDATE ledger.journal SET available_after = available_after + 1")
    await step(database)
    [one] = await findings(database)
    assert (one.rule, one.places, one.holder_id) == ("A7 balance history = running sum", 3, holder.holder_id)


async def test_of_two_watchers_the_second_waits(database: Database) -> None:
    await (await open_holder(database.pool)).accrue(1)
    async with database.engine.connect() as first, database.engine.connect() as second:
        assert (await watch.step(first, at=T0)).touched == 1
        waiting = asyncio.create_task(watch.step(second, at=T0))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        await first.commit()
        assert (await waiting).touched == 0
        await second.commit()


@pytest.mark.parametrize("table", ["violation", "clearance", "watch_position", "watermark"])
async def test_the_application_cannot_make_a_finding_disappear(database: Database, table: str) -> None:
    for statement in ("DELETE FROM ledger.{}", "TRUNCATE ledger.{}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.execute(statement.format(table))


MISCHIEF = (
    "UPDATE ledger.account SET available = available + 1 WHERE holder_id = $1",
    "UPDATE ledger.account SET held = held + 3 WHERE holder_id = $1",
    "UPDATE ledger.account SET seq = seq + 1 WHERE holder_id = $1",
    "UPDATE ledger.lot SET active = NOT active WHERE holder_id = $1 AND seq % 5 = $2 % 5",
    "UPDATE ledger.lot SET returned = returned + 1, remaining = remaining - 1 WHERE holder_id = $1 AND remaining > 1",
    "DELETE FROM ledger.lot WHERE holder_id = $1 AND seq % 7 = $2 % 7",
    "UPDATE ledger.hold SET state = 2 WHERE holder_id = $1 AND state = 0",
    "UPDATE ledger.journal SET amount = amount + 1 WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "UPDATE ledger.journal SET pending_after = pending_after + 1 WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "UPDATE ledger.journal SET recorded_at = recorded_at - interval '300 days' WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "UPDATE ledger.journal SET kind = 20 WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "DELETE FROM ledger.journal WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "UPDATE ledger.posting SET amount = amount + 1 WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "UPDATE ledger.posting SET lot_no = 2 WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "DELETE FROM ledger.posting WHERE holder_id = $1 AND seq % 9 = $2 % 9",
    "UPDATE ledger.account SET available = available + 1, debt = debt + 1 WHERE holder_id = $1",
    "UPDATE ledger.shortfall SET repaid = owed WHERE holder_id = $1",
    "DELETE FROM ledger.shortfall WHERE holder_id = $1",
)


def of_an_account(violations: list[Violation]) -> set[Violation]:
    return {each for each in violations if each.rule.split()[0] in OF_AN_ACCOUNT}


@pytest.mark.parametrize("seed", range(3))
async def test_the_audit_of_accounts_says_what_the_full_audit_says(
    database: Database, owner: asyncpg.Connection, seed: int
) -> None:
    dice = random.Random(seed)
    holders = [await open_holder(database.pool) for _ in range(4)]
    for holder in holders:
        await play(holder, Model(), dice, 25)
    ids = [holder.holder_id for holder in holders]
    seen: set[str] = set()
    async with database.reading() as connection:
        assert await audit.violations(connection) == await watch.violations(connection, ids) == []
        for mischief in dice.sample(MISCHIEF, len(MISCHIEF)):
            places = (dice.choice(ids), dice.randint(1, 30))
            await owner.execute(mischief, *places[: mischief.count("$2") + 1])
            full = of_an_account(await audit.violations(connection))
            assert of_an_account(await watch.violations(connection, ids)) == full
            for holder_id in ids:
                own = {each for each in full if each.holder_id == holder_id}
                assert of_an_account(await watch.violations(connection, [holder_id])) == own
            seen |= {each.rule.split()[0] for each in full}
    assert seen == OF_AN_ACCOUNT - {"A15"}


async def test_the_audit_of_one_account_reads_no_table_from_end_to_end(
    database: Database, owner: asyncpg.Connection
) -> None:
    await database.pool.execute("SELECT ledger.open_accounts(5000, 1::smallint)")
    holder = await busy_holder(database)
    await owner.execute("INSERT INTO ledger.lot SELECT h, 1, 1, 1, 0, 0, $1, $2, 1, 1, 1, 1, 1, true, true "
                        "FROM generate_series(1, 5000) h", T0, T0 + DAY)  # fmt: skip
    await owner.execute("ANALYZE ledger.account, ledger.lot, ledger.journal, ledger.posting")
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.fetch("SELECT * FROM ledger.audit_accounts($1, NULL)", [holder.holder_id])
        scans = await connection.fetch(
            "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = 'ledger'"
        )
    scanned = {row["relname"] for row in scans if row["seq_scan"]}
    assert scanned.isdisjoint({"account", "lot"})
