"""The pages of budgets in a real browser: more of one in force waits for a second person, who reads what stands against it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Page

from kit import actors, postgres
from tests.gateway.browsers import CHROMIUM
from tests.gateway.test_member_app import MOST_BYTES, SHOTS
from tests.gateway.town import AXE, Town
from tests.partners.promotions.market import bonus
from tests.partners.promotions.offers import document

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MIA, PAUL = "mia@example.org", "paul@example.org"
LIST, CAP, POT = "/console/budgets", "/console/budgets/bread-cap", "/console/budgets/bread-pot"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
async def quiet(town: Town) -> AsyncIterator[None]:
    """No test leaves a browser that complained: of a policy that was broken, of a script that failed."""
    town.complaints.clear()
    yield
    for context in town.browser.contexts:
        await context.close()
    assert town.complaints == []


@pytest.fixture(scope="module")
async def town(place: Town) -> Town:
    """The town with two marketers, and two budgets that a published release counts against."""
    await place.desk.invite("mia", MIA, [actors.PROMOTION_MAKER])
    await place.desk.invite("paul", PAUL, [actors.PROMOTION_CHECKER])
    market = place.fair.market
    await market.budget("bread-cap", limit=100)
    await market.budget("bread-pot", unit="money", currency="EUR", sponsor_id=0)
    few = {"where": {"partners": ["bakery"]}, "who": {"tiers": ["GOLD"]}}  # whom no other file buys for
    await market.publish(
        bonus("bread-gift", 5, caps=["bread-cap"], stack={"priority": 91}, **few),
        document("bread-off", {"type": "discount_percent", "rate_bp": 100}, caps=["bread-pot"],
                 stack={"priority": 92}, **few),
    )  # fmt: skip
    return place


async def staff(town: Town, address: str, onward: str, **options: object) -> Page:
    """A page at which somebody of staff is who signed in a moment ago."""
    return await town.signed_in(address, onward=onward, prefix="/staff", **{"viewport": DESKTOP, **options})


async def change(page: Page, limit: str, cover: str = "") -> None:
    await page.get_by_label("New limit").fill(limit)
    await page.get_by_label("What covers obligations").fill(cover)
    await page.get_by_role("button", name="Change", exact=True).dblclick()


async def test_where_nothing_waits_that_is_said(town: Town) -> None:
    page = await staff(town, PAUL, LIST)
    await page.get_by_text("Nothing waits for a decision.").wait_for()
    assert await page.get_by_role("link", name="Budgets").get_attribute("aria-current") == "page"


async def test_a_raise_is_proposed_by_keyboard_read_by_another_and_let_or_not(town: Town) -> None:
    page = await staff(town, MIA, CAP)
    await change(page, "90")  # less counts at once
    await page.locator("dd").get_by_text("90 points", exact=True).wait_for()
    await page.get_by_label("New limit").focus()
    await page.keyboard.type("100000")
    await page.keyboard.press("Tab")
    await page.keyboard.type("5")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="A higher limit").wait_for()
    assert re.fullmatch(f"{re.escape(town.url + CAP)}/proposals/[0-9]+", page.url)  # the proposal has a page of its own
    await page.get_by_text("You made this: somebody else has to decide.").wait_for()
    assert await page.get_by_role("button", name="Approve").count() == 0
    paul = await staff(town, PAUL, CAP)
    assert await paul.get_by_label("New limit").count() == 0  # who checks does not make
    assert await paul.get_by_role("button", name="Approve").count() == 0  # nor decides without what stands against it
    await town.open(paul, LIST)
    await paul.get_by_role("region", name="Waits for a second person").get_by_role("link", name="bread-cap").click()
    await paul.get_by_text("COVER_EXCEEDED").wait_for()
    await paul.get_by_role("button", name="Approve").click()
    await paul.get_by_role("heading", name="A higher limit").wait_for()  # the box has to be ticked
    await paul.get_by_label("Why, if there is something to say").fill("the partner pays")
    await paul.get_by_label("in spite of what stands against it").check()
    await paul.get_by_role("button", name="Approve").dblclick()
    ended = paul.get_by_role("region", name="What was proposed before")
    await ended.get_by_text("the partner pays").wait_for()
    await paul.locator("dd").get_by_text("100,000 points", exact=True).wait_for()
    release = await town.pool.fetchval("SELECT max(release_id) FROM partners.release")
    await town.open(paul, f"/console/releases/{release}")
    await paul.get_by_role("link", name="bread-cap", exact=True).click()  # a release says what it may give
    await ended.get_by_text("the partner pays").wait_for()
    # One that is declined is gone for whoever proposed it, with the reason.
    page = await staff(town, MIA, CAP)
    await change(page, "200000", "90000")
    await page.get_by_role("button", name="Take it back").wait_for()
    await town.open(paul, CAP)
    await paul.get_by_role("region", name="Waits for a second person").get_by_role("link").click()
    await paul.get_by_label("Why not").fill("enough for this month")
    await paul.get_by_role("button", name="Decline").click()
    await paul.get_by_role("region", name="What was proposed before").get_by_text("enough for this month").wait_for()
    await page.get_by_role("button", name="Take it back").click()
    await page.get_by_role("alert").get_by_text("Somebody has decided it already.").wait_for()
    # A payment waits likewise, and may be taken back.
    await town.open(page, POT)
    await page.get_by_label("Amount").fill("12.50")
    await page.get_by_label("The payer's reference").fill("P-1")
    await page.get_by_role("button", name="Record").dblclick()
    await page.get_by_role("heading", name="A payment into it").wait_for()
    await page.get_by_role("button", name="Take it back").dblclick()
    await page.get_by_role("region", name="What was proposed before").get_by_text("Taken back").wait_for()
    await page.get_by_label("Amount").fill("a lot")
    await page.get_by_label("The payer's reference").fill("P-2")
    await page.get_by_role("button", name="Record").click()
    await page.get_by_role("alert").wait_for()
    assert await page.get_by_label("The payer's reference").input_value() == "P-2"  # what was typed is there
    row = await town.pool.fetchrow("SELECT ceiling FROM partners.budget WHERE code = 'bread-pot'")
    assert row["ceiling"] == 0


async def test_what_waits_is_listed_while_nobody_can_count_how_much_is_used(
    town: Town, server: postgres.Server
) -> None:
    page = await staff(town, MIA, CAP)
    await change(page, "150000", "90000")
    await page.get_by_role("button", name="Take it back").wait_for()
    opened = page.url
    paul = await staff(town, PAUL, "/console")
    name = await town.pool.fetchval("SELECT current_database()")
    owner = await asyncpg.connect(server.dsn(name, server.superuser))
    try:
        await owner.execute("BEGIN")
        await owner.execute("LOCK TABLE partners.budget_counter IN ACCESS EXCLUSIVE MODE")
        await town.open(paul, LIST)
        listed = paul.get_by_role("region", name="Waits for a second person")
        await listed.get_by_role("cell", name="150,000").wait_for()
        await owner.execute("ROLLBACK")
    finally:
        await owner.close()
    await listed.get_by_role("link").last.click()
    await paul.get_by_text("Owed at most afterwards").wait_for()
    assert paul.url == opened
    await page.get_by_role("button", name="Take it back").click()
    await page.get_by_role("heading", name="bread-cap").wait_for()
    await town.open(paul, opened.removeprefix(town.url))
    await paul.locator(".state").get_by_text("Taken back").wait_for()
    for path in (f"{CAP}/proposals/999999", f"{CAP}/proposals/x", opened.removeprefix(town.url).replace(CAP, POT)):
        await town.breathe()
        assert (await paul.request.get(town.url + path)).status == 404, path


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.deep)])
async def test_axe_finds_nothing_and_nothing_runs_out(town: Town, scheme: str) -> None:
    page = await staff(town, MIA, CAP, color_scheme=scheme, viewport={"width": 320, "height": 700})
    await change(page, "300000")
    await page.get_by_role("button", name="Take it back").wait_for()
    own = page.url.removeprefix(town.url)
    paul = await staff(town, PAUL, LIST, color_scheme=scheme, viewport={"width": 320, "height": 700})
    for each, path in ((page, CAP), (page, own), (page, POT), (paul, LIST), (paul, CAP), (paul, own)):
        await town.open(each, path)
        assert 10_000 < await town.weight(each) <= MOST_BYTES, path
        await each.evaluate(AXE)
        found = await each.evaluate("axe.run({ resultTypes: ['violations'] })")
        told = [(path, one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
        assert told == []
        assert await each.evaluate("document.documentElement.scrollWidth") <= 320, path


@pytest.mark.skipif(SHOTS is None, reason="pictures are made by `make screens`")
async def test_pictures_of_the_screens_are_made(town: Town) -> None:
    folder = Path(SHOTS or "")
    page = await staff(town, MIA, CAP)
    await change(page, "250000", "90000")
    await page.get_by_role("button", name="Take it back").first.wait_for()
    own = page.url.removeprefix(town.url)
    for scheme, language, viewport in (("light", "en", DESKTOP), ("dark", "ru", PHONE)):
        for address, path, name in ((PAUL, LIST, "list"), (PAUL, own, "waiting")):
            page = await staff(town, address, "/console", color_scheme=scheme, viewport=viewport)
            await page.context.add_cookies([{"name": "language", "value": language, "url": town.url}])
            await town.open(page, path)
            await page.screenshot(path=folder / f"operator-budgets-{name}-{scheme}.png", full_page=True)
            await page.context.close()
