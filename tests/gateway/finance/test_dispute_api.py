"""Disputes over GraphQL: the bakery's book-keeper and finance take turns, each call once, and both see the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from gateway.sessions import session
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from settlement import runs
from tests.builders import NOON, a_receipt, violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.membership.test_membership_api import REJECTION, keyed
from tests.gateway.test_session_matrix import colleague
from tests.partners.purchases.test_purchases import record

FIELDS = """id state waitsFor deadline mode amount { amount } awarded { amount } line reason partnerName statementId
  steps { state side note } notes { side note } evidence { side fileName mediaType sizeBytes sha256 }"""
LIST = f"{{ statementDisputes {{ nodes {{ {FIELDS} }} pageInfo {{ hasNextPage }} }} }}"
PDF = {"fileName": "till.pdf", "mediaType": "application/pdf", "sizeBytes": 9_000, "sha256": "cd" * 32}


@dataclass
class Hall:
    """A gateway whose bakery has a statement in review, the bakery's and the grocer's book-keepers, and finance."""

    desk: Desk
    fay: Script
    gus: Script
    maker: Script
    checker: Script
    statement: str

    async def do(self, script: Script, root: str, **fields: Any) -> Any:
        kind = f"{root[0].upper()}{root[1:]}Input"
        return await script.ask(
            f"mutation($input: {kind}!) {{ {root}(input: $input) {{ __typename "
            f"... on DisputeSuccess {{ replayed dispute {{ {FIELDS} }} }} {REJECTION} }} }}",
            input=fields if "idempotencyKey" in fields else keyed(**fields),
        )

    async def open(self, **more: Any) -> Any:
        said = {"statementId": self.statement, "line": 1, "reason": "D03", "amount": "2.00", "note": "too many"}
        return await self.do(self.fay, "openDispute", **(said | more))

    async def written(self) -> list[int]:
        tables = ("settlement.dispute", "settlement.dispute_step", "settlement.dispute_note",
                  "settlement.dispute_evidence", "kit.audit_trail", "gateway.person_call")  # fmt: skip
        return [await self.desk.database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


template = a_coalition(
    bakery={"return_window_days": 0, "review_days": 5, "dispute_days": 60},
    grocer={"return_window_days": 0, "review_days": 5, "dispute_days": 60},
)


@pytest.fixture
async def hall(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Hall]:
    coalition = await met(database, vault)
    card = await coalition.add_member(name="Ada")
    await record(coalition, card, a_receipt(100_000), partner="bakery", after=0)
    await cutoffs.close(database, at=NOON)
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "robot", [actors.FINANCE_MAKER])
        await runs.settle(connection, actor="robot", at=NOON)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        people = []
        for code, name in (("bakery", "Fay"), ("grocer", "Gus")):
            address = f"{name.lower()}@example.org"
            await colleague(desk, code, name, address, "FINANCE")
            people.append(await script_of(await desk.signed_in(address, "/portal"), "/portal"))
        for name, role in (("fina", actors.FINANCE_MAKER), ("finn", actors.FINANCE_CHECKER)):
            await desk.invite(name, f"{name}@example.org", [role])
            people.append(await script_of(await desk.signed_in(f"{name}@example.org", "/staff"), "/staff"))
        [statement] = (await people[0].ask("{ settlementStatements { nodes { id } } }"))["nodes"]
        yield Hall(desk, *people, statement["id"])
    assert await violations(database.pool) == []
    await coalition.desk.close()


async def test_both_sides_take_turns_show_what_speaks_for_them_and_see_the_same(hall: Hall) -> None:
    call = keyed(statementId=hall.statement, line=1, reason="D03", amount="2.00", note="too many")
    made = await hall.do(hall.fay, "openDispute", **call)
    one = made["dispute"]
    assert (one["state"], one["waitsFor"], one["amount"]["amount"]) == ("OPENED", "OPERATOR", "2.00")
    assert one["deadline"] is not None
    before = await hall.written()
    again = await hall.do(hall.fay, "openDispute", **call)
    assert (again["replayed"], again["dispute"]["id"]) == (True, one["id"])
    assert (await hall.open(amount="2.001"))["code"] == "DISPUTE_INVALID"
    assert (await hall.open(reason="D12"))["code"] == "DISPUTE_INVALID"
    assert (await hall.do(hall.fay, "answerDispute", disputeId=one["id"], answer="AGREE"))["code"] == "DISPUTE_STATE"
    assert await hall.written() == before

    taken = await hall.do(hall.maker, "takeUpDispute", disputeId=one["id"])
    assert taken["dispute"]["state"] == "ACKNOWLEDGED"
    asked = await hall.do(hall.maker, "takeUpDispute", disputeId=one["id"], question="Which receipts?")
    assert (asked["dispute"]["state"], asked["dispute"]["waitsFor"]) == ("INFO_REQUESTED", "PARTNER")
    show = keyed(disputeId=one["id"], **PDF)
    for _ in range(2):
        shown = await hall.do(hall.fay, "addDisputeEvidence", **show)
    assert shown["replayed"]
    await hall.do(hall.fay, "sayInDispute", disputeId=one["id"], note="More tomorrow.")
    await hall.do(hall.fay, "answerDispute", disputeId=one["id"], answer="TELL", note="R-1")
    await hall.do(hall.maker, "addDisputeEvidence", disputeId=one["id"], **{**PDF, "fileName": "ours.pdf"})
    offered = await hall.do(hall.checker, "decideDispute", disputeId=one["id"], amount="0.60", note="a part")
    assert (offered["dispute"]["state"], offered["dispute"]["awarded"]) == ("PROPOSED", {"amount": "0.60"})

    [theirs], [ours] = [(await script.ask(LIST))["nodes"] for script in (hall.fay, hall.maker)]
    assert theirs == ours
    assert [(step["state"], step["side"]) for step in theirs["steps"]] == [
        ("OPENED", "PARTNER"), ("ACKNOWLEDGED", "OPERATOR"), ("INFO_REQUESTED", "OPERATOR"),
        ("ACKNOWLEDGED", "PARTNER"), ("PROPOSED", "OPERATOR"),
    ]  # fmt: skip
    assert theirs["notes"] == [{"side": "PARTNER", "note": "More tomorrow."}]
    assert [(piece["side"], piece["fileName"]) for piece in theirs["evidence"]] == [
        ("PARTNER", "till.pdf"), ("OPERATOR", "ours.pdf"),
    ]  # fmt: skip
    assert {key: theirs["evidence"][0][key] for key in PDF} == PDF


async def test_what_is_too_large_too_much_anothers_or_over_writes_nothing(hall: Hall) -> None:
    number = (await hall.open())["dispute"]["id"]
    before = await hall.written()
    for fields, code in (
        ({**PDF, "sizeBytes": 10 * 1024**2 + 1}, "DISPUTE_INVALID"),
        ({**PDF, "mediaType": "text/html"}, "DISPUTE_INVALID"),
        ({**PDF, "fileName": ""}, "DISPUTE_INVALID"),
    ):
        assert (await hall.do(hall.fay, "addDisputeEvidence", disputeId=number, **fields))["code"] == code
    assert (await hall.do(hall.fay, "sayInDispute", disputeId=number, note="x" * 2_001))["code"] == "DISPUTE_INVALID"
    assert (await hall.do(hall.fay, "sayInDispute", disputeId=number, note=" "))["code"] == "CAUSE_MISSING"
    for root, fields in (
        ("addDisputeEvidence", PDF), ("sayInDispute", {"note": "x"}), ("answerDispute", {"answer": "TELL", "note": "x"}),
    ):  # fmt: skip
        assert (await hall.do(hall.gus, root, disputeId=number, **fields))["code"] == "DISPUTE_UNKNOWN"
    assert (await hall.gus.ask(LIST))["nodes"] == []
    hall.desk.wall.at += session.STEP_UP
    assert (await hall.do(hall.maker, "takeUpDispute", disputeId=number))["code"] == "STEP_UP_REQUIRED"
    assert await hall.written() == before


async def test_a_partner_takes_a_dispute_back_and_the_line_stands(hall: Hall) -> None:
    async with hall.desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "judge", [actors.FINANCE_CHECKER])
        await runs.approve(connection, 1, actor="judge", at=NOON + timedelta(days=20))
    hall.desk.wall.move(days=20)
    await hall.desk.at_wall()
    fay = await script_of(await hall.desk.signed_in("fay@example.org", "/portal"), "/portal")
    said = keyed(statementId=hall.statement, line=1, reason="D03", amount="2.00", note="too many")
    made = (await hall.do(fay, "openDispute", **said))["dispute"]
    assert made["mode"] == "PAY_FIRST"
    call = keyed(disputeId=made["id"], answer="WITHDRAW", note="it was right")
    ended = await hall.do(fay, "answerDispute", **call)
    assert (ended["dispute"]["state"], ended["dispute"]["waitsFor"]) == ("CLOSED", None)
    assert ended["dispute"]["awarded"] == {"amount": "0.00"}
    before = await hall.written()
    assert (await hall.do(fay, "answerDispute", **call))["replayed"]
    for root, fields in (("sayInDispute", {"note": "x"}), ("addDisputeEvidence", PDF)):
        assert (await hall.do(fay, root, disputeId=made["id"], **fields))["code"] == "DISPUTE_STATE"
    assert await hall.written() == before
