"""Histories nobody thought of: whatever partners and members do, in whatever order, the books follow the lots."""

from __future__ import annotations

import random

import pytest

from ledger.adjustments import AdjustmentExceedsBalance
from ledger.transfers import TransferExceedsBalance
from partners.outcomes import InsufficientPoints
from partners.receipts.receipts import Receipt
from partners.returns.returning import ReturnEmpty, ReturnExceedsOriginal
from settlement import breakage
from settlement.money.stock import Handover
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books

FUNDINGS = {
    "pool": {"breakage_share_bp": 5_000},
    "burn": {"funding": "AT_BURN", "return_policy": "MEMBER_DEBT", "fund_price_micro": 9_000},
    "half": {"funding": "HYBRID", "hybrid_fund_micro": 3_000, "return_policy": "MEMBER_DEBT", "expiry_months": 1},
    "gift": {"funding": "REDEEMER", "fund_price_micro": 0, "return_window_days": 3},
    "oper": {"funding": "OPERATOR", "service_price_micro": 0, "reimbursement_price_micro": 8_700},
}


class History:
    """Steps drawn by a dice, each allowed to be refused as business is."""

    def __init__(self, books: Books, dice: random.Random) -> None:
        self.books, self.dice, self.day = books, dice, 0
        self.receipts: list[tuple[Receipt, str]] = []
        self.done: dict[str, int] = {}

    async def begin(self) -> None:
        for code, terms in FUNDINGS.items():
            await self.books.partner(code, **terms)
        self.cards = [await self.books.member() for _ in range(3)]

    async def step(self) -> None:
        what = self.dice.choices(
            ["earn", "spend", "back", "gift", "adjust", "days", "close", "hand_over", "estimate"],
            [30, 25, 20, 8, 5, 10, 8, 2, 3],
        )[0]
        try:
            await getattr(self, what)()
        except (
            InsufficientPoints,
            ReturnExceedsOriginal,
            ReturnEmpty,
            TransferExceedsBalance,
            AdjustmentExceedsBalance,
        ):
            what = f"{what} refused"
        self.done[what] = self.done.get(what, 0) + 1

    async def earn(self) -> None:
        partner = self.dice.choice([*FUNDINGS])
        receipt = await self.books.earn(
            self.dice.choice(self.cards), self.dice.randint(1, 300), partner, after=self.day
        )
        self.receipts.append((receipt, partner))

    async def spend(self) -> None:
        partner = self.dice.choice([*FUNDINGS])
        receipt = await self.books.spend(
            self.dice.choice(self.cards), self.dice.randint(1, 200), partner, after=self.day
        )
        self.receipts.append((receipt, partner))

    async def back(self) -> None:
        if self.receipts:
            receipt, partner = self.dice.choice(self.receipts)
            amount = None if self.dice.random() < 0.5 else self.dice.randint(1, receipt.total_minor)
            await self.books.take_back(
                receipt, partner, amount_minor=amount, after=self.day, reference=f"b{self.dice.random()}"[:18]
            )

    async def gift(self) -> None:
        giver, taker = self.dice.sample(self.cards, 2)
        await self.books.gift(giver, taker, self.dice.randint(1, 80), after=self.day)

    async def adjust(self) -> None:
        card, points = self.dice.choice(self.cards), self.dice.randint(1, 50)
        if self.dice.random() < 0.5:
            await self.books.adjust(card, -points, after=self.day)
        else:
            by_issuer = self.dice.random() < 0.5
            await self.books.adjust(card, points, self.dice.choice([*FUNDINGS]), by_issuer=by_issuer, after=self.day)

    async def days(self) -> None:
        self.day += self.dice.choice((1, 2, 5, 30))

    async def close(self) -> None:
        await self.books.close(after=self.day)
        assert await self.books.violations() == []

    async def hand_over(self) -> None:
        code = self.dice.choice(("burn", "half"))
        fund = 9_000 if code == "burn" else 8_500
        partner_id = self.books.id_of(code)
        handover = Handover(partner_id, await self.books.terms_of(code), partner_id, self.dice.randint(0, fund))
        await self.close()
        await self.books.hand_over(handover, after=self.day)

    async def estimate(self) -> None:
        at = NOON + self.day * DAY
        async with self.books.database.transaction() as connection:
            await breakage.estimate(connection, as_of=at, actor="fina", at=at)


@pytest.mark.parametrize("seed", range(5))
async def test_the_books_follow_the_lots_through_any_history(books: Books, seed: int) -> None:
    history = History(books, random.Random(seed))
    await history.begin()
    for _ in range(60):
        await history.step()
    await history.close()
    assert sum((await books.balances()).values()) == 0
    assert {"earn", "spend", "back", "close"} <= set(history.done)
    # To the end of everything: what nobody used expires, and nothing is kept for anybody any more.
    history.day += 500
    await history.close()
    ended = await books.balances()
    assert [name for name in ended if name.startswith("2100")] == []
    await history.estimate()
    assert [name for name in await books.balances() if name.startswith(("2105", "4200E"))] == []
