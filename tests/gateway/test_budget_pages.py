"""The pages of budgets in a real browser: more of one in force waits for a second person, who reads what stands against it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from playwright.async_api import Locator, Page

from gateway.pages import operator_budgets
from gateway.sessions import session
from kit import actors, postgres
from partners.promotions import publishing
from partners.promotions.launching import Expectation, Objective
from partners.promotions.publishing import Change, Launch
from tests.builders import DAY
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


async def refused_once(page: Page) -> None:
    """A new budget was sent that cannot be; the page says where."""
    for name, text in (("code", "summer-cap"), ("limit", "ten"), ("zone", "Europe/Chisinau"), ("days", "30")):
        await page.locator(f"#{name}").fill(text)
    await page.locator("form.long").get_by_role("button").click()
    await page.get_by_role("alert").wait_for()


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


async def added(town: Town) -> list[dict[str, Any]]:
    """Every budget as it is kept, and how many changes and entries of the trail there are about any."""
    rows = await town.pool.fetch(
        "SELECT code, unit, currency, scopes, period, zone, on_exceed, sponsor_id, ceiling, "
        "(SELECT count(*) FROM partners.budget_limit) AS changes, "
        "(SELECT count(*) FROM kit.audit_trail WHERE subject LIKE 'budget:%') AS trail "
        "FROM partners.budget ORDER BY budget_id"
    )
    return [dict(row) for row in rows]


async def test_a_budget_is_added_by_keyboard_once_and_the_trail_says_by_whom(town: Town) -> None:
    before = await added(town)
    page = await staff(town, MIA, LIST)
    await page.get_by_role("link", name="Add a budget").focus()
    await page.keyboard.press("Enter")
    assert page.url.endswith("#add")
    await page.keyboard.press("Tab")
    await page.keyboard.type("cake-cap")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.type("12 000")  # as people write it
    await page.get_by_label("per member", exact=True).focus()
    await page.keyboard.press("Space")
    await page.get_by_label("per outlet", exact=True).check()
    await page.get_by_label("Period").select_option("any days in a row")
    await page.get_by_label("How many days in a row").fill("30")
    await page.get_by_label("Time zone").fill("Europe/Chisinau")
    await page.get_by_label("the rest: a rule gives as much as is left").check()
    await page.get_by_label("Code of the partner whose it is").fill("bakery")
    await page.get_by_role("button", name="Add", exact=True).dblclick()
    await page.get_by_role("heading", name="cake-cap").wait_for()
    assert page.url == town.url + "/console/budgets/cake-cap"
    await page.reload()  # what is loaded again adds nothing
    await page.get_by_text("any 30 days in a row").wait_for()
    *earlier, row = await added(town)
    bakery = town.fair.coalition.callers["bakery"].partner_id
    assert row == {
        "code": "cake-cap", "unit": "points", "currency": None, "scopes": ["member", "outlet"], "period": "rolling:30",
        "zone": "Europe/Chisinau", "on_exceed": "partial", "sponsor_id": bakery, "ceiling": 12_000,
        "changes": before[-1]["changes"] + 1, "trail": before[-1]["trail"] + 1,
    }  # fmt: skip
    assert len(earlier) == len(before)
    trail = "SELECT actor, action FROM kit.audit_trail WHERE subject = 'budget:cake-cap'"
    assert [tuple(each) for each in await town.pool.fetch(trail)] == [("mia", "BUDGET_ADDED")]
    # One of money is as large as what is paid in, on the page to which it leads.
    await town.open(page, LIST)
    await page.get_by_label("Code, for ever").fill("cake-pot")
    await page.get_by_label("money that rules take off").check()
    await page.get_by_label("Currency").select_option("EUR")
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_role("heading", name="Record a payment into it").wait_for()
    made = (await added(town))[-1]
    assert (made["code"], made["unit"], made["currency"], made["ceiling"], made["sponsor_id"]) == (
        "cake-pot", "money", "EUR", 0, 0,
    )  # fmt: skip


async def test_what_is_wrong_with_a_new_budget_is_said_at_its_field_and_nothing_typed_is_lost(town: Town) -> None:
    before = await added(town)
    page = await staff(town, MIA, LIST)
    code, limit, days = (page.get_by_label(name) for name in ("Code, for ever", "Limit", "How many days in a row"))
    zone, sponsor = page.get_by_label("Time zone"), page.get_by_label("Code of the partner whose it is")

    async def refused(*fields: Locator) -> list[str]:
        """What is said at each field, which a screen reader hears with it; the first has the focus."""
        await town.breathe()
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_role("alert").get_by_text("It was not added.").wait_for()
        assert await page.locator("[aria-invalid]").count() == len(fields)
        told = []
        for field in fields:
            assert await field.get_attribute("aria-invalid") == "true"
            named = (await field.get_attribute("aria-describedby") or "").split()
            assert all([await page.locator(f"#{each}").count() == 1 for each in named])
            told.append(await page.locator(f"#{named[-1]}").inner_text())
        assert await fields[0].evaluate("each => each === document.activeElement")
        assert await added(town) == before
        return told

    await code.fill("кап")
    await limit.fill("ten")
    await page.get_by_label("Currency").select_option("EUR")
    await page.get_by_label("per card", exact=True).check()
    await page.get_by_label("Period").select_option("any days in a row")
    await days.fill("1000")
    await zone.fill("Europe")
    await page.get_by_label("the rest: a rule gives").check()
    told = await refused(code, limit, page.get_by_label("Currency"), days, zone)
    assert [each.split(":")[0][:22] for each in told] == [
        "Expected 1 to 64 Latin", "Expected a whole numbe", "Expected a currency fo", "Expected a whole numbe",
        "Expected the name of a",
    ]  # fmt: skip
    values = [await each.input_value() for each in (code, limit, days, zone, page.get_by_label("Currency"))]
    assert values == ["кап", "ten", "1000", "Europe", "EUR"]
    assert await page.get_by_label("per card", exact=True).is_checked()
    assert await page.get_by_label("the rest: a rule gives").is_checked()
    assert await page.get_by_label("Period").input_value() == "rolling"
    # What belongs to another kind of budget or of period is not dropped in silence.
    await code.fill("bread-cap")
    await page.get_by_label("money that rules take off").check()
    await limit.fill("5")
    await page.get_by_label("Period").select_option("every month")
    await days.fill("30")
    await zone.fill("UTC")
    told = await refused(limit, days)
    assert told[0] == "Expected nothing here: a budget of money is as large as what is paid into it."
    await limit.fill("")
    await days.fill("")
    assert await refused(code) == ["There is a budget of this code. Expected another one."]
    await code.fill("exposure:bakery")
    assert await refused(code) == ["Codes that begin like this are settlement's. Expected another one."]
    await code.fill("cake-fund")
    await sponsor.fill("nobody")
    assert await refused(sponsor) == ["Expected the code of a partner, or nothing for the operator."]
    assert await code.input_value() == "cake-fund"


async def test_who_checks_is_offered_no_form_and_what_they_or_another_site_send_adds_nothing(town: Town) -> None:
    before = await added(town)
    paul = await staff(town, PAUL, LIST)
    await paul.get_by_role("heading", name="All budgets").wait_for()
    assert await paul.get_by_label("Code, for ever").count() == 0
    token = await paul.locator("[name=csrf]").first.input_value()
    sent = {"code": "x", "unit": "points", "limit": "1", "period": "total", "zone": "UTC", "onExceed": "deny"}
    for csrf, status in ((token, 422), ("", 403)):
        await town.breathe()
        told = await paul.request.post(town.url + LIST, form={**sent, "key": "k" * 32, "csrf": csrf}, max_redirects=0)
        assert told.status == status
    assert await added(town) == before


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
    town.desk.wall.at += session.STEP_UP  # who approves has to prove anew who they are, and comes back to this
    await town.desk.at_wall()
    await paul.get_by_role("button", name="Approve").click()
    await paul.wait_for_url("**/staff/confirm?next=*")
    assert parse_qs(urlsplit(paul.url).query)["next"] == [opened.removeprefix(town.url)]
    await page.get_by_role("button", name="Take it back").click()
    await page.get_by_role("heading", name="bread-cap").wait_for()
    await town.open(paul, opened.removeprefix(town.url))
    await paul.locator(".state").get_by_text("Taken back").wait_for()
    for path in (f"{CAP}/proposals/999999", f"{CAP}/proposals/x", opened.removeprefix(town.url).replace(CAP, POT)):
        await town.breathe()
        assert (await paul.request.get(town.url + path)).status == 404, path


async def test_more_proposals_than_a_page_holds_are_read_page_by_page(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await staff(town, MIA, CAP)
    for limit in ("160000", "170000"):
        await town.open(page, CAP)
        await change(page, limit, "90000")
        await page.get_by_role("button", name="Take it back").wait_for()
    monkeypatch.setattr(operator_budgets, "ON_A_PAGE", 1)
    waiting = page.get_by_role("region", name="Waits for a second person")
    await town.open(page, CAP)
    await waiting.get_by_role("cell", name="170,000").wait_for()
    await page.get_by_role("link", name="Further").click()
    await waiting.get_by_role("cell", name="160,000").wait_for()
    assert await waiting.get_by_role("row").count() == 2  # with the head
    await town.open(page, LIST)
    await waiting.get_by_role("cell", name="160,000").wait_for()
    await page.get_by_role("navigation", name="More of the list").get_by_role("link", name="Further").click()
    every = page.get_by_role("region", name="All budgets")
    await every.get_by_text("bread-pot").wait_for()
    await page.get_by_role("navigation", name="More of what waits").get_by_role("link", name="Further").click()
    await waiting.get_by_role("cell", name="170,000").wait_for()
    assert await every.get_by_text("bread-pot").count() == 1  # the other list stays where it was
    await page.get_by_role("navigation", name="More of what waits").get_by_role("link", name="beginning").click()
    await waiting.get_by_role("cell", name="160,000").wait_for()
    monkeypatch.undo()
    for _ in range(2):
        await town.open(page, LIST)
        await waiting.get_by_role("link").first.click()
        await page.get_by_role("button", name="Take it back").click()
        await page.get_by_role("heading", name="bread-cap").wait_for()


AGAINST_A_RAISE = {
    "en": "As much as €2,999.00 would be owed, and €5.00 covers obligations.",
    "ru": "Обязательства составят до 2 999,00 €, а покрывает их 5,00 €.",
    "ro": "Obligațiile ar ajunge până la 2.999,00 EUR, iar acoperirea lor este 5,00 EUR.",
}
AGAINST_A_LAUNCH = {
    "en": {"A gain of €0.30 is expected, which is not above the cost of €4.00.",
           "As much as €0.10 would be owed, and €0.09 covers obligations.", "The figure to reach is not above zero."},
    "ru": {"Ожидается выигрыш 0,30 €, это не больше стоимости 4,00 €.",
           "Обязательства составят до 0,10 €, а покрывает их 0,09 €.",
           "Число, которого нужно достичь, не больше нуля."},
    "ro": {"Se așteaptă un câștig de 0,30 EUR, care nu este peste costul de 4,00 EUR.",
           "Obligațiile ar ajunge până la 0,10 EUR, iar acoperirea lor este 0,09 EUR.",
           "Cifra de atins nu este peste zero."},
}  # fmt: skip


async def test_what_stands_against_a_raise_or_a_launch_is_said_in_the_readers_language(town: Town) -> None:
    page = await staff(town, MIA, CAP)
    ceiling = await town.pool.fetchval("SELECT ceiling FROM partners.budget WHERE code = 'bread-cap'")
    await change(page, str(ceiling + 299_900), "5")
    await page.get_by_role("button", name="Take it back").wait_for()
    proposal = page.url.removeprefix(town.url)
    market = town.fair.market
    aim = Objective("visits", 0, (town.desk.wall() + 2 * DAY).date())
    expected = Expectation(100, 3_000, cost_minor=400, obligation_minor=10, standing_minor=0, cover_minor=9)
    async with town.desk.database.transaction() as connection:
        release = await publishing.submit(
            connection, Change(without=["bread-gift"]), effective_from=town.desk.wall() + DAY, maker=market.maker,
            at=town.desk.wall(), launch=Launch(aim, expected),
        )  # fmt: skip
    paul = await staff(town, PAUL, "/console")

    async def told() -> set[str]:
        said = await paul.locator(".notice li").all_inner_texts()
        return {each.replace("\u00a0", " ").rpartition(" ")[0].strip() for each in said}

    for language in ("en", "ru", "ro"):
        await paul.context.add_cookies([{"name": "language", "value": language, "url": town.url}])
        await town.open(paul, proposal)
        assert await told() == {AGAINST_A_RAISE[language]}
        await town.open(paul, f"/console/releases/{release}")
        assert await told() == AGAINST_A_LAUNCH[language]
    # Who says yes without the box hears it in the same words, beside the code.
    for path, form in ((proposal, "approve"), (f"/console/releases/{release}", "publish")):
        await town.open(paul, path)
        said = await told()
        await paul.locator("[name=inSpite]").evaluate("each => each.remove()")
        await paul.locator(f"form[action$='/{form}'] button").click()
        await paul.get_by_role("alert").get_by_text("LAUNCH_REFUSED").wait_for()
        assert await told() == said
        assert "expected" not in await paul.locator("main").inner_text()
    async with town.desk.database.transaction() as connection:
        await publishing.decline(connection, release, checker=market.checker, at=town.desk.wall())
    await page.get_by_role("button", name="Take it back").click()
    await page.get_by_role("heading", name="bread-cap").wait_for()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.deep)])
async def test_axe_finds_nothing_and_nothing_runs_out(town: Town, scheme: str) -> None:
    page = await staff(town, MIA, CAP, color_scheme=scheme, viewport={"width": 320, "height": 700})
    await change(page, "300000")
    await page.get_by_role("button", name="Take it back").wait_for()
    own = page.url.removeprefix(town.url)
    paul = await staff(town, PAUL, LIST, color_scheme=scheme, viewport={"width": 320, "height": 700})
    places = ((page, CAP), (page, own), (page, POT), (paul, LIST), (paul, CAP), (paul, own), (page, LIST))
    for each, path in (*places, (page, "")):
        if path:
            await town.open(each, path)
        else:
            await refused_once(page)
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
    await change(page, "250000", "900")  # which stands against it
    await page.get_by_role("button", name="Take it back").first.wait_for()
    own = page.url.removeprefix(town.url)
    for scheme, language, viewport in (("light", "en", DESKTOP), ("dark", "ru", PHONE)):
        for address, path, name in ((PAUL, LIST, "list"), (PAUL, own, "waiting"), (MIA, LIST, "adding")):
            page = await staff(town, address, "/console", color_scheme=scheme, viewport=viewport)
            await page.context.add_cookies([{"name": "language", "value": language, "url": town.url}])
            await town.open(page, path)
            if name == "adding":
                await refused_once(page)
            await page.screenshot(path=folder / f"operator-budgets-{name}-{scheme}.png", full_page=True)
            await page.context.close()
