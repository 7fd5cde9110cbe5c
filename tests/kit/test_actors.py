"""Actors and roles: who may do what, and who may say so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import actors, audit
from kit.actors import ActorUnknown, NotPermitted, RoleUnknown
from kit.database import Database

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def add(database: Database, name: str, *roles: str, by: str = "olga") -> int:
    async with database.transaction() as connection:
        return await actors.add(connection, name=name, roles=roles, by=by, at=AT)


async def roles_by_name(database: Database) -> dict[str, list[str]]:
    async with database.reading() as connection:
        return dict(await actors.everybody(connection))


async def trail(database: Database) -> list[tuple[str, str, str]]:
    async with database.reading() as connection:
        found = await connection.execute(text("SELECT actor, action, subject FROM kit.audit_trail ORDER BY entry_id"))
        return [(row.actor, row.action, row.subject) for row in found]


async def test_the_first_actor_needs_nobodys_leave_and_the_second_does(database: Database) -> None:
    olga = await add(database, "olga", actors.OPERATOR_ADMIN)
    with pytest.raises(ActorUnknown):
        await add(database, "eve", actors.OPERATOR_ADMIN, by="eve")
    assert await roles_by_name(database) == {"olga": ["OPERATOR_ADMIN"]}
    assert await trail(database) == [("olga", "ROLES_GRANTED", f"actor:{olga}")]


async def test_the_first_actor_must_be_able_to_add_the_next(database: Database) -> None:
    with pytest.raises(NotPermitted):
        await add(database, "mark", actors.AGREEMENT_MAKER, by="mark")
    assert await roles_by_name(database) == {}


async def test_only_one_of_two_who_come_first_at_once_becomes_the_first(database: Database) -> None:
    came = await asyncio.gather(
        *(add(database, name, actors.OPERATOR_ADMIN, by=name) for name in ("olga", "eve")),
        return_exceptions=True,
    )
    assert sorted(type(outcome) for outcome in came if not isinstance(outcome, int)) == [ActorUnknown]
    assert len(await roles_by_name(database)) == 1


async def test_only_an_administrator_adds_actors(database: Database) -> None:
    await add(database, "olga", actors.OPERATOR_ADMIN)
    await add(database, "mark", actors.AGREEMENT_MAKER)
    with pytest.raises(NotPermitted):
        await add(database, "mark", actors.OPERATOR_ADMIN, by="mark")
    assert await roles_by_name(database) == {"mark": ["AGREEMENT_MAKER"], "olga": ["OPERATOR_ADMIN"]}
    assert len(await trail(database)) == 2


async def test_a_role_nobody_knows_is_refused(database: Database) -> None:
    with pytest.raises(RoleUnknown, match="EMPEROR"):
        await add(database, "olga", actors.OPERATOR_ADMIN, "EMPEROR")
    assert await roles_by_name(database) == {}


async def test_a_role_that_was_taken_back_permits_nothing_until_it_is_granted_again(database: Database) -> None:
    await add(database, "olga", actors.OPERATOR_ADMIN)
    mark = await add(database, "mark", actors.AGREEMENT_MAKER)
    async with database.transaction() as connection:
        await actors.take_back(connection, name="mark", roles=[actors.AGREEMENT_MAKER], by="olga", at=AT)
    async with database.reading() as connection:
        with pytest.raises(NotPermitted):
            await actors.require_role(connection, mark, actors.AGREEMENT_MAKER)
    assert await add(database, "mark", actors.AGREEMENT_MAKER) == mark
    async with database.reading() as connection:
        await actors.require_role(connection, mark, actors.AGREEMENT_MAKER)


async def test_the_last_administrator_stays(database: Database) -> None:
    await add(database, "olga", actors.OPERATOR_ADMIN)
    async with database.transaction() as connection:
        with pytest.raises(NotPermitted):
            await actors.take_back(connection, name="olga", roles=[actors.OPERATOR_ADMIN], by="olga", at=AT)
    assert await roles_by_name(database) == {"olga": ["OPERATOR_ADMIN"]}


async def test_an_actor_is_ensured_once(database: Database) -> None:
    async with database.transaction() as connection:
        first = await actors.ensure_actor(connection, "demo", [actors.ONBOARDING])
        again = await actors.ensure_actor(connection, "demo", [actors.ONBOARDING, actors.FINANCE_MAKER])
    assert first == again
    assert await roles_by_name(database) == {"demo": ["FINANCE_MAKER", "ONBOARDING"]}


async def test_the_audit_trail_names_the_actor_or_the_part_of_the_system(database: Database) -> None:
    async with database.transaction() as connection:
        demo = await actors.ensure_actor(connection, "demo", [])
        await audit.write(connection, actor=demo, action="A", subject="x:1", detail={"n": 1}, at=AT)
        await audit.write(connection, actor="settlement", action="B", subject="x:1", detail={}, at=AT)
    assert await trail(database) == [("demo", "A", "x:1"), ("settlement", "B", "x:1")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE kit.audit_trail SET actor = 'somebody else'",
        "DELETE FROM kit.audit_trail",
        "DELETE FROM kit.actor_role",
        "UPDATE kit.actor_role SET role = 'OPERATOR_ADMIN'",
        "UPDATE kit.actor SET name = 'somebody else'",
    ],
)
async def test_the_application_cannot_rewrite_who_did_what(database: Database, statement: str) -> None:
    await add(database, "olga", actors.OPERATOR_ADMIN)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.transaction() as connection:
            await connection.execute(text(statement))
    assert len(await trail(database)) == 1
