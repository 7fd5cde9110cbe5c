"""What happened to one member, or became of one receipt, in one line of time; reached from the search, which asked what
for. It is read with a form, so that nobody's number stands in an address, and every look is in the trail.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.pages import desk, oversight_phrases
from gateway.pages.desk import Desk
from gateway.sessions.asking import NotAnswered

SEARCH = "/console/search"
MOST = 50


async def again(at: Desk) -> Response:
    """GET /console/search/timeline: nobody is looked at by an address; the search asks what for."""
    return RedirectResponse(SEARCH, 303)


async def timeline(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/search/timeline: what happened to a member, or became of a receipt."""
    member, entry = desk.whole(fields.get("member", "")), desk.whole(fields.get("entry", ""))
    purpose = fields.get("purpose", "")
    try:
        told = await at.ask(
            "OperatorTimeline", member=member, purpose=purpose, entry=entry or None, before=fields.get("before") or None
        )
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return RedirectResponse(SEARCH, 303)
    found = told["memberTimeline"]
    return at.page(
        "operator/timeline.html", member=member, entry=entry, purpose=purpose, found=found,
        before=found[-1]["at"] if len(found) >= MOST and not entry else None, words=oversight_phrases,
    )  # fmt: skip


ROUTES: list[BaseRoute] = desk.routes(((f"{SEARCH}/timeline", again),), ((f"{SEARCH}/timeline", timeline),))
