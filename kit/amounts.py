"""Integers for value: points, minor units of a currency, micro-units, basis points; rounding and allocation.

One currency unit is 1,000,000 micro-units whatever its number of decimals, so a price in micro-units per point
times points is exact. No float enters or leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NewType

Points = NewType("Points", int)
Minor = NewType("Minor", int)
Micro = NewType("Micro", int)
BasisPoints = NewType("BasisPoints", int)

MICRO_PER_UNIT = 1_000_000
BASIS = 10_000
LARGEST = 2**63 - 1

# ISO 4217 exponents of the currencies whose minor unit is not a hundredth.
_EXPONENTS = {
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
    "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip
_MICRO_PER_MINOR = {code: MICRO_PER_UNIT // int(10**decimals) for code, decimals in _EXPONENTS.items()}


def exponent(currency_code: str) -> int:
    """Decimals of a currency's minor unit (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD."""
    return _EXPONENTS.get(currency_code, 2)


def minor_from_decimal(amount: Decimal, currency_code: str) -> Minor:
    """Minor units of an exact decimal amount. Rejects, with ValueError, what is not a whole number of them."""
    try:
        scaled = amount.scaleb(exponent(currency_code))
        is_whole = scaled.is_finite() and scaled == scaled.to_integral_value() and abs(scaled) <= LARGEST
    except ArithmeticError:  # 1e999999, say
        is_whole = False
    if not is_whole or (amount and not scaled):  # what is too small for the context became nothing
        raise ValueError(f"not a whole number of minor units of {currency_code}")
    return Minor(int(scaled))


def decimal_from_minor(amount_minor: int, currency_code: str) -> Decimal:
    """Exact decimal of an amount in minor units, with the currency's own number of decimals."""
    return Decimal(amount_minor).scaleb(-exponent(currency_code))


@lru_cache(maxsize=256)
def micro_per_minor(currency_code: str) -> int:
    """Micro-units in one minor unit of a currency: 10,000 for EUR."""
    return _MICRO_PER_MINOR.get(currency_code, 10_000)


def divide_half_even(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest integer, ties to the even one. The one rounding rule for money shown."""
    if denominator <= 0:
        raise ValueError("denominator must be positive")
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        quotient += 1
    return quotient


def minor_from_micro(amount_micro: int, currency_code: str) -> Minor:
    """Minor units of an amount in micro-units, half-even."""
    return Minor(divide_half_even(amount_micro, micro_per_minor(currency_code)))


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split a non-negative integer in proportion to weights: largest remainder, ties to the earlier part.

    The parts sum to the total and each is within one of its exact share. All weights zero puts everything on the
    first part. Rejects, with ValueError, a negative total or weight, or a total with nothing to put it on.
    """
    if total < 0 or min(weights, default=0) < 0:
        raise ValueError("allocate takes no negative amounts")
    if total == 0:
        return [0] * len(weights)
    if not weights:
        raise ValueError("nothing to allocate to")
    whole = sum(weights)
    if whole == 0 or len(weights) == 1:
        return [total, *([0] * (len(weights) - 1))]
    shares = [divmod(total * weight, whole) for weight in weights]
    parts = [quotient for quotient, _ in shares]
    by_remainder = sorted(range(len(weights)), key=lambda index: (-shares[index][1], index))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts
