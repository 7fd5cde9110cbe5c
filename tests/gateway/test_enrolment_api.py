"""Enrolment at a till: once whatever is retried, nothing to read back, and pre-printed cards keep their points."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import scopes
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import cards, consents
from tests.builders import DAY, NOON, violations
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_abuse import unknown_numbers
from tests.gateway.test_purchase_api import MEMBER, REJECTION, by_number, record

ENROL = f"""mutation($input: EnrolMemberInput!) {{ enrolMember(input: $input) {{ __typename
  ... on EnrolMemberSuccess {{ memberId cardLastFour cardNumber person {{ name phone email }} replayed cashierText
    slipLines }} {REJECTION} }} }}"""
ADA = {
    "name": "Ada Lovelace",
    "phone": "+44 20 7946 0018",
    "email": "ada@analytical.example",
    "birthDate": "1985-12-10",
}


tills = stand.Clients("bakery", "grocer")
template = a_coalition(tills.add, bakery={"return_window_days": 0}, grocer={})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await tills.sign_in(opened)
        yield opened
    assert await violations(database.pool) == []
    await coalition.desk.close()


@pytest.fixture
def till(gateway: Gateway) -> Till:
    return gateway.tills["bakery"]


def agreed(purpose: str = "PROGRAMME", **more: Any) -> dict[str, Any]:
    return {"purpose": purpose, "textVersion": "2026-01", "at": NOON.isoformat(), **more}


def joining(**more: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), "outlet": "1", "terminal": "1", "consents": [agreed()], **more}


async def written(gateway: Gateway) -> dict[str, int]:
    tables = (
        "members.member", "members.member_key", "members.personal", "members.alias", "members.card", "members.consent",
        "members.enrolment", "ledger.account",
    )  # fmt: skip
    pool = gateway.coalition.database.pool
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def test_somebody_becomes_a_member_with_their_consents_and_is_shown_back_masked(
    gateway: Gateway, till: Till
) -> None:
    given = [agreed(), agreed("PARTNER_TRANSFER", partner="bakery"), agreed("ADVERTISING_EMAIL")]
    done = await till.ask(ENROL, input=joining(person=ADA, consents=given, externalId="B-1"))
    assert done["person"] == {"name": "A*** L***", "phone": "***18", "email": "a***@***.example"}
    assert done["cashierText"] == f"Welcome! Card ending in {done['cardLastFour']}."
    assert cards.check_number(done["cardNumber"])
    refs = (
        {"cardNumber": done["cardNumber"]},
        {"phone": "0044 2079460018"},
        {"externalId": "B-1"},
        {"id": done["memberId"]},
    )
    for ref in refs:
        assert (await till.ask(MEMBER, ref=ref))["id"] == done["memberId"]
    member_id = await gateway.coalition.database.pool.fetchval("SELECT max(member_id) FROM members.member")
    async with gateway.coalition.database.reading() as connection:
        held = await consents.state_at(connection, member_id, NOON)
    bakery = gateway.coalition.callers["bakery"].partner_id
    assert {(one.purpose, one.partner_id, one.text_version, one.at) for one in held if one.granted} == {
        ("PROGRAMME", 0, "2026-01", NOON), ("PARTNER_TRANSFER", bakery, "2026-01", NOON),
        ("ADVERTISING_EMAIL", 0, "2026-01", NOON),
    }  # fmt: skip


async def test_a_retry_hears_the_same_member_and_writes_nothing(gateway: Gateway, till: Till) -> None:
    given = joining(person=ADA)
    first = await till.ask(ENROL, input=given)
    before = await written(gateway)
    await gateway.at(NOON + DAY)
    again = await till.ask(ENROL, input=given)
    assert again == first | {"replayed": True, "cardNumber": None}
    for change in ({"person": ADA | {"phone": "+44 20 7946 0019"}}, {"language": "ro"}, {"externalId": "X"}):
        assert (await till.ask(ENROL, input=given | change))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await till.ask(ENROL, input=joining(person=ADA)))["code"] == "ALREADY_ENROLLED"
    assert await written(gateway) == before


async def test_one_key_at_once_makes_one_member(gateway: Gateway, till: Till) -> None:
    given = joining(person=ADA)
    done = await asyncio.gather(*[till.ask(ENROL, input=given) for _ in range(8)])
    assert len({one["memberId"] for one in done}) == 1
    assert sum(not one["replayed"] for one in done) == 1
    assert (await written(gateway))["members.member"] == 1


async def test_two_keys_for_one_phone_at_once_make_one_member(gateway: Gateway, till: Till) -> None:
    done = await asyncio.gather(*[till.ask(ENROL, input=joining(person=ADA)) for _ in range(6)])
    assert sorted(one.get("code", "done") for one in done) == ["ALREADY_ENROLLED"] * 5 + ["done"]
    assert (await written(gateway))["members.enrolment"] == 1


async def test_a_pre_printed_card_is_registered_later_and_its_points_stay(gateway: Gateway, till: Till) -> None:
    async with gateway.coalition.database.transaction() as connection:
        [card] = await cards.issue_anonymous(connection, gateway.coalition.vault, 1, NOON)
    await record(till, card, stand.receipt("100.00"))
    assert (await till.ask(MEMBER, ref=by_number(card)))["status"] == "ANONYMOUS"
    given = joining(person=ADA, cardNumber=card.number)
    done = await till.ask(ENROL, input=given)
    assert (done["cardLastFour"], done["cardNumber"]) == (card.last_four, None)
    member = await till.ask(MEMBER, ref=by_number(card))
    assert (member["status"], member["balance"]["available"], member["id"]) == ("ACTIVE", "100", done["memberId"])
    before = await written(gateway)
    assert (await till.ask(ENROL, input=given))["replayed"]
    other = joining(cardNumber=card.number, person={"name": "Somebody Else"})
    assert (await till.ask(ENROL, input=other))["code"] == "CARD_REGISTERED"
    assert await written(gateway) == before


async def test_what_cannot_be_enrolled_is_told_why_and_writes_nothing(gateway: Gateway, till: Till) -> None:
    before = await written(gateway)
    for change, code in (
        ({"consents": []}, "CONSENT_REQUIRED"),
        ({"consents": [agreed("ADVERTISING_SMS")]}, "CONSENT_REQUIRED"),
        ({"consents": [agreed("PROGRAMME", partner="bakery")]}, "CONSENT_REQUIRED"),
        ({"consents": [agreed(), agreed("PROGRAMME AND MORE")]}, "CONSENT_INVALID"),
        ({"consents": [agreed(), agreed("PARTNER_TRANSFER", partner="grocer")]}, "CONSENT_INVALID"),
        ({"consents": [agreed(), agreed("PARTNER_TRANSFER", partner="nobody")]}, "CONSENT_INVALID"),
        ({"person": {"phone": "12"}}, "PERSONAL_INVALID"),
        ({"person": {"email": "nowhere"}}, "PERSONAL_INVALID"),
        ({"person": {"birthDate": "2030-01-01"}}, "PERSONAL_INVALID"),
        ({"language": "English"}, "PERSONAL_INVALID"),
        ({"externalId": ""}, "PERSONAL_INVALID"),
        ({"cardNumber": "1234"}, "CARD_UNKNOWN"),
        ({"outlet": "9"}, "OUTLET_UNKNOWN"),
        ({"terminal": "9"}, "TERMINAL_UNKNOWN"),
        ({"idempotencyKey": "short"}, "IDEMPOTENCY_KEY_INVALID"),
    ):
        assert (await till.ask(ENROL, input=joining(**change)))["code"] == code, change
    assert await written(gateway) == before


async def test_registering_is_no_way_to_guess_cards(gateway: Gateway, till: Till) -> None:
    async with gateway.coalition.database.transaction() as connection:
        [card] = await cards.issue_anonymous(connection, gateway.coalition.vault, 1, NOON)
    told = [(await till.ask(ENROL, input=joining(cardNumber=number)))["code"] for number in unknown_numbers(11)]
    assert told == ["CARD_UNKNOWN"] * 10 + ["RATE_LIMITED"]
    before = await written(gateway)
    assert (await till.ask(ENROL, input=joining(cardNumber=card.number)))["code"] == "RATE_LIMITED"
    assert await written(gateway) == before
    assert (await till.ask(ENROL, input=joining()))["__typename"] == "EnrolMemberSuccess"


async def test_two_partners_know_one_person_by_ids_that_share_nothing(gateway: Gateway, till: Till) -> None:
    done = await till.ask(ENROL, input=joining(person=ADA))
    other = gateway.tills["grocer"]
    assert (await other.ask(MEMBER, ref={"phone": ADA["phone"]}))["id"] != done["memberId"]
    assert await other.ask(MEMBER, ref={"id": done["memberId"]}) is None


async def test_enrolling_takes_its_scope(gateway: Gateway) -> None:
    other = await gateway.till("bakery", wanted=(scopes.POINTS_ACCRUE, scopes.MEMBERS_READ))
    before = await written(gateway)
    assert (await other.error(ENROL, input=joining()))["extensions"]["code"] == "FORBIDDEN"
    assert await written(gateway) == before
