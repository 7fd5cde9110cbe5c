"""`python -m benchmarks`: the levels of the design's "fast", each as a ratio to TPC-B of the same run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import orjson
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import stage
from benchmarks.stage import Figure
from gateway import client_rules, scopes
from gateway.allowances import Allowance
from gateway.oauth import clients
from kit import actors, clock, postgres
from kit.console import clear_errors
from members.cards import IssuedCard
from partners import purchases
from tests.builders import NOON, Coalition, a_receipt, identified

PORT = 8765
ACCRUE = """
\\set holder random(1, {members})
SELECT * FROM ledger.accrue(:holder, 1::smallint, 1, gen_random_uuid(), gen_random_uuid(), '2026-03-02', ARRAY[1],
  ARRAY[1], ARRAY[1], ARRAY[100::bigint], ARRAY['2026-03-16'::timestamptz], ARRAY['2027-03-02'::timestamptz]);
"""
PURCHASE = """
\\set holder random(1, {members})
SELECT * FROM partners.record_purchases(1::smallint, '2026-03-02', ARRAY[:holder::bigint], ARRAY[gen_random_uuid()],
  ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[1::bigint],
  ARRAY[1], ARRAY['R1'], ARRAY['2026-03-02'::date], ARRAY['2026-03-02'::timestamptz], ARRAY['EUR'],
  ARRAY[1000::bigint], ARRAY[10::bigint], ARRAY['{detail}'], ARRAY['{decision}'], ARRAY[1],
  ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[10::bigint], ARRAY['2026-03-16'::timestamptz],
  ARRAY['2027-03-02'::timestamptz]);
"""
ONE = """mutation Accrue($input: AccruePointsInput!) { accruePoints(input: $input) { __typename
  ... on AccruePointsSuccess { replayed transaction { id points } } ... on Rejection { code } } }"""
MANY = """mutation Batch($input: AccrueManyInput!) { accrueMany(input: $input) { __typename
  ... on AccrueManySuccess { accepted rejected results { __typename ... on AccruePointsSuccess { replayed
  transaction { id points } } ... on Rejection { code } } } ... on Rejection { code } } }"""

_numbers = count(1)


async def by_pgbench(server: postgres.Server, name: str, script: str, seconds: int, unit: float) -> Figure:
    """A SQL function, one call per transaction, driven by pgbench as TPC-B is."""
    options = ("-M", "prepared", "-c", str(stage.CLIENTS), "-j", str(stage.JOBS), "-T", str(seconds), "-n")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        tps, latency = await stage.pgbench(server, stage.DATABASE, "tessera_app", *options, "-f", file.name)
    return Figure(name, tps, tps / unit, p50_ms=latency, note="average latency stands in for p50")


async def loop(callers: int, seconds: int, call: Callable[[int], Awaitable[int]]) -> tuple[float, list[float]]:
    """Run callers in a closed loop; (operations a second, sorted latencies in ms)."""
    latencies: list[float] = []
    done = 0
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        nonlocal done
        while (began := time.perf_counter()) < end:
            finished = await call(number)  # not `done += await ...`, which would forget what others add meanwhile
            done += finished
            latencies.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(callers)))
    return done / (time.perf_counter() - began), sorted(latencies)


def figure(name: str, measured: tuple[float, list[float]], unit: float, note: str = "") -> Figure:
    """A closed loop's result as a figure."""
    per_second, latencies = measured
    return Figure(
        name, per_second, per_second / unit, statistics.median(latencies), latencies[int(len(latencies) * 0.99)], note
    )


async def library(
    made: Coalition, cards: Sequence[IssuedCard], seconds: int, unit: float, partners: Sequence[str], name: str
) -> Figure:
    """The desk's micro-batched lane in this process, 64 concurrent callers, total-only receipts."""
    directory = await made.desk.directory.get()

    async def call(number: int) -> int:
        caller = made.callers[partners[number % len(partners)]]
        receipt = a_receipt(1_000, reference=f"L{next(_numbers)}")
        member = identified(random.choice(cards))
        prepared = purchases.prepare(directory, caller, member, receipt, at=NOON, idem_key=None)
        await purchases.accrue(made.desk, prepared)
        return 1

    return figure(name, await loop(64, seconds, call), unit)


@asynccontextmanager
async def gateway(server: postgres.Server) -> AsyncIterator[None]:
    """The real gateway in a process of its own, on loopback."""
    environment = {
        **os.environ,
        "DATABASE_URL": server.dsn(stage.DATABASE, "tessera_app"),
        "TESSERA_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "TESSERA_PORT": str(PORT),
        "TESSERA_ISSUER": f"http://127.0.0.1:{PORT}",
        "TESSERA_LOG_LEVEL": "error",
        "TESSERA_CLOCK": "wall",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.commands", "serve", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", PORT)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


class Connection:
    """One keep-alive connection that posts JSON: the cheapest driver, so that the gateway has the processor."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def open(self) -> Connection:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", PORT)
        return self

    async def post(
        self, path: str, body: bytes, content_type: str = "application/json", authorization: str = ""
    ) -> bytes:
        """The answer's body; raises RuntimeError on any status but 200."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Type: {content_type}\r\n"
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


async def token_of(made: Coalition, code: str) -> str:
    """An access token of a fresh client of a partner."""
    from base64 import b64encode

    async with made.database.transaction() as connection:
        await actors.ensure_actor(connection, "bench", [actors.ONBOARDING])
        partner_id = made.callers[code].partner_id
        await clients.allow_secrets(connection, partner_id=partner_id, by="bench", at=clock.wall())
        client_id, secret = await clients.add_client(
            connection, partner_id=partner_id, name=f"bench {code}", scopes=scopes.TILL, by="bench",
            at=clock.wall(),
        )  # fmt: skip
        await client_rules.change(
            connection, client_id, by="bench", at=clock.wall(), allowance=Allowance(1_000_000_000, 1_000_000)
        )
    connection_ = await Connection("").open()
    basic = "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()
    form = "application/x-www-form-urlencoded"
    answer = await connection_.post("/oauth/token", b"grant_type=client_credentials", form, basic)
    connection_.close()
    return str(orjson.loads(answer)["access_token"])


def sent_receipt(lines: int) -> dict[str, object]:
    """A receipt of 10.00 as a till sends it, of a total alone or with lines."""
    now = clock.wall()
    receipt: dict[str, object] = {
        "reference": uuid4().hex, "outlet": "1", "terminal": "1", "businessDate": now.date().isoformat(),
        "occurredAt": now.isoformat(), "currencyCode": "EUR", "total": "10.00",
    }  # fmt: skip
    if lines:
        receipt["lines"] = [
            {
                "lineId": str(n),
                "kind": "GOODS",
                "sku": "1004906",
                "category": "BREAD",
                "quantity": "1",
                "amount": "2.50",
            }
            for n in range(lines)
        ]
    return receipt


async def over_http(
    token: str,
    cards: Sequence[IssuedCard],
    *,
    connections: int,
    items: int,
    lines: int,
    seconds: int,
    unit: float,
    name: str,
) -> Figure:
    """accruePoints (items 0) or accrueMany over keep-alive connections with a bearer token."""
    opened = [await Connection(token).open() for _ in range(connections)]

    async def call(number: int) -> int:
        batch = [
            {"member": {"cardNumber": random.choice(cards).number}, "receipt": sent_receipt(lines)}
            for _ in range(items or 1)
        ]
        given = {"idempotencyKey": uuid4().hex, **({"items": batch} if items else batch[0])}
        body = orjson.dumps({"query": MANY if items else ONE, "variables": {"input": given}})
        answer = orjson.loads(await opened[number].post("/graphql", body))["data"]
        if items:
            return int(answer["accrueMany"]["accepted"])
        return int(answer["accruePoints"]["__typename"] == "AccruePointsSuccess")

    await loop(connections, 1, call)
    measured = await loop(connections, seconds, call)
    for connection in opened:
        connection.close()
    return figure(name, measured, unit)


async def measure(
    server: postgres.Server, seconds: int, members: int, scale: int
) -> tuple[list[Figure], dict[str, object]]:
    """Every level, TPC-B before and after; the unit is their mean."""
    settings: dict[str, object] = {**await stage.assert_durable(server), "seconds": seconds, "members": members}
    before = await stage.tpc_b(server, seconds, scale)
    async with stage.coalition(server, members) as (made, cards):
        detail = orjson.dumps(
            {"lines": [{"id": str(n), "kind": "GOODS", "amount": 250, "sku": "1004906"} for n in range(4)]}
        )
        lines = {str(n): points for n, points in enumerate((3, 3, 2, 2))}
        decided = {"tier": "BASE", "level": "NUMBER", "lines": lines, "reasons": [["BASE", 10, {}]], "lots": {"1": 10}}
        decision = orjson.dumps(decided)
        purchase = PURCHASE.format(members=members, detail=detail.decode(), decision=decision.decode())
        figures = [
            await by_pgbench(server, "ledger.accrue, one per call", ACCRUE.format(members=members), seconds, before),
            await by_pgbench(server, "purchase of four lines as one call", purchase, seconds, before),
            await library(made, cards, seconds, before, ["bakery", "grocer"], "library, micro-batched, 64 callers"),
            await library(made, cards, seconds, before, ["bakery"], "library, all of it on one partner"),
        ]
        async with gateway(server):
            token = await token_of(made, "bakery")
            for name, connections, items, lines in (
                ("accruePoints over HTTP, 64 connections", 64, 0, 0),
                ("accrueMany, 100 total-only receipts", 4, 100, 0),
                ("accrueMany, 100 receipts of four lines", 4, 100, 4),
            ):
                figures.append(
                    await over_http(
                        token,
                        cards,
                        connections=connections,
                        items=items,
                        lines=lines,
                        seconds=seconds,
                        unit=before,
                        name=name,
                    )
                )
        audited = await made.database.pool.fetchval("SELECT count(*) FROM ledger.audit()")
    after = await stage.tpc_b(server, seconds, scale)
    settings |= {"tpc_b_before": before, "tpc_b_after": after, "tpc_b": f"-M prepared -c 16 -j 2, scale {scale}"}
    settings |= {"audit_violations": audited}
    figures = [Figure("pgbench TPC-B", before, 1.0, note=f"after: {after:.0f}"), *figures]
    return figures, settings


@clear_errors()
def main(
    seconds: Annotated[int, typer.Option(help="Length of each measurement.", min=1)] = 8,
    members: Annotated[int, typer.Option(help="Members with a card.", min=100)] = 20_000,
    scale: Annotated[int, typer.Option(help="Scale of TPC-B.", min=1)] = 20,
) -> None:
    """Measure and store in benchmarks/results/levels.json; ratios to TPC-B, because machines differ and are shared."""
    with postgres.running(Path(".data/bench"), durable=True) as server:
        figures, settings = asyncio.run(measure(server, seconds, members, scale))
    table = Table("level", "per second", "× TPC-B", "p50 ms", "p99 ms")
    for one in figures:
        p50, p99 = (f"{value:.1f}" if value else "" for value in (one.p50_ms, one.p99_ms))
        table.add_row(one.name, f"{one.per_second:,.0f}", f"{one.ratio:.2f}", p50, p99)
    console = Console()
    console.print(table)
    console.print({name: str(value) for name, value in settings.items()})
    console.print(f"stored in {stage.store('levels', figures, settings)}")


if __name__ == "__main__":
    typer.run(main)
