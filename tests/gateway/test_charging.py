"""What every provider keeps, asked of each adapter: the simulator, and Stripe's and YooKassa's own libraries over real
HTTP to a server of this machine that answers as their documentation says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.charging import choice, tokens
from gateway.charging.choice import BadProvider
from gateway.charging.simulator import NotInProduction, Simulator
from gateway.charging.stripe_payments import Stripe, UnpayableAmount, stripe_amount
from gateway.charging.yookassa_payments import YooKassa, yookassa_amount
from kit.secrets import Vault, new_key
from kit.settings import Settings
from members.subscription.providers import (
    MANUAL,
    ChargeOrder,
    Forged,
    Heard,
    NoSetup,
    Provider,
    RefundOrder,
    Silent,
)
from tests.gateway import paying
from tests.gateway.paying import STRIPE_KEY, STRIPE_SECRET, YOOKASSA_KEY, Bank, Server

SANDBOX = Settings(clock="sandbox", charging="simulator")
VAULT = Vault(new_key())
WORDS = {"ok": "ok", "soft": "soft_decline", "hard": "hard_decline", "lost": "timeout", "silent": "timeout_then_ok",
         "pending": "pending"}  # fmt: skip
SIMULATOR, STRIPE, YOOKASSA = "simulator", "stripe", "yookassa"


@dataclass
class Shop:
    """An adapter, and what stands behind it."""

    provider: Provider
    bank: Bank | None = None
    numbers: int = 0

    def order(self, script: str, attempt: int = 1, **more: Any) -> ChargeOrder:
        """An order by a means that ends as the words say, one for each attempt."""
        self.numbers += attempt == 1
        if self.bank is None:
            token = ",".join(WORDS[word] for word in script.split("-"))
        else:
            customer = "cus_000000000009/" if self.provider.name == STRIPE else ""
            token = tokens.sealed(VAULT, self.provider.name, f"{customer}pm_{script}")
        key, now = f"{self.numbers:09d}-94-{attempt}", datetime.now(UTC)
        said = {"amount_minor": 1000, "currency": "EUR", "given_at": (now,)} | more
        return ChargeOrder(key, self.numbers, attempt, token=token, **said)

    def tell(self, key: str, reference: str, event: str = "event-1") -> tuple[Mapping[str, str], bytes]:
        """What the provider would tell of a payment by itself."""
        if isinstance(self.provider, Simulator):
            return self.provider.tell(key, event=event)
        if self.provider.name == STRIPE:
            its = {"id": reference, "object": "payment_intent", "metadata": {paying.ORDER: key}}
            return paying.stripe_event("payment_intent.succeeded", its, event_id=event)
        return paying.yookassa_event("payment.succeeded", reference)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with paying.serving() as running:
        yield running


def stripe(server: Server, **more: Any) -> Stripe:
    return Stripe(VAULT, STRIPE_KEY, [STRIPE_SECRET], address=server.address, **more)


def yookassa(server: Server, **more: Any) -> YooKassa:
    return YooKassa(VAULT, paying.SHOP, YOOKASSA_KEY, address=f"{server.address}/v3", **more)


def opened(name: str, server: Server) -> Shop:
    if name == SIMULATOR:
        return Shop(Simulator(SANDBOX))
    bank = server.banks[name]
    bank.__init__()  # type: ignore[misc]
    return Shop(stripe(server) if name == STRIPE else yookassa(server), bank)


@pytest.fixture(params=[SIMULATOR, STRIPE, YOOKASSA])
def shop(request: pytest.FixtureRequest, server: Server) -> Shop:
    return opened(request.param, server)


# --- The contract, of each --------------------------------------------------------------------------------------


async def test_a_charge_is_taken_and_says_what_the_provider_keeps(shop: Shop) -> None:
    answer = await shop.provider.charge(shop.order("ok"))
    assert (answer.state, bool(answer.reference)) == ("PAID", True)
    assert 0 < answer.charging_minor < 1000


@pytest.mark.parametrize(("word", "state"), [("soft", "SOFT"), ("hard", "HARD")])
async def test_a_decline_says_whether_waiting_mends_it(shop: Shop, word: str, state: str) -> None:
    first = shop.order(f"{word}-ok")
    assert (await shop.provider.charge(first)).state == state
    assert (await shop.provider.fetch(first)).state == state
    again = replace(first, key=first.key[:-1] + "2", attempt_no=2)
    assert (await shop.provider.charge(again)).state == "PAID"


async def test_an_order_that_is_given_twice_under_one_key_is_carried_out_once(shop: Shop) -> None:
    order = shop.order("ok")
    assert await shop.provider.charge(order) == await shop.provider.charge(order)
    if shop.bank is not None:
        assert len(shop.bank.taken) == 1


async def test_an_order_whose_answer_was_lost_is_found_when_it_is_asked_about(shop: Shop) -> None:
    order = shop.order("silent")
    with pytest.raises(Silent):
        await shop.provider.charge(order)
    found = await shop.provider.fetch(order)
    assert (found.state, found.charging_minor > 0) == ("PAID", True)
    if shop.bank is not None:
        shop.bank.forget_keys()  # even after the provider's own keys are forgotten
        assert await shop.provider.fetch(order) == found
        assert len(shop.bank.taken) == 1


async def test_an_order_that_never_arrived_is_unheard_of_and_asking_orders_nothing(shop: Shop) -> None:
    order = shop.order("lost")
    with pytest.raises(Silent):
        await shop.provider.charge(order)
    assert (await shop.provider.fetch(order)).state == "UNHEARD"
    if shop.bank is not None:
        assert shop.bank.payments == {}
        assert (await shop.provider.charge(order)).state == "PAID"  # under the same key
        assert len(shop.bank.taken) == 1


async def test_what_is_not_decided_yet_is_pending(shop: Shop) -> None:
    order = shop.order("pending")
    assert (await shop.provider.charge(order)).state == "PENDING"
    assert (await shop.provider.fetch(order)).state == "PENDING"


async def test_money_goes_back_once_under_its_key(shop: Shop) -> None:
    paid = await shop.provider.charge(shop.order("ok"))
    back = RefundOrder(f"refund-1-{paid.reference}", paid.reference, 400, "EUR")
    first = await shop.provider.refund(back)
    assert first.state == "PAID"
    if shop.bank is not None:
        shop.bank.forget_keys()
        assert (await shop.provider.refund(back)) == first
        assert [len(one.refunded) for one in shop.bank.taken] == [1]


async def test_what_a_provider_tells_is_a_hint_and_asking_says_how_it_stands(shop: Shop) -> None:
    order = shop.order("ok")
    answer = await shop.provider.charge(order)
    heard = shop.provider.read(*shop.tell(order.key, answer.reference))
    assert heard == shop.provider.read(*shop.tell(order.key, answer.reference))  # twice: the same event
    told = await shop.provider.look(heard[0])
    assert told is not None
    assert (told.key, told.state, told.reference, told.charging_minor) == (
        order.key, "PAID", answer.reference, answer.charging_minor,
    )  # fmt: skip


async def test_a_message_about_a_payment_that_is_not_ours_says_nothing(shop: Shop) -> None:
    heard = Heard("event-2", "PAYMENT", "22e12f66-000f-5000-8000-999999999999")
    assert await shop.provider.look(heard) is None


async def test_what_is_no_message_of_the_providers_is_forged(shop: Shop) -> None:
    for raw in (b"", b"[]", b"{}", b"\xff\xfe", b'{"id": "evt_1"}'):
        with pytest.raises(Forged):
            shop.provider.read({}, raw)


async def test_a_members_means_comes_from_a_page_of_the_providers_and_is_kept_sealed(shop: Shop) -> None:
    if shop.bank is None:
        with pytest.raises(NoSetup):
            await shop.provider.set_up("setup-1", return_to="https://tessera.example/app")
        assert await shop.provider.saved("nothing") is None
        return
    page = await shop.provider.set_up("setup-1", return_to="https://tessera.example/app")
    assert page.address.startswith("https://")
    assert await shop.provider.set_up("setup-1", return_to="https://tessera.example/app") == page
    assert await shop.provider.saved(page.reference) is None
    (paying.give_stripe_card if shop.provider.name == STRIPE else paying.give_yookassa_card)(shop.bank, page.reference)
    saved = await shop.provider.saved(page.reference)
    assert saved is not None
    assert saved.mark
    assert page.reference not in saved.token
    assert "pm_" not in saved.token
    assert (await shop.provider.charge(replace(shop.order("ok"), token=saved.token))).state == "PAID"


def test_every_provider_marks_the_invoices_of_a_test_and_waits_for_a_first_payment(shop: Shop) -> None:
    assert shop.provider.is_test
    assert shop.provider.first_payment_within > timedelta(hours=1)
    assert not MANUAL.is_test


# --- What those over HTTP have to stand --------------------------------------------------------------------------


@pytest.fixture(params=[STRIPE, YOOKASSA])
def real(request: pytest.FixtureRequest, server: Server) -> Shop:
    return opened(request.param, server)


async def test_a_means_that_the_provider_no_longer_knows_is_never_tried_again(real: Shop) -> None:
    assert (await real.provider.charge(real.order("gone"))).state == "HARD"


async def test_another_order_under_a_used_key_is_silence_and_the_first_is_found(real: Shop) -> None:
    order = real.order("ok")
    await real.provider.charge(order)
    with pytest.raises(Silent):
        await real.provider.charge(replace(order, amount_minor=2000))
    assert (await real.provider.fetch(order)).state == "PAID"
    with pytest.raises(Silent):  # another sum than was ordered: nobody but a person can say what it is
        await real.provider.fetch(replace(order, amount_minor=2000))


async def test_a_provider_that_does_not_answer_in_time_is_silent_and_did_it_once(server: Server, real: Shop) -> None:
    assert real.bank is not None
    slow = (stripe if real.provider.name == STRIPE else yookassa)(server, deadline_seconds=0.05)
    order = real.order("slow")
    with pytest.raises(Silent):
        await slow.charge(order)
    real.bank.gate.set()
    found = await real.provider.fetch(order)
    while found.state == "UNHEARD":  # the order is still on its way
        found = await real.provider.fetch(order)
    assert found.state == "PAID"
    assert len(real.bank.taken) == 1


async def test_a_provider_that_is_not_there_or_knows_us_not_is_silent(real: Shop) -> None:
    away = Shop(
        Stripe(VAULT, STRIPE_KEY + "x", [STRIPE_SECRET], address="http://127.0.0.1:9")
        if real.provider.name == STRIPE
        else YooKassa(VAULT, paying.SHOP, YOOKASSA_KEY, address="http://127.0.0.1:9/v3"),
        real.bank,
    )
    for deed in (away.provider.charge, away.provider.fetch):
        with pytest.raises(Silent):
            await deed(away.order("ok"))


async def test_among_many_payments_one_is_found(real: Shop) -> None:
    for _ in range(3):
        await real.provider.charge(real.order("ok"))
    order = real.order("ok")
    first = await real.provider.charge(order)
    assert real.bank is not None
    payments = real.bank.payments
    for number in range(120):  # more than a page of them since
        copy = replace(payments[first.reference], payment_id=f"{first.reference}-{number}", key=f"other-{number}")
        payments[copy.payment_id] = copy
    assert (await real.provider.fetch(order)).reference == first.reference


async def test_an_order_behind_more_payments_than_are_looked_through_is_never_unheard_of(server: Server) -> None:
    real = opened(STRIPE, server)
    assert real.bank is not None
    order = real.order("ok")
    first = await real.provider.charge(order)
    payments = real.bank.payments
    for number in range(320):
        copy = replace(payments[first.reference], payment_id=f"{first.reference}-{number}", key=f"other-{number}")
        payments[copy.payment_id] = copy
    with pytest.raises(Silent):  # who hears that it never came gives it again, and the key has been forgotten by then
        await real.provider.fetch(order)


async def test_secrets_are_in_no_log_and_in_no_error(
    real: Shop, server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(Silent) as silence:
        await real.provider.charge(real.order("silent"))
    await real.provider.charge(real.order("hard"))
    out, err = capfd.readouterr()
    said = out + err + caplog.text + repr(silence.value)
    for secret in (STRIPE_KEY, STRIPE_SECRET, YOOKASSA_KEY, "pm_silent", "pm_hard"):
        assert secret not in said


# --- Stripe's signatures, and minor units -----------------------------------------------------------------------


def test_an_event_of_stripes_counts_with_its_signature_and_within_five_minutes(server: Server) -> None:
    provider = Stripe(VAULT, STRIPE_KEY, ["whsec_old", STRIPE_SECRET], address=server.address)
    its = {"id": "pi_1", "metadata": {paying.ORDER: "k"}}
    headers, raw = paying.stripe_event("payment_intent.succeeded", its)
    assert provider.read(headers, raw) == [Heard("evt_1", "PAYMENT", "pi_1")]
    with pytest.raises(Forged):
        provider.read(headers, raw.replace(b"pi_1", b"pi_2"))
    with pytest.raises(Forged):
        provider.read(*paying.stripe_event("payment_intent.succeeded", its, secret="whsec_of_another"))
    for wrong in (time.time() - 301, time.time() + 320):
        with pytest.raises(Forged):
            provider.read(*paying.stripe_event("payment_intent.succeeded", its, at=wrong))
    for header in ("", "t=1", "v1=00", f"t=x,v1={'0' * 64}", headers["Stripe-Signature"].replace("v1=", "v0=")):
        with pytest.raises(Forged):
            provider.read({"stripe-signature": header}, raw)


def test_an_event_of_stripes_that_is_nothing_of_ours_is_nothing(server: Server) -> None:
    provider = stripe(server)
    assert provider.read(*paying.stripe_event("payment_intent.succeeded", {"id": "pi_1", "metadata": {}})) == []
    assert provider.read(*paying.stripe_event("customer.created", {"id": "cus_1"})) == []
    ours = {"id": "pi_1", "metadata": {paying.ORDER: "k"}}
    assert provider.read(*paying.stripe_event("payment_intent.succeeded", ours, livemode=True)) == []


async def test_a_payment_that_a_bank_takes_back_is_told_of_by_its_reference(server: Server) -> None:
    real = opened(STRIPE, server)
    assert real.bank is not None
    await real.provider.charge(real.order("ok"))
    made = paying.dispute(real.bank, real.bank.taken[0])
    [heard] = real.provider.read(*paying.stripe_event("charge.dispute.funds_withdrawn", made))
    told = await real.provider.look(heard)
    assert told is not None
    assert (told.state, told.reference) == ("CHARGEBACK", real.bank.taken[0].payment_id)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "theirs"),
    [(1050, "EUR", 1050), (500, "JPY", 500), (500, "ISK", 50_000), (500, "UGX", 50_000), (500, "MGA", 5),
     (1230, "KWD", 1230)],
)  # fmt: skip
def test_stripe_counts_minor_units_in_its_own_way(amount_minor: int, currency: str, theirs: int) -> None:
    assert stripe_amount(amount_minor, currency) == theirs


@pytest.mark.parametrize(
    ("amount_minor", "currency", "value"),
    [(1050, "RUB", "10.50"), (5, "RUB", "0.05"), (500, "JPY", "500.00"), (1230, "KWD", "1.23"),
     (90_071_992_547_409_93, "RUB", "90071992547409.93")],
)  # fmt: skip
def test_yookassa_writes_amounts_with_two_decimals(amount_minor: int, currency: str, value: str) -> None:
    assert yookassa_amount(amount_minor, currency) == {"value": value, "currency": currency}


@pytest.mark.parametrize(("name", "currency"), [(STRIPE, "KWD"), (STRIPE, "MGA"), (YOOKASSA, "KWD")])
async def test_a_sum_that_a_provider_cannot_write_is_not_charged(server: Server, name: str, currency: str) -> None:
    real = opened(name, server)
    assert (await real.provider.charge(real.order("ok", amount_minor=1231, currency=currency))).state == "HARD"
    assert real.bank is not None
    assert real.bank.requests == []
    with pytest.raises(UnpayableAmount):
        stripe_amount(1231, "KWD")


async def test_amounts_of_currencies_without_decimals_come_back_as_they_were_ordered(real: Shop) -> None:
    assert (await real.provider.charge(real.order("ok", amount_minor=500, currency="JPY"))).state == "PAID"
    order = real.order("ok", amount_minor=700, currency="ISK")
    assert (await real.provider.charge(order)).state == "PAID"
    assert (await real.provider.fetch(order)).state == "PAID"


# --- Which of them are at work ----------------------------------------------------------------------------------


async def test_the_simulator_does_as_its_script_says() -> None:
    simulator = Simulator(SANDBOX)
    shop = Shop(simulator)
    order = shop.order("soft-lost-silent-ok")
    assert (await simulator.charge(order)).state == "SOFT"
    second, third = (replace(order, key=f"{order.key[:-1]}{n}", attempt_no=n) for n in (2, 3))
    with pytest.raises(Silent):
        await simulator.charge(second)
    assert (await simulator.fetch(second)).state == "UNHEARD"
    with pytest.raises(Silent):
        await simulator.charge(third)
    assert (await simulator.fetch(third)).state == "PAID"
    headers, raw = simulator.tell(third.key)
    with pytest.raises(Forged):
        simulator.read(headers, raw.replace(b"PAYMENT", b"REFUND!"))


def test_money_is_real_where_the_clock_is_and_nowhere_else() -> None:
    with pytest.raises(NotInProduction):
        choice.of(Settings(clock="wall", charging="simulator"))
    assert list(choice.of(Settings(clock="wall"))) == ["manual"]
    assert sorted(choice.of(SANDBOX)) == ["manual", "simulator"]
    stripes: dict[str, Any] = {
        "stripe_key": SecretStr(STRIPE_KEY),
        "stripe_webhook_secrets": SecretStr("whsec_a,whsec_b"),
    }
    shops: dict[str, Any] = {"yookassa_shop": "1", "yookassa_key": SecretStr("test_1")}
    assert sorted(choice.of(Settings(clock="sandbox", **stripes, **shops), VAULT)) == ["manual", "stripe", "yookassa"]
    held = choice.of(Settings(clock="sandbox", charging="stripe", **stripes), VAULT)["stripe"]
    assert held is choice.of(Settings(clock="sandbox", **stripes), VAULT)["stripe"]
    live: dict[str, Any] = {"stripe_key": SecretStr("rk_live_1")}
    assert not choice.of(Settings(clock="wall", **stripes | live), VAULT)["stripe"].is_test
    assert not choice.of(Settings(clock="wall", **shops | {"yookassa_key": SecretStr("live_1")}), VAULT)[
        "yookassa"
    ].is_test


@pytest.mark.parametrize(
    "wrong",
    [
        {"charging": "stripe"},
        {"charging": "stripe", "stripe_key": "sk_test_1"},
        {"charging": "yookassa", "yookassa_key": "test_1"},
        {"stripe_key": "sk_test_1", "stripe_webhook_secrets": "whsec_1", "clock": "wall"},
        {"stripe_key": "sk_live_1", "stripe_webhook_secrets": "whsec_1"},
        {"stripe_key": "pk_test_1", "stripe_webhook_secrets": "whsec_1"},
        {"stripe_key": "sk_test_1", "stripe_webhook_secrets": "whsec_1", "stripe_address": "http://elsewhere.example"},
        {"yookassa_shop": "1", "yookassa_key": "live_1"},
        {"yookassa_shop": "1", "yookassa_key": "1"},
        {"yookassa_shop": "1", "yookassa_key": "test_1", "yookassa_networks": "10.0.0.0/8, nowhere"},
    ],
)
def test_a_provider_whose_settings_are_not_whole_does_not_start(wrong: dict[str, str]) -> None:
    with pytest.raises(BadProvider):
        choice.of(Settings(**{"clock": "sandbox"} | wrong), VAULT)  # type: ignore[arg-type]
