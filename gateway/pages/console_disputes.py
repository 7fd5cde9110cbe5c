"""Disputes at the console: what partners say is wrong with a line, what both sides said and showed, and the answer,
which another person gives than whoever took it up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings, rendering
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.portal_phrases import DISPUTED
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_DECIDE, SETTLEMENT_MAKE
from gateway.sessions.uploads import Upload
from settlement.reconciliation import disputing

HOME = "/console/disputes"
ON_A_PAGE = 25
OPEN, ALL, OURS = "open", "all", "ours"
_WAITING = tuple(disputing.DAYS)


def _asked(at: Desk) -> Mapping[str, Any]:
    which = at.asked("which") or OPEN
    ours = [state for state in _WAITING if disputing.waits_for(state) == disputing.OPERATOR]
    states = {OPEN: list(_WAITING), OURS: ours, ALL: None}.get(which, [which])
    return {"states": states, "partner": at.asked("partner") or None}


LIST = Listing(
    "disputes", _("Disputes"), "ConsoleDisputes", "statementDisputes", HOME,
    (
        Field("partner", _("Partner"), path="partnerName", link=HOME + "/{id}"),
        Field("reason", _("What is wrong"), "code", words=DISPUTED),
        Field("state", _("State"), "state"),
        Field("amount", _("Disputed"), "money"),
        Field("awarded", _("Offered or given"), "money"),
        Field("run", _("Run"), "count", link="/console/runs/{run}"),
        Field("line", _("Line"), "count", link="/console/statements/{statementId}/lines/{line}"),
        Field("opened", _("Opened"), "instant", path="openedAt"),
        Field("deadline", _("Somebody answers until"), "instant"),
        Field("waits", _("Whose turn it is"), "code", path="waitsFor", words=desk_phrases.SIDES),
    ),
    _asked,
)  # fmt: skip


async def disputes(at: Desk) -> Response:
    """GET /console/disputes: those that are open, or others, the oldest first."""
    told = await LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/disputes.html", listing=LIST, found=told[LIST.root], partners=told["settlementPartners"],
        partner=at.asked("partner"), which=at.asked("which") or OPEN, states=(*_WAITING, *disputing.ENDS),
    )  # fmt: skip


async def dispute(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/disputes/{id}: what was done, said and shown, and what may be done now."""
    its = (await at.ask("ConsoleDispute", id=at.part("id")))["statementDispute"]
    if its is None:
        return at.missing(HOME)
    return at.page(
        "console/dispute.html", problem=problem, its=its, is_open=its["waitsFor"] is not None,
        can_make=at.may(SETTLEMENT_MAKE), can_decide=at.may(SETTLEMENT_DECIDE), disputed=DISPUTED,
        can_take_up=its["state"] == disputing.OPENED, can_ask=its["state"] == disputing.ACKNOWLEDGED,
        can_answer=its["state"] in (disputing.ACKNOWLEDGED, disputing.ESCALATED),
        is_escalated=its["state"] == disputing.ESCALATED, media_types=",".join(disputing.MEDIA_TYPES),
    )  # fmt: skip


async def take_up(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/disputes/{id}/take-up: somebody looks at it; with a question, the partner is asked."""
    return await _done(at, fields, "TakeUpDispute", question=fields.get("question", "").strip() or None)


async def answer(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/disputes/{id}/answer: what is offered or given; nothing rejects."""
    amount = rendering.amount(fields.get("amount", "")) or "0"
    return await _done(at, fields, "DecideDispute", amount=amount, note=fields.get("note", "").strip())


async def say(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/disputes/{id}/say: a word that moves nothing."""
    return await _done(at, fields, "SayInDispute", note=fields.get("note", "").strip())


async def show(at: Desk, fields: Mapping[str, str], file: Upload | None) -> Response:
    """POST /console/disputes/{id}/evidence: what a file is called, and its hash, are kept; the file is not."""
    if file is None:
        return await dispute(at, Problem("BAD_USER_INPUT"))
    return await _done(
        at, fields, "AddDisputeEvidence", fileName=file.name, mediaType=file.media_type, sizeBytes=len(file.content),
        sha256=hashlib.sha256(file.content).hexdigest(),
    )  # fmt: skip


async def _done(at: Desk, fields: Mapping[str, str], name: str, **given: Any) -> Response:
    id = at.part("id")
    return await decided(
        at, fields, name, {"disputeId": id, **given}, onward=f"{HOME}/{quote(id, safe='')}", again=dispute
    )


ROUTES: list[BaseRoute] = [
    *listings.routes((LIST,)),
    *desk.routes(
        ((HOME, disputes), (HOME + "/{id}", dispute)),
        ((HOME + "/{id}/take-up", take_up), (HOME + "/{id}/answer", answer), (HOME + "/{id}/say", say)),
        ((HOME + "/{id}/evidence", show, disputing.LARGEST_EVIDENCE_BYTES),),
    ),
]
