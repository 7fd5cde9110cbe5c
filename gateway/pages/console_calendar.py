"""What settlement goes by, at the console: days on which nobody works, and the rates of tax."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings, rendering
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_MAKE

HOLIDAYS, TAXES = "/console/holidays", "/console/taxes"
ON_A_PAGE = 50

HOLIDAY_LIST = Listing(
    "holidays", _("Holidays"), "ConsoleHolidays", "holidays", HOLIDAYS,
    (Field("day", _("Day"), "date"), Field("name", _("Name"))),
)  # fmt: skip
TAX_LIST = Listing(
    "tax-rules", _("Tax rules"), "ConsoleTaxes", "taxRules", TAXES,
    (
        Field("code", _("Rule")),
        Field("version", _("Version"), "count"),
        Field("rate", _("Rate, basis points"), "count", path="rateBp"),
        Field("rounding", _("Rounded"), "code", words=desk_phrases.ROUNDING),
        Field("tax_code", _("What documents call it"), path="taxCode"),
    ),
)  # fmt: skip


async def holidays(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/holidays: days on which nobody works, in order."""
    told = await HOLIDAY_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/holidays.html", problem=problem, listing=HOLIDAY_LIST, holidays=told[HOLIDAY_LIST.root],
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def declare(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/holidays: nobody works on a day; reviews that are open keep their end."""
    given = {"day": fields.get("day", ""), "name": fields.get("name", "").strip()}
    return await decided(at, fields, "DeclareHoliday", given, onward=HOLIDAYS, again=holidays)


async def taxes(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/taxes: the rule of every tax that holds now."""
    told = await TAX_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/taxes.html", problem=problem, listing=TAX_LIST, rules=told[TAX_LIST.root],
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def propose(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/taxes: a version of a tax rule, when another person approves it."""
    rate, day = _basis_points(fields.get("rate", "")), fields.get("day", "")
    try:
        begins = datetime.combine(datetime.fromisoformat(day).date(), time(), at.frame.zone)
    except ValueError:
        return await taxes(at, Problem("BAD_USER_INPUT"))
    if rate is None:
        return await taxes(at, Problem("TAX_RULE_INVALID"))
    given = {
        "code": fields.get("code", "").strip().upper(), "rateBp": rate, "rounding": fields.get("rounding", "LINE"),
        "taxCode": fields.get("tax_code", "").strip(), "validFrom": begins.isoformat(),
    }  # fmt: skip
    return await decided(at, fields, "ProposeTaxRule", given, onward="/console/proposals", again=taxes)


def _basis_points(percent: str) -> int | None:
    """A rate that somebody wrote in percent, with two decimals at most, as basis points; None for anything else."""
    try:
        points = Decimal(rendering.amount(percent)) * 100
    except ArithmeticError:
        return None
    return int(points) if points == points.to_integral_value() and 0 <= points <= 10_000 else None


ROUTES: list[BaseRoute] = [
    *listings.routes((HOLIDAY_LIST, TAX_LIST)),
    *desk.routes(((HOLIDAYS, holidays), (TAXES, taxes)), ((HOLIDAYS, declare), (TAXES, propose))),
]
