"""Rating is linear, pinned to terms, and the operator's own lines are the other side of the partners'."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.terms import Terms
from settlement import rating
from settlement.rating import ClearingGroup

KINDS = (
    rating.ACTIVATION, rating.REDEMPTION, rating.REFUND, rating.RETURN, rating.EXPIRY, rating.PENDING,
    rating.PENDING_RETURN, rating.RETURN_OWED, rating.REPAYMENT, rating.FORGIVEN,
)  # fmt: skip


def terms_of(terms_id: int, fund: int, service: int, reimbursement: int, currency: str = "EUR") -> Terms:
    return Terms(
        terms_id=terms_id, partner_id=terms_id, version=1, valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        currency=currency, earn_rate_bp=100, fund_price_micro=fund, service_price_micro=service,
        reimbursement_price_micro=reimbursement, funding="POOL", return_window_days=14, expiry_months=12,
        bill_share_bp=5000, return_policy="ISSUER_BEARS",
    )  # fmt: skip


TERMS = {
    1: terms_of(1, 8_500, 1_500, 8_000),
    2: terms_of(2, 7_777, 1, 9_999),
    3: terms_of(3, 1_000_000, 0, 900_000, "JPY"),
}
parties = st.integers(0, 3)
priced = st.integers(1, 3)
groups = st.lists(
    st.builds(
        ClearingGroup,
        kind=st.sampled_from(KINDS), issuer_id=parties, funder_id=parties, partner_id=parties, lot_terms_id=priced,
        terms_id=priced, points=st.integers(1, 10**9), count=st.integers(1, 1000),
    ),
    max_size=30,
)  # fmt: skip


def group(kind: str, points: int = 100, **other: int) -> ClearingGroup:
    base = ClearingGroup(kind, 1, 1, 1, 1, 1, points, 1)
    return replace(base, **other)


def totals(lines: list[rating.RatedLine]) -> Counter[tuple[int, str, str, int, str]]:
    sums: Counter[tuple[int, str, str, int, str]] = Counter()
    for line in lines:
        key = (line.party_id, line.currency, line.kind, line.terms_id)
        sums[*key, "points"] += line.points
        sums[*key, "count"] += line.count
        sums[*key, "amount"] += line.amount_micro
    return sums


@given(groups, groups)
def test_rating_a_sum_is_the_sum_of_ratings(one: list[ClearingGroup], other: list[ClearingGroup]) -> None:
    for rate in (rating.rate, rating.rate_operator):
        assert totals(rate(one + other, TERMS)) == totals(rate(one, TERMS) + rate(other, TERMS))


@given(groups, st.randoms())
def test_the_order_of_events_does_not_matter(some: list[ClearingGroup], chance: object) -> None:
    shuffled = list(some)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rating.rate(shuffled, TERMS) == rating.rate(some, TERMS)
    assert rating.rate_operator(shuffled, TERMS) == rating.rate_operator(some, TERMS)
    assert rating.rate_obligation(shuffled, TERMS) == rating.rate_obligation(some, TERMS)


@given(groups)
def test_the_operator_has_the_other_side_of_every_partner(some: list[ClearingGroup]) -> None:
    for currency in ("EUR", "JPY"):
        partners = sum(n.amount_micro for n in rating.rate(some, TERMS) if n.currency == currency)
        operator = sum(n.amount_micro for n in rating.rate_operator(some, TERMS) if n.currency == currency)
        assert partners + operator == 0


@given(groups)
def test_a_line_is_its_points_at_its_price_and_there_is_one_per_kind_and_terms(some: list[ClearingGroup]) -> None:
    lines = rating.rate(some, TERMS)
    assert all(abs(n.amount_micro) == n.points * n.unit_price_micro and n.party_id != 0 for n in lines)
    assert len({(n.party_id, n.currency, n.kind, n.terms_id) for n in lines}) == len(lines)
    assert all(m.amount_micro == m.points * m.unit_price_micro for m in rating.rate_obligation(some, TERMS))


@pytest.mark.parametrize(
    ("kind", "party", "amount"),
    [
        ("ACTIVATION", 1, -1_000_000),
        ("RETURN", 1, 1_000_000),
        ("REDEMPTION", 2, 999_900),
        ("REFUND", 2, -999_900),
        ("RETURN_OWED", 1, 1_000_000),
        ("FORGIVEN", 1, 0),
    ],
)
def test_who_pays_or_is_paid_at_whose_price(kind: str, party: int, amount: int) -> None:
    at_two = group(kind, partner_id=2, lot_terms_id=1, terms_id=2)
    [line] = rating.rate([at_two], TERMS)
    assert (line.party_id, line.amount_micro) == (party, amount)


@pytest.mark.parametrize("kind", ["EXPIRY", "PENDING", "PENDING_RETURN", "REPAYMENT"])
def test_what_is_pending_or_expires_moves_no_partners_money(kind: str) -> None:
    assert rating.rate([group(kind)], TERMS) == []
    assert rating.rate_operator([group(kind)], TERMS) == []


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("ACTIVATION", 100),
        ("REFUND", 100),
        ("REDEMPTION", -100),
        ("RETURN", -100),
        ("EXPIRY", -100),
        ("REPAYMENT", -100),
    ],
)
def test_the_obligation_moves_by_the_fund_part_of_the_lot(kind: str, points: int) -> None:
    [movement] = rating.rate_obligation([group(kind, partner_id=2, terms_id=2)], TERMS)
    assert (movement.funder_id, movement.terms_id, movement.points, movement.amount_micro) == (
        1, 1, points, points * 8_500
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["PENDING", "PENDING_RETURN", "RETURN_OWED", "FORGIVEN"])
def test_what_was_not_spendable_is_no_obligation(kind: str) -> None:
    assert rating.rate_obligation([group(kind)], TERMS) == []


@given(groups)
def test_everything_taken_back_leaves_nothing(some: list[ClearingGroup]) -> None:
    back = {rating.ACTIVATION: rating.RETURN, rating.REDEMPTION: rating.REFUND}
    forth = [g for g in some if g.kind in back]
    both = forth + [replace(g, kind=back[g.kind]) for g in forth]
    for lines in (rating.rate(both, TERMS), rating.rate_operator(both, TERMS)):
        sums: Counter[tuple[int, str]] = Counter()
        for line in lines:
            sums[line.party_id, line.currency] += line.amount_micro
        assert not any(sums.values())
    assert sum(m.amount_micro for m in rating.rate_obligation(both, TERMS)) == 0


def test_what_the_operator_funds_needs_no_terms() -> None:
    gift = group("ACTIVATION", funder_id=0, lot_terms_id=0, terms_id=0)
    assert rating.rate([gift], {}) == rating.rate_operator([gift], {}) == []
    assert rating.rate_obligation([gift], {}) == []


def test_unknown_terms_and_unknown_movements_are_never_free() -> None:
    with pytest.raises(rating.Unrated):
        rating.rate([group("ACTIVATION", lot_terms_id=9)], TERMS)
    with pytest.raises(rating.Unrated):
        rating.rate([group("REDEMPTION", terms_id=9)], TERMS)
    with pytest.raises(rating.Unrated):
        rating.rate_obligation([group("EXPIRY", lot_terms_id=9)], TERMS)
    with pytest.raises(rating.Unrated):
        rating.kind_of(4, 10)
