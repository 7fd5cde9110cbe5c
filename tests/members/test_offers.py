"""Promotional codes of plans: what they take off, for how long, for whom, how often; and that guessing finds none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.clock import wall
from kit.database import Database
from kit.secrets import Vault
from members.subscription import entitlements, offers, subscriptions
from members.subscription.discounts import Terms
from members.subscription.offers import (
    WRONG_CODES,
    OfferDraft,
    PlanCodeElsewhere,
    PlanCodeInvalid,
    PlanCodesLimited,
    PlanCodeUsed,
    PlanOfferInvalid,
    Shown,
)
from tests.members.subscribers import DAY, START, Club, Scripted, a_club

template = a_club()


@pytest.fixture
async def shop(database: Database, vault: Vault) -> Club:
    return Club(database, vault, Scripted())


async def offer(club: Club, code: str = "half", **more: Any) -> None:
    said: dict[str, Any] = {"kind": "PERCENT", "percent_bp": 5000, "valid_from": START, "valid_until": START + 90 * DAY}
    draft = OfferDraft(code, **(said | more))
    await club.do(offers.add, club.vault, draft, actor="marketer")


async def drawn(club: Club, code: str = "half", count: int = 1) -> list[str]:
    found: list[str] = await club.do(offers.draw, club.vault, code, count, actor="marketer")
    return found


async def shown(club: Club, member_id: int, code: str) -> Shown:
    return await offers.look(club.database, club.vault, code, member_id=member_id, at=club.at, now=wall())


async def take(club: Club, member_id: int, code: str, plan: str = "plus", **more: Any) -> subscriptions.Subscription:
    return await club.subscribe(member_id, plan, code=await shown(club, member_id, code), **more)


async def sums(club: Club) -> list[int]:
    return [gross for _, _, gross in await club.invoices()]


@settings(max_examples=30)
@given(
    st.integers(1, 10**9),
    st.one_of(
        st.builds(lambda bp: Terms("PERCENT", 1, percent_bp=bp), st.integers(1, 9_999)),
        st.builds(lambda minor: Terms("AMOUNT", 1, amount_minor=minor, currency="EUR"), st.integers(1, 10**10)),
        st.just(Terms("FREE", 1)),
    ),
)
def test_a_discount_is_neither_below_zero_nor_above_the_price(price: int, terms: Terms) -> None:
    assert 0 <= terms.off(price) <= price
    if terms.kind == "PERCENT":
        assert abs(terms.off(price) * 10_000 - price * (terms.percent_bp or 0)) * 2 <= 10_000


async def test_a_code_makes_so_many_periods_cheaper_and_then_the_price_is_the_price(shop: Club) -> None:
    await offer(shop, periods=2)
    [code] = await drawn(shop)
    member_id = await shop.person()
    its = await take(shop, member_id, code.lower().replace("-", " "))
    await shop.pass_time(START + 70 * DAY)
    assert await sums(shop) == [500, 500, 1000]
    assert await shop.status(its) == "ACTIVE"
    assert [one.amount_minor for one in shop.told] == [500, 1000]  # what is announced is what is charged
    refunds = (await shop.do(subscriptions.preview_cancellation, member_id, 1, at_once=True)).credit_minor
    assert 0 < refunds < 1000


async def test_a_free_period_is_given_at_once_and_an_upgrade_in_it_credits_nothing(shop: Club) -> None:
    await offer(shop, "first-free", kind="FREE", percent_bp=None, word="SUMMER-26")
    member_id = await shop.person()
    its = await take(shop, member_id, "summer-26")
    assert (await shop.status(its), await sums(shop)) == ("ACTIVE", [])
    async with shop.database.reading() as connection:
        [given_] = await entitlements.entitled(connection, member_id, at=shop.at)
    assert given_.is_trial  # what is used meanwhile the operator pays: there is no fee
    await shop.pass_time(START + 15 * DAY)
    preview = await shop.do(subscriptions.preview_change, member_id, 1, plan="family", interval="MONTH")
    assert [(line.kind, line.amount_minor) for line in preview.lines] == [("PRORATION_DEBIT", preview.due_minor)]
    await shop.pass_time(START + 32 * DAY)
    assert await sums(shop) == [1000]


async def test_a_cheap_period_is_worth_what_it_was_had_for_when_it_is_upgraded(shop: Club) -> None:
    await offer(shop)
    [code] = await drawn(shop)
    member_id = await shop.person()
    await take(shop, member_id, code)
    await shop.pass_time(0 * DAY)
    await shop.pass_time(START + 10 * DAY)
    preview = await shop.do(subscriptions.preview_change, member_id, 1, plan="family", interval="MONTH")
    lines = {line.kind: line.amount_minor for line in preview.lines}
    assert lines == {"PRORATION_CREDIT": -339, "PRORATION_DEBIT": 1355}  # 21 of 31 days of 5.00 and of 20.00
    await shop.do(subscriptions.change, shop.provider, member_id, 1, plan="family", interval="MONTH")
    await shop.pass_time(timedelta(hours=1))
    assert await sums(shop) == [500, preview.due_minor]


async def test_a_code_is_for_the_plan_and_interval_that_it_says(shop: Club) -> None:
    await offer(shop, plan="family", interval="MONTH", is_for_new=True)
    one, two = await drawn(shop, count=2)
    member_id = await shop.person()
    before = await shop.database.pool.fetchval("SELECT count(*) FROM members.subscription")
    with pytest.raises(PlanCodeElsewhere):
        await take(shop, member_id, one, "plus")
    with pytest.raises(PlanCodeElsewhere):
        await shop.subscribe(member_id, "family", "YEAR", code=await shown(shop, member_id, one))
    assert await shop.database.pool.fetchval("SELECT count(*) FROM members.subscription") == before
    assert await shop.database.pool.fetchval("SELECT uses FROM members.plan_offer") == 0
    its = await take(shop, member_id, one, "family")
    await shop.pass_time(timedelta(hours=1))
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    with pytest.raises(PlanCodeElsewhere):  # they had a plan
        await take(shop, member_id, two, "family")


async def test_an_offer_is_used_once_by_a_person_and_is_free_again_when_nobody_paid(shop: Club) -> None:
    await offer(shop, word="WELCOME")
    member_id = await shop.person()
    shop.provider.script = ["HARD"]  # type: ignore[attr-defined]
    its = await take(shop, member_id, "WELCOME")
    await shop.pass_time(2 * DAY)
    assert await shop.status(its) == "ENDED"
    shop.provider.script = ["PAID"]  # type: ignore[attr-defined]
    its = await take(shop, member_id, "WELCOME")
    await shop.pass_time(1 * DAY)
    assert await shop.status(its) == "ACTIVE"
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    with pytest.raises(PlanCodeUsed):
        await take(shop, member_id, "WELCOME")
    assert await shop.database.pool.fetchval("SELECT uses FROM members.plan_offer") == 1


@pytest.mark.parametrize("is_unique", [True, False])
async def test_of_many_at_once_no_more_use_a_code_than_may(shop: Club, is_unique: bool) -> None:
    await offer(shop, "few", most_uses=None if is_unique else 2, word=None if is_unique else "ONLY-TWO")
    code = (await drawn(shop, "few"))[0] if is_unique else "ONLY-TWO"
    people = [await shop.person() for _ in range(5)]
    seen = [await shown(shop, one, code) for one in people]  # all of them before any takes it
    done = await asyncio.gather(
        *(shop.subscribe(one, code=each) for one, each in zip(people, seen, strict=True)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in done) == (1 if is_unique else 2)
    assert {type(one) for one in done if isinstance(one, BaseException)} == {PlanCodeUsed}
    row = await shop.database.pool.fetchrow(
        "SELECT uses, (SELECT count(*) FROM members.offer_use) AS rows FROM members.plan_offer"
    )
    assert row["uses"] == row["rows"] == (1 if is_unique else 2)


async def test_whoever_guesses_is_not_answered_for_a_while_though_the_code_is_right(shop: Club) -> None:
    await offer(shop, word="RIGHT-ONE")
    member_id, other = await shop.person(), await shop.person()
    for number in range(WRONG_CODES):
        with pytest.raises(PlanCodeInvalid):
            await shown(shop, member_id, f"WRONG-{number}")
    with pytest.raises(PlanCodesLimited):
        await shown(shop, member_id, "RIGHT-ONE")
    assert (await shown(shop, other, "RIGHT-ONE")).is_word
    later = wall() + timedelta(hours=2)
    found = await offers.look(shop.database, shop.vault, "RIGHT-ONE", member_id=member_id, at=shop.at, now=later)
    assert found.is_word
    alerts = await shop.database.pool.fetchval(
        "SELECT count(*) FROM kit.audit_trail WHERE action = 'PLAN_CODES_GUESSED'"
    )
    assert alerts == 1


async def test_of_many_guesses_at_once_no_more_are_looked_at_than_one_by_one(shop: Club) -> None:
    await offer(shop, word="RIGHT-ONE")
    member_id = await shop.person()
    guesses = [f"WRONG-{number}" for number in range(3 * WRONG_CODES)]
    said = await asyncio.gather(*(shown(shop, member_id, code) for code in guesses), return_exceptions=True)
    assert [type(one) for one in said].count(PlanCodeInvalid) == WRONG_CODES
    assert {type(one) for one in said} == {PlanCodeInvalid, PlanCodesLimited}


async def test_a_stopped_offer_and_one_that_is_over_are_no_good_and_what_was_used_stays(shop: Club) -> None:
    await offer(shop, periods=2)
    one, two = await drawn(shop, count=2)
    await take(shop, await shop.person(), one)
    await shop.do(offers.stop, "half", actor="marketer")
    with pytest.raises(PlanCodeInvalid):
        await shown(shop, await shop.person(), two)
    await shop.pass_time(START + 40 * DAY)
    assert await sums(shop) == [500, 500]


@pytest.mark.parametrize(
    "wrong",
    [{"percent_bp": 10_000}, {"percent_bp": None}, {"amount_minor": 5}, {"kind": "AMOUNT", "percent_bp": None},
     {"periods": 0}, {"periods": 25}, {"valid_until": START}, {"word": "x"}, {"code": "Half"}, {"most_uses": 0}],
)  # fmt: skip
async def test_an_offer_that_cannot_be_is_refused_and_nothing_written(shop: Club, wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanOfferInvalid):
        await offer(shop, **wrong)
    assert await shop.database.pool.fetchval("SELECT count(*) FROM members.plan_offer") == 0
