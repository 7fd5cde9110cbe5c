"""Staff: who may sign in, invitations, step-up, and the commands."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from typer.testing import CliRunner

from gateway.sessions import people, session, staff
from gateway.sessions.commands import app
from gateway.sessions.session import StepUpRequired
from gateway.sessions.staff import StaffAddressInvalid
from kit import actors, clock, postgres
from kit.actors import ActorUnknown, NotPermitted
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from kit.settings import settings
from members.messages import STAFF
from tests import builders
from tests.gateway import desk as desks
from tests.gateway.desk import SENDER, Browser, Desk, hidden

ANNA = "anna@example.org"


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    """A gateway with its pages."""
    coalition = await builders.found(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


def request_of(desk: Desk, browser: Browser) -> Request:
    """A page's request from this browser."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    return Request(
        {
            "type": "http", "method": "GET", "path": "/console", "query_string": b"run=3", "app": desk.application,
            "headers": [(b"cookie", cookies.encode()), (b"host", b"localhost:8000")], "scheme": "http",
            "server": ("localhost", 8000),
        }
    )  # fmt: skip


async def test_an_invitation_signs_in_once_without_any_message(desk: Desk) -> None:
    invitation = await desk.invite("anna", ANNA, [actors.FINANCE_MAKER])
    browser = desk.browser()
    await browser.ask(ANNA, "/staff")
    entered = await browser.enter(f"{invitation[:8]} {invitation[8:]}".upper(), "/staff")
    assert entered.headers["location"] == "/console"
    assert "Signed in as anna." in (await browser.get("/staff/security")).text
    again = desk.browser()
    await again.ask(ANNA, "/staff")
    assert (await again.enter(invitation, "/staff")).status_code == 422


async def test_an_invitation_is_of_no_use_to_another_actor_or_after_three_days(desk: Desk) -> None:
    invitation = await desk.invite("anna", ANNA)
    await desk.invite("boris", "boris@example.org")
    other = desk.browser()
    await other.ask("boris@example.org", "/staff")
    assert (await other.enter(invitation, "/staff")).status_code == 422
    desk.wall.at += staff.INVITATION_LIFE
    late = desk.browser()
    await late.ask(ANNA, "/staff")
    assert (await late.enter(invitation, "/staff")).status_code == 422


async def test_staff_sign_in_by_code_and_pages_learn_who_and_in_which_roles(desk: Desk) -> None:
    await desk.invite("anna", ANNA, [actors.FINANCE_MAKER])
    browser = await desk.signed_in(ANNA, "/staff")
    found = await people.signed_in_staff(request_of(desk, browser))
    assert found is not None
    assert (found.name, found.roles) == ("anna", frozenset({actors.FINANCE_MAKER}))
    assert found.csrf == hidden((await browser.get("/staff/security")).text, "/staff/sign-out")["csrf"]
    assert await people.signed_in(request_of(desk, browser)) == found
    assert await people.signed_in_member(request_of(desk, browser)) is None
    assert await people.signed_in(request_of(desk, desk.browser())) is None
    async with desk.database.transaction() as connection:
        await actors.take_back(connection, name="anna", roles=[actors.FINANCE_MAKER], by="boss", at=desk.wall())
    later = await people.signed_in_staff(request_of(desk, browser))
    assert later is not None
    assert later.roles == frozenset()


async def test_who_is_asked_to_sign_in_comes_back_to_the_page(desk: Desk) -> None:
    request = request_of(desk, desk.browser())
    assert people.ask_to_sign_in(request, STAFF).headers["location"] == "/staff/sign-in?next=%2Fconsole%3Frun%3D3"
    assert people.ask_to_confirm(request, STAFF).headers["location"] == "/staff/confirm?next=%2Fconsole%3Frun%3D3"


async def test_a_money_action_takes_a_proof_of_the_last_five_minutes(desk: Desk) -> None:
    await desk.invite("anna", ANNA)
    browser = await desk.signed_in(ANNA, "/staff")
    found = await people.signed_in_staff(request_of(desk, browser))
    assert found is not None
    found.session.require_fresh(desk.wall())
    desk.wall.at += session.STEP_UP
    with pytest.raises(StepUpRequired):
        found.session.require_fresh(desk.wall())
    await desk.at_wall()
    await browser.fill("/staff/confirm?next=/console", "/staff/confirm")
    entered = await browser.fill("/staff/sign-in/code?next=/console", code=await desk.code_for(ANNA))
    assert entered.headers["location"] == "/console"
    again = await people.signed_in_staff(request_of(desk, browser))
    assert again is not None
    again.session.require_fresh(desk.wall())


async def test_a_staff_session_ends_after_half_an_hour_without_use_and_after_twelve_hours(desk: Desk) -> None:
    await desk.invite("anna", ANNA)
    life = session.LIVES[STAFF]
    browser = await desk.signed_in(ANNA, "/staff")
    began = desk.wall()
    while desk.wall() + life.idle / 2 < began + life.absolute:
        desk.wall.at += life.idle / 2
        assert (await browser.get("/staff/security")).status_code == 200
    desk.wall.at = began + life.absolute
    assert (await browser.get("/staff/security")).status_code == 303
    await desk.at_wall()
    unused = await desk.signed_in(ANNA, "/staff")
    desk.wall.at += life.idle
    assert (await unused.get("/staff/security")).status_code == 303


async def test_who_is_removed_is_signed_out_at_once_and_gets_no_code(desk: Desk) -> None:
    await desk.invite("anna", ANNA)
    browser = await desk.signed_in(ANNA, "/staff")
    async with desk.database.transaction() as connection:
        await staff.remove(connection, name="anna", by="boss", now=desk.wall())
    assert (await browser.get("/staff/security")).status_code == 303
    written = await desk.letters()
    desk.wall.move(seconds=1)
    assert (await desk.browser().ask(ANNA, "/staff")).status_code == 303
    assert await desk.letters() == written
    async with desk.database.reading() as connection:
        assert await staff.everybody(connection, now=desk.wall()) == []


async def test_a_member_s_address_is_none_of_the_staff_s(desk: Desk) -> None:
    await desk.coalition.add_member(email="ada@example.org")
    await desk.browser().ask("ada@example.org", "/staff")
    assert await desk.letters() == []


@pytest.mark.parametrize(
    ("name", "email", "language", "by", "no"),
    [
        ("anna", ANNA, "en", "anna", NotPermitted),
        ("anna", ANNA, "en", "stranger", ActorUnknown),
        ("stranger", ANNA, "en", "boss", ActorUnknown),
        ("anna", "not an address", "en", "boss", StaffAddressInvalid),
        ("anna", ANNA, "de", "boss", StaffAddressInvalid),
        ("anna", "BORIS@example.org", "en", "boss", StaffAddressInvalid),
    ],
)
async def test_an_invitation_that_is_refused_writes_nothing(
    desk: Desk, name: str, email: str, language: str, by: str, no: type[Exception]
) -> None:
    await desk.invite("boris", "boris@example.org")
    async with desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "anna", [])
    before = await counts(desk)
    with pytest.raises(no):
        async with desk.database.transaction() as connection:
            await staff.invite(
                connection, desk.vault, SENDER, name=name, email=email, language=language, by=by, now=desk.wall()
            )
    assert await counts(desk) == before


async def counts(desk: Desk) -> list[int]:
    """How many rows an invitation could have written."""
    tables = ("gateway.staff", "members.message", "kit.audit_trail")
    return [await desk.database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def test_inviting_again_moves_the_address_and_takes_the_first_invitation_back(desk: Desk) -> None:
    first = await desk.invite("anna", ANNA)
    second = await desk.invite("anna", "anna@new.example.org")
    browser = desk.browser()
    await browser.ask("anna@new.example.org", "/staff")
    assert (await browser.enter(first, "/staff")).status_code == 422
    assert (await browser.enter(second, "/staff")).status_code == 303


def test_the_commands_invite_list_and_remove(
    server: postgres.Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    monkeypatch.setenv("TESSERA_ACTOR", "boss")
    settings.cache_clear()
    try:
        run = CliRunner()
        from kit.commands import app as actor_app

        assert run.invoke(actor_app, ["add", "boss", "--role", "OPERATOR_ADMIN"]).exit_code == 0
        assert "Nobody may sign in yet" in run.invoke(app, ["list"]).output
        invited = run.invoke(app, ["invite", "boss", "--email", "boss@example.org"])
        assert invited.exit_code == 0, invited.output
        assert "/staff/sign-in" in invited.output
        listed = run.invoke(app, ["list"]).output
        assert "boss" in listed
        assert "boss@example.org" not in listed
        assert run.invoke(app, ["remove", "boss"]).exit_code == 0
        assert "Nobody may sign in yet" in run.invoke(app, ["list"]).output
        assert run.invoke(app, ["invite", "stranger", "--email", "x@example.org"]).exit_code == 2
    finally:
        settings.cache_clear()
    assert clock.wall().year >= 2026
