"""Under every funding, and after stock has changed hands, the detail of a statement sums to its lines and to the books."""

from __future__ import annotations

from collections import Counter

from settlement import archive, controls, runs
from settlement.money import journal
from settlement.money.stock import Handover
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books

FUNDINGS = {
    "pool": {"breakage_share_bp": 5_000, "expiry_months": 1},
    "burn": {"funding": "AT_BURN", "return_policy": "MEMBER_DEBT"},
    "half": {"funding": "HYBRID", "hybrid_fund_micro": 3_000, "return_policy": "MEMBER_DEBT"},
    "gift": {"funding": "REDEEMER", "fund_price_micro": 0},
    "oper": {"funding": "OPERATOR", "service_price_micro": 0},
}


async def trade(books: Books, after: int) -> None:
    """Everybody's points are earned, spent everywhere, returned and owed, and some expire later."""
    for code in FUNDINGS:
        card = await books.member()
        bought = await books.earn(card, 200, code, after=after)
        reward = await books.spend(card, 150, "pool", after=after)
        await books.spend(card, 40, code, after=after)
        await books.take_back(reward, "pool", amount_minor=50, after=after)
        await books.take_back(bought, code, amount_minor=15_000, after=after)
    for code in ("pool", "burn"):
        await books.earn(await books.member(), 90, code, after=after)


async def test_every_line_has_its_postings_and_the_books_have_every_line(books: Books) -> None:
    for code, terms in FUNDINGS.items():
        await books.partner(code, **terms)
    await trade(books, 0)
    await books.close(after=1)
    burn, pool = books.id_of("burn"), books.id_of("pool")
    await books.hand_over(Handover(burn, await books.terms_of("burn"), burn, 8_500), after=2)
    first = await books.terms_of("pool")
    await books.sign("pool", after=2, breakage_share_bp=0)
    await books.hand_over(Handover(pool, first, books.id_of("half"), 8_500), after=2)
    await trade(books, 3)
    await books.close(after=60)
    async with books.database.transaction() as connection:
        done = await runs.settle(connection, actor="fina", at=NOON + 61 * DAY)
    kinds: set[str] = set()
    for statement in [s for run in done for s in run.statements if s.partner_id]:
        async with books.database.transaction() as connection:
            detail = [d async for d in archive.detail(connection, statement, id_key=bytes(64))]
        told: Counter[str] = Counter()
        for one in detail:
            assert abs(one.amount_micro) == one.points * one.unit_price_micro
            told[f"{one.kind} points"] += one.points
            told[f"{one.kind} micro"] += one.amount_micro
        expected: Counter[str] = Counter()
        for line in statement.lines:
            if line.unit_price_micro or line.kind in ("REDEMPTION_BORNE", "REFUND_BORNE", "FORGIVEN"):
                expected[f"{line.kind} points"] += line.points
                expected[f"{line.kind} micro"] += line.amount_micro
            kinds.add(line.kind)
        assert told == expected
    assert {
        "ACTIVATION", "REDEMPTION", "REFUND", "RETURN", "RETURN_OWED", "EXPIRY", "REDEMPTION_BORNE",
        "FUNDED_REDEMPTION", "FUNDED_REFUND", "STOCK_TRANSFER",
    } <= kinds  # fmt: skip
    # Nothing was carried over or paid yet, so what a partner is told in all is what the books have of it.
    async with books.database.reading() as connection:
        positions = {one.party_id: -one.amount_micro for one in await journal.balances(connection, "1200")}
        assert await controls.run(connection) == []
    told_in_all = {
        s.partner_id: sum(n.amount_micro for n in s.lines) for run in done for s in run.statements if s.partner_id
    }
    assert {party: amount for party, amount in told_in_all.items() if amount} == positions
