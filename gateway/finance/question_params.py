"""A question to a report as an address has it, so that a colleague who gets it asks the same."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from settlement.reports.questions import Condition, Question


def read(asked: QueryParams) -> Question | None:
    """The question of an address: ?table=&column=&column=&where=COLUMN:OPERATOR:VALUE&order=-COLUMN. None where it
    names no table. What it says is checked by whoever answers it."""
    table = asked.get("table", "")
    if not table:
        return None
    conditions = []
    for one in asked.getlist("where"):
        column, _, rest = one.partition(":")
        operator, _, value = rest.partition(":")
        conditions.append(Condition(column, operator, value))
    order = asked.get("order", "")
    columns = tuple(dict.fromkeys(asked.getlist("column")))
    return Question(table, columns, tuple(conditions), order.removeprefix("-"), order.startswith("-"))


def written(question: Question) -> list[tuple[str, str]]:
    """A question for an address."""
    return [
        ("table", question.table),
        *(("column", column) for column in question.columns),
        *(("where", f"{one.column}:{one.operator}:{one.value}") for one in question.conditions),
        *([("order", ("-" if question.descending else "") + question.order)] if question.order else []),
    ]
