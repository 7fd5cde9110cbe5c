"""Revocation, introspection, and the server's documents. Cases O-66 to O-69."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from gateway.oauth import clients
from gateway.oauth.clients import ClientCache
from gateway.oauth.routes import described
from tests.gateway.signers import CALLBACK, Flow, Program, given, key_client, refused, staff
from tests.gateway.toys import ISSUER, Toy

pytestmark = pytest.mark.usefixtures("oauth_logs")

RUBBISH = ["x", "", "a.b.c", "..", "\x00", "ж", "x" * 5_000, "e30.e30.e30"]


async def begun(toy: Toy) -> tuple[Program, dict[str, Any]]:
    flow = Flow(await key_client(toy, redirect_uris=(CALLBACK,)))
    return flow.program, given(await flow.redeem(await flow.code(await staff(toy))))


async def active(program: Program, token: str) -> bool:
    return bool(given(await program.post("/oauth/introspect", {"token": token}))["active"])


@pytest.mark.parametrize("token", RUBBISH)
async def test_o_66_o_67_rubbish_is_revoked_with_success_and_not_active(toy: Toy, token: str) -> None:
    program = await key_client(toy)
    assert given(await program.post("/oauth/revoke", {"token": token})) == {}
    assert given(await program.post("/oauth/introspect", {"token": token})) == {"active": False}


@pytest.mark.parametrize("path", ["/oauth/revoke", "/oauth/introspect"])
async def test_o_66_o_67_who_asks_shows_who_it_is_and_what_about(toy: Toy, path: str) -> None:
    program = await key_client(toy)
    refused(await toy.http.post(path, data={"token": "x"}), 401, "invalid_client")
    refused(await program.post(path, {"token_type_hint": "access_token"}), 400, "invalid_request")
    given(await program.post(path, {"token": "x", "token_type_hint": "something new"}))


async def test_o_66_another_client_s_token_is_refused_and_lives_on(own_toy: Toy) -> None:
    program, said = await begun(own_toy)
    thief = await key_client(own_toy)
    for name in ("access_token", "refresh_token"):
        refused(await thief.post("/oauth/revoke", {"token": said[name]}), 400, "invalid_grant")
        assert given(await thief.post("/oauth/introspect", {"token": said[name]})) == {"active": False}
        assert await active(program, said[name])


async def test_o_66_a_refresh_token_takes_all_with_it_that_its_grant_gave(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    program, said = await begun(toy)
    assert (await program.ask(said["access_token"])).status_code == 200
    given(await program.post("/oauth/revoke", {"token": said["refresh_token"], "token_type_hint": "access_token"}))
    for name in ("access_token", "refresh_token"):
        assert not await active(program, said[name])
    ticks[0] += clients.STALE_SECONDS
    assert (await program.ask(said["access_token"])).status_code == 401
    async with toy.database.reading() as connection:
        trail = (await connection.execute(text("SELECT action FROM kit.audit_trail"))).scalars().all()
    assert trail[-1] == "GRANT_ENDED"


async def test_o_66_an_access_token_ends_alone(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    program = await key_client(toy)
    one, two = [given(await program.token())["access_token"] for _ in range(2)]
    for _ in range(2):
        given(await program.post("/oauth/revoke", {"token": one}))
    assert (await active(program, one), await active(program, two)) == (False, True)
    ticks[0] += clients.STALE_SECONDS
    assert (await program.ask(one)).status_code == 401
    assert (await program.ask(two)).status_code == 200


async def test_a_client_learns_what_its_tokens_are_good_for(own_toy: Toy) -> None:
    program, said = await begun(own_toy)
    now = int(own_toy.clock.at.timestamp())
    shown = given(await program.post("/oauth/introspect", {"token": said["access_token"]}))
    expected = {
        "active": True, "client_id": program.client_id, "token_type": "DPoP", "scope": "members:read points:accrue",
        "iss": ISSUER, "aud": ISSUER + "/graphql", "iat": now, "exp": now + 600, "cnf": {"jkt": program.holder.jkt},
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    assert shown["sub"].startswith("actor:")
    kept = given(await program.post("/oauth/introspect", {"token": said["refresh_token"]}))
    assert (kept["active"], kept["exp"]) == (True, now + 14 * 86_400)
    own_toy.clock.forward(minutes=10)
    assert not await active(program, said["access_token"])
    own_toy.clock.forward(days=14)
    assert not await active(program, said["refresh_token"])


@pytest.mark.parametrize("header", [
    {"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}, {"X-Forwarded-Proto": "https"}, {"Forwarded": "host=evil.example"},
])  # fmt: skip
async def test_o_68_a_forged_host_changes_nothing(toy: Toy, header: dict[str, str]) -> None:
    said = (await toy.http.get("/.well-known/oauth-authorization-server", headers=header)).json()
    assert said == described(ISSUER)
    program = await key_client(toy)
    token = given(await program.post("/oauth/token", {"grant_type": "client_credentials"}, **header))["access_token"]
    assert (await toy.app.state.oauth.bearers.read(token)).client_id == program.client_id


async def test_o_69_the_metadata_names_exactly_what_is_served(toy: Toy) -> None:
    said = (await toy.http.get("/.well-known/oauth-authorization-server")).json()
    addresses = {name: value for name, value in said.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(addresses) == 7
    served = {route.path for route in toy.app.routes}
    for name, address in addresses.items():
        assert address.removeprefix(ISSUER) in served, name
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["response_types_supported"] == ["code"]
    assert said["require_pushed_authorization_requests"] is True
    assert said["authorization_response_iss_parameter_supported"] is True
    assert "RS256" not in json.dumps(said)
    assert "none" not in said["dpop_signing_alg_values_supported"]
    assert described("https://loyalty.example")["issuer"] == "https://loyalty.example"
