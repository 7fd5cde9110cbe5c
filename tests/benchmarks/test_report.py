"""The page of tables says what the files say."""

from __future__ import annotations

from pathlib import Path

from benchmarks import report
from benchmarks.coalition import Stocked
from benchmarks.figures import Figure
from benchmarks.long import Endurance, Minute, Terms

STORED = {
    "ledger.journal": {"heap": 200.4, "indexes": 130.0},
    "ledger.posting": {"heap": 101.0, "indexes": 68.0},
    "ledger.lot": {"heap": 168.0, "indexes": 146.0},
}
ACCRUE = Figure(
    name="ledger.accrue", operations=60_000, per_second=7_654.3, ratio=1.234, ratio_low=1.1, ratio_high=1.349,
    p50_ms=2.04, p99_ms=5.96, cpu_us={"server": {"user": 120.4, "system": 60.0}, "driver": {"user": 5.0, "system": 7.0}},
    bytes_stored=STORED, wal_bytes=1_430.0, fsyncs=0.1234, note="as TPC-B",
)  # fmt: skip
HOT = Figure("hot ÷ spread", 10, 5.0, 0.98, 0.9, 1.0, unit="spread over fifty")


def test_a_row_has_a_cell_for_every_heading() -> None:
    assert dict(zip(report.HEAD, report.row(ACCRUE), strict=True)) == {
        "load": "ledger.accrue", "per second": "7,654", "ratio": "1.23", "spread": "1.10 to 1.35", "p50 ms": "2.0",
        "p99 ms": "6.0", "server µs": "120 + 60", "driver µs": "5 + 7", "gateway µs": "", "WAL B": "1,430",
        "fsyncs": "0.123",
    }  # fmt: skip


def test_a_ratio_to_something_else_than_tpc_b_is_marked() -> None:
    assert dict(zip(report.HEAD, report.row(HOT), strict=True))["ratio"] == "0.98 ÷"


def test_what_an_accrual_stores_is_summed_and_the_receipt_stands_beside_it() -> None:
    receipt = {"partners.receipt": {"heap": 388.0, "indexes": 80.0}}
    told = report.cost_row(Figure("purchase", 1, 1.0, 1.0, 1.0, 1.0, bytes_stored=STORED | receipt))
    assert told is not None
    assert dict(zip(report.COST_HEAD, told, strict=True)) == {
        "load": "purchase", "journal": "200 + 130", "posting": "101 + 68", "lot": "168 + 146", "together": "**813**",
        "receipt": "388 + 80", "claim": "",
    }  # fmt: skip
    assert report.cost_row(HOT) is None


def test_a_table_has_a_line_for_each_row() -> None:
    assert report.markdown(["a", "b"], [["x", "1"], ["y", "2"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"


def test_the_page_is_made_from_the_files_and_says_what_is_missing(tmp_path: Path) -> None:
    settings = {"fsync": "on", "seed": 7, "seconds": 2, "audit_violations": 0}
    report.store("levels", report.stored([ACCRUE]), settings, folder=tmp_path)
    report.store(
        "peers",
        report.stored([HOT], {"django-hordak": "could not be installed: no network"}),
        settings,
        folder=tmp_path,
    )
    written = report.write_page(tmp_path).read_text(encoding="utf-8")
    assert "| ledger.accrue | 7,654 | 1.23 | 1.10 to 1.35 |" in written
    assert "fsync on, " in written
    assert "seed 7" in written
    assert "**django-hordak: not measured, it could not be installed: no network**" in written
    assert "- ledger.accrue: as TPC-B" in written
    assert "## Scenarios" not in written
    assert "## Long" not in written


def test_the_long_run_tells_first_and_last_and_what_a_lot_takes(tmp_path: Path) -> None:
    minutes = [Minute(2_000.0, 8.0, [0.5]), Minute(1_000.0, 16.0, [0.4]), Minute(1_800.0, 9.0, [0.54, 0.56])]
    found = Endurance(
        Terms(10_000, 3, 1, 1), stocked=Stocked(10_000, 1_000, 2.0, STORED), minutes=minutes, audit_seconds=1.5,
        audit_violations=0,
    )  # fmt: skip
    report.store("long", found.content(), {"seed": 1}, folder=tmp_path)
    written = report.page(tmp_path)
    assert "10,000 lots of 1,000 holders were recorded in 2 s, 5,000 a second" in written
    assert "813 bytes each" in written
    assert "first 2,000, median 1,800, last 1,800" in written
    assert "Last ÷ first **0.90**" in written
    assert "first 0.50, median 0.50, lowest 0.40, last 0.55. Last ÷ first **1.10**" in written
    assert "found 0 violations" in written


def test_the_committed_page_is_what_the_committed_files_say() -> None:
    if (report.RESULTS / report.PAGE).exists():
        assert (report.RESULTS / report.PAGE).read_text(encoding="utf-8") == report.page()
    else:
        assert list(report.RESULTS.glob("*.json")) == []
