"""A partner's receiver of webhooks: a real HTTP server on this machine, which answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    """A call as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The delivery's id."""
        return self.headers["webhook-id"]

    @property
    def told(self) -> dict[str, Any]:
        """The document."""
        document: dict[str, Any] = orjson.loads(self.body)
        return document

    def verified(self, secret: str) -> dict[str, Any]:
        """The document, where the receivers' library finds the signature good. Raises its error where not."""
        document: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return document


Script = Callable[[Received], tuple[int, dict[str, str], bytes]]


def taken(_: Received) -> tuple[int, dict[str, str], bytes]:
    """Take everything."""
    return 204, {}, b""


@dataclass
class Receiver:
    """What came in, in order; script says how a call is answered, and while `closed` is set none is."""

    port: int = 0
    script: Script = taken
    received: list[Received] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hooks") -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """What came in at a path."""
        return [each for each in self.received if each.path == path]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                headers = {}
                while (header := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                call = Received(line.split()[1].decode(), headers, body)
                self.received.append(call)
                await self.open.wait()
                status, more, said = self.script(call)
                lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(said)}"]
                lines += [f"{name}: {value}" for name, value in more.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + said)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def opened() -> AsyncIterator[Receiver]:
    """A receiver that takes calls for the time of the block."""
    made = Receiver()
    made.open.set()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.open.set()
        server.close()
