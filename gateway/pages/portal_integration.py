"""What a partner's developers look at when a program of theirs does not do as it should, and before it goes live: the
log of requests, what was refused and how to mend it, how fast they are answered, and what is left to be done.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import integration_phrases, portal_frame, rendering
from gateway.pages.portal_frame import Office

ON_A_PAGE = 20
DAYS = (1, 7, 14)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ASKED = ("id", "client", "operation", "code", "since", "until")


async def requests(office: Office) -> Response:
    """GET /portal/requests: what the partner's programs asked lately."""
    asked = {name: office.asked(name, 64).strip() for name in _ASKED}
    failed = bool(office.asked("failed"))
    is_wrong_id = bool(asked["id"]) and not _REQUEST_ID.fullmatch(asked["id"])
    found = await office.ask(
        "PortalRequests", first=ON_A_PAGE, after=office.asked("after") or None,
        requestId="wrong-id" if is_wrong_id else asked["id"] or None, clientId=asked["client"] or None,
        operation=asked["operation"] or None, code=asked["code"] or None, since=_instant(office, asked["since"]),
        until=_instant(office, asked["until"]), failed=failed,
    )  # fmt: skip
    query = {name: text for name, text in asked.items() if text} | ({"failed": "1"} if failed else {})
    return office.page(
        "requests.html", found=found["requestLog"], clients=found["apiClients"], asked=asked, failed=failed,
        query=urlencode(query), is_first=not office.asked("after"),
    )  # fmt: skip


async def refusals(office: Office) -> Response:
    """GET /portal/requests/refused: what was refused, by code and operation, and how to mend it."""
    days = _days(office, 7)
    found = (await office.ask("PortalRefusals", days=days))["refusedRequests"]
    return office.page("refusals.html", found=found, days=days, choices=DAYS)


async def health(office: Office) -> Response:
    """GET /portal/requests/health: how fast and how well each client is answered, and what is left to it."""
    days = _days(office, 1)
    found = (await office.ask("PortalHealth", days=days))["clientHealth"]
    return office.page("health.html", found=found, days=days, choices=DAYS)


async def going_live(office: Office) -> Response:
    """GET /portal/requests/going-live: what the programs have done, and what they have to show yet."""
    found = (await office.ask("PortalGoLive"))["goLiveSteps"]
    return office.page("going_live.html", found=found, steps=integration_phrases.STEPS)


def _days(office: Office, otherwise: int) -> int:
    wanted = office.asked("days", 2)
    return int(wanted) if wanted in map(str, DAYS) else otherwise


def _instant(office: Office, text: str) -> str | None:
    """An instant of the address, as a browser's field for one has it: in the programme's zone."""
    return rendering.typed_instant(text[:16], office.frame.zone)


ROUTES: list[BaseRoute] = portal_frame.routes(
    (
        ("/requests", requests),
        ("/requests/refused", refusals),
        ("/requests/health", health),
        ("/requests/going-live", going_live),
    )
)
