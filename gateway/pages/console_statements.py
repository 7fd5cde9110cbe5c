"""Statements at the console: who owes whom, and from each number down to the receipt and the ledger's postings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import charts, desk, desk_phrases, listings
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing

HOME = "/console/statements"
ON_A_PAGE, LINES_ON_A_PAGE = 25, 50


def _asked(at: Desk) -> Mapping[str, Any]:
    run = at.asked("run")
    return {"run": desk.whole(run) if run else None, "partner": at.asked("partner") or None}


LIST = Listing(
    "statements", _("Statements"), "ConsoleStatements", "statementsOf", HOME,
    (
        Field("partner", _("Partner"), path="partnerName"),
        Field("run", _("Run"), "count"),
        Field("opened", _("From"), "instant", path="openedAt"),
        Field("closed", _("Until"), "instant", path="closedAt"),
        Field("opening", _("Opening"), "money"),
        Field("net", _("Net"), "money", path="netDue"),
        Field("direction", _("Direction"), "code", words=desk_phrases.DIRECTIONS),
    ),
    _asked,
)  # fmt: skip
MOVEMENTS = Listing(
    "movements", _("Movements"), "ConsoleMovements", "settlementMovements", HOME + "/{id}/lines/{line}",
    (
        Field("number", "№", "count"),
        Field("at", _("When"), "instant"),
        Field("kind", _("What")),
        Field("outlet", _("Outlet")),
        Field("reference", _("Receipt")),
        Field("points", _("Points"), "count"),
        Field("price", _("Price"), "exact", path="unitPrice"),
        Field("amount", _("Amount"), "exact", path="amountExact"),
    ),
    lambda at: {"id": at.part("id"), "line": at.number("line")},
)  # fmt: skip


async def statements(at: Desk) -> Response:
    """GET /console/statements: statements, the latest first, of a run and of a partner."""
    run, partner = at.asked("run"), at.asked("partner")
    told = await LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/statements.html", listing=LIST, statements=told["statementsOf"], partners=told["settlementPartners"],
        run=run, partner=partner,
    )  # fmt: skip


async def statement(at: Desk) -> Response:
    """GET /console/statements/{id}: one statement line by line, and how its net came of the one before."""
    told = await at.ask("ConsoleStatement", id=at.part("id"), first=LINES_ON_A_PAGE, after=at.asked("after") or None)
    its = told["settlementStatement"]
    if its is None:
        return at.missing(HOME)
    bridge = drawn = None
    if its["partnerCode"] is not None and not at.asked("after"):
        found = await at.ask(
            "ConsoleReport", code="R22", run=its["run"], partner=its["partnerCode"], asOf=None, first=100, skip=0
        )
        bridge = found["settlementReport"]
    if bridge is not None:
        drawn = charts.bridge([(row["cells"][0], row["cells"][1]) for row in bridge["tables"][0]["rows"]])
    return at.page("console/statement.html", statement=its, bridge=bridge, drawn=drawn)


async def line(at: Desk) -> Response:
    """GET /console/statements/{id}/lines/{line}: what is behind a line, movement by movement."""
    number = at.number("line")
    told = await at.ask(
        "ConsoleMovements", id=at.part("id"), line=number, first=LINES_ON_A_PAGE, after=at.asked("after") or None
    )
    its = told["settlementStatement"]
    if its is None:
        return at.missing(HOME)
    chosen = next((each for each in its["lines"]["nodes"] if each["number"] == number), None)
    return at.page(
        "console/line.html",
        listing=MOVEMENTS,
        statement=its,
        line=chosen,
        line_no=number,
        movements=told["settlementMovements"],
    )


async def entry(at: Desk) -> Response:
    """GET /console/statements/entries/{id}: an entry of the ledger, with its postings and the receipt."""
    found = (await at.ask("ConsoleEntry", id=at.part("id")))["ledgerEntry"]
    if found is None:
        return at.missing(HOME)
    return at.page("console/entry.html", entry=found)


ROUTES: list[BaseRoute] = listings.routes((LIST, MOVEMENTS)) + desk.routes(
    (
        (HOME, statements),
        (HOME + "/entries/{id}", entry),
        (HOME + "/{id}", statement),
        (HOME + "/{id}/lines/{line}", line),
    )
)
