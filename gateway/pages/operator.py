"""The operator's pages: partners, a search that says what for, and the audit trail.

What somebody looks for is sent in a form's body: nothing of a person stands in an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, operator_phrases, operator_timeline, rendering
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, decided, problem_of
from gateway.scopes import PARTNERS_MANAGE
from gateway.sessions.asking import NotAnswered

PARTNERS, SEARCH, TRAIL = "/console/partners", "/console/search", "/console/trail"
ON_A_PAGE = 25


async def partners(at: Desk) -> Response:
    """GET /console/partners: every partner, or those that a text names."""
    text = at.asked("text", 64)
    told = await at.ask("OperatorPartners", first=ON_A_PAGE, after=at.asked("after") or None, text=text or None)
    return at.page("operator/partners.html", partners=told["overseenPartners"], text=text, words=operator_phrases)


async def partner(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/partners/{code}: one partner, and what stops it or lets it go on."""
    found = (await at.ask("OperatorPartner", code=at.request.path_params["code"]))["overseenPartner"]
    if found is None:
        return at.missing(PARTNERS)
    return at.page(
        "operator/partner.html",
        problem=problem,
        partner=found,
        can_manage=at.may(PARTNERS_MANAGE),
        words=operator_phrases,
    )


async def suspend(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/partners/{code}/suspend: the partner's business is refused from now on."""
    return await _set_status(at, fields, "SuspendPartner")


async def resume(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/partners/{code}/resume: the partner takes part again."""
    return await _set_status(at, fields, "ResumePartner")


async def search(at: Desk) -> Response:
    """GET /console/search: asks what is looked for, and what for."""
    return _found(at, {})


async def look(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/search: what was found."""
    text, day = fields.get("text", "").strip(), _day(fields.get("day", ""))
    given = {"text": text, "purpose": fields.get("purpose", ""), "businessDate": day,
             "partner": fields.get("partner", "").strip() or None}  # fmt: skip
    try:
        told = await at.ask("OperatorSearch", **given)
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return _found(at, fields, problem=problem_of(no))
    return _found(at, fields, found=told["search"])


async def trail(at: Desk) -> Response:
    """GET /console/trail: who did what to what, the latest first."""
    asked = {name: at.asked(name, 100).strip() for name in ("actor", "subject", "action")}
    days = {name: at.asked(name, 16) for name in ("since", "until")}
    told = await at.ask(
        "OperatorTrail", first=ON_A_PAGE, after=at.asked("after") or None,
        **{name: text or None for name, text in asked.items()},
        **{name: _instant(at, text) for name, text in days.items()},
    )  # fmt: skip
    return at.page("operator/trail.html", trail=told["auditTrail"], asked={**asked, **days})


async def _set_status(at: Desk, fields: Mapping[str, str], name: str) -> Response:
    code = at.request.path_params["code"]
    return await decided(at, fields, name, {"partner": code}, onward=f"{PARTNERS}/{code}", again=partner)


def _found(at: Desk, fields: Mapping[str, str], *, found: object = None, problem: Problem | None = None) -> Response:
    return at.page(
        "operator/search.html", problem=problem, fields=fields, found=found, purposes=operator_phrases.PURPOSES,
        phrases_of=operator_phrases,
    )  # fmt: skip


def _day(text: str) -> str | None:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _instant(at: Desk, text: str) -> str | None:
    """An instant as a browser's field for one has it, in the programme's zone."""
    return rendering.typed_instant(text, at.frame.zone)


ROUTES: list[BaseRoute] = operator_timeline.ROUTES + desk.routes(
    (
        (PARTNERS, partners),
        (PARTNERS + "/{code}", partner),
        (SEARCH, search),
        (TRAIL, trail),
    ),
    (
        (PARTNERS + "/{code}/suspend", suspend),
        (PARTNERS + "/{code}/resume", resume),
        (SEARCH, look),
    ),
)
