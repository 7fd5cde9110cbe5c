"""Reconciliation at the console: breaks, payments, files of partners, and the list of what does not balance."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk
from gateway.pages.desk import Desk

BREAKS, PAYMENTS, FILES, TROUBLE = "/console/breaks", "/console/payments", "/console/files", "/console/trouble"
ON_A_PAGE = 25


async def breaks(at: Desk) -> Response:
    """GET /console/breaks: what differs, the oldest first."""
    everything = at.asked("all") == "yes"
    told = await at.ask("ConsoleBreaks", first=ON_A_PAGE, after=at.asked("after") or None, all=everything)
    return at.page("console/breaks.html", breaks=told["settlementBreaks"], everything=everything)


async def payments(at: Desk) -> Response:
    """GET /console/payments: what is paid for runs, and where each payment stands."""
    told = await at.ask("ConsolePayments", first=ON_A_PAGE, after=at.asked("after") or None)
    return at.page("console/payments.html", payments=told["settlementPayments"])


async def files(at: Desk) -> Response:
    """GET /console/files: what partners sent, and what became of it."""
    told = await at.ask("ConsoleFiles", first=ON_A_PAGE, after=at.asked("after") or None)
    return at.page("console/files.html", files=told["partnerFiles"])


async def trouble(at: Desk) -> Response:
    """GET /console/trouble: everything that does not balance or is late, the gravest first."""
    return at.page("console/trouble.html", found=(await at.ask("ConsoleTrouble"))["settlementTrouble"])


ROUTES: list[BaseRoute] = desk.routes(((BREAKS, breaks), (PAYMENTS, payments), (FILES, files), (TROUBLE, trouble)))
