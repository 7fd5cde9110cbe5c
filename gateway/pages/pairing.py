"""The member app at /app/pair: a till shows a code, the phone reads it, and the member confirms who asks.

The code of a till is an address of this page, so the phone's own camera leads here too, by way of the sign-in. A page
that was opened by an address changes nothing; the member's yes is a form.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import visits
from gateway.pages.visits import Screen, Visitor, code_of, done, status_of
from gateway.sessions.asking import NotAnswered
from members.pairings import LONGEST_CODE

_EYE = "camera=(self), geolocation=(), microphone=()"


async def pair(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/pair?code=: which till asks. Without a code, or with one that is no good: the camera."""
    code = visitor.request.query_params.get("code", "")[: LONGEST_CODE + 1]
    till = None
    if code and problem is None:
        try:
            till = await visitor.ask("AskingTill", input={"code": code})
        except NotAnswered as no:
            if no.status >= 429:
                raise
            problem = code_of(no)
    shown = visitor.page("pair.html", status=status_of(problem), till=till, code=code, problem=problem)
    if till is None:
        shown.headers["Permissions-Policy"] = _EYE
    return shown


async def confirm(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/pair: the till is told who the member is."""
    told = await done(visitor, fields, "ConfirmPairing", {"code": fields.get("code", "")}, "/app/pair", pair)
    return told if isinstance(told, Response) else visitor.page("paired.html", till=told["till"])


_SCREENS: tuple[tuple[str, Screen], ...] = (("/pair", pair),)
_DEEDS: tuple[tuple[str, Screen], ...] = (("/pair", confirm),)

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
