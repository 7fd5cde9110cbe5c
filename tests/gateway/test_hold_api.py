"""Holds over HTTP: placed with a proof, captured by a purchase or alone, let go, and nobody else's business."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import scopes
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import proofs
from members.cards import IssuedCard
from settlement import archive, controls, runs
from tests.builders import DAY, NOON, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_purchase_api import CANCEL, MEMBER, RECORD, REJECTION, RETURN, by_number, code_of, record

HOLD = "hold { id status points capturedPoints reference placedAt lapsesAt }"
PLACE = f"""mutation($input: PlaceHoldInput!) {{ placeHold(input: $input) {{ __typename
  ... on PlaceHoldSuccess {{ replayed {HOLD} balance {{ available held pending }} cashierText slipLines }} {REJECTION} }} }}"""
CAPTURE = f"""mutation($input: CaptureHoldInput!) {{ captureHold(input: $input) {{ __typename
  ... on CaptureHoldSuccess {{ replayed {HOLD} transaction {{ id kind points redeemed }}
    balance {{ available held }} slipLines }} {REJECTION} }} }}"""
RELEASE = f"""mutation($input: ReleaseHoldInput!) {{ releaseHold(input: $input) {{ __typename
  ... on ReleaseHoldSuccess {{ replayed {HOLD} balance {{ available held }} slipLines }} {REJECTION} }} }}"""
NODE = "query($id: ID!) { node(id: $id) { id ... on Hold { status capturedPoints } } }"


tills = stand.Clients("bakery", "grocer")
template = a_coalition(tills.add, bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


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


@pytest.fixture
async def card(gateway: Gateway, till: Till) -> IssuedCard:
    """A member with a thousand points and a PIN."""
    made = await gateway.coalition.add_member()
    async with gateway.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, made.member_id, "4711")
    await record(till, made, stand.receipt("1000.00"))
    return made


def wish(card: IssuedCard, points: str = "400", **more: Any) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "member": by_number(card), "outlet": "1", "terminal": "1",
        "reference": "ORDER-1", "points": points, "proof": {"pin": "4711"}, **more,
    }  # fmt: skip


def capturing(hold_id: str, **more: Any) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "holdId": hold_id, "reference": stand.key(), "outlet": "1", "terminal": "1",
        "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), **more,
    }  # fmt: skip


async def written(gateway: Gateway) -> dict[str, int]:
    return await rows_written(gateway.coalition.database.pool)


async def test_a_hold_is_placed_seen_and_heard_again_after_its_code_is_used_and_its_time_is_over(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    given = wish(card, proof=code_of(gateway, card))
    done = await till.ask(PLACE, input=given)
    assert done["hold"] | {"id": ""} == {
        "id": "", "status": "OPEN", "points": "400", "capturedPoints": "0", "reference": "ORDER-1",
        "placedAt": "2026-03-02T12:00:00Z", "lapsesAt": "2026-03-02T12:15:00Z",
    }  # fmt: skip
    assert done["balance"] == {"available": "600", "held": "400", "pending": "0"}
    assert done["slipLines"] == ["Set aside: 400 points", "Available: 600 points"]
    assert await till.ask(NODE, id=done["hold"]["id"]) == {
        "id": done["hold"]["id"], "status": "OPEN", "capturedPoints": "0",
    }  # fmt: skip
    before = await written(gateway)
    again = await till.ask(PLACE, input=given)
    assert (again["replayed"], again["hold"]) == (True, done["hold"])
    other = await till.ask(PLACE, input=wish(card, proof=given["proof"]))
    assert other["code"] == "CODE_USED"
    await gateway.at(NOON + DAY)
    late = await till.ask(PLACE, input=given)
    assert (late["replayed"], late["hold"]["status"]) == (True, "LAPSED")
    assert await written(gateway) == before


async def test_a_purchase_takes_what_was_held_in_one_call_with_its_receipt(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    payments = [{"kind": "CARD", "amount": "6.00"}]
    key, receipt = stand.key(), stand.receipt("10.00", payments=payments)
    done = await record(till, card, receipt, key=key, redeem={"holdId": hold["id"]})
    assert (done["transaction"]["redeemed"], done["transaction"]["awarded"]) == ("400", "6")
    assert done["balance"] == {"available": "606", "pending": "0", "debt": "0"}
    assert done["slipLines"][:2] == ["Earned: 6 points", "Paid with points: 400 points"]
    before = await written(gateway)
    again = await record(till, card, receipt, key=key, redeem={"holdId": hold["id"]})
    assert (again["replayed"], again["transaction"]) == (True, done["transaction"])
    reused = await record(till, card, receipt, key=key, redeem={"points": "400", "proof": {"pin": "4711"}})
    assert reused["code"] == "IDEMPOTENCY_KEY_REUSED"
    spent = await record(till, card, stand.receipt("10.00"), redeem={"holdId": hold["id"]})
    assert spent["code"] == "HOLD_RESOLVED"
    assert await written(gateway) == before
    assert (await till.ask(NODE, id=hold["id"]))["capturedPoints"] == "400"


async def test_the_balance_after_a_purchase_tells_what_is_still_held(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    await till.ask(PLACE, input=wish(card))
    given = {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt("10.00")}
    held = await till.ask(RECORD.replace("available pending", "available pending held"), input=given)
    assert held["balance"] == {"available": "610", "pending": "0", "held": "400", "debt": "0"}


async def test_what_is_wrong_with_a_hold_is_said_and_nothing_is_written(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    before = await written(gateway)
    for change, code in (
        ({"proof": None}, "PROOF_REQUIRED"),
        ({"proof": {"pin": "0000"}}, "PIN_INVALID"),
        ({"points": "0"}, "POINTS_NOT_POSITIVE"),
        ({"points": "-400"}, "POINTS_NOT_POSITIVE"),
        ({"lastsSeconds": 86_401}, "HOLD_INVALID"),
        ({"lastsSeconds": 0}, "HOLD_INVALID"),
        ({"reference": ""}, "HOLD_INVALID"),
        ({"outlet": "9"}, "OUTLET_UNKNOWN"),
        ({"terminal": "9"}, "TERMINAL_UNKNOWN"),
        ({"member": {"cardNumber": "1234"}}, "CARD_UNKNOWN"),
        ({"idempotencyKey": "short"}, "IDEMPOTENCY_KEY_INVALID"),
    ):
        assert (await till.ask(PLACE, input=wish(card) | change))["code"] == code, change
    for given, code in (
        ({"points": "401"}, "CAPTURE_EXCEEDS_HOLD"),
        ({"points": "0"}, "POINTS_NOT_POSITIVE"),
        ({"holdId": "hld_none"}, "HOLD_UNKNOWN"),
        ({"outlet": "9"}, "OUTLET_UNKNOWN"),
    ):
        assert (await till.ask(CAPTURE, input=capturing(hold["id"]) | given))["code"] == code, given
    assert await written(gateway) == before


async def test_a_hold_is_captured_alone_and_settled_as_a_redemption(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    given = capturing(hold["id"], points="250")
    done = await till.ask(CAPTURE, input=given)
    assert (done["hold"]["status"], done["hold"]["capturedPoints"]) == ("CAPTURED", "250")
    assert (done["transaction"]["kind"], done["transaction"]["points"]) == ("REDEMPTION", "-250")
    assert done["balance"] == {"available": "750", "held": "0"}
    assert (await till.ask(CAPTURE, input=given))["transaction"] == done["transaction"]
    back = {
        "idempotencyKey": stand.key(), "original": {"id": done["transaction"]["id"]}, "reference": "B", "outlet": "1",
        "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), "what": {"amount": "1.00"},
    }  # fmt: skip
    assert (await till.ask(RETURN, input=back))["transaction"]["refundedPoints"] == "100"
    database = gateway.coalition.database
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "finance", [actors.FINANCE_MAKER])
    await runs.close_cutoff(database, actor="finance", at=NOON + DAY)
    async with database.transaction() as connection:
        await runs.settle(connection, actor="finance", at=NOON + DAY)
    lines = await till.ask(
        "{ settlementStatements { nodes { lines(first: 9) { nodes { kind points amount { amount } } } } } }"
    )
    found = {line["kind"]: line for line in lines["nodes"][0]["lines"]["nodes"]}
    # 250 captured at 0.0080, 100 of them given back.
    assert found["REDEMPTION"] == {"kind": "REDEMPTION", "points": "250", "amount": {"amount": "2.00"}}
    assert found["REFUND"] == {"kind": "REFUND", "points": "100", "amount": {"amount": "-0.80"}}
    async with database.reading() as connection:
        assert await controls.run(connection) == []
        assert await archive.check(connection) == []


async def test_a_hold_is_let_go_and_a_purchase_that_it_paid_gives_its_points_back_when_cancelled(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    given = {"idempotencyKey": stand.key(), "holdId": hold["id"]}
    done = await till.ask(RELEASE, input=given)
    assert (done["hold"]["status"], done["balance"]) == ("RELEASED", {"available": "1000", "held": "0"})
    assert done["slipLines"] == ["Set free: 400 points", "Available: 1,000 points"]
    before = await written(gateway)
    assert (await till.ask(RELEASE, input=given))["replayed"]
    assert (await till.ask(RELEASE, input=given | {"idempotencyKey": stand.key()}))["code"] == "HOLD_RESOLVED"
    assert await written(gateway) == before
    second, receipt = (await till.ask(PLACE, input=wish(card)))["hold"], stand.receipt("10.00")
    await record(till, card, receipt, redeem={"holdId": second["id"], "points": "300"})
    ref = {name: receipt[name] for name in ("reference", "outlet", "terminal", "businessDate")}
    assert (await till.ask(CANCEL, input={"idempotencyKey": stand.key(), "receipt": ref}))["known"]
    assert (await till.ask(MEMBER, ref=by_number(card)))["balance"]["available"] == "1000"


async def test_a_lapsed_hold_buys_nothing_and_its_points_are_available_again(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card, lastsSeconds=60)))["hold"]
    await gateway.at(NOON + timedelta(seconds=60))
    before = await written(gateway)
    assert (await record(till, card, stand.receipt("10.00"), redeem={"holdId": hold["id"]}))["code"] == "HOLD_LAPSED"
    assert (await till.ask(CAPTURE, input=capturing(hold["id"])))["code"] == "HOLD_LAPSED"
    release = {"idempotencyKey": stand.key(), "holdId": hold["id"]}
    assert (await till.ask(RELEASE, input=release))["code"] == "HOLD_LAPSED"
    assert (await till.ask(NODE, id=hold["id"]))["status"] == "LAPSED"
    assert await written(gateway) == before
    done = await till.ask(PLACE, input=wish(card, "1000"))
    assert done["balance"]["held"] == "1000"


async def test_another_partner_hears_of_a_hold_what_it_hears_of_none(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    other = gateway.tills["grocer"]
    before = await written(gateway)
    for document, given in (
        (CAPTURE, capturing("")),
        (RELEASE, {"idempotencyKey": stand.key(), "holdId": ""}),
        (RECORD, {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt("10.00")}),
    ):

        async def ask(hold_id: str, document: str = document, given: dict[str, Any] = given) -> Any:
            named = {"redeem": {"holdId": hold_id}} if document is RECORD else {"holdId": hold_id}
            return await other.ask(document, input=given | named)

        assert await ask(hold["id"]) == await ask("hld_none")
    assert await other.ask(NODE, id=hold["id"]) is None
    assert await written(gateway) == before


async def test_a_lock_after_placing_does_not_break_the_promise_and_a_lock_before_places_nothing(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    pool = gateway.coalition.database.pool
    await pool.fetchval("SELECT ledger.lock_spending($1, 1::smallint, true)", card.member_id)
    before = await written(gateway)
    assert (await till.ask(PLACE, input=wish(card)))["code"] == "SPENDING_LOCKED"
    assert await written(gateway) == before
    assert (await record(till, card, stand.receipt("10.00"), redeem={"holdId": hold["id"]}))["transaction"]


async def test_capturing_needs_the_scope_to_spend(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    hold = (await till.ask(PLACE, input=wish(card)))["hold"]
    accruing = await gateway.till("bakery", wanted=(scopes.POINTS_ACCRUE, scopes.MEMBERS_READ))
    before = await written(gateway)
    given = {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt("10.00")}
    error = await accruing.error(RECORD, input=given | {"redeem": {"holdId": hold["id"]}})
    assert error["extensions"]["code"] == "FORBIDDEN"
    for document, one in ((PLACE, wish(card)), (CAPTURE, capturing(hold["id"])), (RELEASE, {})):
        error = await accruing.error(document, input=one or {"idempotencyKey": stand.key(), "holdId": hold["id"]})
        assert error["extensions"]["code"] == "FORBIDDEN"
    assert await written(gateway) == before
