"""Events and offers over GraphQL: what counts once, who may tell and decide, what a partner sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import scopes
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.cards import IssuedCard
from partners.coupons import batches
from partners.coupons.batches import BatchDraft
from partners.mechanics import documents, offers
from tests.builders import DAY, NOON, violations
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_purchase_api import REJECTION
from tests.partners.mechanics import fair as fairs
from tests.partners.mechanics.fair import EARLIER, Fair
from tests.partners.promotions.market import bonus
from tests.partners.promotions.offers import document

EVENT = f"""{{ __typename ... on RecordEventSuccess {{ status points coupons {{ code }} reviewId replayed cashierText
  balance {{ available }} }} {REJECTION} }}"""
RECORD = f"mutation($input: RecordEventInput!) {{ recordEvent(input: $input) {EVENT} }}"
MODERATE = f"mutation($input: ModerateEventInput!) {{ moderateEvent(input: $input) {EVENT} }}"
ACTIVATE = f"""mutation($input: ActivateOfferInput!) {{ activateOffer(input: $input) {{ __typename
  ... on ActivateOfferSuccess {{ promotion memberId }} {REJECTION} }} }}"""
RESERVE = f"""mutation($input: ReserveCouponsInput!) {{ reserveCoupons(input: $input) {{ __typename
  ... on ReserveCouponsSuccess {{ validUntil }} {REJECTION} }} }}"""
RELEASE = f"""mutation($input: ReleaseCouponsInput!) {{ releaseCoupons(input: $input) {{ __typename
  ... on ReleaseCouponsSuccess {{ released }} {REJECTION} }} }}"""
OFFERS = """query($member: MemberRefInput!, $first: Int!, $after: String) { offers(member: $member, first: $first, after: $after) {
  nodes { kind code title isNow conditions { text holds } validUntil points quantity coupon activation }
  pageInfo { hasNextPage endCursor } } }"""


template = fairs.a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with fairs.met(database, vault) as fair:
        yield fair


@pytest.fixture
async def gateway(fair: Fair, server: postgres.Server, database_name: str) -> AsyncIterator[Gateway]:
    wanted = (*scopes.TILL, scopes.EVENTS_WRITE, scopes.EVENTS_MODERATE)
    async with stand.opened(fair.coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await opened.till("bakery", wanted=wanted)
        await opened.till("grocer", wanted=wanted)
        yield opened
    assert await violations(fair.coalition.database.pool) == []


@pytest.fixture
def till(gateway: Gateway) -> Till:
    return gateway.tills["bakery"]


@pytest.fixture
async def card(fair: Fair) -> IssuedCard:
    return await fair.coalition.add_member()


def told(card: IssuedCard, event: str, **more: Any) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "member": {"cardNumber": card.number}, "event": event,
        "occurredAt": NOON.isoformat(), **more,
    }  # fmt: skip


def earns(code: str, event: str, points: int, **given: Any) -> dict[str, Any]:
    effect = {"type": "points_fixed", "points": points, "activation_days": 0, "expiry": {"months": 12}}
    return bonus(code, points, trigger="event", event=event, **given) | {"effect": effect}


async def publish(fair: Fair, gateway: Gateway, *rules: dict[str, Any]) -> None:
    """Rules that the gateway knows of, too."""
    await fair.market.publish(*rules)
    await gateway.app.state.services.directory.refresh()


async def test_an_event_is_told_once_and_its_figures_and_words_are_for_rules(
    fair: Fair, gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    await fair.agree(documents.EVENT, "steps", once="member")
    label = {"en": "many", "ru": "many", "ro": "many"}
    await publish(
        fair, gateway,
        earns("walk", "steps", 7, conditions=[{"id": "c", "label": label, "cel": 'event.numbers["steps"] >= 10000'}]),
    )  # fmt: skip
    given = told(card, "steps", figures=[{"name": "steps", "value": 12_000}], words=[{"name": "app", "value": "Walk"}])
    done = await till.ask(RECORD, input=given)
    assert (done["status"], done["points"], done["balance"]["available"], done["replayed"]) == (
        "COUNTED",
        "7",
        "7",
        False,
    )
    assert done["cashierText"] == "Earned: 7 points"
    again = await till.ask(RECORD, input=given)
    assert (again["points"], again["replayed"], again["balance"]) == ("7", True, None)
    before = await fair.everything()
    for change, code in (
        ({"figures": [{"name": "steps", "value": 1}]}, "IDEMPOTENCY_KEY_REUSED"),
        ({"idempotencyKey": stand.key()}, "MOMENT_COUNTED"), ({"event": "nothing"}, "EVENT_UNKNOWN"),
        ({"idempotencyKey": "short"}, "IDEMPOTENCY_KEY_INVALID"),
        ({"occurredAt": (NOON + DAY).isoformat(), "idempotencyKey": stand.key()}, "EVENT_INVALID"),
    ):  # fmt: skip
        assert (await till.ask(RECORD, input=given | change))["code"] == code
    assert await fair.everything() == before


async def test_a_review_waits_for_who_may_decide(fair: Fair, gateway: Gateway, till: Till, card: IssuedCard) -> None:
    await fair.agree(documents.EVENT, "review", moderated=True, once="member")
    await publish(fair, gateway, earns("reviews", "review", 20))
    kept = await till.ask(RECORD, input=told(card, "review", onceKey="bread"))
    assert (kept["status"], kept["points"], kept["balance"]) == ("WAITING", "0", None)
    decision = {"idempotencyKey": stand.key(), "reviewId": kept["reviewId"], "approved": True}
    assert (await gateway.tills["grocer"].ask(MODERATE, input=decision))["code"] == "REVIEW_UNKNOWN"
    writer = await gateway.till("bakery", wanted=(scopes.EVENTS_WRITE,))
    assert (await writer.error(MODERATE, input=decision))["extensions"]["code"] == "FORBIDDEN"
    done = await till.ask(MODERATE, input=decision)
    assert (done["status"], done["points"]) == ("COUNTED", "20")
    assert (await till.ask(MODERATE, input=decision))["replayed"]
    assert (await till.ask(MODERATE, input=decision | {"approved": False}))["code"] == "REVIEW_DECIDED"
    spam = await till.ask(RECORD, input=told(card, "review", onceKey="cake"))
    declined = await till.ask(MODERATE, input=decision | {"reviewId": spam["reviewId"], "approved": False})
    assert (declined["status"], declined["points"]) == ("DECLINED", "0")


async def test_only_who_may_tell_events_does(gateway: Gateway, card: IssuedCard) -> None:
    plain = await gateway.till("bakery")
    refused = await plain.error(RECORD, input=told(card, "review"))
    assert refused["extensions"]["code"] == "FORBIDDEN"


async def test_offers_come_page_by_page_and_an_activated_one_counts(
    fair: Fair, gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with fair.coalition.database.transaction() as connection:
        draft = BatchDraft("next", EARLIER, NOON + 60 * DAY, bound_to=batches.MEMBER, lasts_days=14)
        await batches.add(connection, fair.coalition.vault, draft, actor=fair.market.maker, at=EARLIER)
    await fair.agree(documents.EVENT, "survey")
    await publish(
        fair, gateway, bonus("all", 5, stack={"priority": 1}), bonus("gold", 6, who={"tiers": ["GOLD"]}, stack={"priority": 2}),
        bonus("yours", 7, who={"badges": [offers.ACTIVATED + "test"]}, stack={"priority": 3}),
        document("thanks", {"type": "grant_coupon", "batch": "next"}, trigger="event", event="survey"),
    )  # fmt: skip
    given = await till.ask(RECORD, input=told(card, "survey"))
    assert [set(one) for one in given["coupons"]] == [{"code"}]
    member = {"cardNumber": card.number}
    first = await till.ask(OFFERS, member=member, first=2, after=None)
    assert [one["code"] for one in first["nodes"]] == ["all", "yours"]
    assert [one["activation"] for one in first["nodes"]] == [None, "test"]
    assert first["pageInfo"]["hasNextPage"]
    rest = await till.ask(OFFERS, member=member, first=2, after=first["pageInfo"]["endCursor"])
    [coupon] = rest["nodes"]
    assert (coupon["kind"], coupon["code"], coupon["quantity"]) == ("COUPON", "next", 1)
    assert coupon["coupon"].startswith("cpn_")
    assert not rest["pageInfo"]["hasNextPage"]
    wish = {"idempotencyKey": stand.key(), "member": member, "promotion": "test"}
    assert (await till.ask(ACTIVATE, input=wish | {"promotion": "none"}))["code"] == "OFFER_UNKNOWN"
    for _ in range(2):
        assert (await till.ask(ACTIVATE, input=wish))["promotion"] == "test"
    await gateway.at(NOON + DAY)
    shown = await till.ask(OFFERS, member=member, first=20, after=None)
    assert [(one["code"], one["isNow"]) for one in shown["nodes"]] == [("all", True), ("yours", True), ("next", True)]
    other = await gateway.tills["grocer"].ask(OFFERS, member=member, first=20, after=None)
    assert {one["coupon"] for one in other["nodes"]}.isdisjoint({coupon["coupon"]})
    lost = await till.error(OFFERS, member={"cardNumber": "9990000000000000"}, first=1, after=None)
    assert lost["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_till_asks_what_a_coupon_gives_keeps_it_for_its_receipt_and_lets_it_go(
    fair: Fair, gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async with fair.coalition.database.transaction() as connection:
        vault, actor = fair.coalition.vault, fair.market.maker
        await batches.add(connection, vault, BatchDraft("spring", EARLIER, NOON + 60 * DAY), actor=actor, at=EARLIER)
        [code] = await batches.draw(connection, vault, "spring", 1, actor=actor, at=EARLIER)
    await publish(fair, gateway, bonus("gift", 77, codes={"required": "spring"}))
    mine, others = stand.receipt("10.00"), stand.receipt("10.00")

    def wish(receipt: dict[str, Any], **more: Any) -> dict[str, Any]:
        place = {name: receipt[name] for name in ("reference", "outlet", "terminal", "businessDate")}
        return {"idempotencyKey": stand.key(), "coupons": [code], "receipt": place, **more}

    async def quoted(receipt: dict[str, Any]) -> Any:
        given = {"member": {"cardNumber": card.number}, "receipt": receipt, "coupons": [code]}
        return (await till.ask("query($input: QuoteInput!) { quote(input: $input) { points } }", input=given))["points"]

    assert await quoted(mine) == "87"
    for _ in range(2):
        kept = await till.ask(RESERVE, input=wish(mine, member={"cardNumber": card.number}))
        assert kept["__typename"] == "ReserveCouponsSuccess"
    assert (await till.ask(RESERVE, input=wish(others, member={"cardNumber": card.number})))["code"] == "COUPON_INVALID"
    assert await quoted(mine) == "87"
    assert (await till.ask(RELEASE, input=wish(others)))["released"] == 0
    assert (await till.ask(RELEASE, input=wish(mine)))["released"] == 1
    assert await quoted(others) == "87"


async def test_who_is_enrolled_with_a_phone_is_welcomed_once(fair: Fair, gateway: Gateway, till: Till) -> None:
    effect = {"type": "points_fixed", "points": 200, "activation_days": 0, "expiry": {"days": 14, "end_of_day": True}}
    await publish(fair, gateway, bonus("hello", 200, trigger="enrolment") | {"effect": effect})
    enrol = (
        "mutation($input: EnrolMemberInput!) { enrolMember(input: $input) { ... on EnrolMemberSuccess { memberId } } }"
    )
    balance = "query($ref: MemberRefInput!) { member(ref: $ref) { balance { available } } }"
    for phone, points in (("+44 20 7946 0018", "200"), (None, "0")):
        given = {
            "idempotencyKey": stand.key(), "outlet": "1", "terminal": "1", "person": {"name": "Ada", "phone": phone},
            "consents": [{"purpose": "PROGRAMME", "textVersion": "1", "at": NOON.isoformat()}],
        }  # fmt: skip
        for _ in range(2):
            member = await till.ask(enrol, input=given)
            seen = await till.ask(balance, ref={"id": member["memberId"]})
            assert seen["balance"]["available"] == points
