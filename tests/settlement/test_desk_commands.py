"""`tessera settle …` of the desk of finance: what one proposes another decides, and files of before come in whole."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from kit import clock, console
from kit.database import APPLICATION_ROLE
from kit.postgres import Server
from kit.settings import settings
from settlement import runs
from settlement.commands import app
from settlement.money import opening_files, stock
from settlement.money.opening_files import FIELDS

Coalition = Any  # of conftest, which is not imported
Settle = Callable[..., Any]
HEADER = ",".join(FIELDS)


@pytest.fixture
def settle(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settle]:
    """Runs `tessera settle …` by somebody against this test's database, away from the test's own event loop."""
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_CLOCK", "sandbox")
    monkeypatch.setattr(console.out, "_width", 220)
    settings.cache_clear()

    async def invoke(*args: str, by: str = "maker", code: int = 0) -> str:
        monkeypatch.setenv("TESSERA_ACTOR", by)
        result: Result = await asyncio.to_thread(CliRunner().invoke, app, list(args))
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    yield invoke
    settings.cache_clear()


async def at(coalition: Coalition) -> None:
    async with coalition.database.transaction() as connection:
        await clock.set_sandbox(connection, coalition.at)


async def counts(coalition: Coalition) -> dict[str, int]:
    extra = {
        name: await coalition.database.pool.fetchval(f"SELECT count(*) FROM {name}")
        for name in ("kit.approval", "settlement.opening_stock")
    }
    return await coalition.rows() | extra


async def test_a_file_of_before_comes_in_whole_by_two_people_and_once(
    coalition: Coalition, settle: Settle, tmp_path: Path
) -> None:
    old = await coalition.partner("a")
    await coalition.sign("a")
    lines = [
        "STOCK,,a,1,,1000,", "BALANCE,2110,a,1,EUR,,-12.5", "BALANCE,2300,a,,EUR,,-1500.000001",
        "BALANCE,1120,,,EUR,,8.50", "BALANCE,1130,operator,,EUR,,1500.000001",
    ]  # fmt: skip
    path = tmp_path / "before.csv"
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    said = await settle("import-opening-balances", str(path))
    number = said.split()[1]
    assert "waits for somebody else" in said
    before = await counts(coalition)
    assert said == await settle("import-opening-balances", str(path))
    assert await counts(coalition) == before, "the same file again writes nothing"
    assert "OPENING_BALANCES" in await settle("proposals")
    await settle("decide", number, code=2)  # the maker
    assert await counts(coalition) == before
    assert "approved and done" in await settle("decide", number, by="checker")
    rows = await coalition.database.pool.fetch(
        "SELECT account, party_id, cohort_id, sum(amount_micro)::bigint AS micro FROM settlement.money_posting "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    a = coalition.partners["a"]
    assert [tuple(row) for row in rows] == [
        ("1120", 0, 0, 8_500_000), ("1130", 0, 0, 1_500_000_001), ("2110", a, old, -12_500_000),
        ("2300", a, 0, -1_500_000_001), ("3100", 0, 0, 4_000_000),
    ]  # fmt: skip
    assert sum(row["micro"] for row in rows) == 0
    [opened] = await coalition.database.pool.fetch("SELECT funder_id, terms_id, points FROM settlement.opening_stock")
    assert tuple(opened) == (a, old, 1000)
    assert said == await settle("import-opening-balances", str(path)), "also after it was approved"
    member = await coalition.member()
    async with coalition.database.transaction() as connection:
        await stock.grant_opening(
            connection, member, (a, old), points=1000, expires_at=coalition.at.replace(year=2027), row="1",
            at=coalition.at,
        )  # fmt: skip
    await coalition.settle()
    assert await coalition.violations() == []


async def test_one_wrong_line_keeps_the_whole_file_out(coalition: Coalition, settle: Settle, tmp_path: Path) -> None:
    await coalition.partner("a")
    good = {"kind": "STOCK", "party": "a", "version": 1, "points": 5}
    wrong: list[dict[str, Any]] = [
        {"kind": "STOCK", "party": "nobody", "version": 1, "points": 5},
        {"kind": "STOCK", "party": "a", "version": 7, "points": 5},
        {"kind": "STOCK", "party": "a", "version": 1, "points": 0},
        {"kind": "BALANCE", "account": "2100", "party": "a", "version": 1, "currency": "EUR", "amount": "-1"},
        {"kind": "BALANCE", "account": "1200", "party": "a", "currency": "EUR", "amount": "1"},
        {"kind": "BALANCE", "account": "2300", "currency": "EUR", "amount": "-1"},
        {"kind": "BALANCE", "account": "2300", "party": "a", "currency": "XXX", "amount": "-1"},
        {"kind": "BALANCE", "account": "1120", "currency": "EUR", "amount": "0.0000001"},
        {"kind": "BALANCE", "account": "1120", "currency": "EUR", "amount": "NaN"},
        good,
        {**good, "more": 1},
    ]
    before = await counts(coalition)
    for n, one in enumerate(wrong):
        path = tmp_path / f"{n}.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in (good, one)), encoding="utf-8")
        assert "wrong" in await settle("import-opening-balances", str(path), code=2), one
    for text in ("", HEADER, f"{HEADER}\nSTOCK,,a,1,,5", "kind\nSTOCK"):
        path = tmp_path / "x.csv"
        path.write_text(text, encoding="utf-8")
        await settle("import-opening-balances", str(path), code=2)
    await settle("import-opening-balances", str(tmp_path / "missing.csv"), code=2)
    assert await counts(coalition) == before


@given(st.text(max_size=200), st.booleans())
def test_no_file_is_read_by_halves(content: str, is_json: bool) -> None:
    lines, problems = opening_files.read(content, is_json=is_json)
    assert problems or lines
    for line in lines:
        assert (line.points > 0) == (line.kind == opening_files.STOCK)
        assert (line.amount_micro != 0) == (line.kind == opening_files.BALANCE)


async def test_taxes_holidays_and_deposits_are_said_and_shown(coalition: Coalition, settle: Settle) -> None:
    await coalition.partner(
        "a", says={"prefunding_micro": 5_000_000, "debit_cap_micro": 10_000_000, "cap_policy": "PENDING_HOLD"}
    )
    await at(coalition)
    await settle("holiday", "2026-05-01", "Labour day", code=0)
    await settle("holiday", "2026-05-02", "A Saturday", code=2)
    assert "2026-05-01 Labour day" in (await settle("holidays")).replace("│ ", "").replace(" │", "")
    waits = await settle("tax-rule", "VAT_20", "2000", "--from", "2026-06-01", "--tax-code", "S")
    assert "VAT_20" not in await settle("tax-rules")
    await settle("decide", waits.split()[1], by="checker")
    coalition.at = coalition.at.replace(month=7)
    await at(coalition)
    assert "VAT_20" in await settle("tax-rules")
    declined = (await settle("tax-rule", "VAT_8", "800", "--from", "2026-09-01", "--tax-code", "S")).split()[1]
    assert "declined" in await settle("decide", declined, "--decline", by="checker")

    assert "5.000000" in await settle("deposits")
    before = await counts(coalition)
    for wrong in (("a", "0"), ("a", "1.0000001"), ("nobody", "5")):
        await settle("deposit", *wrong, "--currency", "EUR", "--reference", "B-1", code=2)
    await settle("deposit", "a", "8", "--currency", "USD", "--reference", "B-1", code=2)
    await settle("return-deposit", "a", "1", "--currency", "EUR", "--reference", "R-1", code=2)
    assert await counts(coalition) == before
    for _ in range(2):
        await settle("deposit", "a", "8", "--currency", "EUR", "--reference", "B-1")
    await settle("deposit", "a", "9", "--currency", "EUR", "--reference", "B-1", code=2)
    assert "8.000000" in await settle("deposits")
    await settle("return-deposit", "a", "3.01", "--currency", "EUR", "--reference", "R-1", code=2)
    number = (await settle("return-deposit", "a", "3", "--currency", "EUR", "--reference", "R-1")).split()[1]
    await settle("decide", number, by="checker")
    shown = await settle("exposure", "--enforce")
    assert "PENDING_HOLD" in shown
    assert "1,500" in shown  # of 15.00 at 0.01
    assert await coalition.violations() == []


async def test_runs_with_their_certificates_a_new_version_and_an_acceptance(
    coalition: Coalition, settle: Settle, owner: asyncpg.Connection
) -> None:
    a = await coalition.partner("a", says={"cycle": "DAY"})
    await coalition.earn(await coalition.member(), "a", a, 100)
    coalition.at = coalition.at.replace(day=2)
    await at(coalition)
    await settle("cycle", by="nobody", code=2)
    assert "Cut-off 1 is closed; controlled: 1." in await settle("cycle")
    assert "No cycle has ended; controlled: no run." in await settle("cycle")
    assert "CONTROLLED" in await settle("runs")
    assert "CLEAN" in await settle("runs", "--state", "CONTROLLED")
    assert "SHA-256" in await settle("certificate", "1")
    assert "CUT" in await settle("cutoffs")
    assert "Run 2 takes the place of 1" in await settle("supersede", "1", "--reason", "prices were wrong")
    assert "NONE" in await settle("runs", "--state", "DRAFT")
    await settle("certificate", "2", code=1)
    assert "controlled: 2" not in await settle("cycle")  # somebody made it: somebody goes on with it
    for step in ("calculate", "control", "issue"):
        await coalition.step(getattr(runs, step), 2)
    statement = await owner.fetchval(
        "SELECT statement_id FROM settlement.statement WHERE run_id = 2 AND partner_id > 0"
    )
    await settle("accept", str(statement), "--partner", "a")
    await settle("accept", "999", "--partner", "a", code=2)
    assert await owner.fetchval("SELECT count(*) FROM settlement.acceptance") == 1
    await settle("supersede", "2", "--reason", "too late", code=2)
    approved = await coalition.step(runs.approve, 2, by="checker")
    assert approved.state == "APPROVED"
    waits = (await settle("cover", "2", "a")).split()[1]
    await settle("decide", waits, by="checker")
    assert "OPERATOR" in await settle("defaults", "2")
