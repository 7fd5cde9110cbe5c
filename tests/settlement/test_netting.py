"""Netting: sums to zero with the operator, whatever the order; at most one payment each; a memo is no debt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from partners.terms import Terms
from settlement import netting, rating
from settlement.netting import Bilateral, Instruction, Position
from settlement.rating import ClearingGroup

positions = st.lists(
    st.builds(
        Position,
        party_id=st.integers(1, 6),
        currency=st.sampled_from(["EUR", "CHF"]),
        amount=st.integers(-(10**12), 10**12),
    ),
    max_size=40,
)


def paid(instructions: list[Instruction]) -> Counter[tuple[int, str]]:
    """What each party receives by the payments, the operator included."""
    received: Counter[tuple[int, str]] = Counter()
    for i in instructions:
        amount = i.amount if i.direction == netting.PAY_OUT else -i.amount
        received[i.partner_id, i.currency] += amount
        received[rating.OPERATOR, i.currency] -= amount
    return received


@given(positions)
def test_nets_with_the_operators_sum_to_zero_per_currency(some: list[Position]) -> None:
    nets = netting.net(some)
    for currency in ("EUR", "CHF"):
        both = nets + netting.operator_positions(nets)
        assert sum(p.amount for p in both if p.currency == currency) == 0


@given(positions, st.randoms())
def test_the_order_does_not_matter(some: list[Position], chance: object) -> None:
    shuffled = list(some)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert netting.net(shuffled) == netting.net(some)


@given(positions)
def test_netting_a_netted_result_changes_nothing(some: list[Position]) -> None:
    once = netting.net(some)
    assert netting.net(once) == once
    assert netting.instructions(once) == netting.instructions(some)


@given(positions)
def test_nobody_both_pays_and_receives_and_no_payment_is_nothing(some: list[Position]) -> None:
    payments = netting.instructions(some)
    assert len({(p.partner_id, p.currency) for p in payments}) == len(payments)
    assert all(p.amount > 0 for p in payments)


@given(positions)
def test_the_payments_settle_every_position(some: list[Position]) -> None:
    nets = netting.net(some)
    everybody = nets + netting.operator_positions(nets)
    received = paid(netting.instructions(everybody))
    assert all(received[p.party_id, p.currency] == p.amount for p in everybody)


def test_the_operators_own_position_is_no_payment() -> None:
    assert netting.instructions([Position(0, "EUR", 5), Position(1, "EUR", -5)]) == [Instruction(1, "EUR", "PAY_IN", 5)]


def terms_of(terms_id: int) -> Terms:
    return Terms(
        terms_id=terms_id, partner_id=terms_id, version=1, valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        currency="EUR", earn_rate_bp=100, fund_price_micro=8_000 + terms_id, service_price_micro=1_500,
        reimbursement_price_micro=7_000 + terms_id, funding="POOL", return_window_days=14, expiry_months=12,
        bill_share_bp=5000, return_policy="ISSUER_BEARS",
    )  # fmt: skip


TERMS = {n: terms_of(n) for n in range(1, 5)}
numbers = st.integers(1, 4)


@st.composite
def burns(draw: st.DrawFn) -> ClearingGroup:
    issuer, redeemer = draw(numbers), draw(numbers)
    kind = draw(st.sampled_from(["REDEMPTION", "REFUND"]))
    return ClearingGroup(kind, issuer, issuer, redeemer, issuer, redeemer, draw(st.integers(1, 10**6)), 1)


@given(st.lists(burns(), max_size=30))
def test_what_redeemers_are_paid_is_what_the_memo_says_they_honoured(some: list[ClearingGroup]) -> None:
    by_memo: Counter[int] = Counter()
    for row in netting.bilateral(some, TERMS):
        by_memo[row.redeemer_id] += row.reimbursement_micro
    by_line: Counter[int] = Counter()
    for line in rating.rate(some, TERMS):
        by_line[line.party_id] += line.amount_micro
    assert {k: v for k, v in by_memo.items() if v} == {k: v for k, v in by_line.items() if v}


def test_a_refund_is_taken_off_the_memo_and_what_was_not_spent_is_not_in_it() -> None:
    spent = ClearingGroup("REDEMPTION", 1, 1, 2, 1, 2, 100, 1)
    back = replace(spent, kind="REFUND", points=40)
    earned = replace(spent, kind="ACTIVATION")
    assert netting.bilateral([spent, back, earned], TERMS) == [
        Bilateral(1, 2, "EUR", "EUR", 60, 60 * 8_001, 60 * 7_002)
    ]
