"""kill -9 of the gateway's process under HTTP load: tills ask the next process with the same key and lose nothing."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

import migrations
from gateway import scopes
from gateway.gate import client_rules
from gateway.oauth import clients
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import cards, proofs
from partners.callers import Caller, idem_key_of
from tests.builders import NOON, Coalition
from tests.deep.load import PURCHASE, RETURN, Answer, Intent, Later, Load, Unknown, differences, unsound
from tests.deep.test_database_crashes import coalition_of
from tests.gateway.stand import PLENTY
from tests.gateway.test_purchase_api import RECORD
from tests.gateway.test_purchase_api import RETURN as GIVE_BACK

pytestmark = pytest.mark.deep

ROUNDS = 4
ROOT = Path(migrations.__file__).parent.parent


@dataclass
class Process:
    """`tessera serve` in a process of its own, on one address for the whole test."""

    database_url: str
    port: int
    log: Path
    running: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, http: httpx2.AsyncClient) -> None:
        """Start it, and come back when it is ready."""
        environment = {
            **os.environ, "DATABASE_URL": self.database_url, "TESSERA_PORT": str(self.port), "TESSERA_ISSUER": self.address,
            "TESSERA_CLOCK": "sandbox", "TESSERA_MASTER_KEY": base64.urlsafe_b64encode(bytes(range(32))).decode(),
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.running = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.commands", "serve", cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        for _ in range(300):
            assert self.running.returncode is None, self.log.read_text()[-2000:]
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)
        raise AssertionError("the gateway was not ready in thirty seconds")

    async def kill(self) -> None:
        """SIGKILL, by its number."""
        if self.running is not None and self.running.returncode is None:
            self.running.kill()
            await self.running.wait()


@dataclass
class Http:
    """The gateway as tills reach it. An error of the wire or "outcome unknown" is unknown; any other error a defect."""

    http: httpx2.AsyncClient
    vault: Vault
    tokens: Mapping[str, str]
    heard: set[str] = field(default_factory=set)

    async def ask(self, intent: Intent) -> Answer:
        """The answer to a call."""
        document, given = (
            (GIVE_BACK, _return(intent)) if intent.operation == RETURN else (RECORD, self._purchase(intent))
        )
        body = orjson.dumps({"query": document, "variables": {"input": {"idempotencyKey": intent.key, **given}}})
        headers = {"Authorization": f"Bearer {self.tokens[intent.partner]}", "Content-Type": "application/json"}
        try:
            said = await self.http.post("/graphql", content=body, headers=headers)
        except httpx2.TransportError as lost:
            raise Unknown from lost
        return _read(intent, said)

    def _purchase(self, intent: Intent) -> dict[str, Any]:
        receipt = intent.receipt
        given: dict[str, Any] = {
            "member": {"cardNumber": intent.card.number},
            "receipt": {
                "reference": receipt.reference, "outlet": "1", "terminal": "1", "currencyCode": "EUR",
                "businessDate": receipt.business_date.isoformat(), "occurredAt": intent.at.isoformat(),
                "total": _money(receipt.total_minor),
            },
        }  # fmt: skip
        if intent.points:
            ref = cards.ref(self.vault, intent.card.card_id)
            code = proofs.code_for(intent.card.secret, ref, proofs.step_at(intent.at))
            given["redeem"] = {"points": str(intent.points), "proof": {"cardCode": code}}
        return given


def _return(intent: Intent) -> dict[str, Any]:
    assert intent.original is not None
    first = intent.original.receipt
    what = {"whole": True} if intent.amount_minor is None else {"amount": _money(intent.amount_minor)}
    return {
        "original": {
            "receipt": {
                "outlet": "1", "terminal": "1", "businessDate": first.business_date.isoformat(),
                "reference": first.reference,
            }
        },
        "reference": intent.reference, "outlet": "1", "terminal": "1", "what": what,
        "occurredAt": intent.at.isoformat(), "businessDate": intent.at.date().isoformat(),
    }  # fmt: skip


def _money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _read(intent: Intent, said: httpx2.Response) -> Answer:
    body = said.json()
    if body.get("errors"):
        code = body["errors"][0]["extensions"]["code"]
        if code in ("OUTCOME_UNKNOWN", "SERVICE_UNAVAILABLE"):
            raise Unknown(code)
        raise AssertionError(body)
    (result,) = body["data"].values()
    if result["__typename"] == "Rejection":
        if result["code"] in ("BUSY", "STALE"):
            raise Later(result["code"])
        return Answer(no=result["code"])
    done = result["transaction"]
    added, taken = ("refundedPoints", "takenBack") if intent.operation == RETURN else ("awarded", "redeemed")
    return Answer(added=int(done[added]), taken=int(done[taken]), replayed=result["replayed"])


async def _clients(coalition: Coalition) -> tuple[dict[str, tuple[str, str]], dict[str, Caller]]:
    """A client per partner, as its number and secret, and the caller that its calls come from."""
    allowed, callers = {}, {}
    for code, caller in coalition.callers.items():
        async with coalition.database.transaction() as connection:
            await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
            await clients.allow_secrets(connection, partner_id=caller.partner_id, by="tester", at=clock.wall())
            client_id, secret = await clients.add_client(
                connection, partner_id=caller.partner_id, name=code, scopes=scopes.TILL, by="tester", at=clock.wall()
            )
            await client_rules.change(connection, client_id, by="tester", at=clock.wall(), allowance=PLENTY)
        number = await coalition.database.pool.fetchval(
            "SELECT client_no FROM gateway.client WHERE client_id = $1", client_id
        )
        allowed[code], callers[code] = (client_id, secret), Caller(caller.partner_id, number)
    return allowed, callers


async def _tokens(http: httpx2.AsyncClient, allowed: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """A token per partner."""
    tokens = {}
    for code, client in allowed.items():
        granted = await http.post("/oauth/token", auth=client, data={"grant_type": "client_credentials"})
        tokens[code] = granted.json()["access_token"]
    return tokens


class Time:
    """The sandbox's business clock, moved on while tills work, so that codes grow old."""

    def __init__(self, database: Database) -> None:
        self.at = NOON
        self._database = database

    async def set(self, at: datetime) -> None:
        async with self._database.transaction() as connection:
            await clock.set_sandbox(connection, at)
        self.at = at

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(0.2)
            await self.set(self.at + timedelta(seconds=proofs.STEP_SECONDS))


@asynccontextmanager
async def _serving(database_url: str, log: Path) -> AsyncIterator[tuple[Process, httpx2.AsyncClient]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        process = Process(database_url, free.getsockname()[1], log)
    async with httpx2.AsyncClient(base_url=process.address, timeout=40) as http:
        try:
            await process.start(http)
            yield process, http
        finally:
            await process.kill()


@pytest.mark.parametrize("seed", [20260305])
async def test_what_was_acknowledged_survives_kill_9_of_the_gateway(
    server: postgres.Server, database: Database, database_name: str, vault: Vault, seed: int, tmp_path: Path,
    tell: Callable[..., None],
) -> None:  # fmt: skip
    coalition = await coalition_of(database, vault)
    people = [await coalition.add_member() for _ in range(60)]
    time, dice, stop = Time(database), random.Random(seed), asyncio.Event()
    await time.set(NOON)
    # Before the gateway starts, because it looks at allowances once in some seconds.
    allowed, callers = await _clients(coalition)
    async with _serving(server.dsn(database_name, APPLICATION_ROLE), tmp_path / "gateway.log") as (process, http):
        tokens = await _tokens(http, allowed)
        load = Load(Http(http, vault, tokens), people, seed, lambda number: time.at)
        working, ticking = asyncio.create_task(load.run(stop)), asyncio.create_task(time.run(stop))
        for _ in range(ROUNDS):
            before = sum(one.answer is not None for one in load.intents)
            await asyncio.sleep(dice.uniform(1.0, 2.0))
            assert sum(one.answer is not None for one in load.intents) > before, "the load stands still"
            await process.kill()
            await process.start(http)
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(working, ticking)
        await load.ask_all_again(300)
    wrong = load.violations + await differences(load, database.pool, _stored_key(callers))
    wrong += await unsound(database, time.at)
    await coalition.desk.close()
    figures = load.figures()
    tell(**figures, crashes=ROUNDS, violations=len(wrong), seed=seed)
    assert wrong == []
    assert figures["indeterminate"] >= ROUNDS  # type: ignore[operator]


def _stored_key(callers: Mapping[str, Caller]) -> Callable[[Intent], object]:
    return lambda one: idem_key_of(callers[one.partner], RETURN if one.operation == RETURN else PURCHASE, one.key)
