"""Entries as a property: whatever happened, they balance, say what statements say, and go back whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.terms import Terms
from settlement import rating
from settlement.money import accounts, entries, events, presentation
from settlement.money.events import MoneyEvent
from settlement.rating import ClearingGroup, Stock

KINDS = (
    rating.ACTIVATION, rating.ADJUSTMENT, rating.ADJUSTMENT_TAKEN, rating.REDEMPTION, rating.REFUND, rating.RETURN,
    rating.RETURN_OWED, rating.REPAYMENT, rating.FORGIVEN, rating.EXPIRY, rating.PENDING, rating.PENDING_RETURN,
    rating.HELD, rating.TRANSFER,
)  # fmt: skip


def terms_of(terms_id: int, funding: str, fund: int, service: int, reimbursement: int, **more: object) -> Terms:
    return Terms(
        terms_id=terms_id, partner_id=terms_id, version=1, valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        currency=str(more.pop("currency", "EUR")), earn_rate_bp=100, fund_price_micro=fund,
        service_price_micro=service, reimbursement_price_micro=reimbursement, funding=funding, return_window_days=14,
        expiry_months=12, bill_share_bp=5000, return_policy="ISSUER_BEARS", **more,  # type: ignore[arg-type]
    )  # fmt: skip


TERMS = {
    1: terms_of(1, "POOL", 8_500, 1_500, 8_000, breakage_share_bp=3_333),
    2: terms_of(2, "AT_BURN", 7_777, 1, 9_999),
    3: terms_of(3, "HYBRID", 9_001, 10, 8_000, hybrid_fund_micro=4_000, breakage_share_bp=5_000),
    4: terms_of(4, "REDEEMER", 0, 300, 7_000),
    5: terms_of(5, "OPERATOR", 8_500, 0, 8_100),
    6: terms_of(6, "POOL", 1_000_000, 0, 900_000, currency="JPY"),
}
STOCKS = {
    (1, 2): Stock(1, 7_777),
    (2, 1): Stock(3, 8_500),
    (3, 3): Stock(0, 9_001),
    (4, 1): Stock(4, 8_500, is_opening=True),
}
parties, priced = st.integers(0, 6), st.integers(1, 6)
some_groups = st.lists(
    st.builds(
        ClearingGroup, kind=st.sampled_from(KINDS), issuer_id=parties, funder_id=parties, partner_id=parties,
        lot_terms_id=priced, terms_id=priced, points=st.integers(1, 10**9), count=st.integers(1, 1000),
    ),
    max_size=25,
)  # fmt: skip
some_stocks = st.sampled_from([{}, STOCKS])


def sums(found: list[entries.Entry]) -> Counter[tuple[str, str, int, int]]:
    total: Counter[tuple[str, str, int, int]] = Counter()
    for entry in found:
        for p in entry.postings:
            total[p.currency, p.account, p.party_id, p.cohort_id] += p.amount_micro
    return Counter({key: amount for key, amount in total.items() if amount})


@given(some_groups, some_stocks)
def test_every_entry_balances_in_whole_numbers_and_books_nothing_of_nothing(
    groups: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    for entry in entries.of_groups(groups, TERMS, stocks):
        assert entries.checked(entry) == entry
        assert all(isinstance(p.amount_micro, int) for p in entry.postings)


@given(some_groups, some_stocks)
def test_positions_in_the_books_are_what_statements_say(
    groups: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    stated: Counter[tuple[str, int]] = Counter()
    for line in rating.rate(groups, TERMS, stocks):
        stated[line.currency, line.party_id] += line.amount_micro
    booked: Counter[tuple[str, int]] = Counter()
    for (currency, account, party_id, _), amount in sums(entries.of_groups(groups, TERMS, stocks)).items():
        if account == accounts.POSITION:
            booked[currency, party_id] -= amount
    assert {k: v for k, v in stated.items() if v} == {k: v for k, v in booked.items() if v}


@given(some_groups, some_stocks)
def test_the_operator_has_the_other_side_of_every_line_under_every_funding(
    groups: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    for currency in ("EUR", "JPY"):
        partners = sum(n.amount_micro for n in rating.rate(groups, TERMS, stocks) if n.currency == currency)
        own = sum(n.amount_micro for n in rating.rate_operator(groups, TERMS, stocks) if n.currency == currency)
        assert partners + own == 0


@given(some_groups, some_stocks)
def test_the_obligation_in_the_books_is_what_rating_says(
    groups: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    rated: Counter[tuple[str, int, int]] = Counter()
    for movement in rating.rate_obligation(groups, TERMS, stocks):
        rated[movement.currency, movement.funder_id, movement.terms_id] += movement.amount_micro
    booked: Counter[tuple[str, int, int]] = Counter()
    for (currency, account, party_id, cohort_id), amount in sums(entries.of_groups(groups, TERMS, stocks)).items():
        if account == accounts.OBLIGATION:
            booked[currency, party_id, cohort_id] -= amount
    assert {k: v for k, v in rated.items() if v} == {k: v for k, v in booked.items() if v}


@given(some_groups, some_groups, some_stocks)
def test_booking_a_sum_is_the_sum_of_bookings(
    one: list[ClearingGroup], other: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    apart = entries.of_groups(one, TERMS, stocks) + entries.of_groups(other, TERMS, stocks)
    together = [
        ClearingGroup(*key, points, 1)
        for key, points in sorted(_points_by_key([*one, *other]).items())
    ]  # fmt: skip
    assert sums(apart) == sums(entries.of_groups(together, TERMS, stocks))


def _points_by_key(groups: list[ClearingGroup]) -> Counter[tuple[str, int, int, int, int, int]]:
    found: Counter[tuple[str, int, int, int, int, int]] = Counter()
    for g in groups:
        found[g.kind, g.issuer_id, g.funder_id, g.partner_id, g.lot_terms_id, g.terms_id] += g.points
    return found


@given(some_groups, some_stocks)
def test_what_is_taken_back_whole_leaves_nothing(
    groups: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    back = {rating.ACTIVATION: rating.RETURN, rating.REDEMPTION: rating.REFUND}
    forth = [g for g in groups if g.kind in back]
    both = forth + [replace(g, kind=back[g.kind]) for g in forth]
    assert not sums(entries.of_groups(both, TERMS, stocks))
    found = entries.of_groups(groups, TERMS, stocks)
    assert not sums(found + [entries.reversed_of(entry) for entry in found])


@given(some_groups)
def test_terms_that_are_signed_later_change_nothing_that_was_rated(groups: list[ClearingGroup]) -> None:
    later = {**TERMS, 7: terms_of(7, "POOL", 1, 1, 1)}
    assert entries.of_groups(groups, later, {}) == entries.of_groups(groups, TERMS, {})


@given(some_groups, some_stocks)
def test_shown_gross_every_entry_still_balances_and_positions_stay(
    groups: list[ClearingGroup], stocks: dict[tuple[int, int], Stock]
) -> None:
    found = entries.of_groups(groups, TERMS, stocks)
    shown = [presentation.gross(entry) for entry in found]
    for entry in shown:
        entries.checked(entry)
    kept = ("1200", "2100", "1260")
    assert {k: v for k, v in sums(found).items() if k[1] in kept} == {
        k: v for k, v in sums(shown).items() if k[1] in kept
    }


@given(
    st.sampled_from(sorted(events.RULES)), st.integers(1, 5), st.integers(6, 9),
    st.integers(-(10**12), 10**12).filter(bool), st.integers(0, 10**9),
)  # fmt: skip
def test_every_kind_of_event_balances_and_its_positions_are_its_lines(
    kind: str, payer: int, payee: int, amount: int, tax: int
) -> None:
    tax = tax if events.RULES[kind].tax else 0
    event = MoneyEvent(kind, payer, payee, "EUR", amount, tax_micro=tax if amount > 0 else -tax, tax_rule="T1")
    entry = entries.of_event(event)
    assert entries.checked(entry) == entry
    back = entries.of_event(replace(event, amount_micro=-amount, tax_micro=-event.tax_micro))
    assert not sums([entry, back])
    booked = Counter(
        {p.party_id: -p.amount_micro for p in entry.postings if p.account == accounts.POSITION and not tax}
    )
    if events.RULES[kind].is_billed and not tax:
        assert Counter({line.party_id: line.amount_micro for line in events.rate([event])}) == booked


def test_the_chart_has_every_account_that_a_rule_names_and_estimates_are_apart() -> None:
    for rule in events.RULES.values():
        named = {rule.debit, rule.credit, rule.operator_debit, rule.operator_credit, rule.tax} - {None}
        assert named <= set(accounts.CHART)
        assert not any(accounts.CHART[str(code)].is_estimate for code in named)
    assert {code for code, account in accounts.CHART.items() if account.is_estimate} == {"2105", "4200E"}


def test_points_under_terms_that_nobody_knows_are_never_booked() -> None:
    group = ClearingGroup(rating.REPAYMENT, 1, 1, 1, 1, 99, 5, 1)
    with pytest.raises(rating.Unrated):
        entries.of_group(group, TERMS, {})
    with pytest.raises(entries.Unbalanced):
        entries.checked(entries.Entry("X", (entries.Posting("1200", "EUR", 5, 1),)))
