"""What is on offer to a member here, and why; what is for others is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from kit.database import Database
from kit.secrets import Vault
from members import attributes, badges, segments
from members.cards import IssuedCard
from partners import callers
from partners.coupons import batches, coupons
from partners.coupons.batches import BatchDraft
from partners.mechanics import grants, offers, rewards
from partners.mechanics.grants import Source
from partners.mechanics.offers import Offer
from partners.mechanics.rewards import RewardDraft
from partners.promotions.basket import Grant
from tests.builders import a_receipt, identified
from tests.partners.mechanics.fair import DAY, EARLIER, NOON, Fair, a_fair, met
from tests.partners.promotions.market import bonus
from tests.partners.promotions.offers import document, texts

template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def seen(fair: Fair, card: IssuedCard, *, partner: str = "bakery", at: Any = NOON) -> dict[str, Offer]:
    found = await offers.offers_to(fair.coalition.desk, fair.coalition.callers[partner], identified(card), at=at)
    return {one.code: one for one in found}


async def test_a_closed_club_is_not_there_for_who_is_not_in_it(fair: Fair) -> None:
    """By status, by invitation (a badge), by what was bought: the offer and its use open together."""
    await fair.market.publish(
        bonus("for-gold", 10, who={"tiers": ["GOLD"]}, stack={"priority": 1}),
        bonus("for-club", 20, who={"badges": ["club:bakers"]}, stack={"priority": 2}),
        bonus(
            "for-regulars", 30, who={"counters": [{"counter": "partner.ever.count", "min": 2}]}, stack={"priority": 3}
        ),
        bonus("for-families", 40, who={"attributes": ["LARGE_FAMILY"]}, stack={"priority": 4}),
        bonus("for-all", 50, stack={"priority": 5}),
        bonus(
            "for-insiders", 1, stack={"priority": 6},
            conditions=[{"id": "c", "label": texts(), "cel": '"insider" in member.badges'}],
        ),
    )  # fmt: skip
    card = await fair.coalition.add_member()
    assert list(await seen(fair, card)) == ["for-all"]
    first = await fair.market.buy(card, a_receipt(10_000, at=NOON))
    assert first.receipt.awarded_points == 100 + 50
    async with fair.coalition.database.transaction() as connection:
        await badges.give(connection, card.member_id, "club:bakers", cause=uuid4(), at=NOON)
        await attributes.verify(
            connection, card.member_id, "LARGE_FAMILY", evidence="CERTIFICATE", verifier="partner:1", at=NOON,
            expires_at=NOON + 10 * DAY,
        )  # fmt: skip
    second = await fair.market.buy(card, a_receipt(10_000, at=NOON + DAY))
    assert second.receipt.awarded_points == 100 + 50 + 20 + 40
    assert list(await seen(fair, card, at=NOON + 2 * DAY)) == ["for-all", "for-club", "for-families", "for-regulars"]
    third = await fair.market.buy(card, a_receipt(10_000, at=NOON + 11 * DAY))
    assert third.receipt.awarded_points == 100 + 50 + 20 + 30  # the evidence has ended
    assert "for-families" not in await seen(fair, card, at=NOON + 11 * DAY)


async def test_of_an_offer_it_is_said_what_it_takes_and_whether_that_is_so_now(fair: Fair) -> None:
    await fair.market.publish(
        bonus("mondays", 10, when={"weekdays": [1]}, what={"categories": ["bread"]}), stack_of("other", 20)
    )
    card = await fair.coalition.add_member()
    monday = (await seen(fair, card))["mondays"]
    assert (monday.is_now, monday.kind) == (True, offers.PROMOTION)
    assert sorted(str(one.is_so) for one in monday.asks) == ["None", "True"]
    assert all(set(one.text) == {"en", "ru", "ro"} for one in monday.asks)
    tuesday = (await seen(fair, card, at=NOON + DAY))["mondays"]
    assert not tuesday.is_now
    assert (await seen(fair, card))["other"].asks == ()


def stack_of(code: str, priority: int) -> dict[str, Any]:
    return bonus(code, 5, stack={"priority": priority})


async def test_a_personal_offer_counts_after_the_member_has_said_yes(fair: Fair) -> None:
    await fair.market.publish(bonus("yours", 70, who={"segments": ["sleepers"], "badges": [offers.ACTIVATED + "test"]}))
    card, other = await fair.coalition.add_member(), await fair.coalition.add_member()
    async with fair.coalition.database.transaction() as connection:
        await segments.take(connection, "sleepers", [card.member_id], author=fair.market.maker, at=NOON - DAY)
    shown = (await seen(fair, card))["yours"]
    assert (shown.activation, shown.is_now) == ("test", False)
    assert await seen(fair, other) == {}
    assert (await fair.market.buy(card, a_receipt(10_000, at=NOON))).receipt.awarded_points == 100
    desk, caller = fair.coalition.desk, fair.coalition.callers["bakery"]
    with pytest.raises(offers.OfferUnknown):
        await offers.activate(desk, caller, identified(other), "test", at=NOON)
    with pytest.raises(offers.OfferUnknown):
        await offers.activate(desk, caller, identified(card), "nothing", at=NOON)
    for _ in range(2):
        await offers.activate(desk, caller, identified(card), "test", at=NOON + DAY)
    async with fair.coalition.database.reading() as connection:
        assert await offers.promotions_activated(connection, card.member_id, at=NOON + DAY) == ["test"]
    assert (await seen(fair, card, at=NOON + DAY))["yours"].is_now
    assert (await fair.market.buy(card, a_receipt(10_000, at=NOON + DAY))).receipt.awarded_points == 170


async def test_coupons_rewards_and_stamps_are_shown_where_they_are_good(fair: Fair) -> None:
    bakery, grocer = (fair.coalition.callers[code].partner_id for code in ("bakery", "grocer"))
    card = await fair.coalition.add_member()
    async with fair.coalition.database.transaction() as connection:
        for code, honoured in (("next", (grocer,)), ("any", ())):
            draft = BatchDraft(
                code, EARLIER, NOON + 60 * DAY, bound_to=batches.MEMBER, honoured_by=honoured, lasts_days=14
            )
            await batches.add(connection, fair.coalition.vault, draft, actor=fair.market.maker, at=EARLIER)
        await grants.define_stamps(connection, "coffee", "ten are a coffee", actor=fair.market.maker, at=EARLIER)
        names = {"en": "Mug", "ru": "Кружка", "ro": "Cană"}
        draft_reward = RewardDraft(bakery, "mug", names, 100, 3, EARLIER, NOON + 9 * DAY)
        await rewards.add(connection, draft_reward, actor=fair.market.maker, at=EARLIER)
        given = [
            Grant("r", 1, "COUPON", "next", 1),
            Grant("r", 1, "COUPON", "any", 1),
            Grant("r", 1, "STAMP", "coffee", 4),
        ]
        source = Source(card.member_id, bakery, 1, uuid4(), NOON)
        await grants.give(connection, fair.coalition.vault, given, source=source)
    await fair.market.publish(
        document("use-next", {"type": "discount_percent", "rate_bp": 5_000}, codes={"required": "next"})
    )
    here, there = await seen(fair, card), await seen(fair, card, partner="grocer")
    assert {code: one.kind for code, one in here.items()} == {"any": "COUPON", "mug": "REWARD", "coffee": "STAMPS"}
    assert set(there) == {"use-next", "any", "next", "coffee"}
    assert there["next"].titles["en"] == "use-next"
    assert here["mug"].points == 100
    assert here["coffee"].quantity == 4
    assert here["any"].valid_until == NOON + 14 * DAY
    ref = there["next"].ref
    assert ref is not None
    assert ref.startswith(coupons.REF + "_")
    later = await seen(fair, card, at=NOON + 14 * DAY)
    assert set(later) == {"coffee"}


async def test_where_no_agreement_is_in_force_nothing_is_offered(fair: Fair) -> None:
    card = await fair.coalition.add_member()
    with pytest.raises(callers.AgreementMissing):
        await seen(fair, card, at=NOON - 500 * DAY)
