"""PURE: what a partner may come to owe, how much more it may issue, and what is taken where it does not pay.

Amounts are micro-units, positive. A cap is what a partner may owe beyond what covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kit.amounts import Micro
from partners.terms import SettlementTerms, Terms
from settlement.rating import OPERATOR, Stock, Stocks
from settlement.windows.shares import Outstanding

ALERT, PENDING_HOLD, BLOCK = "ALERT", "PENDING_HOLD", "BLOCK"
PREFUNDING, HOLDBACK, COLLATERAL, OPERATORS = "PREFUNDING", "HOLDBACK", "COLLATERAL", "OPERATOR"


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where a partner stands against its cap in a currency.

    debit_micro is what it owes and no run has settled; pending_micro what points that are out there will cost it: when
    they activate, or when they are used; cover_micro what it deposited and what is retained of it. limit_points is how
    many more it may issue at the price of its agreement; None where it is not held to the cap.
    """

    partner_id: int
    currency: str
    debit_micro: int
    pending_micro: int
    cover_micro: int
    cap_micro: int
    policy: str
    limit_points: int | None

    @property
    def exposure_micro(self) -> int:
        """What the operator would lose if the partner paid nothing any more; never below zero."""
        return max(0, self.debit_micro + self.pending_micro - self.cover_micro)

    @property
    def is_exceeded(self) -> bool:
        """Whether it is above the cap."""
        return self.exposure_micro > self.cap_micro


@dataclass(frozen=True, slots=True)
class Draw:
    """What one source of the waterfall gives, minor units above zero."""

    source: str
    amount_minor: int


def exposure(
    terms: SettlementTerms, price_micro: int, *, position_micro: int, pending_micro: int, cover_micro: int
) -> Exposure | None:
    """Where a partner stands; None where its agreement knows no cap.

    position_micro is signed, positive where it is owed; price_micro is what one more point may come to cost it.
    """
    if terms.debit_cap_micro is None:
        return None
    debit = max(0, -position_micro)
    room = terms.debit_cap_micro + cover_micro - debit - pending_micro
    held = terms.cap_policy in (PENDING_HOLD, BLOCK) and price_micro > 0
    return Exposure(
        partner_id=terms.partner_id,
        currency=terms.currency,
        debit_micro=debit,
        pending_micro=pending_micro,
        cover_micro=cover_micro,
        cap_micro=terms.debit_cap_micro,
        policy=terms.cap_policy,
        limit_points=max(0, room) // price_micro if held else None,
    )


def outstanding(
    points: Iterable[Outstanding], terms: Mapping[int, Terms], stocks: Stocks
) -> dict[tuple[int, str], Micro]:
    """What points that are out there will cost whoever carries them, by carrier and currency.

    Pending ones at what is billed when they become spendable, and all at what is billed when they are used. Nothing is
    taken off for points that will never be used: that is an estimate.
    """
    sums: dict[tuple[int, str], Micro] = {}
    for one in points:
        lot = terms.get(one.lot_terms_id)
        if lot is None:
            continue
        held = stocks.get((one.funder_id, one.lot_terms_id)) or Stock(one.funder_id, lot.billed_fund_micro)
        if held.carrier_id != OPERATOR:
            at_use = lot.fund_price_micro - held.billed_fund_micro
            at_once = held.billed_fund_micro + lot.service_price_micro
            cost = one.pending * at_once + (one.pending + one.spendable) * at_use
            key = (held.carrier_id, lot.currency)
            sums[key] = Micro(sums.get(key, 0) + cost)
    return sums


def waterfall(shortfall_minor: int, *, prefunding_minor: int, holdback_minor: int, collateral_minor: int) -> list[Draw]:
    """What each source gives for what a partner did not pay, in the order of the rules; together they are all of it.

    What it deposited in advance, what was retained of it, its collateral, and last the operator's own money. Members'
    points are never among them.
    """
    if shortfall_minor < 0 or min(prefunding_minor, holdback_minor, collateral_minor) < 0:
        raise ValueError("a shortfall and what covers it are not negative")
    found, left = [], shortfall_minor
    for source, there in (
        (PREFUNDING, prefunding_minor), (HOLDBACK, holdback_minor), (COLLATERAL, collateral_minor), (OPERATORS, left),
    ):  # fmt: skip
        taken = left if source == OPERATORS else min(left, there)
        if taken:
            found.append(Draw(source, taken))
        left -= taken
    return found
