"""What is given beside points: once per cause, ended by itself, taken back with what it was given for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from kit import actors
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import badges
from partners.coupons import batches, coupons
from partners.coupons.batches import BatchDraft
from partners.coupons.guesses import Asking
from partners.mechanics import facts, grants, rights
from partners.mechanics.grants import Source
from partners.mechanics.rights import Honoured, Use
from partners.promotions.basket import Grant, Member
from tests.builders import DAY, NOON, PROGRAMME, Coalition, found, violations
from tests.partners.tills.test_merged import Merged

TABLES = (
    "ledger.journal", "ledger.lot", "ledger.account", "partners.coupon", "partners.entitlement", "partners.raffle_ticket", "partners.right_use",
    "members.badge", "members.tier_credit",
)  # fmt: skip


@dataclass
class Giving:
    """A coalition, a member, and stamps called `coffee`."""

    coalition: Coalition
    member_id: int
    actor: int

    def source(self, partner: str = "bakery", cause: UUID | None = None, at: datetime = NOON) -> Source:
        return Source(self.member_id, self.coalition.callers[partner].partner_id, 1, cause or uuid4(), at)

    async def give(self, *given: Grant, source: Source | None = None) -> list[str]:
        async with self.coalition.database.transaction() as connection:
            return await grants.give(connection, self.coalition.vault, given, source=source or self.source())

    async def use(self, stamps: int, *, source: Source | None = None, at: datetime = NOON) -> None:
        source = source or self.source(at=at)
        async with self.coalition.database.transaction() as connection:
            await grants.use_stamps(connection, {"coffee": stamps}, source=source, day=source.at.date())

    async def member(self, at: datetime = NOON) -> Member:
        async with self.coalition.database.reading() as connection:
            found = await facts.member_facts(
                connection, self.coalition.vault, PROGRAMME, self.member_id, 1, occurred_at=at, at=at
            )
        assert found is not None
        return found.member

    async def stamps(self, at: datetime = NOON) -> int:
        return (await self.member(at)).stamps.get("coffee", 0)

    async def refused(self, work: object, expected: type[Rejection]) -> None:
        before = await self.everything()
        with pytest.raises(expected):
            await work  # type: ignore[misc]
        assert await self.everything() == before

    async def everything(self) -> dict[str, list[str]]:
        async with self.coalition.database.reading() as connection:
            return {
                table: sorted((await connection.execute(text(f"SELECT t::text FROM {table} t"))).scalars())
                for table in TABLES
            }


@pytest.fixture
async def giving(database: Database, vault: Vault) -> AsyncIterator[Giving]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery")
    await coalition.add_partner("grocer")
    card = await coalition.add_member()
    async with database.transaction() as connection:
        actor = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        unit = await grants.define_stamps(connection, "coffee", "ten are a coffee", actor=actor, at=NOON)
        assert unit == await grants.define_stamps(connection, "coffee", "again", actor=actor, at=NOON) >= 100
        for code, more in (("next", {"lasts_days": 14}), ("gift", {})):
            draft = BatchDraft(code, NOON - DAY, NOON + 60 * DAY, bound_to=batches.MEMBER, **more)  # type: ignore[arg-type]
            await batches.add(connection, vault, draft, actor=actor, at=NOON)
    yield Giving(coalition, card.member_id, actor)
    assert await violations(database.pool) == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []
    await coalition.desk.close()


def stamp(quantity: int = 1, expires_at: datetime | None = None) -> Grant:
    return Grant("stamps", 1, "STAMP", "coffee", quantity, expires_at)


async def test_ten_stamps_of_two_partners_are_a_coffee_and_then_there_are_none(giving: Giving) -> None:
    """The nth purchase free, across partners: each purchase gives a stamp, ten are used for the free one."""
    for number in range(10):
        await giving.refused(giving.use(10), grants.StampsShort)
        await giving.give(stamp(), source=giving.source(("bakery", "grocer")[number % 2]))
    assert await giving.stamps() == 10
    free = giving.source("grocer")
    await giving.use(10, source=free)
    assert await giving.stamps() == 0
    await giving.use(10, source=free)  # the same purchase again uses nothing more
    await giving.refused(giving.use(1), grants.StampsShort)
    async with giving.coalition.database.transaction() as connection:
        assert await grants.give_back_stamps(connection, source=free, key=uuid4(), grace=30 * DAY) == 10
    assert await giving.stamps() == 10


async def test_a_cause_gives_its_stamp_once(giving: Giving) -> None:
    source = giving.source()
    await giving.give(stamp(), source=source)
    before = await giving.everything()
    await giving.give(stamp(), source=source)
    assert await giving.everything() == before


async def test_stamps_end_by_themselves_while_points_stay(giving: Giving) -> None:
    await giving.give(stamp(6, NOON + 30 * DAY))
    await giving.give(stamp(4, NOON + 60 * DAY))
    assert [await giving.stamps(NOON + days * DAY) for days in (0, 29, 30, 60)] == [10, 10, 4, 0]
    await giving.refused(giving.use(5, at=NOON + 30 * DAY), grants.StampsShort)
    await giving.use(4, at=NOON + 30 * DAY)


async def test_of_many_at_once_ten_stamps_are_one_coffee(giving: Giving) -> None:
    await giving.give(stamp(10))
    done = await asyncio.gather(*[giving.use(10) for _ in range(6)], return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["NoneType"] + ["StampsShort"] * 5


async def test_a_return_takes_stamps_back_and_the_used_ones_come_off_the_next(giving: Giving) -> None:
    given, used = giving.source(), giving.source()
    await giving.give(stamp(3), source=given)
    await giving.give(stamp(4), source=used)
    for source, quantity, left in ((given, 2, 5), (given, 1, 4)):
        async with giving.coalition.database.transaction() as connection:
            await grants.take_back(connection, [stamp(quantity)], source=source, key=uuid4())
        assert await giving.stamps() == left
    await giving.use(3)
    async with giving.coalition.database.transaction() as connection:
        await grants.take_back(connection, [stamp(4)], source=used, key=uuid4())
    assert await giving.stamps() == 0
    await giving.refused(giving.use(1), grants.StampsShort)
    for given, left in ((2, 0), (2, 1)):  # three were used of those that went back
        await giving.give(stamp(given))
        assert await giving.stamps() == left


async def test_everything_else_is_given_once_and_taken_back_with_its_cause(giving: Giving) -> None:
    source = giving.source()
    given = [
        Grant("r", 1, "COUPON", "next", 2), Grant("r", 1, "COUPON", "gift", 1, NOON + 5 * DAY),
        Grant("r", 1, "BADGE", "explorer", 1), Grant("r", 1, "ENTITLEMENT", "vip-escort", 1, NOON + 90 * DAY),
        Grant("r", 1, "TIER_CREDIT", "loyal", 250), Grant("r", 1, "RAFFLE_TICKET", "spring", 3),
    ]  # fmt: skip
    codes = await giving.give(*given, source=source)
    before = await giving.everything()
    await giving.give(*given, source=source)
    assert await giving.everything() == before
    async with giving.coalition.database.transaction() as connection:
        held = await coupons.held(connection, giving.member_id, at=NOON)
        assert [(one.batch, one.tail, one.expires_at) for one in held] == [
            ("gift", codes[2][-3:], NOON + 5 * DAY), ("next", codes[0][-3:], NOON + 14 * DAY),
            ("next", codes[1][-3:], NOON + 14 * DAY),
        ]  # fmt: skip
        assert [one.code for one in await badges.borne(connection, giving.member_id, at=NOON)] == ["explorer"]
        assert len(await grants.tickets(connection, "spring")) == 3
        [escort] = await rights.left(connection, giving.member_id, at=NOON)
        assert (escort.code, escort.left, escort.ends_at) == ("vip-escort", 1, NOON + 90 * DAY)
        await grants.take_back(
            connection, [given[0], Grant("r", 1, "RAFFLE_TICKET", "spring", 1)], source=source, key=uuid4()
        )
        assert [one.batch for one in await coupons.held(connection, giving.member_id, at=NOON)] == ["gift"]
        assert [number for _, _, number in await grants.tickets(connection, "spring")] == [1, 2]
        await grants.take_back(connection, given[2:], source=source, key=uuid4())
        assert await badges.borne(connection, giving.member_id, at=NOON) == []
        assert await grants.tickets(connection, "spring") == []
        assert await rights.left(connection, giving.member_id, at=NOON) == []
    assert (await giving.member()).badges == ()


async def test_a_right_is_used_as_often_as_it_was_given(giving: Giving) -> None:
    await giving.give(Grant("r", 1, "ENTITLEMENT", "lounge", 2, NOON + 10 * DAY))
    done = await asyncio.gather(*[use_right(giving) for _ in range(5)], return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["EntitlementUsed"] * 3 + ["NoneType"] * 2
    await giving.give(Grant("r", 1, "ENTITLEMENT", "lounge", 1, NOON + 10 * DAY))
    await giving.refused(use_right(giving, NOON + 10 * DAY), rights.EntitlementUsed)


async def test_of_rights_the_one_that_ends_first_is_used_first(giving: Giving) -> None:
    for days in (20, 10, 0):
        ends = NOON + days * DAY if days else None
        await giving.give(Grant("r", 1, "ENTITLEMENT", "lounge", 1, ends))
    for number, ends in enumerate((NOON + 10 * DAY, NOON + 20 * DAY, None)):
        assert await lounges(giving) == (3 - number, ends)
        await use_right(giving)
    assert await lounges(giving) == (0, None)


async def test_rights_of_who_is_merged_are_the_survivors(giving: Giving) -> None:
    cards = [await giving.coalition.add_member() for _ in range(2)]
    old, kept = (Giving(giving.coalition, card.member_id, giving.actor) for card in cards)
    await old.give(Grant("r", 1, "ENTITLEMENT", "lounge", 2))
    merged = Merged(giving.coalition, old=cards[0], kept=cards[1])
    await merged.merge()
    later = NOON + 2 * DAY
    assert await lounges(kept, later) == (2, None)
    await use_right(kept, later)
    await merged.part()
    assert (await lounges(kept, later), await lounges(old, later)) == ((0, None), (1, None))


async def use_right(giving: Giving, at: datetime = NOON) -> None:
    caller = giving.coalition.callers["bakery"]
    directory = await giving.coalition.desk.directory.get()
    outlet = directory.outlet(caller.partner_id, "1")
    assert outlet is not None
    wanted = Use(giving.member_id, "lounge", caller.client_no, outlet.outlet_id, None)
    here = Honoured(caller.partner_id, frozenset())
    async with giving.coalition.database.transaction() as connection:
        await rights.use(connection, wanted, here=here, key=uuid4(), at=at)


async def lounges(giving: Giving, at: datetime = NOON) -> tuple[int, datetime | None]:
    """How many times a member may have the lounge still, and when the first of them ends."""
    async with giving.coalition.database.reading() as connection:
        found = await rights.left(connection, giving.member_id, at=at)
    return next(((one.left, one.ends_at) for one in found if one.code == "lounge"), (0, None))


async def test_stamps_and_coupons_of_who_is_merged_are_the_survivors_and_go_back_when_that_ends(giving: Giving) -> None:
    cards = [await giving.coalition.add_member() for _ in range(2)]
    old, kept = (Giving(giving.coalition, card.member_id, giving.actor) for card in cards)
    [code] = await old.give(stamp(4), Grant("r", 1, "COUPON", "gift", 1))
    await kept.give(stamp(5))
    merged = Merged(giving.coalition, old=cards[0], kept=cards[1])
    await merged.merge()
    later = NOON + 2 * DAY
    assert (await kept.stamps(later), await old.stamps(later)) == (9, 0)
    async with giving.coalition.database.reading() as connection:
        assert [one.batch for one in await coupons.held(connection, kept.member_id, at=later)] == ["gift"]
    asking = Asking(kept.member_id, None, 7)
    [shown] = await coupons.look(
        giving.coalition.database, giving.coalition.vault, [code], asking=asking, partner_id=1, at=later, now=later
    )
    assert shown.batch == "gift"
    await kept.use(6, at=later)
    await merged.part()
    assert (await kept.stamps(later), await old.stamps(later)) == (0, 3)  # its own, as far as they were not used


async def test_what_nobody_defined_is_not_given(giving: Giving) -> None:
    await giving.refused(giving.give(Grant("r", 1, "STAMP", "tea", 1)), grants.GrantMissing)
    await giving.refused(giving.give(stamp(), Grant("r", 1, "COUPON", "nothing", 1)), grants.GrantMissing)
    async with giving.coalition.database.transaction() as connection:
        with pytest.raises(grants.StampUnitInvalid):
            await grants.define_stamps(connection, "no code", "x", actor=giving.actor, at=NOON)


async def test_a_lock_on_points_is_none_on_stamps(giving: Giving) -> None:
    await giving.give(stamp(2))
    await giving.coalition.database.pool.execute("SELECT ledger.lock_spending($1, 1::smallint, true)", giving.member_id)
    await giving.use(2, at=NOON + timedelta(minutes=1))
