"""The console at /console: where staff come after they signed in, and what of it their roles open."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import (
    console_agreements,
    console_bank,
    console_breaks,
    console_calendar,
    console_cover,
    console_disputes,
    console_questions,
    console_reconciliation,
    console_reports,
    console_runs,
    console_statements,
    console_subscription,
    console_what_if,
    desk,
)
from gateway.pages.desk import Desk
from gateway.pages.sections import HOME
from gateway.pages.workplace import language


async def home(at: Desk) -> Response:
    """GET /console: the sections that are open to the person."""
    return at.page("console/home.html")


ROUTES: list[BaseRoute] = [
    *desk.routes(((HOME, home),), ((f"{HOME}/language", language),)),
    *console_runs.ROUTES,
    *console_statements.ROUTES,
    *console_reports.ROUTES,
    *console_reconciliation.ROUTES,
    *console_breaks.ROUTES,
    *console_disputes.ROUTES,
    *console_bank.ROUTES,
    *console_cover.ROUTES,
    *console_calendar.ROUTES,
    *console_what_if.ROUTES,
    *console_questions.ROUTES,
    *console_agreements.ROUTES,
    *console_subscription.ROUTES,
]
