"""Reports at the console: each as a page and as a file; the books' roll-forwards, liability and subscription are
pages of their own made of them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.finance import report_pages
from gateway.pages import charts, desk
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem
from kit.errors import Rejection
from settlement import states

HOME = "/console/reports"
ROLLS, LIABILITY = "/console/rolls", "/console/liability"
SUBSCRIPTION = "/console/subscription"
ROWS_ON_A_PAGE = 100
FORMATS = ("pdf", "xlsx", "csv")
OF_A_STATEMENT = frozenset({"R1", "R2", "R22"})
NOT_A_PAGE = frozenset({"R2"})
"""Too long for a page: its rows stand behind the lines of a statement, and in its files."""

CURVES = (
    ("face", _("At face")),
    ("expected", _("Expected cost, service included")),
    ("breakage", _("Expected never to be used")),
)


async def reports(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/reports: every report, for a run and a partner where it is about one."""
    told = await at.ask("ConsoleReports")
    runs = _calculated(told)
    run = at.asked("run") or (str(runs[0]["number"]) if runs else "")
    partner = at.asked("partner")
    offered = [_offered(each, run, partner) for each in told["settlementReports"]]
    return at.page(
        "console/reports.html", problem=problem, reports=offered, runs=runs, run=run,
        partners=told["settlementPartners"], partner=partner, formats=FORMATS,
    )  # fmt: skip


async def report(at: Desk) -> Response:
    """GET /console/reports/{code}: what a report says."""
    run, partner, skip = at.asked("run"), at.asked("partner"), desk.whole(at.asked("skip") or "0")
    code = at.part("code")
    found = await _report(at, code, run, partner, skip)
    if found is None:
        return at.missing(HOME)
    drawn = None
    if code == "R22":
        drawn = charts.bridge([(row["cells"][0], row["cells"][1]) for row in found["tables"][0]["rows"]])
    return at.page(
        "console/report.html", report=found, run=run, partner=partner, skip=skip, on_a_page=ROWS_ON_A_PAGE,
        formats=FORMATS, drawn=drawn,
    )  # fmt: skip


async def file(at: Desk) -> Response:
    """GET /console/reports/{code}/file?format=…: a report as a file."""
    try:
        return await report_pages.report_for(at.request, at.viewer)
    except Rejection as no:
        return await reports(at, Problem(no.code, str(no)))


async def package(at: Desk) -> Response:
    """GET /console/packages/{run}?partner=…: the signed package of a statement."""
    try:
        return await report_pages.package_for(at.request, at.viewer)
    except Rejection as no:
        return await reports(at, Problem(no.code, str(no)))


async def rolls(at: Desk) -> Response:
    """GET /console/rolls: points and obligation, from the opening to the closing of a run."""
    told = await at.ask("ConsoleReports")
    runs = _calculated(told)
    run = at.asked("run") or (str(runs[0]["number"]) if runs else "")
    found = [] if not run else [await _report(at, code, run) for code in ("R7", "R8")]
    return at.page(
        "console/rolls.html", runs=runs, run=run, reports=[each for each in found if each], formats=FORMATS,
    )  # fmt: skip


async def liability(at: Desk) -> Response:
    """GET /console/liability: what is owed to members at each run, and what is expected never to be used of it."""
    currencies = (await at.ask("ConsoleCurrencies"))["settlementCurrencies"]
    currency = at.asked("currency") if at.asked("currency") in currencies else currencies[0]
    told = await at.ask("ConsoleLiability", currency=currency)
    found = told["settlementLiability"]
    drawn = charts.curves([(title, [each[name] for each in found]) for name, title in CURVES])
    return at.page(
        "console/liability.html", standings=found, drawn=drawn, report=told["settlementReport"], currency=currency,
        currencies=currencies, formats=FORMATS,
    )  # fmt: skip


async def subscription(at: Desk) -> Response:
    """GET /console/subscription: where the fees of subscribers of a run's months went, and why."""
    told = await at.ask("ConsoleReports")
    runs = _calculated(told)
    run = at.asked("run") or (str(runs[0]["number"]) if runs else "")
    found = await _report(at, "R16", run) if run else None
    return at.page("console/subscription.html", runs=runs, run=run, report=found, formats=FORMATS)


def _calculated(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that there is something to be reported of."""
    nothing = {states.DRAFT, *states.GONE}
    return [run for run in told["settlementRuns"]["nodes"] if run["state"] not in nothing]


def _offered(told: dict[str, Any], run: str, partner: str) -> dict[str, Any]:
    """A report with what it is asked with, and whether that is enough for its file and for its page."""
    code = told["code"]
    chosen = {"run": run if told["needsRun"] else "", "partner": partner}
    is_whole = not (told["needsRun"] and not run) and not (code in OF_A_STATEMENT and not partner)
    query = urlencode({name: value for name, value in chosen.items() if value})
    return {**told, "query": query, "is_whole": is_whole, "is_page": is_whole and code not in NOT_A_PAGE}


async def _report(at: Desk, code: str, run: str, partner: str = "", skip: int = 0) -> dict[str, Any] | None:
    told = await at.ask(
        "ConsoleReport", code=code, run=desk.whole(run) if run else None, partner=partner or None, asOf=None,
        first=ROWS_ON_A_PAGE, skip=skip,
    )  # fmt: skip
    found: dict[str, Any] | None = told["settlementReport"]
    return found


ROUTES: list[BaseRoute] = desk.routes(
    (
        (HOME, reports),
        (HOME + "/{code}", report),
        (HOME + "/{code}/file", file),
        (HOME + "/packages/{run}", package),
        (ROLLS, rolls),
        (LIABILITY, liability),
        (SUBSCRIPTION, subscription),
    )
)
