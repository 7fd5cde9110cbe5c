"""Budgets at the console: how full they are, less of one at once, and more of one in force by two people."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, operator_phrases
from gateway.pages.desk import Desk, whole
from gateway.pages.workplace import Problem, decided
from gateway.scopes import RULES_APPROVE, RULES_EDIT

BUDGETS = "/console/budgets"
ON_A_PAGE = 25


async def budgets(at: Desk) -> Response:
    """GET /console/budgets: what waits for a second person, and every budget."""
    told = await at.ask("OperatorBudgets", first=ON_A_PAGE, after=at.asked("after") or None)
    return at.page(
        "operator/budgets.html", budgets=told["budgets"], waiting=told["budgetProposals"]["nodes"],
        words=operator_phrases,
    )  # fmt: skip


async def budget(at: Desk, problem: Problem | None = None, *, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/budgets/{code}: one of them, what is used and what was proposed of it."""
    found = (await at.ask("OperatorBudget", code=at.part("code")))["budgetUsage"]
    if found is None:
        return at.missing(BUDGETS)
    return at.page(
        "operator/budget.html", problem=problem, budget=found, fields=fields or {}, words=operator_phrases,
        can_edit=at.may(RULES_EDIT), can_decide=at.may(RULES_APPROVE),
    )  # fmt: skip


async def limit(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/limit: less counts at once, more may wait for somebody else."""
    cover = fields.get("cover", "").strip()
    given = {"limit": fields.get("limit", "").strip()}
    if cover:
        given |= {"cover": cover, "standing": fields.get("standing", "").strip() or "0"}
    return await _changed(at, fields, "SetBudgetLimit", given)


async def fund(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/fund: a payment is recorded, or waits for somebody else."""
    given = {name: fields.get(name, "").strip() for name in ("amount", "reference")}
    return await _changed(at, fields, "FundBudget", {**given, "payer": fields.get("payer", "").strip() or None})


async def approve(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/approve: what another proposed counts from now on."""
    given = {**_of_proposal(fields), "inSpite": fields.get("inSpite") == "1"}
    return await decided(at, fields, "ApproveBudgetProposal", given, onward=_path(at), again=budget)


async def decline(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/decline: it will not be."""
    return await decided(at, fields, "DeclineBudgetProposal", _of_proposal(fields), onward=_path(at), again=budget)


async def withdraw(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/withdraw: a proposal of one's own is taken back."""
    given = {"proposal": whole(fields.get("proposal", ""))}
    return await decided(at, fields, "WithdrawBudgetProposal", given, onward=_path(at), again=budget)


async def _changed(at: Desk, fields: Mapping[str, str], name: str, given: Mapping[str, str | None]) -> Response:
    async def again(at: Desk, problem: Problem) -> Response:
        return await budget(at, problem, fields=fields)

    return await decided(at, fields, name, {"budget": at.part("code"), **given}, onward=_path(at), again=again)


def _of_proposal(fields: Mapping[str, str]) -> dict[str, int | str | None]:
    return {"proposal": whole(fields.get("proposal", "")), "reason": fields.get("reason", "").strip() or None}


def _path(at: Desk) -> str:
    return f"{BUDGETS}/{quote(at.part('code'), safe='')}"


ROUTES: list[BaseRoute] = desk.routes(
    (
        (BUDGETS, budgets),
        (BUDGETS + "/{code}", budget),
    ),
    (
        (BUDGETS + "/{code}/limit", limit),
        (BUDGETS + "/{code}/fund", fund),
        (BUDGETS + "/{code}/approve", approve),
        (BUDGETS + "/{code}/decline", decline),
        (BUDGETS + "/{code}/withdraw", withdraw),
    ),
)
