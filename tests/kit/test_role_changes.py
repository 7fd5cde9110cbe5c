"""L-21: roles change with two people, wherever there are two."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from kit import actors, approvals, role_changes
from kit.actors import NotPermitted
from kit.approvals import AlreadyDecided, FourEyesRequired, ProposalUnknown, RoleSelfGranted
from kit.database import Database

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ADMIN, MAKER, CHECKER = actors.OPERATOR_ADMIN, actors.FINANCE_MAKER, actors.FINANCE_CHECKER


async def grant(database: Database, name: str, *roles: str, by: str) -> int | None:
    async with database.transaction() as connection:
        return await role_changes.grant(connection, name=name, roles=roles, by=by, at=AT)


async def take_back(database: Database, name: str, *roles: str, by: str) -> int | None:
    async with database.transaction() as connection:
        return await role_changes.take_back(connection, name=name, roles=roles, by=by, at=AT)


async def decide(database: Database, number: int | None, by: str, *, approved: bool = True) -> None:
    assert number is not None
    async with database.transaction() as connection:
        await role_changes.decide(connection, number, by=by, approved=approved, at=AT)


async def held(database: Database) -> dict[str, list[str]]:
    async with database.reading() as connection:
        return dict(await actors.everybody(connection))


@pytest.fixture
async def two(database: Database) -> Database:
    """Olga and Petr may both grant roles."""
    assert await grant(database, "olga", ADMIN, by="olga") is None
    assert await grant(database, "petr", ADMIN, by="olga") is None
    return database


async def test_l21_a_role_is_given_by_two_people_and_by_nobody_alone(two: Database) -> None:
    number = await grant(two, "mark", MAKER, by="olga")
    assert "mark" not in await held(two)
    with pytest.raises(FourEyesRequired):
        await decide(two, number, "olga")
    assert "mark" not in await held(two)
    await decide(two, number, "petr")
    assert (await held(two))["mark"] == [MAKER]
    with pytest.raises(AlreadyDecided):
        await decide(two, number, "petr")


async def test_l21_nobody_gives_himself_a_role_and_who_lets_himself_be_given_one_waits_a_day(two: Database) -> None:
    number = await grant(two, "olga", CHECKER, by="olga")
    assert (await held(two))["olga"] == [ADMIN]
    await decide(two, number, "petr")
    assert (await held(two))["olga"] == [CHECKER, ADMIN]
    # Petr approves what Olga proposed for him: two people, and still he decides nothing with it today.
    await decide(two, await grant(two, "petr", CHECKER, by="olga"), "petr")
    async with two.transaction() as connection:
        olga, petr = await actors.by_name(connection, "olga"), await actors.by_name(connection, "petr")
        one = await approvals.propose(
            connection, kind="X", subject="x", detail={}, maker=await maker(connection), at=AT
        )
        with pytest.raises(RoleSelfGranted):
            await approvals.decide(connection, one, checker=petr, role=CHECKER, approved=True, at=AT)
        await approvals.decide(connection, one, checker=olga, role=CHECKER, approved=True, at=AT)


async def maker(connection: object) -> int:
    return await actors.ensure_actor(connection, "somebody", ())  # type: ignore[arg-type]


async def test_who_may_not_grant_can_neither_propose_nor_decide(two: Database) -> None:
    await decide(two, await grant(two, "mark", MAKER, by="olga"), "petr")
    before = await held(two)
    with pytest.raises(NotPermitted):
        await grant(two, "eve", ADMIN, by="mark")
    number = await grant(two, "eve", ADMIN, by="olga")
    with pytest.raises(NotPermitted):
        await decide(two, number, "mark")
    await decide(two, number, "petr", approved=False)
    assert await held(two) == before


async def test_a_role_is_taken_back_at_once_but_another_administrators_by_two(two: Database) -> None:
    await decide(two, await grant(two, "mark", MAKER, by="olga"), "petr")
    assert await take_back(two, "mark", MAKER, by="petr") is None
    assert (await held(two))["mark"] == []
    number = await take_back(two, "petr", ADMIN, by="olga")
    assert (await held(two))["petr"] == [ADMIN]
    await decide(two, number, "petr")
    assert (await held(two))["petr"] == []
    # Alone again, Olga acts alone.
    assert await grant(two, "nina", ADMIN, by="olga") is None


async def test_an_administrator_may_give_the_own_role_up_at_once(two: Database) -> None:
    assert await take_back(two, "petr", ADMIN, by="petr") is None
    assert (await held(two))["petr"] == []


async def test_a_proposal_of_another_kind_is_none_of_these(two: Database) -> None:
    async with two.transaction() as connection:
        other = await approvals.propose(
            connection, kind="ADJUSTMENT", subject="x", detail={}, maker=await maker(connection), at=AT
        )
    with pytest.raises(ProposalUnknown):
        await decide(two, other, "petr")


async def test_two_who_take_each_others_role_at_once_leave_somebody(two: Database) -> None:
    await asyncio.gather(
        take_back(two, "petr", ADMIN, by="petr"), take_back(two, "olga", ADMIN, by="olga"), return_exceptions=True
    )
    assert [name for name, roles in (await held(two)).items() if ADMIN in roles]


async def test_of_two_decisions_at_once_one_holds(two: Database) -> None:
    await decide(two, await grant(two, "nina", ADMIN, by="olga"), "petr")
    number = await grant(two, "mark", MAKER, by="olga")
    done = await asyncio.gather(
        decide(two, number, "petr"), decide(two, number, "nina", approved=False), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["AlreadyDecided", "NoneType"]


async def test_what_waits_is_listed_oldest_first(two: Database) -> None:
    first, second = await grant(two, "a", MAKER, by="olga"), await take_back(two, "petr", ADMIN, by="olga")
    async with two.reading() as connection:
        assert [each.approval_id for each in await role_changes.waiting(connection)] == [first, second]
