"""`tessera rules`, as a marketer and the one who checks meet it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import commands
from kit import clock
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from partners.promotions import publishing
from tests.builders import DAY, NOON, a_receipt, found, rows_written
from tests.partners.promotions.market import Market, bonus, open_market
from tests.partners.promotions.offers import document, texts


@pytest.fixture
async def market(
    database: Database, vault: Vault, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Market]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_CLOCK", "sandbox")
    monkeypatch.setenv("TESSERA_ACTOR", "marketer")
    monkeypatch.setenv("COLUMNS", "250")
    settings.cache_clear()
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    made = await open_market(coalition)
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON + DAY)
    yield made
    assert await made.violations() == []
    await coalition.desk.close()
    settings.cache_clear()


async def say(*words: str, code: int = 0) -> str:
    """What a command answers; it runs a loop of its own, so not in this one."""
    done = await asyncio.to_thread(CliRunner().invoke, commands.app, list(words))
    text = " ".join((done.stdout + done.stderr).split())
    assert done.exit_code == code, (text, done.exception)
    return text


def written(folder: Path, content: Any) -> str:
    file = folder / "rules.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file)


def publishing_of(file: str, effective_from: datetime, *, added_sales: int) -> list[str]:
    return [
        "rules", "publish", file, "--from", f"{effective_from:%Y-%m-%dT%H:%M:%S}", "--metric", "sales", "--target",
        "100", "--due", "2099-01-01", "--added-sales", str(added_sales), "--margin-bp", "3000", "--cover", "1000000",
    ]  # fmt: skip


async def in_force(market: Market) -> list[str]:
    async with market.coalition.database.reading() as connection:
        return [rule.code for rule in (await publishing.latest(connection)).rules]


async def test_each_problem_is_told_with_its_path_its_column_and_what_was_expected(
    market: Market, tmp_path: Path
) -> None:
    wrong = bonus("one", 5, conditions=[{"id": "mine", "label": texts(), "cel": "member.tiar == 'GOLD'"}])
    unpaid = bonus("two", 5, funding=[{"party": "HERE", "bp": 9_000}])
    answered = await say("rules", "check", written(tmp_path, [wrong, unpaid]), code=1)
    assert "rules.one.conditions.0.cel" in answered
    assert "rules.two.funding" in answered
    assert "shares that sum to 10000 basis points" in answered
    row = next(part for part in answered.split("rules.") if part.startswith("one.conditions"))
    assert row.split()[2].isdigit(), row
    assert "Nothing is wrong" in await say("rules", "check", written(tmp_path, bonus("one", 5)))
    assert "expected a list" in await say("rules", "check", written(tmp_path, {"rules": 7}), code=2)
    assert "expected a list" in await say("rules", "check", written(tmp_path, {"without": 7}), code=2)
    lost = {"rules": [], "without": ["one", {"code": "two"}]}
    assert "without.1: expected the code of a rule" in await say("rules", "check", written(tmp_path, lost), code=2)


async def test_what_is_written_twice_is_told_and_not_lost(tmp_path: Path) -> None:
    """A rule that was copied and kept its code, and a second `where` in one object: one of them would count for
    nothing."""
    copied = [bonus("one", 5), bonus("one", 7)]
    assert "expected every rule once" in await say("rules", "check", written(tmp_path, copied), code=1)
    file = tmp_path / "twice.json"
    text = json.dumps(bonus("one", 5, where={"partners": ["bakery"]}))
    file.write_text(f'{text[:-1]}, "where": {{}}}}', encoding="utf-8")
    assert "where is written twice" in await say("rules", "check", str(file), code=2)
    file.write_text("[" * 100_000, encoding="utf-8")
    assert "no JSON" in await say("rules", "check", str(file), code=2)


async def test_a_draft_is_rehearsed_over_days_as_if_it_had_been_in_force_and_nothing_is_written(
    market: Market, tmp_path: Path
) -> None:
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(1_000, at=NOON))
    draft = {
        "promotions": [{"code": "spring", "names": texts("Spring")}],
        "budgets": [{"code": "spring", "unit": "points", "limit": 1_000}],
        "rules": [
            bonus("gift", 50, promotion="spring", caps=["spring"], valid_from="2027-01-01T00:00:00Z"),
            document("off", {"type": "discount_percent", "rate_bp": 1_000}, funding=[{"party": "OPERATOR", "bp": 10_000}],
                     what={"min_basket_minor": 10**9}),
        ],
    }  # fmt: skip
    before = await rows_written(market.coalition.database.pool)
    answered = await say("rules", "simulate", written(tmp_path, draft), "--days", "3")
    assert "1 purchases" in answered
    assert "│ bakery │ 60 │ +50 │" in answered
    assert "Winners 1, losers 0" in answered
    assert await rows_written(market.coalition.database.pool) == before
    assert "NOT_PERMITTED" in await say(
        "rules", "simulate", written(tmp_path, draft), "--actor", "publisher", code=2
    )  # fmt: skip


async def test_one_submits_with_an_objective_and_another_publishes_it(market: Market, tmp_path: Path) -> None:
    file = written(tmp_path, bonus("gift", 50))
    await market.buy(await market.coalition.add_member(), a_receipt(1_000, at=NOON - DAY))
    answered = await say(*publishing_of(file, NOON + 2 * DAY, added_sales=100_000))
    assert "Against it" not in answered
    assert "It pays for itself from 167 minor units of added sales on." in answered
    assert "SUBMITTED" in await say("rules", "list")
    await market.budget("cap", limit=1_000)
    assert "1,000" in await say("rules", "budgets")
    assert "NOT_PERMITTED" in await say("rules", "approve", "1", code=2)
    assert await in_force(market) == []
    await say("rules", "approve", "1", "--actor", "publisher")
    assert await in_force(market) == ["gift"]
    assert '"points": 50' in await say("rules", "show", "gift")
    assert "RULE_UNKNOWN" in await say("rules", "show", "nothing", code=2)
    await say("rules", "suspend", "gift")
    assert await in_force(market) == []
    assert "SUSPENSION" in await say("rules", "list")


async def test_a_rehearsal_on_no_purchase_tells_no_cost_and_stands_against_the_launch(
    market: Market, tmp_path: Path
) -> None:
    answered = await say(*publishing_of(written(tmp_path, bonus("gift", 50)), NOON + 2 * DAY, added_sales=100_000))
    assert "Against it: expected purchases to rehearse it on" in answered
    assert "LAUNCH_REFUSED" in await say("rules", "approve", "1", "--actor", "publisher", code=2)
    assert await in_force(market) == []


async def test_what_does_not_pass_the_gate_is_published_by_a_second_person_in_spite_of_it_or_declined(
    market: Market, tmp_path: Path
) -> None:
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(1_000, at=NOON))
    file = written(tmp_path, bonus("gift", 50))
    answered = await say(*publishing_of(file, NOON + 2 * DAY, added_sales=0))
    assert "expected a gain above the cost: 0 against 50 minor units" in answered
    assert "LAUNCH_REFUSED" in await say("rules", "approve", "1", "--actor", "publisher", code=2)
    assert await in_force(market) == []
    await say("rules", "approve", "1", "--in-spite", "--actor", "publisher")
    assert await in_force(market) == ["gift"]
    await say(
        *publishing_of(written(tmp_path, bonus("more", 5, stack={"priority": 11})), NOON + 3 * DAY, added_sales=100_000)
    )
    await say("rules", "decline", "2", "--actor", "publisher")
    assert await in_force(market) == ["gift"]


async def test_the_objective_is_asked_for(market: Market, tmp_path: Path) -> None:
    before = await rows_written(market.coalition.database.pool)
    answered = await say("rules", "publish", written(tmp_path, bonus("gift", 50)), code=1)
    assert "From when" in answered
    answered = await say(*publishing_of(written(tmp_path, bonus("gift", 50)), NOON + DAY, added_sales=1)[:5], code=1)
    assert "Objective: what is measured" in answered
    assert await rows_written(market.coalition.database.pool) == before
