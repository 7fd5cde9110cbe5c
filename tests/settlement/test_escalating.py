"""Breaks that nobody resolves in time: whom they go to, when, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import worker
from kit.database import Database
from kit.secrets import Vault
from settlement import runs
from settlement.reconciliation import breaks, escalating, register, resolving, standing
from tests.builders import DAY, NOON
from tests.settlement.reconciling import CHECKER, MAKER, House, a_house_of, changed, met

TODAY, AT = NOON.date(), NOON + DAY  # a Monday and a Tuesday


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    await made.books.coalition.desk.close()


async def told(house: House, break_id: int) -> list[tuple[int, str, date, int]]:
    async with house.database.reading() as connection:
        found = await escalating.of_break(connection, break_id)
    return [(one.level, one.role, one.due_on, one.days_late) for one in found]


async def look(house: House, at: Any) -> int:
    return await worker.escalate_breaks(house.database, at, asyncio.Event())


async def test_a_late_break_goes_to_the_next_role_and_then_to_the_one_after_each_once(a_house: House) -> None:
    card = await a_house.books.member()
    await a_house.sell(card, 5, "cafe", after=0, reference="S0")
    await a_house.sell(card, 6, "cafe", after=0, reference="S1")
    rows = await a_house.rows("cafe", TODAY)
    rows = changed(changed(rows, "S0", points=4), "S1", points=5)
    await a_house.compare(await a_house.send("cafe", TODAY, rows, at=AT), at=AT)
    one, two = await a_house.breaks()
    await a_house.do(register.assign, one.break_id, owner=MAKER, actor=MAKER, at=AT, on=AT.date(),
                     due_on=date(2026, 3, 5))  # fmt: skip
    await a_house.do(runs.declare_holiday, day=date(2026, 3, 9), name="A day off", actor=MAKER, at=AT)

    friday, monday, tuesday = (AT + n * DAY for n in (3, 6, 7))
    assert await look(a_house, AT + 2 * DAY) == 0  # Thursday: it is due
    assert [await look(a_house, friday) for _ in range(3)] == [1, 0, 0]
    assert await look(a_house, monday) == 0  # nobody works
    assert await told(a_house, one.break_id) == [(1, "FINANCE_CHECKER", date(2026, 3, 5), 1)]
    async with a_house.database.reading() as connection:
        [late] = [item for item in await standing.late(connection, at=tuesday) if item.kind == "BREAK"]
    assert late.detail == f"{MAKER} has it, assigned, went to FINANCE_CHECKER"
    await a_house.do(register.assign, one.break_id, owner=CHECKER, actor=MAKER, at=tuesday, on=tuesday.date(),
                     due_on=date(2026, 3, 11))  # fmt: skip
    assert await look(a_house, tuesday) == 0
    assert await look(a_house, AT + 30 * DAY) == 4  # both breaks, both levels: the first was given another day
    assert [level for level, *_ in await told(a_house, one.break_id)] == [1, 1, 2]
    # Nobody has the second: it was due ten business days after it was seen, the day off not counted.
    assert (await told(a_house, two.break_id))[1][:3] == (2, "OPERATOR_ADMIN", date(2026, 3, 18))
    async with a_house.database.reading() as connection:
        assert len([item for item in await standing.late(connection, at=AT + 30 * DAY) if item.kind == "BREAK"]) == 2

    await a_house.do(resolving.accept, two.break_id, cause="theirs", actor=MAKER, at=AT + 31 * DAY)
    before = await a_house.database.pool.fetchval("SELECT count(*) FROM settlement.break_escalation")
    assert await asyncio.gather(*(look(a_house, AT + 60 * DAY) for _ in range(4))) == [0] * 4
    assert await a_house.database.pool.fetchval("SELECT count(*) FROM settlement.break_escalation") == before


@given(late=st.integers(0, 400), more=st.integers(0, 30))
def test_whoever_was_told_stays_told_however_late_it_becomes(late: int, more: int) -> None:
    assert escalating.levels(late) == escalating.levels(late + more)[: len(escalating.levels(late))]
    assert len(escalating.levels(late)) == sum(late >= least for least, _ in escalating.LADDER)


@given(since=st.dates(date(2026, 1, 1), date(2026, 12, 1)), days=st.integers(0, 60))
def test_business_days_open_never_run_faster_than_the_calendar(since: date, days: int) -> None:
    until = since + timedelta(days=days)
    found = breaks.business_days_open(since, until)
    assert found <= days
    assert days - found <= 2 * (days // 7 + 1)
