"""HTML of the pages: templates, their files, and the policy under which a browser shows them.

No script or style stands in a page; both are files of our own under a name that holds their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.context import LANGUAGES, Services, language_of
from gateway.messages.notices import Sender
from gateway.sessions import texts
from gateway.sessions.people import PREFIXES
from members.messages import COLLEAGUE, MEMBER, STAFF
from partners.agreements.programme import ProgrammeUnknown

HERE = Path(__file__).parent
LANGUAGE_COOKIE = "language"
HOMES = {MEMBER: "/app", COLLEAGUE: "/portal", STAFF: "/console"}
"""Where the pages of an audience begin."""
_KINDS = {".css": "text/css", ".js": "text/javascript"}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    # Of our own pages a browser has to tell us that they sent a form; of nobody else does it tell anything.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages refer to, at a path that changes with its content."""

    path: str
    content: bytes
    kind: str


@lru_cache(maxsize=1)
def assets() -> Mapping[str, Asset]:
    """Our own files by name."""
    found = {}
    for file in sorted((HERE / "assets").iterdir()):
        if file.suffix in _KINDS:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:16]
            found[file.name] = Asset(f"/assets/{digest}/{file.name}", content, _KINDS[file.suffix])
    return found


async def asset(request: Request) -> Response:
    """GET /assets/{hash}/{name}: a file of ours, unchangeable under its name."""
    found = assets().get(request.path_params["name"])
    if found is None or found.path != request.url.path:
        raise HTTPException(404, "Not Found")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found.content, headers=headers, media_type=found.kind)


async def sender_of(services: Services) -> Sender:
    """In whose name this gateway writes, before a programme is founded too."""
    site = services.settings.issuer.rstrip("/")
    try:
        programme = (await services.directory.get()).programme
    except ProgrammeUnknown:
        return Sender("Tessera", "UTC", site)
    return Sender(programme.name, programme.time_zone, site)


async def page(request: Request, template: str, audience: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the language that was chosen here, else in one that the browser asks for."""
    language = language_here(request)
    sender = await sender_of(request.app.state.services)
    zone = ZoneInfo(values.pop("time_zone", None) or sender.time_zone)
    html = (
        _templates()
        .get_template(template)
        .render(
            language=language,
            t=partial(texts.text, language=language),
            moment=partial(_moment, zone=zone, language=language),
            assets={name: each.path for name, each in assets().items()},
            programme=sender.programme,
            zone=sender.time_zone,
            prefix=PREFIXES[audience],
            is_staff=audience != MEMBER,
            sign_in_title=heading_of(audience),
            is_member=audience == MEMBER,
            home=HOMES[audience],
            **values,
        )
    )
    return HTMLResponse(html, status, HEADERS)


def language_here(request: Request) -> str:
    """The language that somebody chose in this browser, else one that it asks for."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return chosen if chosen in LANGUAGES else language_of(request.headers.get("accept-language", ""))


def heading_of(audience: str) -> str:
    """The name of the text that heads an audience's sign-in page."""
    return {STAFF: "sign_in_staff", COLLEAGUE: "sign_in_colleague"}.get(audience, "sign_in")


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _moment(at: datetime, *, zone: ZoneInfo, language: str) -> str:
    return format_datetime(at, "d MMM y, HH:mm", tzinfo=zone, locale=language)


ROUTES = [Route("/assets/{digest}/{name}", asset, methods=["GET"])]
