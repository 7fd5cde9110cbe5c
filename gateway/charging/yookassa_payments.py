"""YooKassa, over its own library: payments by a saved means, refunds, pages where a means is given, notifications.

The library keeps one shop per process in class attributes, waits for ever, and turns amounts into floats: here a client
of its own stands for each shop, with limits, and bodies are plain mappings. What of it was never tried against YooKassa
itself is in docs/decisions/0035-providers.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from types import SimpleNamespace
from typing import Any

import requests
from yookassa.client import ApiClient
from yookassa.domain.common import UserAgent
from yookassa.domain.exceptions import BadRequestError, NotFoundError

from gateway.charging import tokens
from gateway.charging.calling import CONNECT_SECONDS, DEADLINE_SECONDS, READ_SECONDS, Threads
from kit.amounts import decimal_from_minor, exponent, minor_from_decimal
from kit.secrets import Vault
from members.subscription.providers import (
    AUTOMATIC_WITHIN,
    Answer,
    ChargeOrder,
    Forged,
    Heard,
    RefundOrder,
    Saved,
    Setup,
    Silent,
    State,
    Told,
)

NAME = "yookassa"
ADDRESS = "https://api.yookassa.ru/v3"
ORDER, KEY = "tessera_order", "Idempotence-Key"
_AROUND = timedelta(minutes=5)
"""How far their clock and ours may be apart."""
_PAGES = 100
_HUNDREDTH = Decimal("0.01")
_ID = re.compile(r"[A-Za-z0-9-]{10,64}")
_NEVER_AGAIN = frozenset(
    {
        "3d_secure_failed", "card_expired", "country_forbidden", "identification_required", "invalid_card_number",
        "invalid_csc", "payment_method_restricted", "permission_revoked", "unsupported_mobile_operator",
        "fraud_suspected",
    }
)  # fmt: skip
"""Reasons of a cancellation that no waiting mends: the member has to give another means."""


class UnpayableAmount(Exception):  # noqa: N818 - it is what the amount is
    """An amount that has more than two decimals."""


class _Session(requests.Session):
    """Waits for so long and follows nobody elsewhere."""

    def request(self, *args: Any, **more: Any) -> requests.Response:
        """As the library asks for it, within limits."""
        limits: dict[str, Any] = {"timeout": (CONNECT_SECONDS, READ_SECONDS), "allow_redirects": False}
        return super().request(*args, **(more | limits))


class _Client(ApiClient):  # type: ignore[misc]
    """The library's client of one shop. It logs nothing: a log would hold its key."""

    def __init__(self, shop: str, key: str, address: str) -> None:
        self.configuration = SimpleNamespace(verify=None)
        self.endpoint = address
        self.shop_id = shop
        self.shop_password = key
        self.auth_token = None
        self.user_agent = UserAgent()

    def get_session(self) -> requests.Session:
        """A session that tries once: who asks again is due work, and it asks before."""
        return _Session()


class YooKassa:
    """Charges means that members gave on YooKassa's page. A test shop's key marks invoices as tests."""

    name = NAME
    is_automatic = True
    takes_tokens = False
    first_payment_within: timedelta = AUTOMATIC_WITHIN

    def __init__(
        self, vault: Vault, shop: str, key: str, *, address: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:  # fmt: skip
        self.is_test = is_test_key(key)
        self._vault = vault
        self._client = _Client(shop, key, address or ADDRESS)
        self._threads = Threads(NAME, deadline_seconds)

    async def charge(self, order: ChargeOrder) -> Answer:
        """Order a charge, once under its key, that nobody has to confirm. Raises Silent."""
        return await self._threads.call("charge", lambda: self._charge(order))

    async def fetch(self, order: ChargeOrder) -> Answer:
        """What became of an order, found by what was written on it among the payments of the minutes in which it was
        given: there is no index of keys. Raises Silent."""
        return await self._threads.call("fetch", lambda: self._fetch(order))

    async def refund(self, order: RefundOrder) -> Answer:
        """Order money back, once: what went back of this payment before is found first. Raises Silent."""
        return await self._threads.call("refund", lambda: self._refund(order))

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
        """What a notification is about. It carries no signature, so nothing in it counts but whom to ask about. Raises
        Forged for what is no notification."""
        try:
            said = json.loads(raw)
            event, reference = said["event"], said["object"]["id"]
            if said["type"] != "notification" or not _ID.fullmatch(reference):
                raise Forged("it is no notification")
            kind = event.partition(".")[0]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Forged("it is no notification") from error
        if kind == "payment":
            return [Heard(f"{event[:60]}:{reference}", "PAYMENT", reference)]
        if kind == "payment_method":
            return [Heard(f"{event[:60]}:{reference}", "MEANS", reference)]
        return []

    async def look(self, heard: Heard) -> Told | None:
        """How a payment stands now. Raises Silent."""
        return await self._threads.call("look", lambda: self._look(heard))

    async def set_up(self, key: str, *, return_to: str) -> Setup:
        """A page where a member gives a card without paying. Raises Silent."""
        return await self._threads.call("set_up", lambda: self._set_up(key, return_to))

    async def saved(self, reference: str) -> Saved | None:
        """The card that a page came to. YooKassa tells no fingerprint: the mark is made of what it does tell, which two
        cards of one bank may rarely share. Raises Silent."""
        return await self._threads.call("saved", lambda: self._saved(reference))

    # --- In a thread ------------------------------------------------------------------------------------------

    def _charge(self, order: ChargeOrder) -> Answer:
        try:
            amount = yookassa_amount(order.amount_minor, order.currency)
        except UnpayableAmount:
            return Answer("HARD", "amount")
        body = {
            "amount": amount,
            "capture": True,
            "payment_method_id": tokens.opened(self._vault, NAME, order.token),
            "metadata": {ORDER: order.key},
        }
        try:
            payment = self._client.request("POST", "/payments", None, {KEY: order.key}, body)
        except BadRequestError as wrong:
            if (wrong.content or {}).get("parameter") == "payment_method_id":
                return Answer("HARD", "means-gone")
            raise
        return _answer(payment, order)

    def _fetch(self, order: ChargeOrder) -> Answer:
        if not order.given_at:
            raise Silent  # nobody knows which minutes to ask about
        for given_at in order.given_at:
            since, until = _stamp(given_at - _AROUND), _stamp(given_at + _AROUND)
            asked: dict[str, Any] = {"created_at.gte": since, "created_at.lte": until, "limit": 100}
            for _ in range(_PAGES):
                page = self._client.request("GET", "/payments", asked)
                for payment in page["items"]:
                    if (payment.get("metadata") or {}).get(ORDER) == order.key:
                        return _answer(payment, order)
                if not page.get("next_cursor"):
                    break
                asked = {**asked, "cursor": page["next_cursor"]}
            else:
                raise Silent  # nobody has looked at all of them
        return Answer("UNHEARD")

    def _refund(self, order: RefundOrder) -> Answer:
        amount = yookassa_amount(order.amount_minor, order.currency)
        earlier = self._client.request("GET", "/refunds", {"payment_id": order.payment, "limit": 100})
        for one in earlier["items"]:
            if one["status"] != "canceled" and _same(one["amount"], amount):
                return _refunded(one)
        body = {"payment_id": order.payment, "amount": amount, "metadata": {ORDER: order.key}}
        return _refunded(self._client.request("POST", "/refunds", None, {KEY: order.key}, body))

    def _look(self, heard: Heard) -> Told | None:
        try:
            payment = self._client.request("GET", f"/payments/{heard.reference}")
        except NotFoundError:
            return None
        key = (payment.get("metadata") or {}).get(ORDER)
        if key is None:
            return None
        its = _state(payment)
        return Told(str(key), its.state, its.reference, its.charging_minor, *_money(payment))

    def _set_up(self, key: str, return_to: str) -> Setup:
        body = {"type": "bank_card", "confirmation": {"type": "redirect", "return_url": return_to}}
        made = self._client.request("POST", "/payment_methods", None, {KEY: key}, body)
        return Setup(str(made["id"]), str(made["confirmation"]["confirmation_url"]))

    def _saved(self, reference: str) -> Saved | None:
        try:
            means = self._client.request("GET", f"/payment_methods/{reference}")
        except NotFoundError:
            return None
        if means.get("saved") is not True or means.get("status", "active") != "active":
            return None
        card = means.get("card") or {}
        parts = [str(card.get(name, "")) for name in ("first6", "last4", "expiry_year", "expiry_month")]
        mark = ":".join(parts) if all(parts) else None
        return Saved(tokens.sealed(self._vault, NAME, str(means["id"])), mark)


def is_test_key(key: str) -> bool:
    """Whether a shop's secret key is of a test shop. Raises ValueError for what is no such key."""
    for beginning, is_test in (("test_", True), ("live_", False)):
        if key.startswith(beginning):
            return is_test
    raise ValueError("a secret key of YooKassa begins with test_ or live_")


def yookassa_amount(amount_minor: int, currency: str) -> dict[str, str]:
    """Minor units of ISO 4217 as YooKassa writes them: a decimal string with two decimals, also of a currency that has
    none. Raises UnpayableAmount."""
    exact = decimal_from_minor(amount_minor, currency)
    value = exact.quantize(_HUNDREDTH)
    if value != exact:
        raise UnpayableAmount(f"{amount_minor} minor units of {currency}")
    return {"value": f"{value:f}", "currency": currency}


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return (Decimal(one["value"]), one["currency"]) == (Decimal(other["value"]), other["currency"])


def _answer(payment: dict[str, Any], order: ChargeOrder) -> Answer:
    """What a payment says of the order that it was made for. Raises Silent where it took another sum than ordered: then
    nobody but a person can say what it is."""
    found = _state(payment)
    if found.state == "PAID" and _money(payment) != (order.amount_minor, order.currency):
        raise Silent
    return found


def _money(payment: dict[str, Any]) -> tuple[int, str]:
    amount = payment["amount"]
    return minor_from_decimal(Decimal(amount["value"]), amount["currency"]), str(amount["currency"])


def _state(payment: dict[str, Any]) -> Answer:
    reference, status = str(payment["id"]), payment["status"]
    if status == "succeeded":
        return Answer("PAID", reference, _charging_minor(payment))
    if status == "canceled":
        reason = (payment.get("cancellation_details") or {}).get("reason")
        state: State = "HARD" if reason in _NEVER_AGAIN else "SOFT"
        return Answer(state, reference)
    return Answer("PENDING", reference)


def _charging_minor(payment: dict[str, Any]) -> int:
    """What YooKassa keeps, of what it says it will pay out."""
    income = payment.get("income_amount")
    if income is None or income["currency"] != payment["amount"]["currency"]:
        return 0
    kept = Decimal(payment["amount"]["value"]) - Decimal(income["value"])
    scaled = kept.scaleb(exponent(income["currency"]))  # of a currency without decimals it may still have some
    return max(int(scaled.to_integral_value(ROUND_HALF_EVEN)), 0)


def _refunded(refund: dict[str, Any]) -> Answer:
    states: dict[str, State] = {"succeeded": "PAID", "canceled": "SOFT"}
    return Answer(states.get(refund["status"], "PENDING"), str(refund["id"]))


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
