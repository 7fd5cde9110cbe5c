"""The ledger's operations, one by one, on virtual time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from kit.database import Database

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = UUID(int=0)


@dataclass
class Holder:
    """One account, and the operations as a test says them; days count from T0."""

    pool: asyncpg.Pool
    holder_id: int

    async def accrue(
        self, points: int, *, day: int = 0, activates: int = 0, expires: int = 365, key: UUID | None = None,
        issuer: int = 1, fingerprint: UUID = NOTHING,
    ) -> asyncpg.Record:  # fmt: skip
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.accrue($1, 1::smallint, $2, $3, $4, $5, $6, $6, $6, $7, $8, $9)",
            self.holder_id, issuer, key or uuid4(), fingerprint, T0 + day * DAY, [issuer], [points],
            [T0 + activates * DAY], [T0 + expires * DAY],
        )  # fmt: skip

    async def redeem(
        self, points: int, *, day: int = 0, key: UUID | None = None, fingerprint: UUID = NOTHING, partner: int = 2
    ) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.redeem($1, 1::smallint, $2, $3, $3, $4, $5, $6, $7)",
            self.holder_id, points, partner, key or uuid4(), fingerprint, T0 + day * DAY, (T0 + day * DAY).date(),
        )  # fmt: skip

    async def take_back(self, seq: int, points: int, *, day: int = 0, key: UUID | None = None) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.return_accrual($1, 1::smallint, $2, $3, $4, 1, $5, $6, $7)",
            self.holder_id, seq, [1], [points], key or uuid4(), NOTHING, T0 + day * DAY,
        )  # fmt: skip

    async def refund(self, seq: int, points: int, *, day: int = 0, key: UUID | None = None) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.refund_redemption($1, 1::smallint, $2, $3, '30 days', 2, $4, $5, $6)",
            self.holder_id, seq, points, key or uuid4(), NOTHING, T0 + day * DAY,
        )  # fmt: skip

    async def sweep(self, day: int) -> None:
        await self.pool.fetchval("SELECT ledger.sweep_due(1::smallint, $1, 1000)", T0 + day * DAY)

    async def balance(self) -> tuple[int, int]:
        row = await self.pool.fetchrow(
            "SELECT available, pending FROM ledger.account WHERE holder_id = $1", self.holder_id
        )
        return row["available"], row["pending"]

    async def lots(self) -> dict[int, int]:
        rows = await self.pool.fetch(
            "SELECT seq, remaining FROM ledger.lot WHERE holder_id = $1 ORDER BY seq", self.holder_id
        )
        return {row["seq"]: row["remaining"] for row in rows}

    async def entries(self) -> list[tuple[int, int, datetime]]:
        rows = await self.pool.fetch(
            "SELECT kind, amount, at FROM ledger.journal WHERE holder_id = $1 ORDER BY seq", self.holder_id
        )
        return [tuple(row) for row in rows]


async def open_holder(pool: asyncpg.Pool) -> Holder:
    return Holder(pool, await pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)"))


@pytest.fixture
async def holder(database: Database):
    yield await open_holder(database.pool)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_a_redemption_consumes_the_lot_that_expires_first(holder: Holder) -> None:
    await holder.accrue(100, expires=300)
    await holder.accrue(100, expires=100)
    await holder.redeem(120, day=1)
    assert await holder.lots() == {1: 80, 2: 0}


async def test_due_lots_activate_and_expire_on_touch_each_at_its_own_due_instant(holder: Holder) -> None:
    await holder.accrue(100, activates=14, expires=50)
    await holder.accrue(30, activates=20, expires=400)
    done = await holder.redeem(30, day=60)
    assert (done["status"], done["available"]) == (0, 0)
    assert await holder.entries() == [
        (1, 100, T0), (1, 30, T0), (2, 100, T0 + 14 * DAY), (2, 30, T0 + 20 * DAY), (7, 100, T0 + 50 * DAY),
        (3, 30, T0 + 60 * DAY),
    ]  # fmt: skip


async def test_pending_points_cannot_be_spent(holder: Holder) -> None:
    await holder.accrue(100, activates=14)
    assert (await holder.redeem(1, day=13))["status"] == 3
    assert (await holder.redeem(1, day=14))["status"] == 0


async def test_a_lot_expires_at_its_instant_and_not_before(holder: Holder) -> None:
    await holder.accrue(100, expires=30)
    assert (await holder.redeem(40, day=29))["status"] == 0
    assert (await holder.redeem(1, day=30))["status"] == 3
    assert await holder.balance() == (0, 0)


async def test_a_decline_is_final_for_its_key_and_leaves_the_balance_alone(holder: Holder) -> None:
    key = uuid4()
    assert (await holder.redeem(10, key=key))["status"] == 3
    await holder.accrue(100)
    again = await holder.redeem(10, key=key)
    assert (again["status"], again["available"]) == (3, 0)
    assert (await holder.redeem(10, key=key, fingerprint=UUID(int=7)))["status"] == 2
    assert await holder.balance() == (100, 0)


async def test_a_return_takes_no_more_than_the_accruals_own_lot_still_holds(holder: Holder) -> None:
    await holder.accrue(100)
    await holder.accrue(100, expires=400)
    await holder.redeem(70)
    done = await holder.take_back(1, 100)
    assert (done["taken"], await holder.lots()) == (30, {1: 0, 2: 100})


async def test_a_pending_accrual_is_taken_back_without_ever_being_available(holder: Holder) -> None:
    await holder.accrue(100, activates=14)
    assert (await holder.take_back(1, 60, day=3))["taken"] == 60
    assert await holder.balance() == (0, 40)
    await holder.sweep(20)
    assert await holder.balance() == (40, 0)


async def test_a_refund_gives_each_lot_back_what_it_gave_the_last_consumed_first(holder: Holder) -> None:
    await holder.accrue(50, expires=100)
    await holder.accrue(50, expires=200)
    await holder.redeem(80)
    await holder.refund(3, 40)
    assert await holder.lots() == {1: 10, 2: 50}
    await holder.refund(3, 40)
    assert await holder.lots() == {1: 50, 2: 50}


async def test_no_more_is_refunded_than_was_redeemed(holder: Holder) -> None:
    await holder.accrue(100)
    await holder.redeem(80)
    assert (await holder.refund(2, 81))["status"] == 5
    assert (await holder.refund(2, 80))["status"] == 0
    assert (await holder.refund(2, 1))["status"] == 5
    assert (await holder.refund(1, 1))["status"] == 5


async def test_refunded_points_of_an_expired_lot_are_good_for_the_grace_and_then_expire(holder: Holder) -> None:
    await holder.accrue(100, expires=30)
    await holder.redeem(100, day=1)
    await holder.refund(2, 60, day=40)
    assert await holder.balance() == (60, 0)
    await holder.sweep(69)
    assert await holder.balance() == (60, 0)
    await holder.sweep(70)
    assert await holder.balance() == (0, 0)


async def test_a_key_repeated_answers_as_the_first_time_and_with_another_input_is_refused(holder: Holder) -> None:
    for operation in (holder.accrue, holder.redeem):
        key = uuid4()
        first = await operation(10, key=key)
        assert first["status"] == 0
        again = await operation(10, key=key)
        assert (again["status"], again["seq"], again["available"]) == (1, first["seq"], first["available"])
        assert (await operation(10, key=key, fingerprint=UUID(int=9)))["status"] == 2
    assert await holder.balance() == (0, 0)


async def test_a_holder_without_account_is_told_so(database: Database) -> None:
    nobody = Holder(database.pool, 404)
    assert [(await operation(1))["status"] for operation in (nobody.accrue, nobody.redeem)] == [4, 4]
    assert (await nobody.take_back(1, 1))["status"] == (await nobody.refund(1, 1))["status"] == 4
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.journal") == 0


async def test_a_spend_lock_and_a_daily_cap_bind_spending_and_nothing_else(
    holder: Holder, server, database_name: str
) -> None:
    await holder.accrue(100)
    await holder.pool.fetchval("SELECT ledger.lock_spending($1, 1::smallint, true)", holder.holder_id)
    assert (await holder.redeem(10))["status"] == 6
    await holder.pool.fetchval("SELECT ledger.lock_spending($1, 1::smallint, false)", holder.holder_id)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.account SET daily_cap = 50")
    await owner.close()
    assert [(await holder.redeem(points))["status"] for points in (51, 30, 21, 20, 1)] == [7, 0, 7, 0, 7]
    assert (await holder.redeem(50, day=1))["status"] == 0


@pytest.mark.parametrize("table", ["journal", "posting"])
@pytest.mark.parametrize(
    "statement", ["UPDATE ledger.{} SET amount = 1", "DELETE FROM ledger.{}", "TRUNCATE ledger.{}"]
)
async def test_the_application_cannot_change_or_remove_what_is_written(
    holder: Holder, table: str, statement: str
) -> None:
    await holder.accrue(10)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await holder.pool.execute(statement.format(table))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await holder.pool.execute("UPDATE ledger.account SET available = 1000000")


TAMPERING = {
    "A1 balance = its postings": "UPDATE ledger.account SET available = available + 1",
    "A2 balance = its lots": "UPDATE ledger.account SET pending = pending + 1",
    "A3 lot = its postings": "UPDATE ledger.lot SET remaining = remaining - 1",
    "A4 journal has no gap and ends at the head": "UPDATE ledger.account SET seq = seq + 1",
    "A5 open holds = held": "UPDATE ledger.account SET held = 1",
    "A6 entry = its postings": "UPDATE ledger.journal SET amount = amount + 1",
    "A6 posting belongs to an entry": "DELETE FROM ledger.journal WHERE seq = 1",
    "A7 balance history = running sum": "UPDATE ledger.journal SET available_after = available_after + 1",
    "A11 issued = all that became of it": "DELETE FROM ledger.lot",
    "A16 cut-off = what is recorded in it": "UPDATE ledger.journal SET cutoff_id = 1",
}


@pytest.mark.parametrize(("rule", "tampering"), TAMPERING.items())
async def test_the_audit_sees_what_only_the_owner_of_the_tables_could_do(
    database: Database, server, database_name: str, rule: str, tampering: str
) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(10)
    cut = await database.pool.fetchval("SELECT ledger.drain_cutoff($1)", T0)
    await database.pool.fetchrow("SELECT * FROM ledger.seal_cutoff($1)", cut)
    await holder.accrue(10)
    await holder.redeem(5)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(tampering)
    await owner.close()
    assert rule in {row["rule"] for row in await database.pool.fetch("SELECT * FROM ledger.audit()")}
