"""Listeners: a stream of events and a socket to the application in this process, driven message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette

PATIENCE_SECONDS = 60


@dataclass
class Listener:
    """One exchange with the application: what it was sent, in order."""

    task: asyncio.Task[None]
    to_app: asyncio.Queue[dict[str, Any]]
    from_app: asyncio.Queue[dict[str, Any]]
    rest: bytes = b""

    async def raw(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.from_app.get(), PATIENCE_SECONDS)


@dataclass
class Events(Listener):
    """Server-sent events."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> None:
        start = await self.raw()
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}

    async def body(self) -> Any:
        """The JSON of an answer that is no stream."""
        return orjson.loads((await self.raw())["body"])

    async def event(self, *, beats: bool = False) -> tuple[str, Any]:
        """The next event and its data; a beat is ("", None), passed over unless wanted."""
        while True:
            while b"\n\n" not in self.rest:
                message = await self.raw()
                if not message.get("more_body") and not message.get("body"):
                    return "end", None
                self.rest += message["body"]
            event, self.rest = self.rest.split(b"\n\n", 1)
            lines = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
            if b"event" in lines:
                data = lines.get(b"data", b"")
                return lines[b"event"].decode(), orjson.loads(data) if data.strip() else None
            if beats:
                return "", None

    async def data(self) -> Any:
        """The data of the one field of the next event."""
        kind, payload = await self.event()
        assert kind == "next", (kind, payload)
        assert "errors" not in payload, payload
        [answer] = payload["data"].values()
        return answer


@dataclass
class Sock(Listener):
    """A WebSocket."""

    async def send(self, message: object) -> None:
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        await self.to_app.put({"type": "websocket.receive", "text": text})

    async def message(self, *, pings: bool = False) -> dict[str, Any]:
        """The next message; a ping is answered and passed over unless wanted."""
        while True:
            event = await self.raw()
            if event["type"] != "websocket.send":
                return event
            message: dict[str, Any] = orjson.loads(event["text"])
            if message["type"] != "ping" or pings:
                return message
            await self.send({"type": "pong"})

    async def closed(self) -> int:
        """The code with which the socket is closed next."""
        event = await self.message()
        assert event["type"] == "websocket.close", event
        return int(event["code"])

    async def acknowledged(self, payload: object = None) -> Sock:
        await self.send({"type": "connection_init", "payload": payload})
        assert (await self.message())["type"] == "connection_ack"
        return self

    async def subscribe(self, number: str, query: str, **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        await self.send({"id": number, "type": "subscribe", "payload": payload})


@asynccontextmanager
async def _open(app: Starlette, scope: dict[str, Any], kind: type[Any]) -> AsyncIterator[Any]:
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: Any) -> None:
        await from_app.put(dict(message))

    whole = {
        "asgi": {"version": "3.0"}, "http_version": "1.1", "path": "/graphql", "raw_path": b"/graphql", "root_path": "",
        "query_string": b"", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), **scope,
    }  # fmt: skip
    task = asyncio.create_task(app(whole, to_app.get, send))  # type: ignore[arg-type]
    listener = kind(task, to_app, from_app)
    try:
        yield listener
    finally:
        disconnect = "http.disconnect" if scope["type"] == "http" else "websocket.disconnect"
        await to_app.put({"type": disconnect, "code": 1000})
        try:
            await asyncio.wait_for(task, PATIENCE_SECONDS)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def events(
    app: Starlette,
    token: str,
    query: str,
    *,
    proof: str | None = None,
    path: str = "/graphql",
    session: list[tuple[bytes, bytes]] | None = None,
    **variables: Any,
) -> AsyncIterator[Events]:
    """A subscription answered with a stream of events; its status and headers are there. proof: of a bound token.

    session: headers of somebody who is signed in, instead of a token.
    """
    body = orjson.dumps({"query": query, "variables": variables})
    headers = [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")]
    if session is not None:
        headers += session
    elif proof is None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    else:
        headers += [(b"authorization", f"DPoP {token}".encode()), (b"dpop", proof.encode())]
    scope = {"type": "http", "method": "POST", "scheme": "http", "headers": headers, "path": path}
    async with _open(app, scope, Events) as listener:
        await listener.to_app.put({"type": "http.request", "body": body, "more_body": False})
        await listener.begin()
        yield listener


@asynccontextmanager
async def socket(
    app: Starlette, token: str | None, *, protocol: str = "graphql-transport-ws", origin: str | None = None
) -> AsyncIterator[Sock]:
    """A WebSocket, its handshake sent; the next message tells whether it was accepted."""
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    if origin:
        headers.append((b"origin", origin.encode()))
    scope = {"type": "websocket", "scheme": "ws", "headers": headers, "subprotocols": [protocol]}
    async with _open(app, scope, Sock) as listener:
        await listener.to_app.put({"type": "websocket.connect"})
        yield listener


@asynccontextmanager
async def accepted(app: Starlette, token: str | None, **more: Any) -> AsyncIterator[Sock]:
    """A WebSocket that was accepted and not initialised."""
    async with socket(app, token, **more) as opened:
        assert (await opened.raw())["type"] == "websocket.accept"
        yield opened
