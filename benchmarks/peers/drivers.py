"""The drivers of the peers, as processes of their own on the same server, and their figures."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Slice
from benchmarks.peers import crew, environment
from benchmarks.peers.environment import ROOT, EnvironmentMissing
from benchmarks.stage import Load, Stage
from kit import postgres

LINE_LIMIT = 64 * 1024 * 1024  # bytes: an answer holds every latency
PATIENCE_SECONDS = 30
FOLDER = ROOT / ".data" / "peers"
NAIVE, HORDAK = "naive ORM", "django-hordak"


class Driver:
    """A running crew."""

    def __init__(self, process: asyncio.subprocess.Process, seed: int) -> None:
        self._process = process
        self._seed = seed

    def load(self, *, hot: bool) -> Load:
        """Its work as a load, at one partner or spread over fifty."""

        async def slice_of(seconds: int) -> Slice:
            assert self._process.stdin is not None
            self._seed += 1
            self._process.stdin.write(crew.as_line(crew.Order(seconds, hot, self._seed)))
            answer = await self.answer()
            return Slice(answer["done"], answer["seconds"], answer["latencies_ms"])

        return slice_of

    async def answer(self) -> dict[str, Any]:
        """The next line that it says; raises RuntimeError with what it complained of where it ended instead."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = await self._process.stdout.readline()
        if not line:
            complaint = await self._process.stderr.read()
            raise RuntimeError(f"a peer's driver ended: {complaint.decode()[-2000:]}")
        return dict(json.loads(line))


@asynccontextmanager
async def running(program: Path, module: str, arguments: list[str], *, seed: int) -> AsyncIterator[Driver]:
    """A driver, ready for work, ended at the end."""
    process = await asyncio.create_subprocess_exec(
        str(program), "-m", module, *arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=LINE_LIMIT,
    )  # fmt: skip
    try:
        driver = Driver(process, seed)
        await driver.answer()
        yield driver
    finally:
        assert process.stdin is not None
        process.stdin.close()  # at the end of its orders it ends its crew, and itself
        try:
            await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def measure(stage: Stage) -> tuple[list[Figure], dict[str, str]]:
    """Each peer spread over fifty partners against TPC-B, and with all on one partner against its own spread.

    Also why a peer could not be measured, by its name.
    """
    server = stage.server
    stage.watch("the environment of django-hordak")
    figures = await _peer(
        stage, NAIVE, Path(sys.executable), "benchmarks.peers.naive", [server.url("peer", server.superuser)]
    )
    try:
        python = await asyncio.to_thread(environment.python, FOLDER)
    except EnvironmentMissing as reason:
        return figures, {HORDAK: f"could not be installed: {reason}"}
    where = [str(server.socket_folder), str(server.port), server.superuser, "peer"]
    return [*figures, *await _peer(stage, HORDAK, python, "benchmarks.peers.hordak", where)], {}


async def _peer(stage: Stage, name: str, program: Path, module: str, arguments: list[str]) -> list[Figure]:
    postgres.drop_database(stage.server, "peer")
    postgres.create_database(stage.server, "peer")
    async with running(program, module, arguments, seed=stage.plan.seed) as driver:
        spread, hot = driver.load(hot=False), driver.load(hot=True)
        return [
            await stage.measure(
                f"{name}, spread over fifty partners", spread, database="peer", counts_fsyncs=False,
                note=f"{crew.PROCESSES} processes of {crew.CALLERS} callers",
            ),
            await stage.measure(
                f"{name}: one hot partner ÷ spread", hot, database="peer", counts_fsyncs=False,
                against=(f"{name}, spread", spread),
            ),
        ]  # fmt: skip
