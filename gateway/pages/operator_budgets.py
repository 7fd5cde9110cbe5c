"""Budgets at the console: how full they are, a new one, less of one at once, and more of one in force by two people,
who read on a page of the proposal's own what its gate finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.pages import budget_form, desk, operator_phrases
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, decided
from gateway.scopes import RULES_APPROVE, RULES_EDIT

BUDGETS = "/console/budgets"
ON_A_PAGE = 25


async def budgets(at: Desk, problem: Problem | None = None, *, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/budgets: what waits for a second person, every budget, and where one is added."""
    after, waiting = at.asked("after"), at.asked("waiting")
    told = await at.ask("OperatorBudgets", first=ON_A_PAGE, after=after or None, waiting=waiting or None)
    wrong = {} if problem is None or fields is None else budget_form.wrong(problem, fields)
    if problem is not None and wrong:
        problem = replace(problem, details=(), sentence=budget_form.NOT_ADDED)
    return at.page(
        "operator/budgets.html", problem=problem, budgets=told["budgets"], waiting=told["budgetProposals"],
        currencies=told["budgetCurrencies"], words=operator_phrases, form_words=budget_form, fields=fields, wrong=wrong,
        behind={"after": after} if after else {}, waiting_behind={"waiting": waiting} if waiting else {},
        can_edit=at.may(RULES_EDIT),
    )  # fmt: skip


async def add(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets: a budget is added, which rules may count against; on to its page."""

    async def again(at: Desk, problem: Problem) -> Response:
        return await budgets(at, problem, fields=fields)

    given = budget_form.given(fields)
    onward = f"{BUDGETS}/{quote(given['code'], safe='')}"
    return await decided(at, fields, "AddBudget", given, onward=onward, again=again)


async def budget(at: Desk, problem: Problem | None = None, *, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/budgets/{code}: one of them, what is used and what was proposed of it."""
    asked = {"code": at.part("code"), "first": ON_A_PAGE, "after": at.asked("after") or None}
    found = (await at.ask("OperatorBudget", **asked))["budgetUsage"]
    if found is None:
        return at.missing(BUDGETS)
    return at.page(
        "operator/budget.html", problem=problem, budget=found, fields=fields or {}, words=operator_phrases,
        can_edit=at.may(RULES_EDIT),
    )  # fmt: skip


async def proposal(at: Desk, problem: Problem | None = None, *, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/budgets/{code}/proposals/{number}: more of one, what stands against it, and who decides."""
    found = (await at.ask("OperatorBudgetProposal", number=at.number("number")))["budgetProposal"]
    if found is None or found["budget"] != at.part("code"):
        return at.missing(_path(at))
    return at.page(
        "operator/budget_proposal.html", problem=problem, proposal=found, fields=fields or {}, words=operator_phrases,
        can_decide=at.may(RULES_APPROVE),
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
    """POST /console/budgets/{code}/proposals/{number}/approve: what another proposed counts from now on."""
    return await _ended(at, fields, "ApproveBudgetProposal", {**_why(fields), "inSpite": fields.get("inSpite") == "1"})


async def decline(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/proposals/{number}/decline: it will not be."""
    return await _ended(at, fields, "DeclineBudgetProposal", _why(fields))


async def withdraw(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/budgets/{code}/proposals/{number}/withdraw: a proposal of one's own is taken back."""
    return await _ended(at, fields, "WithdrawBudgetProposal", {})


async def _changed(at: Desk, fields: Mapping[str, str], name: str, given: Mapping[str, str | None]) -> Response:
    """More or less of a budget; on to the proposal where one came of it."""

    async def again(at: Desk, problem: Problem) -> Response:
        return await budget(at, problem, fields=fields)

    async def made(at: Desk, told: dict[str, Any]) -> Response:
        waits = told["proposal"]
        return RedirectResponse(_path(at) + (f"/proposals/{waits['number']}" if waits else ""), 303)

    given = {"budget": at.part("code"), **given}
    return await decided(at, fields, name, given, onward=_path(at), again=again, shown=made)


async def _ended(at: Desk, fields: Mapping[str, str], name: str, given: Mapping[str, Any]) -> Response:
    """A proposal is approved, declined or taken back; on to its budget, which says what became of it."""

    async def again(at: Desk, problem: Problem) -> Response:
        # What stands against it the page itself says, in the reader's language.
        return await proposal(at, replace(problem, details=()), fields=fields)

    async def made(at: Desk, _: dict[str, Any]) -> Response:
        return RedirectResponse(_path(at), 303)

    number = at.number("number")
    given, onward = {"proposal": number, **given}, f"{_path(at)}/proposals/{number}"
    return await decided(at, fields, name, given, onward=onward, again=again, shown=made)


def _why(fields: Mapping[str, str]) -> dict[str, str | None]:
    return {"reason": fields.get("reason", "").strip() or None}


def _path(at: Desk) -> str:
    return f"{BUDGETS}/{quote(at.part('code'), safe='')}"


ROUTES: list[BaseRoute] = desk.routes(
    (
        (BUDGETS, budgets),
        (BUDGETS + "/{code}", budget),
        (BUDGETS + "/{code}/proposals/{number}", proposal),
    ),
    (
        (BUDGETS, add),
        (BUDGETS + "/{code}/limit", limit),
        (BUDGETS + "/{code}/fund", fund),
        (BUDGETS + "/{code}/proposals/{number}/approve", approve),
        (BUDGETS + "/{code}/proposals/{number}/decline", decline),
        (BUDGETS + "/{code}/proposals/{number}/withdraw", withdraw),
    ),
)
