"""What a decision sees of a member: the same whether it is added up or read from receipts, and never a wish more."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from msgspec import structs
from sqlalchemy import text

from kit import actors
from kit.database import Database
from kit.postgres import Server
from kit.secrets import Vault
from members import attributes, badges, birthdays, enrolment, households, segments
from members.cards import IssuedCard
from members.consents import ConsentGiven
from members.enrolment import Personal
from members.sharing import SharingRules
from partners import callers
from partners.decisions import preparing
from partners.mechanics import facts
from partners.mechanics.facts import Asked, Facts
from partners.outcomes import Recorded
from partners.promotions.basket import COUNTERS, Member
from partners.purchases import purchases
from partners.receipts.receipts import ReceiptRef
from partners.returns import returns
from partners.returns.returning import Wish
from tests.builders import DAY, NOON, PROGRAMME, Coalition, a_receipt, identified, violations
from tests.founded import a_coalition, met
from tests.partners.tills.test_merged import Merged

MOSCOW = replace(PROGRAMME, time_zone="Europe/Moscow")


template = a_coalition(bakery={"return_window_days": 0}, grocer={}, books={"currency": "USD"})


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    async with database.reading() as connection:
        assert await facts.audit(connection, PROGRAMME) == []
    await made.desk.close()


async def buy(
    coalition: Coalition, card: IssuedCard, total: int = 1_000, *, at: datetime = NOON, partner: str = "bakery",
    currency: str = "EUR",
) -> Recorded:  # fmt: skip
    directory = await coalition.desk.directory.get()
    receipt = a_receipt(total, at=at, currency=currency)
    caller = coalition.callers[partner]
    prepared = preparing.prepare(directory, caller, identified(card), receipt, at=at, idem_key=None)
    return await purchases.accrue(coalition.desk, prepared)


async def seen(
    coalition: Coalition, member_id: int, *, partner: str = "bakery", at: datetime = NOON, occurred: datetime | None = None,
    programme: object = PROGRAMME,
) -> Facts:  # fmt: skip
    asked = Asked(member_id, coalition.callers[partner].partner_id, occurred or at)
    async with coalition.database.reading() as connection:
        one = await facts.member_facts(
            connection, coalition.vault, programme, asked.member_id, asked.partner_id,  # type: ignore[arg-type]
            occurred_at=asked.occurred_at, at=at,
        )  # fmt: skip
    [many] = await facts.member_facts_of_many(coalition.desk.pool, coalition.vault, programme, [asked], at=at)  # type: ignore[arg-type]
    assert one == many
    assert one is not None
    assert await by_name(coalition, asked, programme, at, FIELDS, COUNTERS) == as_named(one, FIELDS, COUNTERS)
    return one


FIELDS = frozenset(part.name for part in structs.fields(Member)) - {"tier"}


async def by_name(
    coalition: Coalition,
    asked: Asked,
    programme: object,
    at: datetime,
    fields: frozenset[str],
    counters: frozenset[str],
) -> Facts | None:
    """Facts as a decision reads them: those that its rules name."""
    [found] = await facts.some_facts_of_many(
        coalition.desk.pool, coalition.vault, programme, [asked], fields=fields, counters=counters, at=at,  # type: ignore[arg-type]
    )  # fmt: skip
    return found


def as_named(known: Facts, fields: frozenset[str], counters: frozenset[str]) -> Facts:
    """Of all facts those that are named, counters with zero where there is nothing."""
    kept: dict[str, Any] = {name: getattr(known.member, name) for name in fields - {"counters"}}
    if counters:
        kept["counters"] = {name: known.member.counters.get(name, 0) for name in sorted(counters)}
    scopes = known.scopes if "in_household" in fields else {"member": known.scopes["member"]}
    return structs.replace(known, member=Member(**kept), scopes=scopes)


async def fold(coalition: Coalition, limit: int = 100) -> list[tuple[int, int]]:
    after: int | None = 0
    counted = []
    while after is not None:
        async with coalition.database.transaction() as connection:
            done = await facts.fold(connection, PROGRAMME, after=after, limit=limit)
        counted.append((done.members, done.changes))
        after = done.next_after
    return counted


async def test_a_newcomer_has_bought_nothing_anywhere(coalition: Coalition) -> None:
    card = await coalition.add_member()
    now = await seen(coalition, card.member_id, at=NOON + 3 * DAY)
    assert now.member == Member(age_days=3)
    assert now.scopes == {"member": str(card.member_id)}
    assert (now.available, now.spend_locked, now.seq) == (0, False, 0)
    assert await nobody(coalition) is None


async def nobody(coalition: Coalition) -> Facts | None:
    async with coalition.database.reading() as connection:
        return await facts.member_facts(connection, coalition.vault, PROGRAMME, 10**9, 1, occurred_at=NOON, at=NOON)


async def test_purchases_are_counted_by_place_and_period(coalition: Coalition) -> None:
    card = await coalition.add_member()
    for at, partner, total in (
        (NOON, "bakery", 1_000), (NOON - DAY, "bakery", 200), (NOON - 40 * DAY, "bakery", 30),
        (NOON - 400 * DAY, "bakery", 4), (NOON, "grocer", 50_000),
    ):  # fmt: skip
        await buy(coalition, card, total, at=at, partner=partner)
    now = await seen(coalition, card.member_id, at=NOON + timedelta(hours=1))
    expected = {
        "coalition.ever.count": 5, "coalition.ever.sum": 51_234, "coalition.year.count": 4, "coalition.year.sum": 51_230,
        "coalition.month.count": 3, "coalition.month.sum": 51_200, "coalition.day.count": 2, "coalition.day.sum": 51_000,
        "partner.ever.count": 4, "partner.ever.sum": 1_234, "partner.year.count": 3, "partner.year.sum": 1_230,
        "partner.month.count": 2, "partner.month.sum": 1_200, "partner.day.count": 1, "partner.day.sum": 1_000,
    }  # fmt: skip
    assert now.member.counters == expected
    assert await fold(coalition) == [(1, 1)]
    assert (await seen(coalition, card.member_id, at=NOON + timedelta(hours=1))).member.counters == expected
    assert await fold(coalition) == [(1, 0)]
    await buy(coalition, card, 1, at=NOON)
    more = (await seen(coalition, card.member_id, at=NOON)).member.counters
    assert (more["partner.day.count"], more["coalition.ever.sum"]) == (2, 51_235)


async def test_whatever_is_named_is_read_and_nothing_else(coalition: Coalition) -> None:
    """Each field and each counter alone, and many together, are what all facts say; before it is added up and after."""
    card, friend = [await coalition.add_member() for _ in range(2)]
    day_before, at = NOON - DAY, NOON + timedelta(hours=1)
    for when, partner in (
        (NOON, "bakery"),
        (day_before, "grocer"),
        (NOON - 40 * DAY, "bakery"),
        (NOON - 400 * DAY, "bakery"),
    ):
        await buy(coalition, card, 1_000, at=when, partner=partner)
    await give_back(coalition, await buy(coalition, card, 300, at=NOON), 100, at=NOON)
    async with coalition.database.transaction() as connection:
        await badges.give(connection, card.member_id, "club:tea", cause=uuid4(), at=day_before)
    chance = random.Random(7)
    some = [frozenset({one}) for one in sorted(COUNTERS)]
    some += [frozenset(chance.sample(sorted(COUNTERS), chance.randint(2, 8))) for _ in range(6)]
    for added_up in (False, True):
        if added_up:
            await fold(coalition)
        asked = [Asked(one.member_id, coalition.callers["bakery"].partner_id, at) for one in (card, friend)]
        whole = [await seen(coalition, one.member_id, at=at) for one in asked]
        assert whole[0].member.counters["coalition.year.count"] == 4
        for fields, counters in [(frozenset({"counters"}), named) for named in some] + [
            (frozenset({field}), frozenset[str]()) for field in sorted(FIELDS - {"counters"})
        ]:  # fmt: skip
            found = await facts.some_facts_of_many(
                coalition.desk.pool, coalition.vault, PROGRAMME, asked, fields=fields, counters=counters, at=at
            )
            assert found == [as_named(one, fields, counters) for one in whole], (fields, counters)
    missing = Asked(10**9, asked[0].partner_id, at)
    assert await by_name(coalition, missing, PROGRAMME, at, FIELDS, COUNTERS) is None


async def test_what_is_added_up_is_what_the_receipts_say_in_any_order_of_adding(coalition: Coalition) -> None:
    cards = [await coalition.add_member() for _ in range(3)]
    for number in range(12):
        card = cards[number % 3]
        bought = await buy(coalition, card, 100 + number, at=NOON + number * DAY)
        if number % 2:
            await give_back(coalition, bought, 50, at=NOON + number * DAY)
        if number % 5 == 0:
            await fold(coalition, limit=2)
    at = NOON + 12 * DAY
    before = [(await seen(coalition, card.member_id, at=at)).member for card in cards]
    async with coalition.database.transaction() as connection:
        await connection.execute(text("DELETE FROM members.activity"))
        await connection.execute(text("DELETE FROM members.activity_position"))
    from_receipts = [(await seen(coalition, card.member_id, at=at)).member for card in cards]
    await fold(coalition, limit=2)
    assert [(await seen(coalition, card.member_id, at=at)).member for card in cards] == before == from_receipts


async def give_back(coalition: Coalition, bought: Recorded, amount: int | None, *, at: datetime) -> None:
    """Return a part of a purchase, or the whole of it."""
    receipt = bought.receipt
    caller = next(one for one in coalition.callers.values() if one.partner_id == receipt.partner_id)
    place = callers.place_of(await coalition.desk.directory.get(), caller, "1", "1")
    original = await returns.find_original(coalition.desk, caller, place=(receipt.holder_id, receipt.seq))
    own = ReceiptRef("1", "1", at.date(), f"back-{uuid4().hex[:12]}")
    slip = returns.ReturnSlip(own.reference, place, own, at)
    wish = Wish(amount_minor=amount)
    await returns.return_purchase(coalition.desk, caller, slip, original, wish, idem_key=uuid4(), at=at)


async def test_what_is_returned_counts_no_more_in_the_period_in_which_it_was_bought(coalition: Coalition) -> None:
    card = await coalition.add_member()
    bought = await buy(coalition, card, 1_000, at=NOON)
    await give_back(coalition, bought, 400, at=NOON + 40 * DAY)
    assert (await seen(coalition, card.member_id, at=NOON)).member.counters["partner.month.sum"] == 600
    april = (await seen(coalition, card.member_id, at=NOON + 40 * DAY)).member.counters
    assert "partner.month.sum" not in april
    assert (april["partner.ever.count"], april["partner.ever.sum"]) == (1, 600)
    await give_back(coalition, bought, 600, at=NOON + 41 * DAY)
    assert (await seen(coalition, card.member_id, at=NOON + 41 * DAY)).member.counters == {}
    await fold(coalition)
    assert (await seen(coalition, card.member_id, at=NOON + 41 * DAY)).member.counters == {}


async def test_another_currency_counts_as_a_purchase_and_to_no_sum(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await buy(coalition, card, 1_000, partner="books", currency="USD")
    counters = (await seen(coalition, card.member_id, partner="books")).member.counters
    assert (counters["partner.ever.count"], counters.get("partner.ever.sum", 0)) == (1, 0)


async def test_a_day_is_the_programmes(coalition: Coalition) -> None:
    card = await coalition.add_member()
    late = datetime.fromisoformat("2026-03-31T22:30:00+00:00")
    await buy(coalition, card, 1_000, at=late)
    april = datetime.fromisoformat("2026-04-01T12:00:00+00:00")
    assert "coalition.month.count" not in (await seen(coalition, card.member_id, at=april)).member.counters
    there = await seen(coalition, card.member_id, at=april, programme=MOSCOW)
    assert there.member.counters["coalition.month.count"] == there.member.counters["coalition.day.count"] == 1


async def test_segments_attributes_and_badges_are_those_in_force(coalition: Coalition) -> None:
    card = await coalition.add_member()
    other = await coalition.add_member()
    async with coalition.database.transaction() as connection:
        author = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        await segments.take(connection, "coffee", [card.member_id, other.member_id], author=author, at=NOON)
        await segments.take(connection, "coffee", [other.member_id], author=author, at=NOON + 10 * DAY)
        await attributes.verify(
            connection, card.member_id, "LARGE_FAMILY", evidence="CERTIFICATE", verifier="partner:1", at=NOON,
            expires_at=NOON + 5 * DAY,
        )  # fmt: skip
        cause = uuid4()
        assert await badges.give(connection, card.member_id, "club:gold", cause=cause, at=NOON)
        assert not await badges.give(connection, card.member_id, "club:gold", cause=cause, at=NOON)
        await badges.give(connection, card.member_id, "first", cause=cause, at=NOON, expires_at=NOON + DAY)
    now = (await seen(coalition, card.member_id, at=NOON)).member
    assert (now.segments, now.attributes, now.badges) == (("coffee",), ("LARGE_FAMILY",), ("club:gold", "first"))
    async with coalition.database.transaction() as connection:
        assert await badges.revoke(connection, card.member_id, "club:gold", at=NOON + 2 * DAY)
    assert (await seen(coalition, card.member_id, at=NOON + DAY)).member.badges == ("club:gold",)
    later = (await seen(coalition, card.member_id, at=NOON + 10 * DAY)).member
    assert (later.segments, later.attributes, later.badges) == ((), (), ())
    async with coalition.database.transaction() as connection:
        await attributes.verify(
            connection, card.member_id, "VETERAN", evidence="IDENTITY_CARD", verifier="partner:1", at=NOON,
            expires_at=NOON + 500 * DAY,
        )  # fmt: skip
        assert await attributes.withdraw(
            connection, card.member_id, "VETERAN", reason="EVIDENCE_FALSE", verifier="actor:1", at=NOON + DAY
        )
    assert (await seen(coalition, card.member_id, at=NOON)).member.attributes == ("LARGE_FAMILY", "VETERAN")
    assert (await seen(coalition, card.member_id, at=NOON + DAY)).member.attributes == ("LARGE_FAMILY",)


async def test_segments_and_attributes_of_who_is_merged_are_the_survivors_while_that_lasts(
    coalition: Coalition,
) -> None:
    """A family that merged its two cards lost the discount that its evidence was good for."""
    old, kept = await coalition.add_member(), await coalition.add_member()
    async with coalition.database.transaction() as connection:
        author = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        await segments.take(connection, "coffee", [old.member_id], author=author, at=NOON)
        await attributes.verify(
            connection, old.member_id, "LARGE_FAMILY", evidence="CERTIFICATE", verifier="actor:1", at=NOON,
            expires_at=NOON + 5 * DAY,
        )  # fmt: skip

    async def of_the_survivor(days: int = 2) -> tuple[tuple[str, ...], tuple[str, ...]]:
        member = (await seen(coalition, kept.member_id, at=NOON + days * DAY)).member
        return member.segments, member.attributes

    assert await of_the_survivor() == ((), ())
    merged = Merged(coalition, old=old, kept=kept)
    await merged.merge()
    assert await of_the_survivor() == (("coffee",), ("LARGE_FAMILY",))
    assert await of_the_survivor(5) == (("coffee",), ())
    async with coalition.database.transaction() as connection:
        assert await attributes.withdraw(
            connection, kept.member_id, "LARGE_FAMILY", reason="EVIDENCE_FALSE", verifier="actor:1", at=NOON + 3 * DAY
        )
    assert await of_the_survivor(3) == (("coffee",), ())
    await merged.part()
    assert await of_the_survivor(3) == ((), ())


async def test_a_member_of_a_household_is_counted_with_it(coalition: Coalition) -> None:
    card = await coalition.add_member()
    async with coalition.database.transaction() as connection:
        shared = await households.found(
            connection, coalition.vault, SharingRules(is_enabled=True), member_id=card.member_id, at=NOON
        )
    now = await seen(coalition, card.member_id)
    assert now.member.in_household
    assert now.scopes == {"member": str(card.member_id), "household": str(shared.member_id)}
    pool = await seen(coalition, shared.member_id)
    assert pool.scopes["household"] == str(shared.member_id)


async def test_of_a_birthday_only_the_distance_is_told_and_a_correction_does_not_bring_another(
    coalition: Coalition,
) -> None:
    async with coalition.database.transaction() as connection:
        born = await enrolment.enrol(
            connection, coalition.vault, enrolled_by=coalition.callers["bakery"].partner_id, at=NOON,
            personal=Personal(name="Ada", birth_date=date(1984, 2, 29)), consents=[ConsentGiven("PROGRAMME", "1", NOON)],
            language="en",
        )  # fmt: skip
    for day, away in (("2026-02-26", 2), ("2026-02-28", 0), ("2026-03-02", -2), ("2028-02-29", 0), ("2028-02-28", 1)):
        at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
        one = await seen(coalition, born.member_id, at=max(at, NOON), occurred=at)
        assert (one.member.days_to_birthday, one.member.enrolled_here) == (away, True), day
    for wish, at in (
        (date(1984, 3, 20), NOON),
        (date(1984, 8, 1), datetime.fromisoformat("2027-02-01T12:00:00+00:00")),
    ):
        async with coalition.database.transaction() as connection:
            with pytest.raises(birthdays.BirthDateFixed):
                await birthdays.correct(connection, coalition.vault, born.member_id, wish, at=at)
    async with coalition.database.transaction() as connection:
        await birthdays.correct(connection, coalition.vault, born.member_id, date(1984, 8, 1), at=NOON)
    async with coalition.database.transaction() as connection:
        with pytest.raises(birthdays.BirthDateFixed):
            await birthdays.correct(connection, coalition.vault, born.member_id, date(1984, 6, 1), at=NOON + DAY)
    told = await seen(coalition, born.member_id, occurred=datetime.fromisoformat("2026-08-01T12:00:00+00:00"))
    assert told.member.days_to_birthday == 0


async def test_two_who_add_up_at_once_add_once(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await buy(coalition, card)
    async with coalition.database.transaction() as one, coalition.database.transaction() as other:
        assert (await facts.fold(one, PROGRAMME)).changes == 1
        assert await facts.fold(other, PROGRAMME) == facts.Folded(0, 0, None)
    assert (await seen(coalition, card.member_id)).member.counters["coalition.ever.count"] == 1


async def test_the_audit_sees_what_is_wrong(coalition: Coalition, server: Server, database_name: str) -> None:
    card = await coalition.add_member()
    await buy(coalition, card)
    await fold(coalition)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    batch = (
        "INSERT INTO partners.coupon_batch (partner_id, code, kind, bound_to, honoured_by, valid_from, expires_at, per_receipt, needed)"
        " VALUES (0, 'b', 'UNIQUE', 'NOBODY', '{}', now(), now() + interval '1 day', 1, 1)"
    )
    coupon = "INSERT INTO partners.coupon (code_lookup, expires_at, batch_id, state, tail) VALUES (gen_random_uuid(), now(), 1, 3, 'ABC')"
    reward = (
        "INSERT INTO partners.reward (partner_id, code, names, points, stock, taken, tiers, badges, segments, valid_from, valid_until)"
        " VALUES (1, 'r', '{}', 1, 2, 1, '{}', '{}', '{}', now(), now() + interval '1 day')"
    )
    wrong = {
        "M1": (batch, coupon), "M2": ("INSERT INTO partners.coupon_count VALUES (0, 1, 4, 9)",), "M3": (reward,),
        "M4": ("UPDATE members.activity SET purchases = 7 WHERE period = 'ever' AND partner_id = 0",),
    }  # fmt: skip
    for rule, breaches in wrong.items():
        for breach in breaches:
            await owner.execute(breach)
        async with coalition.database.reading() as connection:
            found = await facts.audit(connection, PROGRAMME)
        assert {one.partition(":")[0] for one in found} >= {rule}, found
    await owner.execute("TRUNCATE partners.coupon_count, partners.reward, members.activity, members.activity_position")
    await owner.execute("TRUNCATE partners.coupon CASCADE")
    await owner.close()
