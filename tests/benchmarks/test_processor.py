"""Who used the processor, read as the kernel writes it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import processor
from benchmarks.processor import TICKS_A_SECOND, Process, Spent


def line(pid: int, parent: int, *ticks: int, name: str = "postgres") -> str:
    """A line of /proc/<pid>/stat; ticks are user, system, and those of waited-for children."""
    before = f"{pid} ({name}) S {parent} 1 1 0 -1 4194560 900 0 1 0"
    return f"{before} {' '.join(str(tick) for tick in ticks)} 20 0 1 0 12345 300000000 4000 18446744073709551615\n"


def seconds(ticks: int) -> float:
    return ticks / TICKS_A_SECOND


def test_a_line_is_read_with_the_children_that_were_waited_for() -> None:
    assert processor.parse(line(42, 7, 100, 50, 30, 20)) == Process(42, 7, Spent(seconds(130), seconds(70)))


@pytest.mark.parametrize("name", ["postgres: writer", "a) S 1 (b", "(((", "x) R 9 9"])
def test_a_name_may_hold_anything(name: str) -> None:
    assert processor.parse(line(42, 7, 1, 2, 3, 4, name=name)) == Process(42, 7, Spent(seconds(4), seconds(6)))


def test_what_is_below_a_process_counts_but_for_the_branches_left_out() -> None:
    lines = [
        line(1, 0, 1000, 1000, 0, 0), line(10, 1, 1, 10, 0, 0), line(11, 10, 2, 20, 0, 0), line(12, 11, 4, 40, 0, 0),
        line(13, 10, 8, 80, 0, 0), line(20, 1, 500, 500, 0, 0),
    ]  # fmt: skip
    among = {process.pid: process for process in map(processor.parse, lines)}
    assert processor.spent_below(10, among) == Spent(seconds(15), seconds(150))
    assert processor.spent_below(10, among, without=[11]) == Spent(seconds(9), seconds(90))
    assert processor.spent_below(99, among) == Spent()


def test_time_is_told_per_operation_in_microseconds() -> None:
    told = processor.per_operation({"server": Spent(1.0, 0.5)}, 10_000)
    assert told == {"server": {"user": 100.0, "system": 50.0}}


def test_the_time_of_a_process_that_has_ended_is_the_driver_s() -> None:
    meter = processor.Meter(server=os.getppid())
    before = meter.read()["driver"]
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    spent = meter.read()["driver"] - before
    assert spent.user + spent.system >= 0.28
