"""The journal: booked once, whole, never changed, at any instant the same again."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import actors, approvals
from kit.approvals import FourEyesRequired
from ledger import cutoffs
from settlement.money import cutoffs as money_cutoffs
from settlement.money import entries, journal, locks
from settlement.money.entries import Entry, Posting
from settlement.money.events import MoneyEvent
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books, micro

FEE = MoneyEvent("PLATFORM_FEE", 1, 0, "EUR", micro("50"))


async def rows(books: Books) -> list[int]:
    tables = ("booking", "money_posting", "stock_movement", "period_lock", "stock_transfer")
    found = [await books.database.pool.fetchval(f"SELECT count(*) FROM settlement.{name}") for name in tables]
    return [*found, await books.database.pool.fetchval("SELECT count(*) FROM kit.audit_trail")]


async def test_a_source_is_booked_once_and_the_same_again_is_the_first(books: Books) -> None:
    await books.partner("a")
    first = await books.post("fee:1", FEE)
    before = await rows(books)
    again = await books.post("fee:1", FEE, after=3)
    assert (again.booking_id, again.is_replayed, first.is_replayed) == (first.booking_id, True, False)
    assert again.at == first.at
    assert await rows(books) == before


async def test_a_source_with_other_entries_is_refused_and_writes_nothing(books: Books) -> None:
    await books.partner("a")
    await books.post("fee:1", FEE)
    before = await rows(books)
    with pytest.raises(journal.BookingKeyReused):
        await books.post("fee:1", MoneyEvent("PLATFORM_FEE", 1, 0, "EUR", micro("51")))
    assert await rows(books) == before


async def test_of_many_who_book_the_same_at_once_one_does_and_all_hear_the_same(books: Books) -> None:
    await books.partner("a")
    made = await asyncio.gather(*(books.post("fee:1", FEE) for _ in range(8)))
    assert len({one.booking_id for one in made}) == 1
    assert [one.is_replayed for one in made].count(False) == 1
    assert await books.balances() == {"1200.a": micro("50"), "4100": -micro("50")}


async def test_of_many_who_book_a_cut_off_at_once_one_does(books: Books) -> None:
    await books.partner("a")
    await books.earn(await books.member(), 1_000, "a")
    await cutoffs.close(books.database, at=NOON + DAY)
    made = await asyncio.gather(*(books.book() for _ in range(6)))
    assert sorted(len(one) for one in made) == [0, 0, 0, 0, 0, 1]
    assert await books.balances() == {"1200.a": micro("10"), "2100.a": -micro("8.5"), "2110.a": -micro("1.5")}


async def test_a_cut_off_that_is_open_or_out_of_turn_is_not_booked(books: Books) -> None:
    await cutoffs.close(books.database, at=NOON)
    await cutoffs.close(books.database, at=NOON + DAY)
    before = await rows(books)
    for cutoff_id in (2, 3, 9):
        with pytest.raises(money_cutoffs.CutoffNotCut):
            async with books.database.transaction() as connection:
                await money_cutoffs.book(connection, cutoff_id, actor="fina")
    assert await rows(books) == before


async def test_what_does_not_balance_is_refused_by_the_journal_and_by_the_table(
    books: Books, owner: asyncpg.Connection
) -> None:
    half = Entry("PLATFORM_FEE", (Posting("1200", "EUR", 5, 1),))
    with pytest.raises(entries.Unbalanced):
        async with books.database.transaction() as connection:
            await journal.post(connection, source="x:1", entries=[half], at=NOON, actor="fina")
    booked = await books.post("fee:1", FEE)
    row = (
        "INSERT INTO settlement.money_posting (booking_id, entry_no, line_no, kind, account, currency, amount_micro, "
        "party_id, cohort_id, counterparty_id, terms_id, points) VALUES ($1, $2, 1, 'FEE', '1200', 'EUR', $3, 1, 0, 0, 0, 0)"
    )
    for connection in (books.database.pool, owner):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(row, booked.booking_id, 2, 5)


async def test_nothing_in_the_books_can_be_changed_or_taken_out(books: Books) -> None:
    await books.post("fee:1", FEE)
    for table in ("booking", "money_posting", "stock_movement", "period_lock", "stock_transfer", "fixing"):
        for statement in (f"DELETE FROM settlement.{table}", f"TRUNCATE settlement.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await books.database.pool.execute(statement)
    with pytest.raises(DBAPIError):
        async with books.database.transaction() as connection:
            await connection.execute(text("UPDATE settlement.money_posting SET amount_micro = 1"))


async def test_who_may_not_book_is_refused(books: Books) -> None:
    before = await rows(books)
    for who, expected in (("finn", actors.NotPermitted), ("nobody", actors.ActorUnknown)):
        with pytest.raises(expected):
            async with books.database.transaction() as connection:
                await journal.post_events(connection, source="fee:1", found=[FEE], at=NOON, actor=who)
    assert await rows(books) == before


async def test_a_booking_is_taken_back_once_by_another_and_both_stay(books: Books) -> None:
    booked = await books.post("fee:1", FEE)

    async def reverse(booking_id: int) -> journal.Booking:
        async with books.database.transaction() as connection:
            return await journal.reverse(connection, booking_id, at=NOON + DAY, actor="fina")

    back = await reverse(booked.booking_id)
    assert back.reverses == booked.booking_id
    assert await books.balances() == {}
    before = await rows(books)
    assert (await reverse(booked.booking_id)).is_replayed
    for number, expected in ((back.booking_id, journal.BookingReversed), (999, journal.BookingUnknown)):
        with pytest.raises(expected):
            await reverse(number)
    assert await rows(books) == before


async def test_what_was_known_then_and_what_is_known_now_of_the_same_instant(books: Books) -> None:
    await books.partner("a")
    first = await books.post("fee:1", FEE, after=1)
    await books.post("fee:2", FEE, after=5)
    await books.post("fee:3", FEE, after=1)  # later known, of the same day

    async def position(**how: object) -> int:
        async with books.database.reading() as connection:
            found = await journal.balances(connection, "1200", **how)  # type: ignore[arg-type]
        return sum(one.amount_micro for one in found)

    at = NOON + 2 * DAY
    assert await position() == micro("150")
    assert await position(at=at) == micro("100")
    assert await position(at=at, through_booking=first.booking_id) == micro("50")
    assert await position(at=NOON) == 0
    await books.post("fee:4", FEE, after=9)
    assert await position(at=at, through_booking=first.booking_id) == micro("50")


# --- Periods ----------------------------------------------------------------------------------------------------


async def lock(books: Books, *, through: int, after: int, checker: int | None = None) -> None:
    at = NOON + after * DAY
    async with books.database.transaction() as connection:
        number = await locks.propose(connection, through=NOON + through * DAY, maker=books.maker, at=at)
    async with books.database.transaction() as connection:
        approval = await approvals.read(connection, number)
        await locks.decide(connection, approval, checker=checker or books.checker, approved=True, at=at)


async def test_a_closed_period_takes_nothing_more_and_the_next_one_does(books: Books) -> None:
    await books.partner("a")
    await books.earn(await books.member(), 1_000, "a")
    await books.close(after=2)
    await lock(books, through=2, after=3)
    before = await rows(books)
    for after in (0, 2):
        with pytest.raises(journal.PeriodLocked):
            await books.post("fee:1", FEE, after=after)
    assert await rows(books) == before
    await books.post("fee:1", FEE, after=3)
    async with books.database.reading() as connection:
        assert await locks.locked_through(connection) == NOON + 2 * DAY


async def test_a_period_with_something_unbooked_or_not_over_stays_open(books: Books) -> None:
    await books.partner("a")
    await cutoffs.close(books.database, at=NOON)
    before = await rows(books)
    for through, after in ((0, 1), (5, 1)):
        with pytest.raises(locks.PeriodIncomplete):
            await lock(books, through=through, after=after)
    assert await rows(books) == before
    await books.book()
    await lock(books, through=0, after=1)
    before = await rows(books)
    with pytest.raises(locks.PeriodIncomplete):  # the cut-off that is open reaches into it
        await lock(books, through=1, after=2)
    with pytest.raises(journal.PeriodLocked):
        await lock(books, through=-1, after=2)
    assert await rows(books) == before


async def test_who_proposed_to_close_a_period_does_not_close_it(books: Books) -> None:
    async with books.database.transaction() as connection:
        await actors.ensure_actor(connection, "fina", [actors.FINANCE_CHECKER])
    await books.close(after=0)
    with pytest.raises(FourEyesRequired):
        await lock(books, through=0, after=1, checker=books.maker)
    async with books.database.reading() as connection:
        assert await locks.locked_through(connection) is None


async def test_bookings_that_race_a_lock_come_before_it_or_are_refused(books: Books) -> None:
    await books.partner("a")
    await books.close(after=0)
    outcomes = await asyncio.gather(
        *(books.post(f"fee:{n}", FEE) for n in range(12)), lock(books, through=0, after=1),
        *(books.post(f"late:{n}", FEE) for n in range(12)), return_exceptions=True,
    )  # fmt: skip
    wrong = [one for one in outcomes if isinstance(one, BaseException) and not isinstance(one, journal.PeriodLocked)]
    assert wrong == []
    async with books.database.reading() as connection:
        assert await locks.locked_through(connection) == NOON


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE settlement.money_posting SET amount_micro = amount_micro + 1 WHERE account = '2100'", "M1"),
        ("UPDATE settlement.money_posting SET amount_micro = amount_micro + CASE account WHEN '2100' THEN 1 ELSE -1 END "
         "WHERE account IN ('2100', '2110')", "M5"),
        ("UPDATE settlement.money_posting SET account = '9999' WHERE account = '2110'", "M3"),
        ("DELETE FROM settlement.stock_movement", "M4"),
        ("UPDATE settlement.booking SET source = 'cutoff:77' WHERE cutoff_id = 1", "M2"),
        ("UPDATE ledger.lot SET remaining = remaining - 1", "M5"),
        ("UPDATE settlement.money_posting SET account = '4200E' WHERE account = '2110'", "M7"),
        ("UPDATE partners.agreement SET service_price_micro = 7", "M12"),
        ("INSERT INTO settlement.period_lock SELECT now(), approval_id, 0, now() FROM kit.approval LIMIT 1", "M10"),
        ("UPDATE ledger.shortfall SET owed = owed + 1", "M6"),
    ],
)  # fmt: skip
async def test_what_is_altered_behind_the_books_is_seen(
    unchecked_books: Books, owner: asyncpg.Connection, statement: str, rule: str
) -> None:
    books = unchecked_books
    await books.partner("a", return_policy="MEMBER_DEBT")
    await books.partner("b")
    card, other = await books.member(), await books.member()
    bought = await books.earn(card, 1_000, "a")
    await books.spend(card, 600, "b")
    await books.take_back(bought, "a", after=1)
    await books.earn(other, 500, "a", after=1)
    await books.close(after=2)
    assert await books.violations() == []
    await owner.execute(statement)
    found = await books.violations()
    assert any(one.startswith(f"{rule} ") for one in found), found
