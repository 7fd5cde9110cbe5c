"""PURE: money events. What moves money between a partner and the operator without a point moving, or without its price.

Whatever a later part of the programme brings, it tells settlement here: which kind, who pays, who is paid. The operator
stands between all, so an event from one partner to another is two amounts, both against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from settlement.money import accounts
from settlement.rating import OPERATOR, RatedLine

PAYER, PAYEE = "PAYER", "PAYEE"


class KindUnknown(Exception):  # noqa: N818 - it is the state of the event
    """Nobody has said where money of this kind is booked. A fault of the programme, never a business "no"."""


@dataclass(frozen=True, slots=True)
class MoneyEvent:
    """Money that payer owes or pays and payee is owed or paid; 0 is the operator. PURE value, micro-units.

    amount_micro is not zero and leaves tax out; below zero it takes an earlier event of the kind back. tax_micro is the
    tax on top, with the same sign. terms_id is the version that priced it, cohort_id and points what it says about
    stock, cutoff_id the cut-off that it is booked with (none: nobody has booked it), count how many facts it sums.
    reference is the other side's own number.
    """

    kind: str
    payer_id: int
    payee_id: int
    currency: str
    amount_micro: int
    terms_id: int = 0
    cutoff_id: int | None = None
    count: int = 1
    points: int = 0
    cohort_id: int = 0
    tax_micro: int = 0
    tax_rule: str | None = None
    promotion: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Where money of a kind is booked: debit and credit are accounts, debit_party and credit_party whose.

    An account of the operator's own is kept for nobody. Where payer or payee of a partner's account is the operator,
    operator_debit and operator_credit stand in for it. is_billed says that statements show it. tax is the account of
    the tax on top: output tax is owed with what is debited, input tax with what is credited.
    """

    debit: str
    credit: str
    debit_party: str | None = None
    credit_party: str | None = None
    operator_debit: str | None = None
    operator_credit: str | None = None
    is_billed: bool = False
    tax: str | None = None


def _between() -> Rule:
    """From one party's position to another's; what the operator pays is a promotion of its own."""
    return Rule(
        accounts.POSITION, accounts.POSITION, PAYER, PAYEE, accounts.PROMOTIONS, accounts.FEES, is_billed=True
    )  # fmt: skip


def _owed(credit: str) -> Rule:
    """A partner owes the operator for something."""
    return Rule(accounts.POSITION, credit, debit_party=PAYER, is_billed=True, tax=accounts.OUTPUT_TAX)


def _given(debit: str) -> Rule:
    """The operator owes a partner for something."""
    return Rule(debit, accounts.POSITION, credit_party=PAYEE, is_billed=True, tax=accounts.INPUT_TAX)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # what partners and the operator do for each other's customers
        "DISCOUNT": _between(),
        "COUPON": _between(),
        "BENEFIT": Rule(accounts.POSITION, accounts.POSITION, PAYER, PAYEE, accounts.BENEFITS, accounts.FEES,
                        is_billed=True, tax=accounts.INPUT_TAX),
        "STORED_LOAD": Rule(accounts.POSITION, accounts.STORED_MONEY, PAYER, PAYEE, accounts.SETTLEMENT_BANK,
                            is_billed=True),
        "STORED_SPEND": Rule(accounts.STORED_MONEY, accounts.POSITION, PAYER, PAYEE, is_billed=True),
        # fees
        "PLATFORM_FEE": _owed(accounts.FEES),
        "MINIMUM_FEE": _owed(accounts.MINIMUM_FEES),
        "TIER_REBATE": _given(accounts.FEES),
        "VOLUME_REBATE": _given(accounts.FEES),
        "SERVICE_EARNED": Rule(accounts.SERVICE_DEFERRED, accounts.FEES, debit_party=PAYER),
        "OUTPUT_TAX": _owed(accounts.OUTPUT_TAX),
        "INPUT_TAX": _given(accounts.INPUT_TAX),
        "ROUNDING": _given(accounts.DIFFERENCES),
        # the plan
        "SUBSCRIPTION_PAID": Rule(accounts.SETTLEMENT_BANK, accounts.SUBSCRIPTION_DEFERRED, tax=accounts.OUTPUT_TAX),
        "SUBSCRIPTION_EARNED": Rule(accounts.SUBSCRIPTION_DEFERRED, accounts.SUBSCRIPTIONS),
        "SUBSCRIPTION_CHARGED": Rule(accounts.CHARGING, accounts.SETTLEMENT_BANK),
        "SUBSCRIPTION_LOST": Rule(accounts.DEFAULT_LOSSES, accounts.SETTLEMENT_BANK),
        "SUBSCRIPTION_KEPT": Rule(accounts.BENEFITS, accounts.BENEFIT_POOL),
        "SUBSCRIPTION_SHARE": Rule(accounts.BENEFITS, accounts.POSITION, None, PAYEE, is_billed=True,
                                   tax=accounts.INPUT_TAX),
        # stock that changed hands
        "STOCK_TRANSFER": Rule(accounts.POSITION, accounts.OBLIGATION, PAYER, PAYER, accounts.PROMOTIONS,
                               is_billed=True),
        # disputes
        "DISPUTE_WITHHELD": Rule(accounts.DISPUTED, accounts.POSITION, PAYER, PAYER, is_billed=True),
        "DISPUTE_UPHELD": Rule(accounts.POSITION, accounts.DISPUTED, PAYER, PAYER, is_billed=True),
        "DISPUTE_CONCEDED": Rule(accounts.PRICE_DIFFERENCES, accounts.DISPUTED, None, PAYER),
        "PRICE_ADJUSTMENT": _owed(accounts.PRICE_DIFFERENCES),
        # payments
        "PAY_IN": Rule(accounts.SETTLEMENT_BANK, accounts.POSITION, None, PAYER),
        "PAY_OUT": Rule(accounts.POSITION, accounts.IN_TRANSIT, PAYEE, None),
        "PAY_OUT_BOOKED": Rule(accounts.IN_TRANSIT, accounts.SETTLEMENT_BANK),
        "RECEIPT_UNIDENTIFIED": Rule(accounts.SETTLEMENT_BANK, accounts.SUSPENSE),
        "RECEIPT_IDENTIFIED": Rule(accounts.SUSPENSE, accounts.POSITION, None, PAYER),
        "RECEIPT_CREDITED": Rule(accounts.POSITION, accounts.SUSPENSE, PAYER, None, is_billed=True),
        "RECEIPT_KEPT": Rule(accounts.SUSPENSE, accounts.PRICE_DIFFERENCES),
        "RECEIPT_SENT_BACK": Rule(accounts.SUSPENSE, accounts.IN_TRANSIT),
        "BANK_FEE": Rule(accounts.BANK_CHARGES, accounts.SETTLEMENT_BANK),
        "BANK_OPENING": Rule(accounts.SETTLEMENT_BANK, accounts.OPENING),
        "PAYMENT_WRITTEN_OFF": Rule(accounts.PRICE_DIFFERENCES, accounts.POSITION, None, PAYER),
        "RING_FENCE": Rule(accounts.TRUST, accounts.SETTLEMENT_BANK),
        "INTEREST": Rule(accounts.TRUST, accounts.INTEREST),
        # cover and default
        "DEPOSIT": Rule(accounts.DEPOSITS_CASH, accounts.DEPOSITS, None, PAYER),
        "DEPOSIT_USED": Rule(accounts.DEPOSITS, accounts.POSITION, PAYER, PAYER, is_billed=True),
        "DEPOSIT_RELEASED": Rule(accounts.SETTLEMENT_BANK, accounts.DEPOSITS_CASH),
        "HOLDBACK": Rule(accounts.POSITION, accounts.HOLDBACK, PAYEE, PAYEE, is_billed=True),
        "HOLDBACK_RELEASED": Rule(accounts.HOLDBACK, accounts.POSITION, PAYEE, PAYEE, is_billed=True),
        "HOLDBACK_USED": Rule(accounts.HOLDBACK, accounts.POSITION, PAYER, PAYER, is_billed=True),
        "DEFAULT_LOSS": Rule(accounts.DEFAULT_LOSSES, accounts.POSITION, None, PAYER, is_billed=True),
    }
)  # fmt: skip


def rule_of(kind: str) -> Rule:
    """Where money of a kind is booked. Raises KindUnknown."""
    try:
        return RULES[kind]
    except KeyError:
        raise KindUnknown(f"money of kind {kind} has no account yet") from None


def rate(events: Iterable[MoneyEvent]) -> list[RatedLine]:
    """The partners' lines of money events: what changes a position and is shown on a statement, tax left out.

    One line per party, currency, kind and version. unit_price_micro is 0: the amount is the event's own, not points
    at a price. Raises KindUnknown.
    """
    sums: dict[tuple[int, str, str, int], list[int]] = {}
    for event in events:
        for party_id, amount_micro in positions(event):
            total = sums.setdefault((party_id, event.currency, event.kind, event.terms_id), [0, 0, 0])
            for index, value in enumerate((event.points, event.count, amount_micro)):
                total[index] += value
    return [RatedLine(*key, sums[key][0], sums[key][1], 0, sums[key][2]) for key in sorted(sums)]


def positions(event: MoneyEvent) -> list[tuple[int, int]]:
    """How an event that is billed moves partners' positions: party and what it receives (+) or pays (-), micro-units.

    Raises KindUnknown.
    """
    rule = rule_of(event.kind)
    if not rule.is_billed:
        return []
    moved = []
    for account, party, way in ((rule.debit, rule.debit_party, -1), (rule.credit, rule.credit_party, 1)):
        party_id = party_of(event, party)
        if account == accounts.POSITION and party_id != OPERATOR:
            moved.append((party_id, way * event.amount_micro))
    return moved


def party_of(event: MoneyEvent, party: str | None) -> int:
    """The number of the payer or the payee; the operator's where an account is nobody else's."""
    if party is None:
        return OPERATOR
    return event.payer_id if party == PAYER else event.payee_id
