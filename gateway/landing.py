"""The page at /: what this is, how the coalition stands, where to go on. Public, so it shows sums and no person.

Figures are for a sandbox alone: with the wall's clock the page says the name and the links. It is plain HTML without
any script, and its policy forbids the browser to run one.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from gateway.context import Services
from gateway.demo.names import INVENTED, PROGRAMME_NAME, SOURCE
from gateway.figures import Figures, figures
from gateway.schema import schema
from kit.amounts import decimal_from_minor
from settlement import archive
from settlement.archive import Run

FRESH_SECONDS = 5.0
TEMPLATES = Path(__file__).parent / "templates"

_STYLE = (TEMPLATES / "landing.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Net:
    """What one party of a settlement run receives or pays, ready to read."""

    party: str
    amount: str
    currency: str
    receives: bool


@dataclass(frozen=True, slots=True)
class State:
    """What the page shows of a sandbox. nets belong to the last run, the operator's first."""

    figures: Figures
    run: Run | None
    nets: tuple[Net, ...]
    source: str | None


class Landing:
    """One process's landing page; its figures are at most FRESH_SECONDS old however many look."""

    def __init__(self, services: Services) -> None:
        self._services = services
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        environment.filters["grouped"] = grouped
        self._template = environment.get_template("landing.html")
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._state: State | None = None

    async def html(self) -> str:
        """The page as it is now."""
        shows_figures = self._services.settings.clock == "sandbox"
        return self._template.render(
            style=_STYLE,
            issuer=self._services.settings.issuer.rstrip("/"),
            shows_figures=shows_figures,
            state=await self._recent() if shows_figures else None,
        )

    async def _recent(self) -> State | None:
        async with self._looking:
            if time.monotonic() - self._looked_at >= FRESH_SECONDS:
                self._state = await self._look()
                self._looked_at = time.monotonic()
            return self._state

    async def _look(self) -> State | None:
        async with self._services.database.reading() as connection:
            found = await figures(connection)
            if found is None:
                return None
            heads = await archive.runs(connection)
            last = await archive.run(connection, heads[0].run_id) if heads else None
        names = {partner.partner_id: partner.name for partner in (await self._services.directory.get()).partners()}
        return State(
            figures=found,
            run=last,
            nets=_nets(last, names),
            source=f"They are from {SOURCE}. {INVENTED}." if found.name == PROGRAMME_NAME else None,
        )


async def page(request: Request) -> HTMLResponse:
    """GET /: the landing page."""
    state = request.app.state
    if not hasattr(state, "landing"):
        state.landing = Landing(state.services)
    landing: Landing = state.landing
    return HTMLResponse(await landing.html(), headers=HEADERS)


async def schema_document(request: Request) -> PlainTextResponse:
    """GET /schema.graphql: the published schema, for editors and generators of code."""
    return PlainTextResponse(_published(), headers={"Cache-Control": "public, max-age=300"})


@lru_cache(maxsize=1)
def _published() -> str:
    return schema.sdl()


ROUTES = [Route("/", page, methods=["GET"]), Route("/schema.graphql", schema_document, methods=["GET"])]


def grouped(number: int) -> str:
    """An integer for the eye, with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def _nets(run: Run | None, names: dict[int, str]) -> tuple[Net, ...]:
    return tuple(
        Net(
            party=names.get(statement.partner_id, "Operator"),
            amount=f"{decimal_from_minor(abs(statement.net_minor), statement.currency):,f}".replace(",", "\u202f"),
            currency=statement.currency,
            receives=statement.net_minor >= 0,
        )
        for statement in (run.statements if run else ())
    )
