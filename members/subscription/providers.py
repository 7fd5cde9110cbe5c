"""PURE: what charges members' means of payment, as a narrow port. Adapters are in the gateway, or in tests.

Whatever an adapter is told twice under one key it does once. What it does not know for certain it does not guess: it
answers PENDING, or raises Silent, and is asked again by `fetch` with the same key. What it tells by itself is a hint:
`read` says what about, and `look` asks the provider how that stands now, so that what comes twice, late, early or from
somebody else does nothing that asking would not have done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

State = Literal["PAID", "SOFT", "HARD", "PENDING", "UNHEARD"]


class Silent(Exception):  # noqa: N818 - it is the state of the provider
    """The provider did not answer, or nobody can tell what: the order may have been carried out or not."""


class Forged(Exception):  # noqa: N818 - it is what the message is
    """A message that is not the provider's: its signature does not fit its bytes."""


@dataclass(frozen=True, slots=True)
class ChargeOrder:
    """A charge: minor units of a currency from the means that token names, once under a key. given_at is when it was
    given to the provider, by the wall's clock: those who keep no index of keys are asked about those minutes."""

    key: str
    invoice_no: int
    attempt_no: int
    amount_minor: int
    currency: str
    token: str
    given_at: tuple[datetime, ...] = ()


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
class Heard:
    """That a provider told something by itself: the event's id, for it to count once, and what it is about, a payment,
    a chargeback or a means of payment, by its reference there."""

    event_id: str
    kind: Literal["PAYMENT", "CHARGEBACK", "MEANS"]
    reference: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says of something that it told of: what became of a charge, or (state CHARGEBACK) that a payment
    was taken back by its bank. amount_minor and currency are what was taken, where it says so."""

    key: str
    state: State | Literal["CHARGEBACK"]
    reference: str
    charging_minor: int = 0
    amount_minor: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """A page of the provider's where a member lets a means of payment be charged: its address, and what it is called
    there."""

    reference: str
    address: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A means of payment that a member let be charged. mark tells it from others, whatever its token; None where the
    provider tells none."""

    token: str
    mark: str | None


class NoSetup(Exception):  # noqa: N818 - it is what there is not
    """The provider has no page where a means of payment is given."""


class Provider(Protocol):
    """Charges and gives back. is_test marks its invoices; first_payment_within is how long a first payment may take.
    takes_tokens: whether a member may name a means by its token; else the provider's own page gives it."""

    name: str
    is_automatic: bool
    is_test: bool
    takes_tokens: bool
    first_payment_within: timedelta

    async def charge(self, order: ChargeOrder) -> Answer:
        """Order a charge, once under its key. Raises Silent."""

    async def fetch(self, order: ChargeOrder) -> Answer:
        """What became of an order; it orders nothing. Raises Silent."""

    async def refund(self, order: RefundOrder) -> Answer:
        """Order money back, once under its key. Raises Silent."""

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
        """What a message of the provider's is about, of its raw bytes; nothing where it is about nothing of ours.
        Raises Forged."""

    async def look(self, heard: Heard) -> Told | None:
        """How what a provider told of stands now, as it says when it is asked; None where it knows of nothing like it
        or it is nothing of ours. Raises Silent."""

    async def set_up(self, key: str, *, return_to: str) -> Setup:
        """Begin to take a means of payment, once under a key; return_to is where the member comes back to. Raises
        Silent, NoSetup."""

    async def saved(self, reference: str) -> Saved | None:
        """The means that came of a setup; None where none has come yet. Raises Silent."""


class Manual:
    """Nobody is charged: an invoice with a reference waits until somebody records that the money came. The default."""

    name = "manual"
    is_automatic = False
    is_test = False
    takes_tokens = False
    first_payment_within = timedelta(days=14)

    async def charge(self, order: ChargeOrder) -> Answer:
        """Nobody can be charged."""
        return Answer("PENDING")

    async def fetch(self, order: ChargeOrder) -> Answer:
        """No order ever came."""
        return Answer("UNHEARD")

    async def refund(self, order: RefundOrder) -> Answer:
        """Somebody has to pay it back and record it."""
        return Answer("PENDING")

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
        """Nobody tells anything."""
        raise Forged("there is no provider that could have told it")

    async def look(self, heard: Heard) -> Told | None:
        """Nobody knows of anything."""
        return None

    async def set_up(self, key: str, *, return_to: str) -> Setup:
        """There is nothing to charge."""
        raise NoSetup

    async def saved(self, reference: str) -> Saved | None:
        """No means ever came."""
        return None


MANUAL = Manual()
AUTOMATIC_WITHIN = timedelta(hours=23)
"""How long a first payment may take where a provider charges."""
