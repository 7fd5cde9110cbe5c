"""Routines are replaced whole, and what a table's trigger calls is the table's: it stays."""

from __future__ import annotations

import asyncpg

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
