"""The long run: what is written as it goes is what an interrupted run goes on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import coalition, long, storage
from benchmarks.coalition import Stocked
from benchmarks.long import Endurance, Minute, Terms
from kit.database import Database
from ledger import accounts

TERMS = Terms(lots=1_000, minutes=3, scale=1, seed=7)


def test_what_was_noted_is_read_again_whole(tmp_path: Path) -> None:
    found = Endurance(
        TERMS, empty={"ledger.lot": storage.Size(8_192, 16_384, 0)}, lots_recorded=400, stocking_seconds=1.5
    )
    long.note(found, tmp_path)
    assert long.noted(tmp_path, TERMS) == found
    found.stocked = Stocked(1_000, 100, 3.5, {"ledger.lot": {"heap": 170.0, "indexes": 115.0}})
    found.minutes.append(Minute(2_000.0, 8.5, [0.5, 0.6, 0.55]))
    long.note(found, tmp_path)
    assert long.noted(tmp_path, TERMS) == found


def test_notes_of_other_terms_are_none_and_so_are_none_at_all(tmp_path: Path) -> None:
    assert long.noted(tmp_path, TERMS) is None
    long.note(Endurance(TERMS), tmp_path)
    assert long.noted(tmp_path, replace(TERMS, lots=2_000)) is None


def test_a_run_that_is_not_over_has_no_result() -> None:
    stocked = Stocked(1_000, 100, 3.5, {})
    with pytest.raises(ValueError, match="not over"):
        Endurance(TERMS, stocked=stocked, minutes=[Minute(1.0, 1.0, [1.0])] * 2).content()
    with pytest.raises(ValueError, match="two minutes"):
        Terms(lots=1_000, minutes=1, scale=1, seed=7)


def test_the_last_minute_is_compared_with_the_first_as_it_was_and_by_tpc_b() -> None:
    found = Endurance(TERMS, minutes=[Minute(2_000.0, 8.0, [0.5, 0.5]), Minute(1_800.0, 8.9, [0.4, 0.6])])
    assert found.last_to_first == 0.9
    assert found.last_to_first_by_tpc_b == pytest.approx(1.0)


async def test_lots_of_an_interrupted_stocking_are_recorded_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coalition, "BATCH", 3)
    async with database.transaction() as connection:
        holders = await accounts.open_accounts(connection, 10)
    done: list[int] = []
    async for some in coalition.stock(database.pool, holders, 4):
        done.append(some)
        if sum(done) == 26:  # and the notes are two steps behind
            break
    assert done == [6, 4, 6, 4, 6]
    again = [some async for some in coalition.stock(database.pool, holders, 4, begin=16)]
    assert again == [4, 6, 4, 6, 4]
    rows = await database.pool.fetch("SELECT seq, available FROM ledger.account")
    assert {(row["seq"], row["available"]) for row in rows} == {(4, 400)}
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
