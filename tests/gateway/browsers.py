"""The browser of the tests: Chromium without a window, and without what only somebody who sits at one needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from playwright.async_api import Browser, Page, async_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LEFT_OUT = (
    # Each new window prepares the pages below its address bar, which costs more than most tests do.
    "WebUIOmniboxPopup", "WebUIOmniboxFullPopup", "WebUIOmniboxAimPopup",
    # What Playwright leaves out: Chromium hears the last such list alone.
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled",
    "PreconnectToSearch",
)  # fmt: skip


@dataclass
class Cable:
    """What lies between a gateway and its browsers. While it is out nothing that a page asks as a program arrives: a
    page that is about to come anew may ask past all that Playwright says is cut."""

    gateway: ASGIApp
    is_out: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_out and scope["type"] == "http" and scope["path"].endswith("/session/graphql"):
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await self.gateway(scope, receive, send)


@asynccontextmanager
async def launched(*arguments: str) -> AsyncIterator[Browser]:
    """Chromium with some arguments of its own; each window is somebody's else."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as play:
        browser = await play.chromium.launch(
            executable_path=CHROMIUM, args=[*arguments, *root, f"--disable-features={','.join(LEFT_OUT)}"]
        )
        yield browser
        await browser.close()


async def until_it_speaks(page: Page, language: str) -> None:
    """Wait for a page to be in a language. Playwright's `wait_for_function` asks again by `eval`, which our pages forbid."""
    await page.locator(f"html[lang={language}]").wait_for(state="attached")
