"""What a promotion brought, against textbook figures, and by properties of a fair and of an unfair draw."""

from __future__ import annotations

import random
from statistics import fmean, variance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.promotions import uplift
from partners.promotions.uplift import Arm, as_drawn, measured


def arm(sales: list[int]) -> Arm:
    return Arm(len(sales), sum(sales), sum(each * each for each in sales))


SALES = st.lists(st.integers(min_value=-5_000, max_value=100_000), min_size=30, max_size=80)


@settings(max_examples=30)
@given(SALES, SALES)
def test_the_interval_is_welchs_and_all_figures_are_of_one_piece(treated: list[int], control: list[int]) -> None:
    found = measured(arm(treated), arm(control), None)
    assert found.per_member is not None
    assert found.total_minor is not None
    spread = (variance(treated) / len(treated) + variance(control) / len(control)) ** 0.5
    difference = fmean(treated) - fmean(control)
    assert found.per_member.estimate == pytest.approx(difference, abs=0.51)
    assert found.per_member.low == pytest.approx(difference - 1.959964 * spread, abs=0.51)
    assert found.per_member.high == pytest.approx(difference + 1.959964 * spread, abs=0.51)
    assert found.total_minor.estimate == pytest.approx(difference * len(treated), abs=0.51)
    if found.verdict == uplift.UP:
        assert found.per_member.low >= 0
    elif found.verdict == uplift.DOWN:
        assert found.per_member.high <= 0
    else:
        assert found.per_member.low <= 0 <= found.per_member.high
    assert (found.relative_bp is None) is (sum(control) <= 0)


def test_a_promotion_that_brings_nothing_is_said_to_in_about_one_of_twenty_experiments() -> None:
    drawn = random.Random(7)
    said = 0
    for _ in range(400):
        sales = [round(drawn.lognormvariate(7, 1)) for _ in range(200)]
        said += measured(arm(sales[:150]), arm(sales[150:]), 2_500).verdict in (uplift.UP, uplift.DOWN)
    assert 5 <= said <= 40  # 20 are expected; the draw is always the same one


def test_what_may_not_be_said_is_not() -> None:
    plain = Arm(100, 100_000, 100_000_000)
    assert measured(plain, Arm(0, 0, 0), 1_000) == uplift.Uplift(uplift.NO_HOLDOUT)
    assert measured(plain, Arm(29, 1, 1), None) == uplift.Uplift(uplift.TOO_FEW)
    assert measured(Arm(29, 1, 1), plain, None) == uplift.Uplift(uplift.TOO_FEW)
    assert measured(plain, Arm(100, 1, 1), 1_000) == uplift.Uplift(uplift.NOT_AS_DRAWN)
    assert measured(plain, Arm(100, 0, 0), 5_000).relative_bp is None


def test_a_lopsided_draw_is_seen_once_in_a_thousand() -> None:
    # The critical value of 1 degree of freedom at 0.001 is 10.828 (tables of the chi-square distribution).
    assert as_drawn(5_000, 5_000, 5_000)
    assert as_drawn(5_164, 4_836, 5_000)  # (164 / 50) squared is 10.76
    assert not as_drawn(5_165, 4_835, 5_000)  # 10.89
    assert as_drawn(0, 0, 5_000)
    assert as_drawn(10, 0, 0)
    assert not as_drawn(10, 1, 0)
    assert not as_drawn(1, 10, 10_000)


def test_the_relative_figure_is_of_what_the_others_bought() -> None:
    treated, control = arm([110, 130] * 50), arm([90, 110] * 50)
    found = measured(treated, control, 5_000)
    assert (found.verdict, treated.mean, control.mean) == (uplift.UP, 120, 100)
    assert found.relative_bp is not None
    assert found.relative_bp.estimate == 2_000
    assert found.relative_bp.low < 2_000 < found.relative_bp.high
