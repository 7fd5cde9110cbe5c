"""PURE: from one currency to another at a fixing, and the entries that leave exchange clearing at zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kit.amounts import divide_half_even
from settlement.money import accounts
from settlement.money.entries import Entry, Posting, checked

DECIMALS = 10
_ONE = 10**DECIMALS
SWEEP = "FX_SWEEP"


class Unfixed(Exception):  # noqa: N818 - it is the state of the day
    """There is no fixing for a currency on a day."""


@dataclass(frozen=True, slots=True)
class Fixing:
    """What one unit of a currency was worth in units of the base currency on a day, and who says so."""

    day: date
    currency: str
    base_currency: str
    rate: Decimal
    source: str


def convert(amount_micro: int, rate: Decimal) -> int:
    """An amount at a rate of at most ten decimals, micro-units to micro-units, half-even."""
    scaled = rate.scaleb(DECIMALS)
    if scaled != scaled.to_integral_value() or scaled <= 0:
        raise ValueError(f"a rate is above zero and has at most {DECIMALS} decimals")
    return divide_half_even(amount_micro * int(scaled), _ONE)


def sweep(balances: Mapping[str, int], fixings: Mapping[str, Fixing], base_currency: str) -> list[Entry]:
    """The entries that bring exchange clearing to zero, given what it comes to by currency (Dr positive).

    What is left in a foreign currency goes to exchange differences, and what it is worth at the fixing to the same
    account in the base currency: the two are an open position. What then remains in the base currency is the spread of
    the redemptions. Raises Unfixed.
    """
    found, left = [], balances.get(base_currency, 0)
    for currency, amount in sorted(balances.items()):
        if currency == base_currency or not amount:
            continue
        if currency not in fixings:
            raise Unfixed(f"there is no fixing for {currency}")
        worth = convert(amount, fixings[currency].rate)
        found.append(_moved(currency, -amount, accounts.DIFFERENCES))
        if worth:
            found.append(_moved(base_currency, worth, accounts.DIFFERENCES))
        left += worth
    if left:
        found.append(_moved(base_currency, -left, accounts.SPREAD))
    return found


def _moved(currency: str, amount_micro: int, other: str) -> Entry:
    return checked(
        Entry(
            SWEEP,
            (Posting(accounts.FX_CLEARING, currency, amount_micro), Posting(other, currency, -amount_micro)),
        )
    )
