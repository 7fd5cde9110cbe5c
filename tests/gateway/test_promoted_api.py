"""A till hears what rules give: a quote's discounts and reasons, and the purchase that gives them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.builders import violations
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway
from tests.partners.promotions.market import Market, bonus, open_market
from tests.partners.promotions.offers import document

QUOTE = """query($input: QuoteInput!) { quote(input: $input) { points reasons { code rule points text }
  discounts { lineId rule source amount { amount currencyCode } } rules { rule version title reason text }
  maxRedeem { points boundBy } } }"""
RECORD = """mutation($input: RecordPurchaseInput!) { recordPurchase(input: $input) { __typename
  ... on RecordPurchaseSuccess { transaction { awarded reasons { code rule points text }
    discounts { lineId rule amount { amount } } rules { rule reason } } }
  ... on Rejection { code cashierText fields { path code message } } } }"""


template = a_coalition(bakery={"return_window_days": 0})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await opened.till("bakery")
        yield opened
    assert await violations(database.pool) == []
    await coalition.desk.close()


@pytest.fixture
async def market(gateway: Gateway) -> Market:
    return await open_market(gateway.coalition)


def goods(amount: str, **more: Any) -> dict[str, Any]:
    return stand.receipt(amount, lines=[{"lineId": "1", "amount": amount, "category": "bread", **more}])


async def test_a_quote_proposes_and_explains_and_the_purchase_gives_what_it_proposed(
    gateway: Gateway, market: Market
) -> None:
    off = document("bread", {"type": "discount_percent", "rate_bp": 1_000}, what={"categories": ["bread"]},
                   title={"en": "Bread week", "ru": "Неделя хлеба", "ro": "Săptămâna pâinii"},
                   funding=[{"party": "OPERATOR", "bp": 10_000}])  # fmt: skip
    gift = bonus("gift", 50, title={"en": "A gift", "ru": "Подарок", "ro": "Un cadou"}, stack={"priority": 11})
    rich = bonus("rich", 5, what={"min_basket_minor": 100_000}, stack={"priority": 12})
    secret = bonus("club", 5, who={"segments": ["vip"]}, stack={"priority": 13}, visible="eligible")
    await market.publish(off, gift, rich, secret)
    await gateway.app.state.services.lanes.directory.refresh()
    card = await gateway.coalition.add_member()
    till = gateway.tills["bakery"]
    till.language = "ru"
    ref = {"cardNumber": card.number}
    quote = await till.ask(QUOTE, input={"member": ref, "receipt": goods("20.00")})
    assert quote["points"] == "68"
    assert quote["discounts"] == [
        {"lineId": "1", "rule": "bread", "source": "PROGRAMME", "amount": {"amount": "2.00", "currencyCode": "EUR"}}
    ]
    assert [(one["code"], one["rule"], one["points"]) for one in quote["reasons"]] == [
        ("BASE", None, "18"), ("RULE", "gift", "50"),
    ]  # fmt: skip
    assert quote["reasons"][1]["text"] == "Подарок"
    assert {one["rule"]: one["reason"] for one in quote["rules"]} == {
        "bread": "APPLIED", "gift": "APPLIED", "rich": "BELOW_THRESHOLD",
    }  # fmt: skip
    given = {"source": "PROGRAMME", "promotion": "bread", "amount": "2.00"}
    paid = goods("18.00", discounts=[given])
    done = await till.ask(RECORD, input={"idempotencyKey": stand.key(), "member": ref, "receipt": paid})
    transaction = done["transaction"]
    assert transaction["awarded"] == "68"
    assert transaction["discounts"] == [{"lineId": "1", "rule": "bread", "amount": {"amount": "2.00"}}]
    assert [one["text"] for one in transaction["reasons"]][1] == "Подарок"


async def test_a_discount_that_no_rule_gives_is_refused_with_the_line_and_a_sentence_for_the_cashier(
    gateway: Gateway, market: Market
) -> None:
    card = await gateway.coalition.add_member()
    given = {"source": "PROGRAMME", "promotion": "bread", "amount": "2.00"}
    receipt = goods("18.00", discounts=[given])
    answer = await gateway.tills["bakery"].ask(
        RECORD, input={"idempotencyKey": stand.key(), "member": {"cardNumber": card.number}, "receipt": receipt}
    )
    refused = answer
    assert refused["code"] == "DISCOUNT_NOT_GRANTED"
    assert refused["cashierText"] == "This discount does not apply any more. Ask for the price again."
    assert refused["fields"][0]["path"] == ["receipt", "lines", "1", "discounts", "bread"]
    assert await gateway.coalition.desk.pool.fetchval("SELECT count(*) FROM partners.receipt") == 0


async def test_a_purchase_that_no_rule_decided_has_none_to_tell_of(gateway: Gateway) -> None:
    card = await gateway.coalition.add_member()
    answer = await gateway.tills["bakery"].ask(
        RECORD, input={"idempotencyKey": stand.key(), "member": {"cardNumber": card.number}, "receipt": goods("18.00")}
    )
    transaction = answer["transaction"]
    assert (transaction["discounts"], transaction["rules"]) == ([], [])
    assert [one["rule"] for one in transaction["reasons"]] == [None]
