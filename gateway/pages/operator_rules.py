"""Promotions at the console: a rule is written, checked, rehearsed on past purchases, submitted, and published by
somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.pages import desk, operator_budgets, operator_phrases, oversight_phrases, rendering
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, decided
from gateway.scopes import RULES_APPROVE, RULES_EDIT

PROMOTIONS, RELEASES, RULES = "/console/promotions", "/console/releases", "/console/rules"
SIMULATIONS = "/console/simulations"
ON_A_PAGE = 25
COPIED_CODE = 50
_CHOICE = re.compile(r"([a-z0-9][a-z0-9_.-]{0,63}):(\d{1,9})", re.ASCII)


async def promotions(at: Desk, problem: Problem | None = None, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/promotions: marketing offers, the latest first."""
    told = await at.ask("OperatorPromotions", first=ON_A_PAGE, after=at.asked("after") or None)
    return at.page(
        "operator/promotions.html", problem=problem, promotions=told["promotions"], fields=fields or {},
        can_edit=at.may(RULES_EDIT),
    )  # fmt: skip


async def add_promotion(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/promotions: an offer is added, which rules will belong to."""
    code = fields.get("code", "").strip()
    given = {
        "code": code, "names": {language: fields.get(language, "").strip() for language in ("en", "ru", "ro")},
        "sponsor": fields.get("sponsor", "").strip() or None,
    }  # fmt: skip

    async def again(at: Desk, problem: Problem) -> Response:
        return await promotions(at, problem, fields)

    return await decided(at, fields, "AddPromotion", given, onward=_promotion(code), again=again)


async def promotion(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/promotions/{code}: an offer with its rules as they were drafted last."""
    found = (await at.ask("OperatorPromotion", code=at.request.path_params["code"]))["promotion"]
    if found is None:
        return at.missing(PROMOTIONS)
    return at.page(
        "operator/promotion.html", problem=problem, promotion=found, can_edit=at.may(RULES_EDIT),
        outlook=(await at.ask("OperatorPromotionOutlook", code=found["code"]))["promotionOutlook"],
        words=oversight_phrases,
        choice=_choice(found["rules"]), is_in_force=any(each["versionInForce"] for each in found["rules"]),
    )  # fmt: skip


async def suspend(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/promotions/{code}/suspend: its rules decide nothing any more."""
    code = at.request.path_params["code"]
    given = {"promotion": code}
    return await decided(at, fields, "SuspendPromotion", given, onward=_promotion(code), again=promotion)


async def rule(at: Desk) -> Response:
    """GET /console/rules: a rule's document, to be written or mended."""
    wanted, document = at.asked("promotion", 64), ""
    if wanted:
        found = (await at.ask("OperatorPromotion", code=wanted))["promotion"]
        rules = found["rules"] if found else []
        document = next((each["document"] for each in rules if each["code"] == at.asked("rule", 64)), "")
        document = _copied(document) if at.asked("copy") else document
    return _editor(at, _indented(document) or operator_phrases.first_rule(wanted or "new-offer"))


async def write(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/rules: the document is checked, and drafted where that was asked for and nothing is wrong."""
    document = fields.get("document", "").replace("\r\n", "\n")
    problems = (await at.ask("CheckRule", document=document))["checkRule"]
    if problems or fields.get("do") != "draft":
        return _editor(at, document, problems=problems, is_checked=True)

    async def again(at: Desk, problem: Problem) -> Response:
        return _editor(at, document, problem=problem)

    told = orjson.loads(document)
    onward = _promotion(str(told.get("promotion", "")))
    return await decided(at, fields, "DraftRule", {"document": document}, onward=onward, again=again)


async def simulate(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/promotions/{code}/simulate: the offer's rules are to be rehearsed on past purchases."""
    choice, days = fields.get("rules", ""), fields.get("days", "")
    given = {"change": {"rules": _choices(choice)}, "days": _whole(days)}

    async def made(_: Desk, told: dict[str, Any]) -> Response:
        return RedirectResponse(f"{SIMULATIONS}/{told['simulation']['number']}?rules={quote(choice, safe='')}", 303)

    return await decided(at, fields, "SimulateRelease", given, onward=RELEASES, again=promotion, shown=made)


async def simulation(at: Desk, problem: Problem | None = None, *, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/simulations/{number}: how far a rehearsal is, and what it came to."""
    found = (await at.ask("OperatorSimulation", number=at.request.path_params["number"]))["simulation"]
    if found is None:
        return at.missing(RELEASES)
    choice = at.asked("rules", 2_000) or (fields or {}).get("rules", "")
    return at.page(
        "operator/simulation.html", problem=problem, simulation=found, choice=choice if _choices(choice) else "",
        can_edit=at.may(RULES_EDIT), fields=fields or {},
    )  # fmt: skip


async def submit(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/simulations/{number}/submit: the release waits for somebody else."""
    number = at.request.path_params["number"]
    launch = {
        "simulation": number, "metric": fields.get("metric", ""), "target": fields.get("target", "").strip(),
        "due": fields.get("due", ""), "addedSales": fields.get("sales", "").strip(),
        "marginBp": _whole(fields.get("margin", "")), "cover": fields.get("cover", "").strip(),
    }  # fmt: skip
    given = {
        "change": {"rules": _choices(fields.get("rules", ""))}, "launch": launch,
        "effectiveFrom": _instant(at, fields.get("from", "")) or "",
    }  # fmt: skip

    async def made(_: Desk, told: dict[str, Any]) -> Response:
        return RedirectResponse(f"{RELEASES}/{told['release']['number']}", 303)

    async def again(at: Desk, problem: Problem) -> Response:
        return await simulation(at, problem, fields=fields)

    return await decided(at, fields, "SubmitRelease", given, onward=RELEASES, again=again, shown=made)


async def releases(at: Desk) -> Response:
    """GET /console/releases: releases, the latest first, whatever became of them."""
    told = await at.ask("OperatorReleases", first=ON_A_PAGE, after=at.asked("after") or None)
    return at.page("operator/releases.html", releases=told["releases"], words=operator_phrases)


async def release(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/releases/{number}: what a release holds, what stands against it, and who decides."""
    found = (await at.ask("OperatorRelease", number=at.request.path_params["number"]))["release"]
    if found is None:
        return at.missing(RELEASES)
    return at.page(
        "operator/release.html", problem=problem, release=found, is_own=found["author"] == at.found.name,
        can_decide=at.may(RULES_APPROVE), words=operator_phrases,
    )  # fmt: skip


async def publish(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/releases/{number}/publish: it begins to decide at its instant."""
    number = at.request.path_params["number"]
    given = {"release": number, "inSpite": fields.get("inSpite") == "1"}

    async def again(at: Desk, problem: Problem) -> Response:
        # What stands against it the page itself says, in the reader's language.
        return await release(at, replace(problem, details=()))

    return await decided(at, fields, "PublishRelease", given, onward=f"{RELEASES}/{number}", again=again)


async def decline(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/releases/{number}/decline: it will never decide anything."""
    number = at.request.path_params["number"]
    given = {"release": number}
    return await decided(at, fields, "DeclineRelease", given, onward=f"{RELEASES}/{number}", again=release)


def _editor(
    at: Desk, document: str, *, problems: list[dict[str, Any]] | None = None, is_checked: bool = False,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    return at.page(
        "operator/rule.html", problem=problem, document=document, problems=problems or [], is_checked=is_checked,
        status=422 if problems else 200,
    )  # fmt: skip


def _promotion(code: str) -> str:
    return f"{PROMOTIONS}/{quote(code, safe='')}"


def _choice(rules: list[dict[str, Any]]) -> str:
    """Rules in the versions shown, in one text that an address can carry."""
    return ",".join(f"{each['code']}:{each['version']}" for each in rules)


def _choices(text: str) -> list[dict[str, Any]]:
    found = [_CHOICE.fullmatch(each) for each in text.split(",")]
    return [{"code": each[1], "version": int(each[2])} for each in found if each]


def _copied(document: str) -> str:
    """Another rule that says the same, under a code of its own; of no experiment, whose members were drawn for one."""
    told = orjson.loads(document) if document else {}
    if told:
        told = {**told, "code": f"{told['code'][:COPIED_CODE]}-copy"}
        told.pop("version", None)
        told.pop("experiment", None)
    return orjson.dumps(told).decode() if told else ""


def _indented(document: str) -> str:
    return orjson.dumps(orjson.loads(document), option=orjson.OPT_INDENT_2).decode() if document else ""


def _whole(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1


def _instant(at: Desk, text: str) -> str | None:
    """An instant as a browser's field for one has it, in the programme's zone."""
    return rendering.typed_instant(text, at.frame.zone)


ROUTES: list[BaseRoute] = operator_budgets.ROUTES + desk.routes(
    (
        (PROMOTIONS, promotions),
        (PROMOTIONS + "/{code}", promotion),
        (RULES, rule),
        (SIMULATIONS + "/{number:int}", simulation),
        (RELEASES, releases),
        (RELEASES + "/{number:int}", release),
    ),
    (
        (PROMOTIONS, add_promotion),
        (PROMOTIONS + "/{code}/suspend", suspend),
        (PROMOTIONS + "/{code}/simulate", simulate),
        (RULES, write),
        (SIMULATIONS + "/{number:int}/submit", submit),
        (RELEASES + "/{number:int}/publish", publish),
        (RELEASES + "/{number:int}/decline", decline),
    ),
)
