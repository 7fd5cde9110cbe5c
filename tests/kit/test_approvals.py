"""What takes two people: four eyes, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import actors, approvals
from kit.approvals import AlreadyDecided, FourEyesRequired, ProposalUnknown
from kit.database import Database

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ROLE = actors.FINANCE_CHECKER


@dataclass(frozen=True)
class People:
    maker: int
    checker: int
    other_checker: int
    onlooker: int


@pytest.fixture
async def people(database: Database) -> People:
    async with database.transaction() as connection:
        return People(
            maker=await actors.ensure_actor(connection, "maria", [actors.FINANCE_MAKER, ROLE]),
            checker=await actors.ensure_actor(connection, "carl", [ROLE]),
            other_checker=await actors.ensure_actor(connection, "chen", [ROLE]),
            onlooker=await actors.ensure_actor(connection, "otto", []),
        )


async def propose(database: Database, maker: int) -> int:
    async with database.transaction() as connection:
        return await approvals.propose(connection, kind="RUN", subject="run:1", detail={"net": 0}, maker=maker, at=AT)


async def decide(database: Database, approval_id: int, checker: int, *, approved: bool = True) -> None:
    async with database.transaction() as connection:
        await approvals.decide(connection, approval_id, checker=checker, role=ROLE, approved=approved, at=AT)


async def decision(database: Database, approval_id: int) -> tuple[int | None, bool | None]:
    async with database.reading() as connection:
        statement = text("SELECT checker_id, approved FROM kit.approval WHERE approval_id = :approval_id")
        row = (await connection.execute(statement, {"approval_id": approval_id})).one()
        return row.checker_id, row.approved


async def test_another_person_approves(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    await decide(database, approval_id, people.checker)
    assert await decision(database, approval_id) == (people.checker, True)


async def test_another_person_declines(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    await decide(database, approval_id, people.checker, approved=False)
    assert await decision(database, approval_id) == (people.checker, False)


async def test_the_maker_may_not_decide_even_with_the_role(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    with pytest.raises(FourEyesRequired):
        await decide(database, approval_id, people.maker)
    assert await decision(database, approval_id) == (None, None)


async def test_nobody_decides_without_the_role(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    with pytest.raises(actors.NotPermitted):
        await decide(database, approval_id, people.onlooker)
    assert await decision(database, approval_id) == (None, None)


async def test_a_decision_is_final(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    await decide(database, approval_id, people.checker, approved=False)
    with pytest.raises(AlreadyDecided):
        await decide(database, approval_id, people.other_checker)
    assert await decision(database, approval_id) == (people.checker, False)


async def test_its_maker_withdraws_it_and_nobody_else_and_nobody_decides_it_then(
    database: Database, people: People
) -> None:
    approval_id = await propose(database, people.maker)

    async def withdraw(maker: int) -> None:
        async with database.transaction() as connection:
            await approvals.withdraw(connection, approval_id, maker=maker, at=AT)

    with pytest.raises(actors.NotPermitted):
        await withdraw(people.checker)
    await withdraw(people.maker)
    for late in (decide(database, approval_id, people.checker), withdraw(people.maker)):
        with pytest.raises(AlreadyDecided, match="it was withdrawn"):
            await late
    assert await decision(database, approval_id) == (None, None)
    async with database.transaction() as connection:
        found = await approvals.read(connection, approval_id)
        assert (found.state, found.ended_at) == (approvals.WITHDRAWN, AT)
        assert await approvals.waiting(connection, ["RUN"]) == []
        assert await approvals.standing(connection, "RUN", "run:1") is None
    statement = text("UPDATE kit.approval SET checker_id = maker_id + 1, approved = true, decided_at = made_at")
    with pytest.raises(DBAPIError, match="is decided"):
        async with database.transaction() as connection:
            await connection.execute(statement)


async def test_what_nobody_proposed_cannot_be_decided(database: Database, people: People) -> None:
    with pytest.raises(ProposalUnknown):
        await decide(database, 404, people.checker)


async def test_of_two_checkers_at_once_one_decides(database: Database, people: People) -> None:
    for _ in range(10):
        approval_id = await propose(database, people.maker)
        outcomes = await asyncio.gather(
            decide(database, approval_id, people.checker),
            decide(database, approval_id, people.other_checker, approved=False),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyDecided", "NoneType"]
        winner = (people.checker, True) if outcomes[0] is None else (people.other_checker, False)
        assert await decision(database, approval_id) == winner


async def test_who_comes_second_waits_for_the_first(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    async with database.transaction() as connection:
        await approvals.examine(connection, approval_id, checker=people.checker, role=ROLE)
        second = asyncio.create_task(decide(database, approval_id, people.other_checker))
        done, _ = await asyncio.wait({second}, timeout=0.2)
        assert not done
        await approvals.decide(connection, approval_id, checker=people.checker, role=ROLE, approved=True, at=AT)
    with pytest.raises(AlreadyDecided):
        await second
    assert await decision(database, approval_id) == (people.checker, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE kit.approval SET approved = true", "is decided"),
        ("UPDATE kit.approval SET maker_id = checker_id", "permission denied"),
        ("DELETE FROM kit.approval", "permission denied"),
    ],
)
async def test_the_database_refuses_to_change_a_decision(
    database: Database, people: People, change: str, reason: str
) -> None:
    approval_id = await propose(database, people.maker)
    await decide(database, approval_id, people.checker, approved=False)
    with pytest.raises(DBAPIError, match=reason):
        async with database.transaction() as connection:
            await connection.execute(text(change))
    assert await decision(database, approval_id) == (people.checker, False)


async def test_the_database_refuses_a_maker_who_checks(database: Database, people: People) -> None:
    approval_id = await propose(database, people.maker)
    statement = text("UPDATE kit.approval SET checker_id = maker_id, approved = true, decided_at = made_at")
    with pytest.raises(DBAPIError, match="check constraint"):
        async with database.transaction() as connection:
            await connection.execute(statement)
    assert await decision(database, approval_id) == (None, None)
