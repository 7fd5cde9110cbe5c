"""What the app of a member brought to the schema: a card for a device, an estimate, every answer given, being forgotten."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.sessions import session
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import cards, proofs
from members.cards import IssuedCard
from tests import builders
from tests.builders import violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.membership.test_membership_api import CONSENT, REJECTION, a_till, earning, keyed
from tests.gateway.stand import Till
from tests.gateway.test_purchase_api import RECORD

ADA = "ada@example.org"
PUT = f"""mutation($input: PutCardOnDeviceInput!) {{ putCardOnDevice(input: $input) {{ __typename
  ... on PutCardOnDeviceSuccess {{ replayed card {{ id number codeRef codeSecret stepSeconds at }} }} {REJECTION} }} }}"""
FORGET = f"""mutation($input: ForgetMeInput!) {{ forgetMe(input: $input) {{ __typename
  ... on ForgetMeSuccess {{ replayed }} {REJECTION} }} }}"""
ESTIMATE = """query($partner: String!, $total: Decimal!) { viewer { ... on Member { own { estimate(partner: $partner, total: $total) {
  points total { amount } reasons { points text } maxRedeem { points boundBy } } } } } }"""
ENTRIES = """query($kinds: [EntryKind!], $partner: String) { viewer { ... on Member { own { entries(kinds: $kinds, partner: $partner) {
  nodes { number kind change answers } } } } } }"""
ANSWERS = "{ viewer { ... on Member { own { consentHistory { granted purpose channel partner { code } } } } } }"


@dataclass
class Home:
    """A gateway with pages, a bakery with a till, and Ada with a card and a browser."""

    desk: Desk
    till: Till
    card: IssuedCard
    ada: Script

    @property
    def pool(self) -> Any:
        return self.desk.database.pool

    async def rows(self) -> list[int]:
        """How many rows there are of what a member may write."""
        tables = ("members.card", "members.consent", "kit.audit_trail", "members.message", "gateway.person_call")
        return [await self.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def home(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Home]:
    coalition = await met(database, vault)
    card = await coalition.add_member(name="Ada", email=ADA)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        yield Home(desk, await a_till(desk), card, await script_of(await desk.signed_in(ADA)))
    assert await violations(database.pool) == []
    await coalition.desk.close()


async def test_a_device_gets_a_card_of_its_own_once_and_against_a_fresh_proof(home: Home) -> None:
    call = keyed()
    told = (await home.ada.ask(PUT, input=call))["card"]
    secret = urlsafe_b64decode(told["codeSecret"] + "=" * (-len(told["codeSecret"]) % 4))
    assert len(secret) == cards.SECRET_BYTES
    code = proofs.code_for(secret, told["codeRef"], proofs.step_at(home.desk.wall()))
    async with home.desk.database.reading() as connection:
        proof = await proofs.verify_code(connection, home.desk.vault, code, at=home.desk.wall())
    assert (proof.member_id, cards.check_number(told["number"])) == (home.card.member_id, True)
    assert any("put on a device" in body for _, body in await home.desk.letters())
    before = await home.rows()
    assert await home.ada.ask(PUT, input=call) == {
        "__typename": "PutCardOnDeviceSuccess", "replayed": True, "card": None,
    }  # fmt: skip
    home.desk.wall.at += session.STEP_UP
    assert (await home.ada.ask(PUT, input=keyed()))["code"] == "STEP_UP_REQUIRED"
    assert await home.rows() == before


async def test_a_devices_card_ends_with_its_session_wherever_that_is_ended_and_goes_on_with_a_new_proof(
    home: Home,
) -> None:
    status = "SELECT status FROM members.card WHERE card_id = (SELECT max(card_id) FROM members.card)"
    phone = await script_of(await home.desk.signed_in(ADA))
    await phone.ask(PUT, input=keyed())
    # Proving again who one is replaces the session at this browser, and takes nothing from the device.
    home.desk.wall.at += session.STEP_UP
    await home.desk.at_wall()  # letters of one instant come in any order
    await phone.browser.fill("/confirm")
    assert (await phone.browser.enter(await home.desk.code_for(ADA))).status_code == 303
    assert await home.pool.fetchval(status) == "ACTIVE"
    again = await script_of(phone.browser)
    await again.ask(PUT, input=keyed())
    before_last = "SELECT status FROM members.card ORDER BY card_id DESC OFFSET 1 LIMIT 1"
    assert [await home.pool.fetchval(each) for each in (status, before_last)] == ["ACTIVE", "LOST"]
    # The phone is gone: at home all else is signed out.
    await home.ada.browser.fill("/security", "/security/end-all")
    assert await home.pool.fetchval(status) == "LOST"
    assert await home.pool.fetchval("SELECT status FROM members.card WHERE card_id = $1", home.card.card_id) == "ACTIVE"


async def test_a_member_has_so_many_cards_and_no_more(home: Home) -> None:
    async with home.desk.database.transaction() as connection:
        for _ in range(cards.MOST_ACTIVE - 1):
            await cards.issue(connection, home.desk.vault, member_id=home.card.member_id, at=home.desk.wall())
    before = await home.rows()
    assert await home.ada.ask(PUT, input=keyed()) == {
        "__typename": "Rejection", "code": "CARDS_TOO_MANY", "retryable": True,
    }  # fmt: skip
    assert await home.rows() == before


async def test_an_estimate_is_what_the_till_is_quoted_and_writes_nothing(home: Home) -> None:
    await home.till.ask(RECORD, input=earning(home.card, "1000.00"))
    before = await builders.rows_written(home.pool)
    told = (await home.ada.ask(ESTIMATE, partner="bakery", total="80.00"))["own"]["estimate"]
    quoted = await home.till.ask(
        "query($input: QuoteInput!) { quote(input: $input) { points reasons { points text } maxRedeem { points boundBy } } }",
        input={"member": {"cardNumber": home.card.number}, "receipt": stand.receipt("80.00")},
    )
    assert told.pop("total") == {"amount": "80.00"}
    assert told == quoted
    assert await builders.rows_written(home.pool) == before
    for partner, total, code in (("nobody", "1", "PARTNER_UNKNOWN"), ("bakery", "-1", "AMOUNT_NEGATIVE")):
        home.desk.wall.move(seconds=20)
        refused = await home.ada.error(ESTIMATE, partner=partner, total=total)
        assert refused["rejection"]["code"] == code


async def test_entries_are_of_a_kind_or_a_partner_where_that_is_asked_and_each_tells_its_own_change(home: Home) -> None:
    for total in ("100.00", "40.00"):
        await home.till.ask(RECORD, input=earning(home.card, total))
    everything = (await home.ada.ask(ENTRIES))["own"]["entries"]["nodes"]
    assert sum(int(each["change"]) for each in everything) == 140
    earned = (await home.ada.ask(ENTRIES, kinds=["ACCRUAL"], partner="bakery"))["own"]["entries"]["nodes"]
    assert [each for each in everything if each["kind"] == "ACCRUAL"] == earned
    assert [each["change"] for each in earned] == ["40", "100"]
    assert (await home.ada.ask(ENTRIES, partner="grocer"))["own"]["entries"]["nodes"] == []
    home.desk.wall.move(seconds=20)
    assert (await home.ada.error(ENTRIES, partner="nobody"))["rejection"]["code"] == "PARTNER_UNKNOWN"


async def test_every_answer_stays_in_the_history_of_consents(home: Home) -> None:
    wish = {"purpose": "ADVERTISING_EMAIL", "textVersion": "app-1"}
    for granted in (True, False):
        home.desk.wall.move(seconds=2)
        await home.desk.at_wall()
        await home.ada.ask(CONSENT, input=keyed(**wish, granted=granted))
    told = (await home.ada.ask(ANSWERS))["own"]["consentHistory"]
    assert [(each["purpose"], each["granted"], each["channel"]) for each in told] == [
        ("ADVERTISING_EMAIL", False, "MEMBERS_APP"), ("ADVERTISING_EMAIL", True, "MEMBERS_APP"),
        ("PROGRAMME", True, "PARTNER"),
    ]  # fmt: skip


async def test_who_is_forgotten_is_gone_and_signed_out_and_only_a_fresh_proof_does_it(home: Home) -> None:
    home.desk.wall.at += session.STEP_UP
    before = await home.rows()
    assert (await home.ada.ask(FORGET, input=keyed()))["code"] == "STEP_UP_REQUIRED"
    assert await home.rows() == before
    fresh = await script_of(await home.desk.signed_in(ADA))
    assert await fresh.ask(FORGET, input=keyed()) == {"__typename": "ForgetMeSuccess", "replayed": False}
    for script in (fresh, home.ada):
        assert (await script.post("{ viewer { __typename } }")).status_code == 401
    assert await home.pool.fetchval("SELECT count(*) FROM members.personal") == 0
    assert await home.till.ask(
        "query($r: MemberRefInput!) { member(ref: $r) { status } }", r={"cardNumber": home.card.number}
    ) is None  # fmt: skip
