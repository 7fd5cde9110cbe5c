"""Questions to reports at the console: choose a report, then columns, rows and an order; keep the question, take the
answer as a file. What is asked stands in the address. Only reports can be asked; an answer only leaves something out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.finance import question_params, report_pages
from gateway.pages import desk
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, decided, problem_of
from gateway.sessions.asking import NotAnswered
from kit.errors import Rejection
from settlement import states
from settlement.reports import questions
from settlement.reports.questions import Condition, Question

HOME = "/console/questions"
ON_A_PAGE, ROWS_ON_A_PAGE, ROWS_TO_ASK = 50, 100, 3
FORMATS = ("xlsx", "csv", "pdf")
NOT_ASKED = frozenset({"R2"})
"""Too long to be asked: it is streamed."""

OPERATORS: Mapping[str, str] = {
    "IS": _("is"), "IS_NOT": _("is not"), "CONTAINS": _("contains"), "AT_LEAST": _("is at least"),
    "AT_MOST": _("is at most"), "HAS_NONE": _("is empty"), "HAS_ANY": _("is not empty"),
}  # fmt: skip


async def ask(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/questions?report=&run=&partner=&table=&column=&where=&order=: what a report says to a question; and
    the questions that are kept."""
    told = await at.ask("ConsoleQuestions", first=ON_A_PAGE, after=at.asked("after") or None)
    runs = [run for run in told["settlementRuns"]["nodes"] if run["state"] not in {states.DRAFT, *states.GONE}]
    report = next((each for each in told["settlementReports"] if each["code"] == at.asked("report")), None)
    question, found = _question(at.request.query_params), None
    if report is not None:
        try:
            found = await _answer(at, report, question, runs)
        except NotAnswered as no:
            if no.status >= 429:
                raise
            problem, question = problem or problem_of(no), None
            found = await _answer(at, report, None, runs)
    table = None if not found or not found["heads"] else _head(found, question)
    return at.page(
        "console/questions.html", problem=problem, questions=told["savedQuestions"],
        reports=[each for each in told["settlementReports"] if each["code"] not in NOT_ASKED], report=report, runs=runs,
        run=at.asked("run"), partner=at.asked("partner"), on_day=at.asked("day"), partners=told["settlementPartners"],
        found=found, table=table, shown=_shown(found, table), question=question, operators=OPERATORS,
        conditions=_three(question), skip=desk.whole(at.asked("skip") or "0"), on_a_page=ROWS_ON_A_PAGE,
        most=questions.MOST_ROWS, formats=FORMATS, address=urlencode(_written(at, question)), address_of=address_of,
        as_of=_as_of(at, at.asked("day")),
    )  # fmt: skip


async def file(at: Desk) -> Response:
    """GET /console/questions/file?report=…&format=: the answer as a file."""
    at.request.scope["path_params"] = {"code": at.asked("report")}
    try:
        return await report_pages.report_for(at.request, at.viewer)
    except Rejection as no:
        return await ask(at, Problem(no.code, str(no)))


async def keep(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/questions: the question of an address is kept, for oneself or for all of finance."""
    asked = QueryParams(parse_qsl(fields.get("address", "")[:4_000]))
    question, run = question_params.read(asked), asked.get("run", "")
    if question is None:
        return await ask(at, Problem(questions.QuestionInvalid.code))
    given = {
        "name": fields.get("name", "").strip(), "isShared": fields.get("shared") == "yes",
        "report": asked.get("report", ""), "run": desk.whole(run) if run else None,
        "partner": asked.get("partner") or None, "asOf": _as_of(at, asked.get("day", "")), "question": _given(question),
    }  # fmt: skip

    async def kept(_: Desk, told: dict[str, Any]) -> Response:
        return RedirectResponse(f"{HOME}?{fields.get('address', '')}", 303)

    return await decided(at, fields, "SaveQuestion", given, onward=HOME, again=ask, shown=kept)


async def drop(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/questions/drop: a question of one's own is kept no more."""
    given = {"number": desk.whole(fields.get("number", ""))}
    return await decided(at, fields, "DropQuestion", given, onward=HOME, again=ask)


def address_of(kept: Mapping[str, Any]) -> str:
    """The address of a question that is kept."""
    conditions = tuple(Condition(one["column"], one["operator"], one["value"]) for one in kept["conditions"])
    question = Question(
        kept["table"], tuple(kept["columns"]), conditions, kept["order"] or "", kept["descending"]
    )  # fmt: skip
    said = {"report": kept["report"], "run": kept["run"], "partner": kept["partner"], "day": (kept["asOf"] or "")[:10]}
    return urlencode([(name, str(value)) for name, value in said.items() if value] + question_params.written(question))


def _question(asked: QueryParams) -> Question | None:
    """The question of an address, as a link has it, and as the page's form sends it."""
    its = question_params.read(asked)
    if its is None:
        return None
    rows = [(asked.get(f"c{n}", ""), asked.get(f"o{n}", ""), asked.get(f"v{n}", "")) for n in range(ROWS_TO_ASK)]
    of_form = tuple(Condition(*row) for row in rows if row[0])
    order = its.order if its.descending or not asked.get("down") else f"-{its.order}"
    descending = its.descending or (bool(its.order) and asked.get("down") == "yes")
    return Question(its.table, its.columns, its.conditions + of_form, order.removeprefix("-"), descending)


async def _answer(
    at: Desk, report: Mapping[str, Any], question: Question | None, runs: list[dict[str, Any]]
) -> dict[str, Any] | None:
    run = at.asked("run") or (str(runs[0]["number"]) if report["needsRun"] and runs else "")
    told = await at.ask(
        "ConsoleQuestion", code=report["code"], run=desk.whole(run) if run else None,
        partner=at.asked("partner") or None, asOf=_as_of(at, at.asked("day")),
        question=None if question is None else _given(question), first=ROWS_ON_A_PAGE,
        skip=desk.whole(at.asked("skip") or "0"),
    )  # fmt: skip
    found: dict[str, Any] | None = told["settlementReport"]
    return found


def _head(found: Mapping[str, Any], question: Question | None) -> Any:
    """The table that is asked: the report's first, where none is named."""
    heads = found["heads"]
    return next((each for each in heads if question is not None and each["key"] == question.table), heads[0])


def _shown(found: Mapping[str, Any] | None, table: Mapping[str, Any] | None) -> Any:
    """The table as it is answered."""
    if found is None or table is None:
        return None
    return next((each for each in found["tables"] if each["key"] == table["key"]), None)


def _three(question: Question | None) -> list[Condition]:
    """The rows of the form: what is asked, and empty ones."""
    asked = [] if question is None else list(question.conditions)[:ROWS_TO_ASK]
    return asked + [Condition("", "IS", "")] * (ROWS_TO_ASK - len(asked))


def _given(question: Question) -> dict[str, Any]:
    return {
        "table": question.table, "columns": list(question.columns), "order": question.order or None,
        "descending": question.descending,
        "conditions": [
            {"column": one.column, "operator": one.operator, "value": one.value} for one in question.conditions
        ],
    }  # fmt: skip


def _written(at: Desk, question: Question | None) -> list[tuple[str, str]]:
    """The address of what the page shows, without a place in it."""
    kept = [(name, at.asked(name)) for name in ("report", "run", "partner", "day") if at.asked(name)]
    return kept + ([] if question is None else question_params.written(question))


def _as_of(at: Desk, day: str) -> str | None:
    """The end of a day in the programme's zone, as the API takes it; None for none."""
    try:
        return datetime.combine(datetime.fromisoformat(day).date(), time(23, 59, 59), at.frame.zone).isoformat()
    except ValueError:
        return None


ROUTES: list[BaseRoute] = desk.routes(((HOME, ask), (HOME + "/file", file)), ((HOME, keep), (HOME + "/drop", drop)))
