"""The outermost layer: a request's id, security headers on every answer, one access line, and no way past it for an
exception.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import logs, masking

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
)
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
_QUIET_PATHS = ("/healthz", "/readyz", "/metrics")

Problem = Callable[..., Awaitable[Response | None]]
"""Makes the page for a request that ended with a status; None for whoever asked for no page."""

log = structlog.get_logger("gateway.edge")


class Edge:
    """Wraps the whole application. An answer's own headers stay, so a page may bring a wider policy. problem makes the
    page for a browser whose request failed; whoever it makes none for is told in JSON."""

    def __init__(self, app: ASGIApp, *, is_https: bool, problem: Problem | None = None) -> None:
        self._app = app
        self._problem = problem
        self._added = dict((*HEADERS, _TRANSPORT) if is_https else HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; lifespan events pass through, sockets get an id and a line when they close."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _Exchange(self._app, self._added, scope, send, self._problem).run(receive)
        else:
            await _socket(self._app, scope, receive, send)


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_added", "_app", "_began", "_problem", "_scope", "_send", "_status", "request_id")

    def __init__(
        self, app: ASGIApp, added: Mapping[bytes, bytes], scope: Scope, send: Send, problem: Problem | None
    ) -> None:
        self._app = app
        self._problem = problem
        self._added = added
        self._scope = scope
        self._send = send
        self._status = 0
        self._began = time.perf_counter()
        self.request_id = _request_id(scope["headers"])

    async def run(self, receive: Receive) -> None:
        self._scope["request_id"] = self.request_id
        self._scope["noted"] = {}
        logs.request_id.set(self.request_id)
        try:
            await self._app(self._scope, receive, self.answer)
        except Exception as error:
            await self._excuse(error)
        finally:
            self._note()

    async def answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            brought = {name.lower() for name, _ in message.get("headers", ())}
            added: Collection[tuple[bytes, bytes]] = self._added.items()
            if not self._added.keys().isdisjoint(brought):
                added = [each for each in added if each[0] not in brought]
            request_id = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", ()), *added, request_id]
        await self._send(message)

    async def _excuse(self, error: Exception) -> None:
        away = masking.is_unavailable(error)
        log.error("unavailable" if away else "defect", exc_info=error)
        if self._status:  # the answer has begun; all that is left is to end the connection
            raise ConnectionAbortedError from None
        status, code = (503, masking.SERVICE_UNAVAILABLE) if away else (500, masking.INTERNAL_SERVER_ERROR)
        page = None if self._problem is None else await self._page(status)
        if page is not None:
            if away:
                page.headers["Retry-After"] = "1"
            await page(self._scope, _nothing, self.answer)
            return
        extensions = {"code": code, "requestId": self.request_id}
        body = orjson.dumps({"errors": [masking.formatted(masking.EXCUSES[code], extensions)]})
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if away:
            headers.append((b"retry-after", b"1"))
        await self.answer({"type": "http.response.start", "status": status, "headers": headers})
        await self.answer({"type": "http.response.body", "body": body})

    async def _page(self, status: int) -> Response | None:
        assert self._problem is not None
        try:
            return await self._problem(Request(self._scope), status)
        except Exception as error:  # then the plain answer has to do
            log.error("defect", exc_info=error)
            return None

    def _note(self) -> None:
        path = self._scope["path"]
        if not log.is_enabled_for(logging.INFO) or (path in _QUIET_PATHS and self._status < 400):
            return
        milliseconds = round((time.perf_counter() - self._began) * 1000, 2)
        noted: dict[str, Any] = self._scope["noted"]
        route = noted.pop("path", None) or (path if self._status != 404 else "unknown")
        log.info(
            "request", method=self._scope["method"], path=route, status=self._status, duration_ms=milliseconds, **noted
        )


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _socket(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    began = time.perf_counter()
    scope["request_id"] = request_id = _request_id(scope["headers"])
    scope["noted"] = {}
    logs.request_id.set(request_id)
    try:
        await app(scope, receive, send)
    except Exception as error:
        log.error("unavailable" if masking.is_unavailable(error) else "defect", exc_info=error)
        with suppress(Exception):  # it may be closed already
            await send({"type": "websocket.close", "code": 1011})
    finally:
        seconds = round(time.perf_counter() - began, 1)
        path = scope["path"] if scope["path"] == "/graphql" else "unknown"
        log.info("socket", path=path, duration_s=seconds, **scope["noted"])


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode()
    return uuid.uuid4().hex
