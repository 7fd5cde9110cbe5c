"""Where webhooks may go, when they are sent again, what is kept of an answer, and what a document looks like."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks import addresses, answers, kinds, retrying
from gateway.webhooks.addresses import WebhookUrlInvalid
from gateway.webhooks.kinds import KINDS, Event
from kit.settings import Settings
from tests.builders import NOON

SECONDS = timedelta(seconds=1)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.org/tessera", "https://8.8.8.8:8443/x?y=1", "https://xn--p1ai.xn--p1ai/"]
)
def test_a_public_https_address_is_taken_as_it_is(url: str) -> None:
    assert addresses.check(f" {url} ", is_sandbox=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/", "ftp://hooks.example.org/", "https://", "https:///path", "//hooks.example.org/",
        "https://user@hooks.example.org/", "https://:pass@hooks.example.org/", "https://hooks.example.org/#part",
        "https://hooks.example.org:0/", "https://hooks.example.org:99999/", "https://hooks.example.org/\nHost: x",
        "https://hooks.example.org/a b", "https://пример.рф/", "https://localhost/", "https://localhost./",
        "https://printer/", "https://db.internal/", "https://db.local./", "https://127.0.0.1/", "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/", "https://0x7f.1/", "https://2130706433/", "https://127.1/", "https://0/",
        "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:7f00:1::]/", "https://100.64.0.1/", "https://224.0.0.1/",
        "https://hooks.example.org/" + "x" * 500, "http://127.0.0.1:9/", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_https_is_refused(url: str) -> None:
    with pytest.raises(WebhookUrlInvalid):
        addresses.check(url, is_sandbox=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hooks", "https://localhost/", "http://[::1]:9/"])
def test_a_sandbox_may_be_told_on_this_machine_and_nowhere_else_inside(url: str) -> None:
    assert addresses.check(url, is_sandbox=True) == url
    for other in ("http://10.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/", "http://hooks.example.org/"):
        with pytest.raises(WebhookUrlInvalid):
            addresses.check(other, is_sandbox=True)


def test_a_sandbox_that_others_reach_calls_no_machine_of_its_own() -> None:
    for clock, issuer, may in (
        ("sandbox", "http://localhost:8000", True), ("sandbox", "https://sandbox.example.org", False),
        ("wall", "http://127.0.0.1:8000", False),
    ):  # fmt: skip
        assert addresses.is_own_sandbox(Settings.model_validate({"clock": clock, "issuer": issuer})) is may


@given(st.ip_addresses())
def test_no_private_loopback_link_local_or_multicast_address_is_public(address) -> None:  # type: ignore[no-untyped-def]
    if addresses.is_public(address):
        assert address.is_global
        inside = (address.is_private, address.is_loopback, address.is_link_local, address.is_multicast)
        assert not any(inside)


@given(st.ip_addresses(v=4))
def test_an_address_hidden_in_another_notation_is_what_it_hides(address) -> None:  # type: ignore[no-untyped-def]
    if not addresses.is_public(address):
        for inside in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert not addresses.is_public(ip_address(inside))


def test_the_schedule_is_ten_attempts_over_three_days_and_nothing_comes_earlier_than_it_says() -> None:
    at, waits = NOON, []
    for tries in range(1, retrying.MOST_TRIES):
        following = retrying.next_at(7, tries, at=at)
        assert following is not None
        waits.append(following - at)
        at = following
    assert retrying.next_at(7, retrying.MOST_TRIES, at=at) is None
    for wait, least in zip(waits, retrying.WAITS, strict=True):
        assert least <= wait <= least * 6 / 5
    assert timedelta(days=3) < at - NOON < timedelta(days=4)


@given(st.integers(1, 10**9), st.integers(1, retrying.MOST_TRIES - 1), st.integers(0, 10**6))
def test_a_wait_is_the_same_each_time_it_is_asked_and_never_shorter_than_the_endpoint_asked(
    number: int, tries: int, asked: int
) -> None:
    following = retrying.next_at(number, tries, at=NOON, asked=asked * SECONDS)
    assert following == retrying.next_at(number, tries, at=NOON, asked=asked * SECONDS)
    assert following is not None
    assert following - NOON >= min(asked * SECONDS, retrying.LONGEST_ASKED_WAIT)


def test_an_endpoint_rests_after_five_failures_longer_each_time_and_an_hour_at_most() -> None:
    assert [retrying.rests_until(n, at=NOON) for n in range(5)] == [None] * 5
    rests = [retrying.rests_until(n, at=NOON) - NOON for n in range(5, 500)]  # type: ignore[operator]
    assert rests == sorted(rests)
    assert (rests[0], rests[-1]) == (timedelta(minutes=1), timedelta(hours=1))
    assert not retrying.is_given_up(NOON, at=NOON + timedelta(days=5) - SECONDS)
    assert retrying.is_given_up(NOON, at=NOON + timedelta(days=5))


def test_of_an_answer_its_beginning_is_kept_without_persons_and_secrets() -> None:
    said = answers.kept(
        b"<p>no Ada ada@example.org +49 (30) 123-45 67 card 4711 0815 4711 0815\n\x00key "
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0</p>\xff out of stock 42"
    )
    for hidden in ("ada@example.org", "123-45 67", "4711 0815", "eyJ", "\x00", "\n"):
        assert hidden not in said
    assert said.startswith("<p>no Ada")
    assert said.endswith("out of stock 42")


@given(st.binary(max_size=5_000))
def test_whatever_is_answered_a_short_text_of_one_line_is_kept(raw: bytes) -> None:
    said = answers.kept(raw)
    assert len(said) <= answers.LONGEST_KEPT
    assert said.isprintable()


@pytest.mark.parametrize("type", KINDS)
def test_a_document_is_thin_versioned_and_the_same_each_time(type: str) -> None:
    event = Event(1, type, "1/1", NOON, KINDS[type].sample)
    body = kinds.document(event, event_id="evt_x", sequence=3)
    assert body == kinds.document(event, event_id="evt_x", sequence=3)
    told = orjson.loads(body)
    assert set(told) == {"id", "type", "version", "timestamp", "sequence", "data"}
    assert told["timestamp"] == "2026-03-02T12:00:00Z"
    assert len(body) < 20_000
    for name in ("points", "awarded", "redeemed", "used", "ceiling"):
        assert isinstance(told["data"].get(name, ""), str)
