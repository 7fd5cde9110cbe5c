"""A subscription in the app, in a real browser: taken, paid, what it brought, changed, paused, shared, and left in two
taps; rewards, stamps and invitations beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page

from gateway.membership.own_ids import MEMBER, own_id
from kit import actors
from ledger import lots
from members import badges
from members.cards import IssuedCard
from members.subscription import charging, offers, subscriptions
from members.subscription.charging import Receipt
from members.subscription.offers import OfferDraft
from members.subscription.providers import MANUAL
from members.subscription.subscriptions import Wish
from partners.mechanics import grants
from partners.mechanics.grants import Grant, Source
from tests.builders import NOON
from tests.gateway import stand
from tests.gateway.browsers import CHROMIUM
from tests.gateway.subscription.test_subscription_api import USED
from tests.gateway.test_member_app import SHOTS
from tests.gateway.town import AXE, Town

DAN, EVE, FAY = "dan@example.org", "eve@example.org", "fay@example.org"
EVENTS = "SELECT count(*) FROM members.subscription_event WHERE kind = $1"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
async def quiet(place: Town) -> AsyncIterator[None]:
    """No test leaves a browser that complained."""
    place.complaints.clear()
    yield
    for context in place.browser.contexts:
        await context.close()
    assert place.complaints == []


@pytest.fixture(scope="session")
async def people(place: Town) -> dict[str, IssuedCard]:
    """Dan, who subscribes, and Eve, who is offered a seat."""
    async with place.desk.database.transaction() as connection:
        found = {
            address: await place.fair.coalition.add_member(name=address.partition("@")[0].title(), email=address)
            for address in (DAN, EVE)
        }
        await badges.give(connection, found[EVE].member_id, "tea-club", cause=uuid4(), at=NOON)
    return found


async def pay(place: Town) -> None:
    """What is open is paid by bank transfer, as the cashier of the programme records it."""
    rows = await place.pool.fetch(
        "SELECT i.invoice_no, i.gross_minor FROM members.invoice i WHERE NOT EXISTS "
        "(SELECT FROM members.fee_payment p WHERE p.invoice_no = i.invoice_no)"
    )
    async with place.desk.database.transaction() as connection:
        for row in rows:
            receipt = Receipt(row["invoice_no"], row["gross_minor"], f"bank-{row['invoice_no']}", "statement 7")
            await charging.record_receipt(connection, MANUAL, receipt, actor="cashier", at=place.desk.wall())


async def clean(page: Page) -> None:
    """Axe finds nothing, in light and in dark, and nothing runs out of a narrow screen."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.evaluate(AXE)
        found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
        told = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
        assert told == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.emulate_media(color_scheme="light")


async def shot(page: Page, name: str) -> None:
    """A picture of a screen, where pictures are wanted."""
    if SHOTS:
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.screenshot(path=Path(SHOTS) / f"member-{name}-{scheme}.png")
        await page.emulate_media(color_scheme="light")


async def test_pictures_of_a_subscription_taken_paid_used_changed_shared_paused_and_left_in_two_taps(
    place: Town, people: dict[str, IssuedCard]
) -> None:
    page = await place.signed_in(DAN, onward="/app/subscription", device_scale_factor=2, reduced_motion="reduce")
    await page.get_by_label("Price").first.select_option("family MONTH")
    await page.get_by_role("button", name="Subscribe: Family").dblclick()
    await page.get_by_text("Nothing is given before the first invoice is paid.").wait_for()
    assert await place.pool.fetchval(EVENTS, "CREATED") == 1
    assert "naming" in await page.locator("#invoices ~ .scroll").inner_text()  # how it is to be paid
    await pay(place)
    sold = await place.sell(people[DAN], "20.00")
    used = {"idempotencyKey": stand.key(), "member": {"cardNumber": people[DAN].number}, "benefit": "free-delivery",
            "usedAt": place.desk.wall().isoformat()}  # fmt: skip
    assert await place.till.ask(USED, i=used) == {"replayed": False}
    assert "For subscribers" in [each["text"] for each in sold["transaction"]["reasons"]]
    await place.open(page, "/app/subscription")
    await page.get_by_text("15 points more than without it").wait_for()
    assert "free delivery" in await page.locator("#brought ~ .rows").inner_text()
    charge = page.locator(".facts div", has_text="Next charge, on")
    assert "€20.00" in await charge.inner_text()
    path = await page.locator("#invoices ~ .scroll a").get_attribute("href")
    assert path is not None
    assert path.startswith("/app/invoices/")
    await clean(page)
    await shot(page, "subscription")

    # A seat is offered, taken, and taken back.
    await page.get_by_label("The guest's own number").fill("mbr_nobody")
    await page.get_by_role("button", name="Offer a seat").click()
    await page.get_by_role("alert").get_by_text("There is no such seat").wait_for()
    guest = own_id(place.desk.vault, MEMBER, people[EVE].member_id)
    await page.get_by_label("The guest's own number").fill(guest)
    await page.get_by_role("button", name="Offer a seat").click()
    await page.get_by_text("offered on").wait_for()
    eve = await place.signed_in(EVE, onward="/app/subscription")
    assert guest in await eve.locator("main").inner_text()  # what Eve told Dan
    await eve.get_by_role("button", name="Take the seat").click()
    await eve.get_by_role("button", name="Give up the seat").wait_for()
    await place.open(page, "/app/subscription")
    await page.get_by_role("button", name="Take back: Seat 1").click()
    await page.get_by_text("given up, free again from").wait_for()
    await place.open(eve, "/app/subscription")
    await eve.get_by_role("button", name="Give up the seat").wait_for(state="detached")

    # A change is shown before it is made, and one that costs less counts at the period's end.
    await place.breathe()
    await page.get_by_role("link", name="Go over to Plus, €10.00 a month").click()
    await page.get_by_role("heading", name="Family → Plus").wait_for()
    assert await place.pool.fetchval(EVENTS, "PRICE_CHANGE_PLANNED") == 0
    await clean(page)
    await page.get_by_role("button", name="Yes, change it").click()
    assert "€10.00" in await page.locator(".facts div", has_text="Next charge, on").inner_text()
    assert "Plus" in await page.locator(".facts div", has_text="Then the plan becomes").inner_text()

    # Paused and not; then two taps, and one to come back.
    await place.breathe()
    await page.get_by_role("button", name="Pause…").click()
    await page.get_by_text("nothing is charged and nothing given").wait_for()
    assert await place.pool.fetchval(EVENTS, "PAUSE_PLANNED") == 0
    await clean(page)
    await page.get_by_role("button", name="Yes, pause it").click()
    await page.get_by_role("button", name="Go on without a pause").click()
    await page.get_by_role("button", name="Pause…").wait_for()
    await place.breathe()
    await page.get_by_role("link", name="Leave…").click()
    await page.get_by_text("You keep everything until").wait_for()
    await clean(page)
    await shot(page, "leaving")
    assert await place.pool.fetchval(EVENTS, "CANCEL_ASKED") == 0
    await page.get_by_role("button", name="Leave", exact=True).click()
    await page.get_by_text("Nothing will be charged any more.").wait_for()
    assert await place.pool.fetchval(EVENTS, "CANCEL_ASKED") == 1
    await page.go_back()
    await place.open(page, "/app/subscription/leave")
    await page.get_by_role("button", name="Stay after all").click()
    await page.get_by_text("Next charge, on").wait_for()


async def test_pictures_of_a_code_that_is_looked_at_and_a_present_that_is_bought_entered_and_taken_back(
    place: Town, people: dict[str, IssuedCard]
) -> None:
    at = place.desk.wall()
    async with place.desk.database.transaction() as connection:
        spring = OfferDraft("spring", "PERCENT", at, at + timedelta(days=9), percent_bp=5000, periods=3, word="SPRING")
        await offers.add(connection, place.desk.vault, spring, actor="marketer", at=at)
        await place.fair.coalition.add_member(name="Fay", email=FAY)
    held = "SELECT count(*) FROM members.subscription WHERE is_gift = $1"
    page = await place.signed_in(FAY, onward="/app/subscription", device_scale_factor=2, reduced_motion="reduce")
    family = page.locator("li.offer", has_text="Family")
    before = await place.pool.fetchval(held, False)
    for code, seen in (("NO-SUCH-CODE", "This code is no good"), ("SPRING", "Taken off each period")):
        await place.breathe()
        await family.locator("summary").click()
        await family.get_by_label("Promotional code").fill(code)
        await family.get_by_role("button", name="See what it does: Family").press("Enter")
        await page.get_by_text(seen).wait_for()
    assert await page.locator(".facts dd").all_inner_texts() == ["€10.00", "€10.00"]
    assert "For 3 periods each costs" in await page.locator(".facts").inner_text()
    assert await place.pool.fetchval(held, False) == before  # it was looked at, and nothing more
    await clean(page)
    await shot(page, "code")
    await page.get_by_role("button", name="Subscribe with the code").dblclick()
    await page.get_by_text("Nothing is given before the first invoice is paid.").wait_for()
    assert await place.pool.fetchval(held, False) == before + 1
    assert "€10.00" in await page.locator("#invoices ~ .scroll").inner_text()

    # A present: its code is shown once, is good when it is paid, and whoever enters it has the plan.
    async def buy(periods: str) -> str:
        await place.open(page, "/app/gifts")
        await page.get_by_label("Plan and price").select_option("plus MONTH")
        await page.get_by_label("For how many of these periods").select_option(periods)
        await page.get_by_role("button", name="Buy the present").click()
        return await page.locator(".digits-line code").inner_text()

    await place.breathe()
    code = await buy("2")
    await clean(page)
    await shot(page, "present-bought")
    await pay(place)
    await place.open(page, "/app/gifts")
    await page.get_by_text("nobody has used the code yet").wait_for()
    assert "Plus · 2 months" in await page.locator("#given ~ .rows").inner_text()
    await clean(page)
    await shot(page, "presents")
    eve = await place.signed_in(EVE, onward="/app/gifts")
    await eve.get_by_text("It begins at once.").wait_for()
    await eve.get_by_label("Code", exact=True).fill(code)
    await eve.get_by_role("button", name="Begin the present").click()
    await eve.get_by_role("heading", name="Plus").wait_for()
    await place.open(page, "/app/gifts")
    await page.get_by_text("somebody has it").wait_for()
    assert await page.get_by_role("button", name="Take back").count() == 0
    await place.breathe()
    await buy("1")
    await place.open(page, "/app/gifts")
    await page.get_by_role("button", name="Take back").click()
    await page.get_by_role("button", name="Take back").wait_for(state="detached")
    assert await place.pool.fetchval(held, True) == 2

    await place.open(page, "/app/means")
    await page.get_by_text("Nobody charges you here.").wait_for()
    await clean(page)
    await shot(page, "means")


async def test_pictures_of_fees_at_the_console_where_a_receipt_is_recorded(
    place: Town, people: dict[str, IssuedCard]
) -> None:
    await place.desk.invite("mona", "mona@example.org", [actors.FINANCE_MAKER])
    ben = await place.fair.coalition.add_member(email="gil@example.org")
    async with place.desk.database.transaction() as connection:
        wish = Wish(ben.member_id, "family", "EUR", "MONTH", "UTC")
        await subscriptions.subscribe(connection, MANUAL, wish, at=place.desk.wall())
    number = await place.pool.fetchval("SELECT max(invoice_no) FROM members.invoice")
    wide = {"width": 1280, "height": 900}
    page = await place.signed_in(
        "mona@example.org", "/console/arrears", "/staff", viewport=wide, reduced_motion="reduce"
    )
    row = page.locator("tbody tr", has=page.get_by_role("link", name=str(number), exact=True))
    assert "waits for its first payment" in await row.inner_text()
    await row.get_by_role("link").first.click()
    for amount, seen in (("19.00", "PAYMENT_MISMATCH"), ("20.00", "statement 9")):
        await place.breathe()
        await page.get_by_label("Amount").fill(amount)
        await page.get_by_label("Reference at the bank").fill(f"slip-{number}")
        await page.get_by_label("What shows it").fill("statement 9")
        await page.get_by_role("button", name="Record the receipt").dblclick()
        await page.locator("main").get_by_text(seen).first.wait_for()
    assert await place.pool.fetchval("SELECT count(*) FROM members.fee_payment WHERE invoice_no = $1", number) == 1
    for path in ("arrears", f"invoices/{number}", "invoices", "returns?all=yes", "recognition?by=DAY"):
        await place.breathe()
        await page.set_viewport_size(wide)
        await page.goto(f"{place.url}/console/{path}")
        if SHOTS:
            name = path.partition("?")[0].replace("/", "-")
            await page.screenshot(path=Path(SHOTS) / f"console-fees-{name}.png", full_page=True)
        await page.set_viewport_size({"width": 390, "height": 800})
        await clean(page)


async def test_pictures_of_a_reward_that_is_ordered_stamps_that_count_up_and_a_friend_who_is_invited(
    place: Town, people: dict[str, IssuedCard]
) -> None:
    member_id = people[EVE].member_id
    await place.sell(people[EVE], "120.00")
    place.desk.wall.move(days=15)  # what was earned becomes available
    source = Source(member_id, place.fair.coalition.callers["bakery"].partner_id, 1, uuid4(), place.desk.wall())
    async with place.desk.database.transaction() as connection:
        stamps = Grant("stamps", 1, "STAMP", "coffee", 7, None)
        lounge = Grant("rights", 1, "ENTITLEMENT", "airport-lounge", 2, None)
        await grants.give(connection, place.desk.vault, [stamps, lounge], source=source)
    page = await place.signed_in(EVE, onward="/app/rewards", device_scale_factor=2, reduced_motion="reduce")
    await page.get_by_text("7 of 10").wait_for()
    assert "The tenth coffee" in await page.locator("#stamps ~ .rows").inner_text()
    await page.get_by_text("Tea club").wait_for()
    assert (await page.locator("#rights ~ .rows").inner_text()).split() == ["Airport", "lounge", "2"]
    await clean(page)
    await shot(page, "rewards")
    await page.get_by_label("To be fetched at").select_option(label="Main street")
    before = await available(place, member_id)
    await page.get_by_role("button", name="Take it for 100 points: Mug").click()
    await page.get_by_text("It cost 100 points.").wait_for()
    reference = await page.locator("code").inner_text()
    assert await available(place, member_id) == before - 100
    await page.reload()  # the form again, with its key
    assert await page.locator("code").inner_text() == reference
    assert await available(place, member_id) == before - 100
    await place.open(page, "/app/rewards")
    await page.get_by_text("2 are left").wait_for()

    await place.open(page, "/app/friends")
    await page.get_by_text("Nobody has come by a code of yours yet.").wait_for()
    await page.get_by_role("button", name="Draw a code").click()
    code = await page.locator("code").inner_text()
    await clean(page)
    friend = await place.fair.coalition.add_member()
    accepted = await place.till.ask(ACCEPT, i={"idempotencyKey": stand.key(), "code": code,
                                                  "member": {"cardNumber": friend.number}})  # fmt: skip
    assert accepted["__typename"] == "AcceptInvitationSuccess", accepted
    await place.open(page, "/app/friends")
    await page.get_by_text("came, and has not bought yet").wait_for()
    await shot(page, "friends")


ACCEPT = """mutation($i: AcceptInvitationInput!) { acceptInvitation(input: $i) { __typename
  ... on Rejection { code } } }"""


async def available(place: Town, member_id: int) -> Any:
    """Points that a member can spend now."""
    seen = await lots.standing(place.pool, member_id, unit=1, at=place.desk.wall())
    return seen.available if seen else 0
