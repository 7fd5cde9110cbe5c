"""Tills: enrolled by a code that a person approves, bound to their own key, refused when they are suspended.

Cases O-61 to O-65, and L-19.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from gateway.oauth import clients
from gateway.oauth.clients import DEVICE_CODE, ClientCache
from kit.actors import ensure_actor
from partners.agreements import onboarding
from tests.gateway import own_toys
from tests.gateway.signers import (
    HIDDEN,
    Program,
    Signer,
    another_partner,
    decide,
    form_of,
    given,
    key_client,
    look,
    person,
    public_client,
    refused,
    staff,
)
from tests.gateway.toys import Toy

template = own_toys.a_toy()

pytestmark = pytest.mark.usefixtures("oauth_logs")

PLACE = {"outlet": "main", "terminal": "1", "serial": "SN-0042"}


@pytest.fixture
async def shop(own_toy: Toy) -> Toy:
    """A toy whose partner has an outlet with two terminals."""
    async with own_toy.database.transaction() as connection:
        actor = await ensure_actor(connection, "anna", [])
        outlet_id = await onboarding.add_outlet(
            connection, partner_id=own_toy.partner_id, code="main", name="Main Street", actor=actor, at=own_toy.clock.at
        )
        for code in ("1", "2"):
            await onboarding.add_terminal(connection, outlet_id=outlet_id, code=code, actor=actor, at=own_toy.clock.at)
    await own_toy.app.state.services.directory.refresh()
    return own_toy


async def begin(till: Program, **changes: str) -> dict[str, Any]:
    return given(await till.post("/oauth/device_authorization", {**PLACE, **changes}))


async def poll(till: Program, device_code: str, *, proof: str | None = "") -> httpx2.Response:
    return await till.post("/oauth/token", {"grant_type": DEVICE_CODE, "device_code": device_code}, proof=proof)


async def typed(toy: Toy, who: str, user_code: str, decision: str = "approve") -> httpx2.Response:
    """What somebody sees who types a code and presses a button on the page that shows the till."""
    form = form_of(await look(toy, "/oauth/device", who))
    seen = await decide(toy, "/oauth/device", {**form, "user_code": user_code}, who, "look")
    if seen.status_code != 200:
        return seen
    return await decide(toy, "/oauth/device", form_of(seen), who, decision)


async def enrolled(toy: Toy, **changes: str) -> tuple[Program, dict[str, Any]]:
    """A till with its first tokens."""
    till = await public_client(toy)
    said = await begin(till, **changes)
    assert (await typed(toy, await staff(toy), said["user_code"])).status_code == 200
    return till, given(await poll(till, said["device_code"]))


async def test_a_till_is_enrolled_and_keeps_itself_signed_in_with_its_own_key(shop: Toy) -> None:
    till, said = await enrolled(shop)
    assert said["token_type"] == "DPoP"
    assert (await till.ask(said["access_token"])).status_code == 200
    read = await shop.app.state.oauth.bearers.read(said["access_token"])
    assert (read.jkt, read.subject) == (till.holder.jkt, till.client_id)
    assert read.terminal_id is not None
    viewer = await shop.app.state.oauth.bearers._standing(read)
    assert (viewer.terminal_id, viewer.partner_id) == (read.terminal_id, shop.partner_id)
    shop.clock.forward(days=59)
    again = given(
        await till.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]})
    )
    assert (await till.ask(again["access_token"])).status_code == 200


async def test_what_a_till_is_told(shop: Toy) -> None:
    said = await begin(await public_client(shop))
    assert said["verification_uri"] == "http://127.0.0.1:8000/oauth/device"
    assert said["verification_uri_complete"] == f"http://127.0.0.1:8000/oauth/device?user_code={said['user_code']}"
    assert (said["expires_in"], said["interval"]) == (600, 5)
    assert len(said["user_code"].replace("-", "")) == 8


@pytest.mark.parametrize(("form", "error"), [
    ({"serial": ""}, "invalid_request"), ({"outlet": ""}, "invalid_request"), ({"terminal": "x" * 33}, "invalid_request"),
    ({"serial": "x" * 65}, "invalid_request"), ({"serial": "a\x00b"}, "invalid_request"), ({"outlet": " main"}, "invalid_request"),
    ({"scope": "settlement:read"}, "invalid_scope"), ({"scope": ""}, "invalid_scope"), ({"resource": "x"}, "invalid_target"),
])  # fmt: skip
async def test_a_wrong_request_of_a_till_is_refused(toy: Toy, form: dict[str, str], error: str) -> None:
    till = await public_client(toy)
    refused(await till.post("/oauth/device_authorization", {**PLACE, **form}), 400, error)


async def test_a_till_shows_its_key_from_the_beginning(toy: Toy) -> None:
    till = await public_client(toy)
    refused(await till.post("/oauth/device_authorization", PLACE, proof=None), 400, "invalid_dpop_proof")
    refused(await till.post("/oauth/device_authorization", PLACE, proof="x"), 400, "invalid_dpop_proof")


async def test_o_64_a_client_that_enrols_no_tills_is_refused(toy: Toy) -> None:
    program = await key_client(toy)
    refused(await program.post("/oauth/device_authorization", PLACE), 400, "unauthorized_client")


async def test_o_61_who_asks_too_early_waits_longer_and_that_is_remembered(shop: Toy) -> None:
    till = await public_client(shop)
    code = (await begin(till))["device_code"]
    refused(await poll(till, code), 400, "authorization_pending")
    for wait in (4, 9, 14):
        shop.clock.forward(seconds=wait)
        refused(await poll(till, code), 400, "slow_down")
    shop.clock.forward(seconds=20)
    refused(await poll(till, code), 400, "authorization_pending")
    shop.clock.forward(seconds=19)
    refused(await poll(till, code), 400, "slow_down")


async def test_o_61_a_code_that_is_over_or_refused_says_so(shop: Toy) -> None:
    till, who = await public_client(shop), await staff(shop)
    denied = await begin(till)
    page = await typed(shop, who, denied["user_code"], "deny")
    assert "Refused" in page.text
    refused(await poll(till, denied["device_code"]), 400, "access_denied")
    late = await begin(till)
    shop.clock.forward(seconds=600)
    refused(await poll(till, late["device_code"]), 400, "expired_token")
    assert (await typed(shop, who, late["user_code"])).status_code == 400


async def test_o_62_guessing_codes_ends_after_five_and_again_after_an_hour(shop: Toy) -> None:
    who, till = await staff(shop), await public_client(shop)
    for number in range(5):
        page = await typed(shop, who, "BBBB-CCC" + "BCDFG"[number])
        assert page.status_code == 400
        assert 'role="alert"' in page.text
    assert (await typed(shop, who, (await begin(till))["user_code"])).status_code == 429
    shop.clock.forward(minutes=11)
    assert (await typed(shop, who, (await begin(till))["user_code"])).status_code == 200
    for _ in range(3):
        for _ in range(5):
            assert (await typed(shop, who, "BBBB-CCCC")).status_code == 400
        shop.clock.forward(minutes=11)
    assert (await typed(shop, who, (await begin(till))["user_code"])).status_code == 429
    colleague = await person(shop, "bert", roles=("ONBOARDING",))
    assert (await typed(shop, colleague, (await begin(till))["user_code"])).status_code == 200


async def test_o_63_a_code_is_redeemed_once_by_its_client_and_key(shop: Toy) -> None:
    till, other, who = await public_client(shop), await public_client(shop), await staff(shop)
    said = await begin(till)
    await typed(shop, who, said["user_code"])
    other.holder = till.holder
    refused(await poll(other, said["device_code"]), 400, "invalid_grant")
    stranger = Signer().proof("/oauth/token", shop.clock.at)
    refused(await poll(till, said["device_code"], proof=stranger), 400, "invalid_grant")
    refused(await poll(till, said["device_code"], proof=None), 400, "invalid_dpop_proof")
    given(await poll(till, said["device_code"]))
    refused(await poll(till, said["device_code"]), 400, "invalid_grant")


async def test_o_63_of_six_who_redeem_a_till_s_code_at_once_one_succeeds(shop: Toy) -> None:
    till, who = await public_client(shop), await staff(shop)
    for _ in range(3):
        said = await begin(till)
        await typed(shop, who, said["user_code"])
        answers = await asyncio.gather(*(poll(till, said["device_code"]) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 5


@pytest.mark.parametrize("code", ["x", "\x00", "ж", "x" * 400])
async def test_what_is_no_code_enrols_nothing(toy: Toy, code: str) -> None:
    till = await public_client(toy)
    refused(await poll(till, code), 400, "invalid_grant")
    refused(await poll(till, ""), 400, "invalid_request")


async def test_o_65_the_page_shows_the_till_and_asks_even_when_the_code_is_in_the_address(shop: Toy) -> None:
    till, who = await public_client(shop), await staff(shop)
    said = await begin(till)
    page = await look(shop, said["verification_uri_complete"], who)
    assert said["user_code"] in page.text
    refused(await poll(till, said["device_code"]), 400, "authorization_pending")
    seen = await decide(shop, "/oauth/device", {**form_of(page), "user_code": said["user_code"].lower()}, who, "look")
    for shown in ("Baker", "Main Street (main)", "SN-0042", "127.0.0.1", said["user_code"], "record purchases"):
        assert shown in seen.text
    shop.clock.forward(seconds=30)
    refused(await poll(till, said["device_code"]), 400, "authorization_pending")


@pytest.mark.parametrize("language", ["en", "ru", "ro"])
async def test_o_65_the_page_speaks_the_person_s_language_and_runs_nothing(toy: Toy, language: str) -> None:
    page = await look(toy, "/oauth/device", await staff(toy), language=language)
    assert f'<html lang="{language}">' in page.text
    assert "<label for=" in page.text
    assert "script" not in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


async def test_o_65_only_the_partner_s_managers_and_staff_with_the_role_approve(shop: Toy) -> None:
    till = await public_client(shop)
    said = await begin(till)
    stranger = await person(shop, "boris")
    foreign = await person(shop, "fedor", partner_id=await another_partner(shop))
    for who in (stranger, foreign):
        assert (await typed(shop, who, said["user_code"])).status_code == 400
    nobody = await look(shop, "/oauth/device", None)
    assert (nobody.status_code, nobody.headers["location"]) == (303, "/sign-in")
    manager = await person(shop, "maria", partner_id=shop.partner_id)
    assert (await typed(shop, manager, said["user_code"])).status_code == 200
    given(await poll(till, said["device_code"]))


async def test_o_13_a_foreign_form_approves_nothing(shop: Toy) -> None:
    till, who = await public_client(shop), await staff(shop)
    said = await begin(till)
    bert = await person(shop, "bert", roles=("ONBOARDING",))
    foreign = form_of(await look(shop, "/oauth/device", bert))
    for form in ({}, foreign, {"form_token": "ж"}):
        answer = await decide(shop, "/oauth/device", {**form, "user_code": said["user_code"]}, who)
        assert answer.status_code == 403
    refused(await poll(till, said["device_code"]), 400, "authorization_pending")


@pytest.mark.parametrize("place", [{"outlet": "elsewhere"}, {"terminal": "99"}])
async def test_a_till_that_says_it_is_what_the_partner_has_not_cannot_be_approved(
    shop: Toy, place: dict[str, str]
) -> None:
    till, who = await public_client(shop), await staff(shop)
    said = await begin(till, **place)
    form = form_of(await look(shop, "/oauth/device", who))
    seen = await decide(shop, "/oauth/device", {**form, "user_code": said["user_code"]}, who)
    assert 'value="approve"' not in seen.text
    refused(await poll(till, said["device_code"]), 400, "authorization_pending")


async def test_what_a_till_says_of_itself_is_no_markup(shop: Toy) -> None:
    till, who = await public_client(shop), await staff(shop)
    said = await begin(till, serial="<b>7</b>")
    form = form_of(await look(shop, "/oauth/device", who))
    seen = await decide(shop, "/oauth/device", {**form, "user_code": said["user_code"]}, who, "look")
    assert "<b>7" not in seen.text


async def test_l_19_a_suspended_terminal_is_refused_and_its_till_renews_nothing(shop: Toy) -> None:
    till, said = await enrolled(shop)
    neighbour, theirs = await enrolled(shop, terminal="2")
    read = await shop.app.state.oauth.bearers.read(said["access_token"])
    async with shop.database.transaction() as connection:
        actor = await ensure_actor(connection, "anna", [])
        await onboarding.suspend_terminal(connection, terminal_id=read.terminal_id, actor=actor, at=shop.clock.at)
    await shop.app.state.services.directory.refresh()
    assert (await till.ask(said["access_token"])).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]}
    refused(await till.post("/oauth/token", form), 400, "invalid_grant")
    assert (await neighbour.ask(theirs["access_token"])).status_code == 200


async def test_a_suspension_between_approval_and_the_next_poll_counts(shop: Toy) -> None:
    till, who = await public_client(shop), await staff(shop)
    said = await begin(till)
    await typed(shop, who, said["user_code"])
    async with shop.database.transaction() as connection:
        actor = await ensure_actor(connection, "anna", [])
        [terminal_id] = (await connection.execute(text("SELECT terminal_id FROM gateway.device_code"))).scalars()
        await onboarding.suspend_terminal(connection, terminal_id=terminal_id, actor=actor, at=shop.clock.at)
    await shop.app.state.services.directory.refresh()
    refused(await poll(till, said["device_code"]), 400, "access_denied")


async def test_a_till_that_is_enrolled_as_a_terminal_replaces_the_one_before(shop: Toy) -> None:
    ticks = [0.0]
    shop.app.state.oauth.bearers._clients = ClientCache(shop.database, clock=lambda: ticks[0])
    first, said = await enrolled(shop)
    assert (await first.ask(said["access_token"])).status_code == 200
    second, theirs = await enrolled(shop)
    ticks[0] += clients.STALE_SECONDS
    assert (await first.ask(said["access_token"])).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]}
    refused(await first.post("/oauth/token", form), 400, "invalid_grant")
    assert (await second.ask(theirs["access_token"])).status_code == 200


async def test_the_trail_knows_who_enrolled_which_terminal(shop: Toy) -> None:
    await enrolled(shop)
    async with shop.database.reading() as connection:
        rows = (await connection.execute(text("SELECT action, actor FROM kit.audit_trail ORDER BY entry_id"))).all()
        kept = str((await connection.execute(text("SELECT to_jsonb(t) FROM gateway.device_code t"))).all())
    assert [row for row in rows if row[0].startswith("TERMINAL_")] == [
        ("TERMINAL_APPROVED", "anna"),
        ("TERMINAL_ENROLLED", "anna"),
    ]
    assert not [hidden for hidden in HIDDEN if hidden in kept]
