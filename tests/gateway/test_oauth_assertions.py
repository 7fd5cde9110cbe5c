"""Clients that sign (private_key_jwt): which assertions open the door, and which do not. Cases O-25 to O-47."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from gateway.oauth import clients
from gateway.oauth.authentication import ASSERTION_TYPE
from gateway.oauth.client_keys import ClientKeyInvalid, ClientKeyTaken, ClientKeyUnknown
from gateway.oauth.clients import ClientCache, ClientPublic, RedirectUriInvalid, SecretNotAllowed
from tests.gateway import own_toys
from tests.gateway.signers import Program, Signer, b64, given, key_client, public_client, refused
from tests.gateway.toys import ISSUER, Toy

template = own_toys.a_toy()

pytestmark = pytest.mark.usefixtures("oauth_logs")


async def shown(program: Program, assertion: str, **form: str) -> Any:
    return await program.token(client_assertion=assertion, client_assertion_type=ASSERTION_TYPE, **form)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA", "Ed25519"])
async def test_a_client_that_signs_gets_a_token(toy: Toy, algorithm: str) -> None:
    said = given(await (await key_client(toy, algorithm=algorithm)).token())
    assert (said["token_type"], said["expires_in"]) == ("DPoP", 600)


@pytest.mark.parametrize("audience", [
    ISSUER + "/oauth/token", ISSUER + "/oauth/par", ISSUER + "/", "https://evil.example", [ISSUER], [ISSUER, "x"], None, 7,
])  # fmt: skip
async def test_o_38_o_39_the_issuer_alone_is_the_audience(toy: Toy, audience: object) -> None:
    program = await key_client(toy)
    refused(
        await shown(program, program.signer.assertion(program.client_id, toy.clock.at, aud=audience)),
        401,
        "invalid_client",
    )


@pytest.mark.parametrize(("typ", "passes"), [
    ("at+jwt", False), ("dpop+jwt", False), ("logout+jwt", False), (7, False),
    ("client-authentication+jwt", True), ("JWT", True), (None, True),
])  # fmt: skip
async def test_o_40_a_token_of_another_type_is_no_assertion(toy: Toy, typ: Any, passes: bool) -> None:
    program = await key_client(toy)
    response = await shown(program, program.signer.assertion(program.client_id, toy.clock.at, {"typ": typ}))
    given(response) if passes else refused(response, 401, "invalid_client")


@pytest.mark.parametrize(("claim", "seconds", "passes"), [
    ("exp", 315_360_000, False), ("exp", 312, False), ("exp", 300, True), ("exp", -300, False), ("exp", -8, True),
    ("iat", 70, False), ("nbf", 70, False), ("iat", 8, True), ("nbf", 8, True),
])  # fmt: skip
async def test_o_41_o_42_an_assertion_is_good_for_minutes_and_forgives_ten_seconds(
    toy: Toy, claim: str, seconds: int, passes: bool
) -> None:
    program = await key_client(toy)
    at = int(toy.clock.at.timestamp()) + seconds
    response = await shown(program, program.signer.assertion(program.client_id, toy.clock.at, **{claim: at}))
    given(response) if passes else refused(response, 401, "invalid_client")


@pytest.mark.parametrize("changes", [
    {"exp": None}, {"exp": "1"}, {"exp": True}, {"jti": None}, {"jti": ""}, {"jti": 7}, {"jti": "x" * 300}, {"iat": "x"},
    {"sub": None}, {"sub": 7}, {"sub": ["x"]}, {"iss": "cl_" + "a" * 20}, {"iss": None}, {"sub": "cl_" + "a" * 20},
    {"sub": "cl_" + "a" * 20, "iss": "cl_" + "a" * 20}, {"sub": "\u0000"},
])  # fmt: skip
async def test_o_41_o_44_a_claim_that_is_wrong_or_missing_opens_nothing(toy: Toy, changes: dict[str, Any]) -> None:
    program = await key_client(toy)
    refused(
        await shown(program, program.signer.assertion(program.client_id, toy.clock.at, **changes)),
        401,
        "invalid_client",
    )


async def test_o_43_an_assertion_opens_once_also_when_six_come_at_once(toy: Toy) -> None:
    program = await key_client(toy)
    assertion = program.signer.assertion(program.client_id, toy.clock.at)
    answers = await asyncio.gather(*(shown(program, assertion) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401, 401]
    refused(await shown(program, assertion), 401, "invalid_client")


async def test_o_43_an_assertion_opens_once_in_two_processes_together(toy: Toy) -> None:
    from gateway.oauth.used import UsedIds
    from kit.secrets import fingerprint

    others = [UsedIds(toy.database.pool, now=toy.clock.now) for _ in range(2)]
    used_id, until = fingerprint("assertion", "x", "y"), toy.clock.at + timedelta(minutes=5)
    first = await asyncio.gather(*(used.claim(used_id, until=until) for used in others * 4))
    assert sorted(first) == [False] * 7 + [True]
    for used in others:
        await used.close()


async def test_ids_that_can_be_shown_no_more_are_forgotten(own_toy: Toy) -> None:
    toy = own_toy
    program = await key_client(toy)
    for _ in range(20):
        given(await program.token())
    toy.clock.forward(minutes=20)
    for _ in range(20):
        given(await program.token())
    async with toy.database.reading() as connection:
        held = (await connection.execute(text("SELECT count(*) FROM gateway.used_id"))).scalar_one()
    assert held <= 42


async def test_o_45_an_algorithm_that_was_not_agreed_opens_nothing(toy: Toy) -> None:
    program = await key_client(toy, algorithm="PS256")
    rsa = Signer("RS256", program.signer.key)
    refused(await shown(program, rsa.assertion(program.client_id, toy.clock.at)), 401, "invalid_client")
    for algorithm in ("PS384", "RS512"):
        other = Signer(algorithm, program.signer.key)
        refused(await shown(program, other.assertion(program.client_id, toy.clock.at)), 401, "invalid_client")
    claims = program.signer.assertion(program.client_id, toy.clock.at).split(".")[1]
    for algorithm, secret in (("none", b""), ("HS256", program.signer.key.as_pem(private=False)), ("", b"")):
        head = b64(json.dumps({"alg": algorithm}).encode())
        mac = b64(hmac.digest(secret, f"{head}.{claims}".encode(), "sha256")) if secret else ""
        refused(await shown(program, f"{head}.{claims}.{mac}"), 401, "invalid_client")


async def test_o_46_a_key_that_the_header_brings_or_names_is_not_looked_at(toy: Toy) -> None:
    program, mine = await key_client(toy), Signer()
    for header in (
        {"jwk": mine.public}, {"jku": "http://127.0.0.1:1/keys"}, {"x5u": "http://127.0.0.1:1/x"}, {"kid": mine.jkt},
        {"kid": program.signer.jkt}, {"crit": ["b64"], "b64": False}, {"x5c": ["x"]}, {"kid": 7},
    ):  # fmt: skip
        refused(await shown(program, mine.assertion(program.client_id, toy.clock.at, header)), 401, "invalid_client")
    for header in ({"jku": "http://127.0.0.1:1/keys"}, {"jwk": program.signer.public}, {"kid": "other"}):
        refused(
            await shown(program, program.signer.assertion(program.client_id, toy.clock.at, header)),
            401,
            "invalid_client",
        )
    given(await shown(program, program.signer.assertion(program.client_id, toy.clock.at, {"kid": program.signer.jkt})))


async def test_o_46_another_client_s_key_opens_nothing(toy: Toy) -> None:
    mine, other = await key_client(toy), await key_client(toy)
    refused(await shown(mine, other.signer.assertion(mine.client_id, toy.clock.at)), 401, "invalid_client")
    with_other_name = mine.signer.assertion(mine.client_id, toy.clock.at)
    refused(await shown(mine, with_other_name, client_id=other.client_id), 401, "invalid_client")


@pytest.mark.parametrize(
    "assertion", ["", "x", "a.b.c", "..", "e30.e30.", "bnVsbA.bnVsbA.x", "x" * 9_000, "ж.e30.x", "e30.W10.x"]
)
async def test_rubbish_is_no_assertion(toy: Toy, assertion: str) -> None:
    program = await key_client(toy)
    refused(await shown(program, assertion), 401, "invalid_client")


async def test_an_assertion_of_another_kind_opens_nothing(toy: Toy) -> None:
    program = await key_client(toy)
    assertion = program.signer.assertion(program.client_id, toy.clock.at)
    for kind in ("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "", "\u0000"):
        response = await program.token(client_assertion=assertion, client_assertion_type=kind)
        refused(response, 401, "invalid_client")
    response = await toy.http.post(
        "/oauth/token", data={"grant_type": "client_credentials", "client_assertion": assertion}
    )
    refused(response, 401, "invalid_client")


async def test_o_25_a_client_that_shows_nothing_is_told_how(toy: Toy) -> None:
    program = await key_client(toy)
    response = await toy.http.post(
        "/oauth/token", data={"grant_type": "client_credentials", "client_id": program.client_id}
    )
    refused(response, 401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")


async def test_o_26_two_ways_at_once_are_refused(toy: Toy) -> None:
    program = await key_client(toy)
    basic = "Basic " + base64.b64encode(f"{toy.client_id}:{toy.secret}".encode()).decode()
    assertion = program.signer.assertion(program.client_id, toy.clock.at)
    form = {"grant_type": "client_credentials", "client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE}
    refused(await toy.http.post("/oauth/token", data=form, headers={"Authorization": basic}), 400, "invalid_request")
    refused(await toy.http.post("/oauth/token", data={**form, "client_secret": "x"}), 400, "invalid_request")
    twice = [("Authorization", basic), ("Authorization", basic)]
    response = await toy.http.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=twice)
    refused(response, 400, "invalid_request")


async def test_o_28_nobody_learns_which_clients_there_are(toy: Toy) -> None:
    program, other = await key_client(toy), Signer()
    wrong = await shown(program, other.assertion(program.client_id, toy.clock.at))
    unknown = await shown(program, other.assertion("cl_" + "z" * 20, toy.clock.at))
    assert wrong.content == unknown.content
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    challenges = {answer.headers["www-authenticate"] for answer in (wrong, unknown)}
    assert len(challenges) == 1


async def test_o_47_a_removed_key_is_refused_at_once_and_tokens_within_ten_seconds(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    program = await key_client(toy)
    token = given(await program.token())["access_token"]
    assert (await program.ask(token)).status_code == 200
    async with toy.database.transaction() as connection:
        await clients.remove_key(connection, program.client_id, program.signer.jkt, by="anna", at=toy.clock.at)
    refused(await program.token(), 401, "invalid_client")
    ticks[0] += clients.STALE_SECONDS
    assert (await program.ask(token)).status_code == 401


async def test_o_47_a_suspended_client_that_signs_is_refused_at_once(own_toy: Toy) -> None:
    program = await key_client(own_toy)
    async with own_toy.database.transaction() as connection:
        await clients.suspend(connection, program.client_id, by="anna", at=own_toy.clock.at)
    refused(await program.token(), 401, "invalid_client")


async def test_while_a_key_is_being_replaced_both_are_good(own_toy: Toy) -> None:
    toy = own_toy
    program, fresh = await key_client(toy), Signer("Ed25519")
    async with toy.database.transaction() as connection:
        kid = await clients.add_key(
            connection, program.client_id, fresh.public, overlap=timedelta(hours=1), by="anna", at=toy.clock.at
        )
    assert kid == fresh.jkt
    for signer in (program.signer, fresh):
        given(await shown(program, signer.assertion(program.client_id, toy.clock.at)))
    toy.clock.forward(hours=1)
    refused(await shown(program, program.signer.assertion(program.client_id, toy.clock.at)), 401, "invalid_client")
    given(await shown(program, fresh.assertion(program.client_id, toy.clock.at)))


async def test_a_key_ends_the_secrets_of_its_client_after_the_overlap(own_toy: Toy) -> None:
    toy, fresh = own_toy, Signer()
    async with toy.database.transaction() as connection:
        await clients.add_key(
            connection, toy.client_id, fresh.public, overlap=timedelta(hours=1), by="anna", at=toy.clock.at
        )
    given(await toy.ask_token())
    toy.clock.forward(hours=1)
    refused(await toy.ask_token(), 401, "invalid_client")
    given(await shown(Program(toy, toy.client_id), fresh.assertion(toy.client_id, toy.clock.at)))


async def test_a_secret_opens_only_where_its_partner_has_the_exception(own_toy: Toy) -> None:
    toy = own_toy
    given(await toy.ask_token())
    async with toy.database.transaction() as connection:
        await clients.allow_secrets(connection, partner_id=toy.partner_id, allowed=False, by="anna", at=toy.clock.at)
        with pytest.raises(SecretNotAllowed):
            await clients.add_client(
                connection, partner_id=toy.partner_id, name="x", scopes=["points:accrue"], by="anna", at=toy.clock.at
            )
        with pytest.raises(SecretNotAllowed):
            await clients.rotate(connection, toy.client_id, overlap=timedelta(0), by="anna", at=toy.clock.at)
    refused(await toy.ask_token(), 401, "invalid_client")
    async with toy.database.transaction() as connection:
        await clients.allow_secrets(connection, partner_id=toy.partner_id, by="anna", at=toy.clock.at)
    given(await toy.ask_token())


async def test_what_is_no_key_is_not_registered_and_nothing_is_written(toy: Toy) -> None:
    taken, good = await key_client(toy), Signer()
    wrong_keys: list[tuple[dict[str, Any], type[Exception]]] = [
        ({}, ClientKeyInvalid), ({"kty": "oct", "k": "x"}, ClientKeyInvalid),
        (dict(good.key.as_dict(private=True)), ClientKeyInvalid),
        ({**good.public, "x": "AAAA"}, ClientKeyInvalid), ({**good.public, "crv": "P-384"}, ClientKeyInvalid),
        ({"kty": ["EC"]}, ClientKeyInvalid), ({"kty": "RSA", "n": "x" * 171, "e": "AQAB"}, ClientKeyInvalid), ({"kty": "RSA", "n": "x" * 9_000, "e": "AQAB"}, ClientKeyInvalid),
        (taken.signer.public, ClientKeyTaken),
    ]  # fmt: skip
    counting = text("SELECT (SELECT count(*) FROM gateway.client_key), (SELECT count(*) FROM kit.audit_trail)")
    async with toy.database.transaction() as connection:
        before = (await connection.execute(counting)).one()
        at, hour = toy.clock.at, timedelta(hours=1)
        for jwk, error in wrong_keys:
            with pytest.raises(error):
                await clients.add_key(connection, taken.client_id, jwk, overlap=hour, by="anna", at=at)
        with pytest.raises(ClientKeyUnknown):
            await clients.remove_key(connection, taken.client_id, "x" * 43, by="anna", at=at)
        for uri in (
            "http://app.example/back", "https://app.example/back#x", "https://a@evil.example/", "/back", "", "javascript:x",
            "https://app.example/\r\nx", "https://app.example/ж", "https://[::1", "https://a.example:99999/", "https:///x",
        ):  # fmt: skip
            with pytest.raises(RedirectUriInvalid):
                await clients.add_public_client(
                    connection, partner_id=toy.partner_id, name="x", scopes=["points:accrue"], redirect_uris=[uri],
                    by="anna", at=at,
                )  # fmt: skip
        assert (await connection.execute(counting)).one() == before


async def test_a_public_client_has_no_credential(toy: Toy) -> None:
    program = await public_client(toy)
    async with toy.database.transaction() as connection:
        with pytest.raises(ClientPublic):
            await clients.add_key(
                connection, program.client_id, Signer().public, overlap=timedelta(0), by="anna", at=toy.clock.at
            )
    refused(await program.token(), 400, "unauthorized_client")
    refused(await program.token(client_secret="x"), 401, "invalid_client")


async def test_the_trail_knows_who_registered_and_removed_a_key(own_toy: Toy) -> None:
    toy = own_toy
    program = await key_client(toy)
    async with toy.database.transaction() as connection:
        kid = await clients.add_key(
            connection, program.client_id, Signer().public, overlap=timedelta(0), by="anna", at=toy.clock.at
        )
        await clients.remove_key(connection, program.client_id, kid, by="anna", at=toy.clock.at)
        done = (await connection.execute(text("SELECT action FROM kit.audit_trail ORDER BY entry_id"))).scalars().all()
    assert done[-3:] == ["CLIENT_ADDED", "CLIENT_KEY_ADDED", "CLIENT_KEY_REMOVED"]
    assert "SECRETS_ALLOWED" in done


@pytest.mark.parametrize("resource", [ISSUER, "https://other.example/graphql", "", "x"])
async def test_a_resource_that_is_not_ours_is_refused(toy: Toy, resource: str) -> None:
    program = await key_client(toy)
    refused(await program.token(resource=resource), 400, "invalid_target")


async def test_the_resource_may_be_named_and_named_twice(toy: Toy) -> None:
    program = await key_client(toy)
    given(await program.token(resource=ISSUER + "/graphql"))
    form = (
        f"grant_type=client_credentials&resource={ISSUER}/graphql&resource={ISSUER}/graphql"
        f"&client_assertion_type={ASSERTION_TYPE}"
        f"&client_assertion={program.signer.assertion(program.client_id, toy.clock.at)}"
    )
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "DPoP": program.holder.proof("/oauth/token", toy.clock.at),
    }
    given(await toy.http.post("/oauth/token", content=form, headers=headers))
