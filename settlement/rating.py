"""PURE: what clearing events are worth. Sums of points, priced by the agreement versions that they were made under.

Prices are integer micro-units per point, so rating a sum is the sum of ratings. Signs everywhere: positive is what
the named party receives, negative what it pays. The operator is the counterparty of every partner: a partner's
positive amount is owed by the operator, its negative one to the operator. There is no debt between partners.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from kit.amounts import BASIS
from partners.terms import BY_REDEEMER, Terms

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
OPENING = "OPENING"
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
_USED = {REDEMPTION: -1, REFUND: 1, REPAYMENT: -1}  # whoever carries the points pays (-1), or gets back, what use costs
_PRICED = (*_ISSUED, *_TAKEN_BACK, *_USED, FORGIVEN, EXPIRY)  # their carrier's affair, at the prices of the lot's terms
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


@dataclass(frozen=True, slots=True)
class Stock:
    """Points of one funder and version that are not carried as was signed: after a buy-out, an exit, or an opening.

    carrier_id pays and is paid for them instead of the funder (0: the operator); billed_fund_micro of the fund part of
    each is billed before its use. is_opening: adjustments that give such points bring in what was billed long ago.
    """

    carrier_id: int
    billed_fund_micro: int
    is_opening: bool = False


Stocks = Mapping[tuple[int, int], Stock]
"""Stock by funder and version of terms, as it is for the cut-off that is rated."""
NO_STOCKS: Stocks = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Carried:
    """What a point of a group costs whoever carries it, in micro-units of its version's currency.

    billed_micro of the fund part is paid when the point becomes spendable, use_micro when it is used, service_micro to
    the operator on top. share_micro is the carrier's when the point expires.
    """

    carrier_id: int
    currency: str
    billed_micro: int
    use_micro: int
    service_micro: int
    share_micro: int
    is_opening: bool

    @property
    def fund_micro(self) -> int:
        """The whole fund part."""
        return self.billed_micro + self.use_micro

    @property
    def issue_micro(self) -> int:
        """What is paid when the point becomes spendable."""
        return self.billed_micro + self.service_micro


def carried(group: ClearingGroup, terms: Mapping[int, Terms], stocks: Stocks) -> Carried | None:
    """How the points of a group are carried; None where the operator gave them without any terms. Raises Unrated."""
    if is_unpriced(group.funder_id, group.lot_terms_id):
        return None
    lot = _terms(terms, group.lot_terms_id)
    stock = stocks.get((group.funder_id, group.lot_terms_id)) or Stock(group.funder_id, lot.billed_fund_micro)
    is_operators = stock.carrier_id == OPERATOR
    return Carried(
        carrier_id=stock.carrier_id,
        currency=lot.currency,
        billed_micro=stock.billed_fund_micro,
        use_micro=lot.fund_price_micro - stock.billed_fund_micro,
        service_micro=0 if is_operators else lot.service_price_micro,
        share_micro=0 if is_operators else stock.billed_fund_micro * lot.breakage_share_bp // BASIS,
        is_opening=stock.is_opening,
    )


def kept_at_expiry_micro(funder_id: int, terms: Terms, stocks: Stocks) -> int:
    """What of a point's billed fund part the operator keeps when it expires, micro-units."""
    stock = stocks.get((funder_id, terms.terms_id)) or Stock(funder_id, terms.billed_fund_micro)
    if stock.carrier_id == OPERATOR:
        return stock.billed_fund_micro
    return stock.billed_fund_micro - stock.billed_fund_micro * terms.breakage_share_bp // BASIS


def reimbursement_micro(group: ClearingGroup, terms: Mapping[int, Terms]) -> int:
    """What whoever takes a point of a group is paid for it, micro-units of its own terms' currency; nothing where that
    is the operator or the point was the taker's own gift. Raises Unrated."""
    if group.partner_id == OPERATOR or is_borne_by_redeemer(group, terms):
        return 0
    return _terms(terms, group.terms_id).reimbursement_price_micro


def is_borne_by_redeemer(group: ClearingGroup, terms: Mapping[int, Terms]) -> bool:
    """Whether these points are a gift of whoever takes them. Raises Unrated."""
    return group.lot_terms_id != 0 and _terms(terms, group.lot_terms_id).funding == BY_REDEEMER


def kind_of(debit: int, credit: int) -> str:
    """The kind of clearing event that a posting between two of the ledger's accounts is. Raises Unrated."""
    try:
        return _KINDS[debit, credit]
    except KeyError:
        raise Unrated(f"points moved from account kind {debit} to {credit}, which has no price") from None


def rate(groups: Iterable[ClearingGroup], terms: Mapping[int, Terms], stocks: Stocks = NO_STOCKS) -> list[RatedLine]:
    """The partners' lines: what each receives or pays, one line per currency, kind and agreement version.

    ACTIVATION, ADJUSTMENT: whoever carries the points, as a rule their funder, pays the service part of the lot's terms
    and what of the fund part is billed at once. RETURN, ADJUSTMENT_TAKEN: it gets that back. RETURN_OWED: it gets the
    whole price back, for points that the member had the use of and owes the operator from then on. REDEMPTION: the
    partner that took the points receives the reimbursement price of its own terms, and nothing (REDEMPTION_BORNE) for
    points that are its own gift; REFUND: it gives that back. FUNDED_REDEMPTION, FUNDED_REFUND, FUNDED_REPAYMENT: the
    carrier pays, or gets back, what of the fund part is billed at use only. EXPIRY: it receives its share of what is
    released, if it has one. FORGIVEN: the funder reads how many points nobody gives back, at nothing; OPENING how many
    were brought in that had been billed before. Transfers between holders and whatever is still pending move no
    partner's money; what the operator funds bills nobody.
    Raises Unrated for terms that are missing.
    """
    lines = (line for group in groups for line in _partner_lines(group, terms, stocks))
    return _sum_lines(line for line in lines if line.party_id != OPERATOR)


def rate_operator(
    groups: Iterable[ClearingGroup], terms: Mapping[int, Terms], stocks: Stocks = NO_STOCKS
) -> list[RatedLine]:
    """The operator's own lines, found without the partners': FUND and SERVICE received, REIMBURSEMENT paid, and
    each of them taken back (…_RETURNED); FUND_AT_USE where the fund part was billed at use; BREAKAGE_SHARE paid;
    FORGIVEN and OPENING at nothing. Per currency they sum to the partners' lines with the sign turned.

    Raises Unrated for terms that are missing.
    """
    return _sum_lines(line for group in groups for line in _operator_lines(group, terms, stocks))


def rate_obligation(
    groups: Iterable[ClearingGroup], terms: Mapping[int, Terms], stocks: Stocks = NO_STOCKS
) -> list[Movement]:
    """How the obligation at face changed, per funder, terms and kind: by the fund part that was billed for every point
    that became or ceased to be spendable; by nothing where it is billed at use only. Of points that a member owes only
    what repays them counts. Points that the operator funds (funder 0) count: their fund part is its own expense.

    Raises Unrated for terms that are missing.
    """
    sums: dict[Movement, int] = defaultdict(int)
    for group in groups:
        sign = _OBLIGATION_SIGN.get(group.kind)
        if sign is None or (found := carried(group, terms, stocks)) is None:
            continue
        key = Movement(group.funder_id, group.lot_terms_id, found.currency, group.kind, 0, found.billed_micro, 0)
        sums[key] += sign * group.points
    moved = [replace(key, points=points, amount_micro=points * key.unit_price_micro) for key, points in sums.items()]
    return sorted(moved, key=lambda m: (m.funder_id, m.terms_id, m.kind))


def stock_sign(kind: str) -> int:
    """1 where an event of this kind makes points spendable, -1 where they cease to be, 0 where neither."""
    return _OBLIGATION_SIGN.get(kind, 0)


def sign(kind: str) -> int:
    """1 where a partner receives money for this kind of event, -1 where it pays, 0 where no money moves."""
    if kind in _ISSUED:
        return -1
    return 1 if kind in _TAKEN_BACK else {REDEMPTION: 1, REFUND: -1}.get(kind, 0)


def _partner_lines(group: ClearingGroup, terms: Mapping[int, Terms], stocks: Stocks) -> Iterator[RatedLine]:
    if group.kind in _PRICED and (found := carried(group, terms, stocks)) is not None:
        lot = _terms(terms, group.lot_terms_id)
        for kind, way, price in _carriers(group, found):
            yield _line(group, found.carrier_id, kind, way, price, lot)
    if group.kind in (REDEMPTION, REFUND) and not is_unpriced(group.partner_id, group.terms_id):
        kind = group.kind + "_BORNE" if is_borne_by_redeemer(group, terms) else group.kind
        own = _terms(terms, group.terms_id)
        yield _line(group, group.partner_id, kind, sign(group.kind), reimbursement_micro(group, terms), own)


def _carriers(group: ClearingGroup, found: Carried) -> Iterator[tuple[str, int, int]]:
    """Kind, sign and price of what the carrier of a group's points pays (-1) or receives (1)."""
    if group.kind == ADJUSTMENT and found.is_opening:
        yield OPENING, 0, 0
    elif group.kind in _ISSUED:
        yield group.kind, -1, found.issue_micro
    elif group.kind == RETURN_OWED:
        yield group.kind, 1, found.fund_micro + found.service_micro
    elif group.kind in _TAKEN_BACK:
        yield group.kind, 1, found.issue_micro
    elif group.kind == FORGIVEN:
        yield group.kind, 0, 0
    elif group.kind == EXPIRY and found.share_micro:
        yield group.kind, 1, found.share_micro
    elif group.kind in _USED and found.use_micro:
        yield "FUNDED_" + group.kind, _USED[group.kind], found.use_micro


def _operator_lines(group: ClearingGroup, terms: Mapping[int, Terms], stocks: Stocks) -> Iterator[RatedLine]:
    if group.kind in _PRICED and (found := carried(group, terms, stocks)) is not None:
        lot = _terms(terms, group.lot_terms_id)
        if found.carrier_id != OPERATOR:
            for kind, way, price in _from_carriers(group, found):
                yield _line(group, OPERATOR, kind, way, price, lot)
    if group.kind in (REDEMPTION, REFUND) and group.partner_id != OPERATOR:
        own = _terms(terms, group.terms_id)
        if not is_borne_by_redeemer(group, terms):
            way, suffix = (-1, "") if group.kind == REDEMPTION else (1, "_RETURNED")
            yield _line(group, OPERATOR, "REIMBURSEMENT" + suffix, way, own.reimbursement_price_micro, own)


def _from_carriers(group: ClearingGroup, found: Carried) -> Iterator[tuple[str, int, int]]:
    """Kind, sign and price of what the operator has from, or gives to, the carrier of a group's points."""
    if group.kind == ADJUSTMENT and found.is_opening:
        yield OPENING, 0, 0
    elif group.kind in _ISSUED:
        yield "FUND", 1, found.billed_micro
        yield "SERVICE", 1, found.service_micro
    elif group.kind in _TAKEN_BACK:
        yield "FUND_RETURNED", -1, found.billed_micro
        yield "SERVICE_RETURNED", -1, found.service_micro
        if group.kind == RETURN_OWED and found.use_micro:
            yield "FUND_AT_USE_RETURNED", -1, found.use_micro
    elif group.kind == FORGIVEN:
        yield FORGIVEN, 0, 0
    elif group.kind == EXPIRY and found.share_micro:
        yield "BREAKAGE_SHARE", -1, found.share_micro
    elif group.kind in _USED and found.use_micro:
        yield ("FUND_AT_USE", 1, found.use_micro) if _USED[group.kind] < 0 else (
            "FUND_AT_USE_RETURNED", -1, found.use_micro
        )  # fmt: skip


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


def billed_fund_micro(funder_id: int, terms_id: int, terms: Mapping[int, Terms], stocks: Stocks = NO_STOCKS) -> int:
    """What of the fund part of a point was billed before its use, micro-units. Raises Unrated."""
    stock = stocks.get((funder_id, terms_id))
    return _terms(terms, terms_id).billed_fund_micro if stock is None else stock.billed_fund_micro


def is_unpriced(party_id: int, terms_id: int) -> bool:
    """The operator signs no agreement with itself: what it gives away or takes back needs no price."""
    return party_id == OPERATOR and terms_id == 0


def _terms(terms: Mapping[int, Terms], terms_id: int) -> Terms:
    try:
        return terms[terms_id]
    except KeyError:
        raise Unrated(f"agreement version {terms_id} is unknown") from None
