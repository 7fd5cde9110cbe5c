"""Points that a plan promises: for every month that is paid, once, for years and presents too; none in a trial."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit.database import Database
from kit.secrets import Vault
from members.subscription import plans, subscriptions
from members.subscription.plans import PlanDraft, PlanInvalid
from tests.members.subscribers import DAY, START, Club, Scripted, a_club

POINTS = {"allotment_points": 50, "allotment_issuer": 3, "allotment_on_leaving": "TAKE_BACK"}


template = a_club(**POINTS)


@pytest.fixture
async def shop(database: Database, vault: Vault) -> Club:
    return Club(database, vault, Scripted())


@pytest.mark.parametrize(
    ("interval", "script"), [("MONTH", ["PAID"]), ("YEAR", ["PAID"]), ("MONTH", ["PAID", "SOFT", "PAID"])]
)
async def test_every_month_that_is_paid_has_its_points_once(shop: Club, interval: str, script: list[str]) -> None:
    shop.provider.script = script  # type: ignore[attr-defined]
    its = await shop.subscribe(await shop.person(), interval=interval)
    while shop.at < START + 119 * DAY:
        await shop.pass_time(timedelta(hours=31))
    months = [(one.starts_at, one.points, one.issuer_id) for one in shop.allotted]
    assert len(months) == 4
    assert len({starts_at for starts_at, _, _ in months}) == 4
    assert {(points, issuer) for _, points, issuer in months} == {(50, 3)}
    assert all(one.subscription_no == its.subscription_no and one.unserved is None for one in shop.allotted)


async def test_a_trial_and_what_is_not_paid_have_none(shop: Club) -> None:
    await shop.subscribe(await shop.person(), wants_trial=True)
    await shop.pass_time(10 * DAY)
    assert shop.allotted == []
    shop.provider.script = ["SOFT"]  # type: ignore[attr-defined]
    await shop.pass_time(20 * DAY)
    assert shop.allotted == []


async def test_who_leaves_at_once_gives_back_what_of_the_month_is_not_served(shop: Club) -> None:
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    await shop.pass_time(START + 11 * DAY)
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    await shop.pass_time(90 * DAY)
    assert [(one.unserved, one.points) for one in shop.allotted] == [(None, 50), ((20, 31), 50)]


async def test_a_plan_whose_points_are_nobodys_cannot_be(shop: Club) -> None:
    before = await shop.database.pool.fetchval("SELECT count(*) FROM members.plan")
    for wrong in (
        {"allotment_points": 5},
        {"allotment_issuer": 3},
        {"allotment_points": -1},
        {"allotment_on_leaving": "?"},
    ):
        draft = PlanDraft("wrong", {"en": "W"}, (), **wrong)  # type: ignore[arg-type]
        with pytest.raises(PlanInvalid):
            await shop.do(plans.add, draft, actor="marketer")
    assert await shop.database.pool.fetchval("SELECT count(*) FROM members.plan") == before
