"""Statements and their files: everything sums, nothing is a formula, nobody reads of anybody else."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import secrets
from kit.amounts import micro_per_minor
from kit.database import Database
from partners.terms import Terms
from settlement import archive, rating, statements
from settlement.rating import ClearingGroup
from settlement.statements import Detail, Draft, Line

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported
KINDS = ("ACTIVATION", "REDEMPTION", "REFUND", "RETURN", "EXPIRY", "PENDING")


def terms_of(terms_id: int, currency: str, fund: int, service: int, reimbursement: int) -> Terms:
    return Terms(
        terms_id=terms_id, partner_id=terms_id, version=terms_id, valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        currency=currency, earn_rate_bp=100, fund_price_micro=fund, service_price_micro=service,
        reimbursement_price_micro=reimbursement, funding="POOL", return_window_days=14, expiry_months=12,
        bill_share_bp=5000, return_policy="ISSUER_BEARS",
    )  # fmt: skip


prices = st.integers(0, 2_000_000)
agreements = st.fixed_dictionaries(
    {
        n: st.builds(terms_of, st.just(n), st.sampled_from(["EUR", "JPY", "KWD"]), prices, prices, prices)
        for n in (1, 2, 3)
    }
)
parties, priced = st.integers(0, 3), st.integers(1, 3)
groups = st.lists(
    st.builds(
        ClearingGroup,
        kind=st.sampled_from(KINDS), issuer_id=parties, funder_id=parties, partner_id=parties, lot_terms_id=priced,
        terms_id=priced, points=st.integers(1, 10**7), count=st.integers(1, 1000),
    ),
    max_size=25,
)  # fmt: skip


@given(groups, agreements)
def test_opening_and_lines_sum_to_the_net_in_both_units(some: list[ClearingGroup], terms: dict[int, Terms]) -> None:
    for draft in statements.draw(some, terms):
        assert draft.opening_micro + sum(n.amount_micro for n in draft.lines) == draft.net_micro
        assert draft.opening_minor + sum(n.amount_minor for n in draft.lines) == draft.net_minor
        assert draft.net_micro == draft.net_minor * micro_per_minor(draft.currency)
        assert [n.line_no for n in draft.lines] == list(range(1, len(draft.lines) + 1))


@given(groups, agreements)
def test_the_nets_of_everybody_sum_to_zero_per_currency(some: list[ClearingGroup], terms: dict[int, Terms]) -> None:
    micro: Counter[str] = Counter()
    minor: Counter[str] = Counter()
    for draft in statements.draw(some, terms):
        micro[draft.currency] += draft.net_micro
        minor[draft.currency] += draft.net_minor
    assert not any(micro.values())
    assert not any(minor.values())


@given(groups, agreements)
def test_a_partners_rounding_is_at_most_half_a_minor_unit_per_line(
    some: list[ClearingGroup], terms: dict[int, Terms]
) -> None:
    for draft in statements.draw(some, terms):
        rounding = [n for n in draft.lines if n.kind == "ROUNDING"]
        assert len(rounding) <= 1
        assert draft.lines, "a statement without lines"
        if rounding and draft.party_id:
            half = micro_per_minor(draft.currency)
            assert abs(2 * rounding[0].amount_micro) <= half
            assert abs(2 * rounding[0].amount_minor) <= len(draft.lines)


def test_a_statement_is_not_drawn_where_the_operators_side_does_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [ClearingGroup("ACTIVATION", 1, 1, 1, 1, 1, 100, 1)]
    monkeypatch.setattr(rating, "rate_operator", lambda groups, terms: [])
    with pytest.raises(statements.Imbalance):
        statements.draw(some, {1: terms_of(1, "EUR", 8_500, 1_500, 8_000)})


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_statement_as_csv_has_exact_decimals_and_sums_to_its_net() -> None:
    terms = {7: terms_of(7, "EUR", 8_500, 1_503, 8_000)}
    [_, draft] = statements.draw([ClearingGroup("ACTIVATION", 1, 1, 1, 7, 7, 333, 3)], terms)

    text = statements.statement_csv(draft, statement_id=12, partner="=cmd()", agreements={7: "version 2"})

    assert text == (
        "statement,partner,currency,line,kind,agreement,points,postings,unit_price,amount_exact,amount\n"
        "12,'=cmd(),EUR,0,OPENING,,,,,0.000000,0.00\n"
        "12,'=cmd(),EUR,1,ACTIVATION,version 2,333,3,0.010003,-3.330999,-3.33\n"
        "12,'=cmd(),EUR,2,ROUNDING,,0,0,,0.000999,0.00\n"
        "12,'=cmd(),EUR,3,NET,,,,,-3.330000,-3.33\n"
    )
    rows = parsed(text)[1:]
    for column in (9, 10):
        assert sum(Decimal(row[column]) for row in rows[:-1]) == Decimal(rows[-1][column])


def test_a_yen_statement_has_no_decimals() -> None:
    draft = Draft(1, "JPY", 0, 0, 96_000_000, 96, (Line(1, "REDEMPTION", 7, 96, 1, 1_000_000, 96_000_000, 96),))
    assert (
        parsed(statements.statement_csv(draft, statement_id=1, partner="j", agreements={7: "version 1"}))[-1][-1]
        == "96"
    )


@given(st.text())
def test_no_text_cell_is_a_formula_and_every_cell_comes_back(text: str) -> None:
    cell = parsed(statements.csv_row([text, 1]).replace("\r\n", "\n"))[0][0] if "\r" not in text else None
    if cell is not None:
        assert cell[:1] not in ("=", "+", "-", "@", "\t")
        assert cell in (text, "'" + text)
    assert statements.csv_row([Decimal("-1.50"), -3]) == "-1.50,-3\n"


def test_a_line_of_the_detail_is_safe_and_exact() -> None:
    detail = Detail(
        cutoff_id=3, kind="REFUND", at=datetime(2026, 3, 1, 9, tzinfo=UTC), business_date=date(2026, 3, 1),
        outlet="-1+1", reference='@"x",\n', member="mbr_x", points=5, unit_price_micro=8_000, amount_micro=-40_000,
    )  # fmt: skip
    row = statements.detail_csv_row(detail, statement_id=9, currency="EUR")
    assert parsed(row) == [
        ["9", "3", "REFUND", "2026-03-01T09:00:00+00:00", "2026-03-01", "'-1+1", "'@\"x\",\n", "mbr_x", "5", "EUR",
         "0.008000", "-0.040000"]
    ]  # fmt: skip


# --- The clearing detail, over real postings and receipts -----------------------------------------------------

KEYS = {"a": bytes(range(64)), "b": bytes(range(64, 128))}


async def read(database: Database, statement: archive.Statement, key: bytes) -> list[Detail]:
    async with database.transaction() as connection:
        return [d async for d in archive.detail(connection, statement, id_key=key)]


async def a_busy_day(coalition: Coalition) -> tuple[archive.Run, int]:
    """A member earns at both partners, spends A's points at B, returns a part of everything."""
    a, b = await coalition.partner("a"), await coalition.partner("b", fund=7_000, reimbursement=7_500)
    member = await coalition.member()
    first = await coalition.earn(member, "a", a, 1000, pending_for=DAY)
    await coalition.receipt(member, first, "a", "A-1")
    second = await coalition.earn(member, "b", b, 500)
    await coalition.receipt(member, second, "b", "B-1")
    third = await coalition.earn(member, "b", a, 77, funder="a")  # A pays for points that B issues
    await coalition.receipt(member, third, "b", "B-secret")
    coalition.at += 2 * DAY
    spent = await coalition.spend(member, "b", b, 600)
    await coalition.receipt(member, spent, "b", "B-2", kind=2, redemption_seq=spent)
    await coalition.give_back(member, first, 300, "a")
    await coalition.receipt(member, spent + 1, "a", "A-2", kind=3)
    assert await coalition.refund(member, spent, 100, "b")
    await coalition.receipt(member, spent + 2, "b", "B-3", kind=3, redemption_seq=spent + 2)
    return await coalition.settle(), member


async def test_the_detail_sums_to_the_lines_of_the_statement(coalition: Coalition, database: Database) -> None:
    run, _ = await a_busy_day(coalition)
    for code in "ab":
        statement = coalition.of(run, code)
        sums: Counter[str] = Counter()
        for row in await read(database, statement, KEYS[code]):
            assert abs(row.amount_micro) == row.points * row.unit_price_micro
            for what, value in (("points", row.points), ("postings", 1), ("micro", row.amount_micro)):
                sums[f"{row.kind} {what}"] += value
        expected: Counter[str] = Counter()
        for line in statement.lines:
            if line.kind != "ROUNDING":
                expected[f"{line.kind} points"] += line.points
                expected[f"{line.kind} postings"] += line.postings
                expected[f"{line.kind} micro"] += line.amount_micro
        assert sums == expected
        assert len(sums) >= 6
    assert await coalition.violations() == []


async def test_the_detail_names_the_partners_own_receipts(coalition: Coalition, database: Database) -> None:
    run, member = await a_busy_day(coalition)

    a = await read(database, coalition.of(run, "a"), KEYS["a"])
    b = await read(database, coalition.of(run, "b"), KEYS["b"])

    assert [(d.kind, d.reference, d.outlet) for d in a] == [
        ("ACTIVATION", None, None), ("ACTIVATION", "A-1", "a-1"), ("RETURN", "A-2", "a-1")
    ]  # fmt: skip
    assert {(d.kind, d.reference, d.outlet) for d in b} == {
        ("ACTIVATION", "B-1", "b-1"), ("REDEMPTION", "B-2", "b-1"), ("REFUND", "B-3", "b-1")
    }  # fmt: skip
    assert {secrets.read_opaque_id(KEYS["a"], "mbr", d.member) for d in a} == {member.to_bytes(8, "big")}


async def test_two_partners_details_have_nothing_to_join_and_nothing_of_each_other(
    coalition: Coalition, database: Database
) -> None:
    run, member = await a_busy_day(coalition)
    files = {}
    for code in "ab":
        statement = coalition.of(run, code)
        rows = await read(database, statement, KEYS[code])
        files[code] = "".join(statements.detail_csv_row(d, statement_id=1, currency="EUR") for d in rows)

    assert "B-" not in files["a"]
    assert "b-1" not in files["a"]
    assert "0.0075" not in files["a"]
    assert "A-" not in files["b"]
    assert "a-1" not in files["b"]
    assert "0.010000" not in files["b"]
    members = [{row[7] for row in parsed(files[code])} for code in "ab"]
    assert members[0].isdisjoint(members[1])
    assert all(secrets.read_opaque_id(KEYS["b"], "mbr", m) is None for m in members[0])
    assert str(member) not in {cell for code in "ab" for row in parsed(files[code]) for cell in row[7:8]}


async def test_a_statement_is_only_found_by_its_own_partner_and_the_operator(
    coalition: Coalition, database: Database
) -> None:
    run, _ = await a_busy_day(coalition)
    own = coalition.of(run, "a")
    async with database.reading() as connection:
        one, other = coalition.partners["a"], coalition.partners["b"]
        assert await archive.statement(connection, own.statement_id, partner_id=one) == own
        assert await archive.statement(connection, own.statement_id, partner_id=None) == own
        assert await archive.statement(connection, own.statement_id, partner_id=other) is None
        page = await archive.statements_page(connection, partner_id=other, before=None, limit=10)
        assert {s.partner_id for s in page} == {other}
        everybody = await archive.statements_page(connection, partner_id=None, before=None, limit=10)
        assert [s.statement_id for s in everybody] == sorted((s.statement_id for s in run.statements), reverse=True)
        older = await archive.statements_page(connection, partner_id=None, before=everybody[0].statement_id, limit=1)
        assert older == everybody[1:2]
