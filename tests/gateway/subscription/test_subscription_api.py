"""Subscriptions through the gateway: taken, paid, seen at a till, used, left; and what finance reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import scopes, texts
from gateway.membership.own_ids import MEMBER, own_id
from gateway.messages.notices import Sender
from gateway.subscription import renewals
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import messages, proofs
from members.subscription import charging, due_work, offers, subscriptions
from members.subscription.charging import Receipt
from members.subscription.offers import OfferDraft
from members.subscription.providers import MANUAL
from members.subscription.subscriptions import Wish
from tests import builders
from tests.builders import NOON
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.stand import Gateway
from tests.gateway.subscribing import open_plans
from tests.gateway.test_abuse import spend_everywhere
from tests.gateway.test_purchase_api import record
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
OWN = """query($until: DateTime! = "2026-04-20T00:00:00Z") { viewer { ... on Member { own {
  seats { subscriptionId acceptedAt } subscriptions { id status seatsLeft
  pausePreview(until: $until) { takesEffectAt } renewalPreview { takesEffectAt dueNow { amount } }
  cancellationPreview { keptUntil credited { amount } } changePreview(plan: "plus", interval: "YEAR") { takesEffectAt } } } } } }"""
ENTITLED = "query($ref: MemberRefInput!) { member(ref: $ref) { entitlements { plan benefits isTrial } } }"
QUOTE = "query($input: QuoteInput!) { quote(input: $input) { points entitlements { benefits } } }"
CODE = """query($c: String!) { planCode(code: $c, plan: "plus", interval: "MONTH") {
  periods off { amount } toPay { amount } } }"""
GIVE = f"""mutation($i: GiveSubscriptionInput!) {{ giveSubscription(input: $i) {{
  ... on GiveSubscriptionSuccess {{ replayed giftCode gift {{ id state }} }} {REJECTED} }} }}"""
REDEEM_GIFT = f"""mutation($i: RedeemGiftInput!) {{ redeemGift(input: $i) {{
  ... on RedeemGiftSuccess {{ replayed {SHOWN} }} {REJECTED} }} }}"""
TAKE_BACK = f"""mutation($i: TakeGiftBackInput!) {{ takeGiftBack(input: $i) {{
  ... on TakeGiftBackSuccess {{ replayed }} {REJECTED} }} }}"""
LIMIT = "query($input: QuoteInput!) { quote(input: $input) { maxRedeem { points boundBy } } }"
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
    for other in ({"plan": "plus"}, {"paymentTextVersion": "2"}):
        assert (await ada.ask(SUBSCRIBE, i=wish | other))["code"] == "IDEMPOTENCY_KEY_REUSED"
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
    assert (own["seatsLeft"], own["pausePreview"]) == (1, {"takesEffectAt": ends})
    assert own["renewalPreview"] == {"takesEffectAt": ends, "dueNow": {"amount": "10.00"}}  # the plan that is planned
    assert own["cancellationPreview"] == {"keptUntil": ends, "credited": {"amount": "0.00"}}
    left = await ada.ask(CANCEL, i=keyed(subscriptionId=its))
    assert (left["subscription"]["status"], left["subscription"]["endsAt"]) == ("CANCELLING", ends)
    stayed = await ada.ask(RESUME, i=keyed(subscriptionId=its))
    assert stayed["subscription"]["status"] == "ACTIVE"


async def test_a_retry_is_answered_with_what_it_made_and_not_with_what_was_taken_since(desk: Desk) -> None:
    ada: Script = await script_of(await desk.signed_in(ADA))
    wish = keyed(plan="family", interval="MONTH")
    first = (await ada.ask(SUBSCRIBE, i=wish))["subscription"]
    await ada.ask(CANCEL, i=keyed(subscriptionId=first["id"], atOnce=True))
    second = (await ada.ask(SUBSCRIBE, i=keyed(plan="plus", interval="MONTH")))["subscription"]
    again = await ada.ask(SUBSCRIBE, i=wish)
    assert again["replayed"]
    assert [again["subscription"][name] for name in ("id", "plan")] == [first["id"], "family"]
    assert second["id"] != first["id"]


async def test_a_code_is_looked_at_used_once_and_answered_again_as_it_was(desk: Desk) -> None:
    async with desk.database.transaction() as connection:
        draft = OfferDraft("half", "PERCENT", NOON, NOON + timedelta(days=9), percent_bp=5000, periods=3)
        await offers.add(connection, desk.vault, draft, actor="marketer", at=NOON)
        [code] = await offers.draw(connection, desk.vault, "half", 1, actor="marketer", at=NOON)
    ada, ben = [await script_of(await desk.signed_in(who)) for who in (ADA, BEN)]
    seen = await ada.ask(CODE, c=code)
    assert seen == {"periods": 3, "off": {"amount": "5.00"}, "toPay": {"amount": "5.00"}}
    wish = keyed(plan="plus", interval="MONTH", code=code)
    refused = await ben.ask(SUBSCRIBE, i=keyed(plan="plus", interval="MONTH", code="NO-SUCH"))
    assert refused["code"] == "PLAN_CODE_INVALID"
    taken = [await ada.ask(SUBSCRIBE, i=wish) for _ in range(2)]
    assert [one["replayed"] for one in taken] == [False, True]
    assert taken[0]["subscription"]["invoices"][0]["amount"] == {"amount": "5.00"}
    assert (await ben.ask(SUBSCRIBE, i=keyed(plan="plus", interval="MONTH", code=code)))["code"] == "PLAN_CODE_INVALID"
    assert await desk.database.pool.fetchval("SELECT count(*) FROM members.subscription") == 1
    assert await desk.database.pool.fetchval("SELECT wrong FROM members.guess WHERE kind = 'PLAN_CODE'") == 2


async def test_a_present_is_bought_told_once_redeemed_and_shown_to_who_gave_it(desk: Desk) -> None:
    ada, ben = [await script_of(await desk.signed_in(who)) for who in (ADA, BEN)]
    wish = keyed(plan="family", interval="MONTH", intervals=2)
    bought = [await ada.ask(GIVE, i=wish) for _ in range(2)]
    assert [(one["replayed"], one["giftCode"] is None) for one in bought] == [(False, False), (True, True)]
    code, gift = bought[0]["giftCode"], bought[0]["gift"]
    assert (gift["state"], bought[1]["gift"]) == ("OPEN", gift)
    assert (await ben.ask(REDEEM_GIFT, i=keyed(code=code)))["code"] == "PLAN_CODE_INVALID"
    await pay(desk.database, 1, 4000, await desk.database.pool.fetchval("SELECT at FROM members.subscription"))
    asked = keyed(code=code)
    taken = [await ben.ask(REDEEM_GIFT, i=asked) for _ in range(2)]
    assert [one["replayed"] for one in taken] == [False, True]
    assert taken[0]["subscription"]["plan"] == "family"
    assert (await ada.ask(TAKE_BACK, i=keyed(giftId=gift["id"])))["code"] == "GIFT_USED"
    shown = await ada.ask("{ viewer { ... on Member { own { subscriptions { id } gifts { id state } } } } }")
    assert shown["own"] == {"subscriptions": [], "gifts": [{"id": gift["id"], "state": "USED"}]}


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


async def test_points_are_spent_only_while_subscribed_where_a_rule_says_so_and_nothing_is_taken_away(
    gateway: Gateway,
) -> None:
    database, till = gateway.coalition.database, gateway.tills["bakery"]
    card = await gateway.coalition.add_member()
    async with database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, card.member_id, "4711")
    ref, pin = {"cardNumber": card.number}, {"pin": "4711"}
    await record(till, card, stand.receipt("1000.00"))
    market = await open_market(gateway.coalition)
    limit = {"type": "set_redeem_cap", "share_bp": 0}
    await market.publish(document("with-a-plan", limit, who={"subscriber": False}))
    await gateway.app.state.services.lanes.directory.refresh()
    basket = {"member": ref, "receipt": stand.receipt("100.00")}

    async def most() -> tuple[str, str]:
        found = (await till.ask(LIMIT, input=basket))["maxRedeem"]
        return found["points"], found["boundBy"]

    assert await most() == ("0", "RULE:with-a-plan")
    before = await builders.rows_written(database.pool)
    refused = await spend_everywhere(till, ref, "100", [pin, pin, pin])
    assert [one["code"] for one in refused] == ["PLAN_REQUIRED"] * 3
    assert await builders.rows_written(database.pool) == before
    assert "plan" in refused[0]["cashierText"]
    async with database.transaction() as connection:
        wish = Wish(card.member_id, "plus", "EUR", "MONTH", "UTC")
        await subscriptions.subscribe(connection, MANUAL, wish, at=NOON - timedelta(hours=1))
    await pay(database, 1, 1000, NOON - timedelta(hours=1))
    assert (await most())[1] != "RULE:with-a-plan"
    spent = await spend_everywhere(till, ref, "100", [pin, pin, pin])
    assert [one["__typename"].endswith("Success") for one in spent] == [True] * 3
    left = spent[2]["balance"]["available"]
    async with database.transaction() as connection:
        await subscriptions.cancel(connection, card.member_id, 1, at_once=True, at=NOON)
    assert (await spend_everywhere(till, ref, "100", [pin, pin, pin]))[1]["code"] == "PLAN_REQUIRED"
    shown = await till.ask("query($r: MemberRefInput!) { member(ref: $r) { balance { available } } }", r=ref)
    assert shown["balance"]["available"] == left  # nothing was confiscated


@pytest.mark.parametrize("code", ["PLAN_REQUIRED", "NOT_ENTITLED", "USE_INVALID", "SUBSCRIPTION_STATE"])
def test_a_till_has_words_of_its_own_in_three_languages(code: str) -> None:
    said = {texts.cashier_text(code, retryable=retryable, language=language)
            for language in ("en", "ru", "ro") for retryable in (False, True)}  # fmt: skip
    general = {texts.cashier_text("?", retryable=retryable, language=language)
               for language in ("en", "ru", "ro") for retryable in (False, True)}  # fmt: skip
    assert (len(said), said & general) == (3, set())


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
