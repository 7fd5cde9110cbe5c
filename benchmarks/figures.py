"""What is measured, as plain values: a slice of load, the figure that several slices make."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

TPC_B = "TPC-B"


@dataclass(frozen=True, slots=True)
class Slice:
    """A few seconds of one load: operations done, seconds it took, latencies in ms of all or of a sample of them."""

    done: int
    seconds: float
    latencies_ms: Sequence[float] = ()

    @property
    def per_second(self) -> float:
        """Operations a second."""
        return self.done / self.seconds


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured load. Rates are medians of the slices; ratio is to the unit measured right before and after each.

    cpu_us is processor time per operation in µs: who (server, driver, gateway) to user and system. bytes_stored is
    what an operation adds per table, in heap and in indexes. fsyncs is None where nobody could count them.
    """

    name: str
    operations: int
    per_second: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    unit: str = TPC_B
    cpu_us: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bytes_stored: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    wal_bytes: float | None = None
    fsyncs: float | None = None
    note: str = ""


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which this share of ascending values lies, the nearest rank; None of none."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def ratios(rates: Sequence[float], units: Sequence[float]) -> list[float]:
    """Each rate divided by the mean of the units measured right before and right after it: one unit more than rates."""
    if len(units) != len(rates) + 1:
        raise ValueError("a unit is measured before the first slice and after each")
    return [rate / statistics.mean(around) for rate, around in zip(rates, pairwise(units), strict=True)]


def drift(before: float, after: float) -> float:
    """How far the machine's own speed moved between two measurements of the unit, as a share of their mean."""
    return abs(after - before) / statistics.mean((before, after))
