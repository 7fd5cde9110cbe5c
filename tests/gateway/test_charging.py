"""What every provider keeps, asked of each that runs here; and that the simulator charges nobody for real."""

from __future__ import annotations

import pytest

from gateway.charging import choice
from gateway.charging.simulator import NotInProduction, Simulator
from kit.settings import Settings
from members.subscription.providers import MANUAL, ChargeOrder, Forged, Provider, RefundOrder, Silent

SANDBOX = Settings(clock="sandbox", charging="simulator")


def order(token: str, attempt: int = 1) -> ChargeOrder:
    return ChargeOrder(f"000000001-94-{attempt}", 1, attempt, 1000, "EUR", token)


@pytest.fixture(params=["manual", "simulator"])
def provider(request: pytest.FixtureRequest) -> Provider:
    return MANUAL if request.param == "manual" else Simulator(SANDBOX)


async def test_an_order_that_is_given_twice_under_one_key_is_carried_out_once(provider: Provider) -> None:
    first, again = await provider.charge(order("ok,hard_decline")), await provider.charge(order("ok,hard_decline"))
    assert first == again
    refunds = [await provider.refund(RefundOrder("r-1", "p-1", 10, "EUR")) for _ in range(2)]
    assert refunds[0] == refunds[1]


async def test_what_was_never_ordered_is_unheard_of(provider: Provider) -> None:
    assert (await provider.fetch("nothing")).state == "UNHEARD"


async def test_a_message_whose_bytes_were_touched_is_not_the_providers(provider: Provider) -> None:
    with pytest.raises(Forged):
        provider.read({"x-simulator-signature": "00"}, b'{"key": "k", "state": "PAID"}')


async def test_invoices_of_a_provider_that_charges_nobody_say_so(provider: Provider) -> None:
    assert provider.is_test == (provider.name == "simulator")
    assert provider.first_payment_within.total_seconds() > 0


async def test_the_simulator_does_as_its_script_says() -> None:
    simulator = Simulator(SANDBOX)
    script = "soft_decline,timeout,timeout_then_ok,ok"
    assert (await simulator.charge(order(script, 1))).state == "SOFT"
    with pytest.raises(Silent):
        await simulator.charge(order(script, 2))
    assert (await simulator.fetch(order(script, 2).key)).state == "UNHEARD"
    with pytest.raises(Silent):
        await simulator.charge(order(script, 3))
    assert (await simulator.fetch(order(script, 3).key)).state == "PAID"
    assert (await simulator.charge(order(script, 9))).state == "PAID"
    headers, raw = simulator.tell(order(script, 3).key)
    assert [told.state for told in simulator.read(headers, raw)] == ["PAID"]
    with pytest.raises(Forged):
        simulator.read(headers, raw.replace(b"PAID", b"SOFT"))


def test_the_simulator_does_not_start_in_production() -> None:
    with pytest.raises(NotInProduction):
        choice.of(Settings(clock="wall", charging="simulator"))
    assert list(choice.of(Settings(clock="wall"))) == ["manual"]
    assert sorted(choice.of(SANDBOX)) == ["manual", "simulator"]
