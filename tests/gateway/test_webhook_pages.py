"""Webhooks at the portal in a real browser: an endpoint is added, told, mended and looked at, and its secret seen once."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Page

from gateway.sessions import colleagues
from gateway.webhooks import calling, delivering, gathering
from gateway.webhooks.gathering import Sources
from kit import clock
from tests.gateway import desk as desks
from tests.gateway import receiving
from tests.gateway.browsers import CHROMIUM, until_it_speaks
from tests.gateway.receiving import Receiver
from tests.gateway.test_member_app import MOST_BYTES
from tests.gateway.test_session_matrix import colleague
from tests.gateway.town import AXE, Town

DAN, GUS = "dan@bakery.example", "gus@grocer.example"
DESKTOP = {"width": 1280, "height": 800}
SHOTS = os.environ.get("TESSERA_SCREENS")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
async def quiet(town: Town) -> AsyncIterator[None]:
    """No test leaves a browser that complained."""
    town.complaints.clear()
    yield
    for context in town.browser.contexts:
        await context.close()
    assert town.complaints == []


@pytest.fixture(scope="module")
async def town(place: Town) -> Town:
    """The town with a developer of the bakery's and one of the grocer's."""
    await colleague(place.desk, "bakery", "Dan", DAN, colleagues.DEVELOPER)
    await colleague(place.desk, "grocer", "Gus", GUS, colleagues.DEVELOPER)
    await delivered(place)  # the worker has read what happened before
    return place


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving.opened() as opened:
        yield opened


async def delivered(town: Town) -> int:
    desk = town.desk
    sources, at = Sources(desk.database, desk.vault, desk.coalition.desk.directory), desk.wall()
    is_more = True
    while is_more:
        _, is_more = await gathering.gather(sources, at=at, now=clock.wall())
    async with calling.opened(is_sandbox=True) as caller:
        return await delivering.deliver(sources, caller, site=desks.SITE, at=at, now=clock.wall)


async def pressed(town: Town, page: Page, name: str) -> None:
    """A button that sends a form, a while later; the page that answers it is there."""
    await town.breathe()
    async with page.expect_navigation():
        await page.get_by_role("button", name=name, exact=True).click()


async def test_an_endpoint_is_added_tried_mended_and_looked_at(town: Town, receiver: Receiver) -> None:
    page = await town.signed_in(DAN, onward="/portal/webhooks", prefix="/portal", viewport=DESKTOP)
    await page.get_by_role("link", name="Add an endpoint").click()
    await page.get_by_label("Address").fill("https://10.0.0.1/hooks")
    await page.get_by_label("What the endpoint is for").fill("stock")
    await page.get_by_label("a purchase was recorded").check()
    await pressed(town, page, "Add an endpoint")
    await page.get_by_role("alert").get_by_text("The address must be https").wait_for()
    assert await page.get_by_label("What the endpoint is for").input_value() == "stock"
    assert await page.get_by_label("a purchase was recorded").is_checked()
    await page.get_by_label("Address").fill(receiver.url())
    await pressed(town, page, "Add an endpoint")
    secret = await page.locator("code.secret").inner_text()
    assert secret.startswith("whsec_")
    await page.get_by_role("link", name="Webhooks").first.click()
    await page.get_by_role("link", name=receiver.url()).click()
    await page.get_by_role("heading", name=receiver.url()).wait_for()
    assert await page.locator("code.secret").count() == 0
    # A made-up event is refused at first, and taken when it is sent again.
    receiver.script = lambda _: (500, {}, b"no room for ada@example.org")
    await pressed(town, page, "Send")
    assert await delivered(town) == 1
    await page.reload()
    await page.get_by_role("table").get_by_role("link").first.click()
    await page.get_by_text("500", exact=True).wait_for()
    await page.get_by_text("Show", exact=True).click()
    await page.get_by_text("no room for …").wait_for()
    receiver.script = receiving.taken
    await pressed(town, page, "Send again")
    assert await delivered(town) == 1
    await page.reload()
    await page.get_by_text("204", exact=True).wait_for()
    sent, again = receiver.received[-2:]
    assert sent.id == again.id
    assert again.verified(secret)["sample"]
    assert orjson.loads(await page.locator("pre.sent.panel").inner_text()) == again.told
    # The secret is replaced: both are good for a while.
    await page.get_by_role("link", name="Endpoint").click()
    await pressed(town, page, "Make a new secret")
    other = await page.locator("code.secret").inner_text()
    assert other != secret
    await town.open(page, "/portal/webhooks")
    await page.get_by_role("link", name=receiver.url()).click()
    await pressed(town, page, "Send")
    assert await delivered(town) == 1
    assert receiver.received[-1].verified(secret) == receiver.received[-1].verified(other)
    await pressed(town, page, "Disable")
    await page.get_by_text("One of you disabled it.").wait_for()
    await pressed(town, page, "Enable")
    await page.get_by_role("button", name="Disable").wait_for()
    address = re.sub(r"\?.*", "", page.url)
    # Somebody of another partner finds nothing there.
    gus = await town.signed_in(GUS, onward="/portal/webhooks", prefix="/portal", viewport=DESKTOP)
    await gus.get_by_text("No system of yours is told yet.").wait_for()
    assert (await gus.request.get(address)).status == 404


async def add(town: Town, page: Page, receiver: Receiver) -> None:
    """An endpoint, to which something was sent."""
    await town.open(page, "/portal/webhooks/new")
    await page.get_by_label("Address").fill(receiver.url())
    await page.get_by_label("a purchase was recorded").check()
    await pressed(town, page, "Add an endpoint")
    await page.get_by_role("link", name="Webhooks").first.click()
    await page.get_by_role("link", name=receiver.url()).click()
    await pressed(town, page, "Send")
    await delivered(town)


async def screens(town: Town, page: Page, receiver: Receiver) -> list[str]:
    """The pages, with one of an endpoint and one of a delivery."""
    await town.open(page, "/portal/webhooks")
    assert page.url.endswith("/portal/webhooks"), page.url
    assert await page.locator("h1").inner_text() == "Webhooks", await page.locator("main").inner_text()
    if not await page.locator("tbody th a").count():  # this test is alone
        await add(town, page, receiver)
        await town.open(page, "/portal/webhooks")
    endpoint = str(await page.locator("tbody th a").first.get_attribute("href"))
    await town.open(page, endpoint)
    delivery = str(await page.locator("tbody td a").first.get_attribute("href"))
    return ["/portal/webhooks", "/portal/webhooks/new", endpoint, delivery]


async def test_every_screen_is_accessible_fits_a_small_phone_and_speaks_three_languages(
    town: Town, receiver: Receiver
) -> None:
    small = {"width": 320, "height": 700}
    page = await town.signed_in(DAN, onward="/portal", prefix="/portal", viewport=small)
    paths = await screens(town, page, receiver)
    devtools = await page.context.new_cdp_session(page)
    loaded: list[float] = []
    devtools.on("Network.loadingFinished", lambda told: loaded.append(told["encodedDataLength"]))
    await devtools.send("Network.enable")
    await devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    for path in paths:
        loaded.clear()
        await town.open(page, path)
        assert 10_000 < sum(loaded) <= MOST_BYTES, path
        await page.evaluate(AXE)
        found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
        told = [(path, each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
        assert told == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
    seen = {}
    for name, language in (("Română", "ro"), ("Русский", "ru"), ("English", "en")):
        await town.breathe()
        await page.get_by_role("button", name=name).click()
        await until_it_speaks(page, language)
        words = set()
        for path in paths:
            await town.open(page, path)
            words.add((await page.locator("main h2").first.inner_text(), path) if path != paths[0] else (
                await page.locator("main h1").inner_text(), path))  # fmt: skip
        seen[language] = words
    assert not (seen["ro"] & seen["ru"] | seen["ro"] & seen["en"] | seen["ru"] & seen["en"])


@pytest.mark.skipif(SHOTS is None, reason="pictures are made by `make screens`")
async def test_pictures_of_the_screens_are_made(town: Town, receiver: Receiver) -> None:
    for scheme, language, size in (
        ("light", "en", DESKTOP),
        ("dark", "ru", DESKTOP),
        ("light", "ro", {"width": 390, "height": 844}),
    ):
        page = await town.signed_in(
            DAN, onward="/portal", prefix="/portal", viewport=size, color_scheme=scheme, reduced_motion="reduce"
        )
        paths = await screens(town, page, receiver)
        await page.context.add_cookies([{"name": "language", "value": language, "url": town.url}])
        for path, name in zip(paths, ("list", "new", "endpoint", "delivery"), strict=True):
            await town.open(page, path)
            phone = "-phone" if size is not DESKTOP else ""
            await page.screenshot(
                path=Path(SHOTS or "") / f"portal-webhooks-{name}-{scheme}{phone}.png", full_page=True
            )
        await page.context.close()
