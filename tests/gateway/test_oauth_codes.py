"""Apps that a person allows: pushed requests, the page, codes with PKCE. Cases O-01 to O-24."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text

from gateway.oauth import clients, endings
from gateway.oauth.clients import ClientCache
from kit import actors
from tests.gateway import own_toys
from tests.gateway.signers import (
    CALLBACK,
    Flow,
    Program,
    Signer,
    another_partner,
    came_back,
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
from tests.gateway.toys import ISSUER, Toy

template = own_toys.a_toy()

pytestmark = pytest.mark.usefixtures("oauth_logs")


async def flow_of(toy: Toy, *, public: bool = False) -> Flow:
    uris = (CALLBACK,)
    return Flow(await (public_client(toy, redirect_uris=uris) if public else key_client(toy, redirect_uris=uris)))


def turned_away(response: Any, status: int = 400) -> str:
    """A page's text, once it is clear that it leads nowhere."""
    assert response.status_code == status, response.text
    assert "location" not in response.headers
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"].startswith("text/html")
    return str(response.text)


@pytest.mark.parametrize("public", [False, True])
async def test_a_person_allows_an_app_which_gets_tokens_that_say_who_did(toy: Toy, public: bool) -> None:
    flow, who = await flow_of(toy, public=public), await staff(toy)
    back = await flow.back(who)
    assert back.keys() == {"code", "state"}
    assert back["state"] == "st4te"
    said = given(await flow.redeem(back["code"]))
    assert (said["token_type"], said["scope"]) == ("DPoP", "members:read points:accrue")
    assert said["expires_in"] <= 600
    assert (await flow.program.ask(said["access_token"])).status_code == 200
    read = await toy.app.state.oauth.bearers.read(said["access_token"])
    assert read.actor_id == toy.people.by_cookie[who].actor_id
    assert read.subject == f"actor:{read.actor_id}"
    assert read.grant_id.startswith("gr_")


# --- The pushed request -------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", [
    None, "", CALLBACK + "/", CALLBACK.upper(), CALLBACK + "?x=1", CALLBACK + "#x", "https://app.example:444/back",
    "https://rp@evil.example/back", "https://evil.example/back", 'https://a"b', "https://a\\b", "https://ж.example/", "x\r\ny",
    "http://app.example/back", "https://app.example/back/../x", "\x00",
])  # fmt: skip
async def test_o_02_o_03_an_address_that_is_not_registered_is_refused_and_not_repeated(
    toy: Toy, uri: str | None
) -> None:
    response = await (await flow_of(toy)).push(redirect_uri=uri)
    refused(response, 400, "invalid_request")
    if uri:
        assert uri not in response.text


@pytest.mark.parametrize("kind", ["token", "id_token", "code id_token", 'co"de', "co\\de", "ж", "", "none"])
async def test_o_04_another_response_type_is_refused(toy: Toy, kind: str) -> None:
    response = await (await flow_of(toy)).push(response_type=kind)
    said = refused(response, 400, "unsupported_response_type")
    assert said["error_description"] == "Only code is served."


async def test_a_missing_response_type_is_refused(toy: Toy) -> None:
    refused(await (await flow_of(toy)).push(response_type=None), 400, "unsupported_response_type")


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("changes", [
    {"code_challenge": None}, {"code_challenge": None, "code_challenge_method": None}, {"code_challenge_method": "plain"},
    {"code_challenge_method": None}, {"code_challenge_method": ""}, {"code_challenge_method": "s256"}, {"code_challenge": ""},
    {"code_challenge": "x" * 42}, {"code_challenge": "x" * 44}, {"code_challenge": "!" * 43},
])  # fmt: skip
async def test_o_05_o_06_o_07_nobody_goes_without_a_challenge_by_s256(
    toy: Toy, public: bool, changes: dict[str, str | None]
) -> None:
    refused(await (await flow_of(toy, public=public)).push(**changes), 400, "invalid_request")


async def test_o_08_o_32_a_parameter_given_twice_is_refused_at_every_endpoint(toy: Toy) -> None:
    program = await key_client(toy)
    for path in ("/oauth/token", "/oauth/par", "/oauth/device_authorization", "/oauth/revoke", "/oauth/introspect"):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await toy.http.post(path, content="a=1&a=2", headers=headers)
        refused(response, 400, "invalid_request")
        refused(await toy.http.post(path + "?a=1", content="a=1", headers=headers), 400, "invalid_request")
        refused(await toy.http.post(path, json={"a": 1}), 400, "invalid_request")
    address = f"/oauth/authorize?client_id={program.client_id}&client_id={program.client_id}&request_uri=x"
    turned_away(await look(toy, address, await staff(toy)))


@pytest.mark.parametrize(
    "path", ["/oauth/token", "/oauth/par", "/oauth/device_authorization", "/oauth/revoke", "/oauth/introspect"]
)
async def test_o_11_o_34_only_post_is_served(toy: Toy, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        response = await toy.http.request(method, path)
        assert (response.status_code, response.headers["cache-control"]) == (405, "no-store")


async def test_o_11_a_pushed_request_brings_its_parameters_itself_and_who_pushes_shows_who_it_is(toy: Toy) -> None:
    flow = await flow_of(toy)
    refused(await flow.push(request_uri="urn:ietf:params:oauth:request_uri:x"), 400, "invalid_request")
    refused(await flow.push(request="x.y.z"), 400, "invalid_request")
    response = await toy.http.post("/oauth/par", data=flow.parameters())
    refused(response, 401, "invalid_client")
    other = await key_client(toy)
    refused(await other.post("/oauth/par", flow.parameters()), 401, "invalid_client")
    refused(await other.post("/oauth/par", flow.parameters(client_id=None)), 400, "unauthorized_client")


@pytest.mark.parametrize("scope", ["settlement:read", "points:accrue nonsense", "", " ", "ж", '"'])
async def test_o_35_a_scope_that_the_client_has_not_is_refused_when_it_is_pushed(toy: Toy, scope: str) -> None:
    refused(await (await flow_of(toy)).push(scope=scope), 400, "invalid_scope")


@pytest.mark.parametrize("state", ["x" * 2_048, "a+b/c=d&e", "~!@#$%^*()_ {}"])
async def test_o_15_a_state_comes_back_exactly(toy: Toy, state: str) -> None:
    back = await (await flow_of(toy)).back(await staff(toy), state=state)
    assert back["state"] == state


@pytest.mark.parametrize("state", ["x" * 2_049, "ж", "\x00", "a\nb", ""])
async def test_o_15_a_state_that_could_not_come_back_is_refused(toy: Toy, state: str) -> None:
    refused(await (await flow_of(toy)).push(state=state), 400, "invalid_request")


async def test_a_request_without_a_state_comes_back_without_one(toy: Toy) -> None:
    assert (await (await flow_of(toy)).back(await staff(toy), state=None)).keys() == {"code"}


# --- The page -----------------------------------------------------------------------------------------------


async def test_o_01_an_unknown_or_suspended_client_is_sent_nowhere(own_toy: Toy) -> None:
    toy = own_toy
    flow, who = await flow_of(toy), await staff(toy)
    address = await flow.address()
    unknown = f"/oauth/authorize?client_id=cl_{'z' * 20}&request_uri=x&redirect_uri={quote(CALLBACK)}"
    turned_away(await look(toy, unknown, who))
    form = form_of(await look(toy, address, who))
    async with toy.database.transaction() as connection:
        await clients.suspend(connection, flow.program.client_id, by="anna", at=toy.clock.at)
    turned_away(await look(toy, address, who))
    turned_away(await decide(toy, "/oauth/authorize", form, who))


async def test_o_09_a_request_that_was_not_pushed_is_refused(toy: Toy) -> None:
    flow = await flow_of(toy)
    query = "&".join(f"{name}={quote(value)}" for name, value in flow.parameters().items())
    turned_away(await look(toy, f"/oauth/authorize?{query}", await staff(toy)))


@pytest.mark.parametrize(
    "query", ["", "?", "?x", "?client_id=%00&request_uri=%00", "?%FF=%FF", "?" + "a=1&" * 40, "?client_id="]
)
async def test_rubbish_at_the_page_is_turned_away(toy: Toy, query: str) -> None:
    turned_away(await look(toy, "/oauth/authorize" + query, await staff(toy)))


async def test_o_10_a_pushed_request_is_its_client_s_for_a_while_and_decides_once(own_toy: Toy) -> None:
    toy = own_toy
    flow, other, who = await flow_of(toy), await flow_of(toy), await staff(toy)
    address = await flow.address()
    turned_away(await look(toy, address.replace(flow.program.client_id, other.program.client_id), who))
    first = await look(toy, address, None)
    assert (first.status_code, first.headers["location"]) == (303, "/sign-in")
    form_of(await look(toy, address, who))
    toy.clock.forward(minutes=5)  # signing in takes its time
    form = form_of(await look(toy, address, who))
    came_back(await decide(toy, "/oauth/authorize", form, who))
    turned_away(await look(toy, address, who))
    late = await flow.address()
    toy.clock.forward(seconds=91)
    turned_away(await look(toy, late, who))
    opened = await flow.address()
    form_of(await look(toy, opened, who))
    toy.clock.forward(minutes=11)
    turned_away(await look(toy, opened, who))


async def test_o_12_what_the_browser_adds_is_not_looked_at(toy: Toy) -> None:
    flow, who = await flow_of(toy), await staff(toy)
    address = await flow.address()
    page = await look(toy, f"{address}&scope=settlement:read&redirect_uri=https://evil.example&state=evil", who)
    assert "settlement" not in page.text
    back = came_back(
        await decide(
            toy, "/oauth/authorize", {**form_of(page), "state": "evil", "redirect_uri": "https://evil.example"}, who
        )
    )
    assert back["state"] == "st4te"


async def test_o_13_a_form_counts_from_its_own_sign_in_once_and_says_what_is_decided(toy: Toy) -> None:
    flow, who = await flow_of(toy), await staff(toy)
    another = await person(toy, "bert", roles=(actors.ONBOARDING,))
    form = form_of(await look(toy, await flow.address(), who))
    foreign = form_of(await look(toy, await flow.address(), who))["form_token"]
    for wrong in ({**form, "form_token": ""}, {**form, "form_token": foreign}, {**form, "form_token": "ж"}):
        turned_away(await decide(toy, "/oauth/authorize", wrong, who), 403)
    without = {name: value for name, value in form.items() if name != "form_token"}
    turned_away(await decide(toy, "/oauth/authorize", without, who), 403)
    turned_away(await decide(toy, "/oauth/authorize", form, another), 403)
    turned_away(await decide(toy, "/oauth/authorize", form, who, "perhaps"))
    nobody = await toy.http.post("/oauth/authorize", data={**form, "decision": "approve"})
    assert nobody.headers["location"] == "/sign-in"
    came_back(await decide(toy, "/oauth/authorize", form, who))
    turned_away(await decide(toy, "/oauth/authorize", form, who))


async def test_o_13_a_form_that_is_sent_many_times_at_once_decides_once(toy: Toy) -> None:
    flow, who = await flow_of(toy), await staff(toy)
    form = form_of(await look(toy, await flow.address(), who))
    answers = await asyncio.gather(*(decide(toy, "/oauth/authorize", form, who) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers)[0] == 303
    assert [answer.status_code for answer in answers].count(303) == 1
    assert all(answer.status_code in (303, 400, 403) for answer in answers)


async def test_o_14_the_page_runs_nothing_stands_in_no_frame_and_sends_its_form_home_or_to_the_app(toy: Toy) -> None:
    page = await look(toy, await (await flow_of(toy)).address(), await staff(toy))
    policy = page.headers["content-security-policy"]
    for part in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self' https://app.example",
    ):
        assert part in policy
    assert "script" not in policy
    assert "<script" not in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_the_page_says_who_asks_for_what_in_the_person_s_language(toy: Toy) -> None:
    who = await staff(toy)
    for language, words in (
        ("en", "record purchases that earn points"),
        ("ru", "записывать покупки"),
        ("ro", "înregistra cumpărături"),
    ):
        page = await look(toy, await (await flow_of(toy)).address(), who, language=language)
        assert f'<html lang="{language}">' in page.text
        for said in (words, "Back office", "Baker", "https://app.example", "anna"):
            assert said in page.text


async def test_what_a_client_is_called_is_no_markup(toy: Toy) -> None:
    signer = Signer()
    async with toy.database.transaction() as connection:
        client_id = await clients.add_key_client(
            connection, partner_id=toy.partner_id, name="<b>x</b>", scopes=["points:accrue"], jwk=signer.public,
            redirect_uris=[CALLBACK], by="anna", at=toy.clock.at,
        )  # fmt: skip
    page = await look(
        toy, await Flow(Program(toy, client_id, signer=signer)).address(scope="points:accrue"), await staff(toy)
    )
    assert "<b>x" not in page.text
    assert "&lt;b&gt;x" in page.text


async def test_o_18_o_16_whoever_refuses_sends_the_app_back_with_the_reason(toy: Toy) -> None:
    back = await (await flow_of(toy)).back(await staff(toy), "deny")
    assert (back["error"], back["state"]) == ("access_denied", "st4te")


async def test_o_16_a_client_that_lost_a_scope_meanwhile_is_sent_back_with_the_reason(
    own_toy: Toy, server: Any, database_name: str
) -> None:
    import asyncpg

    toy = own_toy
    flow, who = await flow_of(toy), await staff(toy)
    form = form_of(await look(toy, await flow.address(), who))
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE gateway.client SET scopes = ARRAY['points:accrue']")
    await owner.close()
    back = came_back(await decide(toy, "/oauth/authorize", form, who))
    assert (back["error"], back["state"]) == ("invalid_scope", "st4te")


async def test_only_the_partner_s_managers_and_staff_with_the_role_decide(own_toy: Toy) -> None:
    toy = own_toy
    flow = await flow_of(toy)
    stranger = await person(toy, "boris")
    foreign = await person(toy, "fedor", partner_id=await another_partner(toy))
    manager = await person(toy, "maria", partner_id=toy.partner_id)
    address = await flow.address()
    form = form_of(await look(toy, address, manager))
    for who in (stranger, foreign):
        turned_away(await look(toy, address, who), 403)
        turned_away(await decide(toy, "/oauth/authorize", form, who), 403)
    came_back(await decide(toy, "/oauth/authorize", form, manager))


async def test_a_server_without_a_sign_in_says_so(own_toy: Toy) -> None:
    toy = own_toy
    flow = await flow_of(toy)
    address = await flow.address()
    toy.app.state.oauth = replace(toy.app.state.oauth, signed_in=None)
    turned_away(await look(toy, address, "anna"), 403)
    turned_away(await look(toy, "/oauth/device", "anna"), 403)


async def test_the_trail_knows_who_allowed_and_who_refused(own_toy: Toy) -> None:
    toy = own_toy
    flow, who = await flow_of(toy), await staff(toy)
    await flow.code(who)
    await flow.back(who, "deny")
    async with toy.database.reading() as connection:
        rows = (await connection.execute(text("SELECT action, actor FROM kit.audit_trail ORDER BY entry_id"))).all()
    assert [(action, by) for action, by in rows if action.startswith("GRANT")] == [
        ("GRANT_GIVEN", who),
        ("GRANT_DENIED", who),
    ]


# --- The code -----------------------------------------------------------------------------------------------


async def test_o_19_a_code_that_comes_back_ends_all_that_it_gave(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    flow, who = await flow_of(toy), await staff(toy)
    code = await flow.code(who)
    said = given(await flow.redeem(code))
    assert (await flow.program.ask(said["access_token"])).status_code == 200
    toy.clock.forward(seconds=1)
    refused(await flow.redeem(code), 400, "invalid_grant")
    ticks[0] += clients.STALE_SECONDS
    assert (await flow.program.ask(said["access_token"])).status_code == 401
    again = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]}
    refused(await flow.program.post("/oauth/token", again), 400, "invalid_grant")
    async with toy.database.transaction() as connection:
        [grant] = await endings.of_client(connection, flow.program.client_id)
        trail = (await connection.execute(text("SELECT action FROM kit.audit_trail"))).scalars().all()
    assert grant.ended_why == "CODE_REUSED"
    assert "CODE_REUSED" in trail


async def test_o_20_of_eight_who_redeem_a_code_at_once_one_succeeds(toy: Toy) -> None:
    flow, who = await flow_of(toy), await staff(toy)
    for _ in range(5):
        code = await flow.code(who)
        answers = await asyncio.gather(*(flow.redeem(code) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


async def test_o_21_a_code_is_good_for_a_minute(own_toy: Toy) -> None:
    toy = own_toy
    flow, who = await flow_of(toy), await staff(toy)
    soon, late = await flow.code(who), await flow.code(who)
    toy.clock.forward(seconds=59)
    given(await flow.redeem(soon))
    toy.clock.forward(seconds=1)
    refused(await flow.redeem(late), 400, "invalid_grant")


async def test_o_22_another_client_s_code_is_nobody_s_and_stays_good(toy: Toy) -> None:
    flow, thief, who = await flow_of(toy), await flow_of(toy), await staff(toy)
    code = await flow.code(who)
    thief.verifier = flow.verifier
    refused(await thief.redeem(code), 400, "invalid_grant")
    given(await flow.redeem(code))


@pytest.mark.parametrize("uri", [None, "", CALLBACK + "/", "https://evil.example/"])
async def test_o_23_a_code_is_redeemed_with_the_address_it_was_asked_for(toy: Toy, uri: str | None) -> None:
    flow, who = await flow_of(toy), await staff(toy)
    refused(await flow.redeem(await flow.code(who), redirect_uri=uri), 400, "invalid_grant")


@pytest.mark.parametrize("verifier", [None, "", "x" * 42, "x" * 43, "x" * 129, "ж" * 43, "\x00" * 43])
async def test_o_24_the_verifier_must_be_the_challenge_s(toy: Toy, verifier: str | None) -> None:
    flow, who = await flow_of(toy), await staff(toy)
    code = await flow.code(who)
    refused(await flow.redeem(code, code_verifier=verifier), 400, "invalid_grant")
    given(await flow.redeem(code))


@pytest.mark.parametrize("code", ["", "x", "x" * 300, "\x00", "ж", '"'])
async def test_what_is_no_code_gives_nothing(toy: Toy, code: str) -> None:
    refused(await (await flow_of(toy)).redeem(code), 400, "invalid_grant")


async def test_a_request_without_a_code_is_malformed(toy: Toy) -> None:
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK}
    refused(await (await flow_of(toy)).program.post("/oauth/token", form), 400, "invalid_request")


async def test_o_51b_a_code_is_bound_to_the_key_that_it_was_asked_for_with(toy: Toy) -> None:
    flow, who, other = await flow_of(toy), await staff(toy), Signer()
    code = await flow.code(who)
    refused(await flow.redeem(code, proof=other.proof("/oauth/token", toy.clock.at)), 400, "invalid_grant")
    given(await flow.redeem(code))
    response = await flow.push(dpop_jkt=other.jkt)
    refused(response, 400, "invalid_dpop_proof")
    named = await flow.program.post("/oauth/par", flow.parameters(dpop_jkt="not a thumbprint"), proof=None)
    refused(named, 400, "invalid_request")
    named = await flow.program.post("/oauth/par", flow.parameters(dpop_jkt=other.jkt), proof=None)
    address = f"/oauth/authorize?client_id={flow.program.client_id}&request_uri={given(named, 201)['request_uri']}"
    back = came_back(await decide(toy, "/oauth/authorize", form_of(await look(toy, address, who)), who))
    refused(await flow.redeem(back["code"]), 400, "invalid_grant")
    given(await flow.redeem(back["code"], proof=other.proof("/oauth/token", toy.clock.at)))


async def test_a_public_app_pushes_with_a_proof_or_not_at_all(toy: Toy) -> None:
    flow = await flow_of(toy, public=True)
    response = await flow.program.post("/oauth/par", flow.parameters(), proof=None)
    refused(response, 400, "invalid_dpop_proof")


async def test_o_27_a_client_that_names_another_is_refused(toy: Toy) -> None:
    flow, other, who = await flow_of(toy), await flow_of(toy), await staff(toy)
    refused(await flow.redeem(await flow.code(who), client_id=other.program.client_id), 401, "invalid_client")


@pytest.mark.parametrize(("form", "error"), [
    ({}, "invalid_request"), ({"grant_type": ""}, "unsupported_grant_type"), ({"grant_type": 'x"'}, "unsupported_grant_type"),
    ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
    ({"grant_type": "implicit"}, "unsupported_grant_type"), ({"grant_type": "ж"}, "unsupported_grant_type"),
    ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "unsupported_grant_type"),
    ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x"}, "unauthorized_client"),
    ({"grant_type": "refresh_token"}, "invalid_request"),
])  # fmt: skip
async def test_o_30_o_31_o_37_another_grant_is_not_served(toy: Toy, form: dict[str, str], error: str) -> None:
    refused(await (await flow_of(toy)).program.post("/oauth/token", form), 400, error)


async def test_a_resource_is_checked_when_it_is_pushed(toy: Toy) -> None:
    flow = await flow_of(toy)
    refused(await flow.push(resource="https://other.example"), 400, "invalid_target")
    given(await flow.push(resource=ISSUER + "/graphql"), 201)


async def test_o_36_nothing_is_kept_without_an_end_and_nothing_in_the_clear(own_toy: Toy) -> None:
    toy = own_toy
    flow, who = await flow_of(toy, public=True), await staff(toy)
    pushed = given(await flow.push(), 201)["request_uri"].rpartition(":")[2]
    code = await flow.code(who)
    said = given(await flow.redeem(code))
    again = given(
        await flow.program.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]})
    )
    async with toy.database.reading() as connection:
        tables = ["client_grant", "authorization_code", "refresh_token", "pushed_request", "used_id", "ended_token"]
        rows = [
            (await connection.execute(text(f"SELECT to_jsonb(t) FROM gateway.{table} t"))).all() for table in tables
        ]
        kept = str(rows)
        ends = (await connection.execute(text("SELECT ends_at - created_at FROM gateway.client_grant"))).scalars().all()
        idle = (
            (await connection.execute(text("SELECT expires_at - created_at FROM gateway.refresh_token")))
            .scalars()
            .all()
        )
    assert max(ends) <= timedelta(days=90)
    assert max(idle) <= timedelta(days=14)
    for hidden in (pushed, code, said["refresh_token"], again["refresh_token"], said["access_token"]):
        assert hidden not in kept
    assert re.search(r"gr_", kept)
