"""Documents: numbers without a gap however many number at once, tax by the version of its rule, set off and taken back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import actors, approvals
from kit.database import Database
from settlement.documents import drawing, register, store, taxes
from settlement.documents.drawing import DOCUMENT, LINE, NO_TAX, Supply, TaxRule

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported

supplies = st.lists(
    st.builds(
        Supply, st.sampled_from(["ACTIVATION", "RETURN", "REDEMPTION", "REFUND", "PLATFORM_FEE", "ROUNDING", "HOLDBACK"]),
        st.none(), st.integers(0, 10**6), st.integers(-(10**9), 10**9),
    ),
    max_size=12,
)  # fmt: skip
rules = st.builds(
    TaxRule, st.just("VAT"), st.integers(1, 9), st.integers(0, 10_000), st.sampled_from([LINE, DOCUMENT]), st.just("S")
)


@given(supplies, rules)
def test_documents_hold_every_supply_once_and_nothing_else(some: list[Supply], rule: TaxRule) -> None:
    documents = drawing.draw(7, some, rule)
    wanted = sum(s.amount_minor for s in some if s.kind not in ("ROUNDING", "HOLDBACK"))
    assert sum(d.way * d.base_minor for d in documents) == wanted
    assert len({d.kind for d in documents}) == len(documents)
    for document in documents:
        assert document.base_minor == sum(line.base_minor for line in document.lines) > 0
        assert all(line.base_minor > 0 for line in document.lines)
        own = document.kind in (drawing.SELF_BILLED, drawing.SELF_BILLED_CREDIT)
        assert document.entity == ("partner:7" if own else "operator")


@given(supplies, rules)
def test_tax_is_within_half_a_unit_of_exact_for_each_rounding(some: list[Supply], rule: TaxRule) -> None:
    for document in drawing.draw(7, some, rule):
        roundings = len(document.lines) if rule.rounding == LINE else 1
        assert abs(2 * (document.tax_minor * 10_000 - document.base_minor * rule.rate_bp)) <= 10_000 * roundings
    by_operator, by_partner = drawing.tax_lines(drawing.draw(7, some, rule))
    total = sum(d.way * d.tax_minor for d in drawing.draw(7, some, rule))
    assert by_operator + by_partner == total


@given(supplies, rules)
def test_what_meets_is_set_off_and_at_most_one_side_is_left(some: list[Supply], rule: TaxRule) -> None:
    documents = drawing.draw(7, some, rule)
    met = drawing.set_off(documents)
    assert met.left_minor == sum(d.way * d.gross_minor for d in documents)
    assert 0 in (met.operators_minor - met.met_minor, met.partners_minor - met.met_minor)
    back = [drawing.taken_back(d) for d in documents]
    assert sum(d.way * d.gross_minor for d in [*documents, *back]) == 0


def test_a_hash_changes_with_whatever_is_in_a_document() -> None:
    [one] = drawing.draw(7, [Supply("ACTIVATION", 1, 10, -100)], NO_TAX)
    [other] = drawing.draw(7, [Supply("ACTIVATION", 1, 10, -101)], NO_TAX)
    said = {
        drawing.content_hash(d, number=number, partner_id=partner, currency=currency)
        for d in (one, other) for number in ("INV-1", "INV-2") for partner in (7, 8) for currency in ("EUR", "JPY")
    }  # fmt: skip
    assert len(said) == 16


# --- Numbers ----------------------------------------------------------------------------------------------------


async def test_numbers_have_no_gap_though_many_number_at_once_and_some_are_rolled_back(database: Database) -> None:
    class Broken(Exception):  # noqa: N818
        pass

    async def number(index: int) -> int | None:
        try:
            async with database.transaction() as connection:
                found = await store.next_number(connection, "operator", "INV")
                await asyncio.sleep(0)
                if index % 3 == 0:
                    raise Broken
                return found
        except Broken:
            return None

    found = await asyncio.gather(*(number(index) for index in range(30)))
    assert sorted(n for n in found if n is not None) == list(range(1, 21))


async def test_a_counter_neither_jumps_nor_goes_back(database: Database) -> None:
    await database.pool.execute("INSERT INTO settlement.document_counter VALUES ('operator', 'INV', 1)")
    for last in (1, 3, 0):
        with pytest.raises(asyncpg.CheckViolationError):
            await database.pool.execute("UPDATE settlement.document_counter SET last_no = $1", last)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.pool.execute("INSERT INTO settlement.document_counter VALUES ('operator', 'CRN', 5)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.pool.execute("DELETE FROM settlement.document_counter")


async def test_a_run_leaves_an_invoice_a_self_billed_document_and_an_act_of_set_off(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    member = await coalition.member()
    accrual = await coalition.earn(member, "a", a, 1000)
    await coalition.spend(member, "a", a, 300)
    await coalition.settle()
    coalition.at += DAY
    await coalition.give_back(member, accrual, 100, "a")
    await coalition.settle()

    async with coalition.database.reading() as connection:
        found = await register.documents(connection, partner_id=coalition.partners["a"])
    said = [(d.kind, d.entity, d.number, d.base_minor, d.gross_minor) for d in reversed(found)]
    assert said == [
        ("INVOICE", "operator", "INV-000001", 1000, 1000),
        ("SELF_BILLED", f"partner:{coalition.partners['a']}", "SBI-000001", 240, 240),
        ("SET_OFF", "operator", "OFF-000001", 240, -760),
        ("CREDIT_NOTE", "operator", "CRN-000001", 100, 100),
    ]
    for document in found:
        if document.kind != "SET_OFF":
            assert document.content_hash == drawing.content_hash(
                document.draft(), number=document.number, partner_id=document.partner_id, currency="EUR"
            )
    assert await coalition.violations() == []


@pytest.mark.parametrize(
    ("alteration", "code"),
    [
        ("DELETE FROM settlement.document_line; DELETE FROM settlement.document WHERE number = 1 AND kind = 'INVOICE'", "S13"),
        ("UPDATE settlement.document SET base_minor = base_minor + 1, gross_minor = gross_minor + 1 "
         "WHERE kind = 'INVOICE'", "S14"),
        ("UPDATE settlement.issued_statement SET content_hash = sha256('x')", "S15"),
        ("ALTER TABLE settlement.document_counter DISABLE TRIGGER counts_on; "
         "UPDATE settlement.document_counter SET last_no = 9", "S13"),
    ],
)  # fmt: skip
async def test_the_controls_see_what_was_done_to_documents(
    coalition: Coalition, owner: asyncpg.Connection, alteration: str, code: str
) -> None:
    a = await coalition.partner("a")
    for _ in range(2):
        await coalition.earn(await coalition.member(), "a", a, 1000)
        await coalition.settle()
        coalition.at += DAY
    assert await coalition.violations() == []

    await owner.execute(alteration)

    assert code in {v.split()[0] for v in await coalition.violations()}


# --- Tax rules --------------------------------------------------------------------------------------------------

VAT = TaxRule("VAT", 0, 2_000, LINE, "S")


async def propose(coalition: Coalition, rule: TaxRule, valid_from: datetime, maker: str = "maker") -> int:
    async with coalition.database.transaction() as connection:
        return await taxes.propose(connection, rule=rule, valid_from=valid_from, maker=maker, at=coalition.at)


async def approve(coalition: Coalition, approval_id: int, checker: str = "checker") -> TaxRule:
    async with coalition.database.transaction() as connection:
        return await taxes.approve(connection, approval_id, checker=checker, at=coalition.at)


async def test_a_version_of_a_tax_rule_holds_from_its_instant_and_the_one_before_until_then(
    coalition: Coalition,
) -> None:
    first = await approve(coalition, await propose(coalition, VAT, coalition.at))
    later = TaxRule("VAT", 0, 1_900, DOCUMENT, "S")
    second = await approve(coalition, await propose(coalition, later, coalition.at + 30 * DAY))
    assert (first.version, second.version) == (1, 2)
    async with coalition.database.reading() as connection:
        for days, version in ((0, 1), (29, 1), (30, 2), (400, 2)):
            assert (await taxes.in_force(connection, at=coalition.at + days * DAY))["VAT"].version == version
        assert (await taxes.in_force(connection, at=datetime(2000, 1, 1, tzinfo=UTC))).keys() == {"NONE"}


async def test_what_cannot_be_a_version_is_refused_and_nothing_is_written(coalition: Coalition) -> None:
    async with coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "both", [actors.FINANCE_MAKER, actors.FINANCE_CHECKER])
    await approve(coalition, await propose(coalition, VAT, coalition.at))
    late = await propose(coalition, VAT, coalition.at - DAY)
    same = await propose(coalition, VAT, coalition.at)
    own = await propose(coalition, VAT, coalition.at + DAY, maker="both")
    before = await coalition.database.pool.fetch("SELECT * FROM kit.approval ORDER BY 1")
    wrong = [
        TaxRule("VAT", 0, 10_001, LINE, "S"), TaxRule("VAT", 0, 1, "TWICE", "S"), TaxRule("NONE", 0, 1, LINE, "S"),
        TaxRule("VAT", 0, 1, LINE, ""),
    ]  # fmt: skip
    for rule in wrong:
        with pytest.raises(taxes.TaxRuleInvalid):
            await propose(coalition, rule, coalition.at)
    for approval_id, checker, no in (
        (late, "checker", taxes.TaxRuleInvalid), (same, "checker", taxes.TaxRuleInvalid),
        (own, "both", approvals.FourEyesRequired), (own, "maker", actors.NotPermitted),
    ):  # fmt: skip
        with pytest.raises(no):
            await approve(coalition, approval_id, checker)
    assert await coalition.database.pool.fetch("SELECT * FROM kit.approval ORDER BY 1") == before
    assert await coalition.database.pool.fetchval("SELECT count(*) FROM settlement.tax_rule") == 2


async def test_a_partner_whose_tax_rule_does_not_hold_is_not_settled(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"tax_rule": "VAT"})
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.close()
    before = await coalition.rows()
    with pytest.raises(taxes.TaxRuleUnknown):
        await coalition.settle_closed()
    assert await coalition.rows() == before
