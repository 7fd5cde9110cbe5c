"""Closing is measured on a database of its own, and told as it grew; no time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import closing, report, statements
from benchmarks.closing import Closed, Closing
from benchmarks.statements import Alone, Written
from kit.postgres import Server

TWO = Closing([
    Closed(100_000, [0.3, 0.1, 0.2], [0.5, 0.4, 0.6], 12.34, 0, 0.5),
    Closed(1_000_000, [0.3, 0.2, 0.4], [0.5, 0.4, 0.6], 9.9, 0, 2.5),
])  # fmt: skip
LONG = Written(1_000_000, 7.25, Alone(61.04, 150 << 20), Alone(30.0, 40 << 20), 25 << 20)


def test_growth_is_of_the_medians(tmp_path: Path) -> None:
    assert TWO.growths() == [pytest.approx(1.5)]
    report.store("closing", TWO.content() | {"statements": [LONG.content()]}, {"rounds": 3}, folder=tmp_path)
    page = report.write_page(tmp_path).read_text()
    assert "| 1,000,000 | 0.300 | 0.200 | 0.400 | 0.500 | 9.9 | 0 | 2.50 | 400,000 |" in page
    assert "grew × 1.50." in page
    assert "| 1,000,000 | 7.2 | 61.0 | 150 | 25.0 | 30.0 | 40 |" in page


@pytest.mark.deep
async def test_a_close_counts_what_was_recorded_and_every_control_holds(server: Server) -> None:
    found = await closing.measure(server, [1_000, 2_000], rounds=1, holders=500)
    assert [(one.postings, one.violations, len(one.close_seconds)) for one in found.sizes] == [
        (1_000, 0, 1),
        (2_000, 0, 1),
    ]
    assert all(one.recomputed_per_second > 0 for one in found.sizes)


@pytest.mark.deep
async def test_a_package_has_every_line_and_what_writes_and_verifies_it_is_watched(server: Server) -> None:
    [few] = await statements.measure(server, [1_000], holders=500)
    assert few.lines == 1_000
    assert few.detail_bytes > 50 * few.lines
    assert min(few.written.peak_bytes, few.verified.peak_bytes) > 5 << 20  # what any Python takes


async def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        await statements.alone(["-c", "raise SystemExit(3)"], {}, tmp_path)


async def test_a_size_that_the_holders_cannot_share_is_refused(server: Server) -> None:
    with pytest.raises(RuntimeError, match="multiples of 500"):
        await closing.measure(server, [750], rounds=1, holders=500)
    with pytest.raises(RuntimeError, match="multiples of 500"):
        await statements.measure(server, [750], holders=500)
