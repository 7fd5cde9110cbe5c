"""A night of renewals is measured with a process killed in it, and everything is stored once; no time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import renewals, report
from benchmarks.renewals import Night
from kit.postgres import Server


@pytest.mark.deep
async def test_a_night_is_counted_from_what_is_stored(server: Server) -> None:
    night = await renewals.measure(server, 900)
    assert night.wrong == {}
    assert (night.renewals, night.processes) == (900, 2)
    assert night.per_second > 0


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    night = Night(100_000, 250.0, 2, 1, 40_000, 12, {"numbers left out": 1})
    report.store("renewals", night.content(), {"cores": 2}, folder=tmp_path)
    page = report.write_page(tmp_path).read_text()
    assert "| 100,000 | 250 | 400 | 2 | 1 | 40,000 | 12 | 1 numbers left out |" in page
