"""What stands on a statement besides rated events: carried, retained, taxed, charged, and settled gross."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.amounts import micro_per_minor
from partners.terms import SettlementTerms
from settlement import calendars, charges, periods, statements
from settlement.charges import Brought, Conditions
from settlement.documents.drawing import DOCUMENT, LINE, TaxRule
from settlement.netting import PAY_IN, PAY_OUT, Instruction
from settlement.periods import Billed
from settlement.rating import OPERATOR, RatedLine
from settlement.statements import Draft, Sides

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported

kinds = st.sampled_from(["ACTIVATION", "REDEMPTION", "RETURN", "REFUND", "DISCOUNT", "PLATFORM_FEE"])
amounts_micro = st.integers(-(10**12), 10**12)
conditions = st.builds(
    Conditions, is_netted=st.booleans(), minimum_payout_minor=st.integers(0, 10**6), holdback_bp=st.integers(0, 10_000),
    tax=st.builds(
        TaxRule, st.just("VAT"), st.just(1), st.integers(0, 10_000), st.sampled_from([LINE, DOCUMENT]), st.just("S")
    ),
)  # fmt: skip
brought = st.builds(Brought, st.integers(-(10**6), 10**6), st.integers(0, 10**6), conditions)


@st.composite
def sides(draw: st.DrawFn) -> Sides:
    """Rated lines of some partners, and an operator whose own are the other side."""
    partners = [
        RatedLine(draw(st.integers(1, 3)), "EUR", draw(kinds), n + 1, 1, 1, 0, draw(amounts_micro))
        for n in range(draw(st.integers(0, 8)))
    ]
    total = -sum(line.amount_micro for line in partners)
    return Sides(partners, [RatedLine(OPERATOR, "EUR", "FUND", 1, 1, 1, 0, total)] if partners else [])


@given(sides(), st.dictionaries(st.integers(1, 4), brought))
def test_whatever_partners_bring_a_statement_sums_and_everybody_s_nets_sum_to_zero(
    some: Sides, bring: dict[int, Brought]
) -> None:
    drafts = statements.settle(some, "EUR", bring)
    per_minor = micro_per_minor("EUR")
    for draft in drafts:
        assert draft.opening_micro + sum(n.amount_micro for n in draft.lines) == draft.net_micro
        assert draft.opening_minor + sum(n.amount_minor for n in draft.lines) == draft.net_minor
        assert draft.net_micro == draft.net_minor * per_minor
        assert [n.line_no for n in draft.lines] == list(range(1, len(draft.lines) + 1))
    assert sum(d.net_minor for d in drafts) == sum(d.net_micro for d in drafts) == 0
    for draft in drafts[1:]:
        rules = bring.get(draft.party_id, Brought()).conditions
        carried = -sum(n.amount_minor for n in draft.lines if n.kind == charges.CARRIED_OUT)
        assert draft.net_minor == 0 or abs(draft.net_minor) >= rules.minimum_payout_minor or not rules.is_netted
        assert abs(carried) < max(1, rules.minimum_payout_minor)
        assert not (carried and draft.net_minor)


@given(sides(), st.dictionaries(st.integers(1, 4), brought))
def test_payments_are_nets_and_whoever_is_not_netted_pays_and_is_paid(some: Sides, bring: dict[int, Brought]) -> None:
    drafts = statements.settle(some, "EUR", bring)
    gross = {party for party, one in bring.items() if not one.conditions.is_netted}
    found = statements.payments(drafts, gross)
    for draft in drafts[1:]:
        own = [p for p in found if p.partner_id == draft.party_id]
        assert sum(p.amount if p.direction == PAY_OUT else -p.amount for p in own) == draft.net_minor
        assert len(own) <= (2 if draft.party_id in gross else 1)
        if draft.party_id in gross:
            owed = sum(-n.amount_minor for n in draft.lines if n.amount_minor < 0) + max(0, -draft.opening_minor)
            assert sum(p.amount for p in own if p.direction == PAY_IN) == owed


@given(st.integers(-(10**9), 10**9), brought)
def test_what_is_retained_is_a_share_of_what_would_be_paid_and_never_more(own: int, one: Brought) -> None:
    found = dict(charges.retained(own, one))
    held = -found.get(charges.HOLDBACK, 0)
    assert 0 <= held <= max(0, own)
    assert held == 0 or held <= own + one.opening_minor
    assert found.get(charges.HOLDBACK_RELEASED, 0) == one.released_minor


def test_holdback_is_let_go_once_and_not_what_a_default_used() -> None:
    assert charges.due_release(held_minor=100, released_minor=40, used_minor=30) == 30
    assert charges.due_release(held_minor=100, released_minor=40, used_minor=90) == 0


# --- Days -------------------------------------------------------------------------------------------------------


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 40), st.sets(st.dates(), max_size=5))
def test_as_many_business_days_lie_behind_as_were_counted(day: date, count: int, holidays: set[date]) -> None:
    last = calendars.business_days_on(day, count, holidays)
    span = [day + n * DAY for n in range(1, (last - day).days + 1)]
    assert sum(calendars.is_business_day(one, holidays) for one in span) == count
    assert count == 0 or calendars.is_business_day(last, holidays)


def test_a_review_ends_with_the_day_where_the_programme_is() -> None:
    friday = datetime(2026, 3, 27, 22, 30, tzinfo=UTC)  # in Chisinau Saturday has begun, and clocks change on Sunday
    end = calendars.review_end(friday, 2, zone="Europe/Chisinau", holidays={date(2026, 3, 30)})
    assert end == datetime(2026, 4, 2, tzinfo=ZoneInfo("Europe/Chisinau"))
    assert calendars.review_end(friday, 0, zone="UTC", holidays=()) == friday


# --- On real runs -----------------------------------------------------------------------------------------------


def kinds_of(draft: Draft | Any) -> list[tuple[str, int]]:
    return [(line.kind, line.amount_minor) for line in draft.lines]


async def test_less_than_the_least_is_carried_until_it_is_enough(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"minimum_payout_minor": 1_000})
    member = await coalition.member()
    seen = []
    for _ in range(3):
        await coalition.earn(member, "a", a, 400)
        done = await coalition.settle()
        statement = coalition.of(done, "a")
        seen.append((statement.opening_minor, kinds_of(statement), statement.net_minor, done.instructions))
        assert coalition.of(done, "").opening_minor == -statement.opening_minor
        assert await coalition.violations() == []
        coalition.at += DAY
    partner_id = coalition.partners["a"]
    assert seen == [
        (0, [("ACTIVATION", -400), ("CARRIED_OUT", 400)], 0, ()),
        (-400, [("ACTIVATION", -400), ("CARRIED_OUT", 800)], 0, ()),
        (-800, [("ACTIVATION", -400)], -1200, (Instruction(partner_id, "EUR", "PAY_IN", 1200),)),
    ]


async def test_what_is_carried_goes_on_though_the_partner_does_nothing(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"minimum_payout_minor": 1_000})
    b = await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 400)
    await coalition.settle()
    coalition.at += DAY
    await coalition.earn(member, "b", b, 10)

    done = await coalition.settle()

    statement = coalition.of(done, "a")
    assert (statement.opening_minor, kinds_of(statement), statement.net_minor) == (-400, [("CARRIED_OUT", 400)], 0)
    assert await coalition.violations() == []


async def test_holdback_is_retained_and_let_go_when_no_dispute_can_come(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    b = await coalition.partner("b", says={"holdback_bp": 1_000, "dispute_days": 30})
    member = await coalition.member()
    await coalition.earn(member, "a", a, 3000)
    await coalition.spend(member, "b", b, 1000)
    first = coalition.of(await coalition.settle(), "b")
    coalition.at += 20 * DAY
    await coalition.spend(member, "b", b, 500)
    second = coalition.of(await coalition.settle(), "b")
    coalition.at += 10 * DAY
    await coalition.spend(member, "b", b, 100)
    third = coalition.of(await coalition.settle(), "b")
    coalition.at += 100 * DAY
    await coalition.spend(member, "b", b, 100)
    fourth = coalition.of(await coalition.settle(), "b")

    assert kinds_of(first) == [("REDEMPTION", 800), ("HOLDBACK", -80)]
    assert kinds_of(second) == [("REDEMPTION", 400), ("HOLDBACK", -40)]
    assert kinds_of(third) == [("REDEMPTION", 80), ("HOLDBACK_RELEASED", 80), ("HOLDBACK", -8)]
    assert kinds_of(fourth) == [("REDEMPTION", 80), ("HOLDBACK_RELEASED", 48), ("HOLDBACK", -8)]
    retained = await coalition.database.pool.fetchval(
        "SELECT -sum(amount_micro) FROM settlement.money_posting WHERE account = '2310'"
    )
    assert retained == 8 * 10_000
    assert await coalition.violations() == []


async def test_a_partner_that_is_not_netted_pays_gross_and_has_no_act_of_set_off(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"is_netted": False})
    await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    await coalition.spend(member, "a", a, 600)
    done = await coalition.settle()
    partner_id = coalition.partners["a"]
    assert done.instructions == (
        Instruction(partner_id, "EUR", "PAY_IN", 1000), Instruction(partner_id, "EUR", "PAY_OUT", 480),
    )  # fmt: skip
    assert coalition.of(done, "a").net_minor == -520
    documents = await coalition.database.pool.fetch("SELECT kind FROM settlement.document ORDER BY kind")
    assert [d["kind"] for d in documents] == ["INVOICE", "SELF_BILLED"]
    assert await coalition.violations() == []


async def test_fees_of_a_month_and_what_is_missing_of_the_least_of_a_quarter(coalition: Coalition) -> None:
    says = {
        "platform_fee_micro": 50_000_000, "minimum_fee_micro": 200_000_000, "volume_period": "QUARTER",
        "volume_tiers": '[[1500, 1000]]',
    }  # fmt: skip
    a = await coalition.partner("a", says=says)
    member = await coalition.member()
    seen = []
    for month in (4, 5, 6):
        await coalition.earn(member, "a", a, 1000)
        coalition.at = datetime(2026, month, 1, tzinfo=UTC)
        seen.append(kinds_of(coalition.of(await coalition.settle(), "a")))
        assert await coalition.violations() == []
    await coalition.earn(member, "a", a, 1000)
    coalition.at = datetime(2026, 7, 1, tzinfo=UTC)
    seen.append(kinds_of(coalition.of(await coalition.settle(), "a")))
    # March ends a quarter of which one month was agreed: 50.00 and 1.50 of service are less than 200.00.
    assert seen[0] == [("ACTIVATION", -1000), ("MINIMUM_FEE", -14850), ("PLATFORM_FEE", -5000)]
    assert seen[1] == [("ACTIVATION", -1000), ("PLATFORM_FEE", -5000)]
    assert seen[2] == [("ACTIVATION", -1000), ("PLATFORM_FEE", -5000), ("TIER_REBATE", 50)]
    # 3 x 50.00 and 4.50 of service less 1.50 of rebates.
    assert seen[3] == [
        ("ACTIVATION", -1000), ("MINIMUM_FEE", -4700), ("PLATFORM_FEE", -5000), ("TIER_REBATE", 100),
    ]  # fmt: skip
    assert await coalition.violations() == []


async def test_a_version_that_begins_with_a_month_takes_nothing_from_the_month_before(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"platform_fee_micro": 50_000_000, "minimum_fee_micro": 60_000_000})
    april = datetime(2026, 4, 1, tzinfo=UTC)
    await coalition.sign("a", says={"platform_fee_micro": 70_000_000}, valid_from=april)
    member = await coalition.member()
    seen = []
    for month in (4, 5):
        await coalition.earn(member, "a", a, 1000)
        coalition.at = datetime(2026, month, 1, tzinfo=UTC)
        seen.append(kinds_of(coalition.of(await coalition.settle(), "a")))
    assert seen == [
        [("ACTIVATION", -1000), ("MINIMUM_FEE", -850), ("PLATFORM_FEE", -5000)],
        [("ACTIVATION", -1000), ("PLATFORM_FEE", -7000)],
    ]
    assert await coalition.violations() == []


async def test_a_version_in_the_middle_of_a_run_leaves_no_month_out(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"platform_fee_micro": 50_000_000})
    await coalition.sign("a", says={"platform_fee_micro": 70_000_000}, valid_from=datetime(2026, 4, 20, tzinfo=UTC))
    await coalition.earn(await coalition.member(), "a", a, 1000)
    coalition.at = datetime(2026, 5, 1, tzinfo=UTC)
    done = await coalition.settle()
    assert kinds_of(coalition.of(done, "a")) == [("ACTIVATION", -1000), ("PLATFORM_FEE", -14000)]
    assert await coalition.violations() == []


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 10**6)), max_size=30), st.sets(st.integers(1, 399)))
def test_however_a_year_is_cut_into_runs_its_months_are_charged_once(
    cutoffs: list[tuple[int, int]], ends: set[int]
) -> None:
    signed = SettlementTerms(
        1, 1, 1, datetime(2026, 1, 1, tzinfo=UTC), "EUR", platform_fee_micro=7, volume_period="QUARTER"
    )
    start = signed.valid_from
    all_of_them = [Billed(start + day * DAY, points, points) for day, points in sorted(cutoffs)]
    bounds, charged, points = [0, *sorted(ends), 400], 0, 0
    for since, until in pairwise(bounds):
        begin, end = start + since * DAY, start + until * DAY
        own = [one for one in all_of_them if begin < one.cut_at <= end]
        earlier = [one for one in all_of_them if one.cut_at <= begin]
        span = {"agreed_since": start, "since": begin, "until": end, "zone": "UTC"}
        for volume in periods.covered(signed, earlier=earlier, own=own, **span):
            charged += volume.months
            points += volume.points
    span = {"agreed_since": start, "since": start, "until": start + 400 * DAY, "zone": "UTC"}
    whole = periods.covered(signed, earlier=[], own=all_of_them[:0], **span)
    assert charged == sum(volume.months for volume in whole)
    assert points == sum(one.points for one in all_of_them if one.cut_at > start)


async def test_a_rate_of_tax_that_begins_with_a_month_is_not_that_of_the_month_before(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    april = datetime(2026, 4, 1, tzinfo=UTC)
    for version, valid_from in ((1, april - 400 * DAY), (2, april)):
        await owner.execute(
            "WITH a AS (INSERT INTO kit.approval (kind, subject, maker_id, made_at, checker_id, decided_at, approved) "
            "           VALUES ('TAX_RULE', 'x', $1, $3, $2, $3, true) RETURNING approval_id) "
            "INSERT INTO settlement.tax_rule SELECT 'VAT', $4, $5, 1000 * $4, 'DOCUMENT', 'S', approval_id FROM a",
            coalition.maker, coalition.checker, coalition.at, version, valid_from,
        )  # fmt: skip
    a = await coalition.partner("a", says={"tax_rule": "VAT"})
    member = await coalition.member()
    seen = []
    for month in (4, 5):
        await coalition.earn(member, "a", a, 1000)
        coalition.at = datetime(2026, month, 1, tzinfo=UTC)
        seen.append(kinds_of(coalition.of(await coalition.settle(), "a")))
    assert seen == [[("ACTIVATION", -1000), ("OUTPUT_TAX", -100)], [("ACTIVATION", -1000), ("OUTPUT_TAX", -200)]]
    assert await coalition.violations() == []


@pytest.mark.parametrize(("rounding", "tax"), [(LINE, [(-20, 13)]), (DOCUMENT, [(-20, 13)])])
async def test_tax_is_on_documents_and_a_line_of_its_own(coalition: Coalition, rounding: str, tax: Any) -> None:
    await coalition.database.pool.execute(
        "WITH a AS (INSERT INTO kit.approval (kind, subject, maker_id, made_at, checker_id, decided_at, approved) "
        "           VALUES ('TAX_RULE', 'x', $1, $3, $2, $3, true) RETURNING approval_id) "
        "INSERT INTO settlement.tax_rule SELECT 'VAT', 1, '-infinity', 2000, $4, 'S', approval_id FROM a",
        coalition.maker, coalition.checker, coalition.at, rounding,
    )  # fmt: skip
    a = await coalition.partner("a", says={"tax_rule": "VAT"})
    member = await coalition.member()
    await coalition.earn(member, "a", a, 100)
    await coalition.spend(member, "a", a, 80)
    statement = coalition.of(await coalition.settle(), "a")
    assert kinds_of(statement) == [
        ("ACTIVATION", -100), ("REDEMPTION", 64), ("OUTPUT_TAX", tax[0][0]), ("INPUT_TAX", tax[0][1]),
    ]  # fmt: skip
    assert statement.net_minor == -100 + 64 - 20 + 13
    taxes = await coalition.database.pool.fetch(
        "SELECT account, sum(amount_micro) AS amount FROM settlement.money_posting WHERE account IN ('1300', '2500') "
        "GROUP BY account ORDER BY account"
    )
    assert [tuple(t) for t in taxes] == [("1300", 130_000), ("2500", -200_000)]
    assert await coalition.violations() == []
