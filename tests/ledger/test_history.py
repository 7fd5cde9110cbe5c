"""The past is what it was: at any instant, whether what fell due was recorded the same day, later, or not at all."""

from __future__ import annotations

import random
from copy import deepcopy
from datetime import timedelta

import pytest

from kit.database import Database
from ledger import accounts, history
from ledger import lots as lots_now
from ledger.history import Outstanding
from tests.ledger.test_ledger_machine import Model
from tests.ledger.test_operations import DAY, T0, Holder, open_holder

JUST_BEFORE = -timedelta(microseconds=1)


@pytest.fixture
async def holder(database: Database) -> Holder:
    return await open_holder(database.pool)


async def balance(database: Database, holder: Holder, at) -> tuple[int, int, int] | None:
    """Available, pending, held at an instant."""
    async with database.reading() as connection:
        found = await history.balance_at(connection, holder.holder_id, at=at)
    return found and (found.available, found.pending, found.held)


async def lots(database: Database, holder: Holder, at) -> list[tuple[int, int, int, bool]]:
    """Number, rest, held part and whether it is active, of lots at an instant that are not empty."""
    async with database.reading() as connection:
        found = await history.lots_at(connection, holder.holder_id, at=at)
    return [(lot.seq, lot.remaining, lot.held, lot.is_active) for lot in found if lot.remaining or lot.held]


async def test_a_balance_before_the_first_entry_is_nothing_and_of_nobody_is_none(
    database: Database, holder: Holder
) -> None:
    assert await balance(database, holder, T0) == (0, 0, 0)
    await holder.accrue(10)
    assert await balance(database, holder, T0 + JUST_BEFORE) == (0, 0, 0)
    assert await balance(database, holder, T0) == (10, 0, 0)
    assert await balance(database, Holder(database.pool, 404), T0) is None
    async with database.reading() as connection:
        assert await history.balance_at(connection, holder.holder_id, unit=2, at=T0) is None


@pytest.mark.parametrize("touched", [None, 20, 200], ids=["never", "the same month", "much later"])
async def test_what_falls_due_counts_from_its_instant_whenever_it_is_recorded(
    database: Database, holder: Holder, touched: int | None
) -> None:
    await holder.accrue(100, activates=14, expires=100)
    await holder.accrue(40, expires=50)
    await holder.hold(25, day=10, days=5)
    if touched is not None:
        await holder.accrue(1, day=touched, activates=touched, expires=touched + 1)
    expected = {0: (40, 100, 0), 9: (40, 100, 0), 10: (15, 100, 25), 13: (15, 100, 25), 14: (115, 0, 25),
                15: (140, 0, 0), 19: (140, 0, 0), 49: (140, 0, 0), 50: (100, 0, 0), 99: (100, 0, 0), 100: (0, 0, 0)}  # fmt: skip
    for day, was in expected.items():
        assert await balance(database, holder, T0 + day * DAY + (DAY / 2 if day != 20 else 0 * DAY)) == was, day
    assert await balance(database, holder, T0 + 14 * DAY + JUST_BEFORE) == (15, 100, 25)
    assert await balance(database, holder, T0 + 14 * DAY) == (115, 0, 25)


async def test_lots_are_what_they_were(database: Database, holder: Holder) -> None:
    await holder.accrue(100, expires=300)
    await holder.accrue(100, expires=200)
    await holder.accrue(50, activates=30, expires=400)
    await holder.redeem(120, day=1)
    placed = (await holder.hold(30, day=2, days=10))["seq"]
    await holder.capture(placed, 20, day=3)
    await holder.take_back(3, 50, day=4)
    await holder.redeem(1, day=350)
    assert await lots(database, holder, T0) == [(1, 100, 0, True), (2, 100, 0, True), (3, 50, 0, False)]
    assert await lots(database, holder, T0 + DAY) == [(1, 80, 0, True), (3, 50, 0, False)]
    assert await lots(database, holder, T0 + 2 * DAY) == [(1, 50, 30, True), (3, 50, 0, False)]
    assert await lots(database, holder, T0 + 3 * DAY) == [(1, 60, 0, True), (3, 50, 0, False)]
    assert await lots(database, holder, T0 + 4 * DAY) == [(1, 60, 0, True)]
    assert await lots(database, holder, T0 + 300 * DAY) == []


async def test_a_receipt_that_comes_late_is_part_of_the_day_it_came(database: Database, holder: Holder) -> None:
    await holder.accrue(10, day=5)
    await holder.accrue(3, day=2)
    assert await balance(database, holder, T0 + 4 * DAY) == (0, 0, 0)
    assert await balance(database, holder, T0 + 5 * DAY) == (13, 0, 0)


async def test_a_hold_that_comes_late_holds_nothing_before_it_came(database: Database, holder: Holder) -> None:
    await holder.accrue(10)
    await holder.accrue(5, day=60, activates=60)
    await holder.hold(4, day=40, days=5)
    assert await lots(database, holder, T0 + 50 * DAY) == [(1, 10, 0, True)]
    assert await balance(database, holder, T0 + 50 * DAY) == (10, 0, 0)
    assert await balance(database, holder, T0 + 60 * DAY) == (15, 0, 0)


async def test_what_is_outstanding_is_told_by_issuer_and_funder(database: Database, holder: Holder) -> None:
    other = await open_holder(database.pool)
    await holder.accrue(100, issuer=1, expires=40)
    await holder.hold(30, day=1, days=100)
    await holder.accrue(60, issuer=3, activates=20)
    await other.accrue(7, issuer=3)
    await other.redeem(2, day=60)

    async def outstanding(day: int) -> list[Outstanding]:
        async with database.reading() as connection:
            return await history.outstanding_at(connection, at=T0 + day * DAY)

    assert await outstanding(-1) == []
    assert await outstanding(1) == [Outstanding(1, 1, 1, 100, 0, 30), Outstanding(3, 3, 3, 7, 60, 0)]
    assert await outstanding(20) == [Outstanding(1, 1, 1, 100, 0, 30), Outstanding(3, 3, 3, 67, 0, 0)]
    assert await outstanding(40) == [Outstanding(1, 1, 1, 30, 0, 30), Outstanding(3, 3, 3, 67, 0, 0)]
    assert await outstanding(60) == [Outstanding(1, 1, 1, 30, 0, 30), Outstanding(3, 3, 3, 65, 0, 0)]
    await holder.sweep(101)
    assert await outstanding(40) == [Outstanding(1, 1, 1, 30, 0, 30), Outstanding(3, 3, 3, 67, 0, 0)]
    assert await outstanding(101) == [Outstanding(3, 3, 3, 65, 0, 0)]


async def test_a_statement_is_read_page_by_page_between_two_instants(database: Database, holder: Holder) -> None:
    for day in range(10):
        await holder.accrue(10 + day, day=day)

    async def page(since: int, until: int, **given: int) -> list[tuple[int, int, int]]:
        async with database.reading() as connection:
            found = await history.entries(
                connection, holder.holder_id, since=T0 + since * DAY, until=T0 + until * DAY, **given
            )
        assert {entry.kind for entry in found} <= {"ACCRUAL"}
        return [(entry.seq, entry.amount, entry.available_after) for entry in found]

    assert await page(3, 6) == [(4, 13, 46), (5, 14, 60), (6, 15, 75)]
    assert await page(3, 6, limit=2) == [(4, 13, 46), (5, 14, 60)]
    assert await page(3, 6, limit=2, after=5) == [(6, 15, 75)]
    assert await page(3, 6, after=6) == []
    assert len(await page(-5, 50)) == 10
    assert await page(20, 30) == []
    assert await page(6, 3) == []


async def test_the_balance_of_now_is_the_balance_that_accounts_tell(database: Database, holder: Holder) -> None:
    await holder.accrue(100, activates=14, expires=100)
    await holder.accrue(40, expires=50)
    async with database.reading() as connection:
        for day in (0, 13, 14, 49, 50, 100):
            told = await accounts.balance(connection, holder.holder_id, at=T0 + day * DAY)
            assert told is not None
            was = await history.balance_at(connection, holder.holder_id, at=T0 + day * DAY)
            assert was is not None
            assert (was.available, was.pending, was.seq) == (told.available, told.pending, told.seq)


async def test_a_long_account_is_probed_and_not_read(database: Database, holder: Holder) -> None:
    for day in range(300):
        await holder.accrue(1, day=day, expires=900)
    await database.pool.execute("SELECT ledger.open_accounts(1, 1::smallint)")
    async with database.pool.acquire() as connection, connection.transaction():
        found = await connection.fetchrow(
            "SELECT * FROM ledger.balance_at($1, 1::smallint, $2)", holder.holder_id, T0 + 77 * DAY
        )
        reads = await connection.fetchval(
            "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relid = 'ledger.journal'::regclass"
        )
    assert (found["seq"], found["available"]) == (78, 78)
    assert reads <= 12


async def step(holder: Holder, model: Model, dice: random.Random, day: int) -> None:
    """One random operation, on the account and on the model."""
    move = dice.random()
    if move < 0.4:
        points, activates = dice.randint(1, 200), day + dice.choice((-3, 0, 5, 14))
        expires = max(activates, day) + dice.randint(1, 60)
        await holder.accrue(points, day=day, activates=activates, expires=expires)
        model.accrue(points, day, activates, expires)
    elif move < 0.6:
        points = dice.randint(1, 250)
        await holder.redeem(points, day=day)
        model.redeem(points, day)
    elif move < 0.75:
        points, days = dice.randint(1, 200), dice.randint(1, 30)
        await holder.hold(points, day=day, days=days)
        model.hold(points, day, days)
    elif move < 0.85 and model.holds:
        hold, points = dice.choice(model.holds), dice.choice((0, 1, 50, 100))
        await (holder.capture(hold.seq, points, day=day) if points else holder.release(hold.seq, day=day))
        model.resolve(hold, points, day)
    elif move < 0.93 and model.lots:
        seq, points = dice.choice(model.lots).seq, dice.randint(1, 250)
        await holder.take_back(seq, points, day=day, shortfall=seq % 3)
        model.take_back(seq, points, day, seq % 3)
        if model.notice_days and dice.random() < 0.7:
            await holder.tell(seq, day=day)
            model.tell(seq, day)
    elif model.redemptions:
        seq, points = dice.choice(list(model.redemptions)), dice.randint(1, 150)
        await holder.refund(seq, points, day=day)
        model.refund(seq, points, day)


def as_of(past: list[tuple[int, Model]], day: int) -> Model:
    """The model as it stood at the end of a day: what was done by then, and what had fallen due."""
    then = deepcopy([model for recorded, model in past if recorded <= day][-1])
    then.settle(day)
    return then


@pytest.mark.parametrize("seed", range(4))
async def test_every_day_of_a_random_history_is_what_an_independent_model_was_then(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    notice_days = 15 * (seed % 2)
    await database.pool.fetchval("SELECT ledger.require_notice(1::smallint, $1)", notice_days)
    holder, model, day, last = await open_holder(database.pool), Model(notice_days=notice_days), 0, 0
    past = [(-1, deepcopy(model))]
    for _ in range(50):
        day += dice.choice((0, 0, 1, 3, 20))
        late = dice.choice((0, 0, 0, 0, 2))  # a receipt that comes late is recorded with the last entry's instant
        entries = model.seq
        await step(holder, model, dice, max(0, day - late))
        if model.seq > entries:
            last = max(last, day - late)
        past.append((last, deepcopy(model)))
        for asked in (last, dice.randint(-1, last), dice.randint(-1, last), last + dice.randint(0, 40)):
            await agrees(database, holder, past, asked)
    for asked in range(-1, last + 100, 3):
        await agrees(database, holder, past, asked)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []


async def agrees(database: Database, holder: Holder, past: list[tuple[int, Model]], day: int) -> None:
    """The account at a day, its lots and what is outstanding, against the model of that day."""
    then, at = as_of(past, day), T0 + day * DAY
    assert await balance(database, holder, at) == (*then.balance(), then.held()), f"day {day}"
    async with database.reading() as connection:
        was = await history.balance_at(connection, holder.holder_id, at=at)
        now = await accounts.balance(connection, holder.holder_id, at=at)
    assert was is not None
    assert was.debt == then.debt(), f"day {day}"
    if now is not None and now.seq and now.last_at <= at:
        assert (now.available, now.pending, now.held, now.debt) == (*then.balance(), then.held(), then.debt())
        standing = await lots_now.standing(database.pool, holder.holder_id, unit=1, at=at)
        assert standing is not None
        assert (standing.available, standing.pending, standing.held, standing.debt) == (
            now.available, now.pending, now.held, now.debt,
        )  # fmt: skip
    held = {lot.seq: 0 for lot in then.lots}
    for hold in then.holds:
        for lot, points in hold.parts if hold.open else ():
            held[lot.seq] += points
    assert await lots(database, holder, at) == [
        (lot.seq, lot.left, held[lot.seq], lot.active) for lot in then.lots if lot.left or held[lot.seq]
    ], f"day {day}"
    async with database.reading() as connection:
        found = await history.outstanding_at(connection, at=at)
    expected = sum(lot.left for lot in then.lots if lot.active) + then.held()
    assert sum(each.active for each in found) == expected, f"day {day}"
