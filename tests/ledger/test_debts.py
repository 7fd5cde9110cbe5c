"""Debt after returns: other lots serve, the rest is owed, and what becomes available repays it first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from kit.database import Database
from ledger import accounts, debts, history
from ledger.debts import Foreseen, Outstanding, Shortfall
from tests.ledger.test_operations import DAY, NOTHING, T0, Holder, open_holder

LEFT_ALONE, OWED, FORGIVEN = debts.LEFT_ALONE, debts.OWED, debts.FORGIVEN
REPAYMENT = 12


@pytest.fixture
async def holder(database: Database) -> AsyncIterator[Holder]:
    yield await open_holder(database.pool)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.audit_accounts(NULL, NULL)") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def in_debt(holder: Holder, points: int, *, issuer: int = 1, day: int = 0) -> int:
    """Let a holder who has nothing owe points for an accrual that it spent and returned; the return's entry."""
    accrual = (await holder.accrue(points, day=day, activates=day, expires=day + 365, issuer=issuer))["seq"]
    await holder.redeem(points, day=day)
    done = await holder.take_back(accrual, points, day=day, shortfall=OWED)
    assert (done["taken"], done["owed"], await holder.debt()) == (0, points, points)
    return int(done["seq"])


async def postings(holder: Holder) -> list[tuple[int, ...]]:
    """Debit, credit, points, and of whom: lot, issuer, event's partner, lot's terms, event's terms."""
    rows = await holder.pool.fetch(
        "SELECT seq, debit, credit, amount, lot_seq, issuer_id, partner_id, lot_terms_id, terms_id FROM ledger.posting "
        "WHERE holder_id = $1 AND (debit IN (4, 19) OR credit IN (4, 13)) ORDER BY seq, leg",
        holder.holder_id,
    )
    return [tuple(row) for row in rows]


async def test_what_a_return_lacks_is_left_alone_owed_or_forgiven_as_it_is_told(database: Database) -> None:
    found = []
    for shortfall in (LEFT_ALONE, OWED, FORGIVEN):
        holder = await open_holder(database.pool)
        await holder.accrue(100)
        await holder.redeem(70)
        done = await holder.take_back(1, 100, shortfall=shortfall)
        assert done["status"] == 0
        found.append((done["taken"], done["owed"], done["forgiven"], await holder.debt(), await holder.balance()))
    assert found == [(30, 0, 0, 0, (0, 0)), (30, 70, 0, 70, (0, 0)), (30, 0, 70, 0, (0, 0))]
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_the_own_lot_serves_first_then_others_that_expire_first_and_the_rest_is_owed(holder: Holder) -> None:
    await holder.accrue(100, expires=50)
    await holder.redeem(80)
    await holder.accrue(30, issuer=3, expires=300)
    await holder.accrue(40, issuer=4, expires=200)
    await holder.accrue(500, issuer=5, activates=30)
    done = await holder.take_back(1, 100, shortfall=OWED)
    assert (done["taken"], done["owed"], done["available"], await holder.debt()) == (20, 80, 0, 10)
    assert await postings(holder) == [
        (6, 1, 13, 20, 1, 1, 1, 1, 1),
        (6, 4, 13, 80, 1, 1, 1, 1, 1),
        (7, 1, 4, 40, 4, 4, 1, 4, 1),
        (7, 1, 4, 30, 3, 3, 1, 3, 1),
    ]
    assert await holder.balance() == (0, 500)
    [repayment] = await holder.pool.fetch("SELECT seq, ref_seq, partner_id, at FROM ledger.journal WHERE kind = 12")
    assert tuple(repayment) == (7, 6, 0, T0)


async def test_points_that_become_available_repay_and_pending_ones_wait(holder: Holder) -> None:
    await in_debt(holder, 100)
    done = await holder.accrue(60, activates=14, expires=100)
    assert (done["available"], done["pending"], done["debt"]) == (0, 60, 100)
    done = await holder.accrue(30)
    assert (done["available"], done["pending"], done["debt"]) == (0, 60, 70)
    assert (await holder.redeem(1, day=13))["status"] == 3
    await holder.sweep(14)
    assert (await holder.balance(), await holder.debt()) == ((0, 0), 10)
    done = await holder.accrue(50, day=15)
    assert (done["available"], done["debt"]) == (40, 0)


async def test_refunded_and_released_points_repay_the_debt_first(holder: Holder) -> None:
    await holder.accrue(100)
    spent = (await holder.redeem(60))["seq"]
    placed = (await holder.hold(40, days=5))["seq"]
    done = await holder.take_back(1, 100, shortfall=OWED)
    assert (done["taken"], done["owed"]) == (0, 100)
    assert (await holder.release(placed))["available"] == 0
    assert await holder.debt() == 60
    assert (await holder.refund(spent, 60))["available"] == 0
    assert (await holder.debt(), await holder.balance()) == (0, (0, 0))


async def test_what_is_left_of_a_captured_hold_repays_and_a_lapse_repays_on_its_day(holder: Holder) -> None:
    await holder.accrue(100)
    captured = (await holder.hold(50, days=20))["seq"]
    await holder.hold(50, days=5)
    await holder.take_back(1, 100, shortfall=OWED)
    assert (await holder.capture(captured, 20, day=1))["available"] == 0
    assert await holder.debt() == 70
    await holder.sweep(30)
    assert await holder.debt() == 20
    assert (await holder.entries())[-2:] == [(10, 50, T0 + 5 * DAY), (REPAYMENT, 50, T0 + 5 * DAY)]


async def test_what_became_available_while_nobody_looked_repaid_on_its_day_and_did_not_live_to_expire(
    holder: Holder,
) -> None:
    await in_debt(holder, 100)
    await holder.accrue(60, activates=14, expires=50)
    await holder.accrue(60, activates=20, expires=30)
    at = T0 + 60 * DAY
    told = await balance_told(holder, at)
    await holder.sweep(60)
    assert (await holder.entries())[3:] == [
        (1, 60, T0), (1, 60, T0), (2, 60, T0 + 14 * DAY), (REPAYMENT, 60, T0 + 14 * DAY), (2, 60, T0 + 20 * DAY),
        (REPAYMENT, 40, T0 + 20 * DAY), (7, 20, T0 + 30 * DAY),
    ]  # fmt: skip
    assert (*await holder.balance(), await holder.debt()) == told == (0, 0, 0)


async def balance_told(holder: Holder, at: datetime) -> tuple[int, int, int]:
    found = await holder.pool.fetchrow(
        "SELECT available, pending, debt FROM ledger.balance_at($1, 1::smallint, $2)", holder.holder_id, at
    )
    return tuple(found)


async def test_points_freed_of_expired_lots_expire_and_repay_nothing(holder: Holder) -> None:
    await holder.accrue(100, expires=10)
    await holder.accrue(50, expires=11)
    placed = (await holder.hold(150, days=20))["seq"]
    await holder.take_back(1, 100, shortfall=OWED)
    assert (await holder.release(placed, day=12))["available"] == 0
    assert (await holder.debt(), [entry[:2] for entry in await holder.entries()][-2:]) == (100, [(7, 100), (7, 50)])


async def test_what_expired_is_not_owed_and_what_was_asked_back_is_not_asked_twice(holder: Holder) -> None:
    await holder.accrue(100, expires=10)
    await holder.redeem(30)
    first = await holder.take_back(1, 50, day=20, shortfall=OWED)
    assert (first["taken"], first["owed"], first["forgiven"]) == (0, 30, 20)
    rest = await holder.take_back(1, 100, day=20, shortfall=OWED)
    assert (rest["taken"], rest["owed"], rest["forgiven"]) == (0, 0, 50)
    nothing = await holder.take_back(1, 100, day=20, shortfall=OWED)
    assert (nothing["taken"], nothing["owed"], nothing["forgiven"]) == (0, 0, 0)
    assert await holder.debt() == 30


async def test_points_that_were_owed_and_come_back_are_not_taken_a_second_time(holder: Holder) -> None:
    await holder.accrue(100)
    spent = (await holder.redeem(100))["seq"]
    await holder.take_back(1, 100, shortfall=FORGIVEN)
    await holder.refund(spent, 100)
    again = await holder.take_back(1, 100, shortfall=FORGIVEN)
    assert (again["taken"], again["owed"], again["forgiven"], await holder.balance()) == (0, 0, 0, (100, 0))


async def test_the_return_that_fell_short_first_is_repaid_first_each_in_an_entry_of_its_own(holder: Holder) -> None:
    await holder.accrue(50, issuer=3)
    await holder.accrue(70, issuer=4)
    await holder.redeem(120)
    first = (await holder.take_back(1, 50, shortfall=OWED))["seq"]
    second = (await holder.take_back(2, 70, shortfall=OWED))["seq"]
    await holder.accrue(80, issuer=5)
    rows = await holder.pool.fetch("SELECT ref_seq, amount FROM ledger.journal WHERE kind = 12 ORDER BY seq")
    assert [tuple(row) for row in rows] == [(first, 50), (second, 30)]
    assert [row[6:] for row in await postings(holder) if row[2] == 4] == [(3, 5, 3), (4, 5, 4)]
    assert await holder.debt() == 40


async def test_a_return_of_several_lots_repays_them_in_their_order(holder: Holder) -> None:
    await holder.pool.fetchrow(
        "SELECT * FROM ledger.accrue($1, 1::smallint, 1, $2, $3, $4, $5, $5, $6, $7, $8, $9)",
        holder.holder_id, uuid4(), NOTHING, T0, [1, 2], [7, 8], [60, 40], [T0, T0], [T0 + 9 * DAY, T0 + 8 * DAY],
    )  # fmt: skip
    await holder.redeem(100)
    await holder.pool.fetchrow(
        "SELECT * FROM ledger.return_accrual($1, 1::smallint, 1, $2, $3, 1, $4, $5, $6, 1::smallint)",
        holder.holder_id, [1, 2], [60, 40], uuid4(), NOTHING, T0,
    )  # fmt: skip
    await holder.accrue(70, issuer=5)
    await holder.accrue(30, issuer=6)
    assert [(row[3], row[7], row[8]) for row in await postings(holder) if row[2] == 4] == [
        (60, 5, 7), (10, 5, 8), (30, 6, 8),
    ]  # fmt: skip


async def test_a_return_repeated_by_key_tells_what_it_told_the_first_time(holder: Holder) -> None:
    await holder.accrue(100)
    await holder.redeem(70)
    await holder.accrue(50, issuer=3)
    key = uuid4()
    first = await holder.take_back(1, 100, shortfall=OWED, key=key)
    await holder.accrue(500)
    again = await holder.take_back(1, 100, shortfall=OWED, key=key)
    named = ("seq", "available", "pending", "taken", "owed", "forgiven")
    assert again["status"] == 1
    assert {name: again[name] for name in named} == {name: first[name] for name in named}


async def test_an_accrual_that_repaid_repeated_by_key_tells_what_it_told_the_first_time(holder: Holder) -> None:
    await in_debt(holder, 60)
    key = uuid4()
    first = await holder.accrue(100, key=key)
    await holder.redeem(10)
    again = await holder.accrue(100, key=key)
    assert (again["status"], again["seq"], again["available"], again["debt"]) == (1, first["seq"], 40, 0)


async def test_a_batch_leaves_an_account_that_owes_as_its_items_would_one_by_one(database: Database) -> None:
    one_by_one, at_once, other = [await open_holder(database.pool) for _ in range(3)]
    items = [(50, 0, 90), (80, 14, 400), (100, 0, 60), (20, 0, 70)]
    keys = [uuid4() for _ in items]
    for holder in (one_by_one, at_once):
        await in_debt(holder, 120)
    singly = [
        await one_by_one.accrue(points, activates=activates, expires=expires, key=key)
        for key, (points, activates, expires) in zip(keys, items, strict=True)
    ]
    n = len(items) + 1
    rows = await database.pool.fetch(
        "SELECT * FROM ledger.record_accruals(1::smallint, $1, ledger.enter_cutoff(), $2, $3, $4, $5, $6, $2, $4, $4, $4,"
        " $7, $8, $9)",
        T0, list(range(1, n + 1)), [at_once.holder_id] * (n - 1) + [other.holder_id], [1] * n, [*keys, uuid4()],
        [NOTHING] * n, [*(points for points, _, _ in items), 7], [*(T0 + activates * DAY for _, activates, _ in items), T0],
        [T0 + expires * DAY for _, _, expires in [*items, (7, 0, 9)]],
    )  # fmt: skip
    by_ord = sorted(rows, key=lambda row: row["ord"])
    assert [(row["available_after"], row["pending_after"], row["debt_after"]) for row in by_ord[:-1]] == [
        (row["available"], row["pending"], row["debt"]) for row in singly
    ]
    assert (by_ord[-1]["available_after"], by_ord[-1]["debt_after"]) == (7, 0)
    assert (await at_once.balance(), await at_once.debt()) == (await one_by_one.balance(), await one_by_one.debt())
    assert await at_once.lots() == await one_by_one.lots()
    assert await at_once.entries() == await one_by_one.entries()
    again = await at_once.accrue(50, expires=90, key=keys[0])
    assert (again["status"], again["available"], again["debt"]) == (1, 0, 70)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def test_debt_is_seen_in_every_view_of_the_account_before_anything_is_written(
    holder: Holder, database: Database
) -> None:
    await in_debt(holder, 100)
    await holder.accrue(60, activates=14)
    for day, seen in ((1, (0, 60, 100)), (14, (0, 0, 40)), (400, (0, 0, 40))):
        async with database.reading() as connection:
            now = await accounts.balance(connection, holder.holder_id, at=T0 + day * DAY)
            was = await history.balance_at(connection, holder.holder_id, at=T0 + day * DAY)
        assert now is not None
        assert was is not None
        assert (now.available, now.pending, now.debt) == (was.available, was.pending, was.debt) == seen
    async with database.reading() as connection:
        entry = (await history.entries(connection, holder.holder_id, since=T0 - DAY, until=T0 + DAY))[2]
        assert (entry.kind, entry.available_after, entry.debt_after) == ("RETURN", 0, 100)
        assert await debts.shortfalls(connection, holder.holder_id) == [Shortfall(3, 1, 1, 1, 1, 100, 0, 0)]
        assert await debts.outstanding(connection) == [Outstanding(1, 1, 100)]


@pytest.mark.parametrize("shortfall", [LEFT_ALONE, OWED, FORGIVEN])
@pytest.mark.parametrize("refund", [0, 25, 60])
@pytest.mark.parametrize("is_in_debt", [False, True])
async def test_a_preview_tells_what_the_return_then_does_though_something_is_due(
    holder: Holder, shortfall: int, refund: int, is_in_debt: bool
) -> None:
    if is_in_debt:
        await in_debt(holder, 10)
    accrual = (await holder.accrue(100, expires=30))["seq"]
    spent = (await holder.redeem(60))["seq"]
    await holder.accrue(15, activates=14, expires=50)
    await holder.accrue(900, activates=100)
    at = T0 + 40 * DAY
    seen = await debts.preview(
        holder.pool,
        holder.holder_id,
        unit=1,
        seq=accrual,
        lot_points={1: 90},
        shortfall=shortfall,
        refund=refund,
        at=at,
    )
    before = {row["seq"]: row["repaid"] for row in await holder.pool.fetch("SELECT seq, repaid FROM ledger.shortfall")}
    done = await holder.take_back(accrual, 90, day=40, shortfall=shortfall)
    if refund:
        await holder.refund(spent, refund, day=40)
    repaid = await holder.pool.fetchval(
        "SELECT coalesce(sum(repaid), 0)::bigint FROM ledger.shortfall WHERE seq = $1", done["seq"]
    )
    assert seen == Foreseen(done["taken"] + repaid, done["owed"] - repaid, done["forgiven"])
    assert done["seq"] not in before


async def test_returns_at_once_never_ask_back_more_than_was_granted(database: Database) -> None:
    for _ in range(5):
        holder = await open_holder(database.pool)
        await holder.accrue(100)
        await holder.redeem(60)
        done = await asyncio.gather(*(holder.take_back(1, 30, shortfall=OWED) for _ in range(6)))
        assert sum(one["taken"] + one["owed"] for one in done) == 100
        assert (await holder.debt(), await holder.balance()) == (60, (0, 0))
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_a_return_and_redemptions_at_once_leave_neither_points_nor_less_than_none(database: Database) -> None:
    for _ in range(5):
        holder = await open_holder(database.pool)
        await holder.accrue(100)
        await holder.accrue(50, issuer=3)
        calls = [holder.take_back(1, 100, shortfall=OWED), *(holder.redeem(50) for _ in range(3))]
        done = await asyncio.gather(*calls)
        spent = 50 * sum(one["status"] == 0 for one in done[1:])
        available, _ = await holder.balance()
        assert available - await holder.debt() == 50 - spent
        assert min(available, await holder.debt()) == 0
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def test_accruals_at_once_repay_a_debt_once(database: Database) -> None:
    holder = await open_holder(database.pool)
    await in_debt(holder, 100)
    await asyncio.gather(*(holder.accrue(30, expires=100 + n) for n in range(8)))
    assert (await holder.balance(), await holder.debt()) == ((140, 0), 0)
    paid = await database.pool.fetchval("SELECT sum(amount) FROM ledger.journal WHERE kind = 12")
    assert paid == 100
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def test_the_application_cannot_make_a_debt_disappear(holder: Holder) -> None:
    await in_debt(holder, 10)
    for statement in (
        "UPDATE ledger.shortfall SET repaid = owed",
        "UPDATE ledger.shortfall SET owed = 0",
        "DELETE FROM ledger.shortfall",
        "SELECT ledger.repay_debt(1, 1::smallint, now(), 1)",
    ):
        before = await holder.debt()
        if statement.startswith("SELECT"):
            await holder.pool.fetch(statement)  # nothing to repay with: nothing is written
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await holder.pool.execute(statement)
        assert await holder.debt() == before == 10


TAMPERING = {
    "A1 balance = its postings": "UPDATE ledger.account SET debt = debt - 1",
    "A3 lot = its postings": "UPDATE ledger.lot SET returned = 0",
    "A7 balance history = running sum": "UPDATE ledger.journal SET debt_after = debt_after + 1",
    "A11 issued = all that became of it": "DELETE FROM ledger.posting WHERE credit = 4",
    "A17 debt = what returns fell short of and nobody repaid": "UPDATE ledger.shortfall SET repaid = repaid - 1",
    "A17 shortfall = its postings": "UPDATE ledger.shortfall SET forgiven = forgiven + 1",
    "A18 nothing is available while something is owed": "UPDATE ledger.account SET available = 1, debt = 1",
}


@pytest.mark.parametrize(("rule", "tampering"), TAMPERING.items())
async def test_both_audits_see_a_debt_that_was_tampered_with(
    database: Database, server, database_name: str, rule: str, tampering: str
) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    await holder.redeem(70)
    await holder.take_back(1, 100, shortfall=OWED)
    await holder.accrue(20)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(tampering)
    await owner.close()
    full = {row["rule"] for row in await database.pool.fetch("SELECT * FROM ledger.audit()")}
    alone = {row["rule"] for row in await database.pool.fetch("SELECT * FROM ledger.audit_accounts(NULL, NULL)")}
    assert rule in full
    assert rule in alone or rule.startswith("A11")


async def test_nothing_falls_due_between_two_instants_that_are_the_same(holder: Holder) -> None:
    await in_debt(holder, 100)
    await holder.accrue(30, activates=14, expires=15)
    just_before = T0 + 14 * DAY - timedelta(microseconds=1)
    assert await balance_told(holder, just_before) == (0, 30, 100)
    assert await balance_told(holder, T0 + 14 * DAY) == (0, 0, 70)
