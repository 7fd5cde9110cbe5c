"""R20: a second engine recomputes every run and has to agree, and what was planted is found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from settlement import archive, certificate, rating, runs
from settlement.money import events

Coalition = Any


@pytest.fixture
async def trade(coalition: Coalition) -> Coalition:
    """Three partners: one pooled with a fee, a minimum payout and retention, one at burn, one hybrid with a share."""
    a = await coalition.partner("a", says={"platform_fee_micro": 7_000_001, "minimum_fee_micro": 50_000_000})
    b = await coalition.partner("b", says={"funding": "AT_BURN", "holdback_bp": 777}, reimbursement=8_001)
    c = await coalition.partner(
        "c", says={"funding": "HYBRID", "hybrid_fund_micro": 4_001, "breakage_share_bp": 3_333,
                   "minimum_payout_minor": 100_000},
    )  # fmt: skip
    member = await coalition.member()
    first = await coalition.earn(member, "a", a, 1000)
    await coalition.earn(member, "b", b, 777)
    await coalition.earn(member, "c", c, 333)
    spent = await coalition.spend(member, "b", b, 1601)
    await coalition.spend(member, "c", c, 99)
    await coalition.refund(member, spent, 33, "b")
    await coalition.give_back(member, first, 100, "a", shortfall=1)
    await coalition.close()
    return coalition


async def calculated(coalition: Coalition) -> int:
    [run_id] = await coalition.step(runs.begin)
    await coalition.step(runs.calculate, run_id)
    return run_id


async def certified(coalition: Coalition, run_id: int) -> certificate.Certificate:
    async with coalition.database.reading() as connection:
        return await certificate.certify(connection, run_id)


async def test_the_second_engine_agrees_to_the_micro_unit_and_its_certificate_stays_with_the_run(
    trade: Coalition,
) -> None:
    run_id = await calculated(trade)
    found = await certified(trade, run_id)
    assert found.differences == []
    assert found.postings > 6
    lines = next(check for check in found.checks if check.code == "R20-LINES")
    assert lines.population > 8
    assert lines.expected_micro == lines.actual_micro != 0

    await trade.step(runs.control, run_id)
    async with trade.database.reading() as connection:
        kept = (await archive.trail(connection, run_id))[-1].evidence["certificate"]
    assert kept["holds"]
    assert kept == found.evidence()
    assert len(kept["sha256"]) == len(kept["files"]["posting"]) == 64


async def test_the_next_run_opens_with_what_was_carried_and_the_engines_still_agree(trade: Coalition) -> None:
    done = await trade.settle_closed()
    assert any(line.kind == "CARRIED_OUT" for line in trade.of(done, "c").lines)
    trade.at += timedelta(days=40)
    await trade.earn(await trade.member(), "c", 3, 50)
    await trade.close()
    run_id = await calculated(trade)
    found = await certified(trade, run_id)
    assert found.differences == []
    async with trade.database.reading() as connection:
        assert any(s.opening_minor for s in (await archive.run(connection, run_id)).statements if s.partner_id)


@pytest.mark.parametrize("rounding", ["LINE", "DOCUMENT"])
async def test_tax_is_recomputed_too(trade: Coalition, owner: asyncpg.Connection, rounding: str) -> None:
    await owner.execute("UPDATE settlement.tax_rule SET rate_bp = 1923, rounding = $1", rounding)
    run_id = await calculated(trade)
    assert (await certified(trade, run_id)).differences == []
    async with trade.database.reading() as connection:
        kinds = {n.kind for s in (await archive.run(connection, run_id)).statements for n in s.lines}
    assert {"OUTPUT_TAX", "INPUT_TAX", "HOLDBACK"} <= kinds


FEES = ("PLATFORM_FEE", "MINIMUM_FEE", "TIER_REBATE", "VOLUME_REBATE")
ALTERED = """
    UPDATE settlement.run_step SET evidence = jsonb_set(evidence, '{events}', (
      SELECT jsonb_agg(CASE WHEN e ->> 'kind' = $1
        THEN e || jsonb_build_object('amount_micro', (e ->> 'amount_micro')::bigint + $2::int) ELSE e END)
      FROM jsonb_array_elements(evidence -> 'events') e))
    WHERE run_id = (SELECT max(run_id) FROM settlement.run) AND to_state = 'CALCULATED'
"""


async def test_fees_and_rebates_of_volume_periods_are_found_again_and_one_micro_unit_in_the_evidence_is_seen(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    """Four months: a quarter with tiers and rebates that goes over, a partner of months, one whose terms change."""
    says = {"platform_fee_micro": 50_000_001, "minimum_fee_micro": 900_000_000, "volume_tiers": "[[0, 0], [1500, 333]]",
            "volume_rebates": "[[100, 250], [2000, 777]]", "volume_period": "QUARTER"}  # fmt: skip
    a = await coalition.partner("a", says=says)
    b = await coalition.partner("b", says=says | {"volume_period": "MONTH", "funding": "AT_BURN"})
    c = await coalition.partner("c", says=says | {"volume_period": "YEAR", "minimum_fee_micro": 0})
    member = await coalition.member()
    april = datetime(2026, 4, 1, tzinfo=UTC)
    await coalition.sign("b", says=says | {"volume_period": "MONTH"}, valid_from=april)
    await coalition.sign("c", says=says | {"volume_period": "YEAR"}, valid_from=april + timedelta(days=40))
    for month in (4, 5, 6, 7):
        first = await coalition.earn(member, "a", a, 900)
        await coalition.earn(member, "b", b, 2_100)
        await coalition.earn(member, "c", c, 700)
        await coalition.give_back(member, first, 150, "a")
        coalition.at = datetime(2026, month, 1, tzinfo=UTC)
        await coalition.close()
        if month < 7:
            await coalition.settle_closed()  # is controlled, and so certified
    run_id = await calculated(coalition)
    found = await certified(coalition, run_id)
    assert found.differences == []
    fees = next(check for check in found.checks if check.code == "R20-FEES")
    assert fees.population >= 8
    async with coalition.database.reading() as connection:
        lines = [n.kind for s in (await archive.run(connection, run_id)).statements if s.partner_id for n in s.lines]
    assert set(FEES) <= set(lines)

    await owner.execute("SET session_replication_role = replica")
    for kind in FEES:
        await owner.execute(ALTERED, kind, 1)
        differences = (await certified(coalition, run_id)).differences
        assert any(said.startswith("R20-FEES") and kind in said for said in differences), differences
        await owner.execute(ALTERED, kind, -1)
    assert (await certified(coalition, run_id)).differences == []


async def test_retention_that_is_due_is_found_again_and_a_cent_more_in_the_evidence_is_seen(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    a = await coalition.partner("a")
    b = await coalition.partner("b", says={"holdback_bp": 1_000, "dispute_days": 30})
    member = await coalition.member()
    await coalition.earn(member, "a", a, 5000)
    for days in (20, 10, 25):
        await coalition.spend(member, "b", b, 700)
        await coalition.settle()
        coalition.at += timedelta(days=days)
    await coalition.spend(member, "b", b, 700)
    await coalition.close()
    run_id = await calculated(coalition)
    assert (await certified(coalition, run_id)).differences == []
    async with coalition.database.reading() as connection:
        own = [n for s in (await archive.run(connection, run_id)).statements if s.partner_id == b for n in s.lines]
    assert [n.amount_minor for n in own if n.kind == "HOLDBACK_RELEASED"] == [56]
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(
        "UPDATE settlement.run_step SET evidence = jsonb_set(evidence, $1, '57') WHERE run_id = $2 "
        "AND to_state = 'CALCULATED'", ["brought", str(b), "released_minor"], run_id,
    )  # fmt: skip
    assert any(said.startswith("R20-CONDITIONS") for said in (await certified(coalition, run_id)).differences)


async def test_a_version_that_was_only_proposed_is_not_in_force(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    a = await coalition.partner("a", says={"holdback_bp": 500})
    proposed = await coalition.sign("a", says={"holdback_bp": 900, "platform_fee_micro": 5})
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(
        "UPDATE kit.approval SET approved = NULL, checker_id = NULL, decided_at = NULL "
        "WHERE approval_id = (SELECT approval_id FROM partners.agreement WHERE terms_id = $1)", proposed,
    )  # fmt: skip
    member = await coalition.member()
    await coalition.earn(member, "a", a, 900)
    await coalition.spend(member, "a", a, 500)
    coalition.at = datetime(2026, 4, 1, tzinfo=UTC)
    await coalition.close()
    assert (await certified(coalition, await calculated(coalition))).differences == []


@pytest.mark.parametrize(
    "plant",
    [
        "UPDATE partners.agreement SET service_price_micro = service_price_micro + 1 WHERE terms_id = 1",
        "UPDATE settlement.line SET amount_micro = amount_micro + 1 WHERE kind = 'ROUNDING' AND statement_id = "
        "(SELECT min(statement_id) FROM settlement.line JOIN settlement.statement USING (statement_id) "
        " WHERE kind = 'ROUNDING' AND partner_id <> 0)",
        "UPDATE settlement.obligation_movement SET points = points + 1, amount_micro = amount_micro + unit_price_micro"
        " WHERE kind = 'REDEMPTION' AND funder_id = 1",
        "UPDATE ledger.posting SET amount = amount + 1 WHERE debit = 1 AND credit = 11 AND funder_id = 1",
    ],
    ids=["a price", "a line", "the obligation", "a posting"],
)
async def test_what_is_planted_is_found_and_stops_the_run(
    trade: Coalition, owner: asyncpg.Connection, plant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await calculated(trade)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(plant)
    assert (await certified(trade, run_id)).differences

    async def blind(_: object) -> list[Any]:
        return []

    monkeypatch.setattr("settlement.controls.run", blind)  # the other controls would stop it first
    before = await trade.rows()
    with pytest.raises(runs.ControlFailed, match="second engine"):
        await trade.step(runs.control, run_id)
    assert await trade.rows() == before


def test_both_engines_know_the_same_movements_and_the_same_kinds_of_money() -> None:
    """By the text alone: the second engine's tables are its own."""
    script = Path(certificate.__file__).with_suffix(".sql").read_text(encoding="utf-8")
    for kind, rule in events.RULES.items():
        assert (f"('{kind}', " in script.split("CREATE TABLE no_supply")[0]) == rule.is_billed, kind
    for debit, credit in rating._KINDS:
        assert f"({debit}, {credit}, '{rating.kind_of(debit, credit)}'" in script
