"""How long lists may be, how often tokens and phone numbers are asked for, and what is forgotten in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from gateway import usage, worker
from gateway.oauth import clients
from gateway.sessions import session, store
from gateway.sessions.session import Person
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import erasure
from members.cards import IssuedCard
from members.guesses import UNKNOWN_PHONES
from members.messages import MEMBER as MEMBERS
from tests import builders
from tests.builders import NOON, found
from tests.gateway import stand
from tests.gateway.signers import Program, key_client
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_purchase_api import ACCRUE_MANY, MEMBER, QUOTE, RECORD, by_number
from tests.gateway.toys import Toy

PHONE = "+49 30 1234567"


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery")
    await coalition.add_partner("grocer")
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        for code in ("bakery", "grocer"):
            await opened.till(code)
        yield opened
    await coalition.desk.close()


@pytest.fixture
def till(gateway: Gateway) -> Till:
    return gateway.tills["bakery"]


@pytest.fixture
async def card(gateway: Gateway) -> IssuedCard:
    return await gateway.coalition.add_member(phone=PHONE)


# --- Lists --------------------------------------------------------------------------------------------------


def lines(count: int) -> list[dict[str, Any]]:
    return [{"lineId": str(number), "amount": "1.00"} for number in range(count)]


async def test_a_list_of_a_hundred_is_taken_and_one_more_is_not(till: Till, card: IssuedCard) -> None:
    for document in (QUOTE, RECORD):
        for count in (100, 101):
            receipt = stand.receipt(f"{count}.00", lines=lines(count))
            given: dict[str, Any] = {"member": by_number(card), "receipt": receipt}
            if document is RECORD:
                given["idempotencyKey"] = stand.key()
            body = (await till.post(document, input=given)).json()
            if count == 100:
                assert "errors" not in body, body
            else:
                assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
                assert "at most 100 items" in body["errors"][0]["message"]


async def test_a_list_in_the_document_itself_is_bounded_too(till: Till) -> None:
    roles = ", ".join(['"A"'] * 101)
    document = f'mutation {{ inviteColleague(input: {{idempotencyKey: "k", name: "n", email: "e", roles: [{roles}]}}) {{ __typename }} }}'
    error = await till.error(document)
    assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    assert "more than 100 items in a list" in error["message"]


async def test_a_batch_has_five_hundred_items_whose_lists_have_as_many(till: Till, card: IssuedCard) -> None:
    def batch(*receipts: dict[str, Any]) -> dict[str, Any]:
        items = [{"member": by_number(card), "receipt": receipt} for receipt in receipts]
        return {"idempotencyKey": stand.key(), "items": items}

    done = await till.ask(ACCRUE_MANY, input=batch(stand.receipt("300.00", lines=lines(300))))
    assert done["accepted"] == 1
    error = await till.error(ACCRUE_MANY, input=batch(stand.receipt("501.00", lines=lines(501))))
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    no = await till.ask(ACCRUE_MANY, input=batch(*[stand.receipt("1.00") for _ in range(501)]))
    assert no["code"] == "BATCH_INVALID"


# --- Tokens -------------------------------------------------------------------------------------------------


async def test_a_client_asks_for_sixty_tokens_at_once_and_then_for_one_a_second(gateway: Gateway) -> None:
    hasty = await gateway.till("bakery", allowance=None)
    secret = await secret_of(gateway, hasty)
    answers = [
        await gateway.http.post(
            "/oauth/token", auth=(hasty.client_id, secret), data={"grant_type": "client_credentials"}
        )
        for _ in range(75)
    ]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {answer.status_code for answer in refused} == {429}
    assert refused[0].json()["error"] == "temporarily_unavailable"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].headers["cache-control"] == "no-store"
    # Another client is not concerned, and whoever does not know the secret uses nothing of it up.
    assert (await gateway.till("grocer", allowance=None)).token


async def secret_of(gateway: Gateway, till: Till) -> str:
    async with gateway.coalition.database.transaction() as connection:
        return await clients.rotate(
            connection, till.client_id, overlap=clients.LONGEST_OVERLAP, by="tester", at=clock.wall()
        )


async def test_of_a_client_of_many_tills_one_does_not_use_up_the_others_tokens(own_toy: Toy) -> None:
    hasty = await key_client(own_toy)
    answers = [await hasty.token(grant_type="client_credentials") for _ in range(75)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert answers[-1].status_code == 429
    other = Program(own_toy, hasty.client_id, signer=hasty.signer)  # another key, as another till of the client has
    assert (await other.token(grant_type="client_credentials")).status_code == 200
    # Whoever cannot show who they are is refused as before, however often, and uses nothing up.
    assert (await own_toy.ask_token()).status_code == 200
    for _ in range(70):
        form = {"grant_type": "client_credentials"}
        refused = await own_toy.http.post("/oauth/token", data=form, auth=(own_toy.client_id, "wrong"))
        assert refused.status_code == 401
    assert (await own_toy.ask_token()).status_code == 200


# --- Phone numbers ------------------------------------------------------------------------------------------


async def test_thirty_unknown_phones_an_hour_then_a_terminal_is_told_nothing_of_any(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async def look(who: Till, phone: str) -> Any:
        body = (await who.post(MEMBER, ref={"phone": phone}, outlet="1", terminal="1")).json()
        return body["data"]["member"] if "errors" not in body else body["errors"][0]["extensions"]["rejection"]["code"]

    assert await look(till, "no phone") is None  # a slip of the finger tells nothing and counts for nothing
    unknown = [f"+4930{number:07d}" for number in range(UNKNOWN_PHONES + 1)]
    assert [await look(till, phone) for phone in unknown[:-1]] == [None] * UNKNOWN_PHONES
    assert await look(till, unknown[-1]) == await look(till, PHONE) == await look(till, unknown[0]) == "RATE_LIMITED"
    # Cards are counted apart, and another till may go on.
    assert (await till.ask(MEMBER, ref=by_number(card), outlet="1", terminal="1"))["id"]
    assert (await look(gateway.tills["grocer"], PHONE))["id"]
    alerts = "SELECT count(*) FROM kit.audit_trail WHERE action = 'PHONE_NUMBERS_GUESSED'"
    assert await gateway.coalition.database.pool.fetchval(alerts) == 1


# --- Forgetting ---------------------------------------------------------------------------------------------


async def test_what_lets_a_forgotten_member_sign_in_is_deleted_and_others_keep_theirs(
    database: Database, vault: Vault
) -> None:
    coalition = await builders.found(database, vault)
    gone, stays = await coalition.add_member(email="a@example.org"), await coalition.add_member()
    now = clock.wall()
    async with database.transaction() as connection:
        for member_id in (gone.member_id, stays.member_id):
            person = Person(MEMBERS, member_id)
            await session.begin(connection, person, proved_by=session.CODE, browser="?", replaces=None, now=now)
            await store.insert_passkey(
                connection,
                {"credential_id": member_id.to_bytes(8, "big"), "audience": MEMBERS, "person_id": member_id,
                 "public_key": b"k", "sign_count": 0, "is_synced": False, "now": now},
            )  # fmt: skip
        await erasure.forget(connection, gone.member_id, by="tester", at=NOON)
    assert await worker.forget_members(database, NOON, asyncio.Event()) == 2
    assert await worker.forget_members(database, NOON, asyncio.Event()) == 0
    for table in ("gateway.session", "gateway.passkey"):
        left = await database.pool.fetch(f"SELECT person_id FROM {table}")
        assert [row["person_id"] for row in left] == [stays.member_id]
    await coalition.desk.close()


async def test_counts_of_fields_are_kept_for_thirteen_months(own_toy: Toy) -> None:
    number = await own_toy.database.pool.fetchval("SELECT max(client_no) FROM gateway.client")
    today = date(2026, 11, 22)
    for day in (today, today - usage.KEPT, today - usage.KEPT - usage.LOOK_BACK):
        await own_toy.database.pool.execute(
            "INSERT INTO gateway.field_use (client_no, used_on, field, uses) VALUES ($1, $2, 'Query.one', 1)",
            number,
            day,
        )
    async with own_toy.database.transaction() as connection:
        assert await usage.forget(connection, today=today) == 1
        assert await usage.totals(connection, since=date(2000, 1, 1)) == {"Query.one": 2}
    assert "forget-uses" in worker.SCHEDULE
