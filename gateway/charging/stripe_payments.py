"""Stripe, over its own library: payment intents without the member there, refunds, set-up pages, signed events.

What of it was never tried against Stripe itself is in docs/decisions/0035-providers.md.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import stripe
from stripe import RequestsClient, StripeClient, WebhookSignature

from gateway.charging import tokens
from gateway.charging.calling import CONNECT_SECONDS, DEADLINE_SECONDS, READ_SECONDS, Threads
from kit.amounts import exponent
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
    Told,
)

NAME = "stripe"
TOLERANCE_SECONDS = 300
ORDER, SIGNATURE = "tessera_order", "stripe-signature"
_EXPANDED = ["latest_charge.balance_transaction"]
_LISTED = 300
"""How many of a customer's payments are looked through for one: years of renewals and their retries."""

# Amounts are in a currency's smallest unit as Stripe counts it, which for these is not that of ISO 4217.
# https://docs.stripe.com/currencies
_EXPONENTS = {"ISK": 2, "UGX": 2, "MGA": 0}
_NEVER_AGAIN = frozenset(
    {
        "authentication_required", "card_not_supported", "currency_not_supported", "expired_card", "fraudulent",
        "highest_risk_level", "incorrect_cvc", "incorrect_number", "invalid_account", "invalid_cvc",
        "invalid_expiry_month", "invalid_expiry_year", "invalid_number", "lost_card", "merchant_blacklist",
        "new_account_information_available", "no_action_taken", "not_permitted", "pickup_card", "restricted_card",
        "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation", "stolen_card",
        "stop_payment_order", "transaction_not_allowed",
    }
)  # fmt: skip
"""Codes of a decline that no waiting mends: the member has to give another means."""
_MEANS_GONE = frozenset({"payment_method", "customer"})
_PAYMENTS = frozenset(f"payment_intent.{word}" for word in ("succeeded", "payment_failed", "canceled", "processing"))

logging.getLogger("stripe").setLevel(logging.WARNING)  # at lower levels its log holds bodies


class UnpayableAmount(Exception):  # noqa: N818 - it is what the amount is
    """Stripe does not know so small a part of the currency."""


class Stripe:
    """Charges cards that members gave on Stripe's page. A test key marks invoices as tests."""

    name = NAME
    is_automatic = True
    takes_tokens = False
    first_payment_within: timedelta = AUTOMATIC_WITHIN

    def __init__(
        self, vault: Vault, key: str, webhook_secrets: Sequence[str], *, address: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:  # fmt: skip
        stripe.enable_telemetry = False
        self.is_test = is_test_key(key)
        self._vault = vault
        self._secrets = tuple(webhook_secrets)
        self._client = StripeClient(
            key,
            http_client=RequestsClient(timeout=(CONNECT_SECONDS, READ_SECONDS)),
            base_addresses={} if address is None else {"api": address},
            max_network_retries=0,  # who asks again is due work, and it asks before
        )
        self._threads = Threads(NAME, deadline_seconds)

    async def charge(self, order: ChargeOrder) -> Answer:
        """Order a charge, once under its key, of a card whose owner is not there. Raises Silent."""
        return await self._threads.call("charge", lambda: self._charge(order))

    async def fetch(self, order: ChargeOrder) -> Answer:
        """What became of an order, found among the customer's payments by what was written on it: Stripe's own keys
        live a day, and its search lags behind. Raises Silent."""
        return await self._threads.call("fetch", lambda: self._fetch(order))

    async def refund(self, order: RefundOrder) -> Answer:
        """Order money back, once: what went back of this payment before is found first. Raises Silent."""
        return await self._threads.call("refund", lambda: self._refund(order))

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
        """What a signed event is about. Raises Forged for a signature that fits none of our secrets, and for one that
        is older than five minutes or of the future."""
        given = {name.lower(): value for name, value in headers.items()}.get(SIGNATURE, "")
        if not any(_is_signed(raw, given, secret) for secret in self._secrets):
            raise Forged("the signature fits none of our secrets, or is of another time")
        try:
            event = json.loads(raw)
            kind, event_id, its = event["type"], event["id"], event["data"]["object"]
            if event.get("livemode", not self.is_test) == self.is_test:
                return []  # of the other place's money
            if kind in _PAYMENTS:
                return [Heard(event_id, "PAYMENT", its["id"])] if ORDER in (its.get("metadata") or {}) else []
            if kind == "charge.dispute.funds_withdrawn":
                return [Heard(event_id, "CHARGEBACK", its["id"])]
            if kind == "checkout.session.completed":
                return [Heard(event_id, "MEANS", its["id"])]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Forged("it is no event") from error
        return []

    async def look(self, heard: Heard) -> Told | None:
        """How a payment or a dispute stands now. Raises Silent."""
        return await self._threads.call("look", lambda: self._look(heard))

    async def set_up(self, key: str, *, return_to: str) -> Setup:
        """A page where a member gives a card: a customer of their own, and a session for it. Raises Silent."""
        return await self._threads.call("set_up", lambda: self._set_up(key, return_to))

    async def saved(self, reference: str) -> Saved | None:
        """The card that a session came to; its mark is Stripe's fingerprint of its number. Raises Silent."""
        return await self._threads.call("saved", lambda: self._saved(reference))

    # --- In a thread ------------------------------------------------------------------------------------------

    def _charge(self, order: ChargeOrder) -> Answer:
        customer, means = self._means(order)
        try:
            amount = stripe_amount(order.amount_minor, order.currency)
        except UnpayableAmount:
            return Answer("HARD", "amount")
        try:
            intent = self._client.v1.payment_intents.create(
                {
                    "amount": amount,
                    "currency": order.currency.lower(),
                    "customer": customer,
                    "payment_method": means,
                    "confirm": True,
                    "off_session": True,
                    "error_on_requires_action": True,
                    "metadata": {ORDER: order.key},
                    "expand": _EXPANDED,
                },
                {"idempotency_key": order.key},
            )
        except stripe.CardError as declined:
            error = {} if declined.error is None else declined.error.to_dict()
            return _declined(str((error.get("payment_intent") or {}).get("id", "")), error)
        except stripe.InvalidRequestError as wrong:
            if wrong.code == "resource_missing" and wrong.param in _MEANS_GONE:
                return Answer("HARD", "means-gone")
            raise
        return _answer(intent.to_dict(), order)

    def _fetch(self, order: ChargeOrder) -> Answer:
        customer, _ = self._means(order)
        page = self._client.v1.payment_intents.list(
            {"customer": customer, "limit": 100, "expand": [f"data.{field}" for field in _EXPANDED]}
        )
        for number, intent in enumerate(page.auto_paging_iter()):
            its = intent.to_dict()
            if (its.get("metadata") or {}).get(ORDER) == order.key:
                return _answer(its, order)
            if number >= _LISTED:
                raise Silent  # nobody has looked at all of them
        return Answer("UNHEARD")

    def _refund(self, order: RefundOrder) -> Answer:
        amount = stripe_amount(order.amount_minor, order.currency)
        earlier = self._client.v1.refunds.list({"payment_intent": order.payment, "limit": 100})
        for one in earlier.data:
            if one.amount == amount and one.status not in ("failed", "canceled"):
                return _refunded(one.to_dict())
        made = self._client.v1.refunds.create(
            {"payment_intent": order.payment, "amount": amount, "metadata": {ORDER: order.key}},
            {"idempotency_key": order.key},
        )
        return _refunded(made.to_dict())

    def _look(self, heard: Heard) -> Told | None:
        try:
            if heard.kind == "CHARGEBACK":
                dispute = self._client.v1.disputes.retrieve(heard.reference).to_dict()
                return Told("", "CHARGEBACK", str(dispute["payment_intent"] or ""))
            intent = self._client.v1.payment_intents.retrieve(heard.reference, {"expand": _EXPANDED}).to_dict()
        except stripe.InvalidRequestError as wrong:
            if wrong.code == "resource_missing":
                return None
            raise
        key = (intent.get("metadata") or {}).get(ORDER)
        if key is None:
            return None
        its = _state(intent)
        return Told(str(key), its.state, its.reference, its.charging_minor, *_money(intent))

    def _set_up(self, key: str, return_to: str) -> Setup:
        customer = self._client.v1.customers.create({}, {"idempotency_key": f"{key}-customer"})
        page: Any = {  # the library's own type of it is a union of a hundred means
            "mode": "setup",
            "customer": customer.id,
            "payment_method_types": ["card"],
            "success_url": return_to,
            "cancel_url": return_to,
        }
        session = self._client.v1.checkout.sessions.create(page, {"idempotency_key": f"{key}-page"})
        return Setup(session.id, str(session.url))

    def _saved(self, reference: str) -> Saved | None:
        session = self._client.v1.checkout.sessions.retrieve(
            reference, {"expand": ["setup_intent.payment_method"]}
        ).to_dict()
        setup = session.get("setup_intent") or {}
        if session.get("status") != "complete" or setup.get("status") != "succeeded":
            return None
        means: dict[str, Any] = setup["payment_method"]
        mark = (means.get("card") or {}).get("fingerprint")
        return Saved(tokens.sealed(self._vault, NAME, f"{session['customer']}/{means['id']}"), mark)

    def _means(self, order: ChargeOrder) -> tuple[str, str]:
        customer, _, means = tokens.opened(self._vault, NAME, order.token).partition("/")
        return customer, means


def is_test_key(key: str) -> bool:
    """Whether a secret or restricted key is of Stripe's test mode. Raises ValueError for what is no such key."""
    for beginning, is_test in (("sk_test_", True), ("rk_test_", True), ("sk_live_", False), ("rk_live_", False)):
        if key.startswith(beginning):
            return is_test
    raise ValueError("a secret key of Stripe begins with sk_ or rk_, and live_ or test_")


def stripe_amount(amount_minor: int, currency: str) -> int:
    """Minor units of ISO 4217 as Stripe counts them. Raises UnpayableAmount.

    Source: Stripe's list of currencies. Króna and shillings of Uganda have no decimals, yet are sent with two that are
    zero; the ariary has two in ISO 4217 and none at Stripe; of currencies with three decimals the last is zero.
    """
    ours = exponent(currency)
    theirs = _EXPONENTS.get(currency, ours)
    if theirs >= ours:
        amount = amount_minor * int(10 ** (theirs - ours))
    else:
        amount, rest = divmod(amount_minor, int(10 ** (ours - theirs)))
        if rest:
            raise UnpayableAmount(f"{amount_minor} minor units of {currency}")
    if theirs == 3 and amount % 10:
        raise UnpayableAmount(f"{amount_minor} minor units of {currency}")
    return amount


def minor_of(stripe_units: int, currency: str) -> int:
    """Minor units of ISO 4217 of an amount as Stripe counts it."""
    ours = exponent(currency)
    theirs = _EXPONENTS.get(currency, ours)
    return stripe_units * int(10 ** (ours - theirs)) if ours >= theirs else stripe_units // int(10 ** (theirs - ours))


def _answer(intent: dict[str, Any], order: ChargeOrder) -> Answer:
    """What an intent says of the order that it was made for. Raises Silent where it took another sum than ordered: then
    nobody but a person can say what it is."""
    found = _state(intent)
    if found.state == "PAID" and _money(intent) != (order.amount_minor, order.currency):
        raise Silent
    return found


def _money(intent: dict[str, Any]) -> tuple[int, str]:
    currency = str(intent["currency"]).upper()
    return minor_of(int(intent.get("amount_received") or 0), currency), currency


def _state(intent: dict[str, Any]) -> Answer:
    reference, status = str(intent["id"]), intent["status"]
    if status == "succeeded":
        return Answer("PAID", reference, _charging_minor(intent))
    if status == "canceled":
        return Answer("SOFT", reference)
    if status == "requires_payment_method":
        return _declined(reference, intent.get("last_payment_error") or {})
    return Answer("PENDING", reference)


def _declined(reference: str, error: Mapping[str, Any]) -> Answer:
    codes = {error.get("code"), error.get("decline_code")}
    is_final = bool(codes & _NEVER_AGAIN) or error.get("advice_code") in ("do_not_try_again", "confirm_card_data")
    return Answer("HARD" if is_final else "SOFT", reference or "declined")


def _charging_minor(intent: dict[str, Any]) -> int:
    """What Stripe keeps, where it keeps it in the payment's own currency; else it is in its statement alone."""
    charge = intent.get("latest_charge")
    entry = charge.get("balance_transaction") if isinstance(charge, dict) else None
    if not isinstance(entry, dict) or entry["currency"] != intent["currency"]:
        return 0
    return minor_of(int(entry["fee"]), str(entry["currency"]).upper())


def _refunded(refund: dict[str, Any]) -> Answer:
    if refund["status"] == "succeeded":
        return Answer("PAID", str(refund["id"]))
    return Answer("SOFT" if refund["status"] in ("failed", "canceled") else "PENDING", str(refund["id"]))


def _is_signed(raw: bytes, given: str, secret: str) -> bool:
    try:
        WebhookSignature.verify_header(raw, given, secret, TOLERANCE_SECONDS)
        stamped, _ = WebhookSignature._get_timestamp_and_signatures(given, WebhookSignature.EXPECTED_SCHEME)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return bool(stamped <= time.time() + TOLERANCE_SECONDS)  # the library looks at the past alone
