"""What the pages of signing in share: what they ask of the process, and how they answer."""

from __future__ import annotations

from datetime import datetime

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.context import Services
from gateway.sessions import passkeys, views
from gateway.sessions.cookies import jar_of
from gateway.sessions.passkeys import Site
from gateway.sessions.people import PREFIXES
from kit import console
from kit.errors import Rejection
from members.messages import COLLEAGUE

STATUS = {"SIGN_IN_TOO_OFTEN": 429, "STEP_UP_REQUIRED": 403}
"""Of the codes that a page may answer; 422 of all others."""


async def site_of(request: Request) -> Site:
    """The site that passkeys are for. Raises HTTPException (404) where there can be none."""
    services = services_of(request)
    site = passkeys.site_of(services.settings.issuer, (await views.sender_of(services)).programme)
    if site is None:
        raise HTTPException(404, "no passkeys at this address")
    return site


def has_passkeys(request: Request) -> bool:
    """Whether there can be passkeys at this address."""
    return passkeys.site_of(services_of(request).settings.issuer, "-") is not None


async def at_of(connection: AsyncConnection, services: Services) -> datetime:
    """The business instant."""
    return await console.business_instant(connection, services.settings)


def services_of(request: Request) -> Services:
    """The services of the process."""
    services: Services = request.app.state.services
    return services


def json_of(content: object, status: int = 200) -> Response:
    """An answer to a script of ours."""
    return Response(orjson.dumps(content), status, {"Cache-Control": "no-store"}, "application/json")


def json_no(no: Rejection) -> Response:
    """A "no" to a script of ours, by its code."""
    return json_of({"code": no.code}, STATUS.get(no.code, 422))


def signed_out(request: Request, audience: str) -> Response:
    """What a browser is told when its session has ended: forget everything, and sign in anew. A till keeps the sales
    that wait in it."""
    response = RedirectResponse(f"{PREFIXES[audience]}/sign-in", 303)
    jar_of(request, audience).drop_session(response)
    response.headers["Clear-Site-Data"] = '"cache"' if audience == COLLEAGUE else '"cache", "storage"'
    return response
