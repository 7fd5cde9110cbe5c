"""Discount cards are badges: got free, by a purchase above a sum, or bought; fixed, or rising with what was collected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from kit.database import Database
from kit.secrets import Vault
from members import badges
from members.cards import IssuedCard
from partners.receipts.receipts import Line
from tests.builders import a_receipt
from tests.partners.mechanics.fair import DAY, NOON, Fair, a_fair, met
from tests.partners.promotions.offers import document

CARD = "card:bakery"


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


def card_for(code: str, **given: Any) -> dict[str, Any]:
    """A rule that gives the card."""
    return document(code, {"type": "grant_badge", "badge": CARD}, **given)


FIXED = document("fixed", {"type": "discount_percent", "rate_bp": 500}, who={"badges": [CARD]})
RISING = document(
    "rising",
    {
        "type": "discount_cumulative", "counter": "partner.ever.sum",
        "steps": [{"from_amount": 0, "rate_bp": 100}, {"from_amount": 50_000, "rate_bp": 300},
                  {"from_amount": 100_000, "rate_bp": 700}],
    },
    who={"badges": [CARD]},
)  # fmt: skip


async def discount(fair: Fair, card: IssuedCard, at: datetime = NOON) -> int:
    """What a bill of a hundred would get off."""
    quoted = await fair.market.decide(card, a_receipt(10_000, at=at), is_quote=True)
    assert quoted.decided is not None
    return quoted.decided.outcome.discount_minor


async def borne(fair: Fair, card: IssuedCard, at: datetime = NOON + DAY) -> list[str]:
    async with fair.coalition.database.reading() as connection:
        return [one.code for one in await badges.borne(connection, card.member_id, at=at)]


async def test_a_card_that_is_free_gives_its_percent_from_then_on(fair: Fair) -> None:
    await fair.market.publish(FIXED)
    card = await fair.coalition.add_member()
    assert await discount(fair, card) == 0
    async with fair.coalition.database.transaction() as connection:
        cause = uuid4()
        await badges.give(connection, card.member_id, CARD, cause=cause, at=NOON)
    assert await discount(fair, card) == 500


async def test_a_purchase_above_a_sum_gives_the_card_and_one_below_does_not(fair: Fair) -> None:
    await fair.market.publish(FIXED, card_for("gift", what={"min_basket_minor": 30_000}, stack={"priority": 20}))
    card = await fair.coalition.add_member()
    await fair.market.buy(card, a_receipt(29_999, at=NOON))
    assert await borne(fair, card) == []
    await fair.market.buy(card, a_receipt(30_000, at=NOON))
    assert await borne(fair, card) == [CARD]
    assert await discount(fair, card, NOON + DAY) == 500


async def test_a_card_is_bought_as_a_line_of_its_own(fair: Fair) -> None:
    await fair.market.publish(FIXED, card_for("sold", what={"skus": ["CARD-1"]}, stack={"priority": 20}))
    card = await fair.coalition.add_member()
    receipt = a_receipt(lines={"1": 5_000, "2": 300}, at=NOON)
    lines = (receipt.lines[0], Line("2", "GOODS", 300, {"sku": "CARD-1"}))
    await fair.market.buy(card, replace(receipt, lines=lines))
    assert await borne(fair, card) == [CARD]


async def test_the_percent_rises_with_what_was_collected_and_falls_with_what_goes_back(fair: Fair) -> None:
    await fair.market.publish(RISING)
    card = await fair.coalition.add_member()
    async with fair.coalition.database.transaction() as connection:
        cause = uuid4()
        await badges.give(connection, card.member_id, CARD, cause=cause, at=NOON)
    assert await discount(fair, card) == 100
    seen = []
    for number, total in enumerate((49_999, 1, 50_000), start=1):
        await buy_plain(fair, card, total, NOON + number * DAY)
        seen.append(await discount(fair, card, NOON + number * DAY))
    assert seen == [100, 300, 700]


async def buy_plain(fair: Fair, card: IssuedCard, total: int, at: datetime) -> None:
    """A purchase at whose till nobody asked for the discount."""
    await fair.market.buy(card, a_receipt(total, at=at))
