"""PURE: a question to a report: which of its columns, rows like what, in which order. It can only leave something out
of what the report says, so whoever may have the report may have the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from kit.errors import FieldProblem, Rejection
from kit.reports.tables import Cell, Column, Report, Row, Table, Term, in_language, machine_text

MOST_ROWS = 10_000
MOST_CONDITIONS, MOST_COLUMNS, LONGEST_VALUE = 5, 40, 200

IS, IS_NOT, CONTAINS, AT_LEAST, AT_MOST = "IS", "IS_NOT", "CONTAINS", "AT_LEAST", "AT_MOST"
HAS_NONE, HAS_ANY = "HAS_NONE", "HAS_ANY"
OPERATORS = (IS, IS_NOT, CONTAINS, AT_LEAST, AT_MOST, HAS_NONE, HAS_ANY)
_WITHOUT_VALUE = (HAS_NONE, HAS_ANY)
_IN_ORDER: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {AT_LEAST: lambda cell, value: bool(cell >= value), AT_MOST: lambda cell, value: bool(cell <= value)}
)


class QuestionInvalid(Rejection):
    """The report has no such table or column, or it cannot be compared like this; `problems` says what."""

    code = "QUESTION_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row has to be like: a column by its key, one of OPERATORS, and what it is compared with."""

    column: str
    operator: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A table of a report by its key, the columns to be shown in their order (none: all), conditions that all hold,
    and the column to go by, downwards if descending."""

    table: str
    columns: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    order: str = ""
    descending: bool = False


def answer(report: Report, question: Question) -> tuple[Report, int]:
    """The report with the one table that is asked for, as it is asked for, and how many rows match. At most MOST_ROWS
    are in it; sums are of those that are. Rejects QUESTION_INVALID."""
    table = next((each for each in report.tables if each.key == question.table), None)
    if table is None:
        raise _invalid("table", "UNKNOWN", f"the report has {', '.join(each.key for each in report.tables)}")
    check(question)
    tests = [(_place(table, one.column, "conditions"), _test(table, one)) for one in question.conditions]
    rows = [row for row in table.rows if all(is_so(row[place]) for place, is_so in tests)]
    if question.order:
        rows = _ordered(rows, _place(table, question.order, "order"), descending=question.descending)
    shown = [_place(table, key, "columns") for key in question.columns] or list(range(len(table.columns)))
    chosen = Table(
        table.key, table.title, tuple(table.columns[place] for place in shown),
        [tuple(row[place] for place in shown) for row in rows[:MOST_ROWS]], table.note,
    )  # fmt: skip
    return replace(report, tables=(chosen,)), len(rows)


def check(question: Question) -> None:
    """Nothing for a question that some table could answer. Rejects QUESTION_INVALID."""
    if any(one.operator not in OPERATORS for one in question.conditions):
        raise _invalid("conditions", "UNKNOWN", f"an operator is one of {', '.join(OPERATORS)}")
    if len(question.conditions) > MOST_CONDITIONS or len(question.columns) > MOST_COLUMNS:
        raise _invalid("conditions", "TOO_MANY", f"{MOST_CONDITIONS} conditions and {MOST_COLUMNS} columns at most")
    if len(set(question.columns)) < len(question.columns):
        raise _invalid("columns", "TWICE", "a column is shown once")
    names = (question.table, question.order, *question.columns, *(one.column for one in question.conditions))
    if any(len(said) > LONGEST_VALUE for said in (*names, *(one.value for one in question.conditions))):
        raise _invalid("conditions", "TOO_LONG", f"{LONGEST_VALUE} characters at most")


def _place(table: Table, key: str, path: str) -> int:
    for place, column in enumerate(table.columns):
        if column.key == key:
            return place
    raise _invalid(path, "UNKNOWN", f"the table has {', '.join(column.key for column in table.columns)}")


def _test(table: Table, condition: Condition) -> Callable[[Cell], bool]:
    """Whether a cell is like a condition says."""
    if condition.operator in _WITHOUT_VALUE:
        return lambda cell: (cell is None or cell == "") == (condition.operator == HAS_NONE)
    if condition.operator in _IN_ORDER:
        value = _value(table.columns[_place(table, condition.column, "conditions")], condition.value)
        compare = _IN_ORDER[condition.operator]
        return lambda cell: cell is not None and compare(_comparable(cell), value)
    wanted = condition.value.casefold()
    if condition.operator == CONTAINS:
        return lambda cell: any(wanted in said for said in _said(cell))
    return lambda cell: (wanted in _said(cell)) == (condition.operator == IS)


def _said(cell: Cell) -> list[str]:
    """What a cell says: as machines have it, and the words of a code in every language."""
    found = [machine_text(cell).casefold()]
    if isinstance(cell, Term):
        found += [in_language(cell.words, each).casefold() for each in ("en", "ru", "ro")]
    return found


def _value(column: Column, text: str) -> Any:
    """What a column's cells are compared with: a number for numbers, an instant or day for those, else text."""
    try:
        if column.kind.is_number:
            number = Decimal(text.replace(" ", "").replace("\u00a0", "").replace(",", "."))
            if number.is_nan():
                raise ValueError("nothing is more or less than that")
            return number
        if column.kind.value in ("date", "instant"):
            return date.fromisoformat(text[:10]).isoformat()
    except (InvalidOperation, ValueError):
        raise _invalid("conditions", "INVALID", f"{column.key} is compared with a number or a day") from None
    return text.casefold()


def _comparable(cell: Cell) -> Any:
    if isinstance(cell, bool):
        return machine_text(cell)
    if isinstance(cell, int | Decimal):
        return Decimal(cell)
    if isinstance(cell, datetime | date):
        return machine_text(cell)[:10]
    return _said(cell)[0]


def _ordered(rows: Sequence[Row], place: int, *, descending: bool) -> list[Row]:
    """Rows by a column, those without a value last; what is alike stays as the report has it."""
    having = [row for row in rows if row[place] is not None]
    without = [row for row in rows if row[place] is None]
    return sorted(having, key=lambda row: _in_order(row[place]), reverse=descending) + without


def _in_order(cell: Cell) -> Any:
    is_number = isinstance(cell, int | Decimal) and not isinstance(cell, bool)
    return (0, Decimal(cell)) if is_number else (1, machine_text(cell).casefold())  # type: ignore[arg-type]


def _invalid(path: str, code: str, message: str) -> QuestionInvalid:
    return QuestionInvalid(
        "the report cannot be asked this", problems=[FieldProblem(("question", path), code, message)]
    )
