"""A browser at the sign-in pages of a gateway: cookies, forms, and the wall's clock in the test's hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx2
from starlette.applications import Starlette

from gateway import app, explorer_pages, landing, lanes
from gateway.messages.notices import Sender
from gateway.pages import console, files, member, operator, operator_rules, portal, problems, till
from gateway.schema import schema
from gateway.sessions import approver, asking, mailbox, pages, staff
from kit import actors, clock
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings
from tests.builders import NOON, Coalition

SITE = "http://localhost:8000"
SENDER = Sender("Test coalition", "UTC", SITE)
START = datetime(2026, 3, 2, 12, tzinfo=UTC)

_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


@dataclass
class Wall:
    """A clock that a test moves."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        """Let time pass."""
        self.at += timedelta(**by)


@dataclass
class Browser:
    """One browser, with its cookies, that follows redirects only when told to."""

    http: httpx2.AsyncClient

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        """Open a page."""
        return await self.http.get(path, headers={"Accept": "text/html", **more.pop("headers", {})}, **more)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> httpx2.Response:
        """Send a form."""
        return await self.http.post(path, data=form, headers={"Accept": "text/html", **headers})

    async def fill(self, page: str, action: str | None = None, **values: str) -> httpx2.Response:
        """Open a page, fill its form to an action (by default the page's own path) and send it."""
        shown = await self.get(page)
        assert shown.status_code == 200, (shown.status_code, shown.headers.get("location"))
        path = action or page.partition("?")[0]
        return await self.post(path, {**hidden(shown.text, path), **values})

    async def ask(self, address: str, prefix: str = "") -> httpx2.Response:
        """Ask for a code."""
        return await self.fill(f"{prefix}/sign-in", address=address)

    async def enter(self, code: str, prefix: str = "") -> httpx2.Response:
        """Enter a code."""
        return await self.fill(f"{prefix}/sign-in/code", code=code)

    async def json(self, page: str, path: str, content: dict[str, Any], **headers: str) -> httpx2.Response:
        """Send JSON as the script of a page does, with the token that the page carries."""
        found = re.search(r'data-csrf="(\w+)"', (await self.get(page)).text)
        assert found is not None
        return await self.http.post(path, json=content, headers={"X-CSRF-Token": found[1], **headers})


@dataclass
class Desk:
    """The application with its pages, its clock, and the way to what it wrote to people."""

    application: Starlette
    coalition: Coalition
    settings: Settings
    wall: Wall
    browsers: list[httpx2.AsyncClient] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database behind it."""
        return self.coalition.database

    @property
    def vault(self) -> Vault:
        """Its keys."""
        return self.coalition.vault

    def browser(self, **headers: str) -> Browser:
        """A new browser without a cookie."""
        transport = httpx2.ASGITransport(app=self.application)
        http = httpx2.AsyncClient(transport=transport, base_url=self.settings.issuer, headers=headers)
        self.browsers.append(http)
        return Browser(http)

    async def letters(self) -> list[tuple[str, str]]:
        """Address and body of everything that was written to members and staff, in the order it was."""
        from members import messages

        async with self.database.reading() as connection:
            found = await messages.latest(connection, 1_000)
            opened = [
                await messages.read(connection, self.vault, each.audience, each.person_id, each.message_id)
                for each in sorted(found, key=lambda each: (each.accepted_at, each.message_id))
            ]
        return [(words.to, words.letter.body) for words in opened if words is not None]

    async def posted(self) -> None:
        """Wait until the gateway has handled everything that it accepted."""
        async with asyncio.timeout(60):
            while await self.database.pool.fetchval("SELECT count(*) FROM members.message_queue"):
                await asyncio.sleep(0.01)

    async def code_for(self, address: str) -> str:
        """The last code that an address was sent; every code of a test is asked for at another instant."""
        codes = [
            "".join(found.groups())
            for to, body in await self.letters()
            if to == address and (found := re.search(r"\b(\d{4}) (\d{4})\b", body))
        ]
        return codes[-1]

    async def signed_in(self, address: str, prefix: str = "", **headers: str) -> Browser:
        """A browser in which somebody signed in by code."""
        browser = self.browser(**headers)
        self.wall.move(seconds=1)
        await self.at_wall()
        assert (await browser.ask(address, prefix)).status_code == 303
        answer = await browser.enter(await self.code_for(address), prefix)
        assert answer.status_code == 303, answer.text
        return browser

    async def at_wall(self) -> None:
        """Let the business clock follow the wall's."""
        async with self.database.transaction() as connection:
            await clock.set_sandbox(connection, self.wall())

    async def invite(self, name: str, email: str, roles: Sequence[str] = (), language: str = "en") -> str:
        """Staff with an address; returns the invitation."""
        async with self.database.transaction() as connection:
            await actors.ensure_actor(connection, "boss", [actors.OPERATOR_ADMIN])
            await actors.ensure_actor(connection, name, roles)
            return await staff.invite(
                connection, self.vault, SENDER, name=name, email=email, language=language, by="boss", now=self.wall()
            )


@asynccontextmanager
async def opened(coalition: Coalition, database_url: str, **settings: Any) -> AsyncIterator[Desk]:
    """The application over a database, both clocks at noon."""
    chosen = Settings(**{"issuer": SITE, "clock": "sandbox", "pool_size": 4, **settings})
    wall = Wall()
    built = app.build(
        chosen, schema, database_url=database_url, vault=coalition.vault, opening=lanes.opened,
        pages=[
            *landing.ROUTES, *pages.ROUTES, *asking.ROUTES, *mailbox.ROUTES, *files.ROUTES, *member.ROUTES, *till.ROUTES,
            *console.ROUTES, *explorer_pages.ROUTES, *portal.ROUTES, *operator.ROUTES, *operator_rules.ROUTES,
        ],
        signed_in=approver.signed_in, wall_clock=wall, problem=problems.page,
    )  # fmt: skip
    async with built.router.lifespan_context(built):
        desk = Desk(built, coalition, chosen, wall)
        async with coalition.database.transaction() as connection:
            await clock.set_sandbox(connection, NOON)
        yield desk
        for each in desk.browsers:
            await each.aclose()


def hidden(html: str, action: str) -> dict[str, str]:
    """The hidden fields of a page's form to an action."""
    for form in re.findall(rf'<form method="post" action="{re.escape(action)}">(.*?)</form>', html, re.S):
        return {name: unescape(value) for name, value in _FIELD.findall(form)}
    raise AssertionError(f"no form to {action}")
