"""Files over HTTP and what is asked over GraphQL: a partner has its own and no other's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from starlette.routing import Router

from gateway import scopes
from gateway.finance import reconciliation_pages
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from settlement.reconciliation import comparing, intake
from settlement.reconciliation.intake import FileRule
from tests.builders import found, rows_written
from tests.gateway import stand
from tests.gateway.stand import NOON, Gateway, Till
from tests.settlement.reconciling import Row, file_of

TODAY = NOON.date()
WANTED = (scopes.SETTLEMENT_FILES, scopes.SETTLEMENT_READ)
FILES = "{ partnerFiles { nodes { id partnerName state code sequence records points } } }"
BREAKS = "{ settlementBreaks(first: 1) { nodes { category partnerName points value { amount } daysOpen } pageInfo { hasNextPage } } }"
PAYMENTS = "{ settlementPayments { nodes { reference } } }"


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery")
    await coalition.add_partner("grocer")
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        opened.app.router.routes.extend(Router(reconciliation_pages.ROUTES).routes)
        yield opened
    await coalition.desk.close()


async def send(till: Till, content: bytes, query: str = "") -> tuple[int, dict[str, object]]:
    answer = await till.http.post(
        f"/settlement/files{query}", content=content, headers={"Authorization": f"Bearer {till.token}"}
    )
    return answer.status_code, answer.json()


async def get(till: Till, path: str) -> tuple[int, bytes]:
    answer = await till.http.get(path, headers={"Authorization": f"Bearer {till.token}"})
    return answer.status_code, answer.content


def rows(count: int = 2, day: date = TODAY) -> list[Row]:
    return [Row("1", day, f"R{n}", "SALE", 5, 500) for n in range(count)]


async def test_a_partner_sends_a_file_reads_what_became_of_it_and_sees_no_other_s(gateway: Gateway) -> None:
    bakery, grocer = await gateway.till("bakery", wanted=WANTED), await gateway.till("grocer", wanted=WANTED)
    content = file_of("bakery", TODAY, 1, rows())
    status, said = await send(bakery, content)
    assert (status, said["state"], said["records"], said["points"]) == (200, "TAKEN", 2, "10")
    assert [(await send(bakery, content))[0] for _ in range(2)] == [422, 422]
    assert (await send(grocer, content))[1]["code"] == "FILE_PARTNER"

    async with gateway.coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "fina", [actors.FINANCE_MAKER])
        await comparing.compare(connection, 1, actor="fina", at=NOON)
    assert (await get(bakery, f"/settlement/files/{said['id']}"))[0] == 200
    status, told = await get(bakery, f"/settlement/files/{said['id']}/result")
    assert (status, told.count(b"MISSING_OURS")) == (200, 2)
    for path in (f"/settlement/files/{said['id']}", f"/settlement/files/{said['id']}/result", "/settlement/files/1"):
        assert (await get(grocer, path))[0] == 404

    own = (await bakery.ask(FILES))["nodes"]
    assert [(one["state"], one["partnerName"]) for one in own] == [("REFUSED", "Bakery")] * 2 + [("TAKEN", "Bakery")]
    assert {one["partnerName"] for one in (await grocer.ask(FILES))["nodes"]} == {"Grocer"}
    found = await bakery.ask(BREAKS)
    assert (found["nodes"][0]["category"], found["pageInfo"]["hasNextPage"]) == ("FILE", True)
    staff = await gateway.till(None, wanted=(scopes.SETTLEMENT_READ,))
    assert {one["partnerName"] for one in (await staff.ask(FILES))["nodes"]} == {"Bakery", "Grocer"}
    assert (await staff.ask(PAYMENTS))["nodes"] == []


async def test_whoever_may_not_send_or_sends_what_is_no_file_writes_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = await gateway.till("bakery", wanted=(scopes.SETTLEMENT_READ,))
    staff = await gateway.till(None, wanted=WANTED)
    sender = await gateway.till("bakery", wanted=WANTED)
    content = file_of("bakery", TODAY, 1, rows())
    assert (await send(till, content))[0] == 403
    assert (await send(staff, content))[0] == 400
    assert (await send(sender, content, "?format=exe"))[0] == 400
    monkeypatch.setattr(reconciliation_pages, "LARGEST_FILE", 50)
    assert (await send(sender, content))[0] == 413
    answer = await sender.http.post("/settlement/files", content=content)
    assert answer.status_code == 401
    assert await gateway.coalition.database.pool.fetchval("SELECT count(*) FROM settlement.partner_file") == 0


SEND = """mutation($i: SendPartnerFileInput!) { sendPartnerFile(input: $i) { __typename ... on SendPartnerFileSuccess {
  replayed file { id state records lines { nodes { line reference code match } } } } ... on Rejection { code } } }"""


async def test_a_program_sends_a_small_file_in_a_call_once_and_its_own_alone(gateway: Gateway) -> None:
    bakery = await gateway.till("bakery", wanted=WANTED)
    pool = gateway.coalition.database.pool
    async with gateway.coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "finn", [actors.FINANCE_CHECKER])
        rule = FileRule("RECORDS")
        await intake.change_rule(
            connection, gateway.coalition.callers["bakery"].partner_id, rule, actor="finn", at=NOON
        )
    content = file_of("bakery", TODAY, 1, [*rows(), Row("1", TODAY, "R9", "GIFT", 5, 500)]).decode()
    said = {"idempotencyKey": stand.key(), "content": content}
    told = [await bakery.ask(SEND, i=said) for _ in range(2)]
    assert [one["replayed"] for one in told] == [False, True]
    assert told[0]["file"] == told[1]["file"]
    assert told[0]["file"]["lines"]["nodes"] == [
        {"line": 2, "reference": "R0", "code": None, "match": None},
        {"line": 3, "reference": "R1", "code": None, "match": None},
        {"line": 4, "reference": "R9", "code": "KIND_UNKNOWN", "match": None},
    ]
    before = await rows_written(pool)
    assert (await bakery.ask(SEND, i={**said, "content": "H"}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await bakery.ask(SEND, i={**said, "idempotencyKey": "short"}))["code"] == "IDEMPOTENCY_KEY_INVALID"
    for wrong in ({"partner": "grocer"}, {"partner": "nobody"}, {"format": "EXE"}):
        answer = (await bakery.post(SEND, i={**said, **wrong})).json()
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert await rows_written(pool) == before
    refused = await bakery.ask(SEND, i={"idempotencyKey": stand.key(), "content": "H", "format": "JSONL"})
    assert (refused["file"]["state"], refused["file"]["records"]) == ("REFUSED", 0)
