"""Reports of real runs: their totals are the ledger's, in every kind of file and language."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import asyncpg
import openpyxl
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.reports.tables import LANGUAGES, Report
from settlement import archive, breakage, runs, what_if
from settlement.breakage import Cohort
from settlement.reports import bridge, catalogue, more_words, of_forecasts, words
from settlement.reports import store as report_store
from settlement.reports.catalogue import Made, ReportIncomplete, ReportUnknown, Wanted
from settlement.statements import Draft, Line
from settlement.windows import positions
from tests.settlement.once import once

Coalition = Any
OTHER_PRICES = {"service_price_micro": 2_500, "reimbursement_price_micro": 9_000}


async def a_year(coalition: Coalition, owner: asyncpg.Connection) -> None:
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


template, year = once(a_year)


async def made(coalition: Coalition, code: str, run_id: int | None, partner: str | None = None, **more: Any) -> Made:
    wanted = Wanted(
        run_id, coalition.partners[partner] if partner else None, coalition.at, bytes(64), changes=OTHER_PRICES
    )  # fmt: skip
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
                wanted = Wanted(2, year.partners["b"], year.at, bytes(64), changes=OTHER_PRICES)
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
        its = next(s for s in (await archive.run(connection, 2)).statements if s.partner_id == 2)
    assert totals((await made(year, "R1", 2, "b")).report)["amount"] == Decimal(its.net_minor).scaleb(-2)


async def test_the_bridge_leads_from_the_previous_net_to_this_one(year: Coalition) -> None:
    for partner in ("a", "b"):
        report = (await made(year, "R22", 2, partner)).report
        amounts = {row[0].code: row[1] for row in report.tables[0].rows}  # type: ignore[union-attr]
        first, last = amounts.pop("PREVIOUS"), amounts.pop("CURRENT")
        async with year.database.reading() as connection:
            nets = [s.net_micro for n in (1, 2) for s in (await archive.run(connection, n)).statements
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
        if code in ("R1", "R2", "R6", "R13", "R14", "R15", "R16", "R17", "R22", "R25"):
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
        its = next(s for s in (await archive.run(connection, 2)).statements if s.partner_id == year.partners["b"])
    rows = list(csv.DictReader((tmp_path / "r2.csv").open(newline="", encoding="utf-8")))
    priced = sum(line.amount_micro for line in its.lines if line.unit_price_micro)
    assert written == len(rows) > 2
    assert sum(Decimal(row["amount_exact"]) for row in rows) == Decimal(priced).scaleb(-6)


def test_every_word_is_there_in_three_languages() -> None:
    for table in (words.TITLES, words.COLUMNS, words.KINDS, more_words.TITLES, more_words.COLUMNS, more_words.STEPS,
                  more_words.FIGURES):  # fmt: skip
        for key, said in table.items():
            assert set(said) == set(LANGUAGES), key
            assert all(said.values()), key


async def test_the_liability_is_cut_into_what_is_due_within_a_year_and_the_rest(year: Coalition) -> None:
    report = (await made(year, "R8", 2)).report
    keys = [c.key for c in report.tables[0].columns]
    for row in report.tables[0].rows:
        values = dict(zip(keys, row, strict=True))
        assert values["current"] + values["non_current"] == values["liability"]
        assert 0 <= values["current"] <= values["liability"]


async def test_what_expires_when_is_all_that_can_be_spent_and_its_fund_part_is_the_obligation(year: Coalition) -> None:
    sums = totals((await made(year, "R10", None)).report)
    there = await year.database.pool.fetchval("SELECT sum(remaining + held) FROM ledger.lot WHERE unit = 1 AND active")
    assert sums["points"] == there == sums["expected_use"] + sums["expected_expiry"]
    assert 0 <= sums["expected_expiry"] < there
    assert sums["fund_value"] == totals((await made(year, "R8", 2)).report)["closing"]


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 90), st.integers(0, 1_000_000)), min_size=1, max_size=6))
def test_of_what_is_left_no_more_than_all_and_no_less_than_nothing_is_expected(found: Any) -> None:
    cohorts = [Cohort(1, n, date(2024, 1, 1), 1_000, (used,), expired) for n, (used, expired, _) in enumerate(found)]
    shares = of_forecasts.shares_left(cohorts, [rate for *_, rate in found])
    for cohort, (used, _, rate) in zip(cohorts, found, strict=True):
        share = shares[1, cohort.terms_id, cohort.month]
        ahead = Fraction(rate, 1_000) - used
        assert share == min(Fraction(1), max(Fraction(0), ahead / cohort.left))


async def test_other_prices_make_what_the_same_functions_make_of_them_each_alone_beside(year: Coalition) -> None:
    rows = {row[2].code: row for row in (await made(year, "R23", 2, "b")).report.tables[0].rows}  # type: ignore[union-attr]
    async with year.database.reading() as connection:
        found = {d.kind: d for d in await what_if.compare(connection, 2, year.partners["b"], OTHER_PRICES)}
    assert {kind: row[5] for kind, row in rows.items()} == {
        kind: Decimal(one.delta_micro).scaleb(-6) for kind, one in found.items()
    }
    assert "reimbursement_price_micro +" in str(rows["REDEMPTION"][7])
    assert "service_price_micro" not in str(rows["REDEMPTION"][7])
    for wanted in (Wanted(2, None, year.at, changes=OTHER_PRICES), Wanted(2, year.partners["b"], year.at)):
        async with year.database.transaction() as connection:
            with pytest.raises(ReportIncomplete):
                await catalogue.make(connection, "R23", wanted)


@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(0, 3), st.lists(st.integers(0, 400), min_size=1, max_size=30)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_what_is_due_within_a_year_is_a_share_that_grows_with_the_time_looked_at(found: Any) -> None:
    cohorts = [
        Cohort(funder, 1, date(2024, 1 + n, 1), 400 * len(used) + 1, tuple(used), expired)
        for n, (funder, expired, used) in enumerate(found)
    ]
    by_months = [breakage.current_shares(cohorts, months=months) for months in (0, 1, 12, 600)]
    assert all(shares.keys() == {(c.funder_id, c.terms_id) for c in cohorts} for shares in by_months)
    for key in by_months[0]:
        shares = [one[key] for one in by_months]
        assert shares == sorted(shares)
        assert shares[0] >= 0
        assert shares[-1] == 1


def test_older_cohorts_tell_how_much_of_a_young_one_comes_within_a_year() -> None:
    old = Cohort(1, 1, date(2023, 1, 1), 1000, (100, *[0] * 11, 100, *[0] * 11), 0)  # half at once, half a year later
    young = Cohort(1, 2, date(2025, 1, 1), 1000, (50,), 0)
    shares = breakage.current_shares([old, young], months=11)
    assert shares[1, 2] == 0
    assert breakage.current_shares([old, young])[1, 2] == 1


async def test_positions_of_a_past_instant_are_what_they_were_and_stay_so(year: Coalition) -> None:
    a = year.partners["a"]
    member = await year.member()
    await year.earn(member, "a", 1, 500)
    seen = year.at
    before = await told(year, seen)
    assert before[a] == Decimal(-5)
    year.at += timedelta(days=1)
    await year.earn(member, "a", 1, 700)
    await year.settle()
    assert await told(year, seen) == before
    year.at += timedelta(days=1)
    assert a not in await told(year, None)


async def told(year: Coalition, as_of: datetime | None) -> dict[int, Decimal]:
    """The report's positions by partner."""
    async with year.database.transaction() as connection:
        await positions.add_up(connection, at=year.at)
        report = (await catalogue.make(connection, "R12", Wanted(None, None, year.at, None, as_of))).report
    assert report.at == (as_of or year.at)
    numbers = {code.title(): number for code, number in year.partners.items()}
    place = [c.key for c in report.tables[0].columns].index("position")
    return {numbers[str(row[0])]: row[place] for row in report.tables[0].rows if row[0] in numbers}  # type: ignore[misc]


async def test_the_trail_is_chained_and_shows_what_was_altered(year: Coalition, owner: asyncpg.Connection) -> None:
    async def rows(run_id: int | None = None) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in (await made(year, "R24", run_id)).report.tables[0].rows]

    found = await rows()
    assert found[0][-2] == ""
    assert [row[-2] for row in found[1:]] == [row[-1] for row in found[:-1]]
    assert all(len(row[-1]) == 64 for row in found)
    async with year.database.transaction() as connection:
        assert [one.hash_after for one in await report_store.trail(connection, run_id=None, limit=2)] == [
            bytes.fromhex(row[-1]) for row in found[-2:]
        ]  # the latest few are chained to all before
    await year.step(runs.abort, 2, by="checker", reason="wrong prices")
    after = await rows()
    assert after[: len(found)] == found
    assert any("wrong prices" in row for row in after[len(found) :])
    its = await rows(2)
    assert its[0][-2] == ""
    await owner.execute("UPDATE kit.audit_trail SET actor = 'somebody' WHERE entry_id = $1", found[1][0])
    altered = await rows()
    assert altered[0] == after[0]
    assert all(one[-1] != other[-1] for one, other in zip(altered[1:], after[1:], strict=True))
