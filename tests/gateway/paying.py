"""A payment provider on this machine, for tests of the adapters: Stripe's and YooKassa's REST interfaces as their
documentation describes them, as far as we use them, over real HTTP. What it took it keeps in memory.

What it does about a charge is in the name of the means, words with dashes after its beginning: `pm_soft-ok` declines the
first attempt at an invoice softly and takes every one after it. It is no more than its documentation: that Stripe or
YooKassa does the same was never tried.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

STRIPE_KEY, STRIPE_SECRET = "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "whsec_aGVsbG8gd29ybGQ"
SHOP, YOOKASSA_KEY = "506751", "test_Fh8hUAVVBGUGbjmlzba6TB0iyUbos_lueTHE-axOwM0"
LIVE_STRIPE, LIVE_YOOKASSA = "sk_live_of_nobody", "live_of_nobody"
"""Keys of real money, for this server alone: invoices are none of a test."""
OK, SOFT, HARD, LOST, SILENT, PENDING, GONE, SLOW = "ok", "soft", "hard", "lost", "silent", "pending", "gone", "slow"
_WORDS = frozenset({OK, SOFT, HARD, LOST, SILENT, PENDING, GONE, SLOW})
_MOVED = frozenset({OK, LOST, SILENT, SLOW})
STRIPE, YOOKASSA = "stripe", "yookassa"
ORDER = "tessera_order"


class Unanswered(Exception):  # noqa: N818
    """The connection is cut without an answer."""


@dataclass
class Payment:
    """A charge as the provider holds it."""

    payment_id: str
    key: str
    means: str
    customer: str
    amount: str
    currency: str
    word: str
    created: float
    refunded: list[dict[str, Any]] = field(default_factory=list)


class Bank:
    """One provider's account of ours: what it was asked for and what it did."""

    def __init__(self) -> None:
        self.payments: dict[str, Payment] = {}
        self.answers: dict[tuple[str, str], tuple[str, int, Any]] = {}
        self.pages: dict[str, dict[str, Any]] = {}
        self.disputes: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.is_away = False
        self._numbers = count(1)
        self._lost: set[str] = set()
        self._lock = threading.Lock()

    @property
    def taken(self) -> list[Payment]:
        """Payments in which money moved, in order."""
        return [one for one in self.payments.values() if one.word in _MOVED]

    def by_key(self, key: str) -> Payment:
        """The payment of an order."""
        [found] = [one for one in self.payments.values() if one.key == key]
        return found

    def decide(self, key: str) -> None:
        """What was pending comes to its end: the money moves."""
        self.by_key(key).word = OK

    def back_to(self, payments: dict[str, Payment]) -> None:
        """Everything since is forgotten, but no number is given twice."""
        self.payments, self._lost = dict(payments), set()
        self.answers.clear()

    def forget_keys(self) -> None:
        """A day passes: idempotency keys are forgotten, payments are not."""
        self.answers.clear()

    def number(self, prefix: str) -> str:
        """A new id."""
        return f"{prefix}{next(self._numbers):012d}"

    def once(self, key: str, path: str, content: str, make: Any) -> tuple[int, Any]:
        """What was answered under a key, or is answered now; another content under it is refused."""
        with self._lock:
            if key and (key, path) in self.answers:
                said, status, answer = self.answers[key, path]
                return (status, answer) if said == content else (400, None)
            status, answer = make()
            if key:
                self.answers[key, path] = (content, status, answer)
            return status, answer

    def word(self, means: str, key: str) -> str:
        """What is done about the attempt that a key names, by a means."""
        words = [each for each in means.partition("_")[2].split("-") if each in _WORDS] or [OK]
        return words[min(int(key.rpartition("-")[2]), len(words)) - 1]

    def loses(self, means: str, key: str) -> bool:
        """Whether an order is lost on its way: the first time, where the word says so."""
        is_first = key not in self._lost
        self._lost.add(key)
        return is_first and self.word(means, key) == LOST


class Server:
    """Both interfaces, each with a bank of its own, at an address of this machine."""

    def __init__(self, port: int = 0) -> None:
        self.banks = {STRIPE: Bank(), YOOKASSA: Bank()}
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self.banks))
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def stripe(self) -> Bank:
        return self.banks[STRIPE]

    @property
    def yookassa(self) -> Bank:
        return self.banks[YOOKASSA]

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        for bank in self.banks.values():
            bank.gate.set()
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving() -> Iterator[Server]:
    """A server for as long as a test wants it."""
    server = Server()
    server.start()
    try:
        yield server
    finally:
        server.close()


# --- What providers tell by themselves --------------------------------------------------------------------------


def stripe_event(
    kind: str, its: dict[str, Any], *, event_id: str = "evt_1", secret: str = STRIPE_SECRET, at: float | None = None,
    livemode: bool = False,
) -> tuple[dict[str, str], bytes]:  # fmt: skip
    """A signed event: headers and raw bytes. The signature as Stripe documents it: HMAC-SHA256 of `t.body`."""
    event = {"id": event_id, "object": "event", "type": kind, "livemode": livemode, "data": {"object": its}}
    raw = json.dumps(event).encode()
    stamp = int(time.time() if at is None else at)
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={signature}"}, raw


def yookassa_event(kind: str, reference: str) -> tuple[dict[str, str], bytes]:
    """A notification: it has no signature."""
    return {}, json.dumps({"type": "notification", "event": kind, "object": {"id": reference}}).encode()


# --- HTTP -------------------------------------------------------------------------------------------------------


def _handler(banks: dict[str, Bank]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._do(b"")

        def do_POST(self) -> None:
            self._do(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _do(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            asked = dict(parse_qsl(parts.query))
            is_stripe = parts.path.startswith("/v1/")
            bank = banks[STRIPE if is_stripe else YOOKASSA]
            bank.requests.append((self.command, parts.path))
            try:
                if bank.is_away:
                    raise Unanswered
                if is_stripe:
                    status, answer = _stripe(bank, self.command, parts.path, asked, body, dict(self.headers))
                else:
                    status, answer = _yookassa(bank, self.command, parts.path, asked, body, dict(self.headers))
            except Unanswered:
                self.close_connection = True
                self.connection.close()
                return
            said = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            return

    return Handler


def _taking(bank: Bank, payment: Payment, status: int, answer: Any) -> tuple[int, Any]:
    """The provider took an order: it answers, or its answer is lost."""
    if payment.word == SLOW:
        bank.gate.wait(60)
    if payment.word == SILENT:
        raise Unanswered
    return status, answer


# --- Stripe -----------------------------------------------------------------------------------------------------


def _stripe(
    bank: Bank, method: str, path: str, asked: dict[str, str], body: bytes, headers: dict[str, str]
) -> tuple[int, Any]:
    if headers.get("Authorization") not in (f"Bearer {STRIPE_KEY}", f"Bearer {LIVE_STRIPE}"):
        return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
    said, key = dict(parse_qsl(body.decode())), headers.get("Idempotency-Key", "")
    kind, _, reference = path.removeprefix("/v1/").partition("/")
    if kind == "checkout":
        kind, reference = "sessions", reference.partition("/")[2]
    if method == "POST":
        makers = {"payment_intents": _stripe_charge, "refunds": _stripe_refund, "customers": _stripe_customer,
                  "sessions": _stripe_session}  # fmt: skip
        made: list[Payment] = []
        if kind == "payment_intents" and bank.loses(said["payment_method"], key):
            raise Unanswered
        status, answer = bank.once(key, path, body.decode(), lambda: makers[kind](bank, said, key, made))
        if answer is None:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
            )
            return 400, {"error": {"type": "idempotency_error", "message": message}}
        return _taking(bank, made[0], status, answer) if made else (status, answer)
    if kind == "payment_intents" and reference:
        found = bank.payments.get(reference)
        return (200, _intent(found)) if found else _stripe_missing("payment_intent")
    if kind == "payment_intents":
        own = [one for one in reversed(bank.payments.values()) if one.customer == asked["customer"]]
        behind = [one.payment_id for one in own].index(asked["starting_after"]) + 1 if "starting_after" in asked else 0
        page = own[behind : behind + int(asked.get("limit", 10))]
        return 200, _list([_intent(one) for one in page], "/v1/payment_intents", len(own) > behind + len(page))
    if kind == "refunds":
        payment = bank.payments.get(asked["payment_intent"])
        return 200, _list([] if payment is None else payment.refunded, "/v1/refunds", False)
    if kind == "disputes" and reference in bank.disputes:
        return 200, bank.disputes[reference]
    if kind == "sessions" and reference in bank.pages:
        return 200, bank.pages[reference]
    return _stripe_missing("id")


def _stripe_charge(bank: Bank, said: dict[str, str], key: str, made: list[Payment]) -> tuple[int, Any]:
    assert (said["confirm"], said["off_session"]) == ("true", "true")
    word = bank.word(said["payment_method"], key)
    if word == GONE:
        return _stripe_missing("payment_method")
    payment = Payment(
        bank.number("pi_"), said[f"metadata[{ORDER}]"], said["payment_method"], said["customer"], said["amount"],
        said["currency"], word, time.time(),
    )  # fmt: skip
    bank.payments[payment.payment_id] = payment
    made.append(payment)
    if word in (SOFT, HARD):
        return 402, {"error": {**_stripe_decline(word), "payment_intent": _intent(payment)}}
    return 200, _intent(payment)


def _stripe_decline(word: str) -> dict[str, Any]:
    code = "insufficient_funds" if word == SOFT else "stolen_card"
    return {
        "type": "card_error", "code": "card_declined", "decline_code": code, "message": "Your card was declined.",
        "advice_code": "try_again_later" if word == SOFT else "do_not_try_again",
    }  # fmt: skip


def _intent(payment: Payment) -> dict[str, Any]:
    is_paid, is_declined = payment.word in _MOVED, payment.word in (SOFT, HARD)
    states = {True: "succeeded", False: "requires_payment_method" if is_declined else "processing"}
    entry = {
        "id": "txn_1", "object": "balance_transaction", "fee": int(payment.amount) * 29 // 1000,
        "currency": payment.currency,
    }  # fmt: skip
    charge = {"id": f"ch_{payment.payment_id}", "object": "charge", "balance_transaction": entry}
    return {
        "id": payment.payment_id, "object": "payment_intent", "amount": int(payment.amount),
        "amount_received": int(payment.amount) if is_paid else 0, "currency": payment.currency,
        "customer": payment.customer, "status": states[is_paid], "metadata": {ORDER: payment.key}, "livemode": False,
        "latest_charge": charge if is_paid else None,
        "last_payment_error": _stripe_decline(payment.word) if is_declined else None,
    }  # fmt: skip


def _stripe_refund(bank: Bank, said: dict[str, str], key: str, made: list[Payment]) -> tuple[int, Any]:
    payment = bank.payments.get(said["payment_intent"])
    if payment is None:
        return _stripe_missing("payment_intent")
    back = {
        "id": bank.number("re_"), "object": "refund", "amount": int(said["amount"]), "status": "succeeded",
        "payment_intent": payment.payment_id, "currency": payment.currency,
    }  # fmt: skip
    payment.refunded.append(back)
    return 200, back


def _stripe_customer(bank: Bank, said: dict[str, str], key: str, made: list[Payment]) -> tuple[int, Any]:
    return 200, {"id": bank.number("cus_"), "object": "customer"}


def _stripe_session(bank: Bank, said: dict[str, str], key: str, made: list[Payment]) -> tuple[int, Any]:
    assert said["mode"] == "setup"
    reference = bank.number("cs_test_")
    bank.pages[reference] = {
        "id": reference, "object": "checkout.session", "customer": said["customer"], "status": "open",
        "url": f"https://checkout.stripe.com/c/pay/{reference}", "setup_intent": None,
    }  # fmt: skip
    return 200, bank.pages[reference]


def give_stripe_card(bank: Bank, reference: str, means: str = "pm_ok", fingerprint: str = "Xt5EWLLDS7FJjR1c") -> None:
    """The member gives a card on Stripe's page."""
    card = {"id": means, "object": "payment_method", "card": {"fingerprint": fingerprint, "last4": "4242"}}
    setup = {"id": "seti_1", "object": "setup_intent", "status": "succeeded", "payment_method": card}
    bank.pages[reference] |= {"status": "complete", "setup_intent": setup}


def dispute(bank: Bank, payment: Payment) -> dict[str, Any]:
    """A bank takes a payment back."""
    made = {"id": bank.number("du_"), "object": "dispute", "payment_intent": payment.payment_id}
    bank.disputes[made["id"]] = made
    return made


def _list(data: list[Any], url: str, has_more: bool) -> dict[str, Any]:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def _stripe_missing(param: str) -> tuple[int, Any]:
    error = {"type": "invalid_request_error", "code": "resource_missing", "param": param, "message": "No such object"}
    return 404, {"error": error}


# --- YooKassa ---------------------------------------------------------------------------------------------------


def _yookassa(
    bank: Bank, method: str, path: str, asked: dict[str, str], body: bytes, headers: dict[str, str]
) -> tuple[int, Any]:
    keys = [base64.b64encode(f"{SHOP}:{key}".encode()).decode() for key in (YOOKASSA_KEY, LIVE_YOOKASSA)]
    if headers.get("Authorization") not in [f"Basic {key}" for key in keys]:
        return 401, {"type": "error", "code": "invalid_credentials"}
    kind, _, reference = path.removeprefix("/v3/").partition("/")
    key = headers.get("Idempotence-Key", "")
    if method == "POST":
        said = json.loads(body)
        if not key or len(key) > 64:
            return 400, {"type": "error", "code": "invalid_request", "parameter": "Idempotence-Key"}
        makers = {"payments": _yookassa_charge, "refunds": _yookassa_refund, "payment_methods": _yookassa_page}
        made: list[Payment] = []
        if kind == "payments" and bank.loses(said["payment_method_id"], key):
            raise Unanswered
        status, answer = bank.once(key, path, body.decode(), lambda: makers[kind](bank, said, key, made))
        if answer is None:
            return 400, {"type": "error", "code": "invalid_request", "parameter": "Idempotence-Key"}
        return _taking(bank, made[0], status, answer) if made else (status, answer)
    if kind == "payments" and reference:
        found = bank.payments.get(reference)
        return (200, _payment(found)) if found else (404, {"type": "error", "code": "not_found"})
    if kind == "payments":
        since, until = asked["created_at.gte"], asked["created_at.lte"]
        own = [one for one in map(_payment, reversed(bank.payments.values())) if since <= one["created_at"] <= until]
        behind, limit = int(asked.get("cursor", 0)), int(asked["limit"])
        page: dict[str, Any] = {"type": "list", "items": own[behind : behind + limit]}
        return 200, page | ({"next_cursor": str(behind + limit)} if len(own) > behind + limit else {})
    if kind == "refunds":
        payment = bank.payments.get(asked["payment_id"])
        return 200, {"type": "list", "items": [] if payment is None else payment.refunded}
    if kind == "payment_methods" and reference in bank.pages:
        return 200, bank.pages[reference]
    return 404, {"type": "error", "code": "not_found"}


def _yookassa_charge(bank: Bank, said: dict[str, Any], key: str, made: list[Payment]) -> tuple[int, Any]:
    assert said["capture"] is True
    means, amount = said["payment_method_id"], said["amount"]
    word = bank.word(means, key)
    if word == GONE:
        return 400, {"type": "error", "code": "invalid_request", "parameter": "payment_method_id"}
    assert isinstance(amount["value"], str)
    assert Decimal(amount["value"]).as_tuple().exponent == -2, "an amount is a decimal string with two decimals"
    payment = Payment(
        bank.number("22e12f66-000f-5000-8000-"), said["metadata"][ORDER], means, "", amount["value"],
        amount["currency"], word, time.time(),
    )  # fmt: skip
    bank.payments[payment.payment_id] = payment
    made.append(payment)
    return 200, _payment(payment)


def _payment(payment: Payment) -> dict[str, Any]:
    is_paid, is_declined = payment.word in _MOVED, payment.word in (SOFT, HARD)
    states = {True: "succeeded", False: "canceled" if is_declined else "pending"}
    stamp = datetime.fromtimestamp(payment.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said: dict[str, Any] = {
        "id": payment.payment_id, "status": states[is_paid], "paid": is_paid, "created_at": stamp, "test": True,
        "amount": {"value": payment.amount, "currency": payment.currency}, "metadata": {ORDER: payment.key},
    }  # fmt: skip
    if is_paid:
        income = (Decimal(payment.amount) * Decimal("0.965")).quantize(Decimal("0.01"))
        said["income_amount"] = {"value": str(income), "currency": payment.currency}
    if is_declined:
        reason = "insufficient_funds" if payment.word == SOFT else "permission_revoked"
        said["cancellation_details"] = {"party": "payment_network", "reason": reason}
    return said


def _yookassa_refund(bank: Bank, said: dict[str, Any], key: str, made: list[Payment]) -> tuple[int, Any]:
    payment = bank.payments.get(said["payment_id"])
    if payment is None:
        return 404, {"type": "error", "code": "not_found"}
    back = {
        "id": bank.number("216749f7-0016-50be-b000-"), "status": "succeeded", "amount": said["amount"],
        "payment_id": payment.payment_id,
    }  # fmt: skip
    payment.refunded.append(back)
    return 200, back


def _yookassa_page(bank: Bank, said: dict[str, Any], key: str, made: list[Payment]) -> tuple[int, Any]:
    reference = bank.number("2d0c5b9a-000f-5000-a000-")
    address = f"https://yoomoney.ru/checkout/payments/v2/contract?orderId={reference}"
    bank.pages[reference] = {
        "id": reference, "type": "bank_card", "saved": False, "status": "pending",
        "confirmation": {"type": "redirect", "confirmation_url": address},
    }  # fmt: skip
    return 200, bank.pages[reference]


def give_yookassa_card(bank: Bank, reference: str, last4: str = "4444") -> None:
    """The member gives a card on YooKassa's page."""
    card = {"first6": "555555", "last4": last4, "expiry_year": "2030", "expiry_month": "07"}
    bank.pages[reference] |= {"saved": True, "status": "active", "card": card}
