"""PURE: what a partner may come to owe, how much more it may issue, and what is taken where it does not pay.

Amounts are micro-units, positive. A cap is what a partner may owe beyond what covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
    they activate, or when they are used; withheld_micro what of it waits until there is room again. cover_micro is what
    it deposited and what is retained of it. limit_points is how many more it may issue at the price of its agreement
    (under PENDING_HOLD: without being withheld); None where it is not held to the cap.
    """

    partner_id: int
    currency: str
    debit_micro: int
    pending_micro: int
    cover_micro: int
    cap_micro: int
    policy: str
    limit_points: int | None
    withheld_micro: int = 0

    @property
    def exposure_micro(self) -> int:
        """What the operator would lose if the partner paid nothing any more; never below zero. What is withheld it
        would not have to honour."""
        return max(0, self.debit_micro + self.pending_micro - self.withheld_micro - self.cover_micro)

    @property
    def room_micro(self) -> int:
        """What it may still come to owe; below zero where it is above the cap."""
        return self.cap_micro + self.cover_micro - self.debit_micro - self.pending_micro + self.withheld_micro

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
    terms: SettlementTerms, price_micro: int, *, position_micro: int, pending_micro: int, cover_micro: int,
    withheld_micro: int = 0,
) -> Exposure | None:  # fmt: skip
    """Where a partner stands; None where its agreement knows no cap.

    position_micro is signed, positive where it is owed; price_micro is what one more point may come to cost it. As long
    as anything is withheld, what comes next has to wait behind it.
    """
    if terms.debit_cap_micro is None:
        return None
    found = Exposure(
        partner_id=terms.partner_id,
        currency=terms.currency,
        debit_micro=max(0, -position_micro),
        pending_micro=pending_micro,
        cover_micro=cover_micro,
        cap_micro=terms.debit_cap_micro,
        policy=terms.cap_policy,
        limit_points=None,
        withheld_micro=withheld_micro,
    )
    return replace(found, limit_points=_limit(found, price_micro))


def let_go(one: Exposure, costs: Sequence[int], price_micro: int, *, left_points: int) -> tuple[int, Exposure]:
    """How many of the lots that wait, the oldest first, there is room for, and where the partner stands then.

    costs are what each comes to cost, micro-units; left_points is how many more points tills may count against the
    limit in force: they may be granted before another limit is set, so their room is not free. None overtakes another.
    Where the policy withholds nothing any more, all of them go.
    """
    room, number = one.room_micro - max(0, left_points) * price_micro, 0
    for cost in costs:
        if one.policy != ALERT and cost > room:
            break
        room -= cost
        number += 1
    after = replace(one, withheld_micro=max(0, one.withheld_micro - sum(costs[:number])))
    return number, replace(after, limit_points=_limit(after, price_micro))


def _limit(one: Exposure, price_micro: int) -> int | None:
    if one.policy not in (PENDING_HOLD, BLOCK) or price_micro <= 0:
        return None
    return 0 if one.withheld_micro else max(0, one.room_micro) // price_micro


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
