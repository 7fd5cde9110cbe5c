"""Founding a programme, and partners, outlets and terminals that take part in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from kit import actors
from kit.actors import NotPermitted
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from partners.agreements import onboarding, programme
from partners.agreements.onboarding import (
    OnboardingInvalid,
    OutletExists,
    OutletPlace,
    OutletUnknown,
    PartnerExists,
    PartnerUnknown,
    StatusUnchanged,
    TerminalExists,
    TerminalUnknown,
)
from partners.agreements.programme import ProgrammeExists, ProgrammeInvalid, ProgrammeUnknown
from tests.builders import NOON, PROGRAMME

Do = Callable[..., Awaitable[Any]]


@pytest.fixture
async def onboarder(database: Database) -> int:
    async with database.transaction() as connection:
        return await actors.ensure_actor(connection, "onno", [actors.ONBOARDING])


async def do(database: Database, deed: Do, *arguments: object, **facts: object) -> Any:
    async with database.transaction() as connection:
        return await deed(connection, *arguments, at=NOON, **facts)


async def traces(database: Database) -> dict[str, int]:
    """What any change leaves behind, to see that a refusal left nothing."""
    statement = text(
        "SELECT (SELECT count(*) FROM partners.partner) AS partners, "
        "(SELECT count(*) FROM partners.outlet) AS outlets, "
        "(SELECT count(*) FROM partners.terminal) AS terminals, (SELECT count(*) FROM kit.audit_trail) AS entries, "
        "(SELECT count(*) FROM partners.partner WHERE status = 'SUSPENDED') AS suspended, "
        "(SELECT revision FROM partners.revision) AS revision"
    )
    async with database.reading() as connection:
        return dict((await connection.execute(statement)).mappings().one())


async def refused(database: Database, reason: type[Rejection], deed: Do, *arguments: object, **facts: object) -> None:
    """The deed is refused for this reason and, even if the caller commits, leaves nothing."""
    before = await traces(database)
    async with database.transaction() as connection:
        with pytest.raises(reason):
            await deed(connection, *arguments, at=NOON, **facts)
    assert await traces(database) == before


async def add_bakery(database: Database, vault: Vault, onboarder: int) -> int:
    added: int = await do(database, onboarding.add_partner, vault, code="bakery", name="Bakery", actor=onboarder)
    return added


# --- The programme ------------------------------------------------------------------------------------------


async def test_a_programme_is_founded_once_and_read_as_it_was_founded(database: Database) -> None:
    async with database.transaction() as connection:
        with pytest.raises(ProgrammeUnknown):
            await programme.read(connection)
        await programme.found(connection, PROGRAMME)
        await programme.found(connection, PROGRAMME)
        assert await programme.read(connection) == PROGRAMME


async def test_another_programme_has_no_place_in_the_same_database(database: Database) -> None:
    async with database.transaction() as connection:
        await programme.found(connection, PROGRAMME)
    for change in ({"name": "Other"}, {"point_value_micro": {"EUR": 1}}):
        async with database.transaction() as connection:
            with pytest.raises(ProgrammeExists):
                await programme.found(connection, replace(PROGRAMME, **change))
    async with database.reading() as connection:
        assert await programme.read(connection) == PROGRAMME


async def test_rules_that_make_no_programme_are_refused_with_the_reason(database: Database) -> None:
    for change, path in (
        ({"name": ""}, ("name",)),
        ({"languages": ()}, ("languages",)),
        ({"time_zone": "Mars/Olympus"}, ("time_zone",)),
        ({"time_zone": "../etc/passwd"}, ("time_zone",)),
        ({"bill_ceiling_bp": 10_001}, ("bill_ceiling_bp",)),
        ({"refund_grace_days": 0}, ("refund_grace_days",)),
        ({"notice_days": -1}, ("notice_days",)),
        ({"notice_days": 366}, ("notice_days",)),
        ({"base_currency": "JPY"}, ("base_currency",)),
        ({"point_value_micro": {"EUR": 0}}, ("point_value_micro", "EUR")),
        ({"point_value_micro": {"EUR": 1, "eur": 1}}, ("point_value_micro", "eur")),
    ):
        async with database.transaction() as connection:
            with pytest.raises(ProgrammeInvalid) as no:
                await programme.found(connection, replace(PROGRAMME, **change))  # type: ignore[arg-type]
            assert [problem.path for problem in no.value.problems] == [path]
            with pytest.raises(ProgrammeUnknown):
                await programme.read(connection)


# --- Partners, outlets, terminals ---------------------------------------------------------------------------


async def test_every_addition_is_in_the_trail_and_moves_the_revision_on(
    database: Database, vault: Vault, onboarder: int
) -> None:
    start = (await traces(database))["revision"]
    partner_id = await add_bakery(database, vault, onboarder)
    outlet = {"partner_id": partner_id, "code": "1", "name": "Main street", "actor": onboarder}
    outlet_id = await do(database, onboarding.add_outlet, **outlet)
    terminal_id = await do(database, onboarding.add_terminal, outlet_id=outlet_id, code="T", actor=onboarder)
    await do(database, onboarding.suspend_terminal, terminal_id=terminal_id, actor=onboarder)
    await do(database, onboarding.suspend_partner, partner_id=partner_id, actor=onboarder)
    assert await traces(database) == {
        "partners": 1, "outlets": 1, "terminals": 1, "entries": 5, "suspended": 1, "revision": start + 5,
    }  # fmt: skip
    async with database.reading() as connection:
        found = await connection.execute(text("SELECT actor, action FROM kit.audit_trail ORDER BY entry_id"))
        assert [tuple(row) for row in found] == [
            ("onno", "PARTNER_ADDED"),
            ("onno", "OUTLETS_ADDED"),
            ("onno", "TERMINALS_ADDED"),
            ("onno", "TERMINAL_SUSPENDED"),
            ("onno", "PARTNER_SUSPENDED"),
        ]


async def test_a_code_is_taken_once_even_when_two_come_at_once(
    database: Database, vault: Vault, onboarder: int
) -> None:
    outcomes = await asyncio.gather(*(add_bakery(database, vault, onboarder) for _ in range(2)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["PartnerExists", "int"]
    facts = {"code": "bakery", "name": "Other", "actor": onboarder}
    await refused(database, PartnerExists, onboarding.add_partner, vault, **facts)
    assert (await traces(database))["entries"] == 1


async def test_a_partners_code_has_a_form(database: Database, vault: Vault, onboarder: int) -> None:
    for code in ("", "Bakery", "-bakery", "ba kery", "b" * 33, "пекарня", "bakery\n"):
        facts = {"code": code, "name": "Bakery", "actor": onboarder}
        await refused(database, OnboardingInvalid, onboarding.add_partner, vault, **facts)


async def test_a_name_can_be_read(database: Database, vault: Vault, onboarder: int) -> None:
    for name in ("", "  ", "n" * 201, "a\x00b", "a\x1b[31mb"):
        facts = {"code": "bakery", "name": name, "actor": onboarder}
        await refused(database, OnboardingInvalid, onboarding.add_partner, vault, **facts)


async def test_nobody_changes_partners_without_the_role(database: Database, vault: Vault, onboarder: int) -> None:
    partner_id = await add_bakery(database, vault, onboarder)
    async with database.transaction() as connection:
        eve = await actors.ensure_actor(connection, "eve", [actors.AGREEMENT_MAKER])
    await refused(database, NotPermitted, onboarding.add_partner, vault, code="x", name="X", actor=eve)
    outlets = {"partner_id": partner_id, "outlets": [("1", "Main street")]}
    await refused(database, NotPermitted, onboarding.add_outlets, **outlets, actor=eve)
    await refused(database, NotPermitted, onboarding.add_terminals, partner_id=partner_id, terminals=[], actor=eve)
    await refused(database, NotPermitted, onboarding.suspend_partner, partner_id=partner_id, actor=eve)
    await refused(database, NotPermitted, onboarding.suspend_terminal, terminal_id=1, actor=eve)


async def test_outlets_are_added_all_or_none(database: Database, vault: Vault, onboarder: int) -> None:
    partner_id = await add_bakery(database, vault, onboarder)
    facts = {"partner_id": partner_id, "actor": onboarder}
    added = await do(database, onboarding.add_outlets, outlets=[("1", "One"), ("2", "Two")], **facts)
    assert sorted(added) == ["1", "2"]
    await refused(database, OutletExists, onboarding.add_outlets, outlets=[("3", "Three"), ("2", "Again")], **facts)
    await refused(database, OutletExists, onboarding.add_outlets, outlets=[("4", "Four"), ("4", "Four")], **facts)
    await refused(database, OnboardingInvalid, onboarding.add_outlets, outlets=[("5", "Five"), (" 6", "Six")], **facts)
    nobody = {"partner_id": 404, "outlets": [("1", "One")], "actor": onboarder}
    await refused(database, PartnerUnknown, onboarding.add_outlets, **nobody)


async def test_terminals_stand_at_outlets_of_their_partner(database: Database, vault: Vault, onboarder: int) -> None:
    bakery = await add_bakery(database, vault, onboarder)
    facts = {"code": "grocer", "name": "Grocer", "actor": onboarder}
    grocer = await do(database, onboarding.add_partner, vault, **facts)
    place = {"code": "1", "name": "One", "actor": onboarder}
    at_bakery = await do(database, onboarding.add_outlet, partner_id=bakery, **place)
    at_grocer = await do(database, onboarding.add_outlet, partner_id=grocer, **place)
    ours = {"partner_id": bakery, "actor": onboarder}
    added = await do(database, onboarding.add_terminals, terminals=[(at_bakery, "A"), (at_bakery, "B")], **ours)
    assert sorted(added) == [(at_bakery, "A"), (at_bakery, "B")]
    await refused(database, OutletUnknown, onboarding.add_terminals, terminals=[(at_grocer, "A")], **ours)
    again = [(at_bakery, "C"), (at_bakery, "A")]
    await refused(database, TerminalExists, onboarding.add_terminals, terminals=again, **ours)
    await refused(database, TerminalExists, onboarding.add_terminals, terminals=[(at_bakery, "D")] * 2, **ours)
    await refused(database, OutletUnknown, onboarding.add_terminal, outlet_id=404, code="A", actor=onboarder)


async def test_places_are_said_of_all_outlets_or_of_none(database: Database, vault: Vault, onboarder: int) -> None:
    facts = {"partner_id": await add_bakery(database, vault, onboarder), "actor": onboarder}
    await do(database, onboarding.add_outlets, outlets=[("1", "One"), ("2", "Two"), ("3", "Three")], **facts)
    here, there = OutletPlace("Town", "Street 1", 1, -2), OutletPlace("Village")
    await refused(database, OutletUnknown, onboarding.set_outlet_places, places={"1": here, "9": there}, **facts)
    wrong = {"1": here, "2": OutletPlace(latitude_micro=1)}
    await refused(database, OnboardingInvalid, onboarding.set_outlet_places, places=wrong, **facts)
    before = await traces(database)
    await do(database, onboarding.set_outlet_places, places={}, **facts)
    assert await traces(database) == before
    await do(database, onboarding.set_outlet_places, places={"1": here, "2": there}, **facts)
    statement = text("SELECT code, town, street, latitude_micro, longitude_micro FROM partners.outlet ORDER BY code")
    async with database.reading() as connection:
        told = [tuple(row) for row in await connection.execute(statement)]
    assert told == [
        ("1", "Town", "Street 1", 1, -2), ("2", "Village", None, None, None), ("3", None, None, None, None),
    ]  # fmt: skip


async def test_a_suspension_is_taken_back_and_neither_is_done_twice(
    database: Database, vault: Vault, onboarder: int
) -> None:
    partner_id = await add_bakery(database, vault, onboarder)
    facts = {"partner_id": partner_id, "actor": onboarder}
    await refused(database, StatusUnchanged, onboarding.resume_partner, **facts)
    await do(database, onboarding.suspend_partner, **facts)
    assert (await traces(database))["suspended"] == 1
    await refused(database, StatusUnchanged, onboarding.suspend_partner, **facts)
    await do(database, onboarding.resume_partner, **facts)
    assert (await traces(database))["suspended"] == 0
    await refused(database, PartnerUnknown, onboarding.suspend_partner, partner_id=404, actor=onboarder)


async def test_one_till_is_suspended_and_resumed(database: Database, vault: Vault, onboarder: int) -> None:
    partner_id = await add_bakery(database, vault, onboarder)
    place = {"partner_id": partner_id, "code": "1", "name": "One", "actor": onboarder}
    outlet_id = await do(database, onboarding.add_outlet, **place)
    terminal_id = await do(database, onboarding.add_terminal, outlet_id=outlet_id, code="T", actor=onboarder)
    facts = {"terminal_id": terminal_id, "actor": onboarder}
    await do(database, onboarding.suspend_terminal, **facts)
    await refused(database, StatusUnchanged, onboarding.suspend_terminal, **facts)
    await do(database, onboarding.resume_terminal, **facts)
    await refused(database, StatusUnchanged, onboarding.resume_terminal, **facts)
    await refused(database, TerminalUnknown, onboarding.resume_terminal, terminal_id=404, actor=onboarder)
