"""What closing costs: a cut-off with so many postings is cut, balanced, booked and calculated, and ten times as many.

The jobs that count and add up beside the tills have done their work before; a few hundred postings more are recorded
then, as they would be. Each close is of a copy of the same database.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import pairwise

from benchmarks import coalition
from benchmarks.coalition import DATABASE, PARTNERS
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database, connect
from ledger import cutoffs
from settlement import archive, certificate, controls, runs
from settlement.windows import positions
from tests.builders import NOON

COPY = "bench_close"
ACTOR = "bench"
HOLDERS = 10_000
AT = NOON + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Closed:
    """Closes of as many postings: seconds of each close and of each run's calculation, and what adding up beside the
    tills had cost, in µs a posting. violations is what all controls found after the last, certificate_seconds is in
    what time the second engine recomputed its run from every posting."""

    postings: int
    close_seconds: list[float]
    run_seconds: list[float]
    adding_up_us: float
    violations: int
    certificate_seconds: float

    @property
    def recomputed_per_second(self) -> float:
        """Postings that the second engine took in a second, its export from PostgreSQL included."""
        return self.postings / self.certificate_seconds

    @property
    def median_seconds(self) -> float:
        """The median close."""
        return statistics.median(self.close_seconds)


@dataclass(frozen=True, slots=True)
class Closing:
    """Closes by how many postings they were of, in order."""

    sizes: list[Closed]

    def growths(self) -> list[float]:
        """By how much the median close grew from each size to the next."""
        return [after.median_seconds / before.median_seconds for before, after in pairwise(self.sizes)]

    def content(self) -> dict[str, object]:
        """As it is stored."""
        sizes = [
            asdict(one) | {"median_seconds": one.median_seconds, "recomputed_per_second": one.recomputed_per_second}
            for one in self.sizes
        ]
        return {"sizes": sizes, "growths": self.growths()}


async def measure(
    server: postgres.Server, sizes: Sequence[int], *, rounds: int, holders: int = HOLDERS,
    watch: Callable[[str], None] = lambda _: None, advance: Callable[[int], None] = lambda _: None,
) -> Closing:  # fmt: skip
    """Close as many postings as told, several times each. watch hears what is done, advance of postings recorded.

    Raises RuntimeError where a size is no multiple of the holders, or where a close did not count what there was.
    """
    if any(size % holders for size in sizes):
        raise RuntimeError(f"sizes are multiples of {holders:,} holders")
    return Closing([await _measure(server, size, rounds, holders, watch, advance) for size in sizes])


async def _measure(
    server: postgres.Server, size: int, rounds: int, holders: int, watch: Callable[[str], None],
    advance: Callable[[int], None],
) -> Closed:  # fmt: skip
    watch(f"recording {size:,} postings")
    async with coalition.founded(server, members=0, holders=holders, partners=PARTNERS) as crowd:
        await coalition.stocked(server, crowd.pool, crowd.holders, size // holders, advance)
        watch("adding them up")
        began = time.perf_counter()
        await cutoffs.tally_up(crowd.made.database)
        await positions.catch_up(crowd.made.database, at=AT)
        adding_up_us = (time.perf_counter() - began) / size * 1e6
        visits = size // holders
        async for _ in coalition.stock(crowd.pool, crowd.holders[:200], visits + 1, begin=200 * visits):
            pass
        async with crowd.made.database.transaction() as connection:
            await actors.ensure_actor(connection, ACTOR, [actors.FINANCE_MAKER])
    closes, calculations, violations, certified = [], [], 0, 0.0
    for number in range(rounds):
        watch(f"closing {size:,} postings")
        postgres.drop_database(server, COPY)
        postgres.create_database(server, COPY, template=DATABASE)
        async with connect(server.url(COPY, APPLICATION_ROLE), pool_size=2) as database:
            close, calculation = await _closed(database, size + 200)
            closes.append(close)
            calculations.append(calculation)
            if number == rounds - 1:
                watch("the controls")
                async with database.reading() as connection:
                    violations = len(await controls.run(connection))
                watch(f"recomputing {size:,} postings with the second engine")
                certified = await _recomputed(database, size + 200)
    postgres.drop_database(server, COPY)
    return Closed(size, closes, calculations, adding_up_us, violations, certified)


async def _closed(database: Database, expected: int) -> tuple[float, float]:
    """Seconds that closing took, and calculating the run. The first statement of a connection is not counted."""
    async with database.reading() as connection:
        await archive.runs(connection)
    began = time.perf_counter()
    closed = await runs.close_cutoff(database, actor=ACTOR, at=AT)
    seconds = time.perf_counter() - began
    if closed.posting_count != expected:
        raise RuntimeError(f"{closed.posting_count} postings were counted, {expected} recorded")
    began = time.perf_counter()
    async with database.transaction() as connection:
        for run_id in await runs.begin(connection, actor=ACTOR, at=AT):
            await runs.calculate(connection, run_id, actor=ACTOR, at=AT)
    return seconds, time.perf_counter() - began


async def _recomputed(database: Database, expected: int) -> float:
    """Seconds that the second engine took for the run, export and all. Raises RuntimeError where the engines differ."""
    began = time.perf_counter()
    async with database.reading() as connection:
        [head] = await archive.runs(connection)
        found = await certificate.certify(connection, head.run_id)
    seconds = time.perf_counter() - began
    if not found.holds or found.postings != expected:
        raise RuntimeError(f"of {expected} postings it read {found.postings}; {found.differences[:3]}")
    return seconds
