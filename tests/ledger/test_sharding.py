"""The holder-side tables, hash-partitioned by holder: PostgreSQL takes every key, and the same tests pass on them.

A partitioned table refuses what a sharded one would: a unique key without the holder. The tests of the other modules
that are named in `SAME` run here a second time, on a database whose migrations were rewritten as they ran.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from types import ModuleType

import asyncpg
import pglast
import pytest
from pglast import ast, enums
from pglast.stream import RawStream
from typer.testing import CliRunner

import migrations
from gateway import commands
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from ledger import cutoffs
from migrations import citus
from tests import builders
from tests.ledger import (
    test_accounts,
    test_chain,
    test_cutoffs,
    test_ledger_machine,
    test_operations,
    test_transfer_machine,
    test_transfers,
)
from tests.ledger.test_operations import T0, open_holder
from tests.partners.purchases import test_purchases

SAME = (
    test_accounts, test_operations, test_ledger_machine, test_chain, test_cutoffs, test_purchases, test_transfers,
    test_transfer_machine,
)  # fmt: skip
PARTITIONS = 4
run_script = migrations.run_script


def adopt(module: ModuleType) -> None:
    """Let this module have another one's tests and fixtures, under their names."""
    for name, found in vars(module).items():
        if name.startswith("test_") or type(found).__name__ == "FixtureFunctionDefinition":
            assert globals().setdefault(name, found) is found, f"{name} is in two modules"


for each in SAME:
    adopt(each)


# --- The rewriting ------------------------------------------------------------------------------------------


def leads_with_holder(table: ast.CreateStmt) -> bool:
    """Whether a table's primary key begins with the holder, and nobody has said that it stays whole."""
    if f"{table.relation.schemaname}.{table.relation.relname}" in citus.LOCAL:
        return False
    keys = [
        part.keys[0].sval
        for part in table.tableElts or ()
        if isinstance(part, ast.Constraint) and part.contype == enums.ConstrType.CONSTR_PRIMARY and part.keys
    ]
    return keys == [citus.HOLDER]


def partitioned(statement: str) -> str:
    """The statement as it was, or with its table in partitions if that is the holder's."""
    if "CREATE TABLE" not in statement:
        return statement
    [parsed] = pglast.parse_sql(statement)
    table = parsed.stmt
    if not isinstance(table, ast.CreateStmt) or not leads_with_holder(table):
        return statement
    name, settings = f"{table.relation.schemaname}.{table.relation.relname}", table.options
    # A partitioned table has no storage of its own: its settings are the partitions'.
    stored = f" WITH ({', '.join(RawStream()(setting) for setting in settings)})" if settings else ""
    table.options = None
    table.partspec = ast.PartitionSpec(
        strategy=enums.PartitionStrategy.PARTITION_STRATEGY_HASH,
        partParams=(ast.PartitionElem(name=citus.HOLDER),),
    )
    return ";\n".join(
        [RawStream()(table)]
        + [
            f"CREATE TABLE {name}_{part} PARTITION OF {name}"
            f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part}){stored}"
            for part in range(PARTITIONS)
        ]
    )


def rewritten(script: str) -> str:
    """A migration's script with the holder's tables in partitions."""
    return ";\n".join(partitioned(statement) for statement in pglast.split(script))


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[str]:
    """In place of the one of conftest.py: migrated, and partitioned on the way."""
    name = f"partitioned_{os.getpid()}"
    postgres.create_database(server, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            migrations,
            "run_script",
            lambda connection, script: run_script(
                connection, rewritten(script) if "CREATE TABLE" in script else script
            ),
        )
        migrations.upgrade(server.url(name, server.superuser))
    yield name
    postgres.drop_database(server, name)


@pytest.fixture
async def superuser(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """The schema's owner."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[builders.Coalition]:
    """In place of the one of `test_purchases`, which is in its file's template."""
    made = await builders.found(database, vault)
    for code, terms in test_purchases.PARTNERS.items():
        await made.add_partner(code, **terms)
    yield made
    assert await builders.violations(database.pool) == []
    await made.desk.close()


# --- What is true of it -------------------------------------------------------------------------------------


async def test_what_is_partitioned_here_is_what_citus_would_distribute(superuser: asyncpg.Connection) -> None:
    rows = await superuser.fetch("SELECT partrelid::regclass::text FROM pg_partitioned_table")
    by_holder = citus.holder_side(await citus.tables(superuser))
    assert {row[0] for row in rows} == set(by_holder)
    assert {"ledger.account", "ledger.journal", "ledger.posting", "ledger.lot", "partners.receipt"} <= set(by_holder)


async def test_the_holders_rows_are_spread(database: Database, superuser: asyncpg.Connection) -> None:
    for _ in range(40):
        await (await open_holder(database.pool)).accrue(1)
    for table in ("account", "journal", "posting", "lot"):
        used = f"SELECT count(DISTINCT tableoid) FROM ledger.{table}"
        assert await superuser.fetchval(used) == PARTITIONS


@pytest.mark.parametrize(
    "breach",
    [
        "CREATE TABLE ledger.toy (holder_id bigint, seq bigint, claim uuid UNIQUE, PRIMARY KEY (holder_id, seq))",
        "CREATE UNIQUE INDEX toy ON ledger.journal (idem_key)",
        "ALTER TABLE partners.receipt ADD UNIQUE (claim)",
    ],
)
async def test_a_unique_key_without_the_holder_is_refused(superuser: asyncpg.Connection, breach: str) -> None:
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="must include all partitioning columns"):
        await superuser.execute(partitioned(breach))


# --- The routines that Citus needs in another form, where they can be run -----------------------------------

# What Citus gives of that name runs the command on every node and tells how it went. Here there is one node.
ONE_NODE = """
    CREATE FUNCTION pg_catalog.run_command_on_all_nodes(command text, OUT nodeid int, OUT success bool, OUT result text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
    BEGIN
      nodeid := 1;
      EXECUTE command INTO result;
      success := true;
      RETURN NEXT;
    EXCEPTION WHEN OTHERS THEN
      success := false;
      result := SQLERRM;
      RETURN NEXT;
    END $$
"""


@pytest.fixture
async def on_citus(superuser: asyncpg.Connection) -> asyncpg.Connection:
    """This test's database with the routines that `tessera migrate --citus` puts in place of others."""
    before = {function.signature for function in await citus.functions(superuser)}
    await superuser.execute(ONE_NODE)
    async with superuser.transaction():
        await superuser.execute(citus.ROUTINES.read_text(encoding="utf-8").replace("ALTER ROLE", "-- ALTER ROLE"))
    after = {function.signature for function in await citus.functions(superuser)}
    assert after - before == {"ledger.await_writers(integer)"}, (
        "a routine has another signature than the one it replaces"
    )
    return superuser


async def test_a_cutoff_closes_with_the_routines_for_citus_as_without(
    database: Database, on_citus: asyncpg.Connection
) -> None:
    holders = [await open_holder(database.pool) for _ in range(5)]
    for holder in holders:
        await holder.accrue(100, activates=3, expires=30)
    closed = await cutoffs.close(database, at=T0 + 40 * test_operations.DAY)
    assert (closed.journal_count, closed.posting_count, closed.posting_points) == (15, 15, 1500)
    assert [await holder.balance() for holder in holders] == [(0, 0)] * 5
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_a_node_on_which_the_cutoff_is_still_open_keeps_it_from_being_counted(
    database: Database, on_citus: asyncpg.Connection
) -> None:
    with pytest.raises(asyncpg.PostgresError, match=r"node 1: cut-off 1 is still open on this node") as refused:
        await database.pool.fetchrow("SELECT * FROM ledger.seal_cutoff(1)")
    assert refused.value.sqlstate == "LX003"
    assert await on_citus.fetchval("SELECT state FROM ledger.cutoff") == "OPEN"


async def test_a_writer_on_any_node_is_waited_for(database: Database, on_citus: asyncpg.Connection) -> None:
    holder = await open_holder(database.pool)
    async with database.pool.acquire() as writer, writer.transaction():
        await writer.fetchval("SELECT ledger.enter_cutoff()")
        await on_citus.fetchval("SELECT ledger.drain_cutoff($1)", T0)
        await on_citus.execute("SET lock_timeout = '100ms'")
        with pytest.raises(asyncpg.PostgresError, match="lock timeout"):
            await on_citus.fetchrow("SELECT * FROM ledger.seal_cutoff(1)")
    assert (await on_citus.fetchrow("SELECT * FROM ledger.seal_cutoff(1)"))["state"] == "CUT"
    assert (await holder.accrue(1))["status"] == 0


# --- What `tessera migrate --citus` would say ---------------------------------------------------------------


async def test_every_table_has_one_place(superuser: asyncpg.Connection) -> None:
    found = await citus.tables(superuser)
    names = {table.name for table in found}
    by_holder = set(citus.holder_side(found))
    assert names >= citus.REFERENCE | set(citus.LOCAL)
    assert {name.partition(".")[0] for name in names} >= set(citus.LOCAL_SCHEMAS)
    assert not by_holder & citus.REFERENCE
    assert not (by_holder | citus.REFERENCE) & set(citus.LOCAL)
    assert not {name.partition(".")[0] for name in by_holder | citus.REFERENCE} & set(citus.LOCAL_SCHEMAS)
    placed = [citus_arguments(statement) for statement in citus.place_tables(found)]
    assert sorted(arguments[0] for _, arguments in placed) == sorted(by_holder | citus.REFERENCE)


async def test_a_table_without_a_place_is_named(superuser: asyncpg.Connection) -> None:
    await superuser.execute("CREATE TABLE partners.campaign (campaign_id int PRIMARY KEY)")
    with pytest.raises(citus.PlaceError, match=r"partners\.campaign"):
        citus.place_tables(await citus.tables(superuser))


async def test_the_statements_are_of_the_form_that_citus_documents(superuser: asyncpg.Connection) -> None:
    statements = citus.place_tables(await citus.tables(superuser))
    assert citus_arguments(statements[0])[0] == "create_reference_table", "foreign keys lead there: they come first"
    distributed = [citus_arguments(one) for one in statements if "create_distributed_table" in one]
    assert distributed[0] == ("create_distributed_table", ["ledger.account", "holder_id", "none"])
    assert {tuple(arguments[1:]) for _, arguments in distributed[1:]} == {("holder_id", "ledger.account")}


async def test_a_function_of_one_account_runs_where_the_account_is_and_the_others_are_everywhere(
    superuser: asyncpg.Connection,
) -> None:
    found = await citus.functions(superuser)
    said = [citus_arguments(one) for one in citus.place_functions(found)]
    assert {name for name, _ in said} == {"create_distributed_function"}
    delegated = {one[0].partition("(")[0]: one[1:] for _, one in said if len(one) > 1}
    assert {"ledger.accrue", "ledger.redeem", "ledger.return_accrual", "ledger.refund_redemption"} <= set(delegated)
    assert all(rest == ["p_holder", "ledger.account"] for rest in delegated.values())
    assert not {"ledger.entry_bytes", "ledger.settle_due", "ledger.enter_cutoff"} & set(delegated)
    for signature in (one[0] for _, one in said):
        assert await superuser.fetchval("SELECT $1::text::regprocedure IS NOT NULL", signature)


# Citus' functions as it documents them, as far as to tell what they were called with.
STAND_INS = """
    CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY, how text);
    CREATE TABLE told (signature regprocedure, argument text, colocation text);
    CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE sql
    AS $$ INSERT INTO pg_dist_partition VALUES (table_name, 'reference') $$;
    CREATE FUNCTION create_distributed_table(table_name regclass, distribution_column text, colocate_with text)
    RETURNS void LANGUAGE sql
    AS $$ INSERT INTO pg_dist_partition VALUES (table_name, distribution_column || ' with ' || colocate_with) $$;
    CREATE FUNCTION create_distributed_function(regprocedure, distribution_arg_name text DEFAULT NULL,
                                                colocate_with text DEFAULT 'default')
    RETURNS void LANGUAGE sql AS $$ INSERT INTO told VALUES ($1, $2, $3) $$;
"""


async def test_the_whole_run_may_be_repeated_and_places_everything_once(superuser: asyncpg.Connection) -> None:
    running = superuser.transaction()
    await running.start()
    await superuser.execute("CREATE SCHEMA citus; SET LOCAL search_path = citus, public")
    await superuser.execute(STAND_INS)
    by_holder = citus.holder_side(await citus.tables(superuser))
    assert await citus.spread(superuser) == [f"distributed: {len(by_holder) + len(citus.REFERENCE)} tables"]
    assert await citus.spread(superuser) == []
    rows = await superuser.fetch("SELECT logicalrelid::text, how FROM pg_dist_partition")
    assert {row[0]: row[1] for row in rows} == {
        **dict.fromkeys(by_holder, "holder_id with ledger.account"),
        **dict.fromkeys(citus.REFERENCE, "reference"),
        "ledger.account": "holder_id with none",
    }
    told = "SELECT argument, colocation FROM told WHERE signature::text LIKE 'ledger.accrue(%'"
    assert {tuple(row) for row in await superuser.fetch(told)} == {("p_holder", "ledger.account")}
    copied = "SELECT count(*) FROM told WHERE signature::text LIKE 'ledger.await_writers(%' AND argument IS NULL"
    assert await superuser.fetchval(copied) == 2
    await running.rollback()


# --- What a person meets ------------------------------------------------------------------------------------


@pytest.fixture
def at_the_terminal(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of `tessera`, pointing at this test's database."""
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MIGRATION_URL", server.dsn(database_name, server.superuser))
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_without_citus_a_person_is_told_so_in_one_sentence(at_the_terminal: None) -> None:
    refused = CliRunner().invoke(commands.app, ["migrate", "--citus"])
    assert refused.exit_code == 2
    assert refused.stdout == ""
    said = " ".join(refused.stderr.split())
    assert said.startswith("this PostgreSQL has no Citus: install it, CREATE EXTENSION citus")
    assert said.count(". ") == 0


def test_without_citus_nothing_is_changed_not_even_migrated(server: Server) -> None:
    name = f"empty_{os.getpid()}"
    postgres.create_database(server, name)
    try:
        with pytest.raises(citus.CitusError):
            citus.distribute(server.url(name, server.superuser))
        assert asyncio.run(tables_in(server.dsn(name, server.superuser))) == []
    finally:
        postgres.drop_database(server, name)


async def tables_in(address: str) -> list[citus.Table]:
    connection = await asyncpg.connect(address)
    try:
        return await citus.tables(connection)
    finally:
        await connection.close()


def test_help_says_that_it_was_never_run() -> None:
    said = CliRunner().invoke(commands.app, ["migrate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", said).split())
    assert "Never run by us against Citus" in words
    assert "Recording purchases there is not done yet" in words


def citus_arguments(statement: str) -> tuple[str, list[str]]:
    """The function that a SELECT calls, and its arguments, which must all be words."""
    [parsed] = pglast.parse_sql(statement)
    [target] = parsed.stmt.targetList
    call = target.val
    assert isinstance(call, ast.FuncCall)
    values = [part.arg if isinstance(part, ast.NamedArgExpr) else part for part in call.args]
    assert all(isinstance(value, ast.A_Const) and isinstance(value.val, ast.String) for value in values)
    return call.funcname[-1].sval, [value.val.sval for value in values]
