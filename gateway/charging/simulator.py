"""A provider that does as a script says, for demonstrations and tests. Its invoices say that they are none, and it does
not start where the business clock is the wall's: nobody is to believe that money came."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from kit.settings import Settings
from members.subscription.providers import (
    AUTOMATIC_WITHIN,
    Answer,
    ChargeOrder,
    Forged,
    Heard,
    NoSetup,
    RefundOrder,
    Saved,
    Setup,
    Silent,
    State,
    Told,
)

OK, SOFT, HARD, TIMEOUT, SILENT, PENDING = "ok", "soft_decline", "hard_decline", "timeout", "timeout_then_ok", "pending"
WORDS = frozenset({OK, SOFT, HARD, TIMEOUT, SILENT, PENDING})
SIGNATURE = "x-simulator-signature"
_STATES: Mapping[str, State] = {OK: "PAID", SILENT: "PAID", SOFT: "SOFT", HARD: "HARD", PENDING: "PENDING"}


class NotInProduction(Exception):  # noqa: N818 - it is the place
    """The simulator was chosen where the business clock is the wall's."""


class Simulator:
    """Takes the script from the token of the means of payment, words with commas, one for each attempt at an invoice,
    the last for all that follow: `soft_decline,ok`. What it took it keeps in memory."""

    name = "simulator"
    is_automatic = True
    is_test = True
    takes_tokens = True
    first_payment_within: timedelta = AUTOMATIC_WITHIN

    def __init__(self, settings: Settings, secret: bytes = b"simulator") -> None:
        if settings.clock != "sandbox":
            raise NotInProduction("the simulator charges nobody: it starts with TESSERA_CLOCK=sandbox alone")
        self._secret = secret
        self._taken: dict[str, Answer] = {}
        self._given: dict[str, Answer] = {}

    async def charge(self, order: ChargeOrder) -> Answer:
        """What the script says of this attempt; the same for the same key. Raises Silent."""
        if order.key in self._taken:
            return self._taken[order.key]
        words = order.token.split(",")
        word = words[min(order.attempt_no, len(words)) - 1]
        if word == TIMEOUT:
            raise Silent
        state = _STATES.get(word, "HARD")
        cost = order.amount_minor * 15 // 1000 if state == "PAID" else 0
        self._taken[order.key] = Answer(state, f"sim-{order.key}", cost)
        if word == SILENT:
            raise Silent
        return self._taken[order.key]

    async def fetch(self, order: ChargeOrder) -> Answer:
        """What it took under an order's key."""
        return self._taken.get(order.key, Answer("UNHEARD"))

    async def refund(self, order: RefundOrder) -> Answer:
        """Gives back at once."""
        return self._given.setdefault(order.key, Answer("PAID", f"back-{order.key}"))

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
        """A message that `tell` made. Raises Forged."""
        given = {name.lower(): value for name, value in headers.items()}.get(SIGNATURE, "")
        if not hmac.compare_digest(given, self._signed(raw)):
            raise Forged("the signature does not fit the bytes")
        said = json.loads(raw)
        return [Heard(said["event"], said["kind"], said["key"])]

    async def look(self, heard: Heard) -> Told | None:
        """What it took under a key, or that its bank took it back."""
        held = self._taken.get(heard.reference)
        if held is None:
            return None
        state: State | Literal["CHARGEBACK"] = "CHARGEBACK" if heard.kind == "CHARGEBACK" else held.state
        return Told(heard.reference, state, held.reference, held.charging_minor)

    async def set_up(self, key: str, *, return_to: str) -> Setup:
        """There is no page: a script is told by the member."""
        raise NoSetup

    async def saved(self, reference: str) -> Saved | None:
        """No means ever came of a page."""
        return None

    def tell(self, key: str, kind: str = "PAYMENT", event: str = "event-1") -> tuple[dict[str, str], bytes]:
        """The message that it would send about a charge: headers and bytes."""
        raw = json.dumps({"event": event, "kind": kind, "key": key}).encode()
        return {SIGNATURE: self._signed(raw)}, raw

    def _signed(self, raw: bytes) -> str:
        return hmac.new(self._secret, raw, "sha256").hexdigest()
