"""PURE: what clearing events are worth. Sums of points, priced by the agreement versions that they were made under.

Prices are integer micro-units per point, so rating a sum is the sum of ratings. Signs everywhere: positive is what
the named party receives, negative what it pays. The operator is the counterparty of every partner: a partner's
positive amount is owed by the operator, its negative one to the operator. There is no debt between partners.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from partners.terms import Terms

OPERATOR = 0

ACTIVATION = "ACTIVATION"
REDEMPTION = "REDEMPTION"
REFUND = "REFUND"
RETURN = "RETURN"
EXPIRY = "EXPIRY"
PENDING = "PENDING"
PENDING_RETURN = "PENDING_RETURN"
HELD = "HELD"
RETURN_OWED = "RETURN_OWED"
REPAYMENT = "REPAYMENT"
FORGIVEN = "FORGIVEN"
TRANSFER = "TRANSFER"
ADJUSTMENT = "ADJUSTMENT"
ADJUSTMENT_TAKEN = "ADJUSTMENT_TAKEN"

# The ledger's accounts: 1 available, 2 pending, 3 held, 4 debt, 10 issued, 11 redeemed, 12 expired, 13 returned,
# 14 transferred, 15 adjusted, 19 forgiven. Points that move in a way that is not listed here have no price yet, and
# must not pass for free.
_KINDS = {
    (10, 1): ACTIVATION,
    (2, 1): ACTIVATION,
    (1, 11): REDEMPTION,
    (11, 1): REFUND,
    (1, 13): RETURN,
    (1, 12): EXPIRY,
    (10, 2): PENDING,
    (2, 13): PENDING_RETURN,
    (1, 3): HELD,
    (3, 1): HELD,
    (3, 11): REDEMPTION,
    (4, 13): RETURN_OWED,
    (1, 4): REPAYMENT,
    (19, 13): FORGIVEN,
    (1, 14): TRANSFER,
    (2, 14): TRANSFER,
    (14, 1): TRANSFER,
    (14, 2): TRANSFER,
    (15, 1): ADJUSTMENT,
    (1, 15): ADJUSTMENT_TAKEN,
}
_ISSUED = (ACTIVATION, ADJUSTMENT)
_TAKEN_BACK = (RETURN, RETURN_OWED, ADJUSTMENT_TAKEN)
_BY_LOT = (*_ISSUED, *_TAKEN_BACK, FORGIVEN)  # its funder's affair, at the prices of the lot's terms
_OBLIGATION_SIGN = {
    ACTIVATION: 1, ADJUSTMENT: 1, REFUND: 1, REDEMPTION: -1, RETURN: -1, ADJUSTMENT_TAKEN: -1, EXPIRY: -1,
    REPAYMENT: -1,
}  # fmt: skip


class Unrated(Exception):  # noqa: N818 - it is the state of the event
    """Points moved in a way, or under terms, that nobody can price. A fault of the programme, never a business "no"."""


@dataclass(frozen=True, slots=True)
class ClearingGroup:
    """Clearing events of one kind with the same parties and terms: how many, and their points together.

    funder_id pays for the points, partner_id is where they moved; 0 is the operator. lot_terms_id priced the lot,
    terms_id the event.
    """

    kind: str
    issuer_id: int
    funder_id: int
    partner_id: int
    lot_terms_id: int
    terms_id: int
    points: int
    count: int


@dataclass(frozen=True, slots=True)
class RatedLine:
    """What a party receives (positive) or pays (negative) for one kind of event under one agreement version.

    party_id 0 is the operator. points and count are not signed; abs(amount_micro) = points x unit_price_micro.
    """

    party_id: int
    currency: str
    kind: str
    terms_id: int
    points: int
    count: int
    unit_price_micro: int
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of the operator's obligation at face for one funder's points under one agreement version.

    points and amount_micro are signed: positive adds to what must be kept. unit_price_micro is the fund part billed.
    """

    funder_id: int
    terms_id: int
    currency: str
    kind: str
    points: int
    unit_price_micro: int
    amount_micro: int


def kind_of(debit: int, credit: int) -> str:
    """The kind of clearing event that a posting between two of the ledger's accounts is. Raises Unrated."""
    try:
        return _KINDS[debit, credit]
    except KeyError:
        raise Unrated(f"points moved from account kind {debit} to {credit}, which has no price") from None


def rate(groups: Iterable[ClearingGroup], terms: Mapping[int, Terms]) -> list[RatedLine]:
    """The partners' lines: what each receives or pays, one line per currency, kind and agreement version.

    ACTIVATION, ADJUSTMENT: the funder pays the issue price of the lot's terms. RETURN, RETURN_OWED, ADJUSTMENT_TAKEN:
    it gets it back, for points that were taken or that the member owes the operator from then on. REDEMPTION: the
    partner that took the points receives the reimbursement price of its own terms. REFUND: it gives that back.
    FORGIVEN: the funder reads how many points nobody gives back, at nothing. Expiry, repayment of what a member owes,
    transfers between holders and whatever is still pending move no partner's money; what the operator funds bills
    nobody.
    Raises Unrated for terms that are missing.
    """
    return _sum_lines(line for group in groups for line in _partner_lines(group, terms) if line.party_id != OPERATOR)


def rate_operator(groups: Iterable[ClearingGroup], terms: Mapping[int, Terms]) -> list[RatedLine]:
    """The operator's own lines, found without the partners': FUND and SERVICE received, REIMBURSEMENT paid, and
    each of them taken back (…_RETURNED); FORGIVEN at nothing. Per currency they sum to the partners' lines with the
    sign turned.

    Raises Unrated for terms that are missing.
    """
    return _sum_lines(line for group in groups for line in _operator_lines(group, terms))


def rate_obligation(groups: Iterable[ClearingGroup], terms: Mapping[int, Terms]) -> list[Movement]:
    """How the obligation at face changed, per funder, terms and kind: by the fund part of every point that became or
    ceased to be spendable. Of points that a member owes only what repays them counts. Points that the operator funds
    (funder 0) count: their fund part is its own expense.

    Raises Unrated for terms that are missing.
    """
    sums: dict[Movement, int] = defaultdict(int)
    for group in groups:
        sign = _OBLIGATION_SIGN.get(group.kind)
        if sign is None or is_unpriced(group.funder_id, group.lot_terms_id):
            continue
        lot = _terms(terms, group.lot_terms_id)
        price = lot.fund_price_micro
        sums[Movement(group.funder_id, lot.terms_id, lot.currency, group.kind, 0, price, 0)] += sign * group.points
    moved = [replace(key, points=points, amount_micro=points * key.unit_price_micro) for key, points in sums.items()]
    return sorted(moved, key=lambda m: (m.funder_id, m.terms_id, m.kind))


def unit_price_micro(kind: str, lot_terms_id: int, terms_id: int, terms: Mapping[int, Terms]) -> int:
    """What a partner pays or is paid for one point of a clearing event, micro-units, not signed. Raises Unrated."""
    if kind in _ISSUED + _TAKEN_BACK:
        return _terms(terms, lot_terms_id).issue_price_micro
    if kind in (REDEMPTION, REFUND):
        return _terms(terms, terms_id).reimbursement_price_micro
    return 0


def sign(kind: str) -> int:
    """1 where a partner receives money for this kind of event, -1 where it pays, 0 where no money moves."""
    if kind in _ISSUED:
        return -1
    return 1 if kind in _TAKEN_BACK else {REDEMPTION: 1, REFUND: -1}.get(kind, 0)


def _partner_lines(group: ClearingGroup, terms: Mapping[int, Terms]) -> Iterable[RatedLine]:
    if sign(group.kind) == 0 and group.kind != FORGIVEN:
        return
    by_lot = group.kind in _BY_LOT
    party, terms_id = (group.funder_id, group.lot_terms_id) if by_lot else (group.partner_id, group.terms_id)
    if not is_unpriced(party, terms_id):
        price = unit_price_micro(group.kind, group.lot_terms_id, group.terms_id, terms)
        yield _line(group, party, group.kind, sign(group.kind), price, _terms(terms, terms_id))


def _operator_lines(group: ClearingGroup, terms: Mapping[int, Terms]) -> Iterable[RatedLine]:
    if group.kind == FORGIVEN and group.funder_id != OPERATOR:
        yield _line(group, OPERATOR, FORGIVEN, 0, 0, _terms(terms, group.lot_terms_id))
    elif group.kind in _BY_LOT and group.funder_id != OPERATOR:
        lot = _terms(terms, group.lot_terms_id)
        way, suffix = (1, "") if group.kind in _ISSUED else (-1, "_RETURNED")
        yield _line(group, OPERATOR, "FUND" + suffix, way, lot.fund_price_micro, lot)
        yield _line(group, OPERATOR, "SERVICE" + suffix, way, lot.service_price_micro, lot)
    elif group.kind in (REDEMPTION, REFUND) and group.partner_id != OPERATOR:
        own = _terms(terms, group.terms_id)
        way, suffix = (-1, "") if group.kind == REDEMPTION else (1, "_RETURNED")
        yield _line(group, OPERATOR, "REIMBURSEMENT" + suffix, way, own.reimbursement_price_micro, own)


def _line(group: ClearingGroup, party: int, kind: str, way: int, price: int, terms: Terms) -> RatedLine:
    amount = way * group.points * price
    return RatedLine(party, terms.currency, kind, terms.terms_id, group.points, group.count, price, amount)


def _sum_lines(lines: Iterable[RatedLine]) -> list[RatedLine]:
    sums: dict[tuple[int, str, str, int], RatedLine] = {}
    for line in lines:
        key = (line.party_id, line.currency, line.kind, line.terms_id)
        held = sums.get(key)
        sums[key] = line if held is None else add(held, line)
    return [sums[key] for key in sorted(sums)]


def add(one: RatedLine, other: RatedLine) -> RatedLine:
    """Two lines of the same party, currency, kind and terms as one."""
    return replace(
        one,
        points=one.points + other.points,
        count=one.count + other.count,
        amount_micro=one.amount_micro + other.amount_micro,
    )


def fund_price_micro(terms: Mapping[int, Terms], terms_id: int) -> int:
    """What of the price of a point issued under a version is kept to redeem it, micro-units. Raises Unrated."""
    return _terms(terms, terms_id).fund_price_micro


def is_unpriced(party_id: int, terms_id: int) -> bool:
    """The operator signs no agreement with itself: what it gives away or takes back needs no price."""
    return party_id == OPERATOR and terms_id == 0


def _terms(terms: Mapping[int, Terms], terms_id: int) -> Terms:
    try:
        return terms[terms_id]
    except KeyError:
        raise Unrated(f"agreement version {terms_id} is unknown") from None
