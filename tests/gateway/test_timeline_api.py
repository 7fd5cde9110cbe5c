"""One member's course and one receipt's, across the programme: in order, whole, kept in the trail, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gateway import masking
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from members import consents
from members.consents import ConsentGiven
from tests.builders import NOON
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import script_of
from tests.gateway.stand import Gateway
from tests.gateway.test_purchase_api import RECORD, RETURN

TIMELINE = """query($member: Int!, $purpose: String! = "COMPLAINT", $entry: Int, $before: DateTime) {
  memberTimeline(member: $member, purpose: $purpose, entry: $entry, before: $before) {
    at part what about by points entry } }"""
SEARCH = """query($text: String!, $day: Date) { search(text: $text, purpose: "COMPLAINT", businessDate: $day) {
  receipts { member entry } } }"""


template = a_coalition(bakery={"return_window_days": 0})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def test_what_happened_to_a_member_and_to_a_receipt_is_told_in_order_and_the_look_is_kept(
    gateway: Gateway, server: postgres.Server, database_name: str
) -> None:
    coalition, till = gateway.coalition, await gateway.till("bakery")
    card = await coalition.add_member(name="Ada Popescu", email="ada@example.org")
    place = {"outlet": "1", "terminal": "1"}
    for number, total in enumerate(("100.00", "7.00")):
        receipt = stand.receipt(total, reference=f"B-{number}")
        given = {"idempotencyKey": stand.key(), "member": {"cardNumber": card.number}, "receipt": receipt}
        assert (await till.ask(RECORD, input=given))["__typename"] != "Rejection"
    original = {"receipt": {"reference": "B-0", "businessDate": NOON.date().isoformat(), **place}}
    returned = {"idempotencyKey": stand.key(), "original": original, "what": {"whole": True}, "reference": "R-0",
                "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), **place}  # fmt: skip
    assert (await till.ask(RETURN, input=returned))["__typename"] != "Rejection"
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        desk.wall.move(hours=1)
        await desk.at_wall()
        async with desk.database.transaction() as connection:
            refused = ConsentGiven("ADVERTISING_EMAIL", "v1", desk.wall() - timedelta(minutes=1))
            await consents.grant(connection, card.member_id, refused)
        await cutoffs.close(desk.database, at=desk.wall())
        desk.wall.move(hours=1)
        await desk.at_wall()
        for name, role in (("olga", actors.OPERATOR_ADMIN), ("max", actors.PROMOTION_MAKER)):
            await desk.invite(name, f"{name}@example.org", [role])
        olga = await script_of(await desk.signed_in("olga@example.org", "/staff"), "/staff")
        told = await olga.ask(TIMELINE, member=card.member_id)
        assert [each["at"] for each in told] == sorted((each["at"] for each in told), reverse=True)
        assert {each["part"] for each in told} >= {"JOURNAL", "RECEIPT", "CONSENT"}
        moved = [(each["what"], each["points"]) for each in told if each["part"] == "JOURNAL"]
        assert sum(int(points) for _, points in moved) == 7
        assert "Ada" not in str(told)
        [hit] = (await olga.ask(SEARCH, text="B-0", day=NOON.date().isoformat()))["receipts"]
        assert hit["member"] == card.member_id
        chain = await olga.ask(TIMELINE, member=hit["member"], entry=hit["entry"])
        receipts = {(each["what"], each["about"]) for each in chain if each["part"] == "RECEIPT"}
        assert receipts == {("PURCHASE", "B-0"), ("RETURN", "R-0")}
        assert [each["what"] for each in chain if each["part"] == "SETTLEMENT"] == ["CUT_OFF"]
        assert sum(int(each["points"]) for each in chain if each["part"] == "JOURNAL") == 0
        assert await olga.ask(TIMELINE, member=hit["member"], entry=999) == []
        desk.wall.move(minutes=1)
        await desk.at_wall()
        trail = [each for each in await olga.ask(TIMELINE, member=card.member_id) if each["part"] == "TRAIL"]
        assert {(each["what"], each["by"]) for each in trail} >= {("TIMELINE_READ", "olga"), ("SEARCHED", "olga")}
        before = await olga.ask(TIMELINE, member=card.member_id, before=NOON.isoformat())
        assert all(each["at"] < "2026-03-02T12:00" for each in before)
        count = "SELECT count(*) FROM kit.audit_trail WHERE action = 'TIMELINE_READ'"
        kept = await desk.database.pool.fetchval(count)
        assert kept == 5
        assert (await olga.error(TIMELINE, member=card.member_id, purpose="CURIOSITY"))[
            "code"
        ] == masking.BAD_USER_INPUT
        maker = await script_of(await desk.signed_in("max@example.org", "/staff"), "/staff")
        assert (await maker.error(TIMELINE, member=card.member_id))["code"] == masking.FORBIDDEN
        assert await desk.database.pool.fetchval(count) == kept
