"""Questions to reports: answered within a time and a number of rows, and kept by whoever asks them, for oneself or for
everybody of finance. What is kept is the question, never an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.errors import FieldProblem, Rejection
from kit.reports.tables import Report, Table
from settlement.reports import catalogue, question_store, questions
from settlement.reports.catalogue import Wanted
from settlement.reports.questions import Condition, Question, QuestionInvalid

MILLISECONDS = 10_000
MOST_KEPT, LONGEST_NAME, MOST_BYTES = 100, 80, 16_000
_CANCELED = "57014"


class QuestionUnknown(Rejection):
    """There is no such question, or it is another's who does not share it."""

    code = "QUESTION_UNKNOWN"
    retryable = False


class QuestionTooLong(Rejection):
    """The report takes longer than a page waits: name a run or a partner, or have it at the terminal."""

    code = "QUESTION_TOO_LONG"
    retryable = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whole: the report by its code, of which run and partner (None: none), and as of when (None: now)."""

    report: str
    question: Question
    run_id: int | None = None
    partner: str | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a report says to a question: the report with the one table, how many rows match, and every table that could
    have been asked, whole."""

    report: Report
    matched: int
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A question that somebody keeps."""

    question_id: int
    owner_id: int
    owner: str
    name: str
    is_shared: bool
    asked: Asked
    at: datetime


async def answer(
    connection: AsyncConnection, code: str, wanted: Wanted, question: Question, *, is_partner: bool = False
) -> Answer:
    """What a report says to a question. Needs a transaction of its own, in which no statement
    takes longer than MILLISECONDS from now on.

    Rejects QUESTION_INVALID, QUESTION_TOO_LONG and what `catalogue.make` rejects.
    """
    await question_store.limit_time(connection, MILLISECONDS)
    try:
        made = await catalogue.make(connection, code, wanted, is_partner=is_partner)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _CANCELED:
            raise QuestionTooLong(f"{code} takes longer than {MILLISECONDS} ms") from error
        raise
    if made.long is not None:
        problem = FieldProblem(("report",), "TOO_LONG", f"{code} is streamed: it comes as a file")
        raise QuestionInvalid("the report cannot be asked this", problems=[problem])
    report, matched = questions.answer(made.report, question)
    return Answer(report, matched, made.report.tables)


async def keep(
    connection: AsyncConnection, asked: Asked, *, name: str, is_shared: bool, owner_id: int, at: datetime
) -> int:
    """Keep a question for somebody of finance, or for all of them; its number.

    Rejects NOT_PERMITTED, QUESTION_INVALID, REPORT_UNKNOWN.
    """
    await _permit(connection, owner_id)
    catalogue.entry(asked.report)
    if not name.strip() or len(name) > LONGEST_NAME:
        raise _invalid("name", f"a question has a name of {LONGEST_NAME} characters at most")
    asks = orjson.dumps(_written(asked)).decode()
    if len(asks.encode()) > MOST_BYTES or not name.isprintable():
        raise _invalid("question", f"what is kept can be seen, and has {MOST_BYTES} bytes at most")
    await question_store.lock_owner(connection, owner_id)
    if await question_store.kept(connection, owner_id) >= MOST_KEPT:
        raise _invalid("name", f"somebody keeps {MOST_KEPT} questions at most")
    row = {
        "owner_id": owner_id, "name": name.strip(), "is_shared": is_shared, "asks": asks,
        "at": at,
    }  # fmt: skip
    return await question_store.insert(connection, row)


async def drop(connection: AsyncConnection, question_id: int, *, owner_id: int, at: datetime) -> None:
    """Keep a question no more, by whoever kept it. Rejects NOT_PERMITTED, QUESTION_UNKNOWN."""
    await _permit(connection, owner_id)
    await question_store.lock_owner(connection, owner_id)
    its = await read(connection, question_id, owner_id=owner_id)
    if its.owner_id != owner_id:
        raise QuestionUnknown("whoever kept it drops it")
    await question_store.insert_end(connection, question_id, at=at)


async def page(connection: AsyncConnection, *, owner_id: int, after: int = 0, limit: int = 50) -> list[Kept]:
    """What somebody keeps, and what is shared, in the order it was kept."""
    return [_kept(row) for row in await question_store.page(connection, owner_id, after=after, limit=limit)]


async def read(connection: AsyncConnection, question_id: int, *, owner_id: int) -> Kept:
    """One question that somebody keeps, or that is shared. Rejects QUESTION_UNKNOWN."""
    row = await question_store.one(connection, question_id, owner_id)
    if row is None:
        raise QuestionUnknown(f"there is no question {question_id}")
    return _kept(row)


async def _permit(connection: AsyncConnection, actor_id: int) -> None:
    """Nothing for whoever makes or decides. Rejects NOT_PERMITTED."""
    _, roles = await actors.standing(connection, actor_id)
    if not roles & {actors.FINANCE_MAKER, actors.FINANCE_CHECKER}:
        await actors.require_role(connection, actor_id, actors.FINANCE_MAKER)


def _written(asked: Asked) -> dict[str, Any]:
    its = asked.question
    questions.check(its)
    return {
        "report": asked.report, "run": asked.run_id, "partner": asked.partner,
        "as_of": None if asked.as_of is None else asked.as_of.isoformat(), "table": its.table,
        "columns": list(its.columns), "conditions": [[one.column, one.operator, one.value] for one in its.conditions],
        "order": its.order, "descending": its.descending,
    }  # fmt: skip


def _kept(row: Any) -> Kept:
    said: Mapping[str, Any] = row.asks
    question = Question(
        said["table"], tuple(said["columns"]), tuple(Condition(*one) for one in said["conditions"]), said["order"],
        said["descending"],
    )  # fmt: skip
    as_of = None if said["as_of"] is None else datetime.fromisoformat(said["as_of"])
    asked = Asked(said["report"], question, said["run"], said["partner"], as_of)
    return Kept(row.question_id, row.owner_id, row.owner, row.name, row.is_shared, asked, row.at)


def _invalid(path: str, message: str) -> QuestionInvalid:
    return QuestionInvalid("this question cannot be kept", problems=[FieldProblem((path,), "INVALID", message)])
