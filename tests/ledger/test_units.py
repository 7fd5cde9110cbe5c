"""The ledger knows holders and units: stamps of a member and money of a bearer's gift card need no line of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from kit import postgres
from kit.database import Database
from tests.ledger.test_operations import DAY, NOTHING, T0

POINTS, STAMPS, EURO_CENTS = 1, 2, 3


@pytest.fixture
async def pool(database: Database, server: postgres.Server, database_name: str) -> AsyncIterator[asyncpg.Pool]:
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(
        "INSERT INTO ledger.unit VALUES (2, 'STAMP', 'ten of them are a coffee'), (3, 'EUR_CENT', 'money of a gift card')"
    )
    await owner.close()
    yield database.pool
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def grant(pool: asyncpg.Pool, holder: int, unit: int, amount: int, key: UUID | None = None) -> int:
    row = await pool.fetchrow(
        "SELECT * FROM ledger.accrue($1, $2, 7, $3, $4, $5, ARRAY[7], ARRAY[7], ARRAY[7], ARRAY[$6::bigint], ARRAY[$5::timestamptz],"
        " ARRAY[$7::timestamptz])",
        holder, unit, key or uuid4(), NOTHING, T0, amount, T0 + 365 * DAY,
    )  # fmt: skip
    return row["status"]


async def take(pool: asyncpg.Pool, holder: int, unit: int, amount: int) -> int:
    row = await pool.fetchrow(
        "SELECT * FROM ledger.redeem($1, $2, $3, 7, 7, $4, $5, $6, $7)",
        holder, unit, amount, uuid4(), NOTHING, T0, T0.date(),
    )  # fmt: skip
    return row["status"]


async def balances(pool: asyncpg.Pool, holder: int) -> dict[int, int]:
    return dict(
        await pool.fetch("SELECT unit, available FROM ledger.account WHERE holder_id = $1 ORDER BY unit", holder)
    )


async def test_a_holders_units_are_accounts_of_their_own(pool: asyncpg.Pool) -> None:
    holder = await pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)")
    await pool.execute("SELECT ledger.add_account($1, 2::smallint)", holder)
    await pool.execute("SELECT ledger.add_account($1, 2::smallint)", holder)
    assert [await grant(pool, holder, POINTS, 100), await grant(pool, holder, STAMPS, 9)] == [0, 0]
    assert await take(pool, holder, STAMPS, 10) == 3
    assert await grant(pool, holder, STAMPS, 1) == 0
    assert await take(pool, holder, STAMPS, 10) == 0
    assert await balances(pool, holder) == {POINTS: 100, STAMPS: 0}


async def test_one_key_in_two_units_is_two_operations(pool: asyncpg.Pool) -> None:
    holder, key = await pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)"), uuid4()
    await pool.execute("SELECT ledger.add_account($1, 2::smallint)", holder)
    assert [await grant(pool, holder, unit, 5, key) for unit in (POINTS, STAMPS, POINTS)] == [0, 0, 1]
    assert await balances(pool, holder) == {POINTS: 5, STAMPS: 5}


async def test_a_gift_card_is_a_holder_that_nobody_knows(pool: asyncpg.Pool) -> None:
    card = await pool.fetchval("SELECT ledger.open_accounts(1, 3::smallint)")
    assert await grant(pool, card, EURO_CENTS, 5_000) == 0
    assert [await take(pool, card, EURO_CENTS, cents) for cents in (3_000, 2_001, 2_000, 1)] == [0, 3, 0, 3]
    assert await balances(pool, card) == {EURO_CENTS: 0}


async def test_a_unit_that_nobody_defined_has_no_account(pool: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.fetchval("SELECT ledger.open_accounts(1, 9::smallint)")
    holder = await pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)")
    assert await grant(pool, holder, STAMPS, 1) == 4
