"""A question only leaves something out of what a report says, however it is asked."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from kit.database import Database
from kit.reports.tables import Column, Kind, Report, Row, Table, Term
from settlement.reports import asking, catalogue, question_store, questions
from settlement.reports.asking import QuestionTooLong
from settlement.reports.catalogue import Made, Wanted
from settlement.reports.questions import Condition, Question, QuestionInvalid
from tests.builders import NOON

CAFE = Term("CAFE", {"en": "Café", "ru": "Кафе"})
COLUMNS = (
    Column("party", {"en": "Party"}), Column("net", {"en": "Net"}, Kind.AMOUNT, is_summed=True),
    Column("day", {"en": "Day"}, Kind.DATE), Column("points", {"en": "Points"}, Kind.COUNT, is_summed=True),
)  # fmt: skip
ROWS: list[Row] = [
    (CAFE, Decimal("10.00"), date(2026, 3, 1), 5), ("Bakery", Decimal("-2.50"), None, 7),
    ("Grocer", Decimal("9.00"), date(2026, 4, 1), None), (None, Decimal(0), date(2026, 2, 1), 5),
]  # fmt: skip


def report(rows: list[Row] = ROWS) -> Report:
    nets = Table("nets", {"en": "Nets"}, COLUMNS, rows)
    return Report(
        "R3",
        {"en": "Net"},
        "x",
        datetime(2026, 3, 1, tzinfo=UTC),
        "UTC",
        (),
        (nets, nets.__class__("other", {}, COLUMNS, [])),
    )


def asked(
    *conditions: Condition, columns: tuple[str, ...] = ("party",), order: str = "", down: bool = False
) -> list[object]:
    made, matched = questions.answer(report(), Question("nets", columns, conditions, order, down))
    [table] = made.tables
    assert len(table.rows) == matched
    return [row[0].code if isinstance(row[0], Term) else row[0] for row in table.rows]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (("party", "IS", "cafe"), ["CAFE"]),
        (("party", "IS", "КАФЕ"), ["CAFE"]),
        (("party", "IS_NOT", "bakery"), ["CAFE", "Grocer", None]),
        (("party", "CONTAINS", "er"), ["Bakery", "Grocer"]),
        (("party", "HAS_NONE", ""), [None]),
        (("points", "HAS_ANY", ""), ["CAFE", "Bakery", None]),
        (("net", "AT_LEAST", "9"), ["CAFE", "Grocer"]),
        (("net", "AT_MOST", "-2,5"), ["Bakery"]),
        (("day", "AT_LEAST", "2026-03-01"), ["CAFE", "Grocer"]),
        (("day", "AT_MOST", "2026-02-28"), [None]),
    ],
)
def test_rows_are_like_what_was_asked(condition: tuple[str, str, str], found: list[str | None]) -> None:
    assert asked(Condition(*condition)) == found


def test_conditions_hold_together_rows_have_an_order_and_columns_theirs() -> None:
    assert asked(Condition("points", "IS", "5"), Condition("net", "AT_LEAST", "1")) == ["CAFE"]
    assert asked(order="net") == ["Bakery", None, "Grocer", "CAFE"]
    assert asked(order="net", down=True) == ["CAFE", "Grocer", None, "Bakery"]
    assert asked(order="points")[-1] == "Grocer"  # what has none is last
    assert asked(order="points", down=True)[-1] == "Grocer"
    made, _ = questions.answer(report(), Question("nets", ("net", "party"), (Condition("net", "AT_LEAST", "1"),)))
    assert [column.key for column in made.tables[0].columns] == ["net", "party"]
    assert made.tables[0].totals() == (Decimal("19.00"), None)  # sums are of what is shown
    assert made.content_hash() != report().content_hash()


@pytest.mark.parametrize(
    "question",
    [
        Question("nothing"),
        Question("nets", ("nothing",)),
        Question("nets", ("net", "net")),
        Question("nets", order="nothing"),
        Question("nets", conditions=(Condition("nothing", "IS", "x"),)),
        Question("nets", conditions=(Condition("net", "LIKE", "x"),)),
        Question("nets", conditions=(Condition("net", "AT_LEAST", "x"),)),
        Question("nets", conditions=(Condition("day", "AT_MOST", "soon"),)),
        Question("nets", conditions=(Condition("party", "IS", "x" * 201),)),
        Question("nets", conditions=(Condition("party", "IS", "x"),) * 6),
    ],
)
def test_what_cannot_be_asked_is_refused_and_says_where(question: Question) -> None:
    with pytest.raises(QuestionInvalid) as no:
        questions.answer(report(), question)
    assert no.value.problems[0].path[0] == "question"


CELLS = st.tuples(
    st.one_of(st.none(), st.text(max_size=5), st.just(CAFE)), st.decimals(-99, 99, places=2),
    st.one_of(st.none(), st.dates()), st.one_of(st.none(), st.integers(-9, 9)),
)  # fmt: skip
CONDITIONS = st.tuples(
    st.sampled_from([column.key for column in COLUMNS]), st.sampled_from(questions.OPERATORS),
    st.one_of(st.text(max_size=5), st.integers(-9, 9).map(str), st.dates().map(str)),
).map(lambda one: Condition(*one))  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.lists(CELLS, max_size=12),
    st.lists(CONDITIONS, max_size=3),
    st.sampled_from(["", "net", "day", "party"]),
    st.booleans(),
)
def test_an_answer_has_no_row_that_the_report_has_not(
    rows: list[Row], conditions: list[Condition], order: str, down: bool
) -> None:
    try:
        made, matched = questions.answer(report(rows), Question("nets", (), tuple(conditions), order, down))
    except QuestionInvalid:
        return
    left = [tuple(row) for row in rows]
    for row in made.tables[0].rows:
        left.remove(tuple(row))
    assert matched == len(rows) - len(left)
    again, _ = questions.answer(made, Question("nets", (), tuple(conditions), order, down))
    assert again.tables[0].rows == made.tables[0].rows


@pytest.mark.parametrize("operator", ["AT_LEAST", "AT_MOST"])
def test_nothing_is_compared_with_what_is_no_number(operator: str) -> None:
    for value in ("NaN", "sNaN", "-nan"):
        with pytest.raises(QuestionInvalid):
            asked(Condition("net", operator, value))


def test_an_answer_has_so_many_rows_and_says_how_many_there_are() -> None:
    rows: list[Row] = [(str(n), Decimal(n), None, 1) for n in range(questions.MOST_ROWS + 5)]
    made, matched = questions.answer(report(rows), Question("nets", order="net", descending=True))
    assert (len(made.tables[0].rows), matched) == (questions.MOST_ROWS, questions.MOST_ROWS + 5)


async def test_a_report_that_takes_too_long_is_told_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(connection: object, *_: object, **__: object) -> Made:
        from sqlalchemy import text

        await connection.execute(text("SELECT pg_sleep(30)"))  # type: ignore[attr-defined]
        raise AssertionError("it was let run")

    monkeypatch.setattr(asking, "MILLISECONDS", 50)
    monkeypatch.setattr(catalogue, "make", slow)
    with pytest.raises(QuestionTooLong):
        async with database.transaction() as connection:
            await asking.answer(connection, "R3", Wanted(1, None, NOON), Question("nets"))
    async with database.transaction() as connection:
        limit = await connection.exec_driver_sql("SHOW statement_timeout")
        assert limit.scalar_one() != "50ms"  # the limit was that transaction's own
        await question_store.limit_time(connection, 50)
        with pytest.raises(DBAPIError):
            await connection.exec_driver_sql("SELECT pg_sleep(30)")
