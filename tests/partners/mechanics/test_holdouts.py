"""Who is held out of promotions: drawn once, stored before anything is shown, and not a base point less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kit.database import Database
from kit.secrets import Vault
from members.cards import IssuedCard
from partners.decisions import rules
from partners.decisions.deciding import decide_many
from partners.mechanics import arms, offers
from partners.mechanics.documents import HoldoutDocument
from partners.promotions import explanations
from partners.promotions.holdouts import CONTROL, TREATED, arm
from partners.tills import tills
from tests.builders import DAY, NOON, a_receipt, identified
from tests.partners.mechanics.fair import Fair, a_fair, met
from tests.partners.promotions.market import bonus

SALT = "spring-2026"


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def stored(fair: Fair) -> dict[tuple[int, str], str]:
    rows = await fair.coalition.desk.pool.fetch("SELECT holder_id, experiment, arm FROM partners.holdout_arm")
    return {(row["holder_id"], row["experiment"]): row["arm"] for row in rows}


async def two(fair: Fair, experiment: str = "spring") -> tuple[IssuedCard, IssuedCard]:
    """A member who falls into the control group of half of all, and one who does not."""
    found: dict[str, IssuedCard] = {}
    while len(found) < 2:
        card = await fair.coalition.add_member()
        found.setdefault(arm(experiment, salt=SALT, member=str(card.member_id), control_bp=5_000), card)
    return found[CONTROL], found[TREATED]


async def test_the_control_group_gets_neither_the_offer_nor_its_points_and_every_base_point(fair: Fair) -> None:
    """Seen by the quote, the offers, the purchase, a file of purchases and the operator's explanation."""
    await fair.agree("HOLDOUT", "spring", control_bp=5_000, salt=SALT)
    await fair.market.publish(
        bonus("tried", 30, experiment="spring", stack={"priority": 1}), bonus("plain", 5, stack={"priority": 2})
    )
    held_out, treated = await two(fair)
    desk, caller = fair.coalition.desk, fair.coalition.callers["bakery"]
    assert await stored(fair) == {}
    shown = {
        card.member_id: {one.code for one in await offers.offers_to(desk, caller, identified(card), at=NOON)}
        for card in (held_out, treated)
    }
    assert shown == {held_out.member_id: {"plain"}, treated.member_id: {"plain", "tried"}}
    assert await stored(fair) == {(held_out.member_id, "spring"): CONTROL, (treated.member_id, "spring"): TREATED}
    quoted = await tills.quote(desk, caller, fair.ref(held_out), a_receipt(10_000, at=NOON), at=NOON)
    assert quoted.prepared.award.points == 100 + 5
    assert quoted.prepared.decided is not None
    assert "tried" not in {one.rule for one in rules.for_till(quoted.prepared.decided)}
    basis = quoted.prepared.decided.basis
    told = explanations.explain(basis.release, quoted.prepared.decided.basket, basis.context, basis.counters)
    assert (told.why_not("tried") or told.rules[0]).reason == "HOLDOUT"
    bought = [await fair.market.buy(card, a_receipt(10_000, at=NOON)) for card in (held_out, treated)]
    assert [one.receipt.awarded_points for one in bought] == [100 + 5, 100 + 30 + 5]
    directory = await desk.directory.get()
    filed = await decide_many(
        desk,
        directory,
        caller,
        [(identified(card), a_receipt(10_000, at=NOON)) for card in (treated, held_out)],
        at=NOON,
    )
    assert [one.award.points for one in filed] == [135, 105]  # type: ignore[union-attr]


async def test_an_arm_is_stored_once_and_stays_whatever_becomes_of_the_share(fair: Fair) -> None:
    await fair.agree("HOLDOUT", "spring", control_bp=5_000, salt=SALT)
    await fair.market.publish(bonus("tried", 30, experiment="spring"))
    held_out, treated = await two(fair)
    for card in (held_out, treated, treated):
        await fair.market.buy(card, a_receipt(10_000, at=NOON))
    before = await stored(fair)
    await fair.agree("HOLDOUT", "spring", valid_from=NOON, control_bp=0, salt="another one")
    fresh = arms.Arms(fair.coalition.desk.pool)  # another process, which has seen nothing
    nobody = {"spring": HoldoutDocument(control_bp=0, salt="another one")}
    assert await fresh.held_out(held_out.member_id, nobody, at=NOON) == {"spring": CONTROL}
    assert await fresh.held_out(treated.member_id, nobody, at=NOON) == {}
    newcomer = await fair.coalition.add_member()
    drawn = [arms.Arms(fair.coalition.desk.pool) for _ in range(8)]
    everybody = {"spring": HoldoutDocument(control_bp=10_000, salt=SALT)}
    told = await asyncio.gather(
        *(one.held_out(newcomer.member_id, everybody if at % 2 else nobody, at=NOON) for at, one in enumerate(drawn))
    )
    assert len({tuple(one) for one in told}) == 1  # eight at once, and one draw counts
    assert await stored(fair) == before | {(newcomer.member_id, "spring"): CONTROL if told[0] else TREATED}
    for one in (fresh, *drawn):
        await one.close()


async def test_of_the_programmes_own_experiment_every_promotion_is_withheld_and_it_is_replayed_so(fair: Fair) -> None:
    await fair.agree("HOLDOUT", "global", control_bp=10_000, salt=SALT)
    await fair.market.publish(bonus("gift", 30))
    card = await fair.coalition.add_member()
    done = await fair.market.buy(card, a_receipt(10_000, at=NOON))
    assert done.receipt.awarded_points == 100
    assert done.receipt.decision["known"]["arms"] == {"GLOBAL": CONTROL}
    assert await stored(fair) == {(card.member_id, "GLOBAL"): CONTROL}
    writes = await fair.coalition.desk.pool.fetchval("SELECT max(xmin::text::bigint) FROM partners.holdout_arm")
    await fair.market.buy(card, a_receipt(10_000, at=NOON + DAY))
    assert await fair.coalition.desk.pool.fetchval("SELECT max(xmin::text::bigint) FROM partners.holdout_arm") == writes
