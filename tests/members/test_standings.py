from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from kit.database import Database
from kit.secrets import Vault
from members import cards, identification, standings, tiers
from members.tiers import Standing
from tests.members.people import AT, accrue, enrol, everything_written, give_back, spend

DAY = timedelta(days=1)
YEAR = timedelta(days=365)


async def test_points_of_twelve_months_make_a_tier_and_are_written_once(database: Database, vault: Vault) -> None:
    gold, silver, base = [(await enrol(database, vault)).member_id for _ in range(3)]
    async with database.transaction() as connection:
        await accrue(connection, gold, 5_000, AT)
        await accrue(connection, silver, 1_000, AT, pending_days=14)
        await accrue(connection, base, 999, AT)
        assert await standings.assess(connection, at=AT + DAY) == standings.Assessment(3, 2, None)
    written = await everything_written(database)
    async with database.transaction() as connection:
        assert await standings.assess(connection, at=AT + 2 * DAY) == standings.Assessment(3, 0, None)
    assert await everything_written(database) == written
    until = AT + DAY + YEAR
    async with database.reading() as connection:
        held = {
            member_id: await standings.standing(connection, member_id, AT + DAY) for member_id in (gold, silver, base)
        }
        before = await standings.standing(connection, gold, AT + timedelta(hours=1))
    assert held == {
        gold: Standing("GOLD", until, None),
        silver: Standing("SILVER", until, 4_000),
        base: Standing("BASE", None, 1),
    }
    assert before == Standing("BASE", None, 0)


async def test_an_identified_member_carries_the_assessed_tier(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    async with database.transaction() as connection:
        await accrue(connection, enrolled.member_id, 1_000, AT)
        await standings.assess(connection, at=AT + DAY)
    found = (await identification.identify_cards(database.pool, vault, [enrolled.card.number]))[enrolled.card.number]
    assert isinstance(found, identification.Identified)
    assert found.tier == "SILVER"


async def test_spending_lowers_no_tier_and_a_return_does(database: Database, vault: Vault) -> None:
    spends, returns = [(await enrol(database, vault)).member_id for _ in range(2)]
    async with database.transaction() as connection:
        for member_id in (spends, returns):
            seq = await accrue(connection, member_id, 1_000, AT)
        await spend(connection, spends, 1_000, AT + DAY)
        await give_back(connection, returns, seq, 1, AT + DAY)
        await standings.assess(connection, at=AT + 2 * DAY)
        assert (await standings.standing(connection, spends, AT + 2 * DAY)).tier == "SILVER"
        assert await standings.standing(connection, returns, AT + 2 * DAY) == Standing("BASE", None, 1)


async def test_a_tier_stays_to_its_end_then_falls_to_what_qualifies(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    reached = AT + DAY
    end = tiers.months_later(reached, 12)
    async with database.transaction() as connection:
        await accrue(connection, member_id, 6_000, AT)
        await standings.assess(connection, at=reached)
        await accrue(connection, member_id, 1_500, end - 30 * DAY)
        assert (await standings.assess(connection, at=end - timedelta(seconds=1))).changes == 0
        assert (await standings.assess(connection, at=end)).changes == 1
        assert await standings.standing(connection, member_id, end) == Standing(
            "SILVER", tiers.months_later(end, 12), 3_500
        )
        assert (await standings.standing(connection, member_id, end - timedelta(seconds=1))).tier == "GOLD"
        later = tiers.months_later(end, 12)
        assert (await standings.assess(connection, at=later)).changes == 1
        assert await standings.standing(connection, member_id, later) == Standing("BASE", None, 1_000)


async def test_who_qualifies_again_at_the_end_begins_anew(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    async with database.transaction() as connection:
        await accrue(connection, member_id, 1_000, AT)
        await standings.assess(connection, at=AT + DAY)
        end = tiers.months_later(AT + DAY, 12)
        await accrue(connection, member_id, 1_000, end - DAY)
        assert (await standings.assess(connection, at=end)).changes == 1
        assert await standings.standing(connection, member_id, end) == Standing(
            "SILVER", tiers.months_later(end, 12), 4_000
        )


async def test_only_the_window_counts_its_start_in_its_end_out(database: Database, vault: Vault) -> None:
    inside, before, after = [(await enrol(database, vault)).member_id for _ in range(3)]
    at = tiers.months_later(AT, 12)
    async with database.transaction() as connection:
        await accrue(connection, inside, 1_000, AT)
        await accrue(connection, before, 1_000, AT - timedelta(microseconds=1))
        await accrue(connection, after, 1_000, at)
        await standings.assess(connection, at=at)
        assert (await standings.standing(connection, inside, at)).tier == "SILVER"
        assert (await standings.standing(connection, before, at)).tier == "BASE"
        assert (await standings.standing(connection, after, at)).tier == "BASE"


async def test_an_assessment_goes_on_where_it_stopped(database: Database, vault: Vault) -> None:
    for _ in range(5):
        member_id = (await enrol(database, vault)).member_id
        async with database.transaction() as connection:
            await accrue(connection, member_id, 1_000, AT)
    after: int | None = 0
    counts = []
    while after is not None:
        async with database.transaction() as connection:
            part = await standings.assess(connection, at=AT + DAY, after=after, limit=2)
        counts.append((part.members, part.changes))
        after = part.next_after
    assert counts == [(2, 2), (2, 2), (1, 1)]


async def test_anonymous_holders_and_who_left_are_not_assessed(database: Database, vault: Vault) -> None:
    left = (await enrol(database, vault)).member_id
    async with database.transaction() as connection:
        [card] = await cards.issue_anonymous(connection, vault, 1, AT)
        for member_id in (left, card.member_id):
            await accrue(connection, member_id, 1_000, AT)
        await connection.execute(
            text("UPDATE members.member SET status = 'CLOSED' WHERE member_id = :id"), {"id": left}
        )
        assert await standings.assess(connection, at=AT + DAY) == standings.Assessment(0, 0, None)


async def test_nobody_has_no_standing(database: Database) -> None:
    with pytest.raises(cards.MemberUnknown):
        async with database.reading() as connection:
            await standings.standing(connection, 1, AT)
