"""Settlement at the console: cut-offs that are closed, windows, runs with every step, and what waits for a second
person. What moves money asks for a fresh proof, and each button does what it says once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_DECIDE, SETTLEMENT_MAKE
from settlement import states

RUNS, WINDOWS, CUTOFFS, PROPOSALS = "/console/runs", "/console/windows", "/console/cutoffs", "/console/proposals"
ON_A_PAGE = 25
WAY = (states.DRAFT, states.CALCULATED, states.CONTROLLED, states.IN_REVIEW, states.APPROVED, states.SETTLED,
       states.SEALED)  # fmt: skip
NEXT: Mapping[str, str] = {
    states.DRAFT: states.CALCULATED, states.CALCULATED: states.CONTROLLED, states.CONTROLLED: states.IN_REVIEW,
}  # fmt: skip
_ALONG: Mapping[str, str] = {
    states.STATEMENTS_ISSUED: states.CONTROLLED, states.INSTRUCTED: states.APPROVED, states.SETTLING: states.APPROVED,
}  # fmt: skip


def _runs_asked(at: Desk) -> Mapping[str, Any]:
    return {"state": at.asked("state") or None, "currency": at.asked("currency") or None}


RUN_LIST = Listing(
    "runs", _("Runs"), "ConsoleRuns", "settlementRuns", RUNS,
    (
        Field("number", "№", "count"),
        Field("name", _("Name"), link=RUNS + "/{number}"),
        Field("state", _("State"), "state"),
        Field("currency", _("Currency"), path="currencyCode"),
        Field("cut", _("Cut at"), "instant", path="cutAt"),
        Field("maker", _("Made by"), path="actor"),
        Field("made", _("Made at"), "instant", path="at"),
    ),
    _runs_asked,
)  # fmt: skip
WINDOW_LIST = Listing(
    "windows", _("Windows"), "ConsoleWindows", "settlementWindows", WINDOWS,
    (
        Field("name", _("Name")),
        Field("state", _("State"), "state"),
        Field("cutoff", _("Cut-off"), "count"),
        Field("late_for", _("Late for"), "count", path="lateFor"),
        Field("cut", _("Cut at"), "instant", path="cutAt"),
        Field("postings", _("Postings"), "count"),
        Field("points", _("Points"), "count"),
        Field("run", _("Run"), "count"),
    ),
)  # fmt: skip
CUTOFF_LIST = Listing(
    "cutoffs", _("Cut-offs"), "ConsoleCutoffs", "settlementCutoffs", CUTOFFS,
    (
        Field("number", "№", "count"),
        Field("state", _("State"), "state"),
        Field("opened", _("From"), "instant", path="openedAt"),
        Field("cut", _("Cut at"), "instant", path="cutAt"),
        Field("entries", _("Entries"), "count"),
        Field("postings", _("Postings"), "count"),
        Field("points", _("Points"), "count"),
    ),
)  # fmt: skip
PROPOSAL_LIST = Listing(
    "proposals", _("Proposals"), "ConsoleProposals", "financeProposals", PROPOSALS,
    (
        Field("kind", _("What"), "code", words=desk_phrases.PROPOSALS),
        Field("number", "№", "count"),
        Field("about", _("About"), path="subject"),
        Field("maker", _("Proposed by")),
        Field("made", _("When"), "instant", path="madeAt"),
    ),
)  # fmt: skip


async def runs(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/runs: runs, the latest first, of a state and a currency."""
    state, currency = at.asked("state"), at.asked("currency")
    told = await RUN_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/runs.html", problem=problem, listing=RUN_LIST, runs=told["settlementRuns"],
        currencies=told["settlementCurrencies"],
        state=state, currency=currency, states=(*WAY, *sorted(states.GONE)), can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def run(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/runs/{number}: where a run stands, who did what, what it comes to, and what is to be done."""
    number = at.number("number")
    told = await at.ask("ConsoleRun", number=number)
    its = told["settlementRun"]
    if its is None:
        return at.missing(RUNS)
    makers = {step["actor"] for step in its["steps"] if step["state"] in (states.DRAFT, *NEXT.values())}
    reached = _ALONG.get(its["state"], its["state"])
    return at.page(
        "console/run.html", problem=problem, run=its, report=told["settlementReport"],
        statements=told["statementsOf"], way=WAY, gone=states.GONE, next=NEXT.get(its["state"]),
        reached=WAY.index(reached) if reached in WAY else -1, can_make=at.may(SETTLEMENT_MAKE),
        can_decide=at.may(SETTLEMENT_DECIDE), is_own=at.found.name in makers,
        is_in_review=its["state"] == states.IN_REVIEW, is_early=its["state"] in NEXT,
        is_paid=its["state"] == states.SETTLED, is_to_be_paid=its["state"] == states.APPROVED,
    )  # fmt: skip


async def windows(at: Desk) -> Response:
    """GET /console/windows: cut-offs by currency, and what came late."""
    told = await WINDOW_LIST.page(at, ON_A_PAGE)
    return at.page("console/windows.html", listing=WINDOW_LIST, windows=told["settlementWindows"])


async def cutoffs(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/cutoffs: the open cut-off, which can be closed, and those before it."""
    told = await CUTOFF_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/cutoffs.html", problem=problem, listing=CUTOFF_LIST, cutoffs=told["settlementCutoffs"],
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def proposals(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/proposals: what waits for somebody else's decision."""
    told = await PROPOSAL_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/proposals.html", problem=problem, listing=PROPOSAL_LIST, proposals=told["financeProposals"],
        can_decide=at.may(SETTLEMENT_DECIDE),
    )  # fmt: skip


# --- What is done -------------------------------------------------------------------------------------------


async def begin(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/runs: a run is drafted for every currency with something to settle."""
    return await decided(at, fields, "StartRuns", {}, onward=RUNS, again=runs)


async def move(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/runs/{number}/move: a run's next step."""
    return await _run_done(at, fields, "MoveRun", {"to": fields.get("to", "")})


async def decide(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/runs/{number}/decide: a run is approved or declined by a second person."""
    given = {"approved": fields.get("approved") == "yes", "reason": fields.get("reason", "").strip() or None}
    return await _run_done(at, fields, "DecideRun", given)


async def end(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/runs/{number}/end: a run ends before anybody saw it, or is drafted anew."""
    given = {"reason": fields.get("reason", "").strip(), "supersede": fields.get("anew") == "yes"}
    return await _run_done(at, fields, "EndRun", given)


async def seal(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/runs/{number}/seal: a run of which every payment is done is closed for ever."""
    return await _run_done(at, fields, "SealRun", {})


async def close(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/cutoffs: the open cut-off is closed."""
    given = {"cutoff": desk.whole(fields.get("cutoff", ""))}
    return await decided(at, fields, "CloseCutoff", given, onward=CUTOFFS, again=cutoffs)


async def decide_proposal(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/proposals: what another proposed is approved or declined."""
    given = {"proposal": desk.whole(fields.get("proposal", "")), "approved": fields.get("approved") == "yes"}
    return await decided(at, fields, "DecideProposal", given, onward=PROPOSALS, again=proposals)


async def _run_done(at: Desk, fields: Mapping[str, str], name: str, given: Mapping[str, Any]) -> Response:
    number = at.number("number")
    onward = f"{RUNS}/{number}"
    return await decided(at, fields, name, {"run": number, **given}, onward=onward, again=run)


ROUTES: list[BaseRoute] = listings.routes((RUN_LIST, WINDOW_LIST, CUTOFF_LIST, PROPOSAL_LIST)) + desk.routes(
    (
        (RUNS, runs),
        (RUNS + "/{number}", run),
        (WINDOWS, windows),
        (CUTOFFS, cutoffs),
        (PROPOSALS, proposals),
    ),
    (
        (RUNS, begin),
        (RUNS + "/{number}/move", move),
        (RUNS + "/{number}/decide", decide),
        (RUNS + "/{number}/end", end),
        (RUNS + "/{number}/seal", seal),
        (CUTOFFS, close),
        (PROPOSALS, decide_proposal),
    ),
)
