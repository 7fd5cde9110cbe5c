"""Tokens bound to a key (DPoP, RFC 9449): which proofs count, at the token endpoint and at the resource. O-48 to O-52."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from typing import Any

import httpx2
import pytest
from joserfc import jwt

from gateway.oauth import dpop
from gateway.oauth.dpop import InvalidProof
from tests.gateway.signers import Program, Signer, b64, given, key_client, refused
from tests.gateway.toys import ISSUER, Toy

pytestmark = pytest.mark.usefixtures("oauth_logs")

Changes = dict[str, Any]

WRONG_HEADERS: list[Changes] = [
    {"typ": "JWT"}, {"typ": None}, {"typ": "at+jwt"}, {"typ": 7}, {"alg": "RS256"}, {"alg": "none"}, {"alg": None},
    {"alg": "ES384"}, {"jwk": None}, {"jwk": "x"}, {"jwk": {}}, {"jwk": {"kty": "oct", "k": "eHh4"}}, {"kid": "x"},
    {"jku": "http://127.0.0.1:1/"}, {"crit": ["b64"], "b64": False}, {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}},
]  # fmt: skip
WRONG_CLAIMS: list[Changes] = [
    {"htm": None}, {"htm": "GET"}, {"htm": "post"}, {"htu": None}, {"htu": 7}, {"htu": ISSUER + "/other"},
    {"htu": "https://evil.example/oauth/token"}, {"htu": "http://a@127.0.0.1:8000/graphql"}, {"htu": "http://[x"},
    {"iat": None}, {"iat": "x"}, {"iat": 1.5}, {"iat": True}, {"iat": 3_600}, {"iat": -3_600}, {"iat": 30}, {"iat": -90},
    {"jti": None}, {"jti": ""}, {"jti": 7}, {"jti": "x" * 300},
]  # fmt: skip
RIGHT_CLAIMS: list[Changes] = [
    {}, {"iat": 10}, {"iat": -10}, {"iat": -59}, {"nonce": "x"}, {"more": {"a": 1}}, {"htu": "?a=b#c"}, {"htu": "upper"},
]  # fmt: skip


def shifted(toy: Toy, changes: Changes, path: str) -> Changes:
    """Changes with what depends on the moment or the address put in."""
    made = dict(changes)
    if type(made.get("iat")) is int:
        made["iat"] += int(toy.clock.at.timestamp())
    if made.get("htu") == "?a=b#c":
        made["htu"] = ISSUER + path + "?a=b#c"
    if made.get("htu") == "upper":
        made["htu"] = "HTTP://127.0.0.1:8000" + path
    return made


async def asked(program: Program, token: str, proof: str | list[str] | None, scheme: str = "DPoP") -> httpx2.Response:
    headers = [("Authorization", f"{scheme} {token}")]
    headers += [("DPoP", each) for each in ([proof] if isinstance(proof, str) else proof or [])]
    return await program.toy.http.post("/graphql", json={"query": "{ who }"}, headers=headers)


def refused_here(response: httpx2.Response, error: str = "invalid_dpop_proof", scheme: str = "DPoP") -> None:
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"].startswith(f'{scheme} error="{error}"')
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.fixture
async def bound(toy: Toy) -> tuple[Program, str]:
    """A client and a token that is bound to its holder's key."""
    program = await key_client(toy)
    return program, given(await program.token())["access_token"]


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA", "Ed25519"])
async def test_a_token_is_bound_to_the_key_whose_proof_came_with_the_request(toy: Toy, algorithm: str) -> None:
    program = await key_client(toy)
    program.holder = Signer(algorithm)
    said = given(await program.token())
    claims = json.loads(base64.urlsafe_b64decode(said["access_token"].split(".")[1] + "=="))
    assert said["token_type"] == "DPoP"
    assert claims["cnf"] == {"jkt": program.holder.jkt}
    response = await program.ask(said["access_token"])
    assert response.json()["data"] == {"who": f"{program.client_id} {toy.partner_id} en"}


@pytest.mark.parametrize("header", WRONG_HEADERS)
async def test_o_48_a_proof_with_a_wrong_header_counts_nowhere(
    toy: Toy, bound: tuple[Program, str], header: Changes
) -> None:
    program, token = bound
    proof = program.holder.proof("/oauth/token", toy.clock.at, header=header)
    refused(await program.token(proof), 400, "invalid_dpop_proof")
    refused_here(
        await asked(program, token, program.holder.proof("/graphql", toy.clock.at, token=token, header=header))
    )


async def test_o_48_rubbish_two_proofs_private_parts_and_foreign_signatures_count_nowhere(
    toy: Toy, bound: tuple[Program, str]
) -> None:
    program, token = bound
    private = {"jwk": dict(program.holder.key.as_dict(private=True))}
    foreign = Signer()
    wrong = [
        "x", "a.b.c", "..", "e30.e30.e30", "W10.e30.x", "x" * 9_000,
        program.holder.proof("/oauth/token", toy.clock.at, header=private),
        foreign.proof("/oauth/token", toy.clock.at, header={"jwk": program.holder.public}),
        foreign.proof("/oauth/token", toy.clock.at)[:-4] + "AAAA",
    ]  # fmt: skip
    for proof in wrong:
        refused(await program.token(proof), 400, "invalid_dpop_proof")
    for proof in ["", "x", "a.b.c"]:
        refused_here(await asked(program, token, proof))
    proofs = [program.holder.proof("/graphql", toy.clock.at, token=token) for _ in range(2)]
    refused_here(await asked(program, token, proofs))
    form = {"grant_type": "client_credentials", "client_id": program.client_id}
    twice = [("DPoP", program.holder.proof("/oauth/token", toy.clock.at)) for _ in range(2)]
    basic = "Basic " + base64.b64encode(f"{toy.client_id}:{toy.secret}".encode()).decode()
    form = {"grant_type": "client_credentials"}
    response = await toy.http.post("/oauth/token", data=form, headers=[*twice, ("Authorization", basic)])
    refused(response, 400, "invalid_dpop_proof")


@pytest.mark.parametrize("claims", WRONG_CLAIMS)
async def test_o_49_a_proof_with_a_wrong_claim_counts_nowhere(
    toy: Toy, bound: tuple[Program, str], claims: Changes
) -> None:
    program, token = bound
    proof = program.holder.proof("/oauth/token", toy.clock.at, **shifted(toy, claims, "/oauth/token"))
    refused(await program.token(proof), 400, "invalid_dpop_proof")
    proof = program.holder.proof("/graphql", toy.clock.at, token=token, **shifted(toy, claims, "/graphql"))
    refused_here(await asked(program, token, proof))


@pytest.mark.parametrize("claims", RIGHT_CLAIMS)
async def test_o_49_what_rfc_9449_allows_is_accepted(toy: Toy, bound: tuple[Program, str], claims: Changes) -> None:
    program, token = bound
    proof = program.holder.proof("/oauth/token", toy.clock.at, **shifted(toy, claims, "/oauth/token"))
    given(await program.token(proof))
    proof = program.holder.proof("/graphql", toy.clock.at, token=token, **shifted(toy, claims, "/graphql"))
    assert (await asked(program, token, proof)).status_code == 200


async def test_o_49_a_default_port_may_be_said_or_left_out() -> None:
    from datetime import UTC, datetime

    signer, at = Signer(), datetime(2026, 11, 21, tzinfo=UTC)
    for said in ("https://loyalty.example/oauth/token", "HTTPS://Loyalty.Example:443/oauth/token?x#y"):
        proof = signer.proof("", at, htu=said)
        assert dpop.read([proof], method="POST", uri="https://loyalty.example/oauth/token", at=at).jkt == signer.jkt
    for said in (
        "https://loyalty.example:444/oauth/token",
        "http://loyalty.example/oauth/token",
        "https://loyalty.example/Oauth/token",
    ):
        with pytest.raises(InvalidProof):
            dpop.read([signer.proof("", at, htu=said)], method="POST", uri="https://loyalty.example/oauth/token", at=at)


async def test_o_49_a_proof_counts_once_in_turn_and_when_eight_come_at_once(
    toy: Toy, bound: tuple[Program, str]
) -> None:
    program, token = bound
    proof = program.holder.proof("/graphql", toy.clock.at, token=token)
    answers = await asyncio.gather(*(asked(program, token, proof) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    refused_here(await asked(program, token, proof))
    proof = program.holder.proof("/oauth/token", toy.clock.at)
    answers = await asyncio.gather(*(program.token(proof) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


async def test_o_49_a_proof_is_of_this_token(toy: Toy, bound: tuple[Program, str]) -> None:
    program, token = bound
    another = given(await program.token())["access_token"]
    for ath in (None, "x", dpop.hash_of(another), 7):
        refused_here(await asked(program, token, program.holder.proof("/graphql", toy.clock.at, token=token, ath=ath)))


async def test_o_50_a_bound_token_is_no_bearer_token(toy: Toy, bound: tuple[Program, str]) -> None:
    program, token = bound
    refused_here(await asked(program, token, None, "Bearer"), "invalid_token", "Bearer")
    proof = program.holder.proof("/graphql", toy.clock.at, token=token)
    refused_here(await asked(program, token, proof, "Bearer"), "invalid_token", "Bearer")
    refused_here(await asked(program, token, None))


async def test_o_50_a_bound_token_with_another_key_s_proof_is_refused(toy: Toy, bound: tuple[Program, str]) -> None:
    program, token = bound
    proof = Signer().proof("/graphql", toy.clock.at, token=token)
    refused_here(await asked(program, token, proof), "invalid_token")


async def test_a_bearer_token_needs_no_proof_and_takes_none_for_a_binding(toy: Toy) -> None:
    program = await key_client(toy, binds_tokens=False)
    said = given(await program.token(None))
    assert said["token_type"] == "Bearer"
    assert (await asked(program, said["access_token"], None, "Bearer")).status_code == 200
    proof = program.holder.proof("/graphql", toy.clock.at, token=said["access_token"])
    refused_here(await asked(program, said["access_token"], proof), "invalid_token")


async def test_o_51_whose_tokens_are_bound_gets_none_without_a_proof(toy: Toy) -> None:
    program = await key_client(toy)
    refused(await program.token(None), 400, "invalid_dpop_proof")


@pytest.mark.parametrize("cnf", [{}, {"x5t#S256": "x"}, {"jkt": "x", "more": 1}, "x", None, {"jkt": 7}])
async def test_a_binding_that_is_not_understood_is_refused(toy: Toy, cnf: object) -> None:
    held = await toy.app.state.oauth.keys.signer()
    now = int(toy.clock.at.timestamp())
    claims = {
        "iss": ISSUER, "aud": ISSUER + "/graphql", "sub": toy.client_id, "client_id": toy.client_id, "cnf": cnf,
        "scope": "points:accrue", "jti": secrets.token_hex(8), "iat": now, "exp": now + 600,
    }  # fmt: skip
    header = {"alg": "ES256", "typ": "at+jwt", "kid": held.kid}
    token = jwt.encode(header, claims, held.key)
    assert (await toy.ask("{ one }", token=token)).status_code == 401


async def test_o_52_what_else_was_signed_is_no_access_token(toy: Toy) -> None:
    program = await key_client(toy)
    for other in (
        program.signer.assertion(program.client_id, toy.clock.at),
        program.holder.proof("/graphql", toy.clock.at),
        program.signer.sign({"typ": "at+jwt", "kid": program.signer.jkt}, {"sub": program.client_id}),
        f"{b64(b'{}')}.{b64(b'{}')}.{b64(b'x')}",
    ):
        refused_here(
            await asked(program, other, program.holder.proof("/graphql", toy.clock.at, token=other)), "invalid_token"
        )
        assert (await toy.ask("{ one }", token=other)).status_code == 401


async def test_a_bound_token_asks_the_database_for_its_proof_alone(
    own_toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = own_toy
    program = await key_client(toy)
    token = given(await program.token())["access_token"]
    assert (await program.ask(token)).status_code == 200
    statements: list[str] = []
    pool = toy.app.state.oauth.database.pool
    original = type(pool).fetch

    async def counted(self: Any, query: str, *arguments: Any, **named: Any) -> Any:
        statements.append(query)
        return await original(self, query, *arguments, **named)

    def asked_otherwise(*_: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(type(pool), "fetch", counted)
    monkeypatch.setattr(type(toy.database.engine), "connect", asked_otherwise)
    answers = await asyncio.gather(*(program.ask(token, "{ one }") for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= len(statements) < 12
    assert all("used_id" in statement for statement in statements)


async def test_keys_of_proofs_are_remembered_up_to_a_number(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpop, "_MOST_KNOWN", 3)
    dpop._known.clear()
    for _ in range(8):
        signer = Signer()
        proof = signer.proof("/graphql", toy.clock.at)
        assert dpop.read([proof], method="POST", uri=ISSUER + "/graphql", at=toy.clock.at).jkt == signer.jkt
    assert len(dpop._known) <= 3
