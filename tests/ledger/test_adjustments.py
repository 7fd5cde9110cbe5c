"""Adjustments in the ledger: once under a key, from the lots that expire first, never below nothing."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from kit.database import Database
from ledger import adjustments
from ledger.adjustments import AdjustmentExceedsBalance, Grant
from tests.ledger.test_operations import DAY, T0, Holder, open_holder

GRANT = Grant(issuer_id=4, funder_id=0, terms_id=9, expires_at=T0 + 100 * DAY)


@pytest.fixture
async def holder(database: Database):
    yield await open_holder(database.pool)
    for audit in ("audit()", "audit_accounts(NULL, NULL)", "verify_chains()"):
        assert await database.pool.fetch(f"SELECT * FROM ledger.{audit}") == []


async def give(
    database: Database, holder: Holder, points: int, *, key: UUID | None = None, grant: Grant = GRANT
) -> int:
    async with database.transaction() as connection:
        return await adjustments.give(connection, holder.holder_id, points, grant, key=key or uuid4(), at=T0)


async def take(database: Database, holder: Holder, points: int, *, key: UUID | None = None, day: int = 0) -> int:
    async with database.transaction() as connection:
        return await adjustments.take(connection, holder.holder_id, points, key=key or uuid4(), at=T0 + day * DAY)


async def test_points_given_are_a_lot_that_can_be_spent_and_expires(database: Database, holder: Holder) -> None:
    key = uuid4()
    assert [await give(database, holder, 50, key=key) for _ in range(3)] == [1, 1, 1]
    assert await holder.balance() == (50, 0)
    assert (await holder.redeem(20, day=99))["status"] == 0
    await holder.sweep(100)
    assert await holder.balance() == (0, 0)
    assert [entry[:2] for entry in await holder.entries()] == [(17, 50), (3, 20), (7, 30)]


async def test_points_taken_are_those_that_expire_first_and_pending_and_held_ones_stay(
    database: Database, holder: Holder
) -> None:
    await holder.accrue(100, expires=300)
    await holder.accrue(100, expires=50)
    await holder.accrue(40, activates=9)
    await holder.hold(30)
    key = uuid4()
    assert [await take(database, holder, 90, key=key) for _ in range(2)] == [5, 5]
    assert await holder.lots() == {1: 80, 2: 0, 3: 40}
    before = await database.pool.fetchval("SELECT count(*) FROM ledger.journal")
    with pytest.raises(AdjustmentExceedsBalance) as no:
        await take(database, holder, 81)
    assert no.value.available_points == 80
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.journal") == before
    await take(database, holder, 80)
    assert await holder.balance() == (0, 40)


async def test_expired_points_are_not_taken(database: Database, holder: Holder) -> None:
    await holder.accrue(100, expires=50)
    with pytest.raises(AdjustmentExceedsBalance):
        await take(database, holder, 1, day=50)


async def test_a_spend_lock_does_not_keep_points_from_being_taken(database: Database, holder: Holder) -> None:
    await holder.accrue(10)
    await holder.pool.execute("SELECT ledger.lock_spending($1, 1::smallint, true)", holder.holder_id)
    await take(database, holder, 10)
    assert await holder.balance() == (0, 0)


async def test_of_adjustments_and_redemptions_of_a_whole_balance_at_once_one_wins(
    database: Database, holder: Holder
) -> None:
    for _ in range(3):
        await give(database, holder, 100)
        tries = [take(database, holder, 100) for _ in range(3)] + [holder.redeem(100) for _ in range(3)]
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(one, int) for one in done[:3]) + sum(one["status"] == 0 for one in done[3:]) == 1  # type: ignore[index]
        assert await holder.balance() == (0, 0)


async def test_a_holder_without_account_cannot_be_adjusted(database: Database, holder: Holder) -> None:
    with pytest.raises(LookupError):
        await give(database, Holder(database.pool, 404), 1)
    with pytest.raises(LookupError):
        await give(database, holder, 0)
