"""Points for what is no purchase: by a partner's own events, once where once was meant, and a welcome once a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from kit.database import Database
from kit.secrets import Vault
from members import enrolment, erasure
from members.cards import CardUnknown, IssuedCard, MemberClosed
from members.consents import ConsentGiven
from members.enrolment import Personal
from members.identification import MemberRef
from partners import outcomes
from partners.coupons import batches, coupons
from partners.coupons.batches import BatchDraft
from partners.decisions import preparing
from partners.mechanics import documents, events, moments, welcome
from partners.mechanics.events import Waiting
from partners.mechanics.moments import Counted, MomentCounted
from partners.promotions.basket import Event
from partners.purchases import purchases
from partners.receipts.records import ProofUse
from tests.builders import a_receipt, identified
from tests.partners.mechanics.fair import DAY, EARLIER, NOON, Fair, a_fair, met
from tests.partners.promotions.market import bonus
from tests.partners.promotions.offers import document

template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def tell(
    fair: Fair, card: IssuedCard, code: str, *, key: str = "k1", partner: str = "bakery", at: datetime = NOON,
    once_key: str = "", **numbers: int,
) -> Counted | Waiting:  # fmt: skip
    return await events.record_event(
        fair.coalition.desk, fair.call("recordEvent", key, partner=partner, at=at), fair.ref(card), Event(code, numbers),
        occurred_at=at, once_key=once_key,
    )  # fmt: skip


def earns(code: str, event: str, points: int, **given: Any) -> dict[str, Any]:
    """A rule that rewards an event with points that are there at once."""
    effect = {"type": "points_fixed", "points": points, "activation_days": 0, "expiry": {"months": 12}}
    rule = bonus(code, points, trigger="event", event=event, **given)
    return rule | {"effect": effect}


async def test_the_words_of_an_event_choose_no_budget(fair: Fair) -> None:
    """A partner that names another referrer each time would never meet the cap."""
    await fair.agree(documents.EVENT, "brought", once="no")
    await fair.market.budget("each", limit=10, scopes=["referrer"])
    await fair.market.publish(earns("bonus", "brought", 10, caps=["each"]))
    card = await fair.coalition.add_member()
    for name in ("17", "18"):
        told = await events.record_event(
            fair.coalition.desk, fair.call("recordEvent", name), fair.ref(card), Event("brought", {}, {"referrer": name}),
            occurred_at=NOON,
        )  # fmt: skip
        assert isinstance(told, Counted)
        assert told.points == 0
    assert await fair.market.used("each") == {}


async def test_any_event_that_was_declared_earns_what_its_rules_say(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "app-installed")
    await fair.market.publish(earns("app", "app-installed", 50))
    card = await fair.coalition.add_member()
    done = await tell(fair, card, "app-installed")
    assert isinstance(done, Counted)
    assert (done.points, done.available, done.replayed) == (50, 50, False)
    assert [points for code, points, _ in done.reasons if code == "RULE"] == [50]
    again = await tell(fair, card, "app-installed")
    assert isinstance(again, Counted)
    assert (again.points, again.replayed, again.seq) == (50, True, done.seq)
    assert sum(points for _, points, _ in again.reasons) == 50
    await fair.refused(tell(fair, card, "app-installed", devices=2), outcomes.IdempotencyKeyReused)
    await tell(fair, card, "app-installed", key="k2")
    assert await fair.available(card) == 100


async def test_a_newsletter_counts_once_however_often_somebody_comes_and_goes(fair: Fair) -> None:
    """Subscribing, unsubscribing and subscribing again earns once; at each partner, and for each letter, once."""
    await fair.agree(documents.EVENT, "newsletter", once="member")
    await fair.market.publish(earns("letters", "newsletter", 30))
    card = await fair.coalition.add_member()
    await tell(fair, card, "newsletter")
    await fair.refused(tell(fair, card, "newsletter", key="k2", at=NOON + 90 * DAY), MomentCounted)
    await tell(fair, card, "newsletter", partner="grocer")
    await tell(fair, card, "newsletter", key="k3", once_key="recipes")
    assert await fair.available(card) == 90
    await fair.agree(documents.EVENT, "registered", once="member", across="coalition")
    await fair.market.publish(earns("here", "registered", 10, stack={"priority": 20}))
    await tell(fair, card, "registered", key="k4")
    await fair.refused(tell(fair, card, "registered", key="k5", partner="grocer"), MomentCounted)


async def test_of_many_at_once_a_newsletter_counts_once(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "newsletter", once="member")
    await fair.market.publish(earns("letters", "newsletter", 30))
    card = await fair.coalition.add_member()
    done = await asyncio.gather(
        *[tell(fair, card, "newsletter", key=f"k{number}") for number in range(8)], return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["Counted"] + ["MomentCounted"] * 7
    assert await fair.available(card) == 30


async def test_of_many_at_once_one_key_counts_once(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "visit")
    await fair.market.publish(earns("visits", "visit", 5))
    card = await fair.coalition.add_member()
    done = await asyncio.gather(*[tell(fair, card, "visit") for _ in range(8)])
    assert sorted(one.replayed for one in done) == [False] + [True] * 7
    assert await fair.available(card) == 5


async def test_a_review_earns_when_somebody_has_approved_it_and_only_then(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "review", moderated=True, once="member")
    await fair.market.publish(earns("reviews", "review", 20))
    card = await fair.coalition.add_member()
    caller, other = fair.coalition.callers["bakery"], fair.coalition.callers["grocer"]
    kept = await tell(fair, card, "review", once_key="bread-17")
    assert isinstance(kept, Waiting)
    assert (await tell(fair, card, "review", once_key="bread-17")) == Waiting(kept.member_id, kept.review_no, True)
    assert await fair.available(card) == 0
    await fair.refused(tell(fair, card, "review", once_key="bread-17", key="k2"), MomentCounted)
    assert [one.review_no for one in await events.waiting(fair.coalition.desk, caller)] == [kept.review_no]
    decide = {"member_id": card.member_id, "review_no": kept.review_no}
    desk, at = fair.coalition.desk, NOON + DAY
    await fair.refused(events.moderate(desk, other, **decide, approved=True, at=at), events.ReviewUnknown)
    done = await events.moderate(desk, caller, **decide, approved=True, at=at)
    assert done is not None
    assert done.points == 20
    again = await events.moderate(desk, caller, **decide, approved=True, at=at)
    assert again is not None
    assert again.replayed
    await fair.refused(events.moderate(desk, caller, **decide, approved=False, at=at), events.ReviewDecided)
    spam = await tell(fair, card, "review", once_key="bread-18", key="k3")
    assert isinstance(spam, Waiting)
    assert await events.moderate(desk, caller, card.member_id, spam.review_no, approved=False, at=at) is None
    assert await events.waiting(desk, caller) == []
    assert await fair.available(card, at) == 20


async def test_a_review_of_who_has_left_earns_nothing_and_can_be_declined(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "review", moderated=True, once="member")
    await fair.market.publish(earns("reviews", "review", 20))
    gone, stays = await fair.coalition.add_member(), await fair.coalition.add_member()
    desk, caller = fair.coalition.desk, fair.coalition.callers["bakery"]
    kept = await tell(fair, gone, "review")
    told = await tell(fair, stays, "review", key="k2")
    assert isinstance(kept, Waiting)
    assert isinstance(told, Waiting)
    done = await events.moderate(desk, caller, stays.member_id, told.review_no, approved=True, at=NOON)
    async with fair.coalition.database.transaction() as connection:
        for card in (gone, stays):
            await erasure.forget(connection, card.member_id, by="test", at=NOON)
    decide = {"member_id": gone.member_id, "review_no": kept.review_no, "at": NOON + DAY}
    await fair.refused(events.moderate(desk, caller, **decide, approved=True), MemberClosed)
    assert await events.moderate(desk, caller, **decide, approved=False) is None
    again = await events.moderate(desk, caller, stays.member_id, told.review_no, approved=True, at=NOON + DAY)
    assert done is not None
    assert again is not None
    assert (again.seq, again.replayed) == (done.seq, True)  # what was decided before they left is answered as it was


async def test_a_budget_bounds_events_as_it_bounds_purchases(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "visit")
    await fair.market.budget("visits", limit=12, on_exceed="partial")
    await fair.market.publish(earns("visits", "visit", 5, caps=["visits"]))
    card = await fair.coalition.add_member()
    done = await asyncio.gather(*[tell(fair, card, "visit", key=f"k{number}") for number in range(6)])
    given = sum(one.points for one in done)
    assert 10 <= given <= 12  # whoever was outrun again and again may have left the last two
    last = await tell(fair, card, "visit", key="last")
    assert (last.points, await fair.available(card)) == (12 - given, 12)
    assert await fair.market.used("visits") == {("", ""): 12}


async def test_an_event_grants_what_is_no_points(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "survey")
    async with fair.coalition.database.transaction() as connection:
        draft = BatchDraft("thanks", EARLIER, NOON + 60 * DAY, bound_to=batches.MEMBER, lasts_days=14)
        await batches.add(connection, fair.coalition.vault, draft, actor=fair.market.maker, at=EARLIER)
    await fair.market.publish(
        document("thanks", {"type": "grant_coupon", "batch": "thanks"}, trigger="event", event="survey")
    )
    card = await fair.coalition.add_member()
    done = await tell(fair, card, "survey")
    assert isinstance(done, Counted)
    assert (done.points, len(done.coupons), [grant.code for grant in done.grants]) == (0, 1, ["thanks"])
    again = await tell(fair, card, "survey")
    assert isinstance(again, Counted)
    assert again.coupons == ()
    async with fair.coalition.database.reading() as connection:
        assert [one.batch for one in await coupons.held(connection, card.member_id, at=NOON)] == ["thanks"]


async def test_what_is_not_declared_or_cannot_be_is_refused(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "visit", partners=["grocer"])
    card = await fair.coalition.add_member()
    await fair.refused(tell(fair, card, "visit"), events.EventUnknown)
    await fair.refused(tell(fair, card, "nothing"), events.EventUnknown)
    await fair.refused(tell(fair, card, "visit", partner="grocer", weight=10**16), events.EventInvalid)
    await fair.refused(tell(fair, card, "visit", partner="grocer", once_key="x" * 201), events.EventInvalid)
    await fair.refused(
        events.record_event(
            fair.coalition.desk, fair.call("recordEvent", "k", partner="grocer"), fair.ref(card), Event("visit"),
            occurred_at=NOON + DAY,
        ),
        events.EventInvalid,
    )  # fmt: skip
    await fair.refused(
        events.record_event(
            fair.coalition.desk, fair.call("recordEvent", "k", partner="grocer"), MemberRef(card_number="1"),
            Event("visit"), occurred_at=NOON,
        ),
        CardUnknown,
    )  # fmt: skip


# --- Welcome ------------------------------------------------------------------------------------------------

PHONE = "+49 30 1234567"
WELCOME = {"type": "points_fixed", "points": 200, "activation_days": 0, "expiry": {"days": 14, "end_of_day": True}}


async def join(fair: Fair, phone: str | None = PHONE, at: datetime = NOON) -> IssuedCard:
    async with fair.coalition.database.transaction() as connection:
        done = await enrolment.enrol(
            connection, fair.coalition.vault, enrolled_by=fair.coalition.callers["bakery"].partner_id, at=at,
            personal=Personal(name="Ada", phone=phone), consents=[ConsentGiven("PROGRAMME", "1", at)], language="en",
        )  # fmt: skip
    return done.card


async def greet(fair: Fair, card: IssuedCard, at: datetime = NOON, partner: str = "bakery") -> Counted | None:
    return await welcome.give(fair.coalition.desk, fair.coalition.callers[partner], card.member_id, at=at)


async def test_a_welcome_is_there_at_once_is_spent_first_and_ends_with_its_fourteenth_day(fair: Fair) -> None:
    """A-15, in the programme's zone: given on the second at noon, gone when the sixteenth ends."""
    await fair.agree(documents.EVENT, "visit")
    await fair.market.publish(
        bonus("hello", 200, trigger="enrolment") | {"effect": WELCOME},
        earns("v", "visit", 100, stack={"priority": 20}),
    )
    card = await join(fair)
    done = await greet(fair, card)
    assert done is not None
    assert done.points == 200
    await tell(fair, card, "visit")
    directory = await fair.coalition.desk.directory.get()
    caller = fair.coalition.callers["grocer"]
    prepared = preparing.prepare(
        directory, caller, identified(card), a_receipt(400, at=NOON), at=NOON, idem_key=None, redeem_points=150
    )
    await purchases.purchase(fair.coalition.desk, prepared, redeem_points=150, use=ProofUse())
    ends = datetime.fromisoformat("2026-03-17T00:00:00+00:00")
    left = await fair.coalition.desk.pool.fetch(
        "SELECT remaining, expires_at FROM ledger.lot WHERE holder_id = $1 AND remaining > 0 AND active ORDER BY expires_at",
        card.member_id,
    )
    assert [tuple(row) for row in left][:1] == [(50, ends)]
    assert [row["remaining"] for row in left] == [50, 100, 2]
    assert await fair.available(card, ends - timedelta(seconds=1)) == 152
    assert await fair.available(card, ends) == 102


async def test_a_person_is_welcomed_once_in_the_whole_coalition_whoever_they_come_back_as(fair: Fair) -> None:
    await fair.market.publish(bonus("hello", 200, trigger="enrolment") | {"effect": WELCOME})
    card = await join(fair)
    assert await greet(fair, card) is not None
    again = await greet(fair, card)
    assert again is not None
    assert again.replayed
    async with fair.coalition.database.transaction() as connection:
        await erasure.forget(connection, card.member_id, by="test", at=NOON + DAY)
    back = await join(fair, at=NOON + 2 * DAY)
    assert back.member_id != card.member_id
    before = await fair.everything()
    assert await greet(fair, back, NOON + 2 * DAY, partner="grocer") is None
    assert await fair.everything() == before
    other = await join(fair, "+49 30 7654321")
    assert await greet(fair, other) is not None
    assert await greet(fair, await join(fair, None)) is None


async def test_of_two_cards_of_one_person_at_once_one_is_welcomed(fair: Fair) -> None:
    await fair.market.publish(bonus("hello", 200, trigger="enrolment") | {"effect": WELCOME})
    card = await join(fair)
    done = await asyncio.gather(*[greet(fair, card) for _ in range(6)])
    assert [one is not None for one in done] == [True] * 6
    assert sorted(one.replayed for one in done if one) == [False] + [True] * 5
    assert await fair.available(card) == 200


async def test_without_a_rule_nobody_is_welcomed_and_nothing_is_written(fair: Fair) -> None:
    card = await join(fair)
    before = await fair.everything()
    assert await greet(fair, card) is None
    assert await fair.everything() == before
    assert not await moments.is_rewarded(fair.coalition.desk, moments.ENROLMENT, "", 10**6, at=NOON)
