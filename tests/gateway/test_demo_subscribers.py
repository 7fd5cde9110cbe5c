"""The demonstration's subscribers are the same in every run, pay, renew, and their fees reach where they shopped."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from gateway.demo import subscribers
from kit.database import Database
from kit.secrets import Vault
from settlement.subscription import months
from tests.members import people
from tests.settlement.conftest import Coalition

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_the_rule_chooses_the_same_members_for_ever() -> None:
    found = subscribers.chosen(range(1, 2001))
    assert found == subscribers.chosen(list(reversed(range(1, 2001))))
    assert 200 <= len(found) <= 280
    assert {plan for _, plan in found} == {"plus", "family"}


async def test_fees_of_the_demonstration_reach_the_partners_where_its_subscribers_shopped(
    database: Database, vault: Vault, monkeypatch: Any
) -> None:
    coalition = Coalition(database)
    await coalition.found()
    terms = await coalition.partner("a")
    members = [(await people.enrol(database, vault)).member_id for _ in range(4)]
    monkeypatch.setattr(subscribers, "SHARE_PERCENT", 100)
    assert await subscribers.enlist(database, members, currency="EUR", zone="UTC", at=START) == 4
    coalition.at = START.replace(day=9)
    for member_id in members[:2]:
        seq = await coalition.earn(member_id, "a", terms, 10)
        await coalition.receipt(member_id, seq, "a", f"r-{uuid4()}")
    ended = datetime(2026, 4, 2, tzinfo=UTC)
    assert await subscribers.pass_time(database, to=ended) > 0
    done = await subscribers.close_month(database, date(2026, 3, 1), currency="EUR", at=ended)
    async with database.reading() as connection:
        [share] = await months.shares(connection, done)
    assert share.amount_micro + done.reserve_micro + done.operator_micro == done.pool_micro > 0
    coalition.at = ended
    settled = await coalition.settle()
    assert {n.kind: n.amount_micro for n in coalition.of(settled, "a").lines}[
        "SUBSCRIPTION_SHARE"
    ] == share.amount_micro
    assert await database.pool.fetchval("SELECT count(*) FROM members.fee_payment") == 8
