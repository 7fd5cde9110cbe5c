"""Colleagues: a partner's people who sign in to the portal, what they may do, and who lets them."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner

from gateway import client_commands
from gateway.sessions import colleagues, session
from gateway.sessions.colleagues import ColleagueInvalid, ColleagueUnknown
from gateway.sessions.invitations import INVITATION_LIFE
from kit import actors, postgres
from kit.actors import NotPermitted
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from kit.settings import settings
from members.messages import COLLEAGUE
from partners.agreements import onboarding
from partners.directory import Partner
from tests.builders import NOON
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import SENDER, Desk

ANN, GUS = "ann@bakery.example", "gus@grocer.example"
WHO = "{ viewer { __typename ... on PartnerClient { partner { code } scopes person { name roles } } } }"
INVITE = """mutation($i: InviteColleagueInput!) { inviteColleague(input: $i) {
  ... on InviteColleagueSuccess { invitation replayed colleagues { name roles } } ... on Rejection { code fields { path } } } }"""
REMOVE = """mutation($i: RemoveColleagueInput!) { removeColleague(input: $i) {
  ... on RemoveColleagueSuccess { replayed colleagues { name } } ... on Rejection { code } } }"""
BEN = {"name": "Ben", "email": "ben@bakery.example", "roles": ["DEVELOPER"]}


template = a_coalition(bakery={}, grocer={})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def partner(desk: Desk, code: str = "bakery") -> Partner:
    found = (await desk.coalition.desk.directory.get()).partner_by_code(code)
    assert found is not None
    return found


async def invite(
    desk: Desk, name: str = "Ann", email: str = ANN, *roles: str, code: str = "bakery", by: int | None = None
) -> str:
    """Somebody is invited, by staff unless said otherwise; returns the invitation."""
    async with desk.database.transaction() as connection:
        return await colleagues.invite(
            connection, desk.vault, SENDER, await partner(desk, code), name=name, roles=roles or ("MANAGER",),
            email=email, language="en", by=by or desk.coalition.onboarder, now=desk.wall(),
        )  # fmt: skip


async def ann(desk: Desk) -> Script:
    """The portal's script with Ann of the bakery signed in, a manager."""
    await invite(desk)
    return await script_of(await desk.signed_in(ANN, "/portal"), "/portal")


def keyed(**fields: object) -> dict[str, object]:
    return {"idempotencyKey": stand.key(), **fields}


async def rows(desk: Desk) -> int:
    return int(await desk.database.pool.fetchval("SELECT count(*) FROM gateway.colleague"))


async def test_an_invitation_signs_in_once_and_the_person_is_the_partners_client(desk: Desk) -> None:
    invitation = await invite(desk)
    assert any(to == ANN and "/portal/sign-in" in body for to, body in await desk.letters())
    browser = desk.browser()
    await browser.ask(ANN, "/portal")
    assert (await browser.enter(invitation, "/portal")).headers["location"] == "/portal"
    again = desk.browser()
    await again.ask(ANN, "/portal")
    assert (await again.enter(invitation, "/portal")).status_code == 422
    assert await (await script_of(browser, "/portal")).ask(WHO) == {
        "__typename": "PartnerClient", "partner": {"code": "bakery"},
        "scopes": ["colleagues:manage", "history:read", "outlets:manage", "rules:read", "settlement:read"],
        "person": {"name": "Ann", "roles": ["MANAGER"]},
    }  # fmt: skip


async def test_an_invitation_ends_after_three_days(desk: Desk) -> None:
    invitation = await invite(desk)
    desk.wall.at += INVITATION_LIFE
    await desk.at_wall()
    browser = desk.browser()
    await browser.ask(ANN, "/portal")
    assert (await browser.enter(invitation, "/portal")).status_code == 422


async def test_an_address_of_staff_or_of_a_member_signs_nobody_in_at_the_portal(desk: Desk) -> None:
    await desk.invite("anna", "anna@example.org", [actors.OPERATOR_ADMIN])
    await desk.coalition.add_member(email="ada@example.org")
    for address in ("anna@example.org", "ada@example.org"):
        desk.wall.move(seconds=1)
        await desk.at_wall()
        browser = desk.browser()
        assert (await browser.ask(address, "/portal")).status_code == 303
        assert (await browser.enter("12345678", "/portal")).status_code == 422
    assert await desk.database.pool.fetchval("SELECT count(*) FROM gateway.sign_in WHERE person_id IS NOT NULL") == 0


async def test_a_manager_invites_and_removes_and_the_removed_are_out_at_once(desk: Desk) -> None:
    manager = await ann(desk)
    call = keyed(**BEN)
    done = await manager.ask(INVITE, i=call)
    assert done["colleagues"] == [{"name": "Ann", "roles": ["MANAGER"]}, {"name": "Ben", "roles": ["DEVELOPER"]}]
    assert len(done["invitation"]) == 16
    again = await manager.ask(INVITE, i=call)
    assert (again["replayed"], again["invitation"]) == (True, None)
    ben = await script_of(await desk.signed_in(str(BEN["email"]), "/portal"), "/portal")
    assert (await ben.ask(WHO))["person"] == {"name": "Ben", "roles": ["DEVELOPER"]}
    assert (await ben.error("{ colleagues { name } }"))["code"] == "FORBIDDEN"
    assert await manager.ask(REMOVE, i=keyed(name="Ben")) == {"replayed": False, "colleagues": [{"name": "Ann"}]}
    assert (await ben.post(WHO)).status_code == 401
    assert (await manager.ask(REMOVE, i=keyed(name="Ben")))["code"] == "COLLEAGUE_UNKNOWN"


async def test_inviting_again_changes_roles_and_ends_the_sessions(desk: Desk) -> None:
    manager = await ann(desk)
    await manager.ask(INVITE, i=keyed(**BEN))
    ben = await script_of(await desk.signed_in(str(BEN["email"]), "/portal"), "/portal")
    await manager.ask(INVITE, i=keyed(**{**BEN, "roles": ["FINANCE"]}))
    assert (await ben.post(WHO)).status_code == 401
    ben = await script_of(await desk.signed_in(str(BEN["email"]), "/portal"), "/portal")
    assert (await ben.ask(WHO))["scopes"] == [
        "disputes:write", "history:read", "settlement:read", "statements:accept",
    ]  # fmt: skip


async def test_letting_somebody_in_or_out_takes_a_fresh_proof(desk: Desk) -> None:
    manager = await ann(desk)
    desk.wall.at += session.STEP_UP
    before = await rows(desk)
    assert (await manager.ask(INVITE, i=keyed(**BEN)))["code"] == "STEP_UP_REQUIRED"
    assert (await manager.ask(REMOVE, i=keyed(name="Ann")))["code"] == "STEP_UP_REQUIRED"
    assert await rows(desk) == before


@pytest.mark.parametrize(
    ("wrong", "path"),
    [({"name": "a/b"}, "name"), ({"name": " "}, "name"), ({"roles": []}, "roles"), ({"roles": ["OPERATOR_ADMIN"]}, "roles"),
     ({"email": "nowhere"}, "email"), ({"email": ANN}, "email"), ({"language": "de"}, "language")],
)  # fmt: skip
async def test_who_cannot_be_a_colleague_is_none(desk: Desk, wrong: dict[str, object], path: str) -> None:
    manager = await ann(desk)
    before = await rows(desk)
    no = await manager.ask(INVITE, i=keyed(**{**BEN, **wrong}))
    assert (no["code"], [problem["path"] for problem in no["fields"]]) == ("COLLEAGUE_INVALID", [[path]])
    assert await rows(desk) == before


async def test_the_partners_own_people_never_leave_it_without_a_manager_staff_may(desk: Desk) -> None:
    manager = await ann(desk)
    assert (await manager.ask(REMOVE, i=keyed(name="Ann")))["code"] == "LAST_MANAGER"
    demoted = keyed(name="Ann", email=ANN, roles=["FINANCE"])
    assert (await manager.ask(INVITE, i=demoted))["code"] == "LAST_MANAGER"
    async with desk.database.transaction() as connection:
        await colleagues.remove(
            connection, await partner(desk), name="Ann", by=desk.coalition.onboarder, now=desk.wall()
        )
    assert await rows(desk) == 0
    assert (await manager.post(WHO)).status_code == 401


async def test_who_may_not_invite_is_refused(desk: Desk) -> None:
    await invite(desk)
    await invite(desk, "Gus", GUS, code="grocer")
    async with desk.database.transaction() as connection:
        gus = await actors.by_name(connection, "grocer/Gus")
        care = await actors.ensure_actor(connection, "care", [actors.MEMBER_CARE_MAKER])
        # Roles of the programme give a colleague nothing at another partner.
        await actors.ensure_actor(connection, "grocer/Gus", [actors.ONBOARDING])
    before = await rows(desk)
    for by in (gus, care):
        with pytest.raises(NotPermitted):
            await invite(desk, "Eve", "eve@example.org", by=by)
    for name, email, roles in (
        ("", "x@example.org", ("MANAGER",)),
        ("Eve", "", ("MANAGER",)),
        ("Eve", "x@y.example", ("KING",)),
    ):
        with pytest.raises(ColleagueInvalid):
            await invite(desk, name, email, *roles)
    async with desk.database.transaction() as connection:
        with pytest.raises(ColleagueUnknown):
            await colleagues.remove(connection, await partner(desk), name="Gus", by=desk.coalition.onboarder, now=NOON)
    assert await rows(desk) == before


async def test_people_of_one_partner_see_nothing_of_another(desk: Desk) -> None:
    manager = await ann(desk)
    await invite(desk, "Gus", GUS, code="grocer")
    gus = await script_of(await desk.signed_in(GUS, "/portal"), "/portal")
    assert (await gus.ask(WHO))["partner"] == {"code": "grocer"}
    assert await gus.ask("{ colleagues { name } }") == [{"name": "Gus"}]
    assert await manager.ask("{ colleagues { name } }") == [{"name": "Ann"}]
    # The same name at two partners is two people.
    await gus.ask(INVITE, i=keyed(name="Ann", email="other-ann@grocer.example", roles=["FINANCE"]))
    assert await manager.ask("{ colleagues { name roles } }") == [{"name": "Ann", "roles": ["MANAGER"]}]


async def test_while_the_partner_is_suspended_its_people_are_out(desk: Desk) -> None:
    manager = await ann(desk)
    async with desk.database.transaction() as connection:
        await onboarding.suspend_partner(
            connection, partner_id=(await partner(desk)).partner_id, actor=desk.coalition.onboarder, at=NOON
        )
    await desk.application.state.services.directory.refresh()
    assert (await manager.post(WHO)).status_code == 401
    desk.wall.move(seconds=1)
    await desk.at_wall()
    browser = desk.browser()
    await browser.ask(ANN, "/portal")
    assert (await browser.enter(await desk.code_for(ANN), "/portal")).status_code == 422


async def test_who_signs_out_everywhere_is_told_and_the_trail_knows_them_by_name(desk: Desk) -> None:
    manager = await ann(desk)
    await manager.browser.fill("/portal/security", "/portal/security/end-all")
    assert (await manager.post(WHO)).status_code == 401
    found = await desk.database.pool.fetch(
        "SELECT DISTINCT actor FROM kit.audit_trail WHERE action = 'SIGNED_OUT_EVERYWHERE'"
    )
    assert "bakery/Ann" in {row["actor"] for row in found}
    assert await desk.database.pool.fetchval(
        "SELECT count(*) FROM gateway.session WHERE audience = $1 AND actor_id IS NOT NULL", COLLEAGUE
    )


async def test_the_command_invites_lists_and_removes(
    desk: Desk, server: postgres.Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.url(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_ACTOR", "onboarder")
    settings.cache_clear()

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(client_commands.app, ["colleague", *words])
        return done.exit_code, done.output

    async def ran(*words: str) -> tuple[int, str]:
        return await asyncio.to_thread(run, *words)

    code, said = await ran("invite", "bakery", "Ann", "--email", ANN, "--role", "MANAGER")
    assert code == 0, said
    assert "/portal/sign-in" in said
    assert "MANAGER" in (await ran("list", "bakery"))[1]
    assert (await ran("remove", "bakery", "Ann"))[0] == 0
    assert "Nobody may sign in yet" in (await ran("list", "bakery"))[1]
    assert (await ran("remove", "bakery", "Ann"))[0] == 2
    assert (await ran("list", "nobody"))[0] == 2
    settings.cache_clear()
