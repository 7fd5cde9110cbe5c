"""/graphql as a WebSocket: the protocol graphql-transport-ws, for subscriptions and nothing else.

A query or mutation belongs to HTTP, where a status, a deadline and a cost stand around it. Whoever cannot send an
Authorization header with the handshake (a browser) sends it as `authorization` in the payload of connection_init, and
with a bound token a DPoP proof, made for GET at the endpoint's address, as `dpop`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from gateway import masking
from gateway.context import Viewer, language_of
from gateway.endpoint import Endpoint, asked_by, operation_name, shown_by
from gateway.gate.prepared import Unacceptable
from gateway.streams import Ended, Refused, Stream, told

PROTOCOL = "graphql-transport-ws"
LARGEST_MESSAGE = 64 * 1024
MOST_SUBSCRIPTIONS = 10
INIT_SECONDS = 5.0
SILENT_SECONDS = 30.0

# The protocol's own codes of closing.
BAD_MESSAGE, UNAUTHORIZED, FORBIDDEN, INIT_TIMEOUT = 4400, 4401, 4403, 4408
ALREADY_SUBSCRIBED, TOO_MANY = 4409, 4429
GOING_AWAY, SILENT = 1001, 4499


class _Close(Exception):  # noqa: N818 - that is what is done
    """The socket is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Gone(Exception):  # noqa: N818 - the other side is
    """The socket was closed by the other side."""


def origin_of(issuer: str) -> str:
    """The origin that our own pages have."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}"


class Socket:
    """The ASGI application of the WebSocket at /graphql."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        allowed_origin: str,
        init_seconds: float = INIT_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self.allowed_origin = allowed_origin
        self.init_seconds = init_seconds
        self.silent_seconds = silent_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        headers = dict(scope["headers"])
        await receive()  # the handshake
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") != self.allowed_origin:
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: a 403
            return
        if PROTOCOL not in scope.get("subprotocols", ()):
            await send({"type": "websocket.close", "code": 1002})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        await _Connection(self, scope, headers, receive, send).run()


class _Connection:
    """One accepted connection."""

    def __init__(
        self, socket: Socket, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        self._socket = socket
        self._endpoint = socket.endpoint
        self._request_id: str = scope["request_id"]
        self._noted: dict[str, Any] = scope["noted"]
        self._shown = shown_by(scope["headers"], "GET")
        self._language = language_of(headers.get(b"accept-language", b"").decode("latin-1"))
        self._receive = receive
        self._send_message = send
        self._viewer: Viewer | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard_at = time.monotonic()

    async def run(self) -> None:
        """Serve until one side has enough."""
        beating = asyncio.ensure_future(self._beat())
        reading = asyncio.ensure_future(self._read())
        try:
            done, _ = await asyncio.wait({beating, reading, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            next(iter(done)).result()
        except _Gone:
            pass
        except _Close as close:
            self._noted["closed"] = close.code
            with suppress(Exception):
                await self._send_message({"type": "websocket.close", "code": close.code, "reason": close.reason})
        finally:
            for task in (beating, reading, *self._running.values()):
                task.cancel()
            for task in (beating, reading, *self._running.values()):
                with suppress(asyncio.CancelledError, Exception):
                    await task
            if self._failure.done() and not self._failure.cancelled():
                self._failure.exception()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._socket.init_seconds):
                await self._begin(await self._message())
        except TimeoutError:
            raise _Close(INIT_TIMEOUT, "Connection initialisation timeout") from None
        while True:
            await self._handle(await self._message())

    async def _message(self) -> dict[str, Any]:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise _Gone
        self._heard_at = time.monotonic()
        text = event.get("text")
        if text is None or len(text) > LARGEST_MESSAGE:
            raise _Close(BAD_MESSAGE, "A message is a text of at most 64 KiB")
        try:
            message = orjson.loads(text)
        except ValueError:
            raise _Close(BAD_MESSAGE, "A message is JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise _Close(BAD_MESSAGE, "A message is an object with a type")
        return message

    async def _begin(self, message: dict[str, Any]) -> None:
        while message["type"] in ("ping", "pong"):
            await self._handle(message)
            message = await self._message()
        if message["type"] != "connection_init":
            raise _Close(UNAUTHORIZED, "Unauthorized")
        payload = message.get("payload")
        given = payload if isinstance(payload, dict) else {}
        if isinstance(authorization := given.get("authorization"), str) and self._shown.authorization is None:
            self._shown = replace(self._shown, authorization=authorization.encode("utf-8", "replace"))
        if isinstance(proof := given.get("dpop"), str) and not self._shown.proofs:
            self._shown = replace(self._shown, proofs=(proof,))
        try:
            self._viewer = await self._endpoint.viewer(self._shown)
        except Refused:
            raise _Close(FORBIDDEN, "Forbidden") from None
        self._noted["client_id"] = self._viewer.client_id
        await self._send({"type": "connection_ack"})

    async def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "pong":
            pass
        elif kind == "connection_init":
            raise _Close(TOO_MANY, "Too many initialisation requests")
        elif kind == "subscribe":
            self._subscribe(message)
        elif kind == "complete" and isinstance(message.get("id"), str):
            if task := self._running.pop(message["id"], None):
                task.cancel()
        else:
            raise _Close(BAD_MESSAGE, "A message of no known type")

    def _subscribe(self, message: dict[str, Any]) -> None:
        number, payload = message.get("id"), message.get("payload")
        if not isinstance(number, str) or not 1 <= len(number) <= 128 or not isinstance(payload, dict):
            raise _Close(BAD_MESSAGE, "A subscription has an id and a payload")
        if number in self._running:
            raise _Close(ALREADY_SUBSCRIBED, f"Subscriber for {number} already exists")
        if len(self._running) >= MOST_SUBSCRIPTIONS:
            raise _Close(TOO_MANY, f"At most {MOST_SUBSCRIPTIONS} subscriptions on one connection")
        task = asyncio.ensure_future(self._serve(number, payload))
        self._running[number] = task
        task.add_done_callback(lambda done: self._served(number, done))

    def _served(self, number: str, done: asyncio.Task[None]) -> None:
        if self._running.get(number) is done:
            del self._running[number]
        if not done.cancelled() and (error := done.exception()) is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _serve(self, number: str, payload: dict[str, Any]) -> None:
        try:
            stream = await self._stream(payload)
        except Unacceptable as no:
            await self._refuse(number, [told(error, self._request_id) for error in no.errors])
            return
        except Refused as no:
            if no.status == 401:
                raise _Close(FORBIDDEN, "Forbidden") from None
            extensions = {"code": no.code, "requestId": self._request_id}
            await self._refuse(number, [masking.formatted(no.message, extensions)])
            return
        try:
            async for answer in stream.events():
                if answer is not None:
                    await self._send({"id": number, "type": "next", "payload": answer})
            await self._send({"id": number, "type": "complete"})
        except Ended as ended:
            is_ours = ended.code == masking.SERVICE_UNAVAILABLE
            raise _Close(GOING_AWAY if is_ours else FORBIDDEN, "Going away" if is_ours else "Forbidden") from None
        finally:
            await stream.close()

    async def _stream(self, payload: dict[str, Any]) -> Stream:
        asked = asked_by(payload)
        viewer = await self._endpoint.viewer_still(self._shown)
        context = self._endpoint.context(viewer, self._request_id, self._language)
        admitted = await self._endpoint.admitted(asked, 0, context)
        if not admitted.operation.is_subscription:
            self._endpoint.admission.undo(admitted)
            raise Refused(400, masking.BAD_REQUEST, "Only subscriptions are served here; POST the rest to /graphql.")
        self._noted["operation"] = operation_name(admitted.operation)
        return self._endpoint.stream(admitted, asked, context, self._shown)

    async def _refuse(self, number: str, errors: list[dict[str, Any]]) -> None:
        await self._send({"id": number, "type": "error", "payload": errors})

    async def _beat(self) -> None:
        """Ping, look whether the other side still answers, and whether its token is still good."""
        beat_seconds = self._endpoint.streams.beat_seconds
        while True:
            await asyncio.sleep(beat_seconds)
            if self._viewer is None:
                continue
            if time.monotonic() - self._heard_at > self._socket.silent_seconds:
                raise _Close(SILENT, "Nothing was heard for too long")
            if self._endpoint.streams.is_draining():
                raise _Close(GOING_AWAY, "Going away")
            try:
                await self._endpoint.viewer_still(self._shown)
            except Refused:
                raise _Close(FORBIDDEN, "Forbidden") from None
            await self._send({"type": "ping"})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_message({"type": "websocket.send", "text": orjson.dumps(message).decode()})
