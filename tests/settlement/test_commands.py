"""`tessera settle` as a person at a terminal meets it."""

from __future__ import annotations

import asyncio
import base64
import csv
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kit import console
from kit.database import APPLICATION_ROLE
from kit.postgres import Server
from kit.secrets import Vault, read_opaque_id
from kit.settings import settings
from partners.agreements import onboarding
from settlement.commands import app

Coalition = Any  # of conftest, which is not imported
Settle = Callable[..., Any]
MASTER_KEY = bytes(range(32))
KEYS = {"a": bytes(range(64)), "b": bytes(range(64, 128))}


@pytest.fixture
def settle(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settle]:
    """Runs `tessera settle …` against this test's database, away from the test's own event loop."""
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(MASTER_KEY).decode())
    monkeypatch.setenv("TESSERA_ACTOR", "maker")
    monkeypatch.setattr(console.out, "_width", 200)
    settings.cache_clear()

    async def invoke(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(args))

    yield invoke
    settings.cache_clear()


async def a_day_of_trade(coalition: Coalition) -> int:
    vault = Vault(MASTER_KEY)
    for code, key in KEYS.items():
        await coalition.partner(code, key=vault.seal(key, onboarding.id_key_context(code)))
    member = await coalition.member()
    seq = await coalition.earn(member, "a", 1, 1000)
    await coalition.receipt(member, seq, "a", "=A-1")
    await coalition.spend(member, "b", 2, 600)
    return member


async def test_before_anything_is_settled_it_says_what_to_do(coalition: Coalition, settle: Settle) -> None:
    result = await settle("show")
    assert result.exit_code == 0
    assert "tessera settle close" in result.output


async def test_closing_settling_and_showing(coalition: Coalition, settle: Settle) -> None:
    await a_day_of_trade(coalition)

    closed = await settle("close", "--at", "2026-03-02")
    assert closed.exit_code == 0, closed.output
    assert "Cut-off 1 is closed: 2 entries, 2 postings, 1600 points moved." in closed.output

    done = await settle("run", "--at", "2026-03-02T00:00:00+00:00")
    assert done.exit_code == 0, done.output
    for words in ("PAY_IN", "PAY_OUT", "-10.00", "+4.80", "+5.20", "Sum of all nets in EUR: 0.00"):
        assert words in done.output

    shown = await settle("show", "1")
    assert done.stdout.startswith(shown.stdout)
    assert "Next: tessera settle control 1" in done.stdout
    assert "2026-03-02 00:00 UTC" in (await settle("show")).output
    statement = await settle("show", "1", "--partner", "a")
    for words in ("ACTIVATION", "version 1", "1,000", "0.010000", "-10.000000", "-10.00", "NET"):
        assert words in statement.output
    own = (await settle("show", "1", "--partner", "operator")).output
    for words in ("FUND", "a, version 1", "REIMBURSEMENT", "b, version 1", "+5.20"):
        assert words in own
    assert await coalition.violations() == []


async def test_a_run_goes_through_its_steps_and_is_taken_back(coalition: Coalition, settle: Settle) -> None:
    await a_day_of_trade(coalition)
    before = await settle("positions", "--at", "2026-03-01T10:00:00+0000")
    assert "-10.000000" in before.stdout
    await settle("close", "--at", "2026-03-02")
    await settle("run", "--at", "2026-03-02")
    said = {
        "control": "CONTROLLED: every control holds", "issue": "IN_REVIEW. When nobody may object",
    }  # fmt: skip
    for step, sentence in said.items():
        done = await settle(step, "1", "--at", "2026-03-02")
        assert done.exit_code == 0, done.output
        assert sentence in done.stdout
    early = await settle("approve", "1", "--at", "2026-03-03", "--actor", "checker")
    assert early.exit_code == 2
    assert "2 partners may object until 2026-03-10 00:00 UTC (REVIEW_OPEN)" in early.stderr
    approved = await settle("approve", "1", "--at", "2026-03-10", "--actor", "checker")
    assert "Run 1 is APPROVED." in approved.stdout
    windows = (await settle("windows", "--state", "CLAIMED")).stdout
    assert "NET.EUR.0001.01.01.00.00.1" in windows
    ended = await settle("abort", "1", "--reason", "bank", "--at", "2026-03-10", "--actor", "checker")
    assert "Run 1 is ABORTED." in ended.stdout
    assert "There is no such window." in (await settle("windows", "--state", "CLAIMED")).stdout
    after = await settle("positions")
    assert "+4.800000" in after.stdout
    assert await coalition.violations() == []


async def test_the_obligation_now_and_before_anything_happened(coalition: Coalition, settle: Settle) -> None:
    await a_day_of_trade(coalition)
    now = await settle("obligation", "--at", coalition.at.strftime("%Y-%m-%dT%H:%M:%S%z"))
    assert now.exit_code == 0
    assert [cell.strip() for cell in now.stdout.splitlines()[-2].split("│")[1:-1]] == [
        "a", "a, version 1", "EUR", "400", "3.400000",
    ]  # fmt: skip
    before = await settle("obligation", "--at", "2020-01-01")
    assert (before.exit_code, before.stdout.strip().endswith("nothing was owed.")) == (0, True)


async def test_the_files_of_a_statement(coalition: Coalition, settle: Settle, tmp_path: Path) -> None:
    member = await a_day_of_trade(coalition)
    await settle("close", "--at", "2026-03-02")
    await settle("run", "--at", "2026-03-02")
    files = [tmp_path / "statement.csv", tmp_path / "detail.csv"]

    result = await settle("show", "1", "--partner", "a", "--csv", str(files[0]), "--detail", str(files[1]))

    assert result.exit_code == 0, result.output
    statement, detail = (list(csv.DictReader(f.open(encoding="utf-8", newline=""))) for f in files)
    assert [(r["kind"], r["amount"]) for r in statement] == [
        ("OPENING", "0.00"), ("ACTIVATION", "-10.00"), ("NET", "-10.00")
    ]  # fmt: skip
    [posting] = detail
    assert (posting["reference"], posting["outlet"], posting["points"]) == ("'=A-1", "a-1", "1000")
    assert Decimal(posting["amount_exact"]) == Decimal(statement[1]["amount_exact"])
    assert read_opaque_id(KEYS["a"], "mbr", posting["member"]) == member.to_bytes(8, "big")


async def test_settling_again_is_one_sentence_and_exit_code_2(coalition: Coalition, settle: Settle) -> None:
    await settle("close", "--at", "2026-03-02")

    again = await settle("run", "--at", "2026-03-02")
    assert again.exit_code == 2
    assert again.stderr.endswith("every closed cut-off is settled already; close one first (NOTHING_TO_SETTLE)\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "7"), "there is no settlement run 7"),
        (("show", "1", "--partner", "x"), "there is no partner x"),
        (("show", "1", "--partner", "a"), "a has no statement in run 1"),
        (("show", "--partner", "a"), "--partner needs RUN too"),
        (("show", "1", "--partner", "operator", "--detail", "x.csv"), "the operator's own detail is every partner's"),
        (("show", "1", "--csv", "x.csv"), "--csv needs --partner too"),
        (("close", "--at", "2026-03-01"), "it cannot close before that"),
        (("close", "--actor", "nobody"), "nobody called 'nobody' acts here"),
        (("close", "--actor", "checker"), "this takes the role FINANCE_MAKER"),
    ],
)
async def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    coalition: Coalition, settle: Settle, arguments: tuple[str, ...], sentence: str
) -> None:
    await coalition.partner("b")
    await coalition.earn(await coalition.member(), "b", 1, 10)
    await coalition.partner("a")
    await settle("close", "--at", "2026-03-02")
    await settle("run", "--at", "2026-03-02")
    before = await coalition.rows()

    result = await settle(*arguments)

    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert await coalition.rows() == before
