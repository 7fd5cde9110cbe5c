"""Rehearsals on purchases that were recorded: what a draft would have given, and that what was decided still is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from kit.database import Database, driver_url
from kit.postgres import Server
from kit.secrets import Vault
from partners.promotions import rehearsals
from partners.promotions.releases import EMPTY
from tests.builders import DAY, NOON, a_receipt, found
from tests.partners.promotions.market import Market, bonus, open_market
from tests.partners.promotions.offers import budget, release, rule


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    made = await open_market(coalition)
    yield made
    assert await made.violations() == []
    await coalition.desk.close()


async def trade(market: Market, members: int = 3, days: int = 4) -> None:
    """Each member buys for ten euros a day."""
    for _ in range(members):
        card = await market.coalition.add_member()
        for day in range(days):
            await market.buy(card, a_receipt(1_000, at=NOON + day * DAY))


async def test_a_draft_is_compared_with_what_was_given_and_nothing_is_written(market: Market) -> None:
    await trade(market)
    before = await market.rows()
    draft = release(rule("third", {"type": "points_fixed", "points": 50},
                         who={"counters": [{"counter": "coalition.ever.count", "min": 2}]}))  # fmt: skip
    told: list[int] = []
    found = await rehearsals.simulate(
        market.desk.pool,
        await market.desk.directory.get(),
        draft,
        since=NOON,
        until=NOON + 9 * DAY,
        progress=told.append,
    )
    assert (found.baskets, found.was.points, found.draft.points) == (12, 120, 120 + 6 * 50)
    assert (found.winners, found.losers, told[-1]) == (3, 0, 12)
    assert await market.rows() == before


async def test_what_members_spent_elsewhere_in_another_currency_counts_as_at_the_till_and_money_is_of_the_base(
    market: Market, server: Server, database_name: str
) -> None:
    """Amounts of another currency count nothing in a sum; where a point is ten cents of it, ten are one of the base."""
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    await owner.execute("UPDATE partners.point_value SET value_micro = 100000 WHERE currency = 'USD'")
    await owner.close()
    await market.coalition.add_partner("boston", currency="USD", return_window_days=0)
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(1_000, at=NOON, currency="USD"), partner="boston")
    await market.buy(card, a_receipt(1_000, at=NOON + DAY))
    await market.buy(card, a_receipt(1_000, at=NOON + 2 * DAY))
    many = {"who": {"counters": [{"counter": "coalition.ever.sum", "min": 1_500}]}}
    draft = release(
        rule("many", {"type": "points_fixed", "points": 50}, **many),
        rule("off", {"type": "discount_amount", "amount_minor": 100}, where={"partners": ["boston"]}),
    )
    directory = await market.desk.directory.get()
    found = await rehearsals.simulate(market.desk.pool, directory, draft, since=NOON, until=NOON + 9 * DAY)
    assert found.draft.applied_by_rule == {"BASE": 3, "off": 1}
    assert (found.was.points, found.was.worth_minor) == (21, 21)
    assert (found.draft.discount_minor, found.draft.worth_minor) == (10, 20)
    await market.budget("fund", unit="money", currency="EUR", sponsor_id=0)
    await market.desk.directory.refresh()
    paid = release(
        rule("off", {"type": "discount_amount", "amount_minor": 100}, caps=["fund"]),
        budget("fund", unit="money", limit=1_000_000),
    )
    directory = await market.desk.directory.get()
    found = await rehearsals.simulate(market.desk.pool, directory, paid, since=NOON, until=NOON + 9 * DAY)
    assert found.draft.applied_by_rule["off"] == 2  # a fund of euros pays no dollars


async def test_the_window_is_kept_and_what_is_in_force_simulates_to_no_change(market: Market) -> None:
    await market.publish(bonus("gift", 7))
    await trade(market)
    directory = await market.desk.directory.get()
    draft = directory.shelf.at(NOON, NOON)
    found = await rehearsals.simulate(market.desk.pool, directory, draft, since=NOON + DAY, until=NOON + 3 * DAY)
    assert (found.baskets, found.was.points, found.draft.points, found.unchanged) == (6, 102, 102, 3)
    nothing = await rehearsals.simulate(market.desk.pool, directory, EMPTY, since=NOON, until=NOON + 3 * DAY)
    assert (nothing.was.points, nothing.draft.points, nothing.losers) == (153, 90, 3)


async def test_every_stored_decision_is_decided_alike_and_one_that_was_altered_is_found(
    market: Market, server: Server, database_name: str
) -> None:
    await market.publish(bonus("gift", 7))
    await trade(market)
    directory = await market.desk.directory.get()
    window = {"since": NOON, "until": NOON + 9 * DAY}
    assert await rehearsals.replay(market.desk.pool, directory, **window) == []
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    await owner.execute(
        "UPDATE partners.receipt SET total = 5000 WHERE (holder_id, seq) = (SELECT holder_id, max(seq) FROM "
        "partners.receipt GROUP BY holder_id ORDER BY holder_id LIMIT 1)"
    )
    await owner.close()
    (different,) = await rehearsals.replay(market.desk.pool, directory, **window)
    assert different.stored_sha256 != different.found_sha256
