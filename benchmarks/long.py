"""What takes long: ten million lots, and a soak on top of them."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks import coalition, pgbench, scenarios
from benchmarks.coalition import DATABASE, PARTNERS, Stocked
from benchmarks.figures import drift
from benchmarks.stage import Stage, pgbench_tpc_b
from kit.database import APPLICATION_ROLE

LOTS_OF_A_HOLDER = 10
_PROGRESS = re.compile(r"^progress: ([0-9.]+) s, ([0-9.]+) tps, lat ([0-9.]+) ms", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Window:
    """One piece of a soak: operations a second and their average latency in ms."""

    per_second: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Soak:
    """A load without a break, in windows of so many seconds; TPC-B before and after it tells the machine's drift."""

    window_seconds: int
    windows: list[Window]
    unit_before: float
    unit_after: float

    @property
    def last_to_first(self) -> float:
        """The last window's rate divided by the first's."""
        return self.windows[-1].per_second / self.windows[0].per_second

    @property
    def last_to_first_without_drift(self) -> float:
        """The same, with the machine's own drift taken out."""
        return self.last_to_first / (self.unit_after / self.unit_before)


@dataclass(frozen=True, slots=True)
class Endurance:
    """Everything that the long run found. audit_seconds is what the audit of it all took."""

    stocked: Stocked
    soak: Soak
    audit_seconds: float
    audit_violations: int

    def content(self) -> dict[str, object]:
        """As it is stored."""
        stocked, soak = asdict(self.stocked), asdict(self.soak)
        stocked["per_second"] = self.stocked.per_second
        soak |= {
            "last_to_first": self.soak.last_to_first,
            "last_to_first_without_drift": self.soak.last_to_first_without_drift,
            "unit_drift": drift(self.soak.unit_before, self.soak.unit_after),
            "median_per_second": statistics.median(window.per_second for window in self.soak.windows),
        }
        return {
            "stocked": stocked, "soak": soak, "audit_seconds": self.audit_seconds,
            "audit_violations": self.audit_violations,
        }  # fmt: skip


async def measure(
    stage: Stage, *, lots: int, minutes: int, window_seconds: int = 60, advance: Callable[[int], None] = lambda _: None
) -> Endurance:
    """Record lots through the ledger's own batches, soak them in the mix of S3, and audit everything.

    advance hears of lots as they are recorded. Raises RuntimeError where lots or minutes are too few to be measured.
    """
    if lots < LOTS_OF_A_HOLDER or minutes * 60 < 2 * window_seconds:
        raise RuntimeError(f"at least {LOTS_OF_A_HOLDER} lots, and at least two windows of {window_seconds} s")
    async with coalition.founded(stage.server, members=0, holders=lots // LOTS_OF_A_HOLDER, partners=1) as crowd:
        holders = crowd.holders
        stage.watch(f"{len(holders) * LOTS_OF_A_HOLDER:,} lots for {len(holders):,} holders")
        stocked = await coalition.stocked(stage.server, crowd.pool, holders, LOTS_OF_A_HOLDER, advance)
        stage.watch(f"a soak of {minutes} minutes")
        soak = await _soaked(stage, holders, minutes * 60, window_seconds)
        stage.watch("the audit")
        began = time.perf_counter()
        violations = await crowd.pool.fetchval("SELECT count(*) FROM ledger.audit()", timeout=3600)
        return Endurance(stocked, soak, time.perf_counter() - began, violations)


async def _soaked(stage: Stage, holders: list[int], seconds: int, window_seconds: int) -> Soak:
    unit = pgbench_tpc_b(stage.server)
    before = (await unit(stage.plan.seconds)).per_second
    printed = await pgbench.soak(
        stage.server, DATABASE, APPLICATION_ROLE, scenarios.mix_scripts(holders[0], holders[-1], PARTNERS),
        seconds=seconds, window_seconds=window_seconds, seed=stage.plan.seed,
    )  # fmt: skip
    after = (await unit(stage.plan.seconds)).per_second
    return Soak(window_seconds, windows(printed), before, after)


def windows(printed: str) -> list[Window]:
    """The windows that pgbench told of as it went."""
    return [Window(float(rate), float(latency)) for _, rate, latency in _PROGRESS.findall(printed)]
