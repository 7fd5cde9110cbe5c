"""Stock that changes hands: bought out, taken over at an exit, brought in from before. No lot is ever edited."""

from __future__ import annotations

import asyncio

import pytest

from kit import actors, approvals
from kit.approvals import FourEyesRequired
from ledger import cutoffs
from settlement.money import journal, stock
from settlement.money.stock import Handover, Opening
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books, micro
from tests.settlement.money.test_journal import rows


async def test_a_buy_out_bills_what_is_out_there_and_later_redemptions_come_from_the_pool(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN")
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.spend(card, 100, "b")
    await books.close(after=1)
    assert await books.moved({}) == {
        "1200.a": "2.35", "2110.a": "-1.5", "1200.b": "-0.8", "4120": "-0.05",
    }  # fmt: skip
    before = await books.balances()
    await books.hand_over(Handover(a, await books.terms_of("a"), a, 8_500), after=2)
    assert await books.moved(before) == {"1200.a": "7.65", "2100.a": "-7.65"}
    before = await books.balances()
    await books.spend(card, 200, "b", after=3)
    await books.earn(card, 100, "a", after=3)  # still under the same version: in the pool from now on
    await books.close(after=4)
    assert await books.moved(before) == {
        "2100.a": "0.85", "1200.a": "1", "2110.a": "-0.15", "1200.b": "-1.6", "4120": "-0.1",
    }  # fmt: skip


async def test_what_was_agreed_below_the_face_is_a_difference_that_is_said(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN", service_price_micro=0)
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.close(after=1)
    before = await books.balances()
    await books.hand_over(Handover(a, await books.terms_of("a"), a, 8_500, micro("7")), after=2)
    assert await books.moved(before) == {"1200.a": "7", "4190": "1.5", "2100.a": "-8.5"}


async def test_a_refund_of_what_was_redeemed_before_a_buy_out_goes_into_the_pool(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN", service_price_micro=0)
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    reward = await books.spend(card, 400, "b")
    await books.close(after=1)
    await books.hand_over(Handover(a, await books.terms_of("a"), a, 8_500), after=2)
    before = await books.balances()
    await books.take_back(reward, "b", after=3)
    await books.close(after=4)
    assert await books.moved(before) == {"2100.a": "-3.4", "1200.b": "3.2", "4120": "0.2"}


async def test_a_partner_that_leaves_pays_for_its_points_and_they_are_redeemed_as_before(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN", breakage_share_bp=5_000)
    await books.partner("b")
    card = await books.member()
    first = await books.terms_of("a")
    bought = await books.earn(card, 1_000, "a")
    await books.close(after=1)
    async with books.database.reading() as connection:
        still = await stock.exit_handovers(connection, a, carrier_id=0, paid_micro={first: micro("6.80")})
    before_rows = await rows(books)
    with pytest.raises(stock.StockInvalid) as no:  # it goes on issuing
        await books.hand_over(*still, after=2)
    assert [problem.code for problem in no.value.problems] == ["STILL_ISSUED"]
    assert await rows(books) == before_rows

    await books.sign("a", after=2, funding="AT_BURN", role="RUN_OFF", bill_share_bp=0)
    before = await books.balances()
    await books.hand_over(*still, after=2)
    assert await books.moved(before) == {"1200.a": "6.8", "4190": "1.7", "2100.a": "-8.5"}
    before = await books.balances()
    await books.spend(card, 400, "b", after=3)
    await books.close(after=4)
    assert await books.moved(before) == {"2100.a": "3.4", "1200.b": "-3.2", "4120": "-0.2"}
    # A return at the partner that left: the operator, who carries the points now, has the fund part of them back.
    before = await books.balances()
    await books.take_back(bought, "a", amount_minor=20_000, after=5)
    await books.close(after=6)
    assert await books.moved(before) == {"2100.a": "1.7", "5200": "-1.7"}


async def test_another_partner_takes_the_points_over(books: Books) -> None:
    a = await books.partner("a", service_price_micro=0, breakage_share_bp=5_000, expiry_months=1)
    c = await books.partner("c")
    await books.partner("b")
    card = await books.member()
    first = await books.terms_of("a")
    await books.earn(card, 1_000, "a")
    await books.close(after=1)
    await books.sign("a", after=2, role="RUN_OFF", bill_share_bp=0)
    before = await books.balances()
    await books.hand_over(Handover(a, first, c, 8_500), after=2)
    assert await books.moved(before) == {}  # in the pool already: only who has the gain and the returns changes
    await books.close(after=60)
    assert await books.moved(before) == {"2100.a": "8.5", "4200.a": "-4.25", "1200.c": "-4.25"}


async def test_two_transfers_after_each_other_are_rated_each_in_its_time(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN", service_price_micro=0)
    await books.partner("b")
    card = await books.member()
    terms_id = await books.terms_of("a")
    await books.earn(card, 1_000, "a")
    await books.close(after=1)
    for after, billed in ((2, 8_500), (4, 2_500)):
        await books.hand_over(Handover(a, terms_id, a, billed), after=after)
        await books.spend(card, 100, "b", after=after)
        await books.close(after=after + 1)
    now = await books.balances()
    assert now["2100.a"] == -800 * 2_500
    assert now["1200.a"] == 1_000 * 8_500 - 900 * 6_000 + 100 * 6_000


async def test_while_a_cut_off_is_not_booked_nobody_can_tell_what_there_is(unchecked_books: Books) -> None:
    books = unchecked_books
    a = await books.partner("a", funding="AT_BURN")
    await books.earn(await books.member(), 1_000, "a")
    await books.close(after=1)
    async with books.database.transaction() as connection:
        number = await stock.propose_transfer(
            connection, [Handover(a, await books.terms_of("a"), a, 8_500)], reason="x", maker=books.maker, at=NOON
        )
    await cutoffs.close(books.database, at=NOON + 2 * DAY)
    await books.database.pool.execute(
        "INSERT INTO settlement.booking (source, fingerprint, actor, at, cutoff_id) "
        "VALUES ('cutoff:3', gen_random_uuid(), 'x', $1, 3)",
        NOON,
    )
    before = await rows(books)

    async def approve() -> None:
        async with books.database.transaction() as connection:
            approval = await approvals.read(connection, number)
            await stock.decide(connection, approval, checker=books.checker, approved=True, at=NOON + 2 * DAY)

    with pytest.raises(stock.StockMoving):
        await approve()
    assert await rows(books) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"billed_fund_micro": 8_501}, "OUT_OF_RANGE"),
        ({"billed_fund_micro": -1}, "OUT_OF_RANGE"),
        ({"terms_id": 99}, "UNKNOWN"),
        ({"paid_micro": 2**70}, "OUT_OF_RANGE"),
    ],
)
async def test_a_transfer_that_makes_no_sense_is_refused_and_writes_nothing(
    books: Books, change: dict[str, int], code: str
) -> None:
    a = await books.partner("a", funding="AT_BURN")
    given = {"funder_id": a, "terms_id": await books.terms_of("a"), "carrier_id": a, "billed_fund_micro": 8_500}
    before = await rows(books)
    with pytest.raises(stock.StockInvalid) as no:
        await books.hand_over(Handover(**{**given, **change}), after=1)  # type: ignore[arg-type]
    assert [problem.code for problem in no.value.problems] == [code]
    for none in ([], [Handover(**given), Handover(**given)]):
        with pytest.raises(stock.StockInvalid):
            await books.hand_over(*none, after=1)
    assert await rows(books) == before


async def test_who_proposed_a_transfer_does_not_approve_it(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN")
    handover = Handover(a, await books.terms_of("a"), a, 8_500)
    async with books.database.transaction() as connection:
        number = await stock.propose_transfer(connection, [handover], reason="x", maker=books.maker, at=NOON)
        await actors.ensure_actor(connection, "fina", [actors.FINANCE_CHECKER])
    async with books.database.transaction() as connection:
        approval = await approvals.read(connection, number)
        with pytest.raises(FourEyesRequired):
            await stock.decide(connection, approval, checker=books.maker, approved=True, at=NOON)
    async with books.database.reading() as connection:
        assert await stock.as_of(connection, 10**6) == {}


# --- Brought in from before ---------------------------------------------------------------------------------------


async def bring_in(books: Books, opening: Opening) -> None:
    async with books.database.transaction() as connection:
        number = await stock.propose_opening(connection, [opening], maker=books.maker, at=NOON)
        approval = await approvals.read(connection, number)
        await stock.decide(connection, approval, checker=books.checker, approved=True, at=NOON)


async def test_points_from_before_are_an_obligation_that_bills_nobody_again(books: Books) -> None:
    a = await books.partner("a", fund_price_micro=7_000, service_price_micro=1_000)
    await books.partner("b")
    old = await books.terms_of("a")
    await books.sign("a", after=0)  # what is issued from now on is priced anew
    card = await books.member()
    await bring_in(books, Opening(a, old, 1_000))

    async def grant(row: str, points: int) -> int:
        async with books.database.transaction() as connection:
            return await stock.grant_opening(
                connection, card.member_id, (a, old), points=points, expires_at=NOON + 100 * DAY, row=row, at=NOON
            )

    first = await grant("1", 600)
    assert await grant("1", 600) == first
    before = await rows(books)
    with pytest.raises(stock.OpeningExceeded):
        await grant("2", 401)
    assert await rows(books) == before
    await grant("2", 400)
    await books.close(after=1)
    assert await books.moved({}) == {"3100": "8", "2100.a": "-7", "2110.a": "-1"}
    before_spent = await books.balances()
    await books.spend(card, 1_000, "b", after=2)
    await books.close(after=3)
    assert await books.moved(before_spent) == {"2100.a": "7", "1200.b": "-8", "4120": "1"}


async def test_no_more_is_brought_in_than_approved_however_many_do_it_at_once(books: Books) -> None:
    a = await books.partner("a")
    old = await books.terms_of("a")
    cards = [await books.member() for _ in range(6)]
    await bring_in(books, Opening(a, old, 250))

    async def grant(member_id: int) -> int | Exception:
        try:
            async with books.database.transaction() as connection:
                return await stock.grant_opening(
                    connection, member_id, (a, old), points=100, expires_at=NOON + 9 * DAY, row=str(member_id), at=NOON
                )
        except stock.OpeningExceeded as no:
            return no

    done = await asyncio.gather(*(grant(card.member_id) for card in cards))
    assert sum(isinstance(one, int) for one in done) == 2
    await books.close(after=1)


async def test_points_of_a_version_in_use_are_not_brought_in(books: Books) -> None:
    a = await books.partner("a")
    used = await books.terms_of("a")
    await books.earn(await books.member(), 10, "a")
    before = await rows(books)
    for opening in (Opening(a, used, 10), Opening(a, 99, 10), Opening(a, used, 0)):
        with pytest.raises(stock.StockInvalid):
            await bring_in(books, opening)
    with pytest.raises(stock.StockInvalid):
        async with books.database.transaction() as connection:
            await stock.grant_opening(connection, 1, (a, used), points=1, expires_at=NOON + DAY, row="1", at=NOON)
    assert await rows(books) == before


async def test_stock_is_what_the_booked_cut_offs_left(books: Books) -> None:
    a = await books.partner("a", funding="AT_BURN")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.close(after=1)
    await books.spend(card, 1, "a", after=2)
    async with books.database.reading() as connection:
        assert [(one.funder_id, one.points) for one in await stock.holdings(connection, a)] == [(a, 1_000)]
        assert await journal.booking_of(connection, "cutoff:2") is None
