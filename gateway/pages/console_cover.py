"""What covers partners at the console: caps and deposits, and what is proposed when a partner does not pay, leaves, or
pays for its points otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings, rendering
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_MAKE

COVER, LEAVING, PROPOSALS = "/console/cover", "/console/leaving", "/console/proposals"
FORMATS = ("pdf", "xlsx", "csv")

CAPS = Listing(
    "caps", _("Caps"), "ConsoleExposures", "partnerExposures", COVER + "/caps",
    (
        Field("partner", _("Partner")),
        Field("currency", _("Currency"), path="currencyCode"),
        Field("owed", _("Owed"), "exact"),
        Field("pending", _("On the way"), "exact"),
        Field("cover", _("Cover"), "exact"),
        Field("exposure", _("Exposure"), "exact"),
        Field("cap", _("Cap"), "exact"),
        Field("policy", _("When it is reached"), "code", words=desk_phrases.POLICIES),
    ),
)  # fmt: skip
DEPOSITS = Listing(
    "deposits", _("Deposits"), "ConsoleDeposits", "partnerDeposits", COVER + "/deposits",
    (
        Field("partner", _("Partner")),
        Field("currency", _("Currency"), path="currencyCode"),
        Field("prefunding", _("To be paid in advance"), "exact"),
        Field("collateral", _("Collateral"), "exact"),
        Field("deposited", _("Deposited"), "exact"),
        Field("missing", _("Missing"), "exact"),
        Field("retained", _("Retained"), "exact"),
    ),
)  # fmt: skip


async def cover(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/cover: where partners stand against their caps, what they deposited, what they would pay now."""
    told = await at.ask("ConsoleCover", first=100)
    names = {each["code"]: each["name"] for each in told["settlementPartners"]}
    return at.page(
        "console/cover.html", problem=problem, caps=CAPS, exposures=_named(told["partnerExposures"]["nodes"], names),
        deposited=DEPOSITS, deposits=_named(told["partnerDeposits"]["nodes"], names), report=told["settlementReport"],
        formats=FORMATS, partners=told["settlementPartners"], currencies=told["settlementCurrencies"],
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


def _named(nodes: list[dict[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{**each, "partner": names.get(each["partner"], each["partner"])} for each in nodes]


async def deposit(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/cover/deposit: what a partner deposited is recorded."""
    return await decided(at, fields, "RecordDeposit", _deposit(fields), onward=COVER, again=cover)


async def give_back(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/cover/return: a part of a deposit is given back, when another person approves it."""
    return await decided(at, fields, "ReturnDeposit", _deposit(fields), onward=PROPOSALS, again=cover)


def _deposit(fields: Mapping[str, str]) -> dict[str, str]:
    return {
        "partner": fields.get("partner", ""), "amount": rendering.amount(fields.get("amount", "")) or "0",
        "currencyCode": fields.get("currency", ""), "reference": fields.get("reference", "").strip(),
    }  # fmt: skip


async def leaving(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/leaving: what is proposed of partners that do not pay, leave, or pay otherwise."""
    told = await at.ask("ConsoleLeaving", first=100)
    versions = [each for each in told["agreements"]["nodes"] if each["state"] == "APPROVED"]
    return at.page(
        "console/leaving.html", problem=problem, partners=told["settlementPartners"], versions=versions,
        runs=told["settlementRuns"]["nodes"], can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def default(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/leaving/default: what a partner did not pay is covered, when another person approves it."""
    given = {"run": desk.whole(fields.get("run", "")), "partner": fields.get("partner", "")}
    return await decided(at, fields, "CoverDefault", given, onward=PROPOSALS, again=leaving)


async def exit_(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/leaving/exit: somebody else carries a leaving partner's points, when another person approves it."""
    given = {
        "partner": fields.get("partner", ""), "carrier": fields.get("carrier", "") or None,
        "reason": fields.get("reason", "").strip(),
    }  # fmt: skip
    return await decided(at, fields, "ProposeExit", given, onward=PROPOSALS, again=leaving)


async def buy_out(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/leaving/buy-out: points already out there are paid for otherwise, when another approves it."""
    partner, _, version = fields.get("version", "").rpartition("/")
    given = {
        "partner": partner, "version": desk.whole(version), "billedFundMicro": desk.whole(fields.get("billed", "")),
        "paid": rendering.amount(fields.get("paid", "")) or None, "reason": fields.get("reason", "").strip(),
    }  # fmt: skip
    return await decided(at, fields, "BuyOut", given, onward=PROPOSALS, again=leaving)


ROUTES: list[BaseRoute] = [
    *listings.routes((CAPS, DEPOSITS)),
    *desk.routes(
        ((COVER, cover), (LEAVING, leaving)),
        (
            (COVER + "/deposit", deposit),
            (COVER + "/return", give_back),
            (LEAVING + "/default", default),
            (LEAVING + "/exit", exit_),
            (LEAVING + "/buy-out", buy_out),
        ),
    ),
]
