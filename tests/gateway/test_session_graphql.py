"""GraphQL in the name of somebody who is signed in at a browser, and what keeps others out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request

from gateway.sessions import asking, session, viewers
from gateway.sessions.asking import NotAnswered
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import erasure
from members.messages import COLLEAGUE, MEMBER, STAFF
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Browser, Desk

ADA, ANNA = "ada@example.org", "anna@example.org"
WHO = """{ viewer { __typename ... on Member { id tier identifiedBy balance { available } own { spendingLocked } }
  ... on Staff { name roles scopes clientId } ... on PartnerClient { scopes partner { code } person { name roles } } } }"""
STATEMENTS = "{ settlementStatements { nodes { id } } }"


template = a_coalition(bakery={})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    await coalition.add_member(email=ADA)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


@pytest.fixture
async def ada(desk: Desk) -> Script:
    return await script_of(await desk.signed_in(ADA))


def request_of(desk: Desk, browser: Browser) -> Request:
    """A page's request from this browser."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    return Request(
        {
            "type": "http", "method": "GET", "path": "/app", "query_string": b"", "app": desk.application,
            "headers": [(b"cookie", cookies.encode())], "request_id": "page-1",
        }
    )  # fmt: skip


# --- Who is whom --------------------------------------------------------------------------------------------


async def test_a_member_who_is_signed_in_is_the_viewer_with_all_that_is_theirs(desk: Desk, ada: Script) -> None:
    viewer = await ada.ask(WHO)
    assert viewer.pop("id").startswith("mbr_")
    assert viewer == {
        "__typename": "Member", "tier": "BASE", "identifiedBy": "SESSION", "balance": {"available": "0"},
        "own": {"spendingLocked": False},
    }  # fmt: skip


async def test_staff_have_what_the_roles_of_this_moment_open(desk: Desk) -> None:
    await desk.invite("anna", ANNA, [actors.FINANCE_MAKER])
    anna = await script_of(await desk.signed_in(ANNA, "/staff"), "/staff")
    assert await anna.ask(WHO) == {
        "__typename": "Staff", "name": "anna", "roles": ["FINANCE_MAKER"], "scopes": ["schema:read", "settlement:make", "settlement:read"],
        "clientId": viewers.STAFF_CONSOLE[1],
    }  # fmt: skip
    assert (await anna.ask(STATEMENTS)) == {"nodes": []}
    assert (await anna.error("{ viewer { ... on Staff { noSuch } } }"))["code"] == "GRAPHQL_VALIDATION_FAILED"
    async with desk.database.transaction() as connection:
        await actors.take_back(connection, name="anna", roles=[actors.FINANCE_MAKER], by="boss", at=desk.wall())
    assert (await anna.error(STATEMENTS))["code"] == "FORBIDDEN"


def test_every_role_of_the_programme_says_what_it_opens() -> None:
    assert viewers._BY_ROLE.keys() == actors.ROLES.keys()


async def test_a_page_asks_in_this_process_with_the_rights_of_whoever_is_signed_in(desk: Desk, ada: Script) -> None:
    request = request_of(desk, ada.browser)
    viewer = await viewers.viewer_at(request, MEMBER)
    assert viewer is not None
    assert (await asking.ask(request, viewer, WHO))["viewer"]["__typename"] == "Member"
    with pytest.raises(NotAnswered) as no:
        await asking.ask(request, viewer, STATEMENTS)
    assert (no.value.status, no.value.errors[0]["extensions"]["code"]) == (403, "FORBIDDEN")
    for audience in (STAFF, COLLEAGUE):
        assert await viewers.viewer_at(request, audience) is None


async def test_pages_may_ask_many_documents_of_ours_and_scripts_as_many_new_ones_as_a_client(
    desk: Desk, ada: Script
) -> None:
    request = request_of(desk, ada.browser)
    viewer = await viewers.viewer_at(request, MEMBER)
    assert viewer is not None
    for number in range(70):
        await asking.ask(request, viewer, f"query Page{number} {{ viewer {{ __typename }} }}")
    told = [(await ada.post(f"query New{number} {{ viewer {{ __typename }} }}")).status_code for number in range(62)]
    assert told[:60] == [200] * 60
    assert 429 in told[60:]


async def test_one_members_haste_takes_nothing_from_another(desk: Desk, ada: Script) -> None:
    await desk.coalition.add_member(email="ben@example.org")
    ben = await script_of(await desk.signed_in("ben@example.org"))
    fields = "own { cards { id } consents { purpose } approvals { id } dates { kind } }"
    dear = "{ " + " ".join(f"a{n}: viewer {{ ... on Member {{ {fields} }} }}" for n in range(5)) + " }"
    answers = [await ada.post(dear) for _ in range(6)]
    assert answers[0].status_code == 200
    assert (answers[-1].status_code, answers[-1].json()["errors"][0]["extensions"]["code"]) == (429, "THROTTLED")
    assert "retry-after" in answers[-1].headers
    assert (await ben.post(WHO)).status_code == 200


# --- Who is kept out ----------------------------------------------------------------------------------------


async def test_without_the_pages_token_from_another_site_or_signed_out_nothing_is_asked(
    desk: Desk, ada: Script
) -> None:
    lock = 'mutation { lockSpending(input: {idempotencyKey: "0123456789abcdef", locked: true}) { __typename } }'
    for headers in (
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = await ada.post(lock, **headers)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN"), headers
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert (await ada.post(lock, **{"Content-Type": kind})).status_code == 415
    assert (
        await ada.browser.http.get("/session/graphql", params={"query": "{ viewer { __typename } }"})
    ).status_code == 405
    assert not await desk.database.pool.fetchval("SELECT bool_or(spend_locked) FROM ledger.account")
    same = await ada.post(lock, Origin="http://localhost:8000", **{"Sec-Fetch-Site": "same-origin"})
    assert same.json()["data"]["lockSpending"]["__typename"] == "LockSpendingSuccess"


async def test_a_session_is_good_for_its_own_audience_and_not_at_graphql(desk: Desk, ada: Script) -> None:
    for prefix in ("/staff", "/portal"):
        answer = await Script(ada.browser, prefix, ada.csrf).post(WHO)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    answer = await ada.browser.http.post("/graphql", json={"query": WHO}, headers={"X-CSRF-Token": ada.csrf})
    assert answer.status_code == 401
    stranger = desk.browser()
    assert (await Script(stranger, "", ada.csrf).post(WHO)).status_code == 401


async def test_who_signs_out_or_is_forgotten_asks_no_more(desk: Desk, ada: Script) -> None:
    assert (await ada.post(WHO)).status_code == 200
    async with desk.database.transaction() as connection:
        member_id = await desk.database.pool.fetchval("SELECT person_id FROM gateway.session WHERE audience = 'MEMBER'")
        await erasure.forget(connection, member_id, by="tester", at=desk.wall())
    assert (await ada.post(WHO)).status_code == 401


async def test_an_idle_session_asks_no_more(desk: Desk, ada: Script) -> None:
    desk.wall.at += session.LIVES[MEMBER].idle
    assert (await ada.post(WHO)).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"query": 1}', 400), (b'{"query": "' + b"x" * 65_536 + b'"}', 413)],
)
async def test_a_body_that_is_no_request_is_refused(desk: Desk, ada: Script, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json", "X-CSRF-Token": ada.csrf}
    assert (await ada.browser.http.post("/session/graphql", content=body, headers=headers)).status_code == status


async def test_nobody_at_a_page_can_do_what_tills_do(desk: Desk, ada: Script) -> None:
    for document in (
        '{ member(ref: {phone: "+49301234567"}) { id } }',
        '{ member(ref: {cardNumber: "9700000000000000"}) { id } }',
    ):
        assert await ada.ask(document) is None
    no = await ada.error('{ node(id: "mbr_x") { id } }')
    assert no["code"] == "FORBIDDEN"
    me = (await ada.ask(WHO))["id"]
    again = await ada.ask("query($r: MemberRefInput!) { member(ref: $r) { id own { dailyCap } } }", r={"id": me})
    assert again == {"id": me, "own": {"dailyCap": None}}
