"""Routines are replaced whole, and what a table's trigger calls is the table's: it stays. What is declared of one is true."""

from __future__ import annotations

import re
from datetime import date

import asyncpg

from kit.database import Database
from kit.postgres import Server


async def test_replacing_the_routines_of_members_keeps_the_proof_of_a_notice(
    server: Server, database_name: str
) -> None:
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'members.message'::regclass AND NOT tgisinternal"
    before = await owner.fetch(triggers)
    await owner.execute("SELECT kit.drop_routines('members')")
    assert await owner.fetch(triggers) == before != []
    left = await owner.fetch("SELECT proname FROM pg_proc WHERE pronamespace = 'members'::regnamespace")
    assert [row["proname"] for row in left] == ["refuse_to_forget_a_notice"]
    await owner.close()


async def test_what_is_declared_immutable_calls_nothing_that_is_not(database: Database) -> None:
    """PostgreSQL believes the declaration: an index or a plan kept over it would be wrong when a setting changes."""
    ours = "('kit', 'ledger', 'members', 'partners', 'settlement', 'gateway')"
    named = await database.pool.fetch("SELECT proname, bool_or(provolatile = 'i') AS may FROM pg_proc GROUP BY proname")
    never = {row["proname"] for row in named if not row["may"]}
    found = await database.pool.fetch(
        f"SELECT p.oid::regprocedure::text AS name, prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
        f"WHERE nspname IN {ours} AND provolatile = 'i' AND prosrc <> ''"
    )
    wrong = {row["name"]: sorted(set(re.findall(r"(\w+)\s*\(", row["prosrc"])) & never) for row in found}
    assert {name: calls for name, calls in wrong.items() if calls} == {}
    assert "members.periods(date)" in wrong
    assert "to_char" in never  # the test sees what it is to see


async def test_the_periods_of_a_day_are_written_as_the_calendar_writes_them(database: Database) -> None:
    found = await database.pool.fetchval("SELECT members.periods($1)", date(826, 3, 9))
    assert found == ["ever", "0826", "0826-03", "0826-03-09"]
    plan = await database.pool.fetch("EXPLAIN (VERBOSE) SELECT members.periods(enrolled_at::date) FROM members.member")
    assert "periods(" not in "".join(row[0] for row in plan)  # inlined, which it is only where what it says is true
