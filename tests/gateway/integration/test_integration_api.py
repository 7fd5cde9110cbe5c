"""What a partner's developers are told of their programs: errors and how to mend them, health, steps before going live."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import masking
from gateway.context import Viewer
from gateway.gate.allowances import Allowance
from gateway.integration import first_steps, mending, request_figures
from gateway.integration.request_figures import BOUNDS_MS, Figures, RequestFigures
from gateway.integration.request_log import RequestLog
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import proofs
from tests.builders import NOON, Coalition
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.integration.test_request_log import developer
from tests.gateway.stand import Gateway
from tests.gateway.test_hold_api import CAPTURE, PLACE, capturing
from tests.gateway.test_purchase_api import CANCEL, RECORD, RETURN
from tests.test_documentation import DOCS, rejections, rows

REFUSED = (
    "query($days: Int! = 7) { refusedRequests(days: $days) { code operation requests clientIds lastRequestId mend } }"
)
HEALTH = """{ clientHealth { clientId requests refused away replayed refusedBp p95Ms cost allowance available
  busiestHourBp } }"""
STEPS = "{ goLiveSteps { step doneAt clientId requestId } }"
LOG = """query($client: String, $operation: String, $code: String) {
  requestLog(clientId: $client, operation: $operation, code: $code) { nodes { requestId operation code cost replayed } } }"""


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


def named(document: str, name: str) -> str:
    """A document whose operation has a name."""
    return document.replace("mutation(", f"mutation {name}(", 1)


async def day_of_work(gateway: Gateway) -> tuple[str, dict[str, str]]:
    """A program does all that it has to know; its client's id, and the ids of the requests."""
    coalition: Coalition = gateway.coalition
    card = await coalition.add_member()
    async with coalition.database.transaction() as connection:
        await proofs.set_pin(connection, coalition.vault, card.member_id, "4711")
    till = await gateway.till("bakery", allowance=Allowance(2_000, 100))
    ids: dict[str, str] = {}

    async def asked(step: str, document: str, **given: Any) -> Any:
        response = await till.post(named(document, step.title().replace("_", "")), input=given)
        ids[step] = response.headers["x-request-id"]
        body = response.json()
        assert "errors" not in body, body
        (told,) = body["data"].values()
        assert (told["__typename"] == "Rejection") is (step == "REFUSED"), told
        return told

    member, place = {"cardNumber": card.number}, {"outlet": "1", "terminal": "1"}
    bought = {"idempotencyKey": stand.key(), "member": member, "receipt": stand.receipt("100.00", reference="A-1")}
    assert (await asked("PURCHASE", RECORD, **bought))["replayed"] is False
    assert (await asked("SENT_AGAIN", RECORD, **bought))["replayed"] is True
    late = stand.receipt("5.00", reference="A-2", entryMode="OFFLINE", terminalSeq=7)
    await asked("OFFLINE", RECORD, idempotencyKey=stand.key(), member=member, receipt=late)
    spent = {"points": "5", "proof": {"pin": "4711"}}
    receipt = stand.receipt("9.00", reference="A-3")
    await asked("POINTS_SPENT", RECORD, idempotencyKey=stand.key(), member=member, redeem=spent, receipt=receipt)
    wish = {"idempotencyKey": stand.key(), "member": member, "points": "4", "proof": {"pin": "4711"}, **place}
    held = await asked("HELD", PLACE, reference="ORDER-1", **wish)
    await asked("HOLD_CAPTURED", CAPTURE, **{**capturing(held["hold"]["id"]), "idempotencyKey": stand.key()})
    original = {"receipt": {"reference": "A-1", "businessDate": NOON.date().isoformat(), **place}}
    returned = {"idempotencyKey": stand.key(), "original": original, "what": {"whole": True}, "reference": "R-1",
                "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), **place}  # fmt: skip
    await asked("RETURN", RETURN, **returned)
    mistaken = {"reference": "A-2", "businessDate": NOON.date().isoformat(), **place}
    await asked("CANCELLATION", CANCEL, idempotencyKey=stand.key(), receipt=mistaken)
    nobody = {"idempotencyKey": stand.key(), "member": {"cardNumber": "55500011122"}, "receipt": stand.receipt("1.00")}
    assert (await asked("REFUSED", RECORD, **nobody))["code"] == "CARD_UNKNOWN"
    await till.post("{ nothing }")
    await gateway.app.state.endpoint.admission.requests.write()
    return till.client_id, ids


async def test_each_step_ticks_itself_and_errors_health_and_cost_are_told_to_their_partner_alone(
    gateway: Gateway, server: postgres.Server, database_name: str
) -> None:
    client_id, ids = await day_of_work(gateway)
    async with desks.opened(gateway.coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        dev = await developer(gateway, desk, "bakery")
        steps = {each["step"]: each for each in await dev.ask(STEPS)}
        assert list(steps) == list(first_steps.ORDER)
        assert {step for step, each in steps.items() if each["doneAt"] is None} == {first_steps.KEY_ROTATED}
        assert {step: each["requestId"] for step, each in steps.items() if each["requestId"]} == {
            step: ids[step] for step in first_steps.ORDER if step != first_steps.KEY_ROTATED
        }
        refused = {(each["code"], each["operation"]): each for each in await dev.ask(REFUSED)}
        assert set(refused) == {("CARD_UNKNOWN", "Refused"), ("GRAPHQL_VALIDATION_FAILED", "anonymous")}
        card = refused["CARD_UNKNOWN", "Refused"]
        assert (card["requests"], card["clientIds"], card["lastRequestId"]) == (1, [client_id], ids["REFUSED"])
        assert card["mend"]
        [health] = await dev.ask(HEALTH)
        assert (health["clientId"], health["requests"], health["refused"], health["away"]) == (client_id, 10, 2, 0)
        assert (health["replayed"], health["refusedBp"], health["allowance"]) == (1, 2_000, 2_000)
        assert health["p95Ms"] in BOUNDS_MS
        assert 0 < health["available"] <= 2_000
        kept = (await dev.ask(LOG, client=client_id))["nodes"]
        assert health["cost"] == sum(each["cost"] for each in kept) > 0
        assert health["busiestHourBp"] == health["cost"] * 10_000 // 360_000
        assert [each["requestId"] for each in kept if each["replayed"]] == [ids["SENT_AGAIN"]]
        [one] = (await dev.ask(LOG, operation="Refused", code="CARD_UNKNOWN"))["nodes"]
        assert one["requestId"] == ids["REFUSED"]
        assert (await dev.ask(LOG, client="cl_nobody"))["nodes"] == []
        assert (await dev.error(REFUSED, days=15))["code"] == masking.BAD_USER_INPUT
        other = await developer(gateway, desk, "grocer")
        assert await other.ask(REFUSED) == await other.ask(HEALTH) == []
        assert {each["doneAt"] for each in await other.ask(STEPS)} == {None}
        assert (await other.ask(LOG, client=client_id))["nodes"] == []


class _Sometimes:
    """A database that is away until it is told to be there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_away = True

    def transaction(self) -> Any:
        if self.is_away:
            raise OSError
        return self.database.transaction()


async def test_what_could_not_be_written_is_counted_once_the_database_is_there_again(gateway: Gateway) -> None:
    till = await gateway.till("bakery")
    pool, partner_id = gateway.coalition.database.pool, gateway.coalition.callers["bakery"].partner_id
    client_no = await pool.fetchval("SELECT client_no FROM gateway.client WHERE client_id = $1", till.client_id)
    database = _Sometimes(gateway.coalition.database)
    log, viewer = RequestLog(database), Viewer(client_no, till.client_id, partner_id, frozenset())  # type: ignore[arg-type]
    fields = ("Mutation.recordPurchase",)
    for code in (None, "CARD_UNKNOWN"):
        log.note(viewer, "request-1", began=log.began(), status=200, code=code, cost=3, fields=fields)
    with pytest.raises(OSError):
        await log.write()
    log.note(viewer, "request-2", began=log.began(), status=503, code="SERVICE_UNAVAILABLE", cost=1, fields=fields)
    database.is_away = False
    await log.write()
    await log.write()
    row = await pool.fetchrow("SELECT * FROM gateway.request_figure")
    assert (row["requests"], row["refused"], row["away"], row["cost"], sum(row["took"])) == (3, 2, 1, 7, 3)
    assert {each["step"] for each in await pool.fetch("SELECT step FROM gateway.first_step")} == {"PURCHASE", "REFUSED"}
    async with gateway.coalition.database.transaction() as connection:
        now = clock.wall()
        assert await request_figures.forget(connection, at=now) == 0
        assert await request_figures.forget(connection, at=now + request_figures.KEPT + timedelta(hours=1)) == 1


def test_a_share_of_answers_is_within_the_bound_in_which_it_is_reached() -> None:
    figures = RequestFigures()
    viewer = Viewer(7, "cl_a", 3, frozenset())
    for took_ms in (*range(1, 96), *[400] * 5):
        figures.count(viewer, NOON, status=200, code=None, cost=1, took_ms=took_ms, replayed=False)
    ((key, one),) = figures.taken().items()
    assert key == (3, 7, NOON.replace(minute=0, second=0, microsecond=0))
    found = Figures(7, one.requests, one.refused, one.away, one.replayed, one.cost, one.cost, one.took)
    assert (found.within_ms(500), found.within_ms(950), found.within_ms(960)) == (50, 100, 500)
    assert Figures(7, 1, 0, 0, 0, 0, 0, [*[0] * len(BOUNDS_MS), 1]).within_ms(950) is None
    assert Figures(7, 0, 0, 0, 0, 0, 0, ()).within_ms(950) is None


def test_every_code_that_a_program_may_be_told_says_what_to_do() -> None:
    rejections()  # every module is imported
    told = {row[0].strip("`"): row[2] for row in rows(DOCS / "rejection-codes.md")}
    for code, retryable in told.items():
        found = mending.of(code)
        assert found is not None, code
        assert found.meaning.endswith("."), code
        assert found.mend == (mending.AGAIN if retryable == "yes" else mending.OTHERWISE), code
    errors = {value for name, value in vars(masking).items() if name.isupper() and value == name}
    assert len(errors) > 10
    assert [code for code in errors if mending.of(code) is None] == []
    assert mending.of("SOMETHING_ELSE") is None


def test_every_step_is_told_in_words_on_the_page() -> None:
    from gateway.pages.integration_phrases import STEPS as WORDS

    assert list(WORDS) == list(first_steps.ORDER)
    written = Path(first_steps.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'"Mutation\.(\w+)": ', written)) >= {"recordPurchase", "captureHold", "returnPurchase"}
