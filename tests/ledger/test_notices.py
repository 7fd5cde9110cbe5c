"""A lot expires only when its holder was told so many days before; the rule is the unit's, fixed before its first lot."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import asyncpg
import pytest
from typer.testing import CliRunner

from kit import clock
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.settings import settings
from ledger import accounts, commands, history, notices
from ledger.notices import LotRef, Noticed, NoticeRuleFixed
from tests.ledger.test_operations import DAY, T0, Holder, open_holder

DAYS = 30


@pytest.fixture
async def holder(database: Database) -> AsyncIterator[Holder]:
    """A holder in a programme that asks for thirty days of notice."""
    async with database.transaction() as connection:
        await notices.require(connection, DAYS)
    yield await open_holder(database.pool)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def seen(holder: Holder, database: Database, day: int) -> tuple[int, int]:
    """Available and pending on a day as readers are told, which all tell the same."""
    async with database.reading() as connection:
        now = await accounts.balance(connection, holder.holder_id, at=T0 + day * DAY)
        was = await history.balance_at(connection, holder.holder_id, at=T0 + day * DAY)
        lots = await history.lots_at(connection, holder.holder_id, at=T0 + day * DAY)
    assert now is not None
    assert was is not None
    assert (now.available, now.pending) == (was.available, was.pending)
    assert sum(lot.remaining for lot in lots if lot.is_active) == was.available
    return now.available, now.pending


async def test_a_lot_that_nobody_was_told_of_does_not_expire(holder: Holder, database: Database) -> None:
    await holder.accrue(100, expires=50)
    assert await seen(holder, database, 500) == (100, 0)
    await holder.sweep(500)
    assert await holder.balance() == (100, 0)
    assert (await holder.redeem(100, day=501))["status"] == 0


@pytest.mark.parametrize(("told", "ends"), [(1, 50), (20, 50), (21, 51), (49, 79), (60, 90)])
async def test_a_lot_expires_on_its_day_or_when_the_days_of_notice_have_passed(
    holder: Holder, database: Database, told: int, ends: int
) -> None:
    await holder.accrue(100, expires=50)
    assert await holder.tell(1, day=told) == T0 + ends * DAY
    for look in range(2):
        assert await seen(holder, database, ends - 1) == (100, 0)
        assert await seen(holder, database, ends) == (0, 0)
        if look == 0:
            await holder.sweep(ends - 1)
            assert await holder.balance() == (100, 0)
    assert (await holder.redeem(1, day=ends + 7))["status"] == 3  # lazily, a week later, with the due instant
    assert (await holder.entries())[1] == (7, 100, T0 + ends * DAY)


async def test_the_sweeper_and_a_late_customer_find_the_same(database: Database) -> None:
    async with database.transaction() as connection:
        await notices.require(connection, DAYS)
    swept, lazy = await open_holder(database.pool), await open_holder(database.pool)
    for holder in (swept, lazy):
        await holder.accrue(100, expires=50)
        await holder.accrue(40, expires=60)
        await holder.tell(1, day=45)
    for day in range(40, 120, 5):
        await swept.sweep(day) if day % 2 else None
        await database.pool.fetchval("SELECT ledger.settle_due($1, 1::smallint, $2, ledger.enter_cutoff())",
                                     [swept.holder_id], T0 + day * DAY)  # fmt: skip
    await lazy.redeem(40, day=120)
    await swept.redeem(40, day=120)
    assert await swept.entries() == await lazy.entries()
    assert (await lazy.entries())[2] == (7, 100, T0 + 75 * DAY)


async def test_a_lot_whose_day_has_passed_goes_first_and_one_that_was_put_off_in_its_new_turn(holder: Holder) -> None:
    await holder.accrue(100, expires=50)
    await holder.accrue(100, expires=70)
    await holder.redeem(10, day=60)
    assert await holder.lots() == {1: 90, 2: 100}
    await holder.tell(1, day=61)
    await holder.redeem(10, day=62)
    assert await holder.lots() == {1: 90, 2: 90}


async def test_held_points_of_a_lot_that_nobody_was_told_of_come_back_and_stay(holder: Holder) -> None:
    await holder.accrue(100, expires=50)
    released = (await holder.hold(40, day=1, days=100))["seq"]
    await holder.hold(30, day=1, days=80)
    assert (await holder.release(released, day=60))["available"] == 70
    await holder.sweep(200)
    assert await holder.balance() == (100, 0)


async def test_a_refund_into_such_a_lot_leaves_its_day_alone(holder: Holder, database: Database) -> None:
    await holder.accrue(100, expires=50)
    spent = (await holder.redeem(100, day=1))["seq"]
    await holder.refund(spent, 60, day=60)
    assert await database.pool.fetchval("SELECT expires_at FROM ledger.lot") == T0 + 50 * DAY
    await holder.tell(1, day=70)
    await holder.sweep(100)
    assert await holder.balance() == (0, 0)


async def test_a_second_notice_an_unknown_lot_and_one_that_is_used_up_change_nothing(
    holder: Holder, database: Database
) -> None:
    await holder.accrue(100, expires=50)
    await holder.accrue(10, expires=40)
    await holder.redeem(10)
    async with database.transaction() as connection:
        refs = [LotRef(holder.holder_id, seq, 1) for seq in (1, 2, 9)] + [
            LotRef(404, 1, 1),
            LotRef(holder.holder_id, 1, 1),
        ]
        first = await notices.record(connection, refs, at=T0 + 45 * DAY)
        assert first == [Noticed(LotRef(holder.holder_id, 1, 1), T0 + 75 * DAY)]
        assert await notices.record(connection, refs, at=T0 + 60 * DAY) == []
        assert await notices.record(connection, [], at=T0) == []
    assert await database.pool.fetchval("SELECT expires_at FROM ledger.lot WHERE seq = 1") == T0 + 75 * DAY
    assert await database.pool.fetchval("SELECT noticed_at FROM ledger.expiry_notice") == T0 + 45 * DAY


async def test_who_must_be_told_by_a_day_is_listed_once_page_by_page(holder: Holder, database: Database) -> None:
    other = await open_holder(database.pool)
    await holder.accrue(100, expires=80)
    await holder.accrue(50, expires=60)
    await holder.accrue(70, expires=300)
    await holder.hold(150, days=500)
    await other.accrue(7, expires=65)
    async with database.transaction() as connection:

        async def listed(day: int, limit: int) -> list[tuple[int, int, int, int]]:
            found: list[notices.Waiting] = []
            while more := await notices.waiting(
                connection, by=T0 + day * DAY, after=found[-1] if found else None, limit=limit
            ):
                found += more
                assert len(more) <= limit
            return [(each.lot.holder_id, each.lot.seq, each.points, (each.tell_by - T0) // DAY) for each in found]

        assert await listed(29, 9) == []
        assert await listed(30, 9) == [(holder.holder_id, 2, 50, 30)]
        everything = [(holder.holder_id, 2, 50, 30), (holder.holder_id, 1, 100, 50), (other.holder_id, 1, 7, 35)]
        assert await listed(50, 9) == await listed(50, 1) == everything
        await notices.record(connection, [LotRef(holder.holder_id, 2, 1)], at=T0)
        assert await listed(50, 9) == everything[1:]


async def test_a_programme_without_the_rule_lists_nobody_and_lots_expire_as_ever(database: Database) -> None:
    plain = await open_holder(database.pool)
    await plain.accrue(100, expires=50)
    async with database.reading() as connection:
        assert await notices.waiting(connection, by=T0 + 900 * DAY) == []
    await plain.sweep(50)
    assert await plain.balance() == (0, 0)


async def test_the_rule_cannot_change_once_there_is_a_lot_and_may_be_said_again(
    holder: Holder, database: Database
) -> None:
    async with database.transaction() as connection:
        await notices.require(connection, 7)
        await notices.require(connection, DAYS)
    await holder.accrue(1)
    async with database.transaction() as connection:
        await notices.require(connection, DAYS)
        for days in (0, 7):
            with pytest.raises(NoticeRuleFixed):
                await notices.require(connection, days)
    assert await database.pool.fetchval("SELECT notice_days FROM ledger.unit WHERE unit = 1") == DAYS


def test_the_command_lists_who_must_be_told(
    monkeypatch: pytest.MonkeyPatch, server: Server, database_name: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(32)).decode())
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    assert "Nobody is to be told." in CliRunner().invoke(commands.app, ["notices"]).stdout

    async def earn() -> None:
        connection = await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE))
        await connection.fetchval("SELECT ledger.require_notice(1::smallint, 30::smallint)")
        holder = await open_holder(connection)
        await holder.accrue(77, expires=(clock.wall() - T0).days + 35)
        await connection.close()

    asyncio.run(earn())
    assert "Nobody is to be told." in CliRunner().invoke(commands.app, ["notices", "--days", "2"]).stdout
    assert " 77 " in CliRunner().invoke(commands.app, ["notices", "--days", "7"]).stdout
    settings.cache_clear()


async def test_what_was_told_can_be_neither_changed_nor_taken_back(holder: Holder) -> None:
    await holder.accrue(1)
    await holder.tell(1)
    for statement in (
        "UPDATE ledger.expiry_notice SET noticed_at = now()", "DELETE FROM ledger.expiry_notice",
        "UPDATE ledger.unit SET notice_days = 0", "UPDATE ledger.lot SET expires_at = now()",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await holder.pool.execute(statement)


async def test_a_notice_and_a_redemption_at_once_both_happen(holder: Holder) -> None:
    for n in range(1, 9, 2):
        await holder.accrue(10, day=n, expires=20)
        told, done = await asyncio.gather(holder.tell(n, day=n), holder.redeem(10, day=n))
        assert done["status"] == 0
        assert told in (None, T0 + (n + DAYS) * DAY)


async def test_points_that_were_put_off_repay_a_debt_like_any_other(holder: Holder) -> None:
    await holder.accrue(100, expires=20)
    await holder.redeem(100)
    await holder.accrue(40, expires=20)
    done = await holder.take_back(1, 100, day=60, shortfall=1)
    assert (done["owed"], done["available"], await holder.debt()) == (100, 0, 60)
