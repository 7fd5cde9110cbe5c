from __future__ import annotations

from datetime import timedelta

from kit.database import Database
from ledger import accounts
from tests.members.people import AT, accrue, give_back, spend

DAY = timedelta(days=1)


async def test_accounts_open_empty_and_each_for_a_holder_of_its_own(database: Database) -> None:
    async with database.transaction() as connection:
        opened = await accounts.open_accounts(connection, 3)
        assert len(set(opened)) == 3
        balance = await accounts.balance(connection, opened[1], at=AT)
        assert await accounts.open_accounts(connection, 0) == []
        assert await accounts.balance(connection, max(opened) + 1, at=AT) is None
        assert await accounts.balance(connection, opened[0], unit=2, at=AT) is None
    assert balance is not None
    assert (balance.available, balance.pending, balance.held, balance.debt, balance.seq) == (0, 0, 0, 0, 0)
    assert not balance.spend_locked


async def test_a_balance_counts_what_is_due_before_a_writer_records_it(database: Database) -> None:
    async with database.transaction() as connection:
        [holder] = await accounts.open_accounts(connection, 1)
        await accrue(connection, holder, 100, AT)
        await accrue(connection, holder, 40, AT + DAY, pending_days=14)
        seen = {}
        for days in (1, 14, 15, 364, 365, 379, 380):
            balance = await accounts.balance(connection, holder, at=AT + days * DAY)
            assert balance is not None
            assert balance.seq == 2
            seen[days] = (balance.available, balance.pending)
    assert seen == {
        1: (100, 40), 14: (100, 40), 15: (140, 0), 364: (140, 0), 365: (40, 0), 379: (40, 0), 380: (0, 0),
    }  # fmt: skip


async def test_the_balance_seen_is_the_balance_a_writer_then_records(database: Database) -> None:
    async with database.transaction() as connection:
        [holder] = await accounts.open_accounts(connection, 1)
        await accrue(connection, holder, 100, AT)
        await accrue(connection, holder, 40, AT, pending_days=14)
        at = AT + 20 * DAY
        before = await accounts.balance(connection, holder, at=at)
        await accrue(connection, holder, 1, at)
        after = await accounts.balance(connection, holder, at=at)
    assert before is not None
    assert after is not None
    assert (after.available, after.pending) == (before.available + 1, before.pending)


async def test_qualifying_counts_accruals_less_returns_in_the_window_and_nothing_else(database: Database) -> None:
    async with database.transaction() as connection:
        busy, idle, early = await accounts.open_accounts(connection, 3)
        seq = await accrue(connection, busy, 100, AT)
        await accrue(connection, busy, 50, AT + DAY, pending_days=14)
        await give_back(connection, busy, seq, 30, AT + 2 * DAY)
        await spend(connection, busy, 70, AT + 3 * DAY)
        seq = await accrue(connection, early, 10, AT - DAY)
        await give_back(connection, early, seq, 10, AT)
        found = await accounts.qualifying(connection, [busy, idle, early], accounts.POINTS, AT, AT + 30 * DAY)
        assert found == {busy: 120, idle: 0, early: -10}
        assert await accounts.qualifying(connection, [busy], accounts.POINTS, AT, AT + DAY) == {busy: 100}
        assert await accounts.qualifying(connection, [], accounts.POINTS, AT, AT + DAY) == {}
