"""Other people's clients, over a real socket, against a gateway that runs: Authlib's own and requests-oauthlib."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import uvicorn
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc7523.assertion import sign_jwt_bearer_assertion
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from gateway import app, scopes
from gateway.oauth import clients
from gateway.oauth.approvers import Approver
from kit import actors
from kit.clock import wall
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import Settings
from tests.gateway.signers import CALLBACK, Signer, came_back_from, form_of
from tests.gateway.toys import People, Seen, onboarded, schema

WHO = {"query": "{ who }"}


@dataclass
class Running:
    """A gateway at an address of its own, with a partner and a client of it that has a secret."""

    address: str
    database: Database
    people: People
    partner_id: int
    client_id: str
    secret: str

    async def key_client(self, signer: Signer, *, redirect_uris: tuple[str, ...] = ()) -> str:
        async with self.database.transaction() as connection:
            return await clients.add_key_client(
                connection, partner_id=self.partner_id, name="Outside", scopes=scopes.TILL, jwk=signer.public,
                redirect_uris=redirect_uris, binds_tokens=False, by="anna", at=wall(),
            )  # fmt: skip


class _Announcing(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @asynccontextmanager
    async def serving(self, listening: socket.socket) -> AsyncIterator[None]:
        self.capture_signals = _nothing  # type: ignore[method-assign]
        task = asyncio.create_task(self.serve(sockets=[listening]))
        await asyncio.wait({task, asyncio.create_task(self.listens.wait())}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield
        finally:
            self.should_exit = True
            await task


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.fixture
async def running(server: Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Running]:
    """A gateway that listens."""
    partner_id, client_id, secret = await onboarded(database, vault, wall())
    people = People()

    @asynccontextmanager
    async def opening(_: object) -> AsyncIterator[Seen]:
        yield Seen()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        built = app.build(
            Settings(issuer=address, pool_size=2), schema, database_url=server.url(database_name, APPLICATION_ROLE),
            vault=vault, opening=opening, signed_in=people.signed_in,
        )  # fmt: skip
        config = uvicorn.Config(built, log_config=None, lifespan="on", ws="none", server_header=False)
        async with _Announcing(config).serving(listening):
            yield Running(address, database, people, partner_id, client_id, secret)


class ShortAssertion(PrivateKeyJWT):  # type: ignore[misc]
    """Authlib's own way to sign, for a minute instead of its hour, and to the issuer."""

    def sign(self, auth: Any, token_endpoint: str) -> str:
        return str(sign_jwt_bearer_assertion(
            auth.client_secret, issuer=auth.client_id, subject=auth.client_id, audience=token_endpoint, alg="ES256",
            expires_in=60,
        ))  # fmt: skip


async def metadata_of(running: Running) -> dict[str, str]:
    async with httpx2.AsyncClient() as http:
        said: dict[str, str] = (await http.get(running.address + "/.well-known/oauth-authorization-server")).json()
    assert said["issuer"] == running.address
    return said


async def test_requests_oauthlib_signs_in_with_a_secret(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the test's own machine
    metadata = await metadata_of(running)

    def conversation() -> Any:
        session = OAuth2Session(client=BackendApplicationClient(running.client_id, scope=["points:accrue"]))
        token = session.fetch_token(metadata["token_endpoint"], auth=(running.client_id, running.secret))
        assert token["scope"] == ["points:accrue"]
        with session:
            return session.post(running.address + "/graphql", json=WHO).json()

    said = await asyncio.to_thread(conversation)
    assert said["data"] == {"who": f"{running.client_id} {running.partner_id} en"}


async def test_authlib_signs_in_with_a_key(running: Running) -> None:
    metadata, signer = await metadata_of(running), Signer()
    client_id = await running.key_client(signer)
    async with AsyncOAuth2Client(
        client_id, signer.key, token_endpoint_auth_method=ShortAssertion(running.address)
    ) as outside:
        token = await outside.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        assert token["token_type"] == "Bearer"
        said = (await outside.post(running.address + "/graphql", json=WHO)).json()
    assert said["data"] == {"who": f"{client_id} {running.partner_id} en"}


async def test_authlib_gets_a_code_redeems_refreshes_and_revokes(running: Running) -> None:
    metadata, signer, verifier = await metadata_of(running), Signer(), "v" * 64
    client_id = await running.key_client(signer, redirect_uris=(CALLBACK,))
    async with running.database.transaction() as connection:
        actor_id = await actors.ensure_actor(connection, "anna", [])
    running.people.by_cookie["anna"] = Approver(actor_id, "anna", None, "session")
    async with (
        AsyncOAuth2Client(
            client_id, signer.key, redirect_uri=CALLBACK, code_challenge_method="S256",
            token_endpoint_auth_method=ShortAssertion(running.address),
            revocation_endpoint_auth_method=ShortAssertion(running.address),
        ) as outside,
        httpx2.AsyncClient(base_url=running.address, headers={"Cookie": "who=anna"}) as browser,
    ):  # fmt: skip
        url, state = outside.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
        assertion = signer.sign({}, _assertion(client_id, running.address))
        pushed = await browser.post("/oauth/par", data={
            **dict(httpx2.URL(url).params), "client_assertion": assertion,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        })  # fmt: skip
        address = f"/oauth/authorize?client_id={client_id}&request_uri={pushed.json()['request_uri']}"
        form = form_of(await browser.get(address))
        back = await browser.post("/oauth/authorize", data={**form, "decision": "approve"})
        assert came_back_from(back, running.address)["state"] == state
        token = await outside.fetch_token(
            metadata["token_endpoint"], authorization_response=back.headers["location"], state=state,
            code_verifier=verifier,
        )  # fmt: skip
        assert (await outside.post(running.address + "/graphql", json=WHO)).status_code == 200
        again = await outside.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
        assert again["access_token"] != token["access_token"]
        done = await outside.revoke_token(metadata["revocation_endpoint"], token=token["refresh_token"])
        assert done.status_code == 200
        with pytest.raises(Exception, match="invalid_grant"):
            await outside.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])


def _assertion(client_id: str, issuer: str) -> dict[str, Any]:
    now = int(wall().timestamp())
    return {"iss": client_id, "sub": client_id, "aud": issuer, "jti": str(now), "iat": now, "exp": now + 60}
