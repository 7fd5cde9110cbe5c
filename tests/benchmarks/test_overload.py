"""An overload's result says how much was still done, for whom, and how soon all was as before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import overload, report
from benchmarks.overload import EARN, READ, SPEND, UNDO, Kind, Siege, Tally

SIEGE = Siege(
    capacity=1_000.0, alone={READ: 2_000.0, EARN: 2_000.0, SPEND: 500.0, UNDO: 500.0}, work_before=1.0, work=0.9,
    due=300_000, seconds=30.0, connections=1_500,
    kinds=[
        Kind(READ, 0, 20_000, 5_000, 15_000, 15_000, 0, 900.0, 1_900.0),
        Kind(SPEND, 2, 4_000, 4_000, 0, 0, 0, 100.0, 250.0),
    ],
    seconds_to_normal=1, normal_p99_ms=80.0, audit_violations=0,
)  # fmt: skip


def test_what_is_shed_last_is_what_spends_and_takes_back() -> None:
    assert [overload.rank_of(kind) for kind in (READ, EARN, SPEND, UNDO)] == [0, 1, 2, 2]


def test_an_answer_counts_as_much_as_it_costs() -> None:
    tallies = {READ: Tally(answered=2_000), EARN: Tally(answered=0), SPEND: Tally(answered=500), UNDO: Tally()}
    assert overload._work(tallies, SIEGE.alone) == pytest.approx(2.0)
    assert SIEGE.share == pytest.approx(0.9)
    assert SIEGE.goodput == pytest.approx(300.0)


def test_the_page_has_a_row_for_each_kind(tmp_path: Path) -> None:
    report.store("overload", SIEGE.content(), {"seconds": 30, "times": 10}, folder=tmp_path)
    page = report.write_page(tmp_path).read_text()
    assert "**90%** of the capacity" in page
    assert "back to normal after 1 s" in page
    assert "| reads | 0 | 20,000 | 5,000 | 25% | 15,000 | 100% | 0 | 900 | 1,900 |" in page
    assert "| spends | 2 | 4,000 | 4,000 | 100% | 0 |  | 0 | 100 | 250 |" in page


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
def test_processes_are_free_again_after_they_were_pinned() -> None:
    before = os.sched_getaffinity(0)
    first, second = sorted(before)[:2]
    with overload.pinned([], first, second):
        assert os.sched_getaffinity(0) == {second}
    assert os.sched_getaffinity(0) == before
