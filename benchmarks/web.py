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
from urllib.parse import urlencode
from uuid import uuid4

import orjson

from benchmarks import callers
from benchmarks.coalition import DATABASE
from benchmarks.signing import Signed, Signer
from benchmarks.stage import Load
from gateway import scopes
from gateway.gate import client_rules
from gateway.gate.allowances import Allowance
from gateway.oauth import clients
from gateway.oauth.authentication import ASSERTION_TYPE
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE
from members.cards import IssuedCard
from tests.builders import Coalition

FORM = "application/x-www-form-urlencoded"
MASTER_KEY = b64encode(bytes(range(32))).decode()
PLENTY = Allowance(1_000_000_000, 1_000_000)
ONE = """mutation Accrue($input: AccruePointsInput!) { accruePoints(input: $input) { __typename
  ... on AccruePointsSuccess { replayed transaction { id points } } ... on Rejection { code } } }"""
MEMBER = """query Balance($ref: MemberRefInput!) { member(ref: $ref) { id tier
  balance { available pending debt } } }"""
MANY = """mutation Batch($input: AccrueManyInput!) { accrueMany(input: $input) { __typename
  ... on AccrueManySuccess { accepted rejected results { __typename ... on AccruePointsSuccess { replayed
  transaction { id points } } ... on Rejection { code } } } ... on Rejection { code } } }"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its process's number and its port."""

    pid: int
    port: int


SERVE = ("-m", "gateway.commands", "serve")


@asynccontextmanager
async def gateway(server: postgres.Server, *, command: Sequence[str] = SERVE) -> AsyncIterator[Gateway]:
    """The gateway, listening on a free port of loopback. command is what Python is told to run."""
    port = free_port()
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
        sys.executable, *command, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await answering(process, port)
        yield Gateway(process.pid, port)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def answering(process: asyncio.subprocess.Process, port: int) -> None:
    """Return once a server process listens; raises RuntimeError where it ended or does not."""
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


class Connection(asyncio.Protocol):
    """One keep-alive connection that posts, and does no more than it must: it shares the machine with the gateway."""

    def __init__(self, port: int, token: str = "") -> None:
        self._port = port
        self._bearer = f"Bearer {token}"
        self._said = b""
        self._answered: asyncio.Future[bytes]

    async def open(self) -> Connection:
        """Connect."""
        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_connection(lambda: self, "127.0.0.1", self._port)
        return self

    def head(self, path: str, content_type: str = "application/json", authorization: str = "", more: str = "") -> bytes:
        """The first lines of a request, up to the length of its body."""
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: {content_type}\r\n"
            f"Authorization: {authorization or self._bearer}\r\n{more}Content-Length: "
        ).encode()

    async def answer(self, head: bytes, body: bytes) -> tuple[int, bytes, bytes]:
        """The status, head and body of the answer to a request. Raises ConnectionError where there is none."""
        self._answered = self._loop.create_future()
        self._transport.write(b"%s%d\r\n\r\n%s" % (head, len(body), body))
        said = await self._answered
        ends = said.index(b"\r\n\r\n")
        return int(said[9:12]), said[:ends], said[ends + 4 :]

    async def post(
        self, path: str, body: bytes, content_type: str = "application/json", authorization: str = ""
    ) -> bytes:
        """The answer's body; raises RuntimeError on any status but 200."""
        return await self.good(self.head(path, content_type, authorization), body)

    async def good(self, head: bytes, body: bytes) -> bytes:
        """The same for a head that was made before."""
        status, _, answer = await self.answer(head, body)
        if status != 200:
            raise RuntimeError(f"{status}: {answer.decode()[:500]}")
        return answer

    def data_received(self, data: bytes) -> None:
        """Gather an answer, and hand it over when it is whole."""
        self._said = said = self._said + data if self._said else data
        ends = said.find(b"\r\n\r\n")
        if ends < 0:
            return
        at = said.find(b"content-length: ", 0, ends) + 16
        if len(said) >= ends + 4 + int(said[at : said.index(b"\r\n", at)]):
            self._said = b""
            self._answered.set_result(said)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for an answer hears that there will be none."""
        if not self._loop.is_closed() and hasattr(self, "_answered") and not self._answered.done():
            self._answered.set_exception(ConnectionResetError("the gateway hung up"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


@dataclass(frozen=True, slots=True)
class SigningClient:
    """A client that signs with a key of its own, and the gateway's address."""

    client_id: str
    signer: Signer
    port: int

    @property
    def issuer(self) -> str:
        """The gateway as it names itself."""
        return f"http://127.0.0.1:{self.port}"

    def asks(self, assertion: str) -> bytes:
        """The form that asks for a token."""
        form = {
            "grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion,
        }  # fmt: skip
        return urlencode(form).encode()

    async def bound_token(self) -> str:
        """A token that is bound to the client's key."""
        asking = await Connection(self.port).open()
        proof = self.signer.proof(f"{self.issuer}/oauth/token")
        head = asking.head("/oauth/token", FORM, "-", f"DPoP: {proof}\r\n").replace(b"Authorization: -\r\n", b"")
        answer = await asking.good(head, self.asks(self.signer.assertion(self.client_id, self.issuer)))
        asking.close()
        said = orjson.loads(answer)
        if said["token_type"] != "DPoP":
            raise RuntimeError("the token is not bound")
        return str(said["access_token"])


async def signing_client(made: Coalition, code: str, port: int, *, binds_tokens: bool) -> SigningClient:
    """A fresh client of a partner that signs (private_key_jwt); its tokens are bound to its key if it wants that."""
    signer = Signer()
    async with made.database.transaction() as connection:
        await actors.ensure_actor(connection, "bench", [actors.ONBOARDING])
        client_id = await clients.add_key_client(
            connection, partner_id=made.callers[code].partner_id, name=f"signs {code}", scopes=scopes.TILL,
            jwk=signer.public, redirect_uris=(), binds_tokens=binds_tokens, by="bench", at=clock.wall(),
        )  # fmt: skip
        await client_rules.change(connection, client_id, by="bench", at=clock.wall(), allowance=PLENTY)
    await _seen()
    return SigningClient(client_id, signer, port)


async def _seen() -> None:
    """Return when a running gateway has looked at its clients' allowances again."""
    await asyncio.sleep(client_rules.FRESH_SECONDS)


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
    await _seen()
    asking = await Connection(port).open()
    basic = "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()
    answer = await asking.post("/oauth/token", b"grant_type=client_credentials", FORM, basic)
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


@dataclass(frozen=True, slots=True)
class Form:
    """A request's body with gaps: what a call fills in is put between pieces that were made once."""

    pieces: tuple[bytes, ...]

    @staticmethod
    def of(value: object, *gaps: str) -> Form:
        """A value as JSON, cut at strings that stand for what is filled in, in their order."""
        pieces, rest = [], orjson.dumps(value)
        for gap in gaps:
            before, _, rest = rest.partition(gap.encode())
            pieces.append(before)
        return Form((*pieces, rest))

    def filled(self, *parts: bytes) -> bytes:
        """The body with these parts in its gaps."""
        return b"".join([each for pair in zip(self.pieces, (*parts, b""), strict=True) for each in pair])


KEY, CARD, REFERENCE, ITEMS = "@key", "@card", "@reference", "@items"


def forms_of(items: int, lines: int) -> tuple[Form, Form]:
    """The body of accruePoints (items 0) or accrueMany, and an item of the latter."""
    item = {"member": {"cardNumber": CARD}, "receipt": {**sent_receipt(lines), "reference": REFERENCE}}
    each = Form.of(item, CARD, REFERENCE)
    if items:
        whole = {"query": MANY, "variables": {"input": {"idempotencyKey": KEY, "items": ITEMS}}}
        return Form.of(whole, KEY, f'"{ITEMS}"'), each
    return Form.of({"query": ONE, "variables": {"input": {"idempotencyKey": KEY, **item}}}, KEY, CARD, REFERENCE), each


@asynccontextmanager
async def tills(
    port: int, token: str, cards: Sequence[IssuedCard], *, connections: int, items: int, lines: int, seed: int
) -> AsyncIterator[Load]:
    """A load of accruePoints (items 0) or accrueMany over keep-alive connections with a bearer token."""
    drawn = random.Random(seed)
    numbers = [card.number.encode() for card in cards]
    opened = [await Connection(port, token).open() for _ in range(connections)]
    head = opened[0].head("/graphql")
    whole, each = forms_of(items, lines)
    wanted = items or 1

    async def call(number: int) -> int:
        key = uuid4().hex.encode()
        if items:
            batch = b",".join([each.filled(drawn.choice(numbers), b"%s-%d" % (key, item)) for item in range(items)])
            body = whole.filled(key, b"[%s]" % batch)
        else:
            body = whole.filled(key, drawn.choice(numbers), key)
        answer = await opened[number].good(head, body)
        while b'"code":"STALE"' in answer:  # few members, each buying several times at once: a till asks again
            answer = await opened[number].good(head, body)
        if answer.count(b'"AccruePointsSuccess"') != wanted or b'"replayed":true' in answer:
            raise RuntimeError(f"the gateway answered {answer.decode()[:500]}")
        return wanted

    yield callers.load(connections, call)
    for connection in opened:
        connection.close()


@asynccontextmanager
async def bound_tills(
    client: SigningClient, cards: Sequence[IssuedCard], *, connections: int, seed: int
) -> AsyncIterator[Load]:
    """A load of accruePoints with a token that is bound to a key, and a fresh proof of that key in each request."""
    drawn = random.Random(seed)
    numbers = [card.number.encode() for card in cards]
    token = await client.bound_token()
    proofs = Signed(lambda: client.signer.proof(f"{client.issuer}/graphql", token))
    opened = [await Connection(client.port).open() for _ in range(connections)]
    before, _, after = opened[0].head("/graphql", authorization=f"DPoP {token}", more="DPoP: @\r\n").partition(b"@")
    whole, _ = forms_of(0, 0)

    async def call(number: int) -> int:
        key = uuid4().hex.encode()
        body = whole.filled(key, drawn.choice(numbers), key)
        answer = await opened[number].good(before + proofs.take().encode() + after, body)
        if b'"AccruePointsSuccess"' not in answer or b'"replayed":true' in answer:
            raise RuntimeError(f"the gateway answered {answer.decode()[:500]}")
        return 1

    yield proofs.beside(callers.load(connections, call))
    for connection in opened:
        connection.close()


@asynccontextmanager
async def readers(
    port: int, token: str, cards: Sequence[IssuedCard], *, connections: int, seed: int
) -> AsyncIterator[Load]:
    """A load of `member { balance }` with a bearer token."""
    drawn = random.Random(seed)
    numbers = [card.number.encode() for card in cards]
    opened = [await Connection(port, token).open() for _ in range(connections)]
    head = opened[0].head("/graphql")
    whole = Form.of({"query": MEMBER, "variables": {"ref": {"cardNumber": CARD}}}, CARD)

    async def call(number: int) -> int:
        answer = await opened[number].good(head, whole.filled(drawn.choice(numbers)))
        if b'"balance":{"available":"' not in answer:
            raise RuntimeError(f"the gateway answered {answer.decode()[:500]}")
        return 1

    yield callers.load(connections, call)
    for connection in opened:
        connection.close()


@asynccontextmanager
async def askers(client: SigningClient, *, connections: int) -> AsyncIterator[Load]:
    """A load of client credentials: each call asks for a token with a fresh assertion."""
    assertions = Signed(lambda: client.signer.assertion(client.client_id, client.issuer))
    opened = [await Connection(client.port).open() for _ in range(connections)]
    head = opened[0].head("/oauth/token", FORM, "-").replace(b"Authorization: -\r\n", b"")

    async def call(number: int) -> int:
        if b'"access_token"' not in await opened[number].good(head, client.asks(assertions.take())):
            raise RuntimeError("there is no token in the answer")
        return 1

    yield assertions.beside(callers.load(connections, call))
    for connection in opened:
        connection.close()
