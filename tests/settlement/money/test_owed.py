"""What somebody else pays of a member's discount: booked with its cut-off, stated by the run, taken back by a return."""

from __future__ import annotations

from collections import Counter

from settlement import archive, controls, runs
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books

RECORDED = """
    INSERT INTO partners.clearing_event (holder_id, seq, amount, payer_id, payee_id, terms_id, cutoff_id, unit, event_no,
                                         kind, is_return, currency, rule)
    SELECT holder_id, seq, $2, $3, $4, terms_id, cutoff_id, unit, $5, $6, $7, currency, 'R1'
    FROM partners.receipt WHERE reference = $1
"""


async def record(
    books: Books, reference: str, amount: int, payer: int, payee: int, *, kind: int = 1, no: int = 1, back: bool = False
) -> None:
    """As a purchase's own call writes it, for the receipt of a reference."""
    await books.database.pool.execute(RECORDED, reference, amount, payer, payee, no, kind, back)


async def test_discounts_coupons_and_benefits_that_others_pay(books: Books) -> None:
    a, b = await books.partner("a"), await books.partner("b", earn_rate_bp=0)
    card = await books.member()
    await books.earn(card, 100, "a")
    receipt = await books.earn_nothing(card, "b")
    await record(books, receipt.reference, 250, a, b)
    await record(books, receipt.reference, 120, 0, b, kind=2, no=2)
    await record(books, receipt.reference, 75, 0, b, kind=3, no=3)
    await books.close(after=1)
    points = {"1200.a": "1", "2100.a": "-0.85", "2110.a": "-0.15"}
    assert await books.moved({}) == points | {"1200.a": "3.5", "1200.b": "-4.45", "5200": "1.2", "5300": "0.75"}
    async with books.database.transaction() as connection:
        [run] = await runs.settle(connection, actor="fina", at=NOON + 2 * DAY)
    for statement in run.statements:
        lines = {n.kind: n.amount_micro for n in statement.lines if n.kind in ("DISCOUNT", "COUPON", "BENEFIT")}
        if statement.partner_id == a:
            assert lines == {"DISCOUNT": -2_500_000}
        if statement.partner_id == b:
            assert lines == {"DISCOUNT": 2_500_000, "COUPON": 1_200_000, "BENEFIT": 750_000}
            async with books.database.transaction() as connection:
                told: Counter[str] = Counter()
                async for one in archive.detail(connection, statement, id_key=bytes(64)):
                    told[one.kind] += one.amount_micro
                    assert one.reference == receipt.reference
            assert told == lines
    assert sum(s.net_micro for s in run.statements) == 0
    async with books.database.reading() as connection:
        assert await controls.run(connection) == []


async def test_a_return_takes_the_discount_back_where_it_was_booked(books: Books) -> None:
    await books.partner("a")
    b = await books.partner("b", earn_rate_bp=0)
    card = await books.member()
    receipt = await books.earn_nothing(card, "b")
    await record(books, receipt.reference, 120, 0, b, kind=2)
    await books.close(after=1)
    before = await books.balances()
    await books.take_back(receipt, "b", after=2, reference="back")
    await record(books, "back", 120, b, 0, kind=2, back=True)
    await books.close(after=3)
    assert await books.moved(before) == {"5200": "-1.2", "1200.b": "1.2"}


async def test_money_of_a_cut_off_in_which_no_points_moved_is_stated_by_the_next_run(books: Books) -> None:
    a, b = await books.partner("a"), await books.partner("b", earn_rate_bp=0)
    card = await books.member()
    receipt = await books.earn_nothing(card, "b")
    await record(books, receipt.reference, 250, a, b)
    await books.close(after=1)
    await books.earn(card, 100, "a", after=2)
    await books.close(after=3)
    async with books.database.transaction() as connection:
        [run] = await runs.settle(connection, actor="fina", at=NOON + 4 * DAY)
    nets = {s.partner_id: s.net_micro for s in run.statements}
    assert nets == {0: 1_000_000, a: -3_500_000, b: 2_500_000}
    async with books.database.reading() as connection:
        assert await controls.run(connection) == []
