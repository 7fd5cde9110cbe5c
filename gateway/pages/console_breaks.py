"""Breaks at the console: what a partner or the bank says otherwise, who looks after it, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.portal_phrases import DISPUTED
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_DECIDE, SETTLEMENT_MAKE
from settlement.reconciliation import breaks as kinds
from settlement.reconciliation import register

HOME = "/console/breaks"
ON_A_PAGE, STATEMENTS, STEPS = 25, 12, 50
_MARK = "match "
"""What a break's box in the list is called, before its id."""


def _asked(at: Desk) -> Mapping[str, Any]:
    return {
        "all": at.asked("all") == "yes", "partner": at.asked("partner") or None,
        "category": at.asked("category") or None,
    }  # fmt: skip


LIST = Listing(
    "breaks", _("Breaks"), "ConsoleBreaks", "settlementBreaks", HOME,
    (
        Field("category", _("Why"), "code", link=HOME + "/{id}", words=desk_phrases.CATEGORIES),
        Field("partner", _("Partner"), path="partnerName"),
        Field("state", _("State"), "state"),
        Field("resolution", _("How it ended"), "code", words=desk_phrases.ENDINGS),
        Field("reference", _("Receipt or payment")),
        Field("points", _("Points"), "count"),
        Field("value", _("Value"), "money"),
        Field("seen", _("Found"), "instant", path="seenAt"),
        Field("days", _("Days open"), "count", path="daysOpen"),
        Field("due", _("Due"), "date", path="dueOn"),
        Field("owner", _("Who has it")),
        Field("escalated", _("Told because it is late"), path="escalatedTo"),
    ),
    _asked,
)  # fmt: skip


async def breaks(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/breaks: what differs, the oldest first; lines of several that are one thing are matched here."""
    told = await LIST.page(at, ON_A_PAGE)
    asked = _asked(at)
    return at.page(
        "console/breaks.html", problem=problem, listing=LIST, breaks=told[LIST.root], asked=asked,
        partners=told["settlementPartners"], categories=[each for each in kinds.Category if each != "EXPECTED"],
        can_make=at.may(SETTLEMENT_MAKE), unresolved=register.UNRESOLVED, mark=_MARK,
    )  # fmt: skip


async def one(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/breaks/{id}: one break with its lines, its way and what was said, and what may be done about it."""
    told = await at.ask("ConsoleBreak", id=at.part("id"), steps=STEPS)
    its = told["settlementBreak"]
    if its is None:
        return at.missing(HOME)
    code = next((each["code"] for each in told["settlementPartners"] if each["name"] == its["partnerName"]), None)
    found: list[dict[str, Any]] = []
    is_unresolved, can_make = its["state"] in register.UNRESOLVED, at.may(SETTLEMENT_MAKE)
    if is_unresolved and can_make and code is not None:
        found = (await at.ask("ConsoleStatements", first=STATEMENTS, after=None, run=None, partner=code))[
            "statementsOf"
        ]["nodes"]
    return at.page(
        "console/break.html", problem=problem, its=its, is_unresolved=is_unresolved, can_make=can_make,
        can_decide=at.may(SETTLEMENT_DECIDE), statements=found, disputed=DISPUTED,
        resolutions=(register.ACCEPT, register.POST, register.WRITE_OFF), is_matched=its["resolution"] == "MATCHED",
    )  # fmt: skip


async def assign(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/assign: somebody looks after a break from now on."""
    due = fields.get("due", "") or None
    return await _done(at, fields, "AssignBreak", owner=fields.get("owner", "").strip(), dueOn=due)


async def explain(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/explain: why the sides differ."""
    return await _done(at, fields, "ExplainBreak", cause=_cause(fields))


async def note(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/note: a word that moves nothing."""
    return await _done(at, fields, "AddBreakNote", text=fields.get("text", "").strip())


async def resolve(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/resolve: a break ends, or its correction waits for another person."""
    return await _done(at, fields, "ResolveBreak", cause=_cause(fields), resolution=fields.get("resolution", ""))


async def dispute(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/dispute: what differs is a line of a statement, which is disputed for its partner."""
    return await _done(
        at, fields, "DisputeBreak", statementId=fields.get("statement", ""), line=desk.whole(fields.get("line", "")),
        reason=fields.get("reason", ""), cause=_cause(fields),
    )  # fmt: skip


async def verify(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/verify: a second person has looked at how a break ended."""
    return await _done(at, fields, "VerifyBreak")


async def reopen(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/reopen: a second person does not agree with how a break ended."""
    return await _done(at, fields, "ReopenBreak", cause=_cause(fields))


async def undo(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/undo: a second person takes back what was matched by hand."""
    return await _done(at, fields, "UndoBreakMatch", cause=_cause(fields))


async def match_one(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/{id}/match: the two lines of a break are the same thing after all."""
    given = {"breakIds": [at.part("id")], "cause": _cause(fields)}
    return await decided(at, fields, "MatchBreaks", given, onward=_path(at), again=one)


async def match(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/breaks/lines/match: lines of several breaks are one thing: one on a side, some on the other."""
    ids = [name.removeprefix(_MARK) for name in fields if name.startswith(_MARK)]
    return await decided(
        at, fields, "MatchBreaks", {"breakIds": ids, "cause": _cause(fields)}, onward=HOME, again=breaks
    )  # fmt: skip


def _cause(fields: Mapping[str, str]) -> str:
    return fields.get("cause", "").strip()


def _path(at: Desk) -> str:
    return f"{HOME}/{quote(at.part('id'), safe='')}"


async def _done(at: Desk, fields: Mapping[str, str], name: str, **given: Any) -> Response:
    return await decided(at, fields, name, {"breakId": at.part("id"), **given}, onward=_path(at), again=one)


_DEEDS = (
    ("assign", assign), ("explain", explain), ("note", note), ("resolve", resolve), ("dispute", dispute),
    ("verify", verify), ("reopen", reopen), ("undo", undo), ("match", match_one),
)  # fmt: skip
ROUTES: list[BaseRoute] = [
    *listings.routes((LIST,)),
    *desk.routes(
        ((HOME, breaks), (HOME + "/{id}", one)),
        ((HOME + "/lines/match", match), *((f"{HOME}/{{id}}/{name}", deed) for name, deed in _DEEDS)),
    ),
]
