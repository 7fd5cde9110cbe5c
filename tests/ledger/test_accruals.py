"""Accruals in batches and through the lane: the same as one by one, once per key, each answering for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate
from uuid import UUID, uuid4

import asyncpg
import pytest

from kit.database import Database
from ledger import accruals
from ledger.accruals import ACCOUNT_UNKNOWN, KEY_REUSED, RECORDED, REPLAYED, Accrual, Lot
from tests.ledger.test_operations import NOTHING, T0, open_holder

YEAR = timedelta(days=365)
DAY = timedelta(days=1)


def an_accrual(holder_id: int, points: int = 10, *, key: UUID | None = None, pending_days: int = 0) -> Accrual:
    lot = Lot(1, 1, 1, points, T0 + pending_days * DAY, T0 + YEAR)
    return Accrual(holder_id, 1, key or uuid4(), NOTHING, (lot,), T0)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    yield database.pool
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def entries(pool: asyncpg.Pool) -> int:
    found: int = await pool.fetchval("SELECT count(*) FROM ledger.journal")
    return found


async def test_a_batch_answers_for_each_item_in_order(pool: asyncpg.Pool) -> None:
    first, second = (await open_holder(pool)).holder_id, (await open_holder(pool)).holder_id
    told = await accruals.accrue_many(
        pool, [an_accrual(second, 5), an_accrual(first, 7, pending_days=3), an_accrual(second, 6), an_accrual(first, 1)]
    )
    assert [(one.status, one.seq, one.available, one.pending) for one in told] == [
        (RECORDED, 1, 5, 0), (RECORDED, 1, 0, 7), (RECORDED, 2, 11, 0), (RECORDED, 2, 1, 7),
    ]  # fmt: skip


async def test_several_lots_of_one_accrual_are_one_entry(pool: asyncpg.Pool) -> None:
    holder = (await open_holder(pool)).holder_id
    lots = (Lot(1, 1, 1, 10, T0, T0 + YEAR), Lot(1, 2, 3, 4, T0 + DAY, T0 + YEAR))
    both = [replace(an_accrual(holder), lots=lots), an_accrual(holder)]
    told = await accruals.accrue_many(pool, both)
    assert [(one.seq, one.available, one.pending) for one in told] == [(1, 10, 4), (2, 20, 4)]
    rows = await pool.fetch("SELECT seq, lot_no, funder_id, granted FROM ledger.lot ORDER BY seq, lot_no")
    assert [tuple(row) for row in rows] == [(1, 1, 1, 10), (1, 2, 2, 4), (2, 1, 1, 10)]


async def test_an_accrual_that_repaid_a_debt_hears_the_same_when_it_is_repeated_in_a_batch(pool: asyncpg.Pool) -> None:
    owing, other = await open_holder(pool), await open_holder(pool)
    await owing.accrue(100)
    await owing.redeem(100)
    await owing.take_back(1, 100, shortfall=1)
    items = [an_accrual(owing.holder_id, 130), an_accrual(other.holder_id, 5)]
    first, again = [await accruals.accrue_many(pool, items) for _ in range(2)]
    assert [(one.status, one.available) for one in first] == [(RECORDED, 30), (RECORDED, 5)]
    assert [(one.status, one.seq, one.available) for one in again] == [
        (REPLAYED, first[0].seq, 30), (REPLAYED, first[1].seq, 5),
    ]  # fmt: skip


async def test_a_repeated_accrual_hears_its_first_answer_and_writes_nothing(pool: asyncpg.Pool) -> None:
    holder = (await open_holder(pool)).holder_id
    once = an_accrual(holder, 10)
    [first] = await accruals.accrue_many(pool, [once])
    await accruals.accrue_many(pool, [an_accrual(holder, 90)])
    again, other = await accruals.accrue_many(pool, [once, an_accrual(holder, 1)])
    assert again == replace(first, status=REPLAYED)
    assert (other.status, other.available) == (RECORDED, 101)
    assert await entries(pool) == 3


async def test_a_key_twice_in_one_batch_is_one_entry_and_two_equal_answers(pool: asyncpg.Pool) -> None:
    holder = (await open_holder(pool)).holder_id
    one = an_accrual(holder)
    told = await accruals.accrue_many(pool, [one, one, an_accrual(holder), one])
    assert [answer.status for answer in told] == [RECORDED, REPLAYED, RECORDED, REPLAYED]
    assert told[1] == told[3] == replace(told[0], status=REPLAYED)
    assert await entries(pool) == 2


async def test_a_key_for_another_input_and_an_unknown_account_are_refused_and_spoil_nobody(pool: asyncpg.Pool) -> None:
    holder = (await open_holder(pool)).holder_id
    once = an_accrual(holder)
    await accruals.accrue_many(pool, [once])
    told = await accruals.accrue_many(
        pool, [replace(once, fingerprint=UUID(int=1)), an_accrual(holder + 1), an_accrual(holder, 3)]
    )
    assert [(one.status, one.available) for one in told] == [
        (KEY_REUSED, None),
        (ACCOUNT_UNKNOWN, None),
        (RECORDED, 13),
    ]
    assert await entries(pool) == 2


@pytest.mark.parametrize("beside", [0, 1], ids=["alone", "in a batch"])
async def test_what_is_due_is_applied_first(pool: asyncpg.Pool, beside: int) -> None:
    holder, other = (await open_holder(pool)).holder_id, (await open_holder(pool)).holder_id
    await accruals.accrue_many(pool, [an_accrual(holder, 10, pending_days=2)])
    later = replace(an_accrual(holder, 5), at=T0 + 3 * DAY)
    told = await accruals.accrue_many(pool, [later, *[replace(an_accrual(other), at=later.at)] * beside])
    assert (told[0].seq, told[0].available, told[0].pending) == (3, 15, 0)


async def test_a_batch_of_nothing_asks_nobody(pool: asyncpg.Pool) -> None:
    assert await accruals.accrue_many(pool, []) == []


async def test_callers_at_once_share_batches_and_each_hears_its_own_answer(pool: asyncpg.Pool) -> None:
    holders = [(await open_holder(pool)).holder_id for _ in range(3)]
    lane = accruals.open_lane(pool, batch_size=16)
    asked = [an_accrual(holders[number % 3], 1 + number) for number in range(90)]
    told = await asyncio.gather(*(lane.submit(item) for item in asked))
    assert {one.status for one in told} == {RECORDED}
    for holder in holders:
        mine = [(item, one) for item, one in zip(asked, told, strict=True) if item.holder_id == holder]
        mine.sort(key=lambda each: each[1].seq or 0)  # two batches fly at a time, in either order
        assert [one.seq for _, one in mine] == list(range(1, 31))
        assert [one.available for _, one in mine] == list(accumulate(item.lots[0].points for item, _ in mine))
    again = await asyncio.gather(*(lane.submit(item) for item in asked))
    assert [one.seq for one in again] == [one.seq for one in told]
    assert {one.status for one in again} == {REPLAYED}
    await lane.close()
    assert await entries(pool) == 90


async def test_two_lanes_on_the_same_accounts_lose_and_double_nothing(database: Database, pool: asyncpg.Pool) -> None:
    holders = [(await open_holder(pool)).holder_id for _ in range(4)]
    lanes = [accruals.open_lane(pool, batch_size=8) for _ in range(2)]
    asked = [an_accrual(holders[number % 4]) for number in range(80)]
    told = await asyncio.gather(*(lane.submit(item) for lane in lanes for item in asked))  # each asks for everything
    both = list(zip(told[:80], told[80:], strict=True))
    assert all(sorted((one.status, other.status)) == [RECORDED, REPLAYED] for one, other in both)
    assert all(one.seq == other.seq for one, other in both)
    for lane in lanes:
        await lane.close()
    assert await entries(pool) == 80
