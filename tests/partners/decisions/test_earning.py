"""Earning as a pure function: the points, the reasons that sum to them, and the split to lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from partners.decisions import earning
from partners.decisions.earning import Award, EarnLine
from partners.terms import Terms
from tests.builders import NOON, PROGRAMME

TERMS = Terms(7, 3, 1, NOON, "EUR", 150, 8_500, 1_500, 8_000, "POOL", 14, 12, 5_000, "ISSUER_BEARS", {"GOLD": 50})

amounts = st.integers(0, 10**9)
kinds = st.sampled_from(["GOODS", "SERVICE", "TIP", "GIFT_CARD", "DEPOSIT", "DELIVERY", "FEE"])


@st.composite
def baskets(draw: st.DrawFn) -> list[EarnLine]:
    found = []
    for number in range(draw(st.integers(1, 8))):
        amount = draw(amounts)
        found.append(EarnLine(str(number), draw(kinds), amount, draw(st.integers(0, amount))))
    return found


def award(lines: list[EarnLine], tier: str = "BASE", terms: Terms = TERMS) -> Award:
    return earning.evaluate(lines, terms=terms, programme=PROGRAMME, tier=tier, occurred_at=NOON)


@given(baskets(), st.sampled_from(["BASE", "GOLD"]))
def test_points_are_the_exact_rate_of_what_money_paid_for_goods_rounded_down_once(
    lines: list[EarnLine], tier: str
) -> None:
    eligible = sum(line.amount_minor - line.points_value_minor for line in lines if line.kind in ("GOODS", "SERVICE"))
    rate = Fraction(150 + (50 if tier == "GOLD" else 0), 10_000)
    assert award(lines, tier).points == eligible * rate // 1


@given(baskets(), st.sampled_from(["BASE", "GOLD"]))
def test_reasons_lines_and_lots_all_sum_to_the_points(lines: list[EarnLine], tier: str) -> None:
    found = award(lines, tier)
    assert sum(reason.points for reason in found.reasons) == found.points
    assert sum(found.line_points.values()) == found.points
    assert sum(lot.points for lot in found.lots) == found.points


@given(baskets())
def test_lines_that_do_not_earn_get_nothing_and_every_line_is_within_one_of_its_share(lines: list[EarnLine]) -> None:
    found = award(lines)
    base = sum(line.eligible_minor for line in lines)
    for line in lines:
        share = Fraction(found.points * line.eligible_minor, base) if base else Fraction(0)
        assert abs(found.line_points[line.line_id] - share) < 1
        assert line.eligible_minor or not found.line_points[line.line_id]


@given(st.lists(amounts, min_size=1, max_size=6))
def test_splitting_a_bill_never_earns_more_than_the_whole(parts: list[int]) -> None:
    whole = award([EarnLine("", "GOODS", sum(parts))]).points
    split = sum(award([EarnLine("", "GOODS", part)]).points for part in parts)
    assert whole - len(parts) < split <= whole


@given(baskets())
def test_the_same_input_gives_the_same_award(lines: list[EarnLine]) -> None:
    assert award(lines) == award(lines)


def test_a_lot_is_funded_by_the_partner_activates_after_the_return_window_and_expires_after_the_months_agreed() -> None:
    (lot,) = award([EarnLine("", "GOODS", 10_000)]).lots
    assert (lot.issuer_id, lot.funder_id, lot.terms_id, lot.points) == (3, 3, 7, 150)
    assert lot.activates_at == NOON + timedelta(days=14)
    assert lot.expires_at == NOON.replace(year=NOON.year + 1)


def test_a_lot_outlives_its_return_window_even_when_the_terms_would_have_it_otherwise() -> None:
    terms = replace(TERMS, return_window_days=365, expiry_months=1)
    (lot,) = award([EarnLine("", "GOODS", 10_000)], terms=terms).lots
    assert lot.expires_at > lot.activates_at


def test_what_earned_nothing_is_explained() -> None:
    found = award([EarnLine("1", "GOODS", 1_000, 400), EarnLine("2", "TIP", 500)])
    assert [(reason.code, reason.points) for reason in found.reasons] == [
        ("BASE", 9), ("KIND_DOES_NOT_EARN", 0), ("PAID_WITH_POINTS", 0),
    ]  # fmt: skip


def test_a_purchase_of_nothing_makes_no_lot() -> None:
    found = award([EarnLine("", "GOODS", 0)])
    assert (found.points, found.lots) == (0, ())
