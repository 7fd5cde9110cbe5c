"""Households: joining, putting in, spending with one's own card of the household, leaving with one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import transfers
from members import cards, households, identification, sharing
from members.cards import IssuedCard
from members.sharing import SharingRules
from tests.members.people import AT, accrue, enrol, spend

RULES = SharingRules(is_enabled=True, household_size=3, household_cooling=timedelta(days=30))
DAY = timedelta(days=1)


@pytest.fixture
async def written(database: Database) -> AsyncIterator[Database]:
    """A database whose ledger holds afterwards."""
    yield database
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


class Family:
    """Members with points of their own, and a household of some of them."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database, self.vault, self.household_id = database, vault, 0

    async def member(self, points: int = 100, *, expires: int = 0) -> int:
        enrolled = await enrol(self.database, self.vault)
        async with self.database.transaction() as connection:
            if points:
                await accrue(connection, enrolled.member_id, points, AT + expires * DAY)
        return enrolled.member_id

    async def found(self, member_id: int) -> IssuedCard:
        async with self.database.transaction() as connection:
            card = await households.found(connection, self.vault, RULES, member_id=member_id, at=AT)
        self.household_id = card.member_id
        return card

    async def join(self, member_id: int, *, after: int = 0, rules: SharingRules = RULES) -> IssuedCard:
        async with self.database.transaction() as connection:
            return await households.join(
                connection, self.vault, rules, household_id=self.household_id, member_id=member_id, at=AT + after * DAY
            )

    async def contribute(self, member_id: int, points: int | None = None, *, key: str = "1") -> int:
        async with self.database.transaction() as connection:
            sent = await households.contribute(
                connection, RULES, member_id=member_id, points=points, key=key, at=AT, day=AT.date()
            )
        await transfers.complete(self.database, sent.sender_id, sent.seq, at=AT)
        return sent.points

    async def leave(self, member_id: int, *, spent: int = 0, after: int = 1) -> int:
        at = AT + after * DAY
        async with self.database.transaction() as connection:
            sent = await households.leave(connection, member_id=member_id, spent_points=spent, at=at, day=at.date())
        await transfers.complete_all(self.database, sent, at=at)
        return sum(one.points for one in sent)

    async def spend(self, points: int) -> None:
        async with self.database.transaction() as connection:
            await spend(connection, self.household_id, points, AT)

    async def available(self, holder_id: int) -> int:
        found: int = await self.database.pool.fetchval(
            "SELECT available FROM ledger.account WHERE holder_id = $1", holder_id
        )
        return found

    async def members(self) -> list[int]:
        async with self.database.reading() as connection:
            return [place.member_id for place in await households.members_of(connection, self.household_id)]


@pytest.fixture
def family(written: Database, vault: Vault) -> Family:
    return Family(written, vault)


async def rows(database: Database) -> list[int]:
    tables = (
        "members.household_move",
        "members.member",
        "members.card",
        "ledger.journal",
        "ledger.account",
        "ledger.transfer",
    )
    return [await database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def refused(family: Family, expected: type[Rejection], call) -> None:  # type: ignore[no-untyped-def]
    before = await rows(family.database)
    with pytest.raises(expected):
        await call
    assert await rows(family.database) == before


async def test_members_join_with_a_card_of_the_household_and_spend_what_they_put_in(family: Family) -> None:
    one, other = await family.member(100), await family.member(50)
    own_card = await family.found(one)
    card = await family.join(other)
    assert card.member_id == own_card.member_id == family.household_id
    assert await family.members() == [one, other]
    assert (await family.contribute(one, 70), await family.contribute(other)) == (70, 50)
    assert await family.available(family.household_id) == 120
    async with family.database.reading() as connection:
        known = await identification.identify(
            connection,
            family.vault,
            identification.MemberRef(card_number=card.number),
            partner_id=7,
            terminal_id=None,
            at=AT,
        )
    assert (known.member_id, known.status, known.card_id) == (family.household_id, "HOUSEHOLD", card.card_id)


async def test_a_contribution_repeated_by_its_key_is_one(family: Family) -> None:
    one = await family.member(100)
    await family.found(one)
    assert [await family.contribute(one, 30, key="a") for _ in range(2)] == [30, 30]
    assert await family.available(family.household_id) == 30
    await family.contribute(one, 30, key="b")
    assert await family.available(family.household_id) == 60


async def test_who_leaves_gets_back_what_they_put_in_into_the_lots_it_came_from(family: Family) -> None:
    one, other = await family.member(100), await family.member(50)
    await family.found(one)
    card = await family.join(other)
    await family.contribute(one)
    await family.contribute(other, 20)
    assert await family.leave(other) == 20
    assert (await family.available(other), await family.available(family.household_id)) == (50, 100)
    lots = await family.database.pool.fetch("SELECT remaining FROM ledger.lot WHERE holder_id = $1", other)
    assert [row["remaining"] for row in lots] == [50]
    async with family.database.reading() as connection:
        with pytest.raises(cards.CardBlocked):
            await identification.identify(
                connection, family.vault, identification.MemberRef(card_number=card.number), partner_id=7,
                terminal_id=None, at=AT,
            )  # fmt: skip
    assert await family.members() == [one]


async def test_joining_spending_and_leaving_again_nets_nothing(family: Family) -> None:
    """The guest's points expire last, so the host's are spent first: by the guest."""
    host, guest = await family.member(100), await family.member(100, expires=30)
    await family.found(host)
    for turn in range(3):
        after = turn * 40
        await family.join(guest, after=after)
        if turn == 0:
            await family.contribute(host)
            await family.contribute(guest)
            await family.spend(100)
        assert await family.leave(guest, spent=100, after=after + 1) == 0
        assert await family.available(guest) == 0
    assert await family.available(family.household_id) == 100
    assert await family.leave(host) == 100, "what the guest left behind makes up for what the guest spent"
    assert await family.available(host) == 100


async def test_what_others_spent_of_ones_own_is_made_up_from_what_those_who_left_have_left_behind(
    family: Family,
) -> None:
    host, guest, third = await family.member(100), await family.member(100, expires=30), await family.member(10)
    await family.found(host)
    await family.join(guest)
    await family.join(third)
    for member in (host, guest, third):
        await family.contribute(member)
    await family.spend(100)  # the guest's doing, of the host's points or the third's
    assert await family.leave(guest, spent=100) == 0
    assert await family.leave(host) == 100
    async with family.database.reading() as connection:
        left = await transfers.contributed(connection, family.household_id, at=AT)
    assert sum(left.values()) == 10
    assert await family.leave(third) == 10


async def test_who_leaves_last_gets_all_that_is_left_and_the_household_is_over(family: Family) -> None:
    one = await family.member(100)
    card = await family.found(one)
    await family.contribute(one, 40)
    async with family.database.transaction() as connection:
        await accrue(connection, family.household_id, 7, AT)  # earned on the household's card
        await accrue(connection, family.household_id, 5, AT, pending_days=9)
    assert await family.leave(one, spent=40) == 52
    async with family.database.reading() as connection:
        with pytest.raises(cards.CardBlocked):
            await identification.identify(
                connection, family.vault, identification.MemberRef(card_number=card.number), partner_id=7,
                terminal_id=None, at=AT,
            )  # fmt: skip
    other = await family.member()
    await refused(family, households.HouseholdUnknown, family.join(other))
    async with family.database.reading() as connection:
        status = await connection.execute(
            text("SELECT status FROM members.member WHERE member_id = :id"), {"id": family.household_id}
        )
        assert status.scalar_one() == "CLOSED"


async def test_a_contribution_on_its_way_to_a_household_that_is_over_comes_back(family: Family) -> None:
    one = await family.member(100)
    await family.found(one)
    async with family.database.transaction() as connection:
        sent = await households.contribute(connection, RULES, member_id=one, points=60, key="k", at=AT, day=AT.date())
    await family.leave(one)
    assert await transfers.complete(family.database, one, sent.seq, at=AT) == transfers.CAME_BACK
    assert await family.available(one) == 100


async def test_who_may_not_join_is_told_why_and_nothing_is_written(family: Family) -> None:
    one, other, third, fourth = [await family.member(0) for _ in range(4)]
    card = await family.found(one)
    await family.join(other)
    await refused(family, households.AlreadyInHousehold, family.join(other))
    await refused(family, sharing.NotAPerson, family.join(card.member_id))
    await refused(family, cards.MemberUnknown, family.join(404))
    await family.join(third)
    await refused(family, households.HouseholdFull, family.join(fourth))
    await family.leave(third, after=1)
    await refused(family, households.HouseholdCooling, family.join(third, after=30))
    await refused(family, sharing.TransfersDisabled, family.join(third, after=31, rules=SharingRules()))
    assert (await family.join(third, after=31)).member_id == family.household_id
    await refused(family, households.NotInHousehold, family.leave(fourth))
    await refused(family, households.NotInHousehold, family.contribute(fourth, 1))
    family.household_id = one
    await refused(family, households.HouseholdUnknown, family.join(fourth))
    off = replace(RULES, is_enabled=False)
    async with family.database.transaction() as connection:
        with pytest.raises(sharing.TransfersDisabled):
            await households.found(connection, family.vault, off, member_id=fourth, at=AT)


async def test_a_spend_lock_keeps_points_out_of_the_pool_and_not_from_coming_back(family: Family) -> None:
    one, other = await family.member(100), await family.member(100)
    await family.found(one)
    await family.join(other)
    await family.contribute(other, 60)
    await family.database.pool.execute("SELECT ledger.lock_spending($1, 1::smallint, true)", other)
    await refused(family, transfers.TransferLocked, family.contribute(other, 10, key="2"))
    assert await family.leave(other) == 60


# --- Gifts --------------------------------------------------------------------------------------------------


async def give(
    family: Family, sender: int, receiver: int, points: int, *, rules: SharingRules = RULES, key: str = "1"
) -> int:
    async with family.database.transaction() as connection:
        sent = await sharing.give(
            connection, rules, sender_id=sender, receiver_id=receiver, points=points, key=key, at=AT, day=AT.date()
        )
    await transfers.complete(family.database, sent.sender_id, sent.seq, at=AT)
    return sent.available


async def test_a_gift_is_off_unless_the_programme_allows_it(family: Family) -> None:
    one, other = await family.member(100), await family.member(0)
    await refused(family, sharing.TransfersDisabled, give(family, one, other, 10, rules=SharingRules()))
    assert [await give(family, one, other, 10) for _ in range(2)] == [90, 90]
    assert (await family.available(one), await family.available(other)) == (90, 10)


async def test_a_household_gives_nothing_away_and_a_gift_needs_somebody_to_give_to(family: Family) -> None:
    one = await family.member(100)
    await family.found(one)
    await family.contribute(one)
    await refused(family, sharing.NotAPerson, give(family, family.household_id, one, 10))
    await refused(family, sharing.NotAPerson, give(family, one, family.household_id, 10))
    await refused(family, cards.MemberUnknown, give(family, one, 404, 10))
    await refused(family, transfers.TransferInvalid, give(family, one, one, 10))
    await refused(family, transfers.TransferExceedsBalance, give(family, one, await family.member(0), 1))
