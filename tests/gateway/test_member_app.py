"""The member app in a real browser: the card without a network, what is shown, what is decided, and who is kept out."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Locator, Page

from members import proofs
from tests.gateway import stand
from tests.gateway.browsers import CHROMIUM, until_it_speaks
from tests.gateway.test_approval_api import ASK
from tests.gateway.town import AXE, HOSTILE, NOWHERE, Town

ADA = "ada@example.org"
SCREENS = (
    "/app",
    "/app/points",
    "/app/history",
    "/app/offers?partner=bakery",
    "/app/me",
    "/app/consents",
    "/app/leave",
    "/app/subscription",
    "/app/rewards",
    "/app/friends",
    "/app/claims",
    "/app/places",
    "/app/pair",
    NOWHERE,
)
MOST_BYTES = 150 * 1024
SHOTS = os.environ.get("TESSERA_SCREENS")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
async def quiet(place: Town) -> AsyncIterator[None]:
    """No test leaves a browser that complained: of a policy that was broken, of a script that failed."""
    place.complaints.clear()
    yield
    for context in place.browser.contexts:
        await context.close()
    assert place.complaints == []


async def code_in(qr: Locator) -> str:
    """What another program reads of a picture of the code."""
    [found] = zxingcpp.read_barcodes(Image.open(BytesIO(await qr.screenshot())))
    return str(found.text)


async def verified(place: Town, code: str) -> int:
    """The member whom the gateway finds by a code."""
    async with place.desk.database.reading() as connection:
        return (await proofs.verify_code(connection, place.desk.vault, code, at=place.desk.wall())).member_id


async def shown(page: Page, name: str) -> str:
    """The text of a figure of the card's page."""
    return str(await page.locator(f"[data-show={name}]").inner_text())


async def test_the_card_shows_a_code_that_is_good_and_goes_on_without_a_network(place: Town) -> None:
    page = await place.signed_in(ADA)
    qr = page.locator("[data-qr]")
    await page.locator("[data-qr][data-code]").wait_for()
    code = await code_in(qr)
    assert code == await qr.get_attribute("data-code")
    assert await verified(place, code) == place.card.member_id
    assert (await page.locator("[data-digits]").inner_text()).replace(" ", "") == code[-8:]
    box = await qr.bounding_box()
    assert box is not None
    assert box["width"] > 250  # large enough for a scanner on a counter

    await page.locator("[data-card-page][data-is-listening=yes]").wait_for()
    before = int((await shown(page, "pending")).replace(",", ""))
    done = await place.sell(place.card, "75.00")
    arrival = page.locator(".arrival")
    await arrival.wait_for()
    assert "Bakery" in await arrival.inner_text()
    assert f"+{done['transaction']['awarded']}" in await arrival.inner_text()
    assert "Fresh bread week" in await arrival.inner_text()
    assert int((await shown(page, "pending")).replace(",", "")) == before + int(done["transaction"]["awarded"])

    await page.locator("[data-card-page][data-is-kept=yes]").wait_for()
    await page.context.set_offline(True)
    await page.reload()
    await page.get_by_text("No network.").first.wait_for()
    await page.locator("[data-qr][data-code]").wait_for()
    again = await code_in(page.locator("[data-qr]"))
    assert await verified(place, again) == place.card.member_id
    assert int((await shown(page, "pending")).replace(",", "")) == before + int(done["transaction"]["awarded"])
    number = (await page.locator("[data-number]").inner_text()).replace("\u00a0", "")
    found = await place.till.ask("query($r: MemberRefInput!) { member(ref: $r) { status } }", r={"cardNumber": number})
    assert found == {"status": "ACTIVE"}
    await page.context.set_offline(False)

    await place.open(page, "/app/me")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/sign-in")
    with pytest.raises(proofs.CardBlocked):  # the card ends with the session of its device
        await verified(place, again)
    assert await page.evaluate("indexedDB.databases().then((found) => found.length)") == 0
    assert await page.evaluate("caches.keys().then((found) => found.length)") == 0


async def test_the_card_is_drawn_first_from_what_one_answer_names_and_the_device_keeps(place: Town) -> None:
    """What takes a second on a slow network is round trips: there is one for the page, one for what it names, and none
    for the card, whatever becomes of the questions that the page asks after it."""
    page = await place.signed_in(ADA)
    await page.locator("[data-qr][data-code]").wait_for()
    html = await (await page.request.get(f"{place.url}/app")).text()
    loaded: list[str] = []
    page.on("request", lambda asked: loaded.append(asked.url.removeprefix(place.url)))
    await page.route("**/session/graphql", lambda route: asyncio.sleep(0))  # never answered
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Network.enable")
    await devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    await devtools.send("Network.setBypassServiceWorker", {"bypass": True})
    await place.open(page, "/app")
    await page.locator("[data-qr][data-code]").wait_for()
    after = ("/app/worker.js", "/app/offline?language=en", "/session/graphql")  # what keeps the card, and what is asked
    before = [path for path in loaded if path not in ("/app", *after)]
    assert len(before) >= 4
    assert [path for path in before if path.partition("#")[0] not in html] == []
    assert await page.locator("[data-hint]").is_visible()
    await page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.deep)])
async def test_every_screen_is_light_has_nothing_that_axe_finds_and_fits_a_narrow_one(place: Town, scheme: str) -> None:
    # 320 CSS pixels are a small laptop's 640 at 200 %.
    narrow = {"width": 320, "height": 700}
    page = await place.signed_in(ADA, reduced_motion="reduce", viewport=narrow, color_scheme=scheme)
    await page.locator("[data-qr][data-code]").wait_for()
    devtools = await page.context.new_cdp_session(page)
    loaded: list[float] = []
    devtools.on("Network.loadingFinished", lambda told: loaded.append(told["encodedDataLength"]))
    await devtools.send("Network.enable")
    await devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})  # each load is a first one
    await devtools.send("Network.setBypassServiceWorker", {"bypass": True})
    for path in SCREENS:
        loaded.clear()
        await place.open(page, path)
        assert 20_000 < sum(loaded) <= MOST_BYTES, path
        if path == "/app":
            await page.locator("[data-qr][data-code]").wait_for()
        await page.evaluate(AXE)
        rules = "" if scheme == "light" else "runOnly: ['color-contrast'],"  # by night the colours alone differ
        found = await page.evaluate(f"axe.run({{ {rules} resultTypes: ['violations'] }})")
        told = [(path, each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
        assert told == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
        moving = "[...document.getAnimations()].filter((each) => each.playState === 'running').length"
        assert await page.evaluate(moving) == 0


async def test_every_screen_speaks_three_languages_and_remembers_which(place: Town) -> None:
    page = await place.signed_in(ADA, onward="/app/me", is_fresh=False)
    seen: dict[str, set[str]] = {}
    for name, language in (("Română", "ro"), ("Русский", "ru")):
        await place.breathe()
        await page.get_by_role("button", name=name).click()
        await until_it_speaks(page, language)
        titles = set()
        for path in SCREENS:
            await place.breathe()
            html = await (await page.request.get(place.url + path, headers={"Accept": "text/html"})).text()
            assert f'<html lang="{language}">' in html, path
            titles |= set(re.findall("<title>(.+)</title>", html))
        seen[language] = titles
    assert all(len(titles) >= 6 for titles in seen.values())
    assert not (seen["ro"] & seen["ru"])
    await page.get_by_role("button", name="English").click()
    await page.get_by_role("heading", name="Spend lock").wait_for()


async def test_the_keyboard_reaches_everything_and_the_focus_is_seen(place: Town) -> None:
    page = await place.signed_in(ADA, onward="/app/points", is_fresh=False)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    wanted = await page.evaluate("document.querySelectorAll('a, button, select, input:not([type=hidden])').length")
    outlines = []
    for _ in range(wanted - 1):
        await page.keyboard.press("Tab")
        outlines.append(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert set(outlines) == {"solid"}
    await page.get_by_label("Amount of the bill").focus()
    await page.keyboard.type("50")
    await place.breathe()
    await page.keyboard.press("Enter")
    await page.get_by_text("A bill of €50.00 earns").wait_for()
    assert page.url.endswith("/app/points")  # asked beside the page, which stays
    await page.get_by_label("Amount of the bill").fill("fifty")
    await place.breathe()
    await page.keyboard.press("Enter")
    await page.get_by_text("Check it and try again").wait_for()


async def test_what_is_decided_is_decided_once_however_often_it_is_clicked(place: Town) -> None:
    page = await place.signed_in(ADA, onward="/app/me")
    await page.get_by_role("button", name="Lock spending").dblclick()
    await page.get_by_role("button", name="Unlock spending").wait_for()
    count = "SELECT count(*) FROM kit.audit_trail WHERE action = 'SPENDING_LOCKED'"
    assert await place.pool.fetchval(count) == 1
    await page.go_back()
    await page.get_by_role("button", name="spending").wait_for()
    assert await place.pool.fetchval(count) == 1
    await place.open(page, "/app/me")
    await page.get_by_role("button", name="Unlock spending").click()
    await page.get_by_role("button", name="Lock spending", exact=True).wait_for()
    await place.breathe()
    await page.get_by_label("Points a day").fill("many")
    await page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    await alert.get_by_text("A limit is a whole number").wait_for()
    assert await alert.locator("code").inner_text()  # the number of the request
    await page.get_by_label("Points a day").fill("500")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/app/me")
    assert await page.get_by_label("Points a day").input_value() == "500"

    await place.open(page, "/app/offers?partner=bakery")
    await page.get_by_role("button", name="Activate").dblclick()
    await page.get_by_role("button", name="Activate").wait_for(state="detached")
    assert await place.pool.fetchval("SELECT count(*) FROM members.badge WHERE badge LIKE 'activated:%'") == 1

    await place.open(page, "/app/consents")
    await page.get_by_role("button", name="Agree: Offers by e-mail").click()
    await page.get_by_role("button", name="Withdraw: Offers by e-mail").wait_for()
    await place.open(page, "/app/history?kind=earned&partner=bakery")
    assert await page.locator(".entries > li").count() >= 4
    await place.breathe()
    await page.get_by_label("What").select_option("spent")
    await page.get_by_text("Nothing of this kind has happened.").wait_for()
    record = await page.request.get(f"{place.url}/app/record")
    told = await record.json()
    assert (told["member"]["own"]["personal"]["email"], len(told["entries"]) >= 4) == (ADA, True)


async def test_a_hostile_name_is_words_and_nothing_else(place: Town) -> None:
    page = await place.signed_in(ADA, onward="/app/offers", is_fresh=False)
    asked = await place.till.ask(
        ASK, input={"idempotencyKey": stand.key(), "member": {"cardNumber": place.card.number}, "points": "5",
                    "outlet": "x", "terminal": "1"},
    )  # fmt: skip
    assert asked["__typename"] == "RequestApprovalSuccess"
    await place.open(page, "/app")
    await page.get_by_text(HOSTILE).wait_for()
    assert "hacked" not in await page.title()
    await place.breathe()
    await page.get_by_role("button", name="No", exact=True).click()
    await page.get_by_text(HOSTILE).wait_for(state="detached")


async def test_nobody_else_can_send_lead_or_frame(place: Town) -> None:
    page = await place.signed_in(ADA, onward="/app/me", is_fresh=False)
    locked = "SELECT bool_or(spend_locked) FROM ledger.account"
    for form in ({"locked": "yes"}, {"locked": "yes", "csrf": "0" * 64}):
        answer = await page.request.post(f"{place.url}/app/lock", form=form)
        assert answer.status == 403
    foreign = await page.request.post(
        f"{place.url}/app/lock", form={"locked": "yes"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert foreign.status == 403
    assert not await place.pool.fetchval(locked)
    for wicked in ("//evil.example", "https://evil.example/", "/\\evil.example"):
        csrf = await page.locator("form[action='/app/language'] [name=csrf]").input_value()
        form = {"csrf": csrf, "key": stand.key(), "language": "en", "next": wicked}
        answer = await page.request.post(f"{place.url}/app/language", form=form, max_redirects=0)
        assert (answer.status, answer.headers["location"]) == (303, "/app")
    away = await page.request.get(f"{place.url}/app/me", headers={"Cookie": ""}, max_redirects=0)
    assert away.status in (200, 303)
    policy = (await page.request.get(f"{place.url}/app")).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy


async def test_somebody_who_leaves_is_forgotten_and_signed_out(place: Town) -> None:
    card = await place.fair.coalition.add_member(name="Ben", email="ben@example.org")
    page = await place.signed_in("ben@example.org", onward="/app/leave")
    await page.get_by_role("button", name="Forget me for ever").click()
    await page.wait_for_url("**/sign-in")
    await place.open(page, "/app")
    await page.wait_for_url("**/sign-in?next=%2Fapp")
    status = "SELECT status FROM members.member WHERE member_id = $1"
    assert await place.pool.fetchval(status, card.member_id) == "CLOSED"
    assert await place.pool.fetchval("SELECT count(*) FROM members.personal WHERE member_id = $1", card.member_id) == 0


@pytest.mark.skipif(SHOTS is None, reason="pictures are made by `make screens`")
async def test_pictures_of_the_screens_are_made(place: Town) -> None:
    folder = Path(SHOTS or "")
    for scheme, language in (("light", "en"), ("dark", "ru")):
        options: dict[str, Any] = {"color_scheme": scheme, "device_scale_factor": 2, "reduced_motion": "reduce"}
        page = await place.signed_in(ADA, onward="/app", **options)
        await page.context.add_cookies([{"name": "language", "value": language, "url": place.url}])
        for name, path in (("card", "/app"), ("points", "/app/points?partner=bakery&total=50"), ("history", "/app/history"),
                           ("offers", "/app/offers?partner=bakery"), ("me", "/app/me"), ("places", "/app/places")):  # fmt: skip
            await place.open(page, path)
            if name == "card":
                await page.locator("[data-qr][data-code]").wait_for()
            await page.screenshot(path=folder / f"member-{name}-{scheme}.png")
        await page.context.close()
