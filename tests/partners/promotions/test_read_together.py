"""What decisions look at is read for many of them in one go, and each is told what its own rules name and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from kit.database import Database
from kit.secrets import Vault
from members import badges, cards, households, identification
from members.cards import CardBlocked, CardUnknown, IssuedCard
from members.identification import MemberRef
from members.sharing import SharingRules
from partners import callers, calls, recording
from partners.agreements import onboarding
from partners.decisions import deciding, decisions
from partners.decisions.prepared import Prepared
from partners.desk import Carried
from partners.mechanics import facts
from partners.outcomes import Recorded
from partners.promotions import budgets
from partners.promotions.basket import Member
from partners.purchases import purchases
from partners.receipts.receipts import Payment, Receipt
from partners.tills import tills
from tests.builders import DAY, NOON, a_receipt, identified
from tests.founded import a_coalition
from tests.partners.promotions.market import Market, bonus, met_market, open_market

FIRST = {"counters": [{"counter": "coalition.ever.count", "max": 0}]}


template = a_coalition(
    open_market, **{code: {"return_window_days": 0} for code in ("bakery", "grocer", "kiosk", "books")}
)


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await met_market(database, vault)
    yield made
    assert await made.violations() == []
    await made.desk.close()


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
        await badges.give(connection, card.member_id, "club:tea", cause=uuid4(), at=NOON)
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
    told = await deciding.decide_many(desk, await desk.directory.get(), caller, items, at=NOON)
    assert [one.award.points for one in told if isinstance(one, Prepared)] == [0, 0, 0]
    steps = [one.decided.outcome.steps[0].reason for one in told if isinstance(one, Prepared) and one.decided]
    assert steps == ["BUDGET_EXHAUSTED", "BUDGET_EXHAUSTED", "SCOPE_MISSING"]


async def test_facts_that_grew_old_are_stopped_by_the_write_and_not_without_its_guard(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four purchases decided before any of them was recorded: one is the first, whatever the desk knew."""
    await market.publish(bonus("first", 100, who=FIRST))
    monkeypatch.setattr(recording.Moved, "outran", lambda self, items: {})  # what the process itself remembers
    card = await market.coalition.add_member()

    async def points() -> list[int]:
        prepared = [await market.decide(card, a_receipt(50)) for _ in range(4)]
        done = [await purchases.accrue(market.desk, one) for one in prepared]
        return sorted(one.receipt.awarded_points for one in done)

    assert await points() == [0, 0, 0, 100]
    card = await market.coalition.add_member()
    basis = decisions.Basis
    monkeypatch.setattr(deciding, "Basis", lambda *given, **named: replace(basis(*given, **named), if_seq=None))
    assert await points() == [100, 100, 100, 100]


async def shown(market: Market, number: str, receipt: Receipt, partner: str = "bakery") -> Recorded:
    """A till's whole call: a card's number and a receipt."""
    caller = market.coalition.callers[partner]
    key = callers.idem_key_of(caller, "accruePoints", receipt.reference)
    call = calls.Call(caller, key, receipt.occurred_at + timedelta(seconds=5), NOON)
    return await tills.record_purchase(market.desk, call, MemberRef(card_number=number), receipt, spend=None)


async def test_a_card_tells_who_it_is_and_all_that_its_rules_ask_for_in_one_reading(market: Market) -> None:
    """What a till's call decides on is what a decision reads by itself, for whomever; and nothing more is read."""
    coalition, desk = market.coalition, market.desk
    await market.budget("month", limit=10, scopes=["member", "card"], period="month", on_exceed="partial")
    await market.budget("days", limit=100, scopes=["member"], period="rolling:30")
    await market.budget("place", limit=100, scopes=["outlet"])
    await market.publish(
        bonus("first", 5, who=FIRST, caps=["days", "place"], where={"partners": ["bakery"]}),
        bonus("some", 7, caps=["month"], where={"partners": ["bakery"]}, stack={"priority": 11}),
        bonus("paid", 1, caps=["place"], where={"partners": ["grocer"]}),
    )
    held = [await coalition.add_member() for _ in range(5)]
    await market.buy(held[2], a_receipt(50))
    directory = await desk.directory.get()
    for partner, points in (("bakery", [12, 12, 3]), ("grocer", [1, 1, 1]), ("books", [0, 0, 0])):
        caller = coalition.callers[partner]
        place = callers.place_of(directory, caller, "1", "1")
        foreseen = deciding.foresee(desk, directory, caller, place, a_receipt(50), at=NOON)
        assert foreseen is not None
        assert (foreseen.wanted is None) == (partner == "books")
        met = await asyncio.gather(*[desk.cards.submit(Carried(card.number, foreseen.wanted)) for card in held[:3]])
        assert [one.member for one in met] == [identified(card) for card in held[:3]]
        for one, expected in zip(met, points, strict=True):
            decide = partial(
                deciding.decide, desk, directory, caller, one.member, a_receipt(50), at=NOON, idem_key=None
            )
            alone, told = await decide(), await decide(foreseen=foreseen, told=one.told)
            assert (told.row, told.award, told.promoted) == (alone.row, alone.award, alone.promoted)
            assert told.award.points == expected
    await desk.known.close()  # from here on nothing else can be read
    done = await asyncio.gather(
        *[shown(market, card.number, a_receipt(50)) for card in held[:3]],
        shown(market, held[3].number, a_receipt(50), "grocer"),
        shown(market, held[4].number, a_receipt(50), "books"),
        shown(market, "9700000000000000", a_receipt(50)),
        return_exceptions=True,
    )
    assert [one.receipt.awarded_points for one in done if isinstance(one, Recorded)] == [12, 12, 3, 1, 0]
    assert isinstance(done[-1], CardUnknown)


async def test_budgets_of_an_outlet_a_day_and_a_bank_card_are_each_counted_by_themselves_at_a_till(
    market: Market,
) -> None:
    """What is read of whoever buys is remembered for a day at an outlet: never for another, nor for a bank card."""
    coalition = market.coalition
    async with coalition.database.transaction() as connection:
        outlet_id = await onboarding.add_outlet(
            connection, partner_id=coalition.callers["bakery"].partner_id, code="2", name="At the station",
            actor=coalition.onboarder, at=NOON,
        )  # fmt: skip
        await onboarding.add_terminal(connection, outlet_id=outlet_id, code="1", actor=coalition.onboarder, at=NOON)
    await market.budget("place", limit=5, scopes=["outlet"], period="day")
    await market.budget("paid", limit=1, scopes=["instrument"])
    await market.publish(bonus("some", 5, caps=["place"]), bonus("card", 1, caps=["paid"], stack={"priority": 11}))
    card = await coalition.add_member()
    await market.desk.known.close()  # what the card's reading does not tell cannot be read

    async def points(outlet: str, days: int = 0, token: str = "") -> int:
        payments = (Payment("CARD", 50, token),) if token else ()
        receipt = a_receipt(50, outlet=outlet, at=NOON + days * DAY, payments=payments)
        return (await shown(market, card.number, receipt)).receipt.awarded_points

    assert [await points("1"), await points("1"), await points("2"), await points("2")] == [5, 0, 5, 0]
    assert [await points("1", 1), await points("2", 1), await points("1", 1), await points("1")] == [5, 5, 0, 0]
    assert [await points("1", 2, "a-token"), await points("1", 2), await points("1", 2, "b-token")] == [6, 0, 1]
    assert await points("1", 3, "a-token") == 5
    assert set(await market.used("place")) == {
        (f"outlet:bakery:{outlet}", (NOON + day * DAY).date().isoformat())
        for outlet, day in (("1", 0), ("2", 0), ("1", 1), ("2", 1), ("1", 2), ("1", 3))
    }


async def test_a_limit_that_settlement_sets_holds_at_a_till_that_has_sold_without_one(market: Market) -> None:
    await market.budget("each", limit=1_000, scopes=["member"])
    await market.publish(bonus("some", 5, caps=["each"]))
    card = await market.coalition.add_member()
    assert (await shown(market, card.number, a_receipt(50))).receipt.awarded_points == 5
    async with market.coalition.database.transaction() as connection:
        source = {"code": "exposure:bakery", "unit": "points", "limit": 5}
        await budgets.add(connection, source=source, sponsor_id=0, actor="settlement", at=NOON)
    await market.desk.directory.refresh()
    await market.desk.known.close()
    awarded = [(await shown(market, card.number, a_receipt(50))).receipt.awarded_points for _ in range(2)]
    assert awarded == [5, 0]


async def test_a_card_that_may_not_be_used_tells_nothing_though_rules_ask(market: Market) -> None:
    await market.publish(bonus("first", 5, who=FIRST))
    card = await market.coalition.add_member()
    async with market.coalition.database.transaction() as connection:
        await cards.mark_lost(connection, card.card_id, at=NOON)
    before = await market.rows()
    with pytest.raises(CardBlocked):
        await shown(market, card.number, a_receipt(50))
    assert await market.rows() == before


async def test_what_is_read_at_each_till_is_planned_for_any_number_of_them(market: Market) -> None:
    """Planning takes several times what reading takes: a session does it a few times at most."""
    await market.budget("month", limit=10, scopes=["member"], period="month")
    await market.publish(bonus("first", 5, who=FIRST, caps=["month"]))
    held = [await market.coalition.add_member() for _ in range(4)]
    directory, caller = await market.desk.directory.get(), market.coalition.callers["bakery"]
    foreseen = deciding.foresee(
        market.desk, directory, caller, callers.place_of(directory, caller, "1", "1"), a_receipt(50), at=NOON
    )
    assert foreseen is not None
    assert foreseen.wanted is not None
    wanted = foreseen.wanted
    asked = [replace(wanted.asked, member_id=card.member_id) for card in held]
    keys = [[(1, f"member:{card.member_id}", "2026-03")] for card in held]
    vault, programme = market.desk.vault, directory.programme
    async with market.desk.pool.acquire() as one:
        pool: Any = one
        for number in (1, 1, 1, 1, 1, 4, 2, 3, 4):
            numbers = [card.number for card in held[:number]]
            await identification.identify_cards(one, vault, numbers)
            hashes = identification.lookups_of(vault, numbers)
            known: dict[str, Any] = {
                "fields": wanted.fields, "counters": wanted.counters, "budgets": keys[:number], "at": NOON,
            }  # fmt: skip
            by_card = await facts.facts_of_cards(
                pool, vault, programme, list(hashes.values()), asked[:number], **known
            )  # fmt: skip
            by_number = await facts.facts_and_budgets(pool, vault, programme, asked[:number], **known)
            assert [each[1:] for each in by_card] == by_number
        plans = await one.fetch(
            "SELECT custom_plans, generic_plans FROM pg_prepared_statements "
            "WHERE statement LIKE '%LIMIT cardinality%' AND statement NOT LIKE '%custom_plans%'"
        )
    assert len(plans) == 3
    assert all(row["custom_plans"] <= 5 for row in plans)
    assert [row["custom_plans"] + row["generic_plans"] for row in plans] == [9, 9, 9]
