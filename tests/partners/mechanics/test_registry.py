"""Mechanics take two people, are versioned and never edited; what is wrong with one is told by its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kit import actors, approvals
from kit.approvals import FourEyesRequired
from kit.database import Database
from kit.secrets import Vault
from members import standings
from members.tiers import STANDARD
from partners.decisions import preparing
from partners.mechanics import documents, facts, ranks, registry
from partners.mechanics.registry import Draft
from partners.purchases import purchases
from tests.builders import PROGRAMME, a_receipt, identified
from tests.partners.mechanics.fair import DAY, EARLIER, NOON, Fair, a_fair, met

LADDER = {"steps": [{"tier": "FRIEND", "ways": [{"purchases": 2}, {"amount_minor": 100_000}]}], "months": 6}


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def propose(fair: Fair, kind: str, code: str, document: dict[str, Any]) -> int:
    async with fair.coalition.database.transaction() as connection:
        return await registry.propose(
            connection, Draft(kind, code, document, EARLIER), maker=fair.market.maker, at=EARLIER
        )


async def test_who_proposes_does_not_approve(fair: Fair) -> None:
    number = await propose(fair, documents.LADDER, "tiers", LADDER)
    async with fair.coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER, actors.PROMOTION_CHECKER])
    await fair.refused(decide(fair, number, fair.market.maker), FourEyesRequired)
    await decide(fair, number, fair.market.checker, approved=False)
    async with fair.coalition.database.reading() as connection:
        assert await registry.ladder(connection, at=NOON) == STANDARD


async def decide(fair: Fair, number: int, checker: int, *, approved: bool = True) -> int | None:
    async with fair.coalition.database.transaction() as connection:
        proposal = await approvals.read(connection, number)
        return await registry.decide(connection, proposal, checker=checker, approved=approved, at=EARLIER)


async def test_a_version_counts_from_its_instant_and_the_ones_before_stay(fair: Fair) -> None:
    assert await fair.agree(documents.EVENT, "visit") == 1
    assert await fair.agree(documents.EVENT, "visit", valid_from=NOON, moderated=True) == 2
    async with fair.coalition.database.reading() as connection:
        seen = [await registry.event(connection, "visit", at=at) for at in (EARLIER - DAY, EARLIER, NOON)]
    assert [one and one.moderated for one in seen] == [None, False, True]
    await fair.refused(agree_again(fair), registry.MechanicRetroactive)


async def agree_again(fair: Fair) -> None:
    await fair.agree(documents.EVENT, "visit", valid_from=NOON - DAY)


@pytest.mark.parametrize(
    ("kind", "code", "document", "path"),
    [
        ("NOTHING", "x", {}, ("kind",)),
        (documents.LADDER, "other", LADDER, ("code",)),
        (documents.EVENT, "No Code", {}, ("code",)),
        (documents.EVENT, "visit", {"onec": "member"}, ("document", "onec")),
        (documents.EVENT, "visit", {"once": "twice"}, ("document", "once")),
        (documents.LADDER, "tiers", {"steps": []}, ("document", "steps")),
        (documents.LADDER, "tiers", {"steps": [{"tier": "A", "ways": [{"points": 0}]}]}, ("document",)),
        (documents.INVITATION, "invitations", {"per_year": 0}, ("document", "per_year")),
    ],
)
async def test_what_is_wrong_is_told_by_its_place(
    fair: Fair, kind: str, code: str, document: dict[str, Any], path: tuple[str, ...]
) -> None:
    no = await fair.refused(propose(fair, kind, code, document), registry.MechanicInvalid)
    assert no.problems[0].path == path


async def test_the_ladder_in_force_decides_tiers_on_what_was_bought(fair: Fair) -> None:
    await fair.agree(documents.LADDER, "tiers", **LADDER)
    card = await fair.coalition.add_member()
    caller = fair.coalition.callers["bakery"]
    for number in range(2):
        directory = await fair.coalition.desk.directory.get()
        receipt = a_receipt(500, at=NOON + number * DAY)
        prepared = preparing.prepare(
            directory, caller, identified(card), receipt, at=receipt.occurred_at, idem_key=None
        )
        await purchases.accrue(fair.coalition.desk, prepared)
    at = NOON + 3 * DAY
    async with fair.coalition.database.transaction() as connection:
        ladder = await registry.ladder(connection, at=at)
        assert (await standings.assess(connection, at=at, ladder=ladder)).changes == 0
        await facts.fold(connection, PROGRAMME)
        assert (await standings.standing(connection, card.member_id, at, ladder=ladder)).ways == (
            {},
            {"amount_minor": 99_000},
        )
        assert (await standings.assess(connection, at=at, ladder=ladder)).changes == 1
        held = await standings.standing(connection, card.member_id, at, ladder=ladder)
    assert (held.tier, held.points_to_next) == ("FRIEND", None)
    row = await fair.coalition.desk.pool.fetchrow("SELECT ladder_version, facts FROM members.tier_assessment")
    assert row["ladder_version"] == 1
    assert '"purchases": 2' in row["facts"]


async def test_a_tier_that_is_reached_counts_at_once_and_ends_at_its_end(fair: Fair) -> None:
    await fair.agree(documents.LADDER, "tiers", **LADDER)
    card = await fair.coalition.add_member()
    climbers = ranks.Climbers()
    database = fair.coalition.database
    assert await climbers.step(database, at=NOON) == (0, False)
    for number, changed in ((0, 0), (1, 1)):
        at = NOON + number * DAY
        await fair.market.buy(card, a_receipt(500, at=at), at=at)
        changes, is_more = await climbers.step(database, at=at)
        while is_more:
            more, is_more = await climbers.step(database, at=at)
            changes += more
        assert changes == changed
    row = await fair.coalition.desk.pool.fetchrow("SELECT tier, tier_until FROM members.member")
    assert row["tier"] == "FRIEND"
    async with database.transaction() as connection:
        assert (await ranks.assess(connection, at=row["tier_until"])).changes == 1
    assert await fair.coalition.desk.pool.fetchval("SELECT tier FROM members.member") == "BASE"


async def test_a_tier_that_is_taken_off_the_ladder_stays_to_its_end(fair: Fair) -> None:
    steps = [
        {"tier": name, "ways": [{"purchases": number}]} for number, name in enumerate(("FRIEND", "STAR", "ELITE"), 1)
    ]
    await fair.agree(documents.LADDER, "tiers", steps=steps, months=6)
    await fair.agree(documents.LADDER, "tiers", steps=[steps[0], steps[2]], months=6, valid_from=NOON + 2 * DAY)
    card = await fair.coalition.add_member()
    database = fair.coalition.database

    async def bought(day: int) -> tuple[int, str]:
        at = NOON + day * DAY
        await fair.market.buy(card, a_receipt(500, at=at), at=at)
        async with database.transaction() as connection:
            changes = (await ranks.assess(connection, at=at)).changes
        return changes, await fair.coalition.desk.pool.fetchval("SELECT tier FROM members.member")

    assert await bought(0) == (1, "FRIEND")
    assert await bought(1) == (1, "STAR")
    async with database.transaction() as connection:
        assert (await ranks.assess(connection, at=NOON + 3 * DAY)).changes == 0
    assert await bought(4) == (1, "ELITE")
