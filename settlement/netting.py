"""PURE: many amounts to one per party, and who then pays whom. The operator stands between all partners.

Signs as in rating: positive is what the party receives, negative what it pays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from partners.terms import Terms
from settlement.rating import OPERATOR, REDEMPTION, REFUND, ClearingGroup, Unrated

PAY_IN = "PAY_IN"
PAY_OUT = "PAY_OUT"


@dataclass(frozen=True, slots=True)
class Position:
    """What a party receives (positive) or pays (negative) in one currency, in units the caller chose."""

    party_id: int
    currency: str
    amount: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One payment: PAY_IN from a partner to the operator, PAY_OUT from the operator to a partner; amount > 0."""

    partner_id: int
    currency: str
    direction: str
    amount: int


@dataclass(frozen=True, slots=True)
class Bilateral:
    """A report, never a debt: points that `issuer_id` issued and `redeemer_id` took, refunds taken off.

    fund_micro is their fund part in the issuer's fund_currency, reimbursement_micro what the redeemer gets for them
    in its own currency.
    """

    issuer_id: int
    redeemer_id: int
    fund_currency: str
    currency: str
    points: int
    fund_micro: int
    reimbursement_micro: int


def net(positions: Iterable[Position]) -> list[Position]:
    """One position per party and currency, in order of both; one that comes to zero is kept."""
    sums: dict[tuple[int, str], int] = defaultdict(int)
    for position in positions:
        sums[position.party_id, position.currency] += position.amount
    return [Position(party, currency, sums[party, currency]) for party, currency in sorted(sums)]


def operator_positions(partners: Iterable[Position]) -> list[Position]:
    """The operator's position per currency: the other side of all the partners'."""
    others = [Position(OPERATOR, p.currency, -p.amount) for p in partners if p.party_id != OPERATOR]
    return net(others)


def instructions(positions: Iterable[Position]) -> list[Instruction]:
    """At most one payment per partner and currency; together they leave every position at zero."""
    return [
        Instruction(p.party_id, p.currency, PAY_OUT if p.amount > 0 else PAY_IN, abs(p.amount))
        for p in net(positions)
        if p.party_id != OPERATOR and p.amount
    ]


def gross(partner_id: int, currency: str, amounts: Iterable[int]) -> list[Instruction]:
    """The payments of a partner that is not netted: all it owes in one, all it is owed in another."""
    owed = list(amounts)
    sums = ((PAY_IN, -sum(n for n in owed if n < 0)), (PAY_OUT, sum(n for n in owed if n > 0)))
    return [Instruction(partner_id, currency, direction, amount) for direction, amount in sums if amount]


def bilateral(groups: Iterable[ClearingGroup], terms: Mapping[int, Terms]) -> list[Bilateral]:
    """Who honoured whose points, at face: issuer by redeemer, points and money. A memo for people."""
    sums: dict[tuple[int, int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for group in groups:
        if group.kind not in (REDEMPTION, REFUND):
            continue
        way = 1 if group.kind == REDEMPTION else -1
        fund_currency, fund = _price(terms, group.lot_terms_id, "fund_price_micro")
        currency, reimbursement = _price(terms, group.terms_id, "reimbursement_price_micro")
        total = sums[group.issuer_id, group.partner_id, fund_currency, currency]
        for index, price in enumerate((1, fund, reimbursement)):
            total[index] += way * group.points * price
    return [Bilateral(*key, *sums[key]) for key in sorted(sums)]


def _price(terms: Mapping[int, Terms], terms_id: int, part: str) -> tuple[str, int]:
    if terms_id == 0:
        return "", 0
    if terms_id not in terms:
        raise Unrated(f"agreement version {terms_id} is unknown")
    return terms[terms_id].currency, int(getattr(terms[terms_id], part))
