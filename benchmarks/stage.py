"""What a benchmark stands on: a durable server, a coalition with members, and pgbench."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg

import migrations
from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from members import enrolment
from members.cards import IssuedCard
from members.consents import ConsentGiven
from members.enrolment import Newcomer
from tests.builders import NOON, Coalition, found

DATABASE = "bench"
RESULTS = Path(__file__).parent / "results"
VAULT = Vault(bytes(range(32)))
CLIENTS, JOBS = 16, 2


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured level: operations a second, and their ratio to TPC-B transactions a second in the same run."""

    name: str
    per_second: float
    ratio: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    note: str = ""


@asynccontextmanager
async def coalition(server: postgres.Server, members: int) -> AsyncIterator[tuple[Coalition, list[IssuedCard]]]:
    """A fresh database with two partners and members who each have a card."""
    postgres.drop_database(server, DATABASE)
    postgres.create_database(server, DATABASE)
    await migrations.upgrade_async(server.url(DATABASE, server.superuser))
    async with connect(server.url(DATABASE, APPLICATION_ROLE), pool_size=8) as database:
        made = await found(database, VAULT)
        for code in ("bakery", "grocer"):
            await made.add_partner(code)
        yield made, await enrol(database, members)
        await made.desk.close()


async def enrol(database: Database, members: int) -> list[IssuedCard]:
    """Members without personal data, in bulk."""
    cards: list[IssuedCard] = []
    for start in range(0, members, 2_000):
        newcomers = [
            Newcomer(consents=(ConsentGiven("PROGRAMME", "1", NOON),)) for _ in range(min(2_000, members - start))
        ]
        async with database.transaction() as connection:
            enrolled = await enrolment.enrol_many(connection, VAULT, newcomers, at=NOON, enrolled_by=0)
        cards += [one.card for one in enrolled]
    return cards


async def assert_durable(server: postgres.Server) -> dict[str, str]:
    """The server's settings that a figure depends on; raises PostgresError unless commits are durable."""
    connection = await asyncpg.connect(server.dsn("postgres", server.superuser))
    try:
        await postgres.assert_durable(connection)
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
        return {name: await connection.fetchval("SELECT current_setting($1)", name) for name in names}
    finally:
        await connection.close()


async def pgbench(server: postgres.Server, database: str, user: str, *options: str) -> tuple[float, float]:
    """Run pgbench and read (transactions a second, average latency in ms) from what it prints."""
    program = postgres.program("pgbench")
    command = [str(program), "-h", str(server.socket_folder), "-p", str(server.port), "-U", user, *options, database]
    running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await running.communicate()
    if running.returncode:
        raise RuntimeError(err.decode()[-2000:])
    text = out.decode()
    tps = re.search(r"^tps = ([0-9.]+) ", text, re.MULTILINE)
    latency = re.search(r"^latency average = ([0-9.]+) ms", text, re.MULTILINE)
    return (float(tps[1]) if tps else 0.0, float(latency[1]) if latency else 0.0)


async def tpc_b(server: postgres.Server, seconds: int, scale: int) -> float:
    """TPC-B transactions a second: -M prepared -c 16 -j 2, the unit of every ratio."""
    postgres.drop_database(server, "tpcb")
    postgres.create_database(server, "tpcb")
    await pgbench(server, "tpcb", server.superuser, "-i", "-q", "-s", str(scale))
    options = ("-M", "prepared", "-c", str(CLIENTS), "-j", str(JOBS), "-T", str(seconds), "-n")
    return (await pgbench(server, "tpcb", server.superuser, *options))[0]


def store(name: str, figures: list[Figure], settings: dict[str, object]) -> Path:
    """Write the figures and everything they depend on to results/."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    content = {"settings": {**settings, **machine}, "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path
