"""PURE: from clearing groups and money events to balanced entries of the operator's books.

Dr is positive, Cr negative, micro-units. Every entry sums to zero in each currency. Where one entry speaks of two
currencies, each side is closed against foreign exchange clearing, which is swept later at a fixing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from partners.terms import Terms
from settlement import rating
from settlement.money import accounts, events
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR, Carried, ClearingGroup, Stocks, Unrated


class Unbalanced(Exception):  # noqa: N818 - it is the state of the entry
    """An entry does not sum to zero, or has an amount of nothing. A fault of the programme: nothing is booked."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One amount on one account: Dr positive, Cr negative, micro-units of the currency; never zero.

    party_id is whose account it is, cohort_id the version under which the points behind it were issued, cohort_month
    (first day) the month of it in an estimate; counterparty_id is who else had to do with it, terms_id the version that
    priced it; points have the sign of the amount, 0 where there are none.
    """

    account: str
    currency: str
    amount_micro: int
    party_id: int = 0
    cohort_id: int = 0
    cohort_month: date | None = None
    counterparty_id: int = 0
    terms_id: int = 0
    points: int = 0
    tax_rule: str | None = None
    promotion: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What one kind of event did to the books."""

    kind: str
    postings: tuple[Posting, ...]


def of_groups(groups: Iterable[ClearingGroup], terms: Mapping[int, Terms], stocks: Stocks) -> list[Entry]:
    """The entries of clearing groups, one per group that moves money, in the groups' order. Raises rating.Unrated."""
    return [entry for group in groups if (entry := of_group(group, terms, stocks)) is not None]


def of_group(group: ClearingGroup, terms: Mapping[int, Terms], stocks: Stocks) -> Entry | None:
    """The entry of one clearing group, priced per point; None where no money moves. Raises rating.Unrated.

    Activation and adjustment: Dr who carries the points / Cr obligation, deferred service. Return: the other way.
    Redemption: Dr obligation and what the carrier still owes / Cr who took them; the rest is spread. Expiry: Dr
    obligation / Cr the carrier's share, breakage. Returned points that a member owes: a claim on the member stands in
    for the obligation; what repays it releases it, and a difference of prices is said as such.
    """
    found = carried(group, terms, stocks)
    match group.kind:
        case rating.ACTIVATION | rating.ADJUSTMENT if found:
            postings, rest = _issued(group, found, 1), accounts.PRICE_DIFFERENCES
        case rating.RETURN | rating.ADJUSTMENT_TAKEN if found:
            postings, rest = _issued(group, replace(found, is_opening=False), -1), accounts.PRICE_DIFFERENCES
        case rating.RETURN_OWED if found:
            postings, rest = _owed(group, found), accounts.PRICE_DIFFERENCES
        case rating.EXPIRY if found:
            postings, rest = _expired(group, found), accounts.BREAKAGE
        case rating.REDEMPTION:
            postings, rest = _redeemed(group, found, terms, 1), accounts.SPREAD
        case rating.REFUND:
            postings, rest = _redeemed(group, found, terms, -1), accounts.SPREAD
        case rating.REPAYMENT:
            postings, rest = _repaid(group, found, terms), accounts.PRICE_DIFFERENCES
        case _:
            return None
    return _closed(group.kind, [p for p in postings if p.amount_micro], _rest(group, rest))


def carried(group: ClearingGroup, terms: Mapping[int, Terms], stocks: Stocks) -> Carried | None:
    """As rating.carried, and nothing for groups that move no money."""
    return None if group.kind in _MOVE_NOTHING else rating.carried(group, terms, stocks)


_MOVE_NOTHING = (
    rating.PENDING, rating.PENDING_RETURN, rating.HELD, rating.FORGIVEN, rating.TRANSFER,
)  # fmt: skip


def of_events(found: Iterable[MoneyEvent]) -> list[Entry]:
    """The entries of money events, in their order. Raises events.KindUnknown, Unbalanced."""
    return [of_event(event) for event in found]


def of_event(event: MoneyEvent) -> Entry:
    """The entry of one money event, as its kind's rule says; tax goes with the side that pays it.

    Raises events.KindUnknown; Unbalanced where the rule cannot book such an event: an amount of nothing, tax where the
    kind knows none, a position of the operator with itself.
    """
    rule = events.rule_of(event.kind)
    if event.tax_micro and rule.tax is None:
        raise Unbalanced(f"{event.kind} knows no tax")
    is_output = rule.tax == accounts.OUTPUT_TAX
    tax_micro = event.tax_micro if rule.tax else 0
    postings = [
        _side(event, rule.debit, rule.debit_party, rule.operator_debit, tax_micro if is_output else 0, 1),
        _side(event, rule.credit, rule.credit_party, rule.operator_credit, 0 if is_output else tax_micro, -1),
    ]
    if tax_micro and rule.tax:
        way = -1 if is_output else 1
        taxed = Posting(rule.tax, event.currency, way * tax_micro, counterparty_id=event.payer_id or event.payee_id)
        postings.append(replace(taxed, terms_id=event.terms_id, tax_rule=event.tax_rule, reference=event.reference))
    return checked(Entry(event.kind, tuple(postings)))


def checked(entry: Entry) -> Entry:
    """The same entry. Raises Unbalanced where it does not sum to zero per currency or books nothing somewhere."""
    sums: dict[str, int] = defaultdict(int)
    for posting in entry.postings:
        sums[posting.currency] += posting.amount_micro
        if not posting.amount_micro:
            raise Unbalanced(f"{entry.kind} books nothing on {posting.account}")
        if posting.account not in accounts.CHART:
            raise Unbalanced(f"{entry.kind} books on {posting.account}, which is no account")
    if not entry.postings or any(sums.values()):
        raise Unbalanced(f"{entry.kind} does not balance: {dict(sums)}")
    return entry


def reversed_of(entry: Entry) -> Entry:
    """The entry that takes another one back, wholly."""
    back = [replace(p, amount_micro=-p.amount_micro, points=-p.points) for p in entry.postings]
    return Entry(entry.kind, tuple(back))


# --- Clearing groups --------------------------------------------------------------------------------------------


def _issued(group: ClearingGroup, found: Carried, way: int) -> list[Posting]:
    return [
        _of_carrier(group, found, way * found.issue_micro, is_issue=True),
        _of_lot(group, found, accounts.OBLIGATION, -way * found.billed_micro),
        _of_lot(group, found, accounts.SERVICE_DEFERRED, -way * found.service_micro),
    ]


def _owed(group: ClearingGroup, found: Carried) -> list[Posting]:
    claim = _of_lot(group, found, accounts.MEMBER_CLAIM, found.fund_micro)
    return [
        replace(claim, party_id=group.issuer_id),
        _of_lot(group, found, accounts.SERVICE_DEFERRED, found.service_micro),
        _of_carrier(group, found, -(found.fund_micro + found.service_micro)),
    ]


def _expired(group: ClearingGroup, found: Carried) -> list[Posting]:
    kept = _of_lot(group, found, accounts.BREAKAGE, found.share_micro - found.billed_micro)
    return [
        _of_lot(group, found, accounts.OBLIGATION, found.billed_micro),
        _of_carrier(group, found, -found.share_micro),
        kept,
    ]


def _redeemed(group: ClearingGroup, found: Carried | None, terms: Mapping[int, Terms], way: int) -> list[Posting]:
    postings = _used(group, found, way)
    price = rating.reimbursement_micro(group, terms)
    if price:
        currency = terms[group.terms_id].currency
        amount = -way * group.points * price
        postings.append(
            Posting(accounts.POSITION, currency, amount, group.partner_id, counterparty_id=group.funder_id,
                    terms_id=group.terms_id, points=_points(group, amount))
        )  # fmt: skip
    return postings


def _repaid(group: ClearingGroup, found: Carried | None, terms: Mapping[int, Terms]) -> list[Posting]:
    postings = _used(group, found, 1)
    if group.terms_id:
        if group.terms_id not in terms:
            raise Unrated(f"agreement version {group.terms_id} is unknown")
        short = terms[group.terms_id]
        amount = -group.points * short.fund_price_micro
        postings.append(
            Posting(accounts.MEMBER_CLAIM, short.currency, amount, group.partner_id, group.terms_id,
                    counterparty_id=group.funder_id, terms_id=group.terms_id, points=_points(group, amount))
        )  # fmt: skip
    return postings


def _used(group: ClearingGroup, found: Carried | None, way: int) -> list[Posting]:
    if found is None:
        return []
    return [
        _of_lot(group, found, accounts.OBLIGATION, way * found.billed_micro),
        _of_carrier(group, found, way * found.use_micro),
    ]


def _of_lot(group: ClearingGroup, found: Carried, account: str, price: int) -> Posting:
    amount = group.points * price
    return Posting(
        account, found.currency, amount, group.funder_id, group.lot_terms_id, counterparty_id=group.partner_id,
        terms_id=group.lot_terms_id, points=_points(group, amount),
    )  # fmt: skip


def _of_carrier(group: ClearingGroup, found: Carried, price: int, *, is_issue: bool = False) -> Posting:
    amount = group.points * price
    account = accounts.PROMOTIONS if found.carrier_id == OPERATOR else accounts.POSITION
    if is_issue and found.is_opening and group.kind == rating.ADJUSTMENT:
        account = accounts.OPENING
    party_id = found.carrier_id if account == accounts.POSITION else OPERATOR
    return Posting(
        account, found.currency, amount, party_id, counterparty_id=group.partner_id, terms_id=group.lot_terms_id,
        points=_points(group, amount),
    )  # fmt: skip


def _points(group: ClearingGroup, amount_micro: int) -> int:
    return group.points if amount_micro > 0 else -group.points


def _rest(group: ClearingGroup, account: str) -> Posting:
    kept_by_lot = accounts.CHART[account].by_cohort
    return Posting(
        account, "", 0, group.funder_id if kept_by_lot else OPERATOR, group.lot_terms_id if kept_by_lot else 0,
        counterparty_id=group.partner_id, terms_id=group.terms_id,
    )  # fmt: skip


def _closed(kind: str, postings: list[Posting], rest: Posting) -> Entry | None:
    """The entry with what is left over on the rest's account, or in each of two currencies on exchange clearing."""
    sums: dict[str, int] = defaultdict(int)
    for posting in postings:
        sums[posting.currency] += posting.amount_micro
    if not postings:
        return None
    account = rest.account if len(sums) == 1 else accounts.FX_CLEARING
    left = [replace(rest, account=account, currency=c, amount_micro=-amount) for c, amount in sums.items() if amount]
    return checked(Entry(kind, tuple(postings + left)))


def _side(
    event: MoneyEvent, account: str, party: str | None, operators: str | None, tax_micro: int, way: int
) -> Posting:
    party_id = events.party_of(event, party)
    if account == accounts.POSITION and party_id == OPERATOR:
        if operators is None:
            raise Unbalanced(f"{event.kind}: the operator has no position with itself")
        account = operators
    amount = way * (event.amount_micro + tax_micro)
    other = event.payee_id if party == events.PAYER else event.payer_id
    return Posting(
        account, event.currency, amount, party_id, event.cohort_id if accounts.CHART[account].by_cohort else 0,
        counterparty_id=other, terms_id=event.terms_id, points=event.points if amount > 0 else -event.points,
        promotion=event.promotion, reference=event.reference,
    )  # fmt: skip


def postings_of(entries: Iterable[Entry]) -> Iterator[tuple[int, int, str, Posting]]:
    """All postings of entries with their place: number of the entry, of the line in it, the entry's kind."""
    for entry_no, entry in enumerate(entries, 1):
        for line_no, posting in enumerate(entry.postings, 1):
            yield entry_no, line_no, entry.kind, posting
