"""What takes long: ten million lots, and a soak on top of them.

What was found is written as it goes, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks import coalition, figures, pgbench, scenarios, storage
from benchmarks.coalition import PARTNERS, Stocked
from benchmarks.stage import Stage, pgbench_tpc_b
from kit import postgres
from kit.database import APPLICATION_ROLE

DATABASE = "bench_long"  # its own, so that another benchmark meanwhile does not take it away
LOTS_OF_A_HOLDER = 10
PIECE_SECONDS, UNIT_SECONDS = 20, 3  # of the soak, and of TPC-B before and after each
WARM_UP_SECONDS = 20
NOTES_EVERY_SECONDS = 2
AUDIT_SECONDS = 4 * 3600  # at most


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be run; one that was interrupted goes on only under the same. minutes are those of the soak alone,
    without the slices of TPC-B in between."""

    lots: int
    minutes: int
    scale: int
    seed: int

    def __post_init__(self) -> None:
        if self.lots < LOTS_OF_A_HOLDER or self.minutes < 2:
            raise ValueError(f"at least {LOTS_OF_A_HOLDER} lots, and at least two minutes to compare")


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute of soak: operations a second, the 99th percentile of their latency in ms, and each of its pieces divided
    by the mean of TPC-B right before and right after it."""

    per_second: float
    p99_ms: float
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """The minute's ratio to TPC-B."""
        return statistics.mean(self.ratios)


@dataclass(slots=True)
class Endurance:
    """Everything that the long run found so far. stocking_seconds is what the lots recorded until now took."""

    terms: Terms
    empty: dict[str, storage.Size] = field(default_factory=dict)
    lots_recorded: int = 0
    stocking_seconds: float = 0.0
    stocked: Stocked | None = None
    minutes: list[Minute] = field(default_factory=list)
    audit_seconds: float | None = None
    audit_violations: int | None = None

    @property
    def last_to_first(self) -> float:
        """The last minute's rate divided by the first's."""
        return self.minutes[-1].per_second / self.minutes[0].per_second

    @property
    def last_to_first_by_tpc_b(self) -> float:
        """The same of their ratios to TPC-B: the machine's own drift is taken out."""
        return self.minutes[-1].ratio / self.minutes[0].ratio

    def content(self) -> dict[str, Any]:
        """As it is stored once it is whole. Raises ValueError before."""
        if self.stocked is None or len(self.minutes) < self.terms.minutes:
            raise ValueError("the long run is not over")
        rates = [minute.per_second for minute in self.minutes]
        ratios = [minute.ratio for minute in self.minutes]
        return {
            "stocked": {**asdict(self.stocked), "per_second": self.stocked.per_second},
            "soak": {
                "minutes": [{**asdict(minute), "ratio": minute.ratio} for minute in self.minutes],
                "piece_seconds": PIECE_SECONDS, "unit_seconds": UNIT_SECONDS,
                "last_to_first": self.last_to_first, "last_to_first_by_tpc_b": self.last_to_first_by_tpc_b,
                "median_per_second": statistics.median(rates), "median_ratio": statistics.median(ratios),
                "lowest_ratio": min(ratios),
            },
            "audit_seconds": self.audit_seconds, "audit_violations": self.audit_violations,
        }  # fmt: skip


# --- What is written as it goes -----------------------------------------------------------------------------


def notes_file(folder: Path) -> Path:
    """Where an unfinished run's findings stand."""
    return folder / "long.partial.json"


def note(found: Endurance, folder: Path) -> None:
    """Write down what was found so far: the whole file or none of it."""
    folder.mkdir(exist_ok=True)
    fresh = notes_file(folder).with_suffix(".fresh")
    fresh.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    fresh.replace(notes_file(folder))


def noted(folder: Path, terms: Terms) -> Endurance | None:
    """What an interrupted run under these terms found; None where there is none."""
    if not notes_file(folder).exists():
        return None
    told = json.loads(notes_file(folder).read_text(encoding="utf-8"))
    if Terms(**told["terms"]) != terms:
        return None
    return Endurance(**{
        **told,
        "terms": terms,
        "empty": {name: storage.Size(**size) for name, size in told["empty"].items()},
        "stocked": told["stocked"] and Stocked(**told["stocked"]),
        "minutes": [Minute(**minute) for minute in told["minutes"]],
    })  # fmt: skip


# --- The run ------------------------------------------------------------------------------------------------

Advance = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Teller:
    """Who hears how it goes: of each step its name and how much it is in all (None: nobody knows), and then of each
    advance in it; of each minute a line."""

    step: Callable[[str, float | None], Advance]
    say: Callable[[str], None]


async def measure(stage: Stage, terms: Terms, folder: Path, teller: Teller, *, anew: bool = False) -> Endurance:
    """Record lots through the ledger's own batches, soak them in the mix of S3, and audit everything.

    Goes on with what the folder's notes say of an interrupted run under the same terms, if its database is still
    there, unless it is to begin anew. A batch that was recorded and not noted is repeated: its keys are known.
    """
    found = None if anew else noted(folder, terms)
    if found is not None and postgres.database_exists(stage.server, DATABASE):
        async with coalition.found_again(stage.server, DATABASE) as (pool, holders):
            await _go_on(stage, pool, holders, found, folder, teller)
        return found
    found = Endurance(terms)
    teller.say(f"a database for {terms.lots // LOTS_OF_A_HOLDER:,} holders")
    async with coalition.founded(
        stage.server, members=0, holders=terms.lots // LOTS_OF_A_HOLDER, partners=1, name=DATABASE
    ) as crowd:
        found.empty = await _sizes(stage)
        note(found, folder)
        await _go_on(stage, crowd.pool, crowd.holders, found, folder, teller)
    return found


def clear_away(stage: Stage, folder: Path) -> None:
    """Drop the database of a run that is over, and its notes."""
    postgres.drop_database(stage.server, DATABASE)
    notes_file(folder).unlink(missing_ok=True)


async def _go_on(
    stage: Stage, pool: asyncpg.Pool, holders: list[int], found: Endurance, folder: Path, teller: Teller
) -> None:
    if found.stocked is None:
        await _stock(stage, pool, holders, found, folder, teller)
    if len(found.minutes) < found.terms.minutes:
        await _soak(stage, holders, found, folder, teller)
    advance = teller.step("the audit", None)
    began = time.perf_counter()
    found.audit_violations = await pool.fetchval("SELECT count(*) FROM ledger.audit()", timeout=AUDIT_SECONDS)
    found.audit_seconds = time.perf_counter() - began
    advance(1)
    note(found, folder)


async def _stock(
    stage: Stage, pool: asyncpg.Pool, holders: list[int], found: Endurance, folder: Path, teller: Teller
) -> None:
    lots = len(holders) * LOTS_OF_A_HOLDER
    advance = teller.step(f"{lots:,} lots for {len(holders):,} holders", lots)
    advance(found.lots_recorded)
    last = written = time.perf_counter()
    async for some in coalition.stock(pool, holders, LOTS_OF_A_HOLDER, begin=found.lots_recorded):
        now = time.perf_counter()
        found.stocking_seconds += now - last
        found.lots_recorded += some
        last = now
        advance(some)
        if now - written > NOTES_EVERY_SECONDS:
            note(found, folder)
            written = now
    grown = storage.grown(found.empty, await _sizes(stage), lots)
    teller.say("statistics of what was recorded")
    await coalition.analyze(stage.server, DATABASE)
    found.stocked = Stocked(lots, len(holders), found.stocking_seconds, grown)
    note(found, folder)
    teller.say(f"{lots:,} lots in {found.stocking_seconds:,.0f} s, {found.stocked.per_second:,.0f} a second, "
               f"{found.stocked.bytes_of_ledger:.0f} bytes each")  # fmt: skip


async def _soak(stage: Stage, holders: list[int], found: Endurance, folder: Path, teller: Teller) -> None:
    pieces = 60 // PIECE_SECONDS
    scripts = scenarios.mix_scripts(holders[0], holders[-1], PARTNERS)
    seed = found.terms.seed + len(found.minutes) * (pieces + 1)  # an interrupted run does not draw the same again
    load = pgbench.load(stage.server, DATABASE, APPLICATION_ROLE, scripts, seed=seed)
    unit = pgbench_tpc_b(stage.server)
    minute_seconds = 60 + (pieces + 1) * UNIT_SECONDS
    advance = teller.step(f"a soak of {found.terms.minutes} minutes", found.terms.minutes * minute_seconds)
    advance(len(found.minutes) * minute_seconds)
    await load(WARM_UP_SECONDS)
    while len(found.minutes) < found.terms.minutes:
        units, slices = [await unit(UNIT_SECONDS)], []
        for _ in range(pieces):
            slices.append(await load(PIECE_SECONDS))
            advance(PIECE_SECONDS + UNIT_SECONDS)
            units.append(await unit(UNIT_SECONDS))
        advance(UNIT_SECONDS)
        minute = Minute(
            sum(one.done for one in slices) / sum(one.seconds for one in slices),
            figures.percentile(sorted(ms for one in slices for ms in one.latencies_ms), 0.99) or 0.0,
            figures.ratios([one.per_second for one in slices], [one.per_second for one in units]),
        )
        found.minutes.append(minute)
        note(found, folder)
        compared = f"to the first {found.last_to_first:.2f}, by TPC-B {found.last_to_first_by_tpc_b:.2f}"
        rate = f"{minute.per_second:,.0f} a second, {minute.ratio:.2f} x TPC-B"
        teller.say(f"minute {len(found.minutes)}: {rate}; {compared}")


async def _sizes(stage: Stage) -> dict[str, storage.Size]:
    owner = await asyncpg.connect(stage.server.dsn(DATABASE, stage.server.superuser))
    try:
        return await storage.sizes(owner)
    finally:
        await owner.close()
