"""Signing in with a real browser over a real socket: passkeys by Chromium's own virtual authenticator, the policy as the
browser enforces it, the keyboard alone, and no script at all."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page

from gateway import scopes
from gateway.oauth import clients
from gateway.oauth.clients import DEVICE_CODE
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests import builders
from tests.gateway import browsers
from tests.gateway import desk as desks
from tests.gateway.browsers import CHROMIUM, Cable
from tests.gateway.desk import Desk
from tests.gateway.signers import Signer

ADA, ANNA = "ada@example.org", "anna@example.org"
PATIENCE_MILLISECONDS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@dataclass
class Site:
    """A gateway that listens, a browser, and what the browser complained about."""

    desk: Desk
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.desk.settings.issuer

    async def context(self, **options: object) -> BrowserContext:
        """A new browser of somebody, small as a phone."""
        made = await self.browser.new_context(viewport={"width": 390, "height": 800}, **options)  # type: ignore[arg-type]
        made.set_default_timeout(PATIENCE_MILLISECONDS)
        return made

    async def page(self, context: BrowserContext) -> Page:
        """A page whose complaints are kept; that a form was refused is none."""
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                self.complaints.append(said.text)
                if said.type == "error" and "422" not in said.text and "403" not in said.text
                else None
            ),
        )
        return page

    async def code(self) -> str:
        """The code that Ada was sent last."""
        return await self.desk.code_for(ADA)

    async def later(self, **by: float) -> None:
        """Let time pass, for both clocks."""
        self.desk.wall.move(**by)
        await self.desk.at_wall()

    async def sign_in(self, page: Page) -> None:
        """Ada signs in by code."""
        await self.later(seconds=1)
        await page.goto(f"{self.url}/sign-in")
        await page.get_by_label("E-mail address or phone").fill(ADA)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/sign-in/code?**")
        await page.get_by_label("Code", exact=True).fill(await self.code())
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/security")


@asynccontextmanager
async def listening(desk: Desk, bound: socket.socket) -> AsyncIterator[Cable]:
    """The gateway on a socket, for the time of the block, and the cable to it."""
    cable = Cable(desk.application)
    server = uvicorn.Server(uvicorn.Config(cable, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield cable
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    async with browsers.launched() as opened:
        yield opened


@pytest.fixture
async def site(
    server: postgres.Server, database_name: str, database: Database, vault: Vault, chromium: Browser
) -> AsyncIterator[Site]:
    """A gateway under a host name with a member called Ada, and a browser."""
    coalition = await builders.found(database, vault)
    await coalition.add_member(name="Ada", email=ADA)
    bound = socket.create_server(("127.0.0.1", 0))
    issuer = f"http://localhost:{bound.getsockname()[1]}"
    url = server.url(database_name, APPLICATION_ROLE)
    async with desks.opened(coalition, url, issuer=issuer) as desk, listening(desk, bound):
        yield Site(desk, chromium)
        for context in chromium.contexts:
            await context.close()


async def with_device(context: BrowserContext, page: Page) -> None:
    """Give a page a device that keeps passkeys and knows its owner."""
    devtools = await context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    device = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": device})


async def test_a_passkey_is_made_signs_in_proves_again_and_is_removed_in_a_real_browser(site: Site) -> None:
    context = await site.context()
    page = await site.page(context)
    await with_device(context, page)
    await site.sign_in(page)
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_role("rowheader", name=re.compile("^Passkey of")).wait_for()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.wait_for_url("**/sign-in")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url("**/security")
    # Six minutes later the proof is old: another passkey needs a fresh one, which the first gives.
    await site.later(minutes=6)
    await page.get_by_role("button", name="Add a passkey").click()
    await page.wait_for_url("**/confirm?next=%2Fsecurity")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url("**/security")
    await page.get_by_role("button", name=re.compile("^Remove the passkey of")).click()
    await page.get_by_text("You have none yet.").wait_for()
    assert site.complaints == []


async def test_staff_follow_a_tills_link_sign_in_and_allow_it_and_the_till_speaks_for_itself(site: Site) -> None:
    desk, till = site.desk, Signer()
    caller = await desk.coalition.add_partner("bakery")
    await desk.invite("anna", ANNA, [actors.ONBOARDING])
    async with desk.database.transaction() as connection:
        client_id = await clients.add_public_client(
            connection, partner_id=caller.partner_id, name="Tills", scopes=scopes.TILL, by="anna", at=desk.wall()
        )

    async def asked(path: str, **form: str) -> dict[str, str]:
        proof = till.proof(path, desk.wall(), htu=site.url + path)
        async with httpx2.AsyncClient(base_url=site.url, trust_env=False) as http:
            return dict((await http.post(path, data={"client_id": client_id, **form}, headers={"DPoP": proof})).json())

    begun = await asked("/oauth/device_authorization", outlet="1", terminal="1", serial="SN-7")
    page = await site.page(await site.context(java_script_enabled=False))
    await site.later(seconds=1)
    await page.goto(begun["verification_uri_complete"])
    await page.get_by_label("E-mail address").fill(ANNA)
    await page.get_by_role("button", name="Send me a code").click()
    await page.get_by_label("Code", exact=True).fill(await desk.code_for(ANNA))
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_text("SN-7").wait_for()
    await page.get_by_role("button", name="Allow").click()
    await page.get_by_role("status").wait_for()
    tokens = await asked("/oauth/token", grant_type=DEVICE_CODE, device_code=begun["device_code"])
    assert tokens["token_type"] == "DPoP"
    assert site.complaints == []


async def test_a_device_without_a_passkey_leaves_a_sentence_and_the_code_still_works(site: Site) -> None:
    context = await site.context()
    page = await site.page(context)
    await with_device(context, page)
    await page.goto(f"{site.url}/sign-in")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.get_by_role("alert").get_by_text("did not use a passkey").wait_for()
    await site.sign_in(page)
    assert site.complaints == []


async def test_without_a_script_the_code_signs_in_and_no_dead_button_is_shown(site: Site) -> None:
    context = await site.context(java_script_enabled=False)
    page = await site.page(context)
    await page.goto(f"{site.url}/sign-in")
    assert not await page.get_by_role("button", name="Use a passkey").is_visible()
    await site.sign_in(page)
    assert await page.get_by_text("needs JavaScript").is_visible()
    assert not await page.get_by_role("button", name="Add a passkey").is_visible()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.wait_for_url("**/sign-in")


async def test_the_keyboard_is_enough_and_the_focus_is_seen_and_told(site: Site) -> None:
    page = await site.page(await site.context())
    await page.goto(f"{site.url}/sign-in")
    assert await page.evaluate("document.activeElement.id") == "address"
    await page.keyboard.type(ADA)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Send me a code"
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await page.locator("#code:focus").wait_for()
    await page.keyboard.type("12345678")
    await page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    await alert.wait_for()
    described = await page.evaluate("document.activeElement.getAttribute('aria-describedby')")
    assert described.split() == ["hint", "problem"]
    assert await page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    assert site.complaints == []


# Relative luminance and contrast as WCAG 2.2 defines them, over every text that a page shows.
CONTRASTS = """
() => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [1, 1, 1, 1];
  };
  const texts = [...document.querySelectorAll("main *, header *")].filter((each) =>
    each.checkVisibility() && [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return texts.map((each) => {
    const [a, b] = [light(parse(getComputedStyle(each).color)), light(behind(each))];
    return [each.tagName + ":" + each.textContent.trim().slice(0, 30), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  });
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_and_nothing_runs_out_of_a_narrow_page(site: Site, scheme: str) -> None:
    context = await site.context(color_scheme=scheme)
    page = await site.page(context)
    await page.goto(f"{site.url}/sign-in")
    await page.get_by_label("E-mail address or phone").fill("nobody@example.org")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/sign-in/code?**")
    await page.get_by_label("Code", exact=True).fill("1")
    await page.keyboard.press("Enter")
    await page.get_by_role("alert").wait_for()
    seen = [await page.evaluate(CONTRASTS)]
    await site.sign_in(page)
    for path in ("/security", "/mailbox"):
        await page.goto(site.url + path)
        seen.append(await page.evaluate(CONTRASTS))
        await page.set_viewport_size({"width": 320, "height": 800})
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 320, path
    faint = [(text, ratio) for found in seen for text, ratio in found if ratio < 4.5]
    assert [len(found) > 3 for found in seen] == [True] * 3
    assert faint == []
    assert site.complaints == []


async def test_the_browser_itself_runs_no_script_that_is_put_into_a_page(site: Site) -> None:
    page = await site.page(await site.context())
    await page.goto(f"{site.url}/sign-in")
    await page.evaluate(
        "() => { const made = document.createElement('script'); try { made.text = 'window.hacked = true' } catch {}"
        " document.body.append(made) }"
    )
    await page.evaluate("() => { try { document.body.innerHTML = '<img src=x onerror=hacked=true>' } catch {} }")
    assert await page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in said or "TrustedHTML" in said for said in site.complaints)
