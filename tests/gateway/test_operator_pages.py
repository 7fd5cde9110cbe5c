"""The operator's pages in a real browser: a rule from its first mistake to the till, a search that is kept, the trail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Page

from kit import actors, clock
from partners.promotions import simulations
from tests.gateway.browsers import CHROMIUM
from tests.gateway.test_member_app import MOST_BYTES, SHOTS
from tests.gateway.town import AXE, Town

DESKTOP = {"width": 1280, "height": 800}
MAX, NINA, OLGA = "max@example.org", "nina@example.org", "olga@example.org"
OF_MARKETER = ("/console/promotions", "/console/promotions/sunday", "/console/rules", "/console/releases")
OF_ADMIN = ("/console/partners", "/console/partners/bakery", "/console/search", "/console/trail")

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
    """The town with two marketers, and somebody who looks after everything."""
    await place.desk.invite("max", MAX, [actors.PROMOTION_MAKER])
    await place.desk.invite("nina", NINA, [actors.PROMOTION_CHECKER])
    await place.desk.invite("olga", OLGA, [actors.OPERATOR_ADMIN, actors.ONBOARDING])
    return place


async def staff(town: Town, address: str, onward: str, **options: object) -> Page:
    """A page at which somebody of staff is who signed in a moment ago."""
    return await town.signed_in(address, onward=onward, prefix="/staff", **{"viewport": DESKTOP, **options})


async def test_a_rule_is_written_mended_rehearsed_published_by_another_and_earns_at_the_till(town: Town) -> None:
    page = await staff(town, MAX, "/console/promotions")
    await page.get_by_label("Code, for ever").fill("sunday")
    for name in ("English", "Русский", "Română"):
        await page.get_by_label(f"Name, {name}").fill("Sunday cake")
    await page.get_by_role("button", name="Add").dblclick()
    await page.get_by_role("heading", name="Sunday cake").wait_for()
    await page.get_by_role("link", name="Write a rule").last.click()
    field = page.get_by_label("Document")
    rule = orjson.loads(await field.input_value())
    assert rule["promotion"] == "sunday"
    rule["conditions"] = [
        {"id": "big", "cel": "basket.total_minor >=", "label": {"en": "Big", "ru": "Big", "ro": "Big"}}
    ]
    await field.fill(orjson.dumps(rule).decode())
    await page.get_by_role("button", name="Check").click()
    alert = page.get_by_role("alert")
    await alert.get_by_text("This cannot be a rule yet:").wait_for()
    assert "column" in await alert.inner_text()
    assert "basket.total_minor >=" in await field.input_value()  # what was typed is there
    # No other file's purchases in this town are as large as that.
    rule["conditions"][0]["cel"] = "basket.total_minor >= 70000"
    rule["effect"]["points"] = 33
    await field.fill(orjson.dumps(rule).decode())
    await page.get_by_role("button", name="Check").click()
    await page.get_by_text("Nothing is wrong with it.").wait_for()
    await page.get_by_role("button", name="Keep as the next version").click()
    await page.get_by_text("sunday:1", exact=True).wait_for()
    met = page.get_by_role("region", name="It meets what is running")
    assert {"bread", "tenth"} <= set(re.findall(r"\w+", await met.inner_text()))
    assert await page.locator("[lang=ro]", has_text="Sunday cake").count() >= 1  # what members read in each language
    await page.get_by_role("link", name="Copy sunday").click()
    assert orjson.loads(await field.input_value())["code"] == f"{rule['code']}-copy"
    await town.breathe()
    await page.go_back()
    await page.get_by_role("button", name="Rehearse").click()
    await page.get_by_role("heading", name="Rehearsal").wait_for()
    directory = town.fair.coalition.desk.directory
    await simulations.run_next(town.desk.database, directory, now=clock.wall, stopping=asyncio.Event())
    await page.get_by_role("link", name="Look again").click()
    await page.get_by_text("It costs more by").wait_for()
    begins = town.desk.wall() + timedelta(minutes=40)
    for label, text in (
        ("In force from", begins.strftime("%Y-%m-%dT%H:%M")), ("What is measured", "visits"), ("The figure to reach", "100"),
        ("By which day", (begins + timedelta(days=30)).date().isoformat()), ("Sales it adds", "100000"),
        ("Margin of these", "5000"), ("What covers obligations", "1000000"),
    ):  # fmt: skip
        await page.get_by_label(label).fill(text)
    await town.breathe()
    await page.get_by_role("button", name="Submit").click()
    await page.get_by_text("You made this: somebody else has to decide.").wait_for()
    release = page.url.removeprefix(town.url)
    nina = await staff(town, NINA, release)
    await nina.get_by_role("button", name="Publish").dblclick()
    await nina.locator(".state").get_by_text("PUBLISHED").wait_for()
    town.desk.wall.move(minutes=40)
    await staff(town, NINA, release)  # the till has a new token by now
    sold = await town.sell(town.card, "900.00", reference="SUNDAY-1", occurredAt=town.desk.wall().isoformat(),
                           on=town.desk.wall().date())  # fmt: skip
    assert "33" in [each["points"] for each in sold["transaction"]["reasons"]], sold
    trail = await town.pool.fetch("SELECT actor, action FROM kit.audit_trail WHERE action LIKE 'RELEASE%'")
    assert {row["actor"] for row in trail} >= {"nina"}


async def test_a_search_finds_a_receipt_by_its_number_and_the_trail_says_what_for(town: Town) -> None:
    page = await staff(town, OLGA, "/console/search")
    await page.get_by_label("What you look for").fill("B-0")
    await page.get_by_label("What for").select_option("COMPLAINT")
    await page.get_by_label("Day of the receipt").fill("2026-03-02")
    await page.get_by_role("button", name="Find").click()
    await page.get_by_role("rowheader", name="B-0").wait_for()
    assert "€48.20" in await page.locator("main").inner_text()
    await page.get_by_label("What you look for").fill(town.card.number)
    await town.breathe()
    await page.get_by_role("button", name="Find").click()
    await page.get_by_role("heading", name="Members").wait_for()
    assert town.card.number not in page.url
    row = await page.locator("tbody").first.inner_text()
    assert f"member:{town.card.member_id}" in row
    assert "Ada" not in await page.locator("main").inner_text()  # a search tells nobody's name
    await town.breathe()
    await page.get_by_role("button", name="What happened").first.click()
    await page.get_by_role("heading", name="What happened").wait_for()
    assert str(town.card.member_id) not in page.url.removeprefix(town.url)
    told = await page.locator("main").inner_text()
    assert {"B-0", "PROGRAMME", "SEARCHED"} <= set(told.split()), told
    assert "Ada" not in told
    looked = "SELECT detail::text FROM kit.audit_trail WHERE action = 'TIMELINE_READ' AND subject = $1"
    assert "COMPLAINT" in await town.pool.fetchval(looked, f"member:{town.card.member_id}")
    kept = await town.pool.fetch(
        "SELECT subject, detail::text AS detail FROM kit.audit_trail WHERE action = 'SEARCHED'"
    )
    assert [each["subject"] for each in kept] == [f"member:{town.card.member_id}"] * 2
    assert all(orjson.loads(each["detail"])["purpose"] == "COMPLAINT" for each in kept)
    assert not [each for each in kept if town.card.number in each["detail"]]
    await town.open(page, "/console/trail?action=SEARCHED")
    await page.get_by_role("cell", name="SEARCHED").first.wait_for()
    assert await page.locator("tbody tr").count() == 2
    await page.get_by_role("link", name="olga", exact=True).first.click()
    await page.get_by_label("Who", exact=True).wait_for()
    assert await page.get_by_label("Who", exact=True).input_value() == "olga"


async def test_a_search_without_a_purpose_is_none(town: Town) -> None:
    page = await staff(town, OLGA, "/console/search")
    before = await town.pool.fetchval("SELECT count(*) FROM kit.audit_trail")
    csrf = await page.locator("form[action='/console/search'] [name=csrf]").input_value()
    form = {"csrf": csrf, "text": "bakery", "purpose": "CURIOSITY"}
    answer = await page.request.post(f"{town.url}/console/search", form=form)
    assert answer.status == 422
    foreign = {**form, "purpose": "FRAUD", "csrf": "0" * 64}
    assert (await page.request.post(f"{town.url}/console/search", form=foreign)).status == 403
    assert await town.pool.fetchval("SELECT count(*) FROM kit.audit_trail") == before


async def test_a_partner_is_suspended_and_takes_part_again(town: Town) -> None:
    page = await staff(town, OLGA, "/console/partners")
    await page.get_by_role("link", name="Grocer").click()
    await page.get_by_role("button", name="Suspend Grocer").dblclick()
    await page.get_by_role("button", name="Let Grocer take part again").wait_for()
    assert await town.pool.fetchval("SELECT status FROM partners.partner WHERE code = 'grocer'") == "SUSPENDED"
    await town.breathe()
    await page.get_by_role("button", name="Let Grocer take part again").click()
    await page.get_by_role("button", name="Suspend Grocer").wait_for()
    page = await staff(town, MAX, "/console/promotions")
    for path in OF_ADMIN:
        assert (await page.request.get(town.url + path)).status == 403
    assert await page.get_by_role("link", name="Audit trail").count() == 0


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.deep)])
async def test_axe_finds_nothing_nothing_runs_out_and_every_screen_is_light(town: Town, scheme: str) -> None:
    for address, paths in ((MAX, OF_MARKETER), (OLGA, OF_ADMIN)):
        page = await staff(town, address, "/console", color_scheme=scheme, viewport={"width": 320, "height": 700})
        made = await town.pool.fetchval("SELECT EXISTS (SELECT FROM partners.promotion WHERE code = 'sunday')")
        for path in (each for each in paths if made or not each.endswith("/sunday")):  # the first test makes it
            await town.open(page, path)
            assert 10_000 < await town.weight(page) <= MOST_BYTES, path
            await page.evaluate(AXE)
            found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
            told = [(path, each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
            assert told == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
        await page.context.close()


@pytest.mark.skipif(SHOTS is None, reason="pictures are made by `make screens`")
async def test_pictures_of_the_screens_are_made(town: Town) -> None:
    folder = Path(SHOTS or "")
    for scheme, language in (("light", "en"), ("dark", "ru")):
        for address, paths in ((MAX, OF_MARKETER), (OLGA, OF_ADMIN)):
            page = await staff(town, address, "/console", color_scheme=scheme, reduced_motion="reduce")
            await page.context.add_cookies([{"name": "language", "value": language, "url": town.url}])
            for path in paths:
                await town.open(page, path)
                name = path.removeprefix("/console/").replace("/", "-")
                await page.screenshot(path=folder / f"operator-{name}-{scheme}.png", full_page=True)
            await page.context.close()
