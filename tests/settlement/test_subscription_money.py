"""What a fee becomes: days that sum to it, and shares that sum to the month, by every method."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from members.subscription.serving import Service
from settlement.subscription import allocation
from settlement.subscription.allocation import METHODS, Fee, MeteredUse, Rules

A, B, C = 1, 2, 3
TEN = 10_000_000
FEES = [Fee(1, TEN), Fee(2, TEN), Fee(3, TEN)]
WEIGHTS = {1: {A: 8, B: 2}, 2: {B: 2}, 3: {A: 10, C: 10}}


def shares(rules: Rules, **more: object) -> dict[int, int]:
    values = {"metered": [], "points_micro": 0, "weights": WEIGHTS} | more
    return dict(allocation.allocate_month(FEES, rules=rules, **values).shares)  # type: ignore[arg-type]


def test_a_year_refunded_after_a_hundred_days_has_recognised_a_hundred_days():
    """B-9: 365.00 for a year; after 100 days 100.00 is recognised and 265.00 refunded."""
    year = Service(36_500, date(2026, 1, 1), date(2027, 1, 1))
    assert year.before(date(2026, 4, 11)) == 10_000
    assert year.unserved(date(2026, 4, 11)) == 26_500


def test_a_year_is_recognised_day_by_day():
    """B-10: 120.00 of cash is 120 x days / 365 of revenue, whatever the month."""
    year = Service(12_000, date(2026, 1, 1), date(2027, 1, 1))
    assert year.before(date(2026, 2, 1)) == 12_000 // 365 * 31 + 31
    assert year.before(date(2027, 1, 1)) == 12_000


@given(st.integers(0, 10**10), st.integers(1, 800), st.data())
def test_days_sum_to_the_fee_and_differ_by_one_unit_at_most(net, length, data):
    start = date(2026, 1, 1)
    service = Service(net, start, start + timedelta(days=length))
    each = [service.on(start + timedelta(days=day)) for day in range(length)]
    assert sum(each) == net
    assert max(each) - min(each) <= 1
    assert service.on(start - timedelta(days=1)) == service.on(service.end) == 0
    cut = start + timedelta(days=data.draw(st.integers(0, length)))
    assert service.before(cut) + service.unserved(cut) == net


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("PRO_RATA", {A: 16_875_000, B: 3_750_000, C: 9_375_000}),
        ("USER_CENTRIC", {A: 13_000_000, B: 12_000_000, C: 5_000_000}),
        ("SHAPLEY", {A: 10_000_000, B: 15_000_000, C: 5_000_000}),
    ],
)
def test_three_subscribers_are_shared_by_each_method_as_worked_out(method, expected):
    """B-7."""
    assert shares(Rules(method=method)) == expected


def test_fixed_weights_share_whatever_was_used():
    assert shares(Rules(method="FIXED", fixed_weights={A: 1, C: 2})) == {A: 10_000_000, C: 20_000_000}


def test_inflating_ones_own_usage_pays_least_where_each_fee_is_its_own():
    inflated = {**WEIGHTS, 1: {A: 8, B: 200}}
    gain = {m: shares(Rules(method=m), weights=inflated)[B] - shares(Rules(method=m))[B] for m in METHODS[:3]}
    assert gain["PRO_RATA"] > gain["USER_CENTRIC"] > gain["SHAPLEY"] == 0


def test_a_subscriber_who_used_nothing_goes_by_the_rule():
    idle = {key: value for key, value in WEIGHTS.items() if key != 2}
    pro_rata = allocation.allocate_month(FEES, metered=[], points_micro=0, weights=idle, rules=Rules())
    assert sum(pro_rata.shares.values()) == 3 * TEN
    operator = allocation.allocate_month(
        FEES, metered=[], points_micro=0, weights=idle, rules=Rules(zero_use="OPERATOR")
    )
    assert (sum(operator.shares.values()), operator.operator_micro) == (2 * TEN, TEN)
    carried = allocation.allocate_month(FEES, metered=[], points_micro=0, weights=idle, rules=Rules(zero_use="CARRY"))
    assert (carried.operator_micro, carried.carried_micro) == (0, TEN)


def test_metered_benefits_are_paid_first_and_up_to_their_cap():
    metered = [MeteredUse(A, "DELIVERY", 4, 2_000_000), MeteredUse(B, "DELIVERY", 9, 2_000_000, 5_000_000)]
    found = allocation.allocate_month(FEES, metered=metered, points_micro=1_000_000, weights=WEIGHTS,
                                      rules=Rules(reserve_bp=500, operator_bp=2000))  # fmt: skip
    assert found.metered == {(A, "DELIVERY"): 8_000_000, (B, "DELIVERY"): 5_000_000}
    assert (found.reserve_micro, found.operator_micro) == (800_000, 3_200_000)
    assert sum(found.shares.values()) == 12_000_000


@pytest.mark.parametrize("shortage", ["OPERATOR", "HAIRCUT"])
def test_fees_that_do_not_cover_what_is_owed_are_topped_up_or_cut_for_all_alike(shortage):
    metered = [MeteredUse(A, "X", 4, TEN), MeteredUse(B, "X", 2, TEN)]
    found = allocation.allocate_month(FEES, metered=metered, points_micro=0, weights=WEIGHTS,
                                      rules=Rules(shortage=shortage))  # fmt: skip
    if shortage == "OPERATOR":
        assert (found.added_micro, sum(found.metered.values())) == (3 * TEN, 6 * TEN)
    else:
        assert (found.added_micro, found.metered) == (0, {(A, "X"): 2 * TEN, (B, "X"): TEN})
    assert not any(found.shares.values())


weights = st.dictionaries(
    st.integers(1, 8), st.dictionaries(st.integers(1, 5), st.integers(0, 50), max_size=4), max_size=8
)
many_fees = st.lists(st.integers(0, 10**9), min_size=1, max_size=8)


@given(
    many_fees,
    weights,
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 50), st.integers(0, 10**7)), max_size=4),
    st.integers(0, 10**8),
    st.sampled_from(METHODS),
    st.sampled_from(["PRO_RATA", "OPERATOR", "CARRY"]),
    st.sampled_from(["OPERATOR", "HAIRCUT"]),
    st.integers(0, 5000),
    st.randoms(),
)
def test_everything_that_came_in_goes_somewhere_and_order_does_not_matter(
    amounts, used, meters, points, method, zero_use, shortage, share_bp, shuffler
):
    fees = [Fee(number, amount) for number, amount in enumerate(amounts, start=1)]
    metered = [MeteredUse(partner, f"B{n}", units, rate) for n, (partner, units, rate) in enumerate(meters)]
    rules = Rules(method, zero_use, shortage, share_bp, share_bp, {1: 3, 4: 1})
    found = allocation.allocate_month(fees, metered=metered, points_micro=points, weights=used, rules=rules)
    assert found.total_micro == found.pool_micro + found.added_micro == sum(amounts) + found.added_micro
    assert min([0, *found.shares.values(), *found.metered.values(), found.operator_micro, found.carried_micro]) == 0
    shuffler.shuffle(fees)
    shuffler.shuffle(metered)
    again = dict(reversed(list(used.items())))
    assert allocation.allocate_month(fees, metered=metered, points_micro=points, weights=again, rules=rules) == found
    others = allocation.compare_methods(fees, metered=metered, points_micro=points, weights=used, rules=rules)
    assert others[method] == replace(found)
    assert len({each.pool_micro for each in others.values()}) == 1


def test_fees_below_what_charging_them_cost_are_refused():
    with pytest.raises(ValueError, match="cover"):
        allocation.allocate_month([Fee(1, 1, 2)], metered=[], points_micro=0, weights={}, rules=Rules())
