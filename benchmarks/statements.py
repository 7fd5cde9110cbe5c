"""What a statement of very many lines costs: `tessera settle package` writes it and verify.py reads it, each alone in a
process whose memory is watched."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks import coalition
from benchmarks.coalition import DATABASE
from benchmarks.web import MASTER_KEY
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from settlement import runs
from tests.builders import NOON

ACTOR = "bench"
AT = NOON + timedelta(days=1)
PARTNER = "partner1"

# A process inherits the peak of whoever starts it, so a small one stands in between.
_LAUNCH = """
import json, os, sys, time
began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, used = os.wait4(child, 0)
seconds = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss * 1024]))
"""


@dataclass(frozen=True, slots=True)
class Alone:
    """What a process of its own took: seconds, and the most memory that it held."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Written:
    """A statement of so many detail lines: seconds in which the run was controlled (every control and the second
    engine), what writing its package took, and reading it; detail_bytes is how large its movements are unpacked."""

    lines: int
    control_seconds: float
    written: Alone
    verified: Alone
    detail_bytes: int

    def content(self) -> dict[str, object]:
        """As it is stored."""
        return asdict(self)


async def measure(
    server: postgres.Server, sizes: Sequence[int], *, holders: int, watch: Callable[[str], None] = lambda _: None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Written]:  # fmt: skip
    """Settle so many postings of one partner, write its package and verify it. watch hears what is done, advance of
    postings recorded.

    Raises RuntimeError where a size is no multiple of the holders, or a process ended with anything but success.
    """
    if any(size % holders for size in sizes):
        raise RuntimeError(f"sizes are multiples of {holders:,} holders")
    return [await _measure(server, size, holders, watch, advance) for size in sizes]


async def _measure(
    server: postgres.Server, size: int, holders: int, watch: Callable[[str], None], advance: Callable[[int], None]
) -> Written:
    watch(f"recording {size:,} postings of one partner")
    async with coalition.founded(server, members=0, holders=holders, partners=1) as crowd:
        await coalition.stocked(server, crowd.pool, crowd.holders, size // holders, advance, partners=1)
        watch(f"settling {size:,} postings of one partner")
        run_id, control_seconds = await _settled(crowd.made.database)
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as place:
        folder = Path(place)
        watch(f"a package of {size:,} lines")
        command = [
            "-m",
            "gateway.commands",
            "settle",
            "package",
            str(run_id),
            PARTNER,
            "--at",
            f"{AT:%Y-%m-%dT%H:%M:%S%z}",
        ]
        environment = {
            **os.environ, "DATABASE_URL": server.url(DATABASE, APPLICATION_ROLE), "TESSERA_MASTER_KEY": MASTER_KEY,
        }  # fmt: skip
        package = folder / "package.zip"
        written = await alone([*command, "--out", str(package)], environment, Path.cwd())
        watch(f"verifying {size:,} lines")
        detail_bytes = _check(package, size)
        with zipfile.ZipFile(package) as opened:
            (folder / "verify.py").write_bytes(opened.read("verify.py"))
        verified = await alone(["-I", "verify.py", package.name], {}, folder)
        return Written(size, control_seconds, written, verified, detail_bytes)


async def _settled(database: Database) -> tuple[int, float]:
    """Close, calculate, control and issue what was recorded; the run and how long controlling took."""
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, ACTOR, [actors.FINANCE_MAKER])
    await runs.close_cutoff(database, actor=ACTOR, at=AT)
    async with database.transaction() as connection:
        [run_id] = await runs.begin(connection, actor=ACTOR, at=AT)
        await runs.calculate(connection, run_id, actor=ACTOR, at=AT)
    began = time.perf_counter()
    async with database.transaction() as connection:
        await runs.control(connection, run_id, actor=ACTOR, at=AT)
    seconds = time.perf_counter() - began
    async with database.transaction() as connection:
        await runs.issue(connection, run_id, actor=ACTOR, at=AT)
    return run_id, seconds


def _check(package: Path, size: int) -> int:
    """How large the movements of a package are unpacked. Raises RuntimeError where they are not as many as recorded."""
    with zipfile.ZipFile(package) as opened:
        detail_bytes = opened.getinfo("detail.csv").file_size
        files = json.loads(opened.read("manifest.json"))["files"]
    [rows] = [file["rows"] for file in files if file["name"] == "detail.csv"]
    if rows != str(size):
        raise RuntimeError(f"the package has {rows} lines, {size} were recorded")
    return detail_bytes


async def alone(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Alone:
    """Run this Python with arguments in a process of its own, in a folder. Raises RuntimeError where it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _LAUNCH, sys.executable, *arguments,
        cwd=folder, env=dict(environment), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, complaint = await process.communicate()
    code, seconds, peak_bytes = json.loads(told)
    if code != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {code}: {complaint.decode()[-2000:]}")
    return Alone(seconds, peak_bytes)
