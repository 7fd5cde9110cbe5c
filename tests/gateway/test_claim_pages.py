"""Missing points in the app, in a real browser: claimed with a picture that stays on the device, refused, contested."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gateway.sessions import colleagues
from tests.gateway import stand
from tests.gateway.browsers import CHROMIUM
from tests.gateway.conversing import script_of
from tests.gateway.test_claim_api import ANSWER
from tests.gateway.test_session_matrix import colleague
from tests.gateway.test_subscription_pages import clean, shot
from tests.gateway.town import Town

GUS, FAY = "gus@example.org", "fay@example.org"
PHOTO = b"\xff\xd8\xff" + bytes(4_000)
STATE = "SELECT count(*) FROM settlement.claim"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
async def quiet(place: Town) -> AsyncIterator[None]:
    """No test leaves a browser that complained."""
    place.complaints.clear()
    yield
    for context in place.browser.contexts:
        await context.close()
    assert place.complaints == []


async def test_pictures_of_a_claim_that_is_made_refused_and_contested(place: Town) -> None:
    await place.fair.coalition.add_member(name="Gus", email=GUS)
    await colleague(place.desk, "bakery", "Fay", FAY, colleagues.FINANCE)
    place.desk.wall.move(days=9)
    page = await place.signed_in(GUS, onward="/app/claims", device_scale_factor=2, reduced_motion="reduce")
    await page.get_by_label("Partner").select_option("bakery")
    bought = (place.desk.wall() - timedelta(days=4)).date().isoformat()
    await page.get_by_label("Day of the receipt").fill(bought)
    await page.get_by_label("Number of the receipt").fill("LOST-7")
    await page.get_by_label("What it came to").fill("fifty")
    await page.get_by_label("Where it was").fill("Main street")
    await page.get_by_label("Picture of the receipt").set_input_files(
        {"name": "receipt.jpg", "mimeType": "image/jpeg", "buffer": PHOTO}
    )
    await page.locator("input[data-is-read=yes]").wait_for(state="attached")
    await page.get_by_role("button", name="Claim", exact=True).click()
    await page.get_by_role("alert").wait_for()
    assert await page.get_by_label("Number of the receipt").input_value() == "LOST-7"  # what was typed is not lost
    assert await place.pool.fetchval(STATE) == 0
    await page.get_by_label("What it came to").fill("50,00")
    await page.get_by_label("Picture of the receipt").set_input_files(
        {"name": "receipt.jpg", "mimeType": "image/jpeg", "buffer": PHOTO}
    )
    await page.locator("input[data-is-read=yes]").wait_for(state="attached")
    await page.get_by_role("button", name="Claim", exact=True).dblclick()
    await page.get_by_text("the partner is asked", exact=True).wait_for()
    assert await place.pool.fetchval(STATE) == 1
    shown = await place.pool.fetchval("SELECT sha256 FROM settlement.claim_evidence")
    assert shown == hashlib.sha256(PHOTO).digest()
    await clean(page)
    await shot(page, "claims")

    fay = await script_of(await place.desk.signed_in(FAY, "/portal"), "/portal")
    found = await fay.ask("{ missingPointsClaims { nodes { id } } }")
    answer = {"idempotencyKey": stand.key(), "claimId": found["nodes"][0]["id"], "accepted": False, "reason": "P01",
              "note": "Not in our books"}  # fmt: skip
    assert (await fay.ask(ANSWER, input=answer))["__typename"] == "AnswerClaimSuccess"
    await place.open(page, "/app/claims")
    await page.get_by_text("There is no such purchase.").wait_for()
    await page.get_by_text("Not in our books").wait_for()
    await page.get_by_label("Why the partner is wrong").select_option("C01")
    await page.get_by_role("button", name="Let the programme decide").click()
    await page.get_by_text("the programme decides", exact=True).wait_for()
    await clean(page)
