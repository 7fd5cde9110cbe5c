"""PURE: what charges members' means of payment, as a narrow port. Adapters are in the gateway, or in tests.

Whatever an adapter is told twice under one key it does once. What it does not know for certain it does not guess: it
answers PENDING, or raises Silent, and is asked again by `fetch` with the same key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

State = Literal["PAID", "SOFT", "HARD", "PENDING", "UNHEARD"]


class Silent(Exception):  # noqa: N818 - it is the state of the provider
    """The provider did not answer, or nobody can tell what: the order may have been carried out or not."""


class Forged(Exception):  # noqa: N818 - it is what the message is
    """A message that is not the provider's: its signature does not fit its bytes."""


@dataclass(frozen=True, slots=True)
class ChargeOrder:
    """A charge: minor units of a currency from the means that token names, once under a key."""

    key: str
    invoice_no: int
    attempt_no: int
    amount_minor: int
    currency: str
    token: str


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to give back of a payment, known at the provider by its reference, once under a key."""

    key: str
    payment: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order. SOFT: no money, try later; HARD: this means never again; PENDING: not decided yet;
    UNHEARD: no order of this key ever came. charging_minor is what the provider keeps."""

    state: State
    reference: str = ""
    charging_minor: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a provider tells by itself: what became of a charge, or (state CHARGEBACK) that a payment was
    taken back by its bank."""

    key: str
    state: State | Literal["CHARGEBACK"]
    reference: str
    charging_minor: int = 0


class Provider(Protocol):
    """Charges and gives back. is_test marks its invoices; first_payment_within is how long a first payment may take."""

    name: str
    is_automatic: bool
    is_test: bool
    first_payment_within: timedelta

    async def charge(self, order: ChargeOrder) -> Answer:
        """Order a charge, once under its key. Raises Silent."""

    async def fetch(self, key: str) -> Answer:
        """What became of the order of a key. Raises Silent."""

    async def refund(self, order: RefundOrder) -> Answer:
        """Order money back, once under its key. Raises Silent."""

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Told]:
        """What a message of the provider's says, of its raw bytes. Raises Forged."""


class Manual:
    """Nobody is charged: an invoice with a reference waits until somebody records that the money came. The default."""

    name = "manual"
    is_automatic = False
    is_test = False
    first_payment_within = timedelta(days=14)

    async def charge(self, order: ChargeOrder) -> Answer:
        """Nobody can be charged."""
        return Answer("PENDING")

    async def fetch(self, key: str) -> Answer:
        """No order of any key ever came."""
        return Answer("UNHEARD")

    async def refund(self, order: RefundOrder) -> Answer:
        """Somebody has to pay it back and record it."""
        return Answer("PENDING")

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Told]:
        """Nobody tells anything."""
        raise Forged("there is no provider that could have told it")


MANUAL = Manual()
AUTOMATIC_WITHIN = timedelta(hours=23)
"""How long a first payment may take where a provider charges."""
