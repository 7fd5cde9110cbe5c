"""pgbench: runs a script for some seconds and says what came of it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.figures import Slice
from kit import postgres

CLIENTS, JOBS = 16, 2
SAMPLED = "0.2"  # of the transactions have their latency logged: writing all of them down costs time


async def run(server: postgres.Server, database: str, user: str, *options: str) -> str:
    """Run it; what it prints. Raises RuntimeError with what it said of a failure; cancelled, ends it."""
    program = postgres.program("pgbench")
    command = [str(program), "-h", str(server.socket_folder), "-p", str(server.port), "-U", user, *options, database]
    running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = await running.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):  # it hears of Ctrl-C by itself
            running.terminate()
        await running.wait()
        raise
    if running.returncode:
        raise RuntimeError(f"pgbench: {err.decode()[-2000:]}")
    return out.decode()


def rate(printed: str) -> float:
    """Transactions a second, connecting left out, from what pgbench printed."""
    return float(_value(printed, r"^tps = ([0-9.]+) "))


def count(printed: str) -> int:
    """Transactions done, from what pgbench printed."""
    return int(_value(printed, r"^number of transactions actually processed: (\d+)"))


def latencies(logged: str) -> list[float]:
    """Latencies in ms from a log of transactions: client, number, time in µs, script, when."""
    return [int(line.split(" ", 3)[2]) / 1000 for line in logged.splitlines()]


def _value(printed: str, pattern: str) -> str:
    found = re.search(pattern, printed, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench printed something else: {printed[-500:]}")
    return found[1]


def load(
    server: postgres.Server, database: str, user: str, scripts: Mapping[str, int], *, seed: int
) -> Callable[[int], Awaitable[Slice]]:
    """A load of scripts, given with their weights, in `-M prepared -c 16 -j 2` like TPC-B."""
    turn = iter(range(seed, seed + 1_000_000))

    async def slice_of(seconds: int) -> Slice:
        with tempfile.TemporaryDirectory() as folder:
            logging = ("-l", f"--log-prefix={folder}/log", f"--sampling-rate={SAMPLED}")
            options = (*like_tpc_b(seconds), *logging, f"--random-seed={next(turn)}", *_files(scripts, folder))
            printed = await run(server, database, user, *options)
            logged = _logged(folder)
        done = count(printed)
        return Slice(done, done / rate(printed), logged)

    return slice_of


def like_tpc_b(seconds: int) -> tuple[str, ...]:
    """The options of TPC-B, the unit: everything is driven as it is."""
    return ("-M", "prepared", "-c", str(CLIENTS), "-j", str(JOBS), "-T", str(seconds), "-n")


def _logged(folder: str) -> list[float]:
    return [latency for log in Path(folder).glob("log*") for latency in latencies(log.read_text())]


def _files(scripts: Mapping[str, int], folder: str) -> list[str]:
    options = []
    for number, (script, weight) in enumerate(scripts.items()):
        file = Path(folder, f"{number}.sql")
        file.write_text(script)
        options += ["-f", f"{file}@{weight}"]
    return options
