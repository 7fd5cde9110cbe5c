"""A wire that is cut: stands between the driver and PostgreSQL and loses replies to work that was done.

It reads PostgreSQL's messages (a letter, four bytes of length, a body) so that it cuts where it hurts: after the
server has finished an execution, which in autocommit means after the commit, and before the client hears of it.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kit.postgres import Server

LOST_REPLY, HALF_REPLY, LOST_REQUEST = "lost reply", "half a reply", "lost request"


@dataclass
class Wire:
    """Every cable of one address. While `cutting`, one in `one_in` executed requests loses its connection."""

    upstream: str
    dice: random.Random
    one_in: int
    cutting: bool = False
    cuts: Counter[str] = field(default_factory=Counter)

    async def connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Carry one connection until either side or the dice ends it."""
        server, to_server = await asyncio.open_unix_connection(self.upstream)
        carrying = [
            asyncio.create_task(self._requests(client, to_server)),
            asyncio.create_task(self._replies(server, to_client)),
        ]
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
            for writer in (to_client, to_server):
                writer.transport.abort()

    async def _requests(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        while sent := await client.read(65_536):
            if self._hits(3) and b"B" in sent[:1]:  # Bind, Execute and Sync go out together
                self.cuts[LOST_REQUEST] += 1
                return
            to_server.write(sent)
            await to_server.drain()

    async def _replies(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while True:
            group, executed = await self._group(server)
            if executed and self._hits(1):
                # The client may have seen the rows, but not that they are committed.
                half = self.dice.random() < 0.3
                self.cuts[HALF_REPLY if half else LOST_REPLY] += 1
                to_client.write(group[: len(group) // 2] if half else b"")
                with suppress(ConnectionError):
                    await to_client.drain()
                return
            to_client.write(group)
            await to_client.drain()

    async def _group(self, server: asyncio.StreamReader) -> tuple[bytes, bool]:
        """What the server says next, and whether it is a completed execution outside of a transaction.

        What answers an execution is one group up to "ready for query"; any other message is one by itself.
        """
        said, completed = bytearray(), False
        while True:
            head = await server.readexactly(5)
            body = await server.readexactly(int.from_bytes(head[1:], "big") - 4)
            said += head + body
            kind = head[:1]
            completed = completed or kind == b"C"
            if kind == b"Z" or (len(said) == len(head) + len(body) and kind not in b"2DC"):
                return bytes(said), completed and body == b"I"

    def _hits(self, rarer: int) -> bool:
        return self.cutting and self.dice.random() * self.one_in * rarer < 1


@asynccontextmanager
async def wire(server: Server, seed: int, *, one_in: int) -> AsyncIterator[tuple[Server, Wire]]:
    """The server as it looks from the far end of a wire, and the wire."""
    folder = Path(tempfile.mkdtemp(prefix="tessera-wire-"))
    name = f".s.PGSQL.{server.port}"
    strung = Wire(str(server.socket_folder / name), random.Random(f"wire {seed}"), one_in)
    listening = await asyncio.start_unix_server(strung.connect, path=str(folder / name))
    try:
        yield replace(server, socket_folder=folder), strung
    finally:
        strung.cutting = False
        listening.close()
        shutil.rmtree(folder, ignore_errors=True)
