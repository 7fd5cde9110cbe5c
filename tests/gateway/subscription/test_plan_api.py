"""Plans, prices and offers as the programme's people make them: one drafts, another approves, codes are told once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.subscription import subscriptions
from members.subscription.providers import MANUAL
from members.subscription.subscriptions import Wish
from tests import builders
from tests.gateway import desk as desks
from tests.gateway.conversing import script_of
from tests.gateway.finance.test_settlement_api import House
from tests.gateway.subscribing import open_plans

PEOPLE = {"mark": [actors.PROMOTION_MAKER], "vera": [actors.PROMOTION_CHECKER], "mila": [actors.FINANCE_MAKER],
          "both": [actors.PROMOTION_MAKER, actors.PROMOTION_CHECKER]}  # fmt: skip
WAITING = """{ planProposals { nodes { number maker
  plan { code names { language name } benefits seats pointsPerMonth pointsIssuer }
  price { plan interval amount { amount } tax validFrom } } } }"""
CATALOGUE = """query($f: Int = 20, $a: String) { planCatalogue(first: $f, after: $a) { pageInfo { hasNextPage endCursor }
  nodes { plan { code seats } prices { version interval amount { amount } } } } }"""
PREVIEW = """query($p: PlanPriceInput!) { planPricePreview(price: $p) {
  net { amount } tax { amount } before { amount } keep } }"""
OFFERS = "{ planOffers { nodes { code kind percentBp amount { amount } plan uses mostUses codes stoppedAt } } }"
DONE = "... on FinanceSuccess { replayed }"
GOLD = {
    "code": "gold", "names": [{"language": "en", "name": "Gold"}, {"language": "ru", "name": "Золото"}],
    "benefits": ["free-delivery", "lounge"], "seats": 3, "trialDays": 7, "pointsPerMonth": "50", "pointsIssuer": "cafe",
}  # fmt: skip


@pytest.fixture
async def house(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[House]:
    coalition = await builders.found(database, vault)
    await coalition.add_partner("cafe", return_window_days=0)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        people = {}
        for name, roles in PEOPLE.items():
            await desk.invite(name, f"{name}@example.org", roles)
            people[name] = await script_of(await desk.signed_in(f"{name}@example.org", "/staff"), "/staff")
        async with database.transaction() as connection:
            await open_plans(connection)
        await desk.at_wall()
        yield House(desk, people)
    await coalition.desk.close()


async def test_a_plan_and_its_price_count_when_a_second_person_approves_them(house: House) -> None:
    assert await house.refused("mark", "proposePlan", **GOLD | {"code": "Gold!"}) == "PLAN_INVALID"
    assert await house.refused("mark", "proposePlan", **GOLD | {"code": "plus"}) == "PLAN_INVALID"
    assert await house.refused("mark", "proposePlan", **GOLD | {"pointsIssuer": "nobody"}) == "PARTNER_UNKNOWN"
    number = await house.proposed("both", "proposePlan", **GOLD)
    [waiting] = (await house.vera.ask(WAITING))["nodes"]
    assert (waiting["number"], waiting["maker"], waiting["price"]) == (number, "both", None)
    assert waiting["plan"] == {
        "code": "gold", "names": [{"language": "en", "name": "Gold"}, {"language": "ru", "name": "Золото"}],
        "benefits": ["free-delivery", "lounge"], "seats": 3, "pointsPerMonth": "50", "pointsIssuer": "cafe",
    }  # fmt: skip
    decision: dict[str, Any] = {"proposal": number, "approved": True}
    assert await house.refused("both", "decidePlanProposal", **decision) == "FOUR_EYES_REQUIRED"
    assert await house.refused("vera", "decidePlanProposal", **decision | {"proposal": 999}) == "PROPOSAL_UNKNOWN"
    declined = await house.proposed("mark", "proposePlan", **GOLD | {"code": "silver"})
    assert (await house.act("vera", "decidePlanProposal", DONE, proposal=declined, approved=False))["replayed"] is False
    assert (await house.act("vera", "decidePlanProposal", DONE, **decision))["replayed"] is False
    assert await house.refused("vera", "decidePlanProposal", **decision) == "ALREADY_DECIDED"
    listed = (await house.mark.ask(CATALOGUE))["nodes"]
    assert [(one["plan"]["code"], len(one["prices"])) for one in listed] == [("family", 1), ("gold", 0), ("plus", 2)]

    # The next price of plus: whoever has it keeps what it was.
    async with house.database.transaction() as connection:
        card = await house.desk.coalition.add_member(email="ada@example.org")
        wish = Wish(card.member_id, "plus", "EUR", "MONTH", "UTC")
        await subscriptions.subscribe(connection, MANUAL, wish, at=house.desk.wall())
    begins = house.desk.wall() + timedelta(days=2)
    price = {
        "plan": "plus",
        "interval": "MONTH",
        "amount": "12.00",
        "currencyCode": "EUR",
        "validFrom": begins.isoformat(),
    }
    assert await house.mark.ask(PREVIEW, p=price) == {
        "net": {"amount": "12.00"}, "tax": {"amount": "0.00"}, "before": {"amount": "10.00"}, "keep": 1
    }  # fmt: skip
    for wrong, code in (({"amount": "0.001"}, "PLAN_INVALID"), ({"plan": "none"}, "PLAN_UNKNOWN"),
                        ({"validFrom": "2020-01-01T00:00:00Z"}, "PLAN_INVALID"), ({"tax": "VAT"}, "PLAN_INVALID")):  # fmt: skip
        assert await house.refused("mark", "proposePlanPrice", price=price | wrong) == code
        assert (await house.mark.error(PREVIEW, p=price | wrong))["rejection"]["code"] == code
    number = await house.proposed("mark", "proposePlanPrice", price=price)
    late = await house.proposed("mark", "proposePlanPrice", price=price | {"amount": "13.00"})
    [first, _] = (await house.vera.ask(WAITING))["nodes"]
    assert (first["plan"], first["price"]["amount"], first["price"]["plan"]) == (None, {"amount": "12.00"}, "plus")
    assert (await house.act("vera", "decidePlanProposal", DONE, proposal=number, approved=True))["replayed"] is False
    house.desk.wall.move(days=3)
    await house.desk.at_wall()
    for name in ("vera", "mila"):
        house.people[name] = await script_of(await house.desk.signed_in(f"{name}@example.org", "/staff"), "/staff")
    assert await house.refused("vera", "decidePlanProposal", proposal=late, approved=True) == "PLAN_INVALID"
    [*_, plus] = (await house.vera.ask(CATALOGUE))["nodes"]
    assert [(one["version"], one["interval"], one["amount"]["amount"]) for one in plus["prices"]] == [
        (2, "MONTH", "12.00"), (1, "MONTH", "10.00"), (1, "YEAR", "100.00"),
    ]  # fmt: skip
    page = await house.vera.ask(CATALOGUE, f=2)
    rest = await house.vera.ask(CATALOGUE, f=2, a=page["pageInfo"]["endCursor"])
    assert [one["plan"]["code"] for one in rest["nodes"]] == ["plus"]
    for query in (WAITING, CATALOGUE, OFFERS):
        assert (await house.mila.error(query))["code"] == "FORBIDDEN"


async def test_an_offer_is_made_its_codes_told_once_and_stopped(house: House) -> None:
    until = (house.desk.wall() + timedelta(days=9)).isoformat()
    half = {"code": "half", "kind": "PERCENT", "percentBp": 5000, "periods": 3, "plan": "plus", "validUntil": until}
    five = {
        "code": "five",
        "kind": "AMOUNT",
        "amount": "5.00",
        "currencyCode": "EUR",
        "validUntil": until,
        "word": "FIVE",
    }
    made = "... on AddPlanOfferSuccess { replayed }"
    for wrong in ({"percentBp": None}, {"percentBp": 10_000}, {"plan": "plus", "code": "No"}):
        assert await house.refused("mark", "addPlanOffer", **half | wrong) == "PLAN_OFFER_INVALID"
    assert await house.refused("mark", "addPlanOffer", **five | {"amount": "0.001"}) == "PLAN_OFFER_INVALID"
    for offer in (half, five):
        assert (await house.act("mark", "addPlanOffer", made, **offer))["replayed"] is False
    assert await house.refused("mark", "addPlanOffer", **half) == "PLAN_OFFER_INVALID"
    drawn, key = "... on DrawPlanCodesSuccess { replayed codes }", "a-key-of-its-own-000000001"
    told = [await house.act("mark", "drawPlanCodes", drawn, key, offer="half", count=3) for _ in range(2)]
    assert (len(set(told[0]["codes"])), told[1]["codes"], told[1]["replayed"]) == (3, None, True)
    assert await house.refused("mark", "drawPlanCodes", offer="half", count=1_001) == "PLAN_OFFER_INVALID"
    assert await house.refused("mark", "drawPlanCodes", offer="none", count=1) == "PLAN_OFFER_UNKNOWN"
    assert (await house.act("mark", "stopPlanOffer", DONE, offer="five"))["replayed"] is False
    found = (await house.mark.ask(OFFERS))["nodes"]
    assert [(one["code"], one["codes"], one["stoppedAt"] is None) for one in found] == [
        ("five", 1, False),
        ("half", 3, True),
    ]
    assert (found[0]["amount"], found[1]["percentBp"], found[1]["plan"], found[1]["uses"]) == (
        {"amount": "5.00"}, 5000, "plus", 0
    )  # fmt: skip
    refused = await house.vera.error(f"mutation($i: AddPlanOfferInput!) {{ addPlanOffer(input: $i) {{ {made} }} }}",
                                     i={"idempotencyKey": "k" * 20, **half})  # fmt: skip
    assert refused["code"] == "FORBIDDEN"
