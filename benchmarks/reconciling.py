"""What a partner's file costs: so many lines read, stored and compared with as many receipts, a few of them different.

How fast is told in lines a second, and how much memory the process needed beyond what it had before: it must not grow
with the file. The receipts are written straight into their table; nothing of the tills is measured here.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import IO

import asyncpg

from benchmarks import coalition
from kit import actors, postgres
from settlement.reconciliation import comparing, intake
from tests.builders import NOON

ACTOR = "bench"
DIFFERENT = 1_000  # of so many lines one has other points
AT = NOON + timedelta(days=1)
_DAY = NOON.date()
_RECEIPTS = """
    INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, occurred_at, at, partner_id, outlet_id,
      client_id, terms_id, cutoff_id, business_date, unit, kind, currency, reference, decision)
    SELECT n, 1, gen_random_uuid(), 1000 + n % 977, 10 + n % 97, $2, $2, $1, o.outlet_id, 1, a.terms_id, 1, $3, 1, 1,
           'EUR', 'R' || n, '{}'
    FROM generate_series($4::bigint, $5::bigint) AS n, partners.outlet o, partners.agreement a
    WHERE o.partner_id = $1 AND a.partner_id = $1
"""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One file: seconds to take it and to compare it, MiB that the process grew by at its peak, and what came of it."""

    lines: int
    take_seconds: float
    compare_seconds: float
    grown_mib: float
    matched: int
    breaks: int

    @property
    def lines_per_second(self) -> float:
        """Both together."""
        return self.lines / (self.take_seconds + self.compare_seconds)

    def content(self) -> dict[str, object]:
        """As it is stored."""
        return asdict(self) | {"lines_per_second": self.lines_per_second}


async def measure(
    server: postgres.Server, lines: int, *, watch: Callable[[str], None] = lambda _: None,
    advance: Callable[[int], None] = lambda _: None,
) -> Reconciled:  # fmt: skip
    """Take and compare a file of so many lines. watch hears what is done, advance of lines read.

    Raises RuntimeError where something else came of it than was planted.
    """
    watch(f"recording {lines:,} receipts")
    async with coalition.founded(server, members=0, holders=0, partners=1) as crowd:
        database, partner_id = crowd.made.database, crowd.made.callers["partner1"].partner_id
        for first in range(1, lines + 1, 100_000):
            last = min(first + 99_999, lines)
            await crowd.pool.execute(_RECEIPTS, partner_id, NOON, _DAY, first, last, timeout=600)
        await _analyze(server)
        async with database.transaction() as connection:
            await actors.ensure_actor(connection, ACTOR, [actors.FINANCE_MAKER])
        with tempfile.TemporaryFile() as file:
            different = _write(file, lines)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            watch(f"taking {lines:,} lines")
            began = time.perf_counter()
            made = await intake.receive(
                database, file, "CSV", partner_id=partner_id, actor=ACTOR, at=AT, progress=advance
            )
            took = time.perf_counter() - began
        watch(f"comparing {lines:,} lines")
        began = time.perf_counter()
        async with database.transaction() as connection:
            found = await comparing.compare(connection, made.file_id, actor=ACTOR, at=AT)
        compared = time.perf_counter() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if (found.matched, found.breaks) != (lines - different, different):
        raise RuntimeError(f"{found.matched} matches and {found.breaks} breaks of {lines} lines, {different} planted")
    return Reconciled(lines, took, compared, grown / 1024, found.matched, found.breaks)


def _write(file: IO[bytes], lines: int) -> int:
    """A file of so many lines; how many of them differ from ours."""
    file.write(f"H,1,partner1,RECEIPTS,{_DAY},1,EUR\n".encode())
    points = cents = different = 0
    for n in range(1, lines + 1):
        is_different = n % DIFFERENT == 0
        different += is_different
        gained, total = 10 + n % 97 + is_different, 1000 + n % 977
        points, cents = points + gained, cents + total
        file.write(f"D,1,1,{_DAY},R{n},SALE,{gained},{total // 100}.{total % 100:02},,,\n".encode())
    file.write(f"T,{lines},{points},{cents // 100}.{cents % 100:02}\n".encode())
    file.seek(0)
    return different


async def _analyze(server: postgres.Server) -> None:
    """Let the planner know what there is, as it does in a database that lives."""
    owner = await asyncpg.connect(server.dsn(coalition.DATABASE, server.superuser))
    try:
        await owner.execute("ANALYZE partners.receipt")
    finally:
        await owner.close()
