"""Presents: paid by one, served to another from now on or after what runs, given once, and taken back while nobody has
them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kit.clock import wall
from kit.database import Database
from kit.secrets import Vault
from members.subscription import charging, entitlements, gifts, offers, subscriptions
from members.subscription.gifts import Gift, GiftInvalid, GiftUnknown, GiftUsed, GiftWish
from members.subscription.offers import PlanCodeInvalid, PlanCodeUsed, Shown
from members.subscription.providers import Told
from members.subscription.subscriptions import Subscription, SubscriptionState
from tests.members.subscribers import DAY, START, Club, Scripted, a_club

HOUR = timedelta(hours=1)


template = a_club()


@pytest.fixture
async def shop(database: Database, vault: Vault) -> Club:
    return Club(database, vault, Scripted())


async def buy(club: Club, giver_id: int, plan: str = "plus", intervals: int = 3) -> Gift:
    wish = GiftWish(giver_id, plan, "EUR", "MONTH", intervals, "UTC")
    found: Gift = await club.do(gifts.buy, club.vault, club.provider, wish)
    return found


async def shown(club: Club, member_id: int, gift: Gift) -> Shown:
    return await offers.look(
        club.database, club.vault, gift.code or "", member_id=member_id, at=club.at, now=wall() + timedelta(days=9)
    )


async def redeem(club: Club, member_id: int, gift: Gift) -> Subscription:
    seen = await shown(club, member_id, gift)
    its: Subscription = await club.do(gifts.redeem, club.provider, seen, member_id=member_id, zone="UTC")
    return its


async def sums(club: Club) -> list[tuple[str, int]]:
    return [(state, gross) for _, state, gross in await club.invoices()]


async def entitled(club: Club, member_id: int) -> list[str]:
    async with club.database.reading() as connection:
        return [one.plan for one in await entitlements.entitled(connection, member_id, at=club.at) if not one.is_trial]


async def test_a_present_is_good_when_it_is_paid_and_gives_its_periods_to_whoever_enters_it(shop: Club) -> None:
    giver, friend = await shop.person(), await shop.person()
    gift = await buy(shop, giver)
    with pytest.raises(PlanCodeInvalid):
        await shown(shop, friend, gift)
    await shop.pass_time(HOUR)
    assert await sums(shop) == [("PAID", 3000)]
    assert await entitled(shop, giver) == []
    async with shop.database.reading() as connection:
        assert await subscriptions.of_member(connection, giver) == []  # and may take a plan of their own
    its = await redeem(shop, friend, gift)
    assert (await shop.status(its), await entitled(shop, friend)) == ("ACTIVE", ["plus"])
    with pytest.raises(PlanCodeInvalid):
        await shown(shop, giver, gift)
    for use_case, more in (
        (subscriptions.change, {"plan": "family", "interval": "MONTH"}), (subscriptions.pause, {"until": START + 60 * DAY}),
        (subscriptions.cancel, {"at_once": False}),
    ):  # fmt: skip
        first = (shop.provider,) if use_case is subscriptions.change else ()
        with pytest.raises(SubscriptionState):
            await shop.do(use_case, *first, friend, its.subscription_no, **more)
    await shop.pass_time(START + 70 * DAY)
    assert (await shop.status(its), await entitled(shop, friend)) == ("CANCELLING", ["plus"])
    await shop.pass_time(START + 95 * DAY)
    assert (await shop.status(its), await entitled(shop, friend)) == ("ENDED", [])
    assert await sums(shop) == [("PAID", 3000)]  # nobody was charged for anything else


async def test_a_present_waits_for_the_end_of_what_runs_and_then_everything_is_as_before(shop: Club) -> None:
    giver, friend = await shop.person(), await shop.person()
    its = await shop.subscribe(friend)
    gift = await buy(shop, giver, "family", 2)
    await shop.pass_time(10 * DAY)
    await redeem(shop, friend, gift)
    assert await entitled(shop, friend) == ["plus"]
    await shop.pass_time(START + 35 * DAY)
    assert await entitled(shop, friend) == ["family"]
    await shop.pass_time(START + 93 * DAY)
    assert (await entitled(shop, friend), await shop.status(its)) == (["plus"], "ACTIVE")
    assert await sums(shop) == [("PAID", 1000), ("PAID", 4000), ("PAID", 1000)]
    assert [one.amount_minor for one in shop.told] == [0, 0, 1000]


async def test_who_was_leaving_has_the_present_to_its_end_and_may_go_on_with_a_card(shop: Club) -> None:
    giver = await shop.person()
    gift = await buy(shop, giver, intervals=1)
    await shop.pass_time(HOUR)
    friend = await shop.person()
    its = await redeem(shop, friend, gift)
    assert await shop.status(its) == "CANCELLING"
    await shop.do(subscriptions.stay, friend, its.subscription_no)
    await shop.pass_time(START + 33 * DAY)
    assert await sums(shop) == [("PAID", 1000), ("PAID", 1000)]
    second = await buy(shop, giver, intervals=1)
    await shop.do(subscriptions.cancel, friend, its.subscription_no, at_once=False)
    await shop.pass_time(HOUR)
    await redeem(shop, friend, second)
    await shop.pass_time(START + 63 * DAY)
    assert await shop.status(its) == "CANCELLING"
    await shop.pass_time(START + 95 * DAY)
    assert await shop.status(its) == "ENDED"


async def test_who_goes_on_without_a_card_is_waited_for_and_charged_when_there_is_one(shop: Club) -> None:
    from tests.members import people

    gift = await buy(shop, await shop.person(), intervals=1)
    await shop.pass_time(HOUR)
    friend = (await people.enrol(shop.database, shop.vault)).member_id  # told nobody a card
    its = await redeem(shop, friend, gift)
    await shop.do(subscriptions.stay, friend, its.subscription_no)
    await shop.pass_time(START + 33 * DAY)
    assert (await shop.status(its), await sums(shop)) == ("GRACE", [("PAID", 1000), ("OPEN", 1000)])
    await shop.do(subscriptions.give_means, shop.provider, friend, token="card", mark=None, text_version="1")
    await shop.pass_time(HOUR)
    assert await shop.status(its) == "ACTIVE"


async def test_a_present_that_nobody_has_is_taken_back_whole_and_one_that_somebody_has_is_not(shop: Club) -> None:
    giver, friend = await shop.person(), await shop.person()
    gift, other, unpaid = [await buy(shop, giver) for _ in range(3)]
    await shop.do(gifts.take_back, giver, unpaid.gift_no)
    await shop.pass_time(5 * DAY)
    with pytest.raises(GiftUnknown):
        await shop.do(gifts.take_back, friend, gift.gift_no)
    taken = await shop.do(gifts.take_back, giver, gift.gift_no)
    assert taken.state == "TAKEN_BACK"
    assert (await shop.do(gifts.take_back, giver, gift.gift_no)) == taken
    await shop.pass_time(HOUR)
    assert list(shop.provider.refunds.values()) == [3000]  # type: ignore[attr-defined]
    with pytest.raises(PlanCodeInvalid):
        await shown(shop, friend, gift)
    await redeem(shop, friend, other)
    with pytest.raises(GiftUsed):
        await shop.do(gifts.take_back, giver, other.gift_no)
    async with shop.database.reading() as connection:
        states = [one.state for one in await gifts.of_giver(connection, giver)]
    assert states == ["VOID", "USED", "TAKEN_BACK"]
    assert await sums(shop) == [("CREDITED", 3000), ("PAID", 3000), ("VOID", 3000)]


async def test_of_many_at_once_one_gets_the_present_and_nobody_when_it_is_taken_back_first(shop: Club) -> None:
    giver = await shop.person()
    gift = await buy(shop, giver)
    await shop.pass_time(HOUR)
    people = [await shop.person() for _ in range(4)]
    seen = [await shown(shop, one, gift) for one in people]
    done = await asyncio.gather(
        *(shop.do(gifts.redeem, shop.provider, each, member_id=one, zone="UTC") for one, each in zip(people, seen, strict=True)),
        shop.do(gifts.take_back, giver, gift.gift_no),
        return_exceptions=True,
    )  # fmt: skip
    failed = [type(one) for one in done if isinstance(one, BaseException)]
    assert len(failed) == 4
    assert set(failed) <= {PlanCodeUsed, GiftUsed}
    given = await shop.database.pool.fetchval("SELECT count(*) FROM members.gift_use")
    back = await shop.database.pool.fetchval("SELECT count(*) FROM members.credit_note")
    assert given + back == 1


async def test_a_bank_that_takes_the_payment_back_takes_nothing_from_who_got_it(shop: Club) -> None:
    giver, friend = await shop.person(), await shop.person()
    gift = await buy(shop, giver)
    await shop.pass_time(HOUR)
    its = await redeem(shop, friend, gift)
    [key] = shop.provider.charged  # type: ignore[attr-defined]
    await shop.pass_time(40 * DAY)
    await shop.do(charging.hear, shop.provider, [Told(key, "CHARGEBACK", f"pay-{key}")])
    await shop.pass_time(10 * DAY)
    assert (await shop.status(its), await entitled(shop, friend)) == ("ACTIVE", ["plus"])


async def test_a_present_of_nothing_is_none(shop: Club) -> None:
    giver = await shop.person()
    for wrong in (0, 13):
        with pytest.raises(GiftInvalid):
            await buy(shop, giver, intervals=wrong)
    counts: Any = await shop.database.pool.fetchrow(
        "SELECT (SELECT count(*) FROM members.subscription) AS s, (SELECT count(*) FROM members.invoice) AS i"
    )
    assert tuple(counts) == (0, 0)
