"""The application: what a process opens, and which path leads where."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from gateway import following, health
from gateway.context import Services
from gateway.edge import Edge, Problem
from gateway.endpoint import Endpoint
from gateway.gate import admission
from gateway.gate.prepared import Schema
from gateway.messages import sending
from gateway.oauth import routes as oauth_routes
from gateway.oauth.approvers import SignedIn
from gateway.oauth.desk import OAuth
from gateway.oauth.keys import KeyRing
from gateway.oauth.routes import checked_issuer, open_oauth
from gateway.sessions.asking import NotAnswered
from gateway.sockets import Socket, origin_of
from kit.clock import wall
from kit.database import connect
from kit.secrets import Vault, load_master_key
from kit.settings import Settings
from partners.directory import DirectoryCache

STATEMENT_SECONDS = 10
"""Longer than the longest deadline of a request, so that a statement never ends while somebody waits for its answer."""

GRAPHQL = "/graphql"
Opening = Callable[[Services], AbstractAsyncContextManager[Any]]


def build(
    settings: Settings,
    schema: Schema,
    *,
    database_url: str,
    vault: Vault | None = None,
    opening: Opening | None = None,
    pages: Sequence[BaseRoute] = (),
    wall_clock: Callable[[], datetime] = wall,
    signed_in: SignedIn | None = None,
    problem: Problem | None = None,
) -> Starlette:
    """The application over the database at an address that the application's role signs in to.

    vault defaults to the settings' master key. opening turns the services into what resolvers find as
    `services.lanes`, and closes it. pages are routes beside the API: the landing page, consoles. Handlers find
    `services`, `oauth`, `post` and `readiness` in `app.state`. signed_in knows who may approve at the OAuth pages;
    problem makes the page for a browser whose request came to nothing.
    Raises BadIssuer, BadKey, BadSmtpUrl.
    """
    issuer = checked_issuer(settings.issuer)
    is_https = issuer.startswith("https://")
    sending.channels_of(settings)
    keys_of = vault or Vault(load_master_key(settings))
    opened = _Opened(settings, schema, database_url, keys_of, issuer, opening, signed_in, wall_clock)
    return Application(
        routes=[
            Route(GRAPHQL, _GraphQL()),
            WebSocketRoute(GRAPHQL, _Socket()),
            *oauth_routes.ROUTES,
            *health.ROUTES,
            *pages,
        ],
        edge=Edge(_GraphQL(), is_https=is_https),
        middleware=[Middleware(Edge, is_https=is_https, problem=problem)],
        exception_handlers={HTTPException: partial(_not_served, problem), NotAnswered: partial(_not_answered, problem)},
        lifespan=opened.lifespan,
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a process opens before it serves, and closes behind its last answer."""

    settings: Settings
    schema: Schema
    database_url: str
    vault: Vault
    issuer: str
    opening: Opening | None
    signed_in: SignedIn | None
    now: Callable[[], datetime]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Everything that handlers find in `app.state`, for the time of the block."""
        async with AsyncExitStack() as stack:
            services = await self._services(stack)
            app.state.oauth = await self._oauth(services)
            stack.push_async_callback(app.state.oauth.used.close)
            if self.opening is not None:
                services.lanes = await stack.enter_async_context(self.opening(services))
            services.follower = await stack.enter_async_context(following.opened(services.database.pool))
            post = sending.posting(services.database, self.vault, self.settings, self.now)
            app.state.post = await stack.enter_async_context(post)
            app.state.services = services
            app.state.readiness = health.Readiness(services)
            gate = await stack.enter_async_context(admission.opened(self.schema, services, now=self.now))
            app.state.endpoint = Endpoint(self.schema, services, app.state.oauth.bearers, gate)
            app.state.endpoint.streams.is_draining = lambda: app.state.readiness.draining
            app.state.socket = Socket(app.state.endpoint, allowed_origin=origin_of(self.issuer))
            yield

    async def _services(self, stack: AsyncExitStack) -> Services:
        database = await stack.enter_async_context(
            connect(self.database_url, pool_size=self.settings.pool_size, statement_seconds=STATEMENT_SECONDS)
        )
        return Services(self.settings, database, self.vault, DirectoryCache(database.pool, self.vault))

    async def _oauth(self, services: Services) -> OAuth:
        ring = KeyRing(services.database, self.vault, now=self.now)
        return await open_oauth(
            self.issuer, services.database, ring, services.directory, self.vault, signed_in=self.signed_in,
            demands_nonces=self.settings.dpop_nonces, now=self.now,
        )  # fmt: skip


class Application(Starlette):
    """Starlette's application with a short way to the one path that most requests take: its edge and the endpoint,
    without a look at the other routes and the layers for what those raise. The edge lets nothing through.
    """

    def __init__(self, *, edge: Edge, **options: Any) -> None:
        super().__init__(**options)
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, socket or lifespan."""
        if scope["type"] == "http" and scope["path"] == GRAPHQL:
            scope["app"] = self
            await self._edge(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _GraphQL:
    """Hands over to the endpoint that the lifespan made."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.endpoint(scope, receive, send)


class _Socket:
    """Hands over to the socket endpoint that the lifespan made."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.socket(scope, receive, send)


async def _not_served(problem: Problem | None, request: Request, error: Exception) -> Response:
    """A path or method that is not served: as a page for a browser that asks for one, else in JSON."""
    assert isinstance(error, HTTPException)
    headers = {**(error.headers or {}), "Cache-Control": "no-store"}
    page = None if problem is None else await problem(request, error.status_code)
    if page is not None:
        page.headers.update(headers)
        return page
    return Response(orjson.dumps({"error": error.detail}), error.status_code, headers, "application/json")


async def _not_answered(problem: Problem | None, request: Request, error: Exception) -> Response:
    """A document that a page asked and that was answered with errors."""
    assert isinstance(error, NotAnswered)
    status = error.status if error.status >= 400 else 422
    page = None if problem is None else await problem(request, status, error.code)
    if page is not None:
        return page
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps({"errors": error.errors}), status, headers, "application/json")
