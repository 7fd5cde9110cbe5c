"""A file of purchases is decided together, and every item of it as it would be alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from partners.decisions import deciding
from partners.decisions.prepared import Prepared
from partners.purchases import purchases
from partners.receipts.receipts import Payment, Receipt
from tests.builders import NOON, a_receipt, found, identified
from tests.partners.mechanics.fair import Fair
from tests.partners.promotions.market import Market, bonus, open_market
from tests.partners.promotions.offers import document


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    made = await open_market(coalition)
    yield made
    assert await made.violations() == []
    await coalition.desk.close()


def told(one: Prepared | Rejection) -> Any:
    """All that a decision writes, or the code of its "no"."""
    if isinstance(one, Rejection):
        return one.code, one.problems
    return one.row, one.award, one.promoted, one.decided.outcome if one.decided else None


def discounted(discounts: list[dict[str, str]]) -> Receipt:
    """A receipt of one line with discounts that the till says it gave."""
    receipt = a_receipt(lines={"1": 900}, at=NOON)
    return replace(receipt, lines=(replace(receipt.lines[0], facts={"discounts": discounts}),))


async def test_each_item_of_a_file_is_decided_as_alone(market: Market) -> None:
    """Counters, budgets by member and by card, days in a row, a control group; and items that are no good."""
    await market.budget("month", limit=12, scopes=["member"], period="month", on_exceed="partial")
    await market.budget("days", limit=12, scopes=["member"], period="rolling:30")
    await market.budget("card", limit=7, scopes=["instrument"])
    await Fair(market).agree("HOLDOUT", "tried", control_bp=5_000, salt="a salt of its own")
    await market.publish(
        bonus("capped", 10, caps=["month", "days"], stack={"priority": 1}),
        bonus("third", 20, who={"counters": [{"counter": "partner.month.count", "min": 2}]}, stack={"priority": 2}),
        bonus("by-card", 5, caps=["card"], stack={"priority": 3}),
        bonus("tried", 40, experiment="tried", stack={"priority": 4}),
        document("off", {"type": "discount_percent", "rate_bp": 1_000}, stack={"priority": 5}),
    )
    cards = [await market.coalition.add_member() for _ in range(6)]
    for card in cards[:3]:
        await market.buy(card, a_receipt(1_000, at=NOON))
        await market.buy(card, a_receipt(1_000, at=NOON))
    lie = [{"source": "PROGRAMME", "promotion": "off", "amount": "0.07"}]
    good = [{"source": "PROGRAMME", "promotion": "off", "amount": "1.00"}]
    items = [
        *((identified(card), a_receipt(900, at=NOON)) for card in cards),
        (identified(cards[4], "GOLD"), a_receipt(100, at=NOON, payments=(Payment("CARD", 100, "visa"),))),
        (identified(cards[5]), a_receipt(100, at=NOON, outlet="nowhere")),
        (identified(cards[5]), discounted(lie)),
        (identified(cards[5]), discounted(good)),
        (identified(cards[5]), a_receipt(-5, at=NOON)),
        (identified(cards[0]), a_receipt(700, at=NOON)),
    ]
    desk, caller = market.desk, market.coalition.callers["bakery"]
    directory = await desk.directory.get()

    async def alone(item: Any) -> Prepared | Rejection:
        try:
            return await deciding.decide(desk, directory, caller, *item, at=NOON, idem_key=None)
        except Rejection as no:
            return no

    together = await deciding.decide_many(desk, directory, caller, items, at=NOON)
    assert [told(one) for one in together] == [told(await alone(item)) for item in items]
    codes = [one.code for one in together if isinstance(one, Rejection)]
    assert codes == ["OUTLET_UNKNOWN", "DISCOUNT_NOT_GRANTED", "AMOUNT_NEGATIVE"]
    decided = [one for one in together if isinstance(one, Prepared)]
    assert {step.reason for one in decided if one.decided for step in one.decided.outcome.steps} >= {
        "APPLIED", "BUDGET_EXHAUSTED", "SCOPE_MISSING", "HOLDOUT",
    }  # fmt: skip
    recorded = await purchases.accrue_file(desk, decided)
    assert len(recorded) == len(decided)
