"""Agreements at the console: every version with what it changed; one proposes, another signs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, decided
from gateway.scopes import AGREEMENTS_DECIDE, AGREEMENTS_MAKE

HOME = "/console/agreements"
ON_A_PAGE = 20


async def agreements(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/agreements: versions, the latest first, each with its differences from the one before."""
    told = await at.ask("ConsoleAgreements", first=ON_A_PAGE, after=at.asked("after") or None)
    directory = await at.request.app.state.services.directory.get()
    return at.page(
        "console/agreements.html", problem=problem, names={each.code: each.name for each in directory.partners()},
        agreements=told["agreements"],
        can_make=at.may(AGREEMENTS_MAKE), can_decide=at.may(AGREEMENTS_DECIDE),
    )  # fmt: skip


async def decide(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/agreements/decide: a version that another proposed is signed or declined."""
    given = {
        "partner": fields.get("partner", ""), "version": desk.whole(fields.get("version", "")),
        "approved": fields.get("approved") == "yes",
    }  # fmt: skip
    return await decided(at, fields, "DecideAgreementVersion", given, onward=HOME, again=agreements)


async def propose(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/agreements/propose: the next version of an agreement, which says one term otherwise."""
    try:
        day = datetime.combine(datetime.fromisoformat(fields.get("day", "")).date(), time(), at.frame.zone)
    except ValueError:
        return await agreements(at, Problem("BAD_USER_INPUT"))
    given = {
        "partner": fields.get("partner", ""), "validFrom": day.isoformat(),
        "terms": [{"name": fields.get("term", ""), "value": fields.get("value", "").strip()}],
    }  # fmt: skip
    return await decided(at, fields, "ProposeAgreementVersion", given, onward=HOME, again=agreements)


ROUTES: list[BaseRoute] = desk.routes(((HOME, agreements),), ((HOME + "/decide", decide), (HOME + "/propose", propose)))
