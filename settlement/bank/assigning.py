"""PURE: which of a run's payments a payment of the bank is for. Rules go from certain to guessed; amounts never guess.

What is for no payment of ours, or is more than what is left of it, is left over: it goes into suspense and is a break.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from settlement.bank.accounts import read_creditor_reference

RULES_VERSION = 2  # 2: of several references those alone that somebody has yet to pay
END_TO_END, REFERENCE, ACCOUNT, GROUPED, MANUAL = "END_TO_END", "REFERENCE", "ACCOUNT", "GROUPED", "MANUAL"
PAY_IN, PAY_OUT = "PAY_IN", "PAY_OUT"
_IN_TEXT = re.compile(r"\bRF[0-9]{2}[0-9A-Z]{1,21}\b")
_FEE_CODES = ("CHRG", "FEES", "COMM")
_MOST_GROUPED = 12


@dataclass(frozen=True, slots=True)
class Told:
    """A payment as the bank tells it: minor units, in above zero; the leg whose end-to-end id it carries, the partner
    whose account the other one is."""

    amount_minor: int
    leg_id: int | None = None
    references: tuple[str, ...] = ()
    partner_id: int | None = None
    bank_code: str | None = None
    is_return: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """A payment of ours: what is left of it, and what was paid already; minor units, above zero in its direction."""

    leg_id: int
    partner_id: int
    direction: str
    reference: str
    left_minor: int
    paid_minor: int
    is_sent: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """So much of a payment is for a leg, above zero in the leg's direction; below zero takes back what was paid."""

    leg_id: int
    amount_minor: int
    rule: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """What a payment is for, and what is left of it, signed as the bank tells it."""

    shares: tuple[Share, ...]
    rest_minor: int

    @property
    def is_returned(self) -> bool:
        """Whether something that was paid comes back."""
        return any(share.amount_minor < 0 for share in self.shares)


def references(*texts: str | None) -> tuple[str, ...]:
    """Creditor references with right check digits in what a payment says, in order, each once."""
    found: dict[str, None] = {}
    for text in texts:
        for one in [text, *_IN_TEXT.findall(text.upper())] if text else []:
            compact = one.replace(" ", "").upper()
            if read_creditor_reference(compact) is not None:
                found[compact] = None
    return tuple(found)


def assign(told: Told, legs: Sequence[Open]) -> Assigned:
    """What a payment is for: the leg it names by its end-to-end id, else by its reference; else what the owner of the
    account has to pay, where it is exactly one of it or all of it. legs are those that may be meant."""
    for rule, named in (
        (END_TO_END, [leg for leg in legs if leg.leg_id == told.leg_id]),
        (REFERENCE, [leg for leg in legs if leg.reference in told.references]),
    ):
        if len(named) == 1:
            return _for(told, named[0], rule)
        owed = [leg for leg in named if leg.direction == PAY_IN and leg.left_minor]
        if len(named) > 1 and rule == REFERENCE and sum(leg.left_minor for leg in owed) == told.amount_minor:
            return Assigned(tuple(Share(leg.leg_id, leg.left_minor, GROUPED) for leg in owed), 0)
    owed = [leg for leg in legs if leg.direction == PAY_IN and leg.left_minor and leg.partner_id == told.partner_id]
    exact = [leg for leg in owed if leg.left_minor == told.amount_minor]
    if len(exact) == 1:
        return Assigned((Share(exact[0].leg_id, exact[0].left_minor, ACCOUNT),), 0)
    if 1 < len(owed) <= _MOST_GROUPED and sum(leg.left_minor for leg in owed) == told.amount_minor:
        return Assigned(tuple(Share(leg.leg_id, leg.left_minor, GROUPED) for leg in owed), 0)
    return Assigned((), told.amount_minor)


def is_fee(told: Told) -> bool:
    """Whether the bank took it for itself, as its code of the transaction says."""
    code = told.bank_code or ""
    return told.amount_minor < 0 and code.upper().endswith(_FEE_CODES)


def _for(told: Told, leg: Open, rule: str) -> Assigned:
    """So much of a payment as a leg can take: what is left of it in its direction, what was paid the other way."""
    way = 1 if leg.direction == PAY_IN else -1
    amount = way * told.amount_minor
    if amount > 0 and leg.direction == PAY_OUT and not leg.is_sent:
        return Assigned((), told.amount_minor)  # nobody sent it: what is booked as in transit is nothing
    taken = min(amount, leg.left_minor) if amount > 0 else -min(-amount, leg.paid_minor)
    if not taken:
        return Assigned((), told.amount_minor)
    return Assigned((Share(leg.leg_id, taken, rule),), told.amount_minor - way * taken)
