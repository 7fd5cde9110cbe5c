"""What somebody at a browser sees when a request came to nothing, wherever it did: a page in their language that says
what to do, with the request's number. Programs, which do not ask for a page, are answered in JSON as everywhere.

It must come when much else does not: what it cannot find out, such as the programme's name while the database is away,
it leaves out.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import structlog
from starlette.requests import Request
from starlette.responses import Response

from gateway.context import LANGUAGES, language_of
from gateway.pages import phrases, rendering
from gateway.pages.rendering import Frame
from gateway.sessions import forms, people, views

PARTS = ("/app", "/portal", "/console")
_BACK = {**dict(zip(PARTS, PARTS, strict=True)), "/staff": "/console", "/sign-in": "/app", "/confirm": "/app",
         "/security": "/app"}  # fmt: skip
_OF_SCRIPTS = ("/graphql", "/session/graphql", "/staff/session/graphql", "/portal/session/graphql")

log = structlog.get_logger("gateway.pages")


async def page(request: Request, status: int, code: str = "") -> Response | None:
    """The page for a request that ended with a status, and with a code of the API's where one is known. None where it
    was no browser that asked for a page."""
    if not wants_page(request):
        return None
    home = _BACK.get("/" + request.url.path.split("/")[1], "/")
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    can_repeat = request.method == "GET" and (status == 429 or status >= 500)
    return rendering.page(
        request, "problem.html", await _frame(request, status), status=status, back=home,
        sentence=phrases.failure(status, code, is_form=request.method == "POST"),
        again=forms.local_path(here, home) if can_repeat else None,
    )  # fmt: skip


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page: it says so; scripts and programs ask for something else."""
    return "text/html" in request.headers.get("accept", "") and request.url.path not in _OF_SCRIPTS


async def _frame(request: Request, status: int) -> Frame:
    """The frame of the page that was asked for, or as much of it as can be had."""
    try:
        return await rendering.frame_of(request, await _language(request, status))
    except Exception:
        log.warning("a page about a problem came without its frame", exc_info=True)
    chosen = request.scope.get("language") or request.cookies.get(views.LANGUAGE_COOKIE)
    language = chosen if chosen in LANGUAGES else language_of(request.headers.get("accept-language", ""))
    return Frame(language, "Tessera", ZoneInfo("UTC"), is_sandbox=False)


async def _language(request: Request, status: int) -> str | None:
    """The language that the page had begun in; else the signed-in member's, where the database can be asked."""
    begun: str | None = request.scope.get("language")
    if begun is None and status < 500 and request.url.path.startswith(PARTS[0]):
        member = await people.signed_in_member(request)
        return None if member is None else member.language
    return begun
