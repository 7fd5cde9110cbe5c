"""A gateway to talk to: the whole application over a test's database, spoken to over ASGI with real tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count
from typing import Any

import httpx2
import orjson
from starlette.applications import Starlette

from gateway import app, lanes, scopes
from gateway.gate import client_rules
from gateway.gate.allowances import Allowance
from gateway.oauth import clients
from gateway.schema import schema
from kit import actors, clock
from kit.settings import Settings
from tests.builders import NOON, Coalition

ISSUER = "http://127.0.0.1:8000"
PLENTY = Allowance(1_000_000, 100_000)
_keys = count(1)


@dataclass
class Till:
    """A partner's client with a token, that asks and gets the data."""

    http: httpx2.AsyncClient
    token: str
    language: str = "en"
    client_id: str = ""
    secret: str = ""

    async def post(self, document: str, **variables: Any) -> httpx2.Response:
        """The raw answer."""
        return await self.http.post(
            "/graphql",
            content=orjson.dumps({"query": document, "variables": variables}),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "Accept-Language": self.language,
            },
        )

    async def ask(self, document: str, **variables: Any) -> Any:
        """The one root field's data; an error fails the test."""
        body = (await self.post(document, **variables)).json()
        assert "errors" not in body, body
        (answer,) = body["data"].values()
        return answer

    async def error(self, document: str, **variables: Any) -> dict[str, Any]:
        """The first error, where one is expected."""
        body = (await self.post(document, **variables)).json()
        assert body.get("errors"), body
        first: dict[str, Any] = body["errors"][0]
        return first


@dataclass
class Gateway:
    """The application, its coalition, and a till per partner."""

    coalition: Coalition
    http: httpx2.AsyncClient
    app: Starlette
    tills: dict[str, Till] = field(default_factory=dict)
    wall: Callable[[], datetime] = clock.wall

    async def till(
        self,
        code: str | None,
        *,
        wanted: Sequence[str] = (*scopes.TILL, scopes.SETTLEMENT_READ),
        allowance: Allowance | None = PLENTY,
    ) -> Till:
        """A new client of a partner (None: the operator's staff) with its token; allowance None is the standard."""
        partner_id = self.coalition.callers[code].partner_id if code else None
        async with self.coalition.database.transaction() as connection:
            await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
            await clients.allow_secrets(connection, partner_id=partner_id, by="tester", at=self.wall())
            client_id, secret = await clients.add_client(
                connection, partner_id=partner_id, name=f"till of {code}", scopes=wanted, by="tester", at=self.wall()
            )
            if allowance is not None:
                await client_rules.change(connection, client_id, by="tester", at=self.wall(), allowance=allowance)
        self.app.state.endpoint.admission.rules.look_again()
        return await self.sign_in(code, client_id, secret)

    async def sign_in(self, code: str | None, client_id: str, secret: str) -> Till:
        """A client that was added before, with a new token."""
        answer = await self.http.post(
            "/oauth/token", auth=(client_id, secret), data={"grant_type": "client_credentials"}
        )
        assert answer.status_code == 200, answer.text
        made = Till(self.http, answer.json()["access_token"], client_id=client_id, secret=secret)
        if code:
            self.tills[code] = made
        return made

    async def at(self, instant: datetime) -> None:
        """Move the business clock."""
        async with self.coalition.database.transaction() as connection:
            await clock.set_sandbox(connection, instant)


class Clients:
    """A till's client for each of some partners, added once per file of tests: `add` is what a template needs more."""

    def __init__(self, *codes: str) -> None:
        self._codes = codes
        self._secrets: dict[str, tuple[str, str]] = {}

    async def add(self, coalition: Coalition) -> None:
        """Add them, and have the gateway make its keys."""
        async with opened(coalition, coalition.database.engine.url.render_as_string(hide_password=False)) as gateway:
            for code in self._codes:
                made = await gateway.till(code)
                self._secrets[code] = made.client_id, made.secret

    async def sign_in(self, gateway: Gateway) -> None:
        """A till for each of them, with a token of its own."""
        for code, (client_id, secret) in self._secrets.items():
            await gateway.sign_in(code, client_id, secret)


@asynccontextmanager
async def opened(coalition: Coalition, database_url: str) -> AsyncIterator[Gateway]:
    """The application running over a database, its business clock at NOON."""
    settings = Settings(issuer=ISSUER, clock="sandbox", pool_size=4)
    built = app.build(settings, schema, database_url=database_url, vault=coalition.vault, opening=lanes.opened)
    async with (
        built.router.lifespan_context(built),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(built), base_url=ISSUER) as http,
    ):
        gateway = Gateway(coalition, http, built)
        await gateway.at(NOON)
        yield gateway


def key() -> str:
    """A fresh idempotency key."""
    return f"test-key-{next(_keys):012d}"


def receipt(
    total: str = "100.00", *, on: date | None = None, reference: str | None = None, **more: Any
) -> dict[str, Any]:
    """A receipt as a till sends it."""
    return {
        "reference": reference or f"G{next(_keys)}",
        "outlet": "1",
        "terminal": "1",
        "businessDate": (on or NOON.date()).isoformat(),
        "occurredAt": NOON.isoformat(),
        "currencyCode": "EUR",
        "total": total,
        **more,
    }
