"""The log of requests: what a partner's developer finds of a request by its id, and what nobody finds there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.context import Viewer
from gateway.integration import redaction, request_log
from gateway.integration.request_log import MOST_DONE, MOST_OF_CLIENT, RequestLog, code_of
from gateway.sessions import colleagues
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.stand import Gateway
from tests.gateway.test_purchase_api import RECORD
from tests.gateway.test_session_matrix import colleague

LOG = """query($id: String, $failed: Boolean! = false, $first: Int! = 20, $after: String, $since: DateTime, $until: DateTime) {
  requestLog(requestId: $id, failed: $failed, first: $first, after: $after, since: $since, until: $until) {
    nodes { requestId clientId clientName operation documentHash status code tookMs variables }
    pageInfo { hasNextPage endCursor } } }"""
CANARY = "5550001112223"
SECRET = "4711-canary"


template = a_coalition(bakery={}, grocer={})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def developer(gateway: Gateway, desk: Desk, code: str) -> Script:
    """The portal's script of a developer of a partner."""
    await colleague(desk, code, "Dev", f"dev@{code}.example", colleagues.DEVELOPER)
    return await script_of(await desk.signed_in(f"dev@{code}.example", "/portal"), "/portal")


async def test_a_failing_request_is_found_by_its_id_and_by_nobody_of_another_partner(
    gateway: Gateway, server: postgres.Server, database_name: str
) -> None:
    till = await gateway.till("bakery")
    gateway.http.headers["X-Request-Id"] = "broken-till-0001"
    given = {"idempotencyKey": stand.key(), "member": {"cardNumber": CANARY},
             "redeem": {"points": "5", "proof": {"pin": SECRET}}, "receipt": stand.receipt("10.00")}  # fmt: skip
    answer = await till.post(RECORD, input=given)
    assert answer.headers["x-request-id"] == "broken-till-0001"
    told = answer.json()
    malformed = await gateway.http.post(
        "/graphql", content=b"[]", headers={"Authorization": f"Bearer {till.token}", "Content-Type": "application/json"}
    )
    assert malformed.status_code == 400
    await gateway.app.state.endpoint.admission.requests.write()
    async with desks.opened(gateway.coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        dev = await developer(gateway, desk, "bakery")
        entries = (await dev.ask(LOG, id="broken-till-0001"))["nodes"]
        assert [(each["status"], each["code"], each["operation"]) for each in entries] == [
            (400, "BAD_REQUEST", "anonymous"), (200, told["data"]["recordPurchase"]["code"], "anonymous"),
        ]  # fmt: skip
        assert entries[1]["clientId"] == till.client_id
        assert len(entries[1]["documentHash"]) == 64
        variables = orjson.loads(entries[1]["variables"])["input"]
        assert variables["receipt"]["total"] == "10.00"
        assert variables["redeem"] == {"points": "5", "proof": {"pin": "…"}}
        other = await developer(gateway, desk, "grocer")
        assert (await other.ask(LOG, id="broken-till-0001"))["nodes"] == []
        assert (await other.ask(LOG))["nodes"] == []
        assert (await dev.ask(LOG, until=(clock.wall() - timedelta(days=1)).isoformat()))["nodes"] == []
        page = await dev.ask(LOG, first=1, failed=True)
        assert page["pageInfo"]["hasNextPage"]
        rest = await dev.ask(LOG, first=1, failed=True, after=page["pageInfo"]["endCursor"])
        assert rest["nodes"][0]["requestId"] == "broken-till-0001"
    kept = await gateway.coalition.database.pool.fetch("SELECT row_to_json(l)::text AS row FROM gateway.request_log l")
    assert not [row for row in kept if CANARY in row["row"] or SECRET in row["row"]]


async def test_it_is_forgotten_after_two_weeks(gateway: Gateway) -> None:
    till = await gateway.till("bakery")
    await till.ask("{ viewer { __typename } }")
    log = gateway.app.state.endpoint.admission.requests
    await log.write()
    pool, database = gateway.coalition.database.pool, gateway.coalition.database
    count = "SELECT count(*) FROM gateway.request_log"
    assert await pool.fetchval(count) == 1
    for later, left in ((request_log.KEPT - timedelta(minutes=1), 1), (request_log.KEPT + timedelta(minutes=1), 0)):
        async with database.transaction() as connection:
            await request_log.forget(connection, at=clock.wall() + later)
        assert await pool.fetchval(count) == left


class _Away:
    """A database that is away."""

    def transaction(self) -> Any:
        raise OSError


async def test_only_so_much_is_kept_in_memory_and_what_was_refused_finds_room() -> None:
    log = RequestLog(_Away())  # type: ignore[arg-type]
    busy = Viewer(7, "cl_a", 3, frozenset())
    for number in range(500):
        log.note(busy, f"request-{number}", began=log.began(), status=200, code=None)
    log.note(busy, "request-refused", began=log.began(), status=200, code="CARD_UNKNOWN")
    assert len(log._waiting) == MOST_DONE + 1
    for number in range(500):
        log.note(busy, f"request-{number}", began=log.began(), status=200, code="CARD_UNKNOWN")
    assert len(log._waiting) == MOST_OF_CLIENT
    log.note(Viewer(-1, "cl_app", None, frozenset(), member_id=1), "request-own", began=0.0, status=200, code=None)
    log.note(Viewer(8, "cl_b", 4, frozenset()), "request-other", began=log.began(), status=200, code=None)
    assert len(log._waiting) == MOST_OF_CLIENT + 1
    with pytest.raises(OSError):
        await log.write()
    assert len(log._waiting) == MOST_OF_CLIENT + 1  # kept for the next time


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=30,
)
TEXTS = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=12)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON), TEXTS, st.sampled_from(["cardNumber", "phone", "pin", "name", "email", "x"]))
def test_whatever_is_sent_what_is_kept_is_small_and_hides_what_is_not_listed(
    variables: dict[str, Any], canary: str, field: str
) -> None:
    shown = redaction.redacted({**variables, "input": {field: canary, "lines": [{field: canary}] * 50}})
    text = orjson.dumps(shown).decode()
    assert orjson.dumps(canary).decode() not in text
    assert text.count("…") >= 1


def test_a_deep_or_wide_input_costs_no_more_than_its_first_values() -> None:
    wide = {f"k{number}": {"total": "1.00"} for number in range(10_000)}
    assert len(redaction.redacted(wide)) <= redaction.MOST_VALUES + 1
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"input": deep}
    assert len(orjson.dumps(redaction.redacted(deep))) < 200
    assert redaction.redacted({"total": "Ada Popescu, Strada Ștefan 1", "currencyCode": "EUR"}) == {
        "total": "…", "currencyCode": "EUR",
    }  # fmt: skip


def test_why_a_request_was_refused_is_told_by_its_most_particular_code() -> None:
    assert code_of({"data": {}}, None) is None
    assert code_of({"data": {}}, "CARD_UNKNOWN") == "CARD_UNKNOWN"
    rejected = {"code": "BAD_USER_INPUT", "rejection": {"code": "RECEIPT_INVALID", "retryable": False}}
    assert code_of({"errors": [{"extensions": rejected}]}, None) == "RECEIPT_INVALID"
    assert code_of({"errors": [{"extensions": {"code": "THROTTLED"}}]}, None) == "THROTTLED"
