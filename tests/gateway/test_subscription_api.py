"""Subscriptions through the gateway: taken, paid, seen at a till, used, left; and what finance reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import renewals, scopes
from gateway.notices import Sender
from gateway.own_ids import MEMBER, own_id
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import messages
from members.subscription import charging, due_work
from members.subscription.charging import Receipt
from members.subscription.providers import MANUAL
from tests import builders
from tests.builders import NOON
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.stand import Gateway
from tests.gateway.subscribing import open_plans
from tests.partners.promotions.market import open_market
from tests.partners.promotions.offers import document

ADA, BEN = "ada@example.org", "ben@example.org"
SHOWN = (
    "subscription { id plan status nextPlan endsAt periodEndsAt invoices { number reference state amount { amount } } }"
)
REJECTED = "... on Rejection { code retryable }"
SUBSCRIBE = f"mutation($i: SubscribeInput!) {{ subscribe(input: $i) {{ ... on SubscribeSuccess {{ replayed {SHOWN} }} {REJECTED} }} }}"
CANCEL = f"mutation($i: CancelSubscriptionInput!) {{ cancelSubscription(input: $i) {{ ... on CancelSubscriptionSuccess {{ replayed {SHOWN} }} {REJECTED} }} }}"
CHANGE = f"mutation($i: ChangeSubscriptionInput!) {{ changeSubscription(input: $i) {{ ... on ChangeSubscriptionSuccess {{ {SHOWN} }} {REJECTED} }} }}"
RESUME = f"mutation($i: ResumeSubscriptionInput!) {{ resumeSubscription(input: $i) {{ ... on ResumeSubscriptionSuccess {{ {SHOWN} }} {REJECTED} }} }}"
OFFER = (
    f"mutation($i: OfferSeatInput!) {{ offerSeat(input: $i) {{ ... on OfferSeatSuccess {{ {SHOWN} }} {REJECTED} }} }}"
)
ACCEPT = (
    f"mutation($i: SeatInput!) {{ acceptSeat(input: $i) {{ ... on AcceptSeatSuccess {{ replayed }} {REJECTED} }} }}"
)
OWN = """{ viewer { ... on Member { own { seats { subscriptionId acceptedAt } subscriptions { id status
  cancellationPreview { keptUntil credited { amount } } changePreview(plan: "plus", interval: "YEAR") { takesEffectAt } } } } } }"""
ENTITLED = "query($ref: MemberRefInput!) { member(ref: $ref) { entitlements { plan benefits isTrial } } }"
QUOTE = "query($input: QuoteInput!) { quote(input: $input) { points entitlements { benefits } } }"
USED = f"mutation($i: ReportUsageInput!) {{ reportUsage(input: $i) {{ ... on ReportUsageSuccess {{ replayed }} {REJECTED} }} }}"


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await builders.found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    for address in (ADA, BEN):
        await coalition.add_member(email=address)
    async with database.transaction() as connection:
        await open_plans(connection)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def pay(database: Database, invoice_no: int, amount_minor: int, at: Any) -> None:
    async with database.transaction() as connection:
        receipt = Receipt(invoice_no, amount_minor, f"bank-{invoice_no}", "statement 7")
        await charging.record_receipt(connection, MANUAL, receipt, actor="cashier", at=at)


def keyed(**more: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), **more}


async def count(database: Database) -> int:
    tables = ("subscription", "subscription_event", "invoice", "subscription_seat")
    return sum([await database.pool.fetchval(f"SELECT count(*) FROM members.{table}") for table in tables])


async def test_a_member_takes_a_plan_changes_it_gives_seats_and_leaves(desk: Desk) -> None:
    ada: Script = await script_of(await desk.signed_in(ADA))
    ben: Script = await script_of(await desk.signed_in(BEN))
    offered = await ada.ask("{ plans { code name benefits seats prices { interval amount { amount } } } }")
    assert [(one["code"], len(one["prices"])) for one in offered] == [("family", 1), ("plus", 2)]
    wish = keyed(plan="family", interval="MONTH")
    before = await count(desk.database)
    refused = await ada.ask(SUBSCRIBE, i=keyed(plan="gold", interval="MONTH"))
    assert (refused["code"], await count(desk.database)) == ("PLAN_UNKNOWN", before)
    taken = await ada.ask(SUBSCRIBE, i=wish)
    assert (taken["replayed"], taken["subscription"]["status"]) == (False, "INCOMPLETE")
    assert taken["subscription"]["invoices"][0]["state"] == "OPEN"
    assert (await ada.ask(SUBSCRIBE, i=wish))["replayed"]
    assert (await ada.ask(SUBSCRIBE, i=wish | {"plan": "plus"}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await ada.ask(SUBSCRIBE, i=keyed(plan="plus", interval="MONTH")))["code"] == "SUBSCRIPTION_EXISTS"
    its = taken["subscription"]["id"]
    at = await desk.database.pool.fetchval("SELECT at FROM members.subscription")
    await pay(desk.database, 1, 2000, at)
    ben_id = await desk.database.pool.fetchval("SELECT max(member_id) FROM members.member")
    await ada.ask(OFFER, i=keyed(subscriptionId=its, guestId=own_id(desk.vault, MEMBER, ben_id)))
    assert (await ada.ask(OFFER, i=keyed(subscriptionId=its, guestId="mbr_no")))["code"] == "SEAT_UNKNOWN"
    [seat] = (await ben.ask(OWN))["own"]["seats"]
    assert seat["acceptedAt"] is None
    assert await ben.ask(ACCEPT, i=keyed(subscriptionId=seat["subscriptionId"])) == {"replayed": False}
    assert (await ben.ask(OWN))["own"]["seats"][0]["acceptedAt"]
    changed = await ada.ask(CHANGE, i=keyed(subscriptionId=its, plan="plus", interval="MONTH"))
    assert changed["subscription"]["nextPlan"] == "plus"
    [own] = (await ada.ask(OWN))["own"]["subscriptions"]
    ends = changed["subscription"]["periodEndsAt"]
    assert own["cancellationPreview"] == {"keptUntil": ends, "credited": {"amount": "0.00"}}
    left = await ada.ask(CANCEL, i=keyed(subscriptionId=its))
    assert (left["subscription"]["status"], left["subscription"]["endsAt"]) == ("CANCELLING", ends)
    stayed = await ada.ask(RESUME, i=keyed(subscriptionId=its))
    assert stayed["subscription"]["status"] == "ACTIVE"


async def test_staff_read_every_invoice_and_nobody_elses_till_does(desk: Desk) -> None:
    ada = await script_of(await desk.signed_in(ADA))
    await ada.ask(SUBSCRIBE, i=keyed(plan="plus", interval="YEAR"))
    await desk.invite("anna", "anna@example.org", [actors.FINANCE_MAKER])
    anna = await script_of(await desk.signed_in("anna@example.org", "/staff"), "/staff")
    listed = await anna.ask("{ subscriptionInvoices { nodes { number amount { amount } isTest } } }")
    assert listed == {"nodes": [{"number": "1", "amount": {"amount": "100.00"}, "isTest": False}]}
    assert await anna.ask("{ feeShares { month } }") == []


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await builders.found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    async with database.transaction() as connection:
        await open_plans(connection, NOON - timedelta(days=1))
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await opened.till("bakery", wanted=(*scopes.TILL, scopes.EVENTS_WRITE))
        yield opened
    assert await builders.violations(database.pool) == []
    await coalition.desk.close()


async def test_a_till_is_told_what_a_subscription_opens_and_rules_that_ask_for_it_apply(gateway: Gateway) -> None:
    from members.subscription import subscriptions
    from members.subscription.subscriptions import Wish

    market = await open_market(gateway.coalition)
    double = document("plus-double", {"type": "points_multiplier", "factor_bp": 20_000}, who={"plans": ["plus"]})
    await market.publish(double)
    await gateway.app.state.services.lanes.directory.refresh()
    database, till = gateway.coalition.database, gateway.tills["bakery"]
    card = await gateway.coalition.add_member()
    ref = {"cardNumber": card.number}
    basket = {"member": ref, "receipt": stand.receipt("20.00")}
    assert (await till.ask(QUOTE, input=basket)) == {"points": "20", "entitlements": []}
    use = {"member": ref, "benefit": "free-delivery", "usedAt": NOON.isoformat()}
    assert (await till.ask(USED, i=keyed(**use)))["code"] == "NOT_ENTITLED"
    assert await database.pool.fetchval("SELECT count(*) FROM members.benefit_use") == 0
    async with database.transaction() as connection:
        await subscriptions.subscribe(
            connection, MANUAL, Wish(card.member_id, "plus", "EUR", "MONTH", "UTC"), at=NOON - timedelta(hours=1)
        )
    await pay(database, 1, 1000, NOON - timedelta(hours=1))
    assert await till.ask(ENTITLED, ref=ref) == {
        "entitlements": [{"plan": "plus", "benefits": ["free-delivery"], "isTrial": False}]
    }
    assert await till.ask(QUOTE, input=basket) == {"points": "40", "entitlements": [{"benefits": ["free-delivery"]}]}
    told = keyed(**use)
    assert [await till.ask(USED, i=told) for _ in range(2)] == [{"replayed": False}, {"replayed": True}]
    assert (await till.ask(USED, i=told | {"units": 2}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await database.pool.fetchval("SELECT count(*) FROM members.benefit_use") == 1


async def test_a_renewal_is_announced_by_a_letter_before_it_is_due_and_the_proof_is_kept(
    desk: Desk, database: Database, vault: Vault
) -> None:
    """Complaint C35: a subscription that renewed itself and nobody had noticed."""
    ada = await script_of(await desk.signed_in(ADA))
    await ada.ask(SUBSCRIBE, i=keyed(plan="plus", interval="MONTH"))
    at = await database.pool.fetchval("SELECT at FROM members.subscription")
    await pay(database, 1, 1000, at)
    announce = renewals.announcing(vault, Sender("Old Town", "UTC", "https://points.example.org"))
    stopping = asyncio.Event()
    await due_work.advance(database, {"manual": MANUAL}, announce, to=at + timedelta(days=40), stopping=stopping)
    notice = await database.pool.fetchrow("SELECT * FROM members.renewal_notice ORDER BY renews_at LIMIT 1")
    assert notice["message_id"] is not None
    assert notice["at"] < notice["renews_at"] <= at + timedelta(days=31)
    async with database.reading() as connection:
        words = await messages.read(connection, vault, messages.MEMBER, notice["holder_id"], notice["message_id"])
    assert words is not None
    assert "€10.00" in words.letter.body
    assert await database.pool.fetchval("SELECT count(*) FROM members.invoice") == 2
