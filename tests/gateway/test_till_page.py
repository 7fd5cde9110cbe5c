"""The till page in a real browser: a cashier with a keyboard and one field, with a network and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, Route

from members import cards, consents, proofs
from members.consents import ConsentGiven
from tests.gateway.browsers import CHROMIUM
from tests.gateway.test_member_app import SHOTS, code_in
from tests.gateway.town import AXE, KIM, MIA, Town

COUNTER = {"width": 1024, "height": 600}
RECEIPTS = "SELECT count(*) FROM partners.receipt"
LISTEN = """() => { window.tones = []; const made = AudioContext.prototype.createOscillator;
AudioContext.prototype.createOscillator = function () { const tone = made.call(this); tones.push(tone); return tone; }; }"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture
async def till(place: Town) -> AsyncIterator[Page]:
    """The till, as large as a small one; the browser has nothing to complain about."""
    place.complaints.clear()
    page = await place.signed_in(KIM, onward="/portal/till", prefix="/portal", is_fresh=False, viewport=COUNTER)
    await page.locator("[data-field]:focus").wait_for()
    yield page
    await page.context.close()
    assert place.complaints == []


async def pictured(page: Page, name: str) -> None:
    """A picture of a screen, where they are asked for."""
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png")


async def is_sound(page: Page) -> None:
    """Axe finds nothing on a screen."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert [(each["id"], [node["html"] for node in each["nodes"]][:2]) for each in found["violations"]] == []


async def enter(page: Page, text: str, label: str) -> None:
    """Type into the one field, and wait for what it asks next. Nothing but keys is used."""
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    await page.locator("[data-label]").get_by_text(label).wait_for()
    assert await page.evaluate("document.activeElement.id") == "field"


async def code(place: Town) -> str:
    """What the member's card shows a minute from now."""
    place.desk.wall.move(seconds=60)
    await place.desk.at_wall()
    ref = cards.ref(place.desk.vault, place.card.card_id)
    return proofs.code_for(place.card.secret, ref, proofs.step_at(place.desk.wall()))


async def test_a_sale_is_quoted_confirmed_with_one_key_and_undone_with_another(place: Town, till: Page) -> None:
    card = await place.fair.coalition.add_member()
    before = await place.pool.fetchval(RECEIPTS)
    await till.evaluate(LISTEN)
    await enter(till, "12345", "Card, number or phone")
    await till.get_by_text("Nobody is found by this.").wait_for()
    await till.keyboard.press("Escape")
    await enter(till, card.number, "Amount of the bill")
    await till.get_by_text("Fresh bread week").wait_for()
    await enter(till, "forty", "Amount of the bill")
    await till.get_by_text("Enter an amount as on a receipt").wait_for()
    await till.keyboard.press("Control+a")
    await enter(till, "40,00", "Points to spend")
    assert "+60" in await till.locator(".figures").inner_text()
    assert await place.pool.fetchval(RECEIPTS) == before  # a quote writes nothing
    await till.keyboard.press("Enter")
    await till.keyboard.press("Enter")  # a second one while the first is on its way
    await till.locator(".said.good").wait_for()
    assert await place.pool.fetchval(RECEIPTS) == before + 1
    await till.keyboard.press("F2")
    await till.get_by_text("cancelled").wait_for()
    await till.keyboard.press("F2")
    await till.get_by_text("There is no sale to undo.").wait_for()
    assert await till.evaluate("tones.map((each) => each.frequency.value)") == [220, 220, 880, 220]  # no, no, yes, no


async def test_points_are_spent_with_the_code_that_was_scanned_and_set_aside_with_a_pin(
    place: Town, till: Page
) -> None:
    spent = (
        "SELECT coalesce(sum(amount), 0) FROM ledger.journal j JOIN ledger.entry_kind k USING (kind) WHERE k.code = $1"
    )
    before = await place.pool.fetchval(spent, "REDEMPTION")
    await enter(till, await code(place), "Amount of the bill")
    await enter(till, "20.00", "Points to spend")
    await enter(till, "99999", "Points to spend")
    await till.get_by_text("Enter whole points, at most").wait_for()
    await till.keyboard.press("Control+a")
    await enter(till, "100", "Enter for the next sale")
    assert await place.pool.fetchval(spent, "REDEMPTION") == before + 100
    await till.keyboard.press("Enter")
    await enter(till, place.card.number, "Amount of the bill")
    await enter(till, "30.00", "Points to spend")
    await till.keyboard.type("50")
    await till.keyboard.press("F8")
    await till.locator("[data-label]").get_by_text("PIN").wait_for()
    assert await till.locator("[data-field]").get_attribute("type") == "password"
    await enter(till, "4711", "Points to spend")
    await till.get_by_text("set aside for this sale").wait_for()
    await enter(till, "", "Enter for the next sale")
    assert await place.pool.fetchval(spent, "CAPTURE") == 50


async def test_a_receipt_is_taken_back_after_it_was_shown_what_that_means(place: Town, till: Page) -> None:
    await till.keyboard.press("F4")
    await enter(till, "B-0", "Day of the receipt")
    await enter(till, "31.31.2026", "Day of the receipt")
    await till.get_by_text("Enter a day as 24.12.2026").wait_for()
    await till.keyboard.press("Control+a")
    await enter(till, "02.03.2026", "Amount to return")
    await enter(till, "", "Enter to return")
    assert "€48.20" in await till.locator(".figures").inner_text()
    await enter(till, "", "Enter for the next sale")
    await till.keyboard.press("F4")
    await enter(till, "B-0", "Day of the receipt")
    await enter(till, "2026-03-02", "Amount to return")
    await till.keyboard.press("Enter")
    await till.locator("[data-said]:not(:empty)").wait_for()  # nothing is left to return


SENT_TO = "**/session/graphql"


async def unplug(place: Town, till: Page) -> None:
    """No network: what the page sends from here on arrives nowhere, and the browser says that it is offline. Of a page
    that comes again it says so a moment late, so all are needed."""
    place.cable.is_out = True
    await till.context.route(SENT_TO, lambda route: route.abort("internetdisconnected"))
    await till.context.set_offline(True)


async def plug_in(place: Town, till: Page) -> None:
    """The network is back."""
    place.cable.is_out = False
    await till.context.unroute(SENT_TO)
    await till.context.set_offline(False)


async def comes_back_under_a_cashier_who_types(place: Town, till: Page) -> None:
    """The network is back, and while the page asks whether it is, a sale begins: the page comes anew when that is over,
    and not before."""
    asked, answered = asyncio.Event(), asyncio.Event()
    anew: list[str] = []

    async def late(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    till.on("request", lambda request: anew.append(request.url) if request.is_navigation_request() else None)
    await till.keyboard.press("Escape")
    await till.context.route("**/portal/till/worker.js", late)
    await plug_in(place, till)
    await asked.wait()
    await till.keyboard.type("55")
    async with till.expect_response("**/portal/till/worker.js"):
        answered.set()
    settled = "new Promise((done) => setTimeout(() => done(field.value), 200))"  # a page that comes anew has no answer
    assert await till.evaluate(settled) == "55"
    assert anew == []
    await till.keyboard.press("Escape")


async def test_without_a_network_sales_wait_and_are_sent_once_when_it_is_back(place: Town, till: Page) -> None:
    before = await place.pool.fetchval(RECEIPTS)
    await till.locator("[data-is-kept=yes]").wait_for()
    await unplug(place, till)
    await enter(till, await code(place), "Card, number or phone")
    await till.get_by_text("Without a network a code is no good.").wait_for()
    for total in ("12.00", "8.00"):
        await till.keyboard.press("Escape")
        await enter(till, place.card.number, "Amount of the bill")
        await enter(till, total, "Enter for the next sale")
    await till.get_by_text("2 waiting").wait_for()
    assert await place.pool.fetchval(RECEIPTS) == before

    # The page comes again without a network, with its places and what waits; and sells on.
    await till.reload()
    await till.locator("[data-offline=yes]").wait_for()
    await till.get_by_text("2 waiting").wait_for()
    assert "Bakery" in await till.locator("[data-partner-name]").inner_text()
    assert await till.locator("[data-places] option").count() >= 1
    await enter(till, place.card.number, "Amount of the bill")
    await enter(till, "5.00", "Enter for the next sale")
    await till.get_by_text("3 waiting").wait_for()
    assert await place.pool.fetchval(RECEIPTS) == before
    await comes_back_under_a_cashier_who_types(place, till)
    await till.locator("[data-offline=no][data-is-kept=yes]").wait_for()  # not before its module has run
    await till.locator("[data-waiting]").wait_for(state="hidden")
    assert await place.pool.fetchval(RECEIPTS) == before + 3
    await till.reload()
    await till.locator("[data-is-kept=yes]").wait_for()
    assert await place.pool.fetchval(RECEIPTS) == before + 3


async def test_signing_out_keeps_what_waits_and_nobody_of_another_partner_sends_it(place: Town, till: Page) -> None:
    await till.locator("[data-is-kept=yes]").wait_for()
    before = await place.pool.fetchval(RECEIPTS)
    await unplug(place, till)
    await enter(till, place.card.number, "Amount of the bill")
    await enter(till, "7.00", "Enter for the next sale")
    assert await till.evaluate("Object.keys(localStorage).sort()") == ["till-kept", "till-queue:bakery"]
    waiting = await till.evaluate("localStorage['till-queue:bakery']")
    await plug_in(place, till)  # from here on the page sends what waits, sooner or later
    await place.breathe()
    await till.goto(f"{place.url}/portal/security")
    for partner in ("bakery", "grocer"):
        await till.evaluate("([key, text]) => localStorage.setItem(key, text)", [f"till-queue:{partner}", waiting])
    await till.get_by_role("button", name="Sign out", exact=True).click()
    await till.wait_for_url("**/portal/sign-in")
    assert await till.evaluate("JSON.parse(localStorage['till-queue:bakery']).length") == 1
    place.desk.wall.move(minutes=15)
    signed = await place.desk.signed_in(KIM, "/portal")
    await till.context.add_cookies(
        [{"name": name, "value": value, "url": place.url} for name, value in signed.http.cookies.items()]
    )
    await place.open(till, "/portal/till")
    await till.locator("[data-waiting]").wait_for(state="hidden")
    assert await place.pool.fetchval(RECEIPTS) == before + 1
    assert await till.evaluate("JSON.parse(localStorage['till-queue:grocer']).length") == 1


async def test_the_camera_reads_what_a_card_shows(place: Town, till: Page) -> None:
    place.hold_before_the_camera(place.card.number)
    await till.keyboard.press("F9")
    await till.locator("[data-label]").get_by_text("Amount of the bill").wait_for()
    await till.locator("[data-eye]").wait_for(state="hidden")
    assert await till.evaluate("document.querySelector('video').srcObject") is None  # the camera is off


async def test_the_member_reads_the_tills_code_sees_who_asks_and_is_at_the_till(place: Town, till: Page) -> None:
    phone = await place.signed_in("ada@example.org", onward="/app/pair")
    given = ConsentGiven("PARTNER_TRANSFER", "1", place.desk.wall(), place.fair.coalition.callers["bakery"].partner_id)
    async with place.desk.database.transaction() as connection:
        await consents.grant(connection, place.card.member_id, given)
    place.hold_before_the_camera(f"{place.url}/app?code=AAAA")  # an address of ours that is no till's
    await phone.get_by_role("button", name="Open the camera").click()
    await phone.get_by_role("alert").get_by_text("That is no code of a till here.").wait_for()

    await till.keyboard.press("F7")
    shown = till.locator(".pairing canvas")
    await shown.wait_for()
    link = await code_in(shown)
    assert link.startswith(f"{place.url}/app/pair?code=")
    await pictured(till, "till-code")
    place.hold_before_the_camera(link)
    await phone.get_by_role("button", name="Open the camera").click()
    await phone.get_by_role("heading", name="Bakery asks who you are").wait_for()
    assert phone.url == link
    await phone.get_by_text("Main street").wait_for()
    await pictured(phone, "member-pair")
    await is_sound(phone)
    await phone.get_by_role("button", name="Yes, I am here").dblclick()
    await phone.get_by_role("heading", name="The till knows you").wait_for()
    await pictured(phone, "member-paired")
    await is_sound(phone)
    await till.locator("[data-label]").get_by_text("Amount of the bill").wait_for()
    assert (await till.locator(".who").inner_text()).startswith("A.")  # they agreed that the bakery may know them
    await enter(till, "10.00", "Points to spend")
    await enter(till, "", "Enter for the next sale")

    await till.keyboard.press("Enter")
    await till.keyboard.press("F7")
    await shown.wait_for()
    await till.keyboard.press("Escape")  # begun anew: nobody is waited for
    await shown.wait_for(state="detached")
    await place.open(phone, link.removeprefix(place.url))  # a photograph of the code, once more, and later
    await phone.get_by_role("heading", name="Code of a till").wait_for()
    await phone.context.close()
    async with place.desk.database.transaction() as connection:
        await consents.withdraw(connection, place.card.member_id, given)


async def test_pictures_of_it_fit_a_small_screen_and_axe_finds_nothing(place: Town, till: Page) -> None:
    for scheme in ("light", "dark"):
        await till.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await enter(till, place.card.number, "Amount of the bill")
        await enter(till, "40.00", "Points to spend")
        assert await till.evaluate("[innerHeight >= document.documentElement.scrollHeight, "
                                   "innerWidth >= document.documentElement.scrollWidth]") == [True, True]  # fmt: skip
        await is_sound(till)
        await pictured(till, f"till-quote-{scheme}")
        await till.keyboard.press("Escape")


async def test_only_a_cashier_sells(place: Town) -> None:
    page = await place.signed_in(MIA, onward="/portal/till", prefix="/portal")
    assert await page.get_by_role("alert").inner_text() == (
        "This page is for cashiers. Ask a manager of the partner for the role CASHIER."
    )
    await page.context.close()
