"""Integers for value: rounding, allocation and the way to decimals and back."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import amounts

CURRENCIES = st.sampled_from(["EUR", "RUB", "JPY", "KWD"])
MINOR = st.integers(-amounts.LARGEST, amounts.LARGEST)
WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


@given(st.integers(0, 10**15), WEIGHTS)
def test_allocated_parts_sum_to_the_total_and_stay_within_one_of_their_exact_share(
    total: int, weights: list[int]
) -> None:
    parts = amounts.allocate(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        if whole:
            assert abs(part - Fraction(total * weight, whole)) < 1


@given(st.integers(0, 10**6), WEIGHTS)
def test_a_part_without_weight_gets_nothing_while_another_has_some(total: int, weights: list[int]) -> None:
    parts = amounts.allocate(total, [*weights, 1])
    assert all(part == 0 for part, weight in zip(parts, weights, strict=False) if weight == 0)


@given(st.integers(0, 10**6), st.integers(1, 1000), st.integers(1, 20))
def test_equal_weights_favour_the_earlier_parts(total: int, weight: int, count: int) -> None:
    each, rest = divmod(total, count)
    assert amounts.allocate(total, [weight] * count) == [each + (index < rest) for index in range(count)]


def test_the_largest_remainder_gets_the_odd_unit() -> None:
    assert amounts.allocate(10, [1, 2, 4]) == [1, 3, 6]
    assert amounts.allocate(7, [0, 0]) == [7, 0]
    assert amounts.allocate(0, []) == []


@pytest.mark.parametrize(("total", "weights"), [(-1, [1]), (1, [-1, 2]), (1, [])])
def test_what_cannot_be_allocated_is_an_error(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError):
        amounts.allocate(total, weights)


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**12))
def test_division_rounds_as_decimal_does_half_even(numerator: int, denominator: int) -> None:
    # An exact quotient has finitely many digits only for some denominators: compare at the half itself.
    exact = Fraction(numerator, denominator)
    floor = numerator // denominator
    twice = Fraction(2) * (exact - floor)
    as_decimal = Decimal(floor) + (Decimal("0.5") if twice == 1 else Decimal("0.2") if twice < 1 else Decimal("0.8"))
    expected = int(EXACT.quantize(as_decimal, Decimal(1)))
    assert amounts.divide_half_even(numerator, denominator) == expected


@given(st.integers(-(10**15), 10**15))
def test_a_tie_goes_to_the_even_neighbour(half_units: int) -> None:
    expected = int(EXACT.quantize(Decimal(half_units) / 2, Decimal(1)))
    assert amounts.divide_half_even(half_units, 2) == expected


@pytest.mark.parametrize("denominator", [0, -3])
def test_a_denominator_that_is_not_positive_is_an_error(denominator: int) -> None:
    with pytest.raises(ValueError):
        amounts.divide_half_even(1, denominator)


@given(MINOR, CURRENCIES)
def test_minor_units_survive_the_way_to_decimal_and_back(amount_minor: int, currency: str) -> None:
    shown = amounts.decimal_from_minor(amount_minor, currency)
    assert amounts.minor_from_decimal(shown, currency) == amount_minor


@given(st.integers(-(10**14), 10**14), CURRENCIES)
def test_minor_units_survive_the_way_to_micro_units_and_back(amount_minor: int, currency: str) -> None:
    amount_micro = amount_minor * amounts.micro_per_minor(currency)
    assert amounts.minor_from_micro(amount_micro, currency) == amount_minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0.001", "EUR"),
        ("0.5", "JPY"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        ("92233720368547758.08", "EUR"),
        ("9e999999", "EUR"),
        ("1e-999999999", "EUR"),
        ("sNaN", "EUR"),
    ],
)
def test_a_decimal_that_is_no_whole_number_of_minor_units_is_an_error(amount: str, currency: str) -> None:
    with pytest.raises(ValueError):
        amounts.minor_from_decimal(Decimal(amount), currency)


def test_currencies_have_their_own_number_of_decimals() -> None:
    assert str(amounts.decimal_from_minor(1050, "EUR")) == "10.50"
    assert str(amounts.decimal_from_minor(1050, "JPY")) == "1050"
    assert str(amounts.decimal_from_minor(1050, "KWD")) == "1.050"
