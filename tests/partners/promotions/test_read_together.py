"""What decisions look at is read for many of them in one go, and each is told what its own rules name and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kit.database import Database
from kit.secrets import Vault
from members import badges, households
from members.cards import IssuedCard
from members.sharing import SharingRules
from partners import decisions, purchases
from partners.promotions.basket import Member
from partners.purchases import Prepared
from tests.builders import NOON, a_receipt, found, identified
from tests.partners.promotions.market import Market, bonus, open_market

FIRST = {"counters": [{"counter": "coalition.ever.count", "max": 0}]}


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    coalition = await found(database, vault)
    for code in ("bakery", "grocer", "kiosk", "books"):
        await coalition.add_partner(code, return_window_days=0)
    made = await open_market(coalition)
    yield made
    assert await made.violations() == []
    await coalition.desk.close()


async def a_family(market: Market) -> list[IssuedCard]:
    """Two members of one household."""
    coalition = market.coalition
    cards = [await coalition.add_member() for _ in range(2)]
    rules = SharingRules(is_enabled=True)
    async with coalition.database.transaction() as connection:
        shared = await households.found(connection, coalition.vault, rules, member_id=cards[0].member_id, at=NOON)
        await connection.exec_driver_sql(
            "INSERT INTO members.household_move (member_id, seq, household_id, card_id, joined, at) "
            f"VALUES ({cards[1].member_id}, 1, {shared.member_id}, {cards[1].card_id}, true, '{NOON.isoformat()}')"
        )
    return cards


async def test_each_of_a_batch_keeps_what_its_own_rules_name(market: Market) -> None:
    """Four partners, whose rules ask for purchases, a badge, a budget, and nothing: asked all at once."""
    coalition = market.coalition
    await market.budget("each", limit=10, scopes=["member"], on_exceed="partial")
    await market.publish(
        bonus("first", 5, who=FIRST, where={"partners": ["bakery"]}),
        bonus("club", 6, who={"badges": ["club:tea"]}, where={"partners": ["grocer"]}),
        bonus("some", 7, caps=["each"], where={"partners": ["kiosk"]}),
        bonus("all", 8, where={"partners": ["books"]}),
    )
    card = await coalition.add_member()
    async with coalition.database.transaction() as connection:
        await badges.give(connection, card.member_id, "club:tea", cause=badges.by_hand(1, "x", NOON), at=NOON)
    places = ["bakery", "grocer", "kiosk", "books"] * 2
    made = await asyncio.gather(*[market.decide(card, a_receipt(50), partner=place) for place in places])
    expected = [Member(counters={"coalition.ever.count": 0}), Member(badges=("club:tea",)), Member(), Member()] * 2
    bases = [one.decided.basis for one in made if one.decided is not None]
    assert [one.context.member for one in bases] == expected
    assert [one.award.points for one in made] == [5, 6, 7, 8] * 2
    assert [len(one.counters.remaining) for one in bases] == [0, 0, 1, 0] * 2
    assert [one.if_seq is not None for one in bases] == [True, False, False, False] * 2


async def test_a_household_shares_a_budget_alone_at_once_and_in_a_file(market: Market) -> None:
    await market.budget("home", limit=10, scopes=["household"], on_exceed="partial")
    await market.publish(bonus("gift", 6, caps=["home"]))
    family, single = await a_family(market), await market.coalition.add_member()
    decided = await asyncio.gather(*[market.decide(card, a_receipt(50)) for card in family])
    assert [one.award.points for one in decided] == [6, 6]  # each of a moment before the other
    done = await asyncio.gather(*[purchases.accrue(market.desk, one) for one in decided])
    assert sorted(one.receipt.awarded_points for one in done) == [4, 6]
    [(scope, _)] = await market.used("home")
    assert scope.startswith("household:")
    desk, caller = market.desk, market.coalition.callers["bakery"]
    items = [(identified(card), a_receipt(50)) for card in (*family, single)]
    told = await purchases.decide_many(desk, await desk.directory.get(), caller, items, at=NOON)
    assert [one.award.points for one in told if isinstance(one, Prepared)] == [0, 0, 0]
    steps = [one.decided.outcome.steps[0].reason for one in told if isinstance(one, Prepared) and one.decided]
    assert steps == ["BUDGET_EXHAUSTED", "BUDGET_EXHAUSTED", "SCOPE_MISSING"]


async def test_facts_that_grew_old_are_stopped_by_the_write_and_not_without_its_guard(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four purchases decided before any of them was recorded: one is the first, whatever the desk knew."""
    await market.publish(bonus("first", 100, who=FIRST))
    monkeypatch.setattr(purchases.Moved, "outran", lambda self, items: {})  # what the process itself remembers
    card = await market.coalition.add_member()

    async def points() -> list[int]:
        prepared = [await market.decide(card, a_receipt(50)) for _ in range(4)]
        done = [await purchases.accrue(market.desk, one) for one in prepared]
        return sorted(one.receipt.awarded_points for one in done)

    assert await points() == [0, 0, 0, 100]
    card = await market.coalition.add_member()
    basis = decisions.Basis
    monkeypatch.setattr(purchases, "Basis", lambda *given, **named: replace(basis(*given, **named), if_seq=None))
    assert await points() == [100, 100, 100, 100]
