"""A member brings another: both are given something once, when it was meant and kept; rings and oneself never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.database import Database
from kit.secrets import Vault
from members import erasure, households
from members.cards import IssuedCard
from members.sharing import SharingRules
from partners import callers
from partners.coupons import codes, guesses
from partners.coupons.guesses import Asking
from partners.decisions import preparing
from partners.mechanics import documents, invitations, inviting
from partners.mechanics.documents import InvitationDocument
from partners.mechanics.invitations import Advance
from partners.mechanics.inviting import Arrival
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.receipts.receipts import ReceiptRef
from partners.returns import returns
from partners.returns.returning import Wish
from tests.builders import a_receipt, identified
from tests.partners.mechanics.fair import DAY, NOON, Fair, opened
from tests.partners.promotions.market import bonus
from tests.partners.tills.test_merged import Merged

ROLE = 'event.words["role"] == "{}"'


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with opened(database, vault) as fair:
        await fair.agree(documents.INVITATION, "invitations", minimum_minor=1_000, per_year=2)
        await fair.market.publish(reward("brings", "referrer", 300), reward("comes", "referee", 100, 20))
        yield fair


def reward(code: str, role: str, points: int, priority: int = 10) -> dict[str, Any]:
    """Points for one of the two, there at once."""
    conditions = [{"id": "role", "label": {"en": role, "ru": role, "ro": role}, "cel": ROLE.format(role)}]
    effect = {"type": "points_fixed", "points": points, "activation_days": 0, "expiry": {"months": 12}}
    rule = bonus(code, points, trigger="referral_qualified", conditions=conditions, stack={"priority": priority})
    return rule | {"effect": effect}


async def code_of(fair: Fair, card: IssuedCard, device: str | None = None) -> str:
    return await invitations.invite(
        fair.coalition.database, fair.coalition.vault, card.member_id, device=device, at=NOON
    )


async def come(
    fair: Fair, card: IssuedCard, code: str, *, at: datetime = NOON, device: str | None = None, now: datetime = NOON
) -> None:
    await invitations.accept(
        fair.coalition.database, fair.coalition.vault, code, asking=Asking(card.member_id, None, 101),
        partner_id=fair.coalition.callers["bakery"].partner_id, device=device, at=at, now=now,
    )  # fmt: skip


async def buy(fair: Fair, card: IssuedCard, total: int = 2_000, *, at: datetime = NOON) -> Recorded:
    directory = await fair.coalition.desk.directory.get()
    caller = fair.coalition.callers["bakery"]
    prepared = preparing.prepare(directory, caller, identified(card), a_receipt(total, at=at), at=at, idem_key=None)
    return await purchases.accrue(fair.coalition.desk, prepared)


async def give_back(fair: Fair, bought: Recorded, amount: int | None, at: datetime) -> None:
    caller = fair.coalition.callers["bakery"]
    place = callers.place_of(await fair.coalition.desk.directory.get(), caller, "1", "1")
    own = ReceiptRef("1", "1", at.date(), f"back-{uuid4().hex[:12]}")
    original = await returns.find_original(
        fair.coalition.desk, caller, place=(bought.receipt.holder_id, bought.receipt.seq)
    )
    await returns.return_purchase(
        fair.coalition.desk, caller, returns.ReturnSlip(own.reference, place, own, at), original,
        Wish(amount_minor=amount), idem_key=uuid4(), at=at,
    )  # fmt: skip


async def advance(fair: Fair, at: datetime) -> Advance:
    return await invitations.advance(fair.coalition.desk, at=at)


async def pair(fair: Fair) -> tuple[IssuedCard, IssuedCard]:
    """A referrer and whoever came by their code."""
    referrer, referee = await fair.coalition.add_member(), await fair.coalition.add_member()
    await come(fair, referee, await code_of(fair, referrer))
    return referrer, referee


async def test_both_are_given_something_when_the_return_window_of_the_first_purchase_is_over(fair: Fair) -> None:
    referrer, referee = await pair(fair)
    assert await advance(fair, NOON) == Advance(0, 0, 0)
    await buy(fair, referee, at=NOON + DAY)
    assert await advance(fair, NOON + DAY) == Advance(1, 0, 0)
    assert await advance(fair, NOON + 15 * DAY - timedelta(seconds=1)) == Advance(0, 0, 0)
    assert [await fair.available(one, NOON + 14 * DAY) for one in (referrer, referee)] == [0, 0]
    [seen] = await invitations.brought(fair.coalition.database, referrer.member_id)
    assert (seen.state, seen.qualifies_at) == ("QUALIFYING", NOON + 15 * DAY)
    at = NOON + 15 * DAY
    assert await advance(fair, at) == Advance(0, 1, 0)
    assert await fair.available(referrer, at) == 300
    assert await fair.available(referee, at) == 100 + 20  # and what the purchase earned itself
    before = await fair.everything()
    assert await advance(fair, at + DAY) == Advance(0, 0, 0)
    assert await fair.everything() == before


async def test_a_budget_of_the_referrer_binds_what_everybody_they_bring_is_given_together(fair: Fair) -> None:
    await fair.market.budget("bringing", limit=700, scopes=["referrer"], on_exceed="partial")
    await fair.market.publish(
        reward("brings", "referrer", 300) | {"caps": ["bringing"]},
        reward("comes", "referee", 100, 20) | {"caps": ["bringing"]},
    )
    referrer, other = [await fair.coalition.add_member() for _ in range(2)]
    came = []
    for who in (referrer, referrer, other):
        came.append(await fair.coalition.add_member())
        await come(fair, came[-1], await code_of(fair, who))
        await buy(fair, came[-1], at=NOON + DAY)
    await advance(fair, NOON + DAY)
    at = NOON + 15 * DAY
    assert await advance(fair, at) == Advance(0, 3, 0)
    assert [await fair.available(one, at) for one in (referrer, other)] == [500, 300]
    assert await fair.market.used("bringing") == {
        (f"referrer:{referrer.member_id}", ""): 700, (f"referrer:{other.member_id}", ""): 400,
    }  # fmt: skip


async def test_a_purchase_that_goes_back_rewards_nobody_and_another_may(fair: Fair) -> None:
    referrer, referee = await pair(fair)
    bought = await buy(fair, referee, at=NOON + DAY)
    await advance(fair, NOON + DAY)
    await give_back(fair, bought, 1_001, NOON + 2 * DAY)
    assert await advance(fair, NOON + 15 * DAY) == Advance(0, 0, 0)
    assert await fair.available(referrer, NOON + 15 * DAY) == 0
    await buy(fair, referee, 1_000, at=NOON + 16 * DAY)
    assert await advance(fair, NOON + 16 * DAY) == Advance(1, 0, 0)
    assert await advance(fair, NOON + 30 * DAY) == Advance(0, 1, 0)
    assert await fair.available(referrer, NOON + 30 * DAY) == 300


async def test_a_small_purchase_counts_nothing_and_who_buys_nothing_lapses(fair: Fair) -> None:
    referrer, referee = await pair(fair)
    await buy(fair, referee, 999, at=NOON + DAY)
    assert await advance(fair, NOON + 30 * DAY - timedelta(seconds=1)) == Advance(0, 0, 0)
    assert await advance(fair, NOON + 30 * DAY) == Advance(0, 0, 1)
    await buy(fair, referee, at=NOON + 31 * DAY)
    assert await advance(fair, NOON + 60 * DAY) == Advance(0, 0, 0)
    assert await fair.available(referrer, NOON + 60 * DAY) == 0


async def test_who_buys_is_found_behind_many_who_bought_nothing(fair: Fair) -> None:
    """A call that looked at the first so many never came to the others: they lapsed though they had bought."""
    for _ in range(3):
        await pair(fair)
    referrer, referee = await pair(fair)
    await buy(fair, referee, at=NOON + DAY)
    desk = fair.coalition.desk
    assert await invitations.advance(desk, at=NOON + DAY, limit=2) == Advance(1, 0, 0)
    assert await invitations.advance(desk, at=NOON + 30 * DAY, limit=2) == Advance(0, 1, 2)
    assert await fair.available(referrer, NOON + 30 * DAY) == 300


async def test_nobody_who_bought_in_time_lapses_before_they_were_found(fair: Fair) -> None:
    pairs = [await pair(fair) for _ in range(3)]
    for _, referee in pairs:
        await buy(fair, referee, at=NOON + DAY)
    at = NOON + 30 * DAY
    done = [await invitations.advance(fair.coalition.desk, at=at, limit=2) for _ in range(3)]
    assert sum(one.rewarded for one in done) == 3
    assert [await fair.available(referrer, at) for referrer, _ in pairs] == [300] * 3


async def test_of_many_that_are_due_none_is_rewarded_whose_purchase_went_back(fair: Fair) -> None:
    """As many as one call looks at went back, and another behind them: what is due is only what was kept."""
    pairs = [await pair(fair) for _ in range(3)]
    bought = [await buy(fair, referee, at=NOON + DAY) for _, referee in pairs]
    await advance(fair, NOON + DAY)
    for one in bought:
        await give_back(fair, one, None, NOON + 2 * DAY)
    at = NOON + 15 * DAY
    assert [await invitations.advance(fair.coalition.desk, at=at, limit=2) for _ in range(2)] == [Advance(0, 0, 0)] * 2
    assert [await fair.available(referrer, at) for referrer, _ in pairs] == [0] * 3


@pytest.mark.parametrize(("who", "given"), [("referee", [0, 0]), ("referrer", [0, 100])])
async def test_who_has_left_meanwhile_is_given_nothing_nor_is_anybody_for_who_left(
    fair: Fair, who: str, given: list[int]
) -> None:
    referrer, referee = await pair(fair)
    await buy(fair, referee, at=NOON + DAY)
    await advance(fair, NOON + DAY)
    at = NOON + 15 * DAY
    before = [await fair.available(one, at) for one in (referrer, referee)]
    async with fair.coalition.database.transaction() as connection:
        member_id = (referee if who == "referee" else referrer).member_id
        await erasure.forget(connection, member_id, by="test", at=NOON + 2 * DAY)
    assert await advance(fair, at) == Advance(0, 1, 0)
    after = [await fair.available(one, at) for one in (referrer, referee)]
    assert [now - was for now, was in zip(after, before, strict=True)] == given


async def test_who_turns_out_to_be_the_referrer_is_given_nothing(fair: Fair) -> None:
    referrer, referee = await pair(fair)
    await buy(fair, referee, at=NOON + DAY)
    await advance(fair, NOON + DAY)
    await Merged(fair.coalition, old=referee, kept=referrer).merge()
    assert await advance(fair, NOON + 15 * DAY) == Advance(0, 1, 0)
    assert await fair.coalition.desk.pool.fetchval("SELECT count(*) FROM partners.moment") == 0


async def test_who_leaves_and_comes_again_is_no_newcomer(fair: Fair) -> None:
    """Deleted and opened again, the same friend was worth a reward each time."""
    referrer = await fair.coalition.add_member()
    code, phone = await code_of(fair, referrer), "+49 30 1234567"
    friend = await fair.coalition.add_member(phone=phone)
    await come(fair, friend, code)
    await buy(fair, friend, at=NOON + DAY)
    await advance(fair, NOON + DAY)
    at = NOON + 15 * DAY
    assert await advance(fair, at) == Advance(0, 1, 0)
    async with fair.coalition.database.transaction() as connection:
        await erasure.forget(connection, friend.member_id, by="test", at=at)
    again = await fair.coalition.add_member(phone=phone)
    await fair.refused(come(fair, again, code), invitations.InvitationInvalid)
    assert await fair.available(referrer, at) == 300


async def test_many_who_go_on_at_once_reward_once(fair: Fair) -> None:
    referrer, referee = await pair(fair)
    await buy(fair, referee, at=NOON + DAY)
    at = NOON + 15 * DAY
    await advance(fair, NOON + DAY)
    await asyncio.gather(*[advance(fair, at) for _ in range(5)])
    assert await fair.available(referrer, at) == 300
    assert await fair.coalition.desk.pool.fetchval("SELECT count(*) FROM partners.moment") == 2


async def test_nobody_brings_themselves_their_household_or_who_brought_them(fair: Fair) -> None:
    referrer, referee = await pair(fair)
    third = await fair.coalition.add_member()
    await come(fair, third, await code_of(fair, referee))
    own = await code_of(fair, referrer)
    await fair.refused(come(fair, referrer, own), invitations.InvitationInvalid)
    for brought in (referee, third):
        await fair.refused(come(fair, referrer, await code_of(fair, brought)), invitations.InvitationInvalid)
    await fair.refused(come(fair, referee, own), invitations.AlreadyInvited)
    one, other = await fair.coalition.add_member(), await fair.coalition.add_member()
    rules = SharingRules(is_enabled=True)
    async with fair.coalition.database.transaction() as connection:
        shared = await households.found(connection, fair.coalition.vault, rules, member_id=one.member_id, at=NOON)
        await households.join(
            connection, fair.coalition.vault, rules, household_id=shared.member_id, member_id=other.member_id, at=NOON
        )
    await fair.refused(come(fair, other, await code_of(fair, one)), invitations.InvitationInvalid)


async def test_one_device_brings_nobody(fair: Fair) -> None:
    referrer, referee = await fair.coalition.add_member(), await fair.coalition.add_member()
    code = await code_of(fair, referrer, "phone-1")
    await fair.refused(come(fair, referee, code, device="phone-1"), invitations.InvitationInvalid)
    await come(fair, referee, code, device="phone-2")
    third = await fair.coalition.add_member()
    back = await code_of(fair, referee)
    await fair.refused(come(fair, third, back, device="phone-2"), invitations.InvitationInvalid)


async def test_who_has_bought_or_came_long_ago_is_not_new(fair: Fair) -> None:
    referrer, bought, late = [await fair.coalition.add_member() for _ in range(3)]
    await buy(fair, bought)
    code = await code_of(fair, referrer)
    await fair.refused(come(fair, bought, code), invitations.InvitationInvalid)
    await fair.refused(come(fair, late, code, at=NOON + 30 * DAY), invitations.InvitationInvalid)
    await come(fair, late, code, at=NOON + 29 * DAY)


async def test_a_member_brings_no_more_than_their_cap_also_at_once(fair: Fair) -> None:
    referrer = await fair.coalition.add_member()
    code = await code_of(fair, referrer)
    cards = [await fair.coalition.add_member() for _ in range(5)]
    done = await asyncio.gather(*[come(fair, card, code) for card in cards], return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["InvitationInvalid"] * 3 + ["NoneType"] * 2


async def test_a_code_that_is_none_counts_as_a_guess(fair: Fair) -> None:
    card = await fair.coalition.add_member()
    code = await code_of(fair, await fair.coalition.add_member())
    for _ in range(guesses.MOST["MEMBER"]):
        with pytest.raises(invitations.InvitationInvalid):
            await come(fair, card, codes.draw())
    await fair.refused(come(fair, card, code), guesses.CouponsLimited)
    await come(fair, card, code, now=NOON + guesses.WINDOW)


async def test_without_rules_of_invitations_nobody_brings_anybody(database: Database, vault: Vault) -> None:
    async with opened(database, vault) as fair:
        card = await fair.coalition.add_member()
        await fair.refused(code_of(fair, card), invitations.InvitationsDisabled)
        await fair.refused(come(fair, card, codes.draw()), invitations.InvitationsDisabled)
        assert await advance(fair, NOON) == Advance(0, 0, 0)


# --- The decision -------------------------------------------------------------------------------------------

RULES = InvitationDocument(newcomer_days=30, per_year=3)
GOOD = Arrival((1,), NOON, 0, (2,), (3,), False, False, False, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None), ({"member_ids": (1, 2)}, "SELF"), ({"is_same_person": True}, "SELF"), ({"member_ids": (3,)}, "RING"),
        ({"is_same_household": True}, "HOUSEHOLD"), ({"is_same_device": True}, "DEVICE"), ({"purchases": 1}, "NOT_NEW"),
        ({"enrolled_at": NOON - 30 * DAY}, "NOT_NEW"), ({"brought_this_year": 3}, "CAP"),
        ({"was_brought_before": True}, "NOT_NEW"),
    ],
)  # fmt: skip
def test_each_reason_alone_refuses(change: dict[str, Any], why: str | None) -> None:
    assert inviting.refusal(replace(GOOD, **change), RULES, at=NOON) == why


@given(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2), st.integers(0, 5))
def test_only_who_has_no_reason_against_them_counts(
    person: bool, household: bool, device: bool, bought: int, brought: int
) -> None:
    arrival = replace(
        GOOD, is_same_person=person, is_same_household=household, is_same_device=device, purchases=bought,
        brought_this_year=brought,
    )  # fmt: skip
    good = not (person or household or device or bought or brought >= RULES.per_year)
    assert (inviting.refusal(arrival, RULES, at=NOON) is None) == good
