"""Reconciliation at the console: breaks, payments, files of partners, and the list of what does not balance."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk
from gateway.pages.desk import Desk, Problem, decided
from gateway.scopes import SETTLEMENT_DECIDE, SETTLEMENT_MAKE
from settlement.reconciliation import register

BREAKS, PAYMENTS, FILES, TROUBLE = "/console/breaks", "/console/payments", "/console/files", "/console/trouble"
ON_A_PAGE = 25


async def breaks(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/breaks: what differs, the oldest first, and what may be done about it."""
    everything = at.asked("all") == "yes"
    told = await at.ask("ConsoleBreaks", first=ON_A_PAGE, after=at.asked("after") or None, all=everything)
    return at.page(
        "console/breaks.html", problem=problem, breaks=told["settlementBreaks"], everything=everything,
        can_make=at.may(SETTLEMENT_MAKE), can_decide=at.may(SETTLEMENT_DECIDE), unresolved=register.UNRESOLVED,
        resolutions=(register.ACCEPT, register.POST, register.WRITE_OFF),
    )  # fmt: skip


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


# --- What is done about a break -----------------------------------------------------------------------------


async def assign(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/assign: somebody looks after a break from now on."""
    return await _done(at, fields, "AssignBreak", owner=fields.get("owner", "").strip())


async def explain(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/explain: why the sides differ."""
    return await _done(at, fields, "ExplainBreak", cause=fields.get("cause", "").strip())


async def resolve(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/resolve: a break ends, or its correction waits for another person."""
    cause, resolution = fields.get("cause", "").strip(), fields.get("resolution", "")
    return await _done(at, fields, "ResolveBreak", cause=cause, resolution=resolution)


async def verify(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/verify: a second person has looked at how a break ended."""
    return await _done(at, fields, "VerifyBreak")


async def reopen(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/reopen: a second person does not agree with how a break ended."""
    return await _done(at, fields, "ReopenBreak", cause=fields.get("cause", "").strip())


async def _done(at: Desk, fields: Mapping[str, str], name: str, **given: str) -> Response:
    said = {"breakId": fields.get("break", ""), **given}
    return await decided(at, fields, name, said, onward=BREAKS, again=breaks)


ROUTES: list[BaseRoute] = desk.routes(
    ((BREAKS, breaks), (PAYMENTS, payments), (FILES, files), (TROUBLE, trouble)),
    (
        (BREAKS + "/assign", assign),
        (BREAKS + "/explain", explain),
        (BREAKS + "/resolve", resolve),
        (BREAKS + "/verify", verify),
        (BREAKS + "/reopen", reopen),
    ),
)
