"""What a benchmark stands on: a durable server, the unit of every ratio, and how a load is measured against it."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from benchmarks import figures, pgbench, processor, storage
from benchmarks.figures import TPC_B, Figure, Slice
from benchmarks.processor import Spent
from kit import postgres

Load = Callable[[int], Awaitable[Slice]]
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how large: seconds of a slice, rounds of slices per load, members with a card, holders of the
    ledger's own, the scale of TPC-B, and the seed of every draw."""

    seconds: int = 2
    rounds: int = 3
    members: int = 20_000
    holders: int = 100_000
    scale: int = 20
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """What a load used up: processor time by party, bytes of WAL, fsyncs."""

    spent: dict[str, Spent] = field(default_factory=dict)
    wal_bytes: int = 0
    fsyncs: int = 0

    def __add__(self, other: Cost) -> Cost:
        spent = {party: self.spent.get(party, Spent()) + each for party, each in other.spent.items()}
        return Cost(spent, self.wal_bytes + other.wal_bytes, self.fsyncs + other.fsyncs)


class Stage:
    """A running server on which loads are measured, one after the other, in turn with TPC-B.

    watch hears the name of each load before it starts. not_measured is filled by loads that cannot run here.
    """

    def __init__(self, server: postgres.Server, plan: Plan, watch: Callable[[str], None]) -> None:
        self.server = server
        self.plan = plan
        self.watch = watch
        self.not_measured: dict[str, str] = {}  # why, by name
        self._postmaster = int((server.data_folder / "postmaster.pid").read_text().split("\n")[0])
        self._tpc_b = pgbench_tpc_b(server)
        self._units: list[Slice] = []
        self._units_cost = Cost()

    async def prepare(self) -> None:
        """Make TPC-B's tables."""
        postgres.drop_database(self.server, "tpcb")
        postgres.create_database(self.server, "tpcb")
        scale = str(self.plan.scale)
        await pgbench.run(self.server, "tpcb", self.server.superuser, "-i", "-q", "-s", scale)

    async def measure(
        self,
        name: str,
        load: Load,
        *,
        database: str,
        against: tuple[str, Load] | None = None,
        gateway: int | None = None,
        reports: Callable[[], Awaitable[None]] | None = None,
        entries: tuple[float, float] | None = None,
        rounds: int | None = None,
        counts_fsyncs: bool = True,
        note: str = "",
    ) -> Figure:
        """Measure a load in slices, each between two of the unit: TPC-B, or another load given with its name.

        reports is awaited before and after each slice, so that the server's counters are whole. rounds are slices, as
        many as planned where it is not said. entries bounds how many entries of the ledger an operation makes; raises
        RuntimeError where that is not so, because then it was not the work.
        """
        self.watch(name)
        unit_name, unit = against or (TPC_B, self._tpc_b)
        owner = await asyncpg.connect(self.server.dsn(database, self.server.superuser))
        try:
            await load(1)
            sizes = await storage.sizes(owner)
            before = await storage.entries(owner) if entries else 0
            units, slices, cost = [await self._unit(unit)], [], Cost()
            for _ in range(rounds or self.plan.rounds):
                one, used = await self._costed(owner, load, gateway, reports)
                slices.append(one)
                cost += used
                units.append(await self._unit(unit))
            grown = await storage.sizes(owner)
            if entries:
                made = await storage.entries(owner) - before
                _check(name, made, sum(one.done for one in slices), entries)
        finally:
            await owner.close()
        if against:  # what the other load left behind lies in the same tables
            sizes = grown
        return _figure(name, slices, units, cost, (sizes, grown), unit_name, counts_fsyncs, note)

    async def _unit(self, unit: Load) -> Slice:
        if unit is not self._tpc_b:
            return await unit(self.plan.seconds)
        owner = await asyncpg.connect(self.server.dsn("tpcb", self.server.superuser))
        try:
            one, used = await self._costed(owner, unit, None, None)
        finally:
            await owner.close()
        self._units.append(one)
        self._units_cost += used
        return one

    async def _costed(
        self,
        owner: asyncpg.Connection,
        load: Load,
        gateway: int | None,
        reports: Callable[[], Awaitable[None]] | None,
    ) -> tuple[Slice, Cost]:
        meter = processor.Meter(self._postmaster, gateway)
        if reports:
            await reports()
        counted, spent = await storage.counters(owner), meter.read()
        one = await load(self.plan.seconds)
        used = {party: each - spent[party] for party, each in meter.read().items()}
        if reports:
            await reports()
        after = await storage.counters(owner)
        return one, Cost(used, after.wal_bytes - counted.wal_bytes, after.fsyncs - counted.fsyncs)

    def unit_figure(self) -> Figure:
        """TPC-B itself, over all of its slices; its spread is the machine's."""
        rates = [one.per_second for one in self._units]
        median = statistics.median(rates)
        note = f"{len(rates)} slices; first {rates[0]:,.0f}, last {rates[-1]:,.0f} per second"
        figure = _figure("pgbench TPC-B", self._units, [], self._units_cost, ({}, {}), TPC_B, True, note)
        spread = [rate / median for rate in rates]
        return replace(figure, ratio_low=min(spread), ratio_high=max(spread))

    async def settings(self) -> dict[str, object]:
        """What the figures depend on; raises PostgresError unless commits are durable."""
        server = await settings_of(self.server)
        plan = {name: getattr(self.plan, name) for name in Plan.__dataclass_fields__}
        return {**server, **plan, "unit": f"TPC-B, -M prepared -c {pgbench.CLIENTS} -j {pgbench.JOBS}"}


async def settings_of(server: postgres.Server) -> dict[str, object]:
    """What figures of a server depend on; raises PostgresError unless commits are durable."""
    connection = await asyncpg.connect(server.dsn("postgres", server.superuser))
    try:
        await postgres.assert_durable(connection)
        return {name: await connection.fetchval("SELECT current_setting($1)", name) for name in SETTINGS}
    finally:
        await connection.close()


def pgbench_tpc_b(server: postgres.Server) -> Load:
    """TPC-B as pgbench has it: the unit of every ratio."""

    async def slice_of(seconds: int) -> Slice:
        printed = await pgbench.run(server, "tpcb", server.superuser, *pgbench.like_tpc_b(seconds))
        done = pgbench.count(printed)
        return Slice(done, done / pgbench.rate(printed))

    return slice_of


def _check(name: str, made: int, done: int, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if not least * done <= made <= most * done:
        raise RuntimeError(f"{name}: {done} operations made {made} entries, which is not what was to be measured")


def _figure(
    name: str,
    slices: list[Slice],
    units: list[Slice],
    cost: Cost,
    sizes: tuple[dict[str, storage.Size], dict[str, storage.Size]],
    unit: str,
    counts_fsyncs: bool,
    note: str,
) -> Figure:
    rates = [one.per_second for one in slices]
    found = figures.ratios(rates, [one.per_second for one in units]) if units else [1.0]
    latencies = sorted(latency for one in slices for latency in one.latencies_ms)
    done = sum(one.done for one in slices)
    return Figure(
        name=name,
        operations=done,
        per_second=statistics.median(rates),
        ratio=statistics.median(found),
        ratio_low=min(found),
        ratio_high=max(found),
        p50_ms=figures.percentile(latencies, 0.5),
        p99_ms=figures.percentile(latencies, 0.99),
        unit=unit,
        cpu_us=processor.per_operation(cost.spent, done),
        bytes_stored=storage.grown(*sizes, done),
        wal_bytes=cost.wal_bytes / done,
        fsyncs=cost.fsyncs / done if counts_fsyncs else None,
        note=note,
    )


@asynccontextmanager
async def prepared(
    server: postgres.Server, plan: Plan, watch: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Stage]:
    """A stage with TPC-B's tables made, on a server whose commits are durable."""
    stage = Stage(server, plan, watch)
    await stage.settings()
    await stage.prepare()
    yield stage
