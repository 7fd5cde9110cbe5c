"""Publishing: two people, one line of releases, and nothing decided before it begins."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.actors import NotPermitted
from kit.approvals import AlreadyDecided, FourEyesRequired
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from partners.coupons import batches
from partners.coupons.batches import BatchDraft
from partners.directory import DirectoryCache
from partners.promotions import publishing
from partners.promotions.launching import Expectation, Objective
from partners.promotions.publishing import (
    Change,
    Launch,
    LaunchRefused,
    PromotionExists,
    PromotionUnknown,
    ReleaseInvalid,
    ReleaseOutdated,
    ReleaseRetroactive,
    ReleaseUnknown,
    RuleInvalid,
)
from tests.builders import DAY, NOON, a_receipt
from tests.founded import a_coalition
from tests.partners.promotions.market import EARLIER, Market, bonus, met_market, open_market
from tests.partners.promotions.offers import document, texts

TRACES = (
    "SELECT (SELECT count(*) FROM partners.rule_version), (SELECT count(*) FROM partners.release), "
    "(SELECT count(*) FROM partners.rule), (SELECT count(*) FROM kit.approval WHERE decided_at IS NOT NULL), "
    "(SELECT count(*) FROM kit.audit_trail), (SELECT revision FROM partners.revision)"
)


template = a_coalition(open_market, bakery={"return_window_days": 0})


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    made = await met_market(database, vault)
    yield made
    assert await made.violations() == []
    await made.desk.close()


async def refused(market: Market, no: type[Rejection], call: Callable[[AsyncConnection], Any]) -> Rejection:
    """The rejection of a call, which must have left nothing behind."""
    before = await market.desk.pool.fetchrow(TRACES)
    with pytest.raises(no) as caught:
        async with market.coalition.database.transaction() as connection:
            await call(connection)
    assert await market.desk.pool.fetchrow(TRACES) == before
    return caught.value


async def submit(market: Market, change: Change, *, at: Any = EARLIER, launch: Launch | None = None) -> int:
    async with market.coalition.database.transaction() as connection:
        return await publishing.submit(
            connection, change, effective_from=at, maker=market.maker, at=EARLIER, launch=launch
        )


async def drafted(market: Market, *sources: dict[str, Any]) -> None:
    async with market.coalition.database.transaction() as connection:
        for source in sources:
            await publishing.draft(connection, source=source, author=market.maker, at=EARLIER)


async def test_a_rule_that_is_edited_is_a_new_version_and_one_that_is_not_stays_the_same(market: Market) -> None:
    async with market.coalition.database.transaction() as connection:
        versions = [
            (await publishing.draft(connection, source=source, author=market.maker, at=EARLIER)).version
            for source in (bonus("gift", 5), bonus("gift", 5), bonus("gift", 6), bonus("gift", 5))
        ]
    assert versions == [1, 1, 2, 3]


async def test_a_document_with_an_error_is_answered_with_the_column_and_what_was_expected(market: Market) -> None:
    source = bonus("gift", 5, conditions=[{"id": "c1", "label": texts(), "cel": "member.teir == 'GOLD'"}])
    no = await refused(
        market, RuleInvalid,
        lambda connection: publishing.draft(connection, source=source, author=market.maker, at=EARLIER),
    )  # fmt: skip
    assert [problem.path for problem in no.problems] == [("conditions", "0", "cel")]
    assert no.problems[0].message == "column 7: member has no teir; expected tier"


async def test_a_rule_belongs_to_one_promotion_for_ever(market: Market) -> None:
    await drafted(market, bonus("gift", 5))
    async with market.coalition.database.transaction() as connection:
        await publishing.add_promotion(
            connection, code="other", names=texts(), sponsor_id=0, actor=market.maker, at=EARLIER
        )
    for promotion in ("other", "nowhere"):
        await refused(
            market, PromotionUnknown,
            lambda connection, promotion=promotion: publishing.draft(
                connection, source=bonus("gift", 6, promotion=promotion), author=market.maker, at=EARLIER
            ),
        )  # fmt: skip
    await refused(
        market, PromotionExists,
        lambda connection: publishing.add_promotion(
            connection, code="other", names=texts(), sponsor_id=0, actor=market.maker, at=EARLIER
        ),
    )  # fmt: skip


async def test_nothing_is_decided_by_a_release_that_nobody_else_approved(market: Market) -> None:
    await drafted(market, bonus("gift", 5))
    release_id = await submit(market, Change({"gift": None}))
    async with market.coalition.database.transaction() as connection:
        both = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_CHECKER])
    assert both == market.maker
    await refused(
        market, FourEyesRequired,
        lambda connection: publishing.approve(connection, release_id, checker=market.maker, at=EARLIER),
    )  # fmt: skip
    await refused(
        market, NotPermitted,
        lambda connection: publishing.approve(connection, release_id, checker=market.coalition.checker, at=EARLIER),
    )  # fmt: skip
    await market.desk.directory.refresh()
    card = await market.coalition.add_member()
    assert (await market.decide(card, a_receipt(50))).award.points == 0
    async with market.coalition.database.transaction() as connection:
        await publishing.approve(connection, release_id, checker=market.checker, at=EARLIER)
    await market.desk.directory.refresh()
    assert (await market.decide(card, a_receipt(50))).award.points == 5
    await refused(
        market, AlreadyDecided,
        lambda connection: publishing.decline(connection, release_id, checker=market.checker, at=EARLIER),
    )  # fmt: skip


async def test_a_declined_release_never_decides_anything(market: Market) -> None:
    await drafted(market, bonus("gift", 5))
    release_id = await submit(market, Change({"gift": None}))
    async with market.coalition.database.transaction() as connection:
        await publishing.decline(connection, release_id, checker=market.checker, at=EARLIER)
    await market.desk.directory.refresh()
    assert (await market.decide(await market.coalition.add_member(), a_receipt(50))).award.points == 0
    await refused(
        market, ReleaseUnknown,
        lambda connection: publishing.approve(connection, 999, checker=market.checker, at=EARLIER),
    )  # fmt: skip


async def test_a_release_begins_when_it_says_and_what_happened_before_is_decided_by_the_one_before(
    market: Market,
) -> None:
    await market.publish(bonus("gift", 5))
    await market.publish(bonus("gift", 9), effective_from=NOON + DAY)
    card = await market.coalition.add_member()
    points = [
        (await market.decide(card, a_receipt(50, at=NOON + n * DAY), at=NOON + 5 * DAY)).award.points for n in (0, 1)
    ]
    assert points == [5, 9]


async def test_two_releases_made_on_the_same_one_cannot_both_be_published(market: Market) -> None:
    await drafted(market, bonus("one", 1), bonus("two", 2, stack={"priority": 11}))
    first, second = await submit(market, Change({"one": None})), await submit(market, Change({"two": None}))
    async with market.coalition.database.transaction() as connection:
        await publishing.approve(connection, first, checker=market.checker, at=EARLIER)
    await refused(
        market, ReleaseOutdated,
        lambda connection: publishing.approve(connection, second, checker=market.checker, at=EARLIER),
    )  # fmt: skip


async def test_a_release_that_would_have_begun_already_is_refused(market: Market) -> None:
    await drafted(market, bonus("gift", 5))
    release_id = await submit(market, Change({"gift": None}), at=EARLIER)
    await refused(
        market, ReleaseRetroactive,
        lambda connection: publishing.approve(connection, release_id, checker=market.checker, at=EARLIER + DAY),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "change", "told"),
    [
        ([bonus("gift", 5, caps=["nothing"])], Change({"gift": None}), "caps"),
        ([bonus("gift", 5, funding=[{"party": "nobody", "bp": 10_000}])], Change({"gift": None}), "funding"),
        ([bonus("gift", 5)], Change({"gift": 7}), "gift"),
        ([], Change({}, ["gift"]), "gift"),
        ([bonus("one", 5), bonus("two", 6)], Change({"one": None, "two": None}), "two"),
        ([bonus("gift", 5, stack={"priority": 1, "group": "nowhere"})], Change({"gift": None}), "group"),
        ([bonus("gift", 5)], Change({"gift": None}, groups=[{"code": "g", "mode": "SOME", "priority": 1}]), "groups"),
    ],
    ids=["budget", "payer", "version", "without", "priority", "group", "mode"],
)
async def test_rules_that_cannot_be_released_together_are_refused_with_the_place(
    market: Market, sources: list[dict[str, Any]], change: Change, told: str
) -> None:
    await drafted(market, *sources)
    no = await refused(
        market, ReleaseInvalid,
        lambda connection: publishing.submit(
            connection, change, effective_from=EARLIER, maker=market.maker, at=EARLIER
        ),
    )  # fmt: skip
    assert told in [part for problem in no.problems for part in (*problem.path, *problem.message.split())]


async def test_what_a_rule_leans_on_must_be_there_or_it_would_give_nothing_without_a_word(market: Market) -> None:
    wrong = {
        "where.partners": bonus("a", 1, where={"partners": ["bakery", "bakrey"]}),
        "where.outlets": bonus("b", 1, where={"outlets": ["bakery:1", "bakery:2"]}, stack={"priority": 11}),
        "codes.required": bonus("c", 1, codes={"required": "spring"}, stack={"priority": 12}),
        "costs.unit": bonus("d", 1, costs={"unit": "cup", "quantity": 9}, stack={"priority": 13}),
        "effect.batch": document("e", {"type": "grant_coupon", "batch": "next"}, stack={"priority": 14}),
        "effect.unit": document("f", {"type": "grant_stamp", "unit": "cup"}, stack={"priority": 15}),
        "effect.raffle": document("g", {"type": "raffle_ticket", "raffle": "car"}, stack={"priority": 16}),
        "event": bonus("h", 1, trigger="event", event="newslettre", stack={"priority": 17}),
    }
    await drafted(market, *wrong.values())
    change = Change({source["code"]: None for source in wrong.values()})
    no = await refused(
        market, ReleaseInvalid,
        lambda connection: publishing.submit(
            connection, change, effective_from=EARLIER, maker=market.maker, at=EARLIER
        ),
    )  # fmt: skip
    told = {(problem.path[1], ".".join(problem.path[2:])): problem.message for problem in no.problems}
    assert told.keys() == {(source["code"], path) for path, source in wrong.items()}
    assert told["a", "where.partners"] == "there is no partner bakrey"


async def test_a_rule_uses_up_as_many_coupons_as_one_purchase_takes_of_their_batch(market: Market) -> None:
    """Three are one benefit: of a rule that used up one the till heard that more are needed, however many were shown."""
    async with market.coalition.database.transaction() as connection:
        draft = BatchDraft("saving", EARLIER, NOON + 90 * DAY, per_receipt=6, needed=3)
        await batches.add(connection, market.coalition.vault, draft, actor=market.maker, at=EARLIER)

    def saver(quantity: int, **more: bool) -> dict[str, Any]:
        return bonus(f"saver-{quantity}", 100, codes={"required": "saving", "quantity": quantity, **more})

    for quantity in (1, 4, 9):
        await drafted(market, saver(quantity))
        change = Change({f"saver-{quantity}": None})
        submit = functools.partial(
            publishing.submit, change=change, effective_from=EARLIER, maker=market.maker, at=EARLIER
        )
        no = await refused(market, ReleaseInvalid, submit)
        assert [(one.path, one.code) for one in no.problems] == [
            (("rules", f"saver-{quantity}", "codes", "quantity"), "QUANTITY")
        ]
    await market.publish(saver(3))
    await market.publish(saver(2, uses_up=False) | {"stack": {"priority": 11}})


async def test_suspending_takes_one_person_works_at_once_and_on_what_is_still_to_come(market: Market) -> None:
    await market.publish(bonus("gift", 5), bonus("kept", 3, stack={"priority": 11}))
    await market.publish(bonus("later", 2, stack={"priority": 12}), effective_from=NOON + 10 * DAY)
    async with market.coalition.database.transaction() as connection:
        made = await publishing.suspend(connection, ["gift"], actor=market.checker, at=NOON)
        assert (await publishing.latest(connection)).release_id == made[-1]
    assert len(made) == 2
    await market.desk.directory.refresh()
    card = await market.coalition.add_member()
    moments = (NOON - DAY, NOON, NOON + 11 * DAY)
    points = [(await market.decide(card, a_receipt(50, at=at), at=NOON + 12 * DAY)).award.points for at in moments]
    assert points == [8, 3, 5]
    await refused(
        market, ReleaseInvalid,
        lambda connection: publishing.suspend(connection, ["gift"], actor=market.maker, at=NOON),
    )  # fmt: skip
    await refused(
        market, NotPermitted,
        lambda connection: publishing.suspend(connection, ["kept"], actor=market.coalition.checker, at=NOON),
    )  # fmt: skip


async def test_another_process_hears_of_a_release(market: Market, database: Database, vault: Vault) -> None:
    now = 0.0
    other = DirectoryCache(database.pool, vault, monotonic=lambda: now)
    assert (await other.get()).shelf.known == []
    release_id = await market.publish(bonus("gift", 5))
    now += 60
    assert (await other.get()).shelf.known == [release_id]


async def test_what_is_stored_is_what_is_hashed(market: Market) -> None:
    release_id = await market.publish(bonus("gift", 5))
    row = await market.desk.pool.fetchrow("SELECT * FROM partners.release WHERE release_id = $1", release_id)
    release = (await market.desk.directory.get()).shelf.release(release_id)
    assert row["sha256"] == release.content_sha256
    assert await market.desk.pool.fetchval(
        "SELECT bool_and(sha256 = encode(sha256(convert_to(document, 'UTF8')), 'hex')) FROM partners.rule_version"
    )
    assert await market.desk.pool.fetchval(
        "SELECT bool_and(sha256 = encode(sha256(convert_to(manifest, 'UTF8')), 'hex')) FROM partners.release"
    )


async def test_a_launch_that_gains_less_than_it_costs_takes_a_second_person_who_says_so(market: Market) -> None:
    await drafted(market, bonus("gift", 5))
    expected = Expectation(
        added_sales_minor=1_000, margin_bp=3_000, cost_minor=400, obligation_minor=10, standing_minor=0, cover_minor=100
    )
    launch = Launch(Objective("sales", 1_000, date(2026, 12, 31)), expected)
    release_id = await submit(market, Change({"gift": None}), launch=launch)
    no = await refused(
        market, LaunchRefused,
        lambda connection: publishing.approve(connection, release_id, checker=market.checker, at=EARLIER),
    )  # fmt: skip
    assert [problem.code for problem in no.problems] == ["GAIN_NOT_ABOVE_COST"]
    async with market.coalition.database.transaction() as connection:
        await publishing.approve(connection, release_id, checker=market.checker, at=EARLIER, in_spite=True)
    said = "SELECT detail ->> 'in_spite' FROM kit.audit_trail WHERE action = 'RELEASE_PUBLISHED'"
    assert await market.desk.pool.fetchval(said) == "true"


async def test_an_objective_is_to_be_reached_after_the_launch_and_not_only_after_it_was_submitted(
    market: Market,
) -> None:
    await drafted(market, bonus("gift", 5))
    expected = Expectation(
        added_sales_minor=10_000, margin_bp=3_000, cost_minor=1, obligation_minor=1, standing_minor=0, cover_minor=100
    )
    begins = EARLIER + 30 * DAY
    for due, count in ((begins.date(), 1), ((begins + DAY).date(), 0)):
        launch = Launch(Objective("sales", 1_000, due), expected)
        release_id = await submit(market, Change({"gift": None}), at=begins, launch=launch)
        async with market.coalition.database.reading() as connection:
            (found,) = [one for one in await publishing.register(connection) if one.release_id == release_id]
        assert len(found.against) == count


async def test_a_circle_in_which_points_earn_points_is_refused_and_printed(market: Market) -> None:
    source = document("circle", {"type": "points_per_money", "rate_bp": 20_000, "base": "net"})
    await drafted(market, source)
    no = await refused(
        market, ReleaseInvalid,
        lambda connection: publishing.submit(
            connection, Change({"circle": None}), effective_from=EARLIER, maker=market.maker, at=EARLIER
        ),
    )  # fmt: skip
    assert [problem.code for problem in no.problems] == ["POINTS_EARN_POINTS"]
