"""Closing is measured on a database of its own, and told as it grew; no time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import closing, report
from benchmarks.closing import Closed, Closing
from kit.postgres import Server

TWO = Closing([
    Closed(100_000, [0.3, 0.1, 0.2], [0.5, 0.4, 0.6], 12.34, 0), Closed(1_000_000, [0.3, 0.2, 0.4], [0.5, 0.4, 0.6], 9.9, 0),
])  # fmt: skip


def test_growth_is_of_the_medians(tmp_path: Path) -> None:
    assert TWO.growths() == [pytest.approx(1.5)]
    report.store("closing", TWO.content(), {"rounds": 3}, folder=tmp_path)
    page = report.write_page(tmp_path).read_text()
    assert "| 1,000,000 | 0.300 | 0.200 | 0.400 | 0.500 | 9.9 | 0 |" in page
    assert "grew × 1.50." in page


async def test_a_close_counts_what_was_recorded_and_every_control_holds(server: Server) -> None:
    found = await closing.measure(server, [1_000, 2_000], rounds=1, holders=500)
    assert [(one.postings, one.violations, len(one.close_seconds)) for one in found.sizes] == [
        (1_000, 0, 1),
        (2_000, 0, 1),
    ]


async def test_a_size_that_the_holders_cannot_share_is_refused(server: Server) -> None:
    with pytest.raises(RuntimeError, match="multiples of 500"):
        await closing.measure(server, [750], rounds=1, holders=500)
