"""The real gateway in a process of its own, and the cheapest client there is, so that the gateway has the processor."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import orjson

from benchmarks import callers
from benchmarks.coalition import DATABASE
from benchmarks.stage import Load
from gateway import client_rules, scopes
from gateway.allowances import Allowance
from gateway.oauth import clients
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE
from members.cards import IssuedCard
from tests.builders import Coalition

MASTER_KEY = b64encode(bytes(range(32))).decode()
PLENTY = Allowance(1_000_000_000, 1_000_000)
ONE = """mutation Accrue($input: AccruePointsInput!) { accruePoints(input: $input) { __typename
  ... on AccruePointsSuccess { replayed transaction { id points } } ... on Rejection { code } } }"""
MANY = """mutation Batch($input: AccrueManyInput!) { accrueMany(input: $input) { __typename
  ... on AccrueManySuccess { accepted rejected results { __typename ... on AccruePointsSuccess { replayed
  transaction { id points } } ... on Rejection { code } } } ... on Rejection { code } } }"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its process's number and its port."""

    pid: int
    port: int


@asynccontextmanager
async def gateway(server: postgres.Server) -> AsyncIterator[Gateway]:
    """The gateway, listening on a free port of loopback."""
    port = _free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": server.dsn(DATABASE, APPLICATION_ROLE),
        "TESSERA_MASTER_KEY": MASTER_KEY,
        "TESSERA_PORT": str(port),
        "TESSERA_ISSUER": f"http://127.0.0.1:{port}",
        "TESSERA_LOG_LEVEL": "error",
        "TESSERA_CLOCK": "wall",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.commands", "serve", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await _answering(process, port)
        yield Gateway(process.pid, port)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def _answering(process: asyncio.subprocess.Process, port: int) -> None:
    for _ in range(600):
        if process.returncode is not None:
            raise RuntimeError("the gateway did not start")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise RuntimeError("the gateway does not listen")


class Connection:
    """One keep-alive connection that posts."""

    def __init__(self, port: int, token: str = "") -> None:
        self._port = port
        self._token = token

    async def open(self) -> Connection:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def post(
        self, path: str, body: bytes, content_type: str = "application/json", authorization: str = ""
    ) -> bytes:
        """The answer's body; raises RuntimeError on any status but 200."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: {content_type}\r\n"
            f"Authorization: {authorization or 'Bearer ' + self._token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        said = await self._reader.readuntil(b"\r\n\r\n")
        length = int(said.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        if b" 200 " not in said[:20]:
            raise RuntimeError(answer.decode()[:500])
        return answer

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def token_of(made: Coalition, code: str, port: int) -> str:
    """An access token of a fresh client of a partner."""
    async with made.database.transaction() as connection:
        await actors.ensure_actor(connection, "bench", [actors.ONBOARDING])
        partner_id = made.callers[code].partner_id
        await clients.allow_secrets(connection, partner_id=partner_id, by="bench", at=clock.wall())
        client_id, secret = await clients.add_client(
            connection, partner_id=partner_id, name=f"bench {code}", scopes=scopes.TILL, by="bench", at=clock.wall()
        )
        await client_rules.change(connection, client_id, by="bench", at=clock.wall(), allowance=PLENTY)
    asking = await Connection(port).open()
    basic = "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()
    form = "application/x-www-form-urlencoded"
    answer = await asking.post("/oauth/token", b"grant_type=client_credentials", form, basic)
    asking.close()
    return str(orjson.loads(answer)["access_token"])


def sent_receipt(lines: int) -> dict[str, object]:
    """A receipt of 10.00 as a till sends it, of a total alone or with lines."""
    now = clock.wall()
    receipt: dict[str, object] = {
        "reference": uuid4().hex, "outlet": "1", "terminal": "1", "businessDate": now.date().isoformat(),
        "occurredAt": now.isoformat(), "currencyCode": "EUR", "total": "10.00",
    }  # fmt: skip
    if lines:
        line = {"kind": "GOODS", "sku": "1004906", "category": "BREAD", "quantity": "1", "amount": "2.50"}
        receipt["lines"] = [{"lineId": str(number), **line} for number in range(lines)]
    return receipt


@asynccontextmanager
async def tills(
    port: int, token: str, cards: Sequence[IssuedCard], *, connections: int, items: int, lines: int, seed: int
) -> AsyncIterator[Load]:
    """A load of accruePoints (items 0) or accrueMany over keep-alive connections with a bearer token."""
    drawn = random.Random(seed)
    opened = [await Connection(port, token).open() for _ in range(connections)]

    async def call(number: int) -> int:
        batch = [
            {"member": {"cardNumber": drawn.choice(cards).number}, "receipt": sent_receipt(lines)}
            for _ in range(items or 1)
        ]
        given = {"idempotencyKey": uuid4().hex, **({"items": batch} if items else batch[0])}
        body = orjson.dumps({"query": MANY if items else ONE, "variables": {"input": given}})
        answer = orjson.loads(await opened[number].post("/graphql", body))
        done = _done(answer, items)
        if done != (items or 1):
            raise RuntimeError(f"the gateway answered {str(answer)[:500]}")
        return done

    yield callers.load(connections, call)
    for connection in opened:
        connection.close()


def _done(answer: dict[str, dict[str, dict[str, object]]], items: int) -> int:
    data = answer.get("data") or {}
    if items:
        return int(str(data.get("accrueMany", {}).get("accepted", 0)))
    return int(data.get("accruePoints", {}).get("__typename") == "AccruePointsSuccess")
