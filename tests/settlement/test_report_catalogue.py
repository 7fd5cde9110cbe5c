"""Reports of real runs: their totals are the ledger's, in every kind of file and language."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import openpyxl
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.reports.tables import LANGUAGES, Report
from settlement import runs
from settlement.reports import bridge, catalogue, more_words, words
from settlement.reports.catalogue import Made, ReportIncomplete, ReportUnknown, Wanted
from settlement.statements import Draft, Line

Coalition = Any


@pytest.fixture
async def year(coalition: Coalition, owner: asyncpg.Connection) -> Coalition:
    """Two runs with fees, tax, retention and returns."""
    await owner.execute("UPDATE settlement.tax_rule SET rate_bp = 1923, rounding = 'DOCUMENT'")
    a = await coalition.partner("a", says={"platform_fee_micro": 7_000_001})
    b = await coalition.partner("b", says={"funding": "AT_BURN", "holdback_bp": 777}, reimbursement=8_001)
    for n in (1, 2):
        member = await coalition.member()
        first = await coalition.earn(member, "a", a, 1000 * n)
        await coalition.earn(member, "b", b, 777)
        spent = await coalition.spend(member, "b", b, 1300 + n)
        await coalition.refund(member, spent, 33, "b")
        await coalition.give_back(member, first, 100, "a", shortfall=1)
        coalition.at += timedelta(days=35)
        await coalition.settle()
    return coalition


async def made(coalition: Coalition, code: str, run_id: int | None, partner: str | None = None, **more: Any) -> Made:
    wanted = Wanted(run_id, coalition.partners[partner] if partner else None, coalition.at, bytes(64))
    async with coalition.database.transaction() as connection:
        return await catalogue.make(connection, code, wanted, **more)


def totals(report: Report, table: int = 0) -> dict[str, Any]:
    one = report.tables[table]
    return dict(zip([c.key for c in one.columns], one.totals() or (), strict=True))


async def test_every_report_of_the_catalogue_is_every_kind_of_file_in_every_language(
    year: Coalition, tmp_path: Path
) -> None:
    for code in catalogue.CATALOGUE:
        for number, format in enumerate(catalogue.FORMATS):
            async with year.database.transaction() as connection:
                wanted = Wanted(2, year.partners["b"], year.at, bytes(64))
                one = await catalogue.make(connection, code, wanted)
                path = tmp_path / f"{code}.{format}"
                await catalogue.write(one, path, format=format, language=LANGUAGES[number])
            assert path.stat().st_size > 20, code


async def test_points_roll_to_what_the_lots_say_run_after_run(year: Coalition) -> None:
    before = 0
    for run_id in (1, 2):
        sums = totals((await made(year, "R7", run_id)).report)
        ways = ("issued", "returned", "burned", "refunded", "expired", "adjusted", "other")
        assert sums["opening"] == before
        assert sums["opening"] + sum(sums[way] for way in ways) == sums["closing"] == sums["lots"]
        before = sums["closing"]
    there = await year.database.pool.fetchval("SELECT sum(remaining + held) FROM ledger.lot WHERE unit = 1 AND active")
    assert before == there > 0


async def test_the_obligation_rolls_to_the_books_and_the_lots(year: Coalition) -> None:
    sums = totals((await made(year, "R8", 2)).report)
    booked = await year.database.pool.fetchval(
        "SELECT -sum(amount_micro) FROM settlement.money_posting WHERE account = '2100'"
    )
    assert sums["closing"] == sums["lots"] == Decimal(int(booked)).scaleb(-6) > 0
    assert (await made(year, "R11", 2)).report.tables[0].rows[0][1] == sums["closing"]


async def test_a_roll_that_does_not_meet_the_lots_is_not_reported(year: Coalition, owner: asyncpg.Connection) -> None:
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("UPDATE ledger.lot SET remaining = remaining + 1 WHERE remaining > 0 AND unit = 1")
    for code in ("R7", "R8"):
        with pytest.raises(catalogue.of_books.RollBroken):
            await made(year, code, 2)


async def test_totals_are_the_ledgers(year: Coalition) -> None:
    sums = totals((await made(year, "R3", 2)).report)
    assert sums["net"] == 0
    books = totals((await made(year, "R18", 2)).report)
    assert books["debit"] == books["credit"] > 0
    async with year.database.reading() as connection:
        its = next(s for s in (await runs.run(connection, 2)).statements if s.partner_id == 2)
    assert totals((await made(year, "R1", 2, "b")).report)["amount"] == Decimal(its.net_minor).scaleb(-2)


async def test_the_bridge_leads_from_the_previous_net_to_this_one(year: Coalition) -> None:
    for partner in ("a", "b"):
        report = (await made(year, "R22", 2, partner)).report
        amounts = {row[0].code: row[1] for row in report.tables[0].rows}  # type: ignore[union-attr]
        first, last = amounts.pop("PREVIOUS"), amounts.pop("CURRENT")
        async with year.database.reading() as connection:
            nets = [s.net_micro for n in (1, 2) for s in (await runs.run(connection, n)).statements
                    if s.partner_id == year.partners[partner]]  # fmt: skip
        assert [first, last] == [Decimal(net).scaleb(-6) for net in nets]
        assert first + sum(amounts.values()) == last
        assert totals(report, 1)["change"] == last - first


lines = st.lists(
    st.tuples(
        st.sampled_from(["ACTIVATION", "REDEMPTION", "RETURN", "DISCOUNT", "PLATFORM_FEE", "ROUNDING", "NEW"]),
        st.integers(1, 4), st.integers(0, 10**9), st.integers(-(10**13), 10**13),
    ),
    max_size=8,
)  # fmt: skip


def draft(found: list[tuple[str, int, int, int]], opening: int) -> Draft:
    own = tuple(Line(n, k, t, p, 1, 0, a, 0) for n, (k, t, p, a) in enumerate(found))
    return Draft(1, "EUR", opening, 0, opening + sum(a for *_, a in found), 0, own)


@given(lines, lines, st.integers(-(10**9), 10**9))
@settings(max_examples=200)
def test_the_steps_are_the_change_whatever_moved(before: Any, now: Any, opening: int) -> None:
    one, other = draft(before, 0), draft(now, opening)
    parts = bridge.parts(one, other, {1: 1, 2: 1, 3: 2, 4: 3})
    assert sum(part.amount_micro for part in parts) == other.net_micro - one.net_micro


def test_more_points_are_volume_another_price_is_price_and_other_shares_are_mix() -> None:
    def parts(before: Any, now: Any) -> dict[str, int]:
        found = bridge.parts(draft(before, 0), draft(now, 0), {1: 1, 2: 1, 3: 2})
        return {part.step: part.amount_micro for part in found}

    assert parts([("ACTIVATION", 1, 10, -100)], [("ACTIVATION", 1, 15, -150)]) == {"VOLUME": -50}
    assert parts([("ACTIVATION", 1, 10, -100)], [("ACTIVATION", 2, 10, -120)]) == {"PRICE": -20}
    mixed = [("ACTIVATION", 1, 10, -100), ("ACTIVATION", 3, 10, -200)]
    assert parts(mixed, [("ACTIVATION", 1, 5, -50), ("ACTIVATION", 3, 15, -300)]) == {"MIX": -50}


async def test_a_partner_has_its_own_statement_s_reports_and_no_others(year: Coalition) -> None:
    for code in catalogue.CATALOGUE:
        if code in ("R1", "R2", "R15", "R16", "R17", "R22"):
            assert (await made(year, code, 2, "a", is_partner=True)).report.code == code
        else:
            with pytest.raises(ReportUnknown):
                await made(year, code, 2, "a", is_partner=True)
    own = (await made(year, "R17", 2, "a", is_partner=True)).report.tables[0].rows
    everybody = (await made(year, "R17", 2)).report.tables[0].rows
    assert 0 < len(own) < len(everybody)


async def test_what_is_missing_or_was_not_issued_is_said(year: Coalition) -> None:
    with pytest.raises(ReportIncomplete):
        await made(year, "R7", None)
    with pytest.raises(ReportIncomplete):
        await made(year, "R1", 2)
    with pytest.raises(ReportUnknown):
        await made(year, "R99", 2)
    await year.earn(await year.member(), "a", 1, 5)
    await year.close()
    [run_id] = await year.step(runs.begin)
    await year.step(runs.calculate, run_id)
    with pytest.raises(ReportUnknown):
        await made(year, "R1", run_id, "a", is_partner=True)


async def test_files_hold_numbers_as_numbers_and_people_s_words_in_their_language(
    year: Coalition, tmp_path: Path
) -> None:
    one = await made(year, "R1", 2, "b")
    for language in LANGUAGES:
        text = "".join(
            page.extract_text() for page in pypdf.PdfReader(
                io.BytesIO(catalogue.rendered(one.report, "pdf", language))).pages
        )  # fmt: skip
        assert words.TITLES["R1"][language] in " ".join(text.split())
    book = openpyxl.load_workbook(io.BytesIO(catalogue.rendered(one.report, "xlsx", "ru")))
    numbers = [cell.value for row in book.worksheets[-1].iter_rows() for cell in row if isinstance(cell.value, float)]
    assert len(numbers) > 5
    rows = list(csv.reader(io.StringIO(catalogue.rendered(one.report, "csv", "ro").decode())))
    assert rows[0][-1] == "amount"
    assert sum(Decimal(row[-1]) for row in rows[1:]) == totals(one.report)["amount"]


async def test_the_detail_streams_and_sums_to_the_priced_lines(year: Coalition, tmp_path: Path) -> None:
    async with year.database.transaction() as connection:
        one = await catalogue.make(connection, "R2", Wanted(2, year.partners["b"], year.at, bytes(64)))
        written = await catalogue.write(one, tmp_path / "r2.csv", format="csv", language="en")
        its = next(s for s in (await runs.run(connection, 2)).statements if s.partner_id == year.partners["b"])
    rows = list(csv.DictReader((tmp_path / "r2.csv").open(newline="", encoding="utf-8")))
    priced = sum(line.amount_micro for line in its.lines if line.unit_price_micro)
    assert written == len(rows) > 2
    assert sum(Decimal(row["amount_exact"]) for row in rows) == Decimal(priced).scaleb(-6)


def test_every_word_is_there_in_three_languages() -> None:
    for table in (words.TITLES, words.COLUMNS, words.KINDS, more_words.TITLES, more_words.COLUMNS, more_words.STEPS):
        for key, said in table.items():
            assert set(said) == set(LANGUAGES), key
            assert all(said.values()), key
