"""Approvals: the member agrees to one number of points at one partner, and it is spent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.types import read_approval_id
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import approvals, cards
from members.cards import IssuedCard
from tests.builders import NOON, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_abuse import holding, redeeming, spend_everywhere
from tests.gateway.test_hold_api import PLACE
from tests.gateway.test_purchase_api import RECORD, REDEEM, REJECTION, by_number, record

ASK = f"""mutation($input: RequestApprovalInput!) {{ requestApproval(input: $input) {{ __typename
  ... on RequestApprovalSuccess {{ replayed cashierText approval {{ id status points expiresAt }} }} {REJECTION} }} }}"""
NODE = "query($id: ID!) { node(id: $id) { ... on Approval { status points } } }"


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
    """A member with ten thousand points."""
    made = await gateway.coalition.add_member()
    await record(till, made, stand.receipt("10000.00"))
    return made


def asking(card: IssuedCard, points: str = "500", **more: Any) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "member": by_number(card), "outlet": "1", "terminal": "1", "points": points,
        **more,
    }  # fmt: skip


async def asked(till: Till, card: IssuedCard, points: str = "500") -> str:
    """The id of a question."""
    found_id: str = (await till.ask(ASK, input=asking(card, points)))["approval"]["id"]
    return found_id


async def decide(
    gateway: Gateway, opaque: str, *, approved: bool = True, at: Any = NOON, partner: str = "bakery"
) -> None:
    """What the member's app does with a question."""
    directory = await gateway.coalition.desk.directory.get()
    owner = directory.partner_by_code(partner)
    assert owner is not None
    place = read_approval_id(owner, opaque)
    assert place is not None
    async with gateway.coalition.database.transaction() as connection:
        await approvals.decide(connection, *place, approved=approved, at=at)


async def written(gateway: Gateway) -> dict[str, int]:
    counted = await rows_written(gateway.coalition.database.pool)
    for table in ("approval", "approval_decision", "approval_use"):
        counted[table] = await gateway.coalition.database.pool.fetchval(f"SELECT count(*) FROM members.{table}")
    return counted


async def test_a_member_is_asked_agrees_and_the_points_are_spent_once(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    given = asking(card)
    done = await till.ask(ASK, input=given)
    assert done["approval"] | {"id": ""} == {
        "id": "", "status": "ASKED", "points": "500", "expiresAt": "2026-03-02T12:05:00Z",
    }  # fmt: skip
    assert done["cashierText"] == "The member is asked in the app: 500 points"
    again = await till.ask(ASK, input=given)
    assert (again["replayed"], again["approval"]) == (True, done["approval"])
    proof = {"approvalId": done["approval"]["id"]}
    before = await written(gateway)
    assert (await till.ask(REDEEM, input=redeeming(by_number(card), "500", proof)))["code"] == "APPROVAL_PENDING"
    assert await written(gateway) == before
    await decide(gateway, proof["approvalId"])
    assert await till.ask(NODE, id=proof["approvalId"]) == {"status": "APPROVED", "points": "500"}
    spending = redeeming(by_number(card), "500", proof)
    first = await till.ask(REDEEM, input=spending)
    assert first["transaction"]["redeemed"] == "500"
    before = await written(gateway)
    repeated = await till.ask(REDEEM, input=spending)
    assert (repeated["replayed"], repeated["transaction"]) == (True, first["transaction"])
    for answer in await spend_everywhere(till, by_number(card), "500", [proof, proof, proof]):
        assert answer["code"] == "APPROVAL_USED"
    assert await written(gateway) == before
    assert (await till.ask(NODE, id=proof["approvalId"]))["status"] == "USED"


async def test_l28_an_approval_of_500_is_none_of_5000_nor_of_another_partner_nor_member(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    proof = {"approvalId": await asked(till, card)}
    await decide(gateway, proof["approvalId"])
    stranger = await gateway.coalition.add_member()
    await record(till, stranger, stand.receipt("10000.00"))
    before = await written(gateway)
    for points in ("5000", "499", "501"):
        for answer in await spend_everywhere(till, by_number(card), points, [proof, proof, proof]):
            assert answer["code"] == "APPROVAL_MISMATCH"
    other = gateway.tills["grocer"]
    for answer in await spend_everywhere(other, by_number(card), "500", [proof, proof, proof]):
        assert answer["code"] == "APPROVAL_UNKNOWN"
    for answer in await spend_everywhere(till, by_number(stranger), "500", [proof, proof, proof]):
        assert answer["code"] == "APPROVAL_UNKNOWN"
    assert await other.ask(NODE, id=proof["approvalId"]) is None
    assert await written(gateway) == before
    held = await till.ask(PLACE, input=holding(by_number(card), "500", proof))
    assert held["hold"]["points"] == "500"


async def test_one_approval_in_one_moment_spends_once(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    proof = {"approvalId": await asked(till, card, "10")}
    await decide(gateway, proof["approvalId"])
    work = [till.ask(REDEEM, input=redeeming(by_number(card), "10", proof)) for _ in range(5)]
    work += [till.ask(PLACE, input=holding(by_number(card), "10", proof)) for _ in range(5)]
    answers = await asyncio.gather(*work)
    assert sorted(answer.get("code", "done") for answer in answers) == ["APPROVAL_USED"] * 9 + ["done"]


async def test_a_no_and_a_late_answer_spend_nothing_and_an_answer_stands(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    no, late, unused = [await asked(till, card) for _ in range(3)]
    await decide(gateway, no, approved=False)
    await decide(gateway, no, approved=False)
    with pytest.raises(approvals.ApprovalDecided):
        await decide(gateway, no, approved=True)
    await decide(gateway, unused)
    after = NOON + approvals.LASTS
    await gateway.at(after)
    with pytest.raises(approvals.ApprovalExpired):
        await decide(gateway, late, at=after)
    before = await written(gateway)
    for opaque, code in ((no, "APPROVAL_DECLINED"), (late, "APPROVAL_EXPIRED"), (unused, "APPROVAL_EXPIRED")):
        refused = await till.ask(REDEEM, input=redeeming(by_number(card), "500", {"approvalId": opaque}))
        assert refused["code"] == code
    assert await written(gateway) == before


async def test_two_answers_in_one_moment_are_one(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    opaque = await asked(till, card)
    told = await asyncio.gather(
        *[decide(gateway, opaque, approved=wish) for wish in (True, False) * 3], return_exceptions=True
    )
    assert sum(isinstance(one, approvals.ApprovalDecided) for one in told) == 3
    assert not [one for one in told if one is not None and not isinstance(one, Rejection)]


async def test_a_retry_is_answered_though_the_card_was_blocked_meanwhile(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    given = asking(card)
    first = await till.ask(ASK, input=given)
    async with gateway.coalition.database.transaction() as connection:
        await cards.block(connection, card.card_id, at=NOON)
    before = await written(gateway)
    assert (await till.ask(ASK, input=given))["approval"] == first["approval"]
    for change in ({"points": "501"}, {"points": "0"}):
        assert (await till.ask(ASK, input=given | change))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await till.ask(ASK, input=asking(card)))["code"] == "CARD_BLOCKED"
    assert await written(gateway) == before


async def test_what_waits_for_a_member_is_told_to_their_app(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    first, second = await asked(till, card), await asked(till, card, "7")
    await decide(gateway, first)
    async with gateway.coalition.database.reading() as connection:
        waiting = await approvals.waiting(connection, card.member_id, at=NOON + timedelta(minutes=4))
        assert [(one.points, one.state) for one in waiting] == [(7, approvals.ASKED)]
        assert await approvals.waiting(connection, card.member_id, at=NOON + approvals.LASTS) == []
    assert first != second


async def test_a_purchase_takes_an_approval_too(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    proof = {"approvalId": await asked(till, card)}
    await decide(gateway, proof["approvalId"])
    given = {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt("10.00")}
    done = await till.ask(RECORD, input=given | {"redeem": {"points": "500", "proof": proof}})
    assert done["transaction"]["redeemed"] == "500"
