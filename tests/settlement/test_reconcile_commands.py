"""`tessera reconcile` as a person at a terminal meets it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kit import console
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from settlement.reconciliation.commands import app
from tests.builders import NOON
from tests.settlement.bank_files import Paid
from tests.settlement.reconciling import CHECKER, MAKER, House, a_house_of, file_of, met

Say = Callable[..., Any]
TODAY, AT = NOON.date(), "2026-03-04"


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    await made.books.coalition.desk.close()


@pytest.fixture
def say(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `tessera reconcile …` against this test's database, away from the test's own event loop."""
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setattr(console.out, "_width", 200)
    settings.cache_clear()

    async def invoke(*args: str, by: str = MAKER) -> Result:
        monkeypatch.setenv("TESSERA_ACTOR", by)
        when = [] if args[0] == "export" else ["--at", AT]
        return await asyncio.to_thread(CliRunner().invoke, app, [*args, *when])

    yield invoke
    settings.cache_clear()


async def test_from_a_folder_to_resolved_breaks_and_from_an_approved_run_to_its_seal(
    a_house: House, say: Say, tmp_path: Path
) -> None:
    card = await a_house.books.member()
    await a_house.sell(card, 500, "cafe", after=0, reference="R-1")
    await a_house.sell(card, 7, "bakery", after=0, spend=50)
    rows = [*await a_house.rows("cafe", TODAY)]
    (tmp_path / "cafe").mkdir()
    wrong = [type(rows[0])("1", TODAY, "R-1", "SALE", 495, rows[0].minor)]
    (tmp_path / "cafe" / "1.csv").write_bytes(file_of("cafe", TODAY, 1, wrong))
    (tmp_path / "cafe" / "2.csv").write_bytes(b"nonsense")
    told = await say("watch", str(tmp_path))
    assert told.exit_code == 0, told.output
    assert "TAKEN" in told.output
    assert "PARTNER_FILE_INVALID" in told.output
    assert (tmp_path / "cafe" / "taken" / "1.csv.ack").read_text().startswith("file ")
    assert (tmp_path / "cafe" / "refused" / "2.csv").exists()
    assert "0 of 1 records are matched, 1 breaks" in (await say("compare")).output
    number = next(one.break_id for one in await a_house.breaks() if one.category == "QUANTITY")
    for command in (
        ("assign", "--owner", CHECKER),
        ("explain", "--cause", "the till"),
        ("post", "--cause", "5 points"),
    ):
        done = await say(command[0], str(number), *command[1:])
        assert done.exit_code == 0, done.output
    proposal = done.output.split()[-1]
    refused = await say("decide", proposal)
    assert (refused.exit_code, "NOT_PERMITTED" in refused.output) == (2, True), refused.output  # whoever proposed it
    assert (await say("decide", proposal, by=CHECKER)).exit_code == 0
    listed = await told_by(say, "breaks", "--all")
    assert "RESOLVED" in listed
    assert "FILE" in listed

    (run_id,) = await a_house.settle(at=NOON)
    made = await told_by(say, "instruct", str(run_id))
    order = made.split()[-1]
    assert (await say("release", order)).exit_code == 2  # whoever made it
    assert "may go" in (await say("release", order, by=CHECKER)).output
    await told_by(say, "export", str(run_id), "--out", str(tmp_path / "out"))
    assert len(list((tmp_path / "out").glob("*.xml"))) == 1
    sent = await a_house.sent(run_id)
    legs = await a_house.legs(run_id)
    bank = tmp_path / "statement.xml"
    bank.write_bytes(
        a_house.bank.statement(
            *(Paid(-g.amount_minor, end_to_end_id=sent[g.leg_id]) if g.direction == "PAY_OUT"
              else Paid(g.amount_minor, reference=g.reference) for g in legs)
        )
    )  # fmt: skip
    assert "2 payments, 0 for nothing" in (await say("bank", str(bank))).output
    assert "taken before" in (await say("bank", str(bank))).output
    assert "SEALED" in (await say("seal", str(run_id), by=CHECKER)).output
    late = await told_by(say, "late")
    assert "BALANCE" not in late


async def told_by(say: Say, *args: str) -> str:
    """What a command says, which has to go well."""
    done = await say(*args)
    assert done.exit_code == 0, done.output
    return str(done.output)


async def test_missing_points_from_the_receipt_that_is_shown_to_the_decision(
    a_house: House, say: Say, tmp_path: Path
) -> None:
    number = (await a_house.books.member()).number
    photo = tmp_path / "receipt.png"
    photo.write_bytes(b"png")
    shown = ["--card", number, "--partner", "cafe", "--date", "2026-03-02", "--outlet", "1", "--terminal", "1"]
    filed = await told_by(
        say, "claim", "file", *shown, "--reference", "A-1", "--total", "5.00", "--evidence", str(photo)
    )
    assert "Claim 1 is FILED until 2026-03-19" in filed
    again = await say("claim", "file", *shown, "--reference", "A-1", "--total", "5.00")
    assert (again.exit_code, "CLAIM_DUPLICATE" in again.output) == (2, True), again.output
    assert (await say("claim", "file", *shown, "--reference", "A-2", "--total", "five")).exit_code == 2
    assert "Claim 1 is REFUSED" in await told_by(say, "claim", "refuse", "1", "--partner", "cafe", "--reason", "P01")
    assert "Claim 1 is CONTESTED" in await told_by(say, "claim", "contest", "1", "--reason", "C01")
    proposed = await told_by(say, "claim", "propose", "1", "--uphold", "--cause", "the receipt is real")
    assert "Next, by somebody else: tessera settle decide" in proposed
    await told_by(say, "claim", "file", *shown, "--reference", "A-3", "--total", "7.00")
    accepted = await told_by(say, "claim", "accept", "2", "--partner", "cafe", "--total", "6.00", "--terminal", "1")
    assert "Claim 2 is ACCEPTED" in accepted
    listed = await asyncio.to_thread(CliRunner().invoke, app, ["claim", "list"])
    assert all(word in listed.output for word in ("CONTESTED", "ACCEPTED", "A-1", "A-3")), listed.output
    waiting = await asyncio.to_thread(CliRunner().invoke, app, ["claim", "list", "--waiting", "--partner", "cafe"])
    assert "A-3" not in waiting.output
    denied = await say("claim", "rule", "cafe", "--answer-days", "5")
    assert (denied.exit_code, "NOT_PERMITTED" in denied.output) == (2, True), denied.output
    assert (await say("claim", "rule", "cafe", "--answer-days", "5", by=CHECKER)).exit_code == 0
    assert "answer_days: 5" in await told_by(say, "claim", "rule", "cafe")
    assert "answer_days: 10" in await told_by(say, "claim", "rule")
