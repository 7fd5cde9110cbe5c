"""The token endpoint: what it gives, and what it answers to everybody it gives nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwk, jwt
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway import scopes
from gateway.oauth import clients, keys
from gateway.oauth.clients import ClientCache, ClientUnknown, OverlapTooLong, ScopeUnknown
from gateway.oauth.routes import BadIssuer, checked_issuer, described
from kit import postgres
from kit.actors import NotPermitted, ensure_actor
from tests.gateway import own_toys
from tests.gateway.toys import ISSUER, Toy

template = own_toys.a_toy()

GRANT = {"grant_type": "client_credentials"}
FORM = "application/x-www-form-urlencoded"


def basic(client_id: str | bytes, secret: str | bytes = "") -> str:
    raw = (client_id if isinstance(client_id, bytes) else client_id.encode()) + b":"
    return "Basic " + base64.b64encode(raw + (secret if isinstance(secret, bytes) else secret.encode())).decode()


async def post(toy: Toy, body: str | bytes = "grant_type=client_credentials", **headers: str) -> httpx2.Response:
    given = {"Content-Type": FORM, "Authorization": basic(toy.client_id, toy.secret), **headers}
    return await toy.http.post("/oauth/token", content=body, headers={k: v for k, v in given.items() if v})


def refusal(response: httpx2.Response) -> tuple[int, str]:
    """Status and error, once it is clear that nothing was given and nothing may be kept."""
    said = response.json()
    assert "access_token" not in said
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, said["error"]


async def test_a_client_gets_a_token_for_ten_minutes_that_says_what_rfc_9068_wants(toy: Toy) -> None:
    response = await toy.ask_token()
    said = response.json()
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert (said["token_type"], said["expires_in"]) == ("Bearer", 600)
    assert said["scope"] == " ".join(sorted(scopes.TILL))
    published = jwk.KeySet.import_key_set((await toy.http.get("/oauth/jwks.json")).json())
    token = jwt.decode(said["access_token"], published, algorithms=["ES256"])
    assert token.header == {"alg": "ES256", "typ": "at+jwt", "kid": published.keys[0].kid}
    now = int(toy.clock.at.timestamp())
    expected = {
        "iss": ISSUER, "aud": ISSUER + "/graphql", "sub": toy.client_id, "client_id": toy.client_id,
        "scope": said["scope"], "iat": now, "exp": now + 600,
    }  # fmt: skip
    assert {name: token.claims[name] for name in expected} == expected
    assert len(token.claims["jti"]) >= 16
    assert token.claims.keys() == expected.keys() | {"jti"}


async def test_a_client_gets_the_scopes_that_it_asks_for(toy: Toy) -> None:
    said = (await toy.ask_token(scope="points:accrue members:read points:accrue")).json()
    assert said["scope"] == "members:read points:accrue"


@pytest.mark.parametrize("scope", ["settlement:read", "points:accrue settlement:read", "nonsense", '"', "", " ", "ж"])
async def test_a_scope_that_was_not_granted_is_refused_and_not_narrowed(toy: Toy, scope: str) -> None:
    assert refusal(await toy.ask_token(scope=scope)) == (400, "invalid_scope")


UNKNOWN = "cl_" + "a" * 20


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Basic", "Basic ", "Basic !!!", "Basic " + "A" * 65_536, "Bearer x", "Basic Y2xfOng", basic(UNKNOWN, "x"),
        basic(b"\xff\xfe", b"\xff"), basic(b"cl_\x00", b"x"), basic("cl_ж", "x"), basic("' OR 1=1 --", "x"),
        "Basic " + base64.b64encode(b"no colon").decode(), basic("", ""), basic(UNKNOWN, ""), "Digest " + "x" * 40,
    ],
)  # fmt: skip
async def test_whoever_does_not_authenticate_gets_one_answer(toy: Toy, authorization: str) -> None:
    response = await post(toy, Authorization=authorization)
    wrong = await post(toy, Authorization=basic(toy.client_id, "wrong"))
    assert refusal(response) == refusal(wrong) == (401, "invalid_client")
    assert response.content == wrong.content
    assert (
        response.headers["www-authenticate"]
        == wrong.headers["www-authenticate"]
        == 'Basic realm="token", charset="UTF-8"'
    )


async def test_an_unknown_client_costs_the_same_statement_as_a_wrong_secret(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.oauth import authentication

    compared: list[int] = []
    original = authentication.hmac.compare_digest
    monkeypatch.setattr(authentication.hmac, "compare_digest", lambda a, b: compared.append(1) or original(a, b))
    await post(toy, Authorization=basic(UNKNOWN, "x"))
    await post(toy, Authorization=basic(toy.client_id, "x"))
    assert compared == [1, 1]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 400, "invalid_request"),
        ("scope=points:accrue", 400, "invalid_request"),
        ("grant_type=", 400, "unsupported_grant_type"),
        ("grant_type=authorization_code&code=x", 400, "unauthorized_client"),
        ("grant_type=password&username=a&password=b", 400, "unsupported_grant_type"),
        ("grant_type=implicit", 400, "unsupported_grant_type"),
        ("grant_type=refresh_token&refresh_token=x", 400, "unauthorized_client"),
        ("grant_type=%22%5C%D0%B6", 400, "unsupported_grant_type"),
        ("grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        ("grant_type=client_credentials&scope=points:accrue&scope=points:accrue", 400, "invalid_request"),
        ("grant_type=client_credentials&x=1&x=2", 400, "invalid_request"),
        ("grant_type=client_credentials&scope=%FF", 400, "invalid_request"),
        ("grant_type=client_credentials&scope=%00", 400, "invalid_scope"),
        ("grant_type=client_credentials&" + "&".join(f"a{n}=1" for n in range(30)), 400, "invalid_request"),
        ("grant_type=client_credentials&a=" + "x" * 20_000, 400, "invalid_request"),
        ("grant_type=client_credentials&client_secret=x", 400, "invalid_request"),
        ("grant_type=client_credentials&client_assertion=x&client_assertion_type=y", 400, "invalid_request"),
        (f"grant_type=client_credentials&client_id={UNKNOWN}", 401, "invalid_client"),
        ("\xff", 400, "invalid_request"),
    ],
)
async def test_a_wrong_form_is_refused(toy: Toy, body: str, status: int, error: str) -> None:
    assert refusal(await post(toy, body.encode("latin-1"))) == (status, error)


async def test_the_clients_own_id_may_stand_in_the_body(toy: Toy) -> None:
    assert (await toy.ask_token(client_id=toy.client_id)).status_code == 200


async def test_the_secret_in_the_body_is_no_way_in(toy: Toy) -> None:
    body = f"grant_type=client_credentials&client_id={toy.client_id}&client_secret={toy.secret}"
    response = await post(toy, body, Authorization="")
    assert refusal(response) == (401, "invalid_client")
    assert "www-authenticate" in response.headers


async def test_parameters_in_the_address_are_refused(toy: Toy) -> None:
    response = await toy.http.post("/oauth/token?grant_type=client_credentials", auth=(toy.client_id, toy.secret))
    assert refusal(response) == (400, "invalid_request")
    response = await toy.http.post("/oauth/token?scope=x", data=GRANT, auth=(toy.client_id, toy.secret))
    assert refusal(response) == (400, "invalid_request")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_only_a_form_is_read(toy: Toy, content_type: str) -> None:
    body = json.dumps(GRANT) if "json" in content_type else "grant_type=client_credentials"
    assert refusal(await post(toy, body, **{"Content-Type": content_type})) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_post_is_served(toy: Toy, method: str) -> None:
    response = await toy.http.request(method, "/oauth/token", auth=(toy.client_id, toy.secret))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["cache-control"] == "no-store"


async def test_every_token_given_or_refused_is_logged_without_secrets(toy: Toy) -> None:
    with capture_logs() as logs:
        token = (await toy.ask_token()).json()["access_token"]
        await post(toy, Authorization=basic(toy.client_id, "wr0ng-secret"))
    said = {(entry["event"], entry.get("client_id")) for entry in logs}
    assert {("token_issued", toy.client_id), ("token_refused", toy.client_id)} <= said
    assert all(hidden not in str(logs) for hidden in (token, toy.secret, "wr0ng-secret"))


async def test_a_suspended_client_gets_no_token_and_its_tokens_die_within_ten_seconds(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    assert (await toy.ask("{ one }")).status_code == 200
    async with toy.database.transaction() as connection:
        await clients.suspend(connection, toy.client_id, by="anna", at=toy.clock.at)
    assert refusal(await toy.ask_token()) == (401, "invalid_client")
    assert (await toy.ask("{ one }")).status_code == 200  # the view is younger than five seconds
    ticks[0] += clients.FRESH_SECONDS
    assert (await toy.ask("{ one }")).status_code == 401


async def test_a_resumed_client_asks_for_a_new_token(own_toy: Toy) -> None:
    toy, ticks = own_toy, [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    async with toy.database.transaction() as connection:
        await clients.suspend(connection, toy.client_id, by="anna", at=toy.clock.at)
        toy.clock.forward(seconds=30)
        await clients.resume(connection, toy.client_id, by="anna", at=toy.clock.at)
    toy.clock.forward(seconds=2)
    assert (await toy.ask("{ one }")).status_code == 401
    fresh = (await toy.ask_token()).json()["access_token"]
    assert (await toy.ask("{ one }", token=fresh)).status_code == 200


async def test_a_suspended_partner_gets_no_token_and_its_tokens_die(own_toy: Toy) -> None:
    from partners.agreements import onboarding

    toy = own_toy
    async with toy.database.transaction() as connection:
        actor = await ensure_actor(connection, "anna", [])
        await onboarding.suspend_partner(connection, partner_id=toy.partner_id, actor=actor, at=toy.clock.at)
    await toy.app.state.services.directory.refresh()
    assert refusal(await toy.ask_token()) == (401, "invalid_client")
    assert (await toy.ask("{ one }")).status_code == 401


async def test_scopes_taken_from_a_client_are_taken_from_the_tokens_that_it_holds(
    own_toy: Toy, server: postgres.Server, database_name: str
) -> None:
    toy = own_toy
    assert (await toy.ask("{ guarded }")).json()["data"] == {"guarded": "ok"}
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE gateway.client SET scopes = ARRAY['points:accrue']")
    await owner.close()
    assert (await toy.ask("{ guarded }")).json()["data"] == {"guarded": "ok"}
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database)
    [error] = (await toy.ask("{ guarded }")).json()["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"


async def test_while_a_secret_is_being_replaced_both_are_good(own_toy: Toy) -> None:
    toy = own_toy
    async with toy.database.transaction() as connection:
        fresh = await clients.rotate(connection, toy.client_id, overlap=timedelta(hours=1), by="anna", at=toy.clock.at)
    for secret in (toy.secret, fresh):
        assert (await post(toy, Authorization=basic(toy.client_id, secret))).status_code == 200
    toy.clock.forward(hours=1)
    assert refusal(await post(toy)) == (401, "invalid_client")
    assert (await post(toy, Authorization=basic(toy.client_id, fresh))).status_code == 200


async def test_a_second_rotation_ends_the_secret_before_the_last_at_once(own_toy: Toy) -> None:
    toy, hour = own_toy, timedelta(hours=1)
    async with toy.database.transaction() as connection:
        second = await clients.rotate(connection, toy.client_id, overlap=hour, by="anna", at=toy.clock.at)
        third = await clients.rotate(connection, toy.client_id, overlap=hour, by="anna", at=toy.clock.at)
        fourth = await clients.rotate(connection, toy.client_id, overlap=timedelta(0), by="anna", at=toy.clock.at)
    answers = [
        (await post(toy, Authorization=basic(toy.client_id, secret))).status_code
        for secret in (toy.secret, second, third, fourth)
    ]
    assert answers == [401, 401, 401, 200]


async def test_only_the_hash_of_a_secret_is_kept_and_the_trail_knows_who_did_it(own_toy: Toy) -> None:
    toy = own_toy
    async with toy.database.transaction() as connection:
        fresh = await clients.rotate(connection, toy.client_id, overlap=timedelta(0), by="anna", at=toy.clock.at)
        await clients.suspend(connection, toy.client_id, by="anna", at=toy.clock.at)
        await clients.resume(connection, toy.client_id, by="anna", at=toy.clock.at)
        rows = (await connection.execute(text("SELECT to_jsonb(s)::text FROM gateway.client_secret s"))).scalars().all()
        trail = (await connection.execute(text("SELECT action, to_jsonb(t)::text FROM kit.audit_trail t"))).all()
    kept = str(rows) + str(trail)
    assert toy.secret not in kept
    assert fresh not in kept
    assert [action for action, _ in trail if action.startswith("CLIENT")] == [
        "CLIENT_ADDED", "CLIENT_SECRET_ROTATED", "CLIENT_SUSPENDED", "CLIENT_RESUMED",
    ]  # fmt: skip


async def test_what_cannot_be_done_to_a_client_is_rejected_and_writes_nothing(own_toy: Toy) -> None:
    toy, at = own_toy, own_toy.clock.at
    counting = text("SELECT (SELECT count(*) FROM gateway.client), (SELECT count(*) FROM gateway.client_secret)")
    async with toy.database.transaction() as connection:
        await ensure_actor(connection, "bob", [])
        before = (await connection.execute(counting)).one()
        new = {"partner_id": None, "name": "x", "at": at}
        with pytest.raises(NotPermitted):
            await clients.add_client(connection, scopes=["points:accrue"], by="bob", **new)
        for wrong in ([], ["points:acrue"]):
            with pytest.raises(ScopeUnknown):
                await clients.add_client(connection, scopes=wrong, by="anna", **new)
        with pytest.raises(ClientUnknown):
            await clients.rotate(connection, UNKNOWN, overlap=timedelta(0), by="anna", at=at)
        with pytest.raises(ClientUnknown):
            await clients.suspend(connection, UNKNOWN, by="anna", at=at)
        for overlap in (timedelta(seconds=-1), timedelta(days=31)):
            with pytest.raises(OverlapTooLong):
                await clients.rotate(connection, toy.client_id, overlap=overlap, by="anna", at=at)
        assert (await connection.execute(counting)).one() == before


async def test_a_client_of_the_staff_belongs_to_no_partner_and_is_known_as_soon_as_it_is_added(own_toy: Toy) -> None:
    toy = own_toy
    assert (await toy.ask("{ one }")).status_code == 200
    async with toy.database.transaction() as connection:
        await clients.allow_secrets(connection, partner_id=None, by="anna", at=toy.clock.at)
        client_id, secret = await clients.add_client(
            connection, partner_id=None, name="staff", scopes=[scopes.SCHEMA_READ], by="anna", at=toy.clock.at
        )
    toy.client_id, toy.secret = client_id, secret
    token = (await toy.ask_token()).json()["access_token"]
    assert (await toy.ask("{ who }", token=token)).json()["data"] == {"who": f"{client_id} None en"}
    assert "data" in (await toy.ask("{ __schema { queryType { name } } }", token=token)).json()


async def test_an_outside_client_finds_its_way_by_the_metadata(toy: Toy) -> None:
    metadata = (await toy.http.get("/.well-known/oauth-authorization-server")).json()
    transport = httpx2.ASGITransport(app=toy.app)
    async with AsyncOAuth2Client(
        toy.client_id, toy.secret, scope="points:accrue", token_endpoint=metadata["token_endpoint"], transport=transport
    ) as outside:
        await outside.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        response = await outside.post(f"{ISSUER}/graphql", json={"query": "{ who }"})
    assert response.json()["data"] == {"who": f"{toy.client_id} {toy.partner_id} en"}


async def test_the_metadata_lists_what_is_served_whatever_the_request_says(toy: Toy) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    metadata = (await toy.http.get("/.well-known/oauth-authorization-server", headers=forged)).json()
    assert metadata == described(ISSUER)
    assert metadata["issuer"] == ISSUER
    assert metadata["scopes_supported"] == sorted(scopes.SCOPES)


async def test_the_key_set_shows_public_halves_alone(toy: Toy) -> None:
    [key] = (await toy.http.get("/oauth/jwks.json")).json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["use"], key["alg"], key["crv"]) == ("sig", "ES256", "P-256")


def test_an_issuer_is_https_or_this_machine() -> None:
    assert checked_issuer("https://loyalty.example/") == "https://loyalty.example"
    assert checked_issuer("http://localhost:8000") == "http://localhost:8000"
    for wrong in ("http://loyalty.example", "loyalty.example", "", "https://a.example/?x", "https://a.example/#x"):
        with pytest.raises(BadIssuer):
            checked_issuer(wrong)


async def test_two_processes_that_start_at_once_agree_on_one_first_key(own_toy: Toy) -> None:
    toy = own_toy
    async with toy.database.transaction() as connection:
        await connection.execute(text("UPDATE gateway.signing_key SET verifies_until = created_at"))
    rings = [keys.KeyRing(toy.database, toy.vault, now=toy.clock.now) for _ in range(4)]
    await asyncio.gather(*(ring.open() for ring in rings))
    kids: set[Any] = {(await ring.signer()).kid for ring in rings}
    assert len(kids) == 1
