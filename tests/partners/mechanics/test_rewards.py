"""A reward for points: the last one goes to one member, and no points go without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from kit.database import Database
from kit.postgres import Server
from kit.secrets import Vault
from members import badges, proofs
from members.cards import IssuedCard
from partners import callers, outcomes
from partners.decisions import preparing
from partners.mechanics import rewards
from partners.mechanics.rewards import RewardDraft
from partners.outcomes import Recorded
from partners.promotions.basket import Member
from partners.purchases import purchases
from partners.receipts.receipts import ReceiptRef
from partners.returns import returns
from partners.returns.returning import Wish
from partners.tills.tills import Proof, ProofRequired
from tests.builders import a_receipt, identified
from tests.partners.mechanics.fair import DAY, NOON, Fair, a_fair, met

PIN = "4711"
NAMES = {"en": "Mug", "ru": "Кружка", "ro": "Cană"}


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def add(fair: Fair, *, stock: int = 1, **changes: Any) -> int:
    draft = RewardDraft(
        fair.coalition.callers["grocer"].partner_id, "mug", NAMES, 100, stock, NOON - DAY, NOON + 30 * DAY
    )
    async with fair.coalition.database.transaction() as connection:
        return await rewards.add(connection, replace(draft, **changes), actor=fair.market.maker, at=NOON)


async def rich(fair: Fair, points: int = 250) -> IssuedCard:
    """A member with points and a PIN."""
    card = await fair.coalition.add_member()
    caller = fair.coalition.callers["grocer"]
    directory = await fair.coalition.desk.directory.get()
    receipt = a_receipt(points * 100)
    await purchases.accrue(
        fair.coalition.desk,
        preparing.prepare(directory, caller, identified(card), receipt, at=NOON, idem_key=None),
    )
    async with fair.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, fair.coalition.vault, card.member_id, PIN)
    return card


async def take(fair: Fair, card: IssuedCard, *, key: str = "k1", code: str = "mug", at: Any = NOON) -> Recorded:
    return await rewards.take(
        fair.coalition.desk, fair.call("takeReward", key, partner="grocer", at=at), fair.ref(card),
        a_receipt(0, reference=f"reward-{key}", at=NOON), code, proof=Proof(pin=PIN),
    )  # fmt: skip


async def stock(fair: Fair) -> tuple[int, int]:
    row = await fair.coalition.desk.pool.fetchrow(
        "SELECT taken, (SELECT count(*) FROM partners.reward_order WHERE returned_at IS NULL) AS orders FROM partners.reward"
    )
    return row["taken"], row["orders"]


async def test_a_reward_costs_its_points_and_one_less_is_left(fair: Fair) -> None:
    await add(fair, stock=2)
    card = await rich(fair)
    done = await take(fair, card)
    assert (done.receipt.redeemed_points, done.available) == (100, 150)
    assert await stock(fair) == (1, 1)
    before = await fair.everything()
    again = await take(fair, card)
    assert (again.replayed, again.receipt.seq) == (True, done.receipt.seq)
    assert await fair.everything() == before
    async with fair.coalition.database.transaction() as connection:
        grocer = fair.coalition.callers["grocer"].partner_id
        place = {"holder_id": card.member_id, "seq": done.receipt.seq, "at": NOON}
        assert not await rewards.fulfil(connection, **place, partner_id=grocer + 1)
        assert await rewards.fulfil(connection, **place, partner_id=grocer)
        assert not await rewards.fulfil(connection, **place, partner_id=grocer)


async def test_the_last_one_goes_to_one_of_many_who_want_it(fair: Fair) -> None:
    await add(fair)
    cards = [await rich(fair) for _ in range(6)]
    done = await asyncio.gather(
        *[take(fair, card, key=f"k{number}") for number, card in enumerate(cards)], return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["Recorded"] + ["RewardSoldOut"] * 5
    assert await stock(fair) == (1, 1)
    assert sorted([await fair.available(card) for card in cards]) == [150] + [250] * 5


async def test_without_the_guard_more_go_than_there_are(fair: Fair, server: Server, database_name: str) -> None:
    await add(fair)
    pool = fair.coalition.desk.pool
    taking = "SELECT partners.take_reward(1, $1, 1, 1::smallint, $2)"
    await pool.execute(taking, 1, NOON)
    with pytest.raises(asyncpg.PostgresError, match="the last one"):
        await pool.execute(taking, 2, NOON)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    source = await owner.fetchval("SELECT pg_get_functiondef('partners.take_reward'::regproc)")
    guard = "AND taken < stock"
    assert guard in source
    await owner.execute(source.replace(guard, ""))
    await owner.execute("ALTER TABLE partners.reward DROP CONSTRAINT reward_check")
    await owner.close()
    await pool.execute(taking, 2, NOON)
    assert await stock(fair) == (2, 2)


async def test_too_few_points_take_nothing_from_the_stock(fair: Fair) -> None:
    await add(fair, points=300)
    card = await rich(fair)
    with pytest.raises(outcomes.InsufficientPoints):
        await take(fair, card)
    assert await stock(fair) == (0, 0)
    await fair.refused(
        rewards.take(
            fair.coalition.desk, fair.call("takeReward", "k2", partner="grocer"), fair.ref(card),
            a_receipt(0, reference="x"), "mug", proof=None,
        ),
        ProofRequired,
    )  # fmt: skip


async def give_back(fair: Fair, card: IssuedCard, done: Recorded, wish: Wish) -> None:
    caller = fair.coalition.callers["grocer"]
    place = callers.place_of(await fair.coalition.desk.directory.get(), caller, "1", "1")
    own = ReceiptRef("1", "1", NOON.date(), f"back-{uuid4().hex[:12]}")
    original = await returns.find_original(fair.coalition.desk, caller, place=(card.member_id, done.receipt.seq))
    await returns.return_purchase(
        fair.coalition.desk, caller, returns.ReturnSlip(own.reference, place, own, NOON + DAY), original, wish,
        idem_key=uuid4(), at=NOON + DAY,
    )  # fmt: skip


async def test_what_is_returned_is_in_stock_again(fair: Fair) -> None:
    await add(fair)
    card = await rich(fair)
    done = await take(fair, card)
    await give_back(fair, card, done, Wish())
    assert await stock(fair) == (1, 1)
    assert await rewards.restock(fair.coalition.database, at=NOON + DAY) == 1
    assert await rewards.restock(fair.coalition.database, at=NOON + DAY) == 0
    assert await stock(fair) == (0, 0)
    assert await fair.available(card, NOON + DAY) == 250


async def test_a_reward_of_which_some_points_came_back_stays_taken_until_all_of_them_did(fair: Fair) -> None:
    """One point of a hundred put a mug back on the shelf that a member had at home, and it was taken again."""
    await add(fair)
    card = await rich(fair)
    done = await take(fair, card)
    await give_back(fair, card, done, Wish(amount_minor=1))
    assert await rewards.restock(fair.coalition.database, at=NOON + DAY) == 0
    assert await stock(fair) == (1, 1)
    await fair.refused(take(fair, await rich(fair), key="k2"), rewards.RewardSoldOut)
    await give_back(fair, card, done, Wish())
    assert await rewards.restock(fair.coalition.database, at=NOON + DAY) == 1
    assert (await stock(fair), await fair.available(card, NOON + DAY)) == ((0, 0), 250)


async def test_a_club_s_reward_is_not_there_for_others(fair: Fair) -> None:
    await add(fair, badges=["club:gold"], stock=5)
    await add(fair, code="plain", points=50)
    card = await rich(fair)
    await fair.refused(take(fair, card), rewards.RewardUnknown)
    await fair.refused(take(fair, card, code="nothing"), rewards.RewardUnknown)
    await fair.refused(take(fair, card, code="plain", at=NOON + 30 * DAY), rewards.RewardUnknown)
    async with fair.coalition.database.transaction() as connection:
        seen = await rewards.shown_to(connection, Member(), partner_id=None, at=NOON)
        club = await rewards.shown_to(connection, Member(badges=("club:gold",)), partner_id=None, at=NOON)
        await badges.give(connection, card.member_id, "club:gold", cause=uuid4(), at=NOON)
    assert [one.code for one in seen] == ["plain"]
    assert [one.code for one in club] == ["plain", "mug"]
    await take(fair, card)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "No"}, {"names": {"en": "Mug"}}, {"points": 0}, {"stock": -1}, {"valid_until": NOON - 2 * DAY},
    ],
)  # fmt: skip
async def test_a_reward_that_cannot_be_is_refused(fair: Fair, wrong: dict[str, Any]) -> None:
    await fair.refused(add(fair, **wrong), rewards.RewardInvalid)


async def test_a_stock_is_never_less_than_what_was_taken(fair: Fair) -> None:
    number = await add(fair, stock=2)
    await fair.refused(add(fair), rewards.RewardInvalid)
    await take(fair, await rich(fair))
    await fair.refused(restock_to(fair, number, 0), rewards.RewardInvalid)
    await restock_to(fair, number, 1)
    other = await rich(fair)
    await fair.refused(take(fair, other, key="k2"), rewards.RewardSoldOut)


async def restock_to(fair: Fair, number: int, stock: int) -> None:
    async with fair.coalition.database.transaction() as connection:
        await rewards.set_stock(connection, number, stock, actor=fair.market.maker, at=NOON)
