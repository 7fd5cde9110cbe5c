"""The member app at /app/places: where points can be spent, by town or from where the member is.

The place where somebody is comes in a form's body, for one answer, and is kept nowhere; the page's script rounds it to
about a hundred metres before it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.demo.names import PROGRAMME_NAME
from gateway.pages import visits
from gateway.pages.visits import Screen, Visitor, code_of, status_of
from gateway.sessions.asking import NotAnswered

PLACES_ON_A_PAGE = 20
WARNED_AHEAD = timedelta(days=30)
_HERE = "camera=(), geolocation=(self), microphone=()"
_DEGREES = re.compile(r"-?\d{1,3}(\.\d{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ending:
    """Points that end within the time in which the app warns of it: how many, and when the first of them do."""

    points: int
    at: str


def ending_soon(viewer: Mapping[str, Any]) -> Ending | None:
    """What of a member's points ends soon; None where nothing does."""
    until = datetime.fromisoformat(viewer["balance"]["asOf"]) + WARNED_AHEAD
    soon = [
        each
        for each in viewer["own"]["dates"]
        if each["kind"] == "EXPIRY" and datetime.fromisoformat(each["at"]) <= until
    ]
    return Ending(sum(int(each["points"]) for each in soon), soon[0]["at"]) if soon else None


async def places(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/places: where points can be spent, by town."""
    return await _page(visitor, None, visitor.request.query_params.get("after"), problem)


async def near(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/places: the same, the nearest first."""
    here = {name: fields.get(name, "") for name in ("latitude", "longitude")}
    if not all(_DEGREES.fullmatch(text) for text in here.values()):
        return await places(visitor, "BAD_USER_INPUT")
    try:
        return await _page(visitor, here, None, None)
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return await places(visitor, code_of(no))


async def _page(visitor: Visitor, here: Mapping[str, str] | None, after: str | None, problem: str | None) -> Response:
    viewer = await visitor.ask("Places", near=here, first=PLACES_ON_A_PAGE, after=after)
    shown = visitor.page(
        "places.html", status=status_of(problem), viewer=viewer, ending=ending_soon(viewer), is_near=here is not None,
        is_first=not after, problem=problem, is_invented=visitor.frame.programme == PROGRAMME_NAME,
    )  # fmt: skip
    shown.headers["Permissions-Policy"] = _HERE
    return shown


_SCREENS: tuple[tuple[str, Screen], ...] = (("/places", places),)
_DEEDS: tuple[tuple[str, Screen], ...] = (("/places", near),)

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
