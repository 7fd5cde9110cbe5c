"""The ledger's operations, one by one, on virtual time."""

from __future__ import annotations

import asyncio
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

    async def take_back(
        self, seq: int, points: int, *, day: int = 0, key: UUID | None = None, shortfall: int = 0
    ) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.return_accrual($1, 1::smallint, $2, $3, $4, 1, $5, $6, $7, $8)",
            self.holder_id, seq, [1], [points], key or uuid4(), NOTHING, T0 + day * DAY, shortfall,
        )  # fmt: skip

    async def tell(self, seq: int, *, day: int = 0) -> datetime | None:
        """Notice that a lot will expire; when it will, None where there was nothing to tell."""
        found: datetime | None = await self.pool.fetchval(
            "SELECT expires_at FROM ledger.record_expiry_notices(1::smallint, $1, $2, $3, $4)",
            [self.holder_id], [seq], [1], T0 + day * DAY,
        )  # fmt: skip
        return found

    async def refund(self, seq: int, points: int, *, day: int = 0, key: UUID | None = None) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.refund_redemption($1, 1::smallint, $2, $3, '30 days', 2, $4, $5, $6)",
            self.holder_id, seq, points, key or uuid4(), NOTHING, T0 + day * DAY,
        )  # fmt: skip

    async def hold(self, points: int, *, day: int = 0, days: int = 1, key: UUID | None = None) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.place_hold($1, 1::smallint, $2, $3, 2, 2, $4, $5, $6, $7)",
            self.holder_id, points, T0 + (day + days) * DAY, key or uuid4(), NOTHING, T0 + day * DAY,
            (T0 + day * DAY).date(),
        )  # fmt: skip

    async def capture(
        self, seq: int, points: int, *, day: int = 0, key: UUID | None = None, partner: int = 2
    ) -> asyncpg.Record:
        return await self._resolve(5, seq, points, day, key, partner)

    async def release(self, seq: int, *, day: int = 0, key: UUID | None = None, partner: int = 2) -> asyncpg.Record:
        return await self._resolve(6, seq, 0, day, key, partner)

    async def _resolve(
        self, kind: int, seq: int, points: int, day: int, key: UUID | None, partner: int
    ) -> asyncpg.Record:
        return await self.pool.fetchrow(
            "SELECT * FROM ledger.resolve_hold($1, $2, 1::smallint, $3, $4, $5, $5, $6, $7, $8)",
            kind, self.holder_id, seq, points, partner, key or uuid4(), NOTHING, T0 + day * DAY,
        )  # fmt: skip

    async def held(self) -> int:
        found: int = await self.pool.fetchval("SELECT held FROM ledger.account WHERE holder_id = $1", self.holder_id)
        return found

    async def debt(self) -> int:
        found: int = await self.pool.fetchval("SELECT debt FROM ledger.account WHERE holder_id = $1", self.holder_id)
        return found

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
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


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


async def test_a_batch_writes_what_its_items_would_write_one_by_one(database: Database) -> None:
    one_by_one, at_once = await open_holder(database.pool), await open_holder(database.pool)
    items = [(100, 0, 50), (30, 14, 400), (70, 5, 60)]
    keys = [uuid4() for _ in items]
    for key, (points, activates, expires) in zip(keys, items, strict=True):
        await one_by_one.accrue(points, activates=activates, expires=expires, key=key)
    n = len(items)
    await database.pool.fetch(
        "SELECT * FROM ledger.record_accruals(1::smallint, $1, ledger.enter_cutoff(), $2, $3, $4, $5, $6, $2, $4, $4, $4,"
        " $7, $8, $9)",
        T0, list(range(1, n + 1)), [at_once.holder_id] * n, [1] * n, keys, [NOTHING] * n,
        [points for points, _, _ in items], [T0 + activates * DAY for _, activates, _ in items],
        [T0 + expires * DAY for _, _, expires in items],
    )  # fmt: skip
    for table in ("account", "journal", "lot", "posting"):
        statement = (
            f"SELECT to_jsonb(t) - '{{holder_id,hash,head_hash,xid}}'::text[] FROM ledger.{table} t "
            "WHERE holder_id = $1 ORDER BY 1"
        )
        rows = [await database.pool.fetch(statement, holder.holder_id) for holder in (one_by_one, at_once)]
        assert rows[0] == rows[1], table
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


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


async def test_a_repeated_accrual_leaves_everything_as_it_was(holder: Holder) -> None:
    key = uuid4()
    first = await holder.accrue(10, key=key, activates=5, expires=50)
    await holder.accrue(20, activates=3)
    before = await everything(holder)

    # The call brings other days and points than the first one: only its key counts. On the sixth day, lots are due.
    told = [
        await holder.accrue(30, key=key, day=day, activates=activates, expires=40, fingerprint=fingerprint)
        for day in (0, 6) for activates in (0, 1) for fingerprint in (NOTHING, UUID(int=9))
    ]  # fmt: skip

    assert [row["status"] for row in told] == [1, 2] * 4
    assert {(row["seq"], row["available"], row["pending"]) for row in told} == {(first["seq"], 0, 10)}
    assert await everything(holder) == before


async def test_an_accrual_earlier_than_the_last_entry_is_recorded_at_that_entrys_instant(holder: Holder) -> None:
    await holder.accrue(10, day=3)
    told = await holder.accrue(20, day=1, activates=2)

    assert (told["status"], told["seq"], told["available"], told["pending"]) == (0, 2, 10, 20)
    written = await holder.pool.fetch("SELECT at, recorded_at FROM ledger.journal ORDER BY seq")
    assert [tuple(row) for row in written] == [(T0 + 3 * DAY, T0 + 3 * DAY), (T0 + DAY, T0 + 3 * DAY)]


async def everything(holder: Holder) -> list[str]:
    """Every row of the account, as it lies there."""
    rows = await holder.pool.fetch(
        " UNION ALL ".join(
            f"SELECT t::text AS row FROM ledger.{table} t WHERE t.holder_id = $1"
            for table in ("account", "journal", "posting", "lot")
        ),
        holder.holder_id,
    )
    return sorted(row["row"] for row in rows)


async def test_an_account_on_which_something_stays_due_is_corrupt(holder: Holder, server, database_name: str) -> None:
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(
        "CREATE OR REPLACE FUNCTION ledger.settle_due(p_holders bigint[], p_unit smallint, p_at timestamptz, p_cutoff int)"
        " RETURNS int LANGUAGE sql AS 'SELECT 0'"
    )
    await owner.close()
    await holder.accrue(10, activates=1)
    with pytest.raises(asyncpg.PostgresError, match=r"ledger corrupt: of account .* something stays due"):
        await holder.accrue(10, day=2)


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


LOT = {
    "holder_id": "$1", "seq": "99", "granted": "5", "remaining": "5", "activates_at": "'2026-01-01'",
    "expires_at": "'2027-01-01'", "issuer_id": "1", "funder_id": "1", "terms_id": "1", "unit": "1", "lot_no": "1",
    "active": "true", "held": "0", "returned": "0", "open": "true",
}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (None, None), ("granted", "0"), ("remaining", "4"), ("remaining", "6"), ("held", "1"), ("returned", "-1"),
        ("open", "false"), ("expires_at", "'2026-01-01'"),
    ],
)  # fmt: skip
async def test_the_functions_owner_writes_a_new_lot_whole_or_not_at_all(
    holder: Holder, server, database_name: str, column: str | None, value: str
) -> None:
    lot = LOT | ({column: value} if column else {})
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("BEGIN; SET ROLE tessera_ledger")
    writing = owner.execute(
        f"INSERT INTO ledger.lot ({', '.join(lot)}) VALUES ({', '.join(lot.values())})", holder.holder_id
    )
    if column is None:
        await writing
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await writing
    await owner.close()  # and nothing of it stays


async def test_a_capture_takes_what_was_set_aside_and_the_rest_goes_back_to_its_own_lots(holder: Holder) -> None:
    await holder.accrue(50, expires=100)
    await holder.accrue(100, expires=200)
    placed = await holder.hold(120)
    assert (placed["available"], await holder.held(), await holder.lots()) == (30, 120, {1: 0, 2: 30})
    done = await holder.capture(placed["seq"], 70)
    assert (done["status"], done["available"], await holder.held()) == (0, 80, 0)
    assert await holder.lots() == {1: 0, 2: 80}


async def test_a_released_hold_leaves_every_lot_as_it_was(holder: Holder) -> None:
    await holder.accrue(50, expires=100)
    await holder.accrue(100, expires=200)
    placed = await holder.hold(120)
    await holder.release(placed["seq"])
    assert (await holder.lots(), await holder.balance(), await holder.held()) == ({1: 50, 2: 100}, (150, 0), 0)


async def test_a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself(holder: Holder) -> None:
    await holder.accrue(100)
    placed = (await holder.hold(60))["seq"]
    assert (await holder.capture(placed, 10, partner=3))["status"] == 5
    assert (await holder.capture(99, 10))["status"] == 5
    assert (await holder.capture(placed, 61))["status"] == 10
    assert (await holder.capture(placed, 0))["status"] == 5
    assert (await holder.capture(placed, 60))["status"] == 0
    assert [(await holder.capture(placed, 1))["status"], (await holder.release(placed))["status"]] == [8, 8]
    assert await holder.balance() == (40, 0)


async def test_held_points_can_be_neither_spent_nor_held_again(holder: Holder) -> None:
    await holder.accrue(100)
    await holder.hold(60)
    assert (await holder.redeem(41))["status"] == 3
    assert (await holder.hold(41))["status"] == 3
    assert (await holder.redeem(40))["status"] == 0


async def test_a_hold_lapses_at_its_deadline_and_cannot_be_captured_any_more(holder: Holder) -> None:
    await holder.accrue(100)
    placed = (await holder.hold(60, days=2))["seq"]
    assert (await holder.capture(placed, 60, day=2))["status"] == 9
    assert (await holder.redeem(100, day=2))["status"] == 0
    assert (await holder.entries())[2] == (10, 60, T0 + 2 * DAY)
    assert (await holder.release(placed, day=3))["status"] == 9


async def test_held_points_outlive_their_lots_expiry_and_expire_when_they_are_freed(holder: Holder) -> None:
    await holder.accrue(100, expires=10)
    captured = (await holder.hold(60, day=9, days=5))["seq"]
    assert (await holder.capture(captured, 40, day=12))["available"] == 0
    assert (await holder.entries())[-1][:2] == (7, 20)
    assert await holder.balance() == (0, 0)


async def test_points_of_a_lapsed_hold_whose_lot_has_expired_expire_at_the_lapse(holder: Holder) -> None:
    await holder.accrue(100, expires=10)
    await holder.hold(60, day=9, days=5)
    await holder.sweep(30)
    assert (await holder.entries())[2:] == [
        (7, 40, T0 + 10 * DAY), (10, 60, T0 + 14 * DAY), (7, 60, T0 + 14 * DAY),
    ]  # fmt: skip


async def test_captured_points_can_be_refunded_into_their_lots(holder: Holder) -> None:
    await holder.accrue(100)
    placed = (await holder.hold(80))["seq"]
    captured = (await holder.capture(placed, 50))["seq"]
    assert (await holder.refund(captured, 51))["status"] == 5
    assert (await holder.refund(captured, 50))["status"] == 0
    assert await holder.lots() == {1: 100}


async def test_hold_operations_repeated_by_key_answer_as_the_first_time(holder: Holder) -> None:
    await holder.accrue(100)
    keys = uuid4(), uuid4()
    placed = await holder.hold(60, key=keys[0])
    again = await holder.hold(60, key=keys[0])
    assert (again["status"], again["seq"]) == (1, placed["seq"])
    captured = await holder.capture(placed["seq"], 60, key=keys[1])
    once_more = await holder.capture(placed["seq"], 60, key=keys[1])
    assert (once_more["status"], once_more["seq"], once_more["available"]) == (
        1,
        captured["seq"],
        captured["available"],
    )


async def test_a_capture_and_a_release_at_once_leave_one_winner(database: Database) -> None:
    holder = await open_holder(database.pool)
    for _ in range(10):
        await holder.accrue(10)
        placed = (await holder.hold(10))["seq"]
        tries = [call for _ in range(3) for call in (holder.capture(placed, 10), holder.release(placed))]
        both = await asyncio.gather(*tries)
        assert sorted(one["status"] for one in both) == [0, 8, 8, 8, 8, 8]
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


ALTERATIONS = {
    "an amount": ("UPDATE ledger.journal SET amount = amount + 1 WHERE seq = 2", 2),
    "an instant": ("UPDATE ledger.journal SET at = at - interval '1 day' WHERE seq = 3", 3),
    "a balance": ("UPDATE ledger.journal SET available_after = available_after + 1 WHERE seq = 1", 1),
    "a posting": ("UPDATE ledger.posting SET partner_id = 9 WHERE seq = 2", 2),
    "a posting's terms": ("UPDATE ledger.posting SET lot_terms_id = 9 WHERE seq = 3", 3),
    "a posting removed": ("DELETE FROM ledger.posting WHERE seq = 1", 1),
    "a key": ("UPDATE ledger.journal SET idem_key = gen_random_uuid() WHERE seq = 1", 1),
    "an entry removed": ("DELETE FROM ledger.journal WHERE seq = 1", 2),
}


@pytest.mark.parametrize(("alteration", "first"), ALTERATIONS.values(), ids=ALTERATIONS)
async def test_the_chain_names_the_first_altered_row(
    database: Database, server, database_name: str, alteration: str, first: int
) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(10)
    await holder.accrue(10)
    await holder.redeem(5)
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(alteration)
    await owner.close()
    found = await database.pool.fetch("SELECT * FROM ledger.verify_chains()")
    assert (found[0]["holder_id"], found[0]["seq"]) == (holder.holder_id, first)


async def test_whoever_rewrites_an_account_and_all_its_hashes_still_breaks_the_seal(
    database: Database, server, database_name: str
) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(10)
    for _ in range(2):
        cut = await database.pool.fetchval("SELECT ledger.drain_cutoff($1)", T0)
        await database.pool.fetchrow("SELECT * FROM ledger.seal_cutoff($1)", cut)
        await holder.accrue(10)
    assert await database.pool.fetch("SELECT * FROM ledger.verify_seals()") == []
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.journal SET hash = sha256('forged') WHERE seq = 1")
    await owner.close()
    assert [row[0] for row in await database.pool.fetch("SELECT * FROM ledger.verify_seals()")] == [1]


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
