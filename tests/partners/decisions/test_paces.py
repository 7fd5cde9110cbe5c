"""L-25: a partner that gives far more points than it ever did is stopped and told of; nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import worker
from kit import postgres
from kit.actors import NotPermitted
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger.rollups import Rollup
from members import proofs
from members.cards import IssuedCard
from partners.decisions import paces
from partners.decisions.paces import NEWCOMERS_HOUR, NotPaused, bursts, busiest_days
from tests.builders import DAY, NOON, found, rows_written, violations
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_abuse import redeeming
from tests.gateway.test_purchase_api import ACCRUE_MANY, QUOTE, RECORD, REDEEM, RETURN, by_number, record

MINUTE = timedelta(minutes=1)
HUGE = f"{2 * NEWCOMERS_HOUR}.00"


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await found(database, vault)
    for code in ("bakery", "grocer"):
        await coalition.add_partner(code, return_window_days=0)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        for code in ("bakery", "grocer"):
            await opened.till(code)
        yield opened
    assert await violations(database.pool) == []
    await coalition.desk.close()


@pytest.fixture
async def card(gateway: Gateway) -> IssuedCard:
    made = await gateway.coalition.add_member()
    async with gateway.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, made.member_id, "4711")
    return made


async def looked(gateway: Gateway, at: datetime) -> int:
    """What the worker does every minute; how many partners it stopped."""
    database, never = gateway.coalition.database, asyncio.Event()
    await worker.roll_up(database, at, never)
    stopped = await worker.watch_paces(database, at, never)
    await gateway.app.state.services.directory.refresh()
    await gateway.at(at)
    return stopped


async def buy(till: Till, card: IssuedCard, total: str) -> dict[str, object]:
    answer: dict[str, object] = await till.ask(
        RECORD, input={"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt(total)}
    )
    return answer


async def test_l25_a_burst_is_stopped_and_told_of_and_spending_returns_and_other_partners_go_on(
    gateway: Gateway, card: IssuedCard
) -> None:
    bakery, grocer = gateway.tills["bakery"], gateway.tills["grocer"]
    await record(bakery, card, stand.receipt("100.00"))
    assert await looked(gateway, NOON) == 0
    burst = stand.receipt(HUGE)
    await record(bakery, card, burst)
    assert await looked(gateway, NOON + MINUTE) == 1
    assert await looked(gateway, NOON + 2 * MINUTE) == 0  # it is told of once
    before = await rows_written(gateway.coalition.database.pool)
    no = await buy(bakery, card, "5.00")
    assert (no["code"], no["retryable"]) == ("EARNING_PAUSED", True)
    item = {"member": by_number(card), "receipt": stand.receipt("5.00")}
    done = await bakery.ask(ACCRUE_MANY, input={"idempotencyKey": stand.key(), "items": [item]})
    assert done["results"][0]["code"] == "EARNING_PAUSED"
    assert (await bakery.error(QUOTE, input=item))["extensions"]["rejection"]["code"] == "EARNING_PAUSED"
    assert await rows_written(gateway.coalition.database.pool) == before
    # Points that members have are theirs, and what was too much can be taken back.
    assert (await bakery.ask(REDEEM, input=redeeming(by_number(card), "10", {"pin": "4711"})))["transaction"]
    back = {
        "idempotencyKey": stand.key(), "reference": stand.key(), "outlet": "1", "terminal": "1",
        "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), "what": {"whole": True},
        "original": {"receipt": {key: burst[key] for key in ("reference", "outlet", "terminal", "businessDate")}},
    }  # fmt: skip
    assert (await bakery.ask(RETURN, input=back))["transaction"]
    assert (await buy(grocer, card, "5.00"))["transaction"]
    alerts = await gateway.coalition.database.pool.fetch(
        "SELECT subject, detail::text FROM kit.audit_trail WHERE action = 'EARNING_PAUSED'"
    )
    assert [row["subject"] for row in alerts] == [f"partner:{gateway.coalition.callers['bakery'].partner_id}"]
    # Once an hour has passed without it, the partner gives points again by itself.
    for minute in range(3, 120, 10):
        await looked(gateway, NOON + minute * MINUTE)
    assert (await buy(bakery, card, "5.00"))["transaction"]


async def test_l25_what_a_partner_gave_in_a_day_before_it_may_give_in_an_hour(
    gateway: Gateway, card: IssuedCard
) -> None:
    bakery = gateway.tills["bakery"]
    await record(bakery, card, stand.receipt(HUGE))
    await looked(gateway, NOON + DAY)
    for minute in range(1, 4):
        await record(bakery, card, stand.receipt(f"{NEWCOMERS_HOUR // 2}.00"))
        assert await looked(gateway, NOON + DAY + minute * MINUTE) == 0
    await record(bakery, card, stand.receipt(HUGE))
    assert await looked(gateway, NOON + DAY + 5 * MINUTE) == 1


async def test_l25_staff_let_a_partner_go_on_and_it_is_left_alone_for_a_day(gateway: Gateway, card: IssuedCard) -> None:
    coalition, bakery = gateway.coalition, gateway.tills["bakery"]
    partner_id = coalition.callers["bakery"].partner_id
    await looked(gateway, NOON)
    await record(bakery, card, stand.receipt("1.00"))
    await looked(gateway, NOON)
    await record(bakery, card, stand.receipt(HUGE))
    assert await looked(gateway, NOON + MINUTE) == 1
    async with coalition.database.transaction() as connection:
        with pytest.raises(NotPermitted):
            await paces.go_on(connection, partner_id=partner_id, actor=coalition.maker, at=NOON + MINUTE)
        await paces.go_on(connection, partner_id=partner_id, actor=coalition.onboarder, at=NOON + MINUTE)
        with pytest.raises(NotPaused):
            await paces.go_on(connection, partner_id=partner_id, actor=coalition.onboarder, at=NOON + MINUTE)
    assert await looked(gateway, NOON + 2 * MINUTE) == 0
    assert (await buy(bakery, card, HUGE))["transaction"]
    assert await looked(gateway, NOON + 3 * MINUTE) == 0
    assert (await buy(bakery, card, "1.00"))["transaction"]


@given(
    st.dictionaries(st.integers(1, 9), st.integers(0, 10**7)), st.dictionaries(st.integers(1, 9), st.integers(0, 10**7))
)
def test_only_who_gave_more_than_ever_and_more_than_a_newcomer_may_is_too_fast(
    pace: dict[int, int], usual: dict[int, int]
) -> None:
    found_ = {burst.partner_id: burst for burst in bursts(pace, usual)}
    for partner_id, points in pace.items():
        most = max(usual.get(partner_id, 0), NEWCOMERS_HOUR)
        assert (partner_id in found_) == (points > most)
        if partner_id in found_:
            assert (found_[partner_id].points, found_[partner_id].most) == (points, most)


def test_the_busiest_day_counts_what_was_issued_and_nothing_else() -> None:
    def day(number: int, debit: int, points: int, funder: int = 1) -> Rollup:
        return Rollup(date(2026, 3, number), 1, 1, funder, 1, debit, 2, 1, points)

    assert busiest_days([day(1, 10, 5), day(1, 10, 6, funder=2), day(2, 10, 10), day(2, 1, 99)]) == {1: 11}
