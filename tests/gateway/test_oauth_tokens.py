"""Which bearer tokens pass, and how fast what is taken back is gone."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from gateway.oauth import keys, tokens
from gateway.oauth.clients import ClientCache
from gateway.oauth.keys import KeyRing
from kit.secrets import BadKey, Vault
from tests.gateway import own_toys
from tests.gateway.toys import ISSUER, Toy

template = own_toys.a_toy()

HEADER = {"alg": "ES256", "typ": "at+jwt"}


async def signed(toy: Toy, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token that would be good, but for the changes; None takes a claim away."""
    held = await toy.app.state.oauth.keys.signer()
    now = int(toy.clock.at.timestamp())
    claims = {
        "iss": ISSUER, "aud": ISSUER + "/graphql", "sub": toy.client_id, "client_id": toy.client_id,
        "scope": "points:accrue", "jti": "x" * 20, "iat": now, "exp": now + 600, **changes,
    }  # fmt: skip
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({**HEADER, "kid": held.kid, **(header or {})}, kept, held.key, default_type=None)


async def status(toy: Toy, token: str) -> int:
    response = await toy.ask("{ one }", token=token)
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert response.json()["errors"][0]["message"] == "The access token is not accepted."
    return response.status_code


async def test_a_token_with_every_claim_right_passes(toy: Toy) -> None:
    assert await status(toy, await signed(toy)) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"iss": ISSUER + "/"}, {"aud": ISSUER}, {"aud": None},
        {"aud": [ISSUER + "/graphql"]}, {"aud": "https://other.example/graphql"}, {"client_id": None}, {"client_id": 7},
        {"client_id": "cl_" + "z" * 20, "sub": "cl_" + "z" * 20}, {"sub": "somebody"}, {"sub": None}, {"jti": None},
        {"jti": 1}, {"scope": None}, {"scope": ["points:accrue"]}, {"exp": None}, {"exp": "1"}, {"exp": 10.5},
        {"iat": None}, {"iat": True}, {"cnf": {"jkt": "x"}},
    ],
)  # fmt: skip
async def test_a_token_with_a_wrong_claim_is_refused(toy: Toy, changes: dict[str, Any]) -> None:
    assert await status(toy, await signed(toy, **changes)) == 401


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "dpop+jwt"},
        {"typ": "AT+JWT"},
        {"kid": "x" * 43},
        {"kid": None},
        {"kid": 7},
    ],
)
async def test_a_token_with_a_wrong_header_is_refused(toy: Toy, header: dict[str, Any]) -> None:
    token = await signed(toy)
    _, claims, _ = token.split(".")
    held = await toy.app.state.oauth.keys.signer()
    full = {name: value for name, value in {**HEADER, "kid": held.kid, **header}.items() if value is not None}
    forged = _sign(full, claims, held.key)
    assert await status(toy, forged) == 401


def _sign(header: dict[str, Any], claims: str, key: ECKey) -> str:
    """A signature that is right over whatever header one likes."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    raw = key.get_op_key("sign").sign(f"{head}.{claims}".encode(), ECDSA(SHA256()))
    signature = b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(raw))
    return f"{head}.{claims}." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


async def test_the_forgery_of_these_tests_passes_when_the_header_is_right(toy: Toy) -> None:
    held = await toy.app.state.oauth.keys.signer()
    claims = (await signed(toy)).split(".")[1]
    assert await status(toy, _sign({**HEADER, "kid": held.kid}, claims, held.key)) == 200
    critical = {**HEADER, "kid": held.kid, "crit": ["b64"], "b64": False}
    assert await status(toy, _sign(critical, claims, held.key)) == 401


async def test_an_algorithm_that_is_not_ours_is_refused(toy: Toy) -> None:
    held = await toy.app.state.oauth.keys.signer()
    _, claims, signature = (await signed(toy)).split(".")
    public = held.key.as_pem(private=False)

    def with_header(**header: Any) -> str:
        said = json.dumps({"typ": "at+jwt", "kid": held.kid, **header}).encode()
        return base64.urlsafe_b64encode(said).rstrip(b"=").decode()

    assert await status(toy, f"{with_header(alg='none')}.{claims}.") == 401
    assert await status(toy, f"{with_header(alg='none')}.{claims}.{signature}") == 401
    assert await status(toy, f"{with_header(alg='HS256')}.{claims}.{signature}") == 401
    payload = json.loads(base64.urlsafe_b64decode(claims + "=="))
    confused = f"{with_header(alg='HS256')}.{claims}"
    mac = base64.urlsafe_b64encode(hmac.digest(public, confused.encode(), "sha256")).rstrip(b"=").decode()
    assert await status(toy, f"{confused}.{mac}") == 401
    other = RSAKey.generate_key(2048)
    foreign = jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": held.kid}, payload, other, algorithms=["RS256"])
    assert await status(toy, foreign) == 401


async def test_a_key_in_the_header_is_not_trusted(toy: Toy) -> None:
    held = await toy.app.state.oauth.keys.signer()
    mine = ECKey.generate_key("P-256")
    claims = (await signed(toy)).split(".")[1]
    header = {**HEADER, "kid": held.kid, "jwk": mine.as_dict(private=False)}
    assert await status(toy, _sign(header, claims, mine)) == 401
    assert await status(toy, _sign({**HEADER, "kid": mine.thumbprint()}, claims, mine)) == 401


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "..",
        "e30.e30.e30",
        "ж",
        "x" * 5_000,
        "W10.e30.x",
        "bnVsbA.e30.x",
        "/w.e30.x",
        "eyJhbGciOjF9.e30.x",
    ],
)
async def test_rubbish_is_refused(toy: Toy, token: str) -> None:
    headers = [(b"authorization", b"Bearer " + token.encode()), (b"content-type", b"application/json")]
    response = await toy.http.post("/graphql", content=b"{}", headers=headers)
    assert response.status_code == 401


async def test_a_changed_token_is_refused(toy: Toy) -> None:
    head, claims, signature = toy.token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    said["scope"] += " schema:read"
    changed = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    assert await status(toy, f"{head}.{changed}.{signature}") == 401
    assert await status(toy, toy.token) == 200


async def test_a_token_expires_to_the_second_even_when_it_was_seen_before(own_toy: Toy) -> None:
    toy = own_toy
    assert await status(toy, toy.token) == 200
    toy.clock.forward(seconds=599)
    assert await status(toy, toy.token) == 200
    toy.clock.forward(seconds=1)
    assert await status(toy, toy.token) == 401


async def test_a_clock_that_is_a_little_ahead_is_forgiven(toy: Toy) -> None:
    now = int(toy.clock.at.timestamp())
    assert await status(toy, await signed(toy, iat=now + 8)) == 200
    assert await status(toy, await signed(toy, iat=now + 70)) == 401


async def test_a_signature_is_checked_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    original = tokens.jwt.decode

    def counted(value: str, *arguments: Any, **named: Any) -> Any:
        checked.append(value)
        return original(value, *arguments, **named)

    monkeypatch.setattr(tokens.jwt, "decode", counted)
    token = await signed(toy, jti="only this once")
    for _ in range(5):
        assert await status(toy, token) == 200
    assert checked == [token]


async def test_tokens_that_were_verified_are_remembered_up_to_a_number(toy: Toy) -> None:
    oauth = toy.app.state.oauth

    async def always(_: int) -> bool:
        return True

    bearers = tokens.Bearers(ISSUER, oauth.keys, oauth.clients, always, now=toy.clock.now, capacity=3)
    for number in range(10):
        await bearers.viewer(await signed(toy, jti=f"number {number}"))
    assert len(bearers._verified) == 3


async def test_a_known_token_asks_the_database_nothing(own_toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = own_toy
    assert await status(toy, toy.token) == 200

    def asked(*_: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(type(toy.database.engine), "connect", asked)
    monkeypatch.setattr(type(toy.database.pool), "acquire", asked)
    assert await status(toy, toy.token) == 200


async def test_a_new_key_takes_over_while_tokens_of_the_last_one_stay_good(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    oauth = toy.app.state.oauth
    ring = KeyRing(toy.database, toy.vault, clock=lambda: ticks[0], now=toy.clock.now)
    oauth.bearers._keys = ring
    first = (await ring.signer()).kid
    async with toy.database.transaction() as connection:
        second = await keys.rotate_key(connection, toy.vault, by="anna", at=toy.clock.at)
    ticks[0] += keys.RENEW_SECONDS
    assert {key["kid"] for key in (await ring.public())["keys"]} == {first, second}  # type: ignore[attr-defined]
    assert (await ring.signer()).kid == first
    toy.clock.forward(seconds=keys.PUBLISHED_BEFORE_SIGNING.total_seconds())
    assert (await ring.signer()).kid == second
    assert await status(toy, toy.token) == 200
    toy.clock.at += keys.TOKEN_LIFE + keys.PUBLISHED_BEFORE_SIGNING
    assert await ring.verifier(first) is None
    assert await ring.verifier(second) is not None


async def test_in_an_emergency_tokens_of_the_last_key_die_within_a_minute(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    ring = KeyRing(toy.database, toy.vault, clock=lambda: ticks[0], now=toy.clock.now)
    toy.app.state.oauth.bearers._keys = ring
    assert await status(toy, toy.token) == 200
    async with toy.database.transaction() as connection:
        await keys.rotate_key(connection, toy.vault, by="anna", at=toy.clock.at, emergency=True)
    ticks[0] += keys.RENEW_SECONDS
    assert await status(toy, toy.token) == 401
    ticks[0] += keys.RENEW_SECONDS
    assert (await ring.signer()).kid in {key["kid"] for key in (await ring.public())["keys"]}  # type: ignore[attr-defined]


async def test_a_token_of_a_key_that_just_appeared_is_looked_up_at_once(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    ring = KeyRing(toy.database, toy.vault, clock=lambda: ticks[0], now=toy.clock.now)
    toy.app.state.oauth.bearers._keys = ring
    await ring.signer()
    async with toy.database.transaction() as connection:
        kid = await keys.rotate_key(connection, toy.vault, by="anna", at=toy.clock.at, emergency=True)
    ticks[0] += keys.RETRY_SECONDS
    assert await ring.verifier(kid) is not None


async def test_another_master_key_is_noticed(own_toy: Toy) -> None:
    ring = KeyRing(own_toy.database, Vault(bytes(range(1, 33))), now=own_toy.clock.now)
    with pytest.raises(BadKey, match="not the one"):
        await ring.open()


async def test_a_view_of_the_clients_serves_on_while_one_caller_renews_it_but_never_past_ten_seconds(
    own_toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, ticks, reads = own_toy, [0.0], 0
    cache = ClientCache(toy.database, clock=lambda: ticks[0])
    assert toy.client_id in await cache.get()
    original = cache._renew

    async def counted(older_than_seconds: float) -> None:
        nonlocal reads
        reads += 1
        await original(older_than_seconds)

    monkeypatch.setattr(cache, "_renew", counted)
    ticks[0] = 4.9
    await cache.get()
    assert reads == 0
    ticks[0] = 5.0
    async with cache._lock:
        assert toy.client_id in await cache.get()
    assert reads == 0
    await cache.get()
    assert reads == 1
    ticks[0] = 15.1
    await toy.database.engine.dispose()
    monkeypatch.setattr(cache, "_database", _Away())
    with pytest.raises(ConnectionError):
        await cache.get()


class _Away:
    def reading(self) -> Any:
        raise ConnectionError


def test_a_token_lives_for_minutes() -> None:
    assert timedelta(minutes=5) <= keys.TOKEN_LIFE <= timedelta(minutes=10)
