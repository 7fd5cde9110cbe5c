"""What a report of settlement says, for pages that show it: the values that its files have, some rows at a time."""

from collections.abc import Sequence
from datetime import datetime

import strawberry
from strawberry import Info

from gateway import access, connections, masking
from gateway.connections import First
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.inputs import described
from kit.errors import Rejection
from kit.reports.tables import Cell, Kind, Report, Table, Term, in_language, machine_text
from partners.clearing import clearing
from settlement.reports import asking, catalogue, questions
from settlement.reports.asking import QuestionTooLong
from settlement.reports.catalogue import Wanted
from settlement.reports.questions import Condition, Question, QuestionInvalid


@strawberry.type(description="A line of a report's head.")
class ReportFact:
    key: str = described("Its name for machines.")
    title: str = described("What it is called, in the caller's language.")
    kind: str = described("How its value is written: text, count, amount, exact, percent, date, instant.")
    value: str = described("As machines write it: dots, ISO 8601; empty for nothing.")


@strawberry.type(description="A column of a report's table.")
class ReportColumn:
    key: str = described("Its name for machines.")
    title: str = described("What it is called, in the caller's language.")
    kind: str = described("How its cells are written: text, count, amount, exact, percent, date, instant.")
    is_summed: bool = described("Whether the table shows its total.")


@strawberry.type(description="A row of a report's table.")
class ReportRow:
    cells: list[str] = described(
        "In the order of the columns, as machines write them; words in the caller's language; empty for nothing."
    )


@strawberry.type(description="A table of a report.")
class ReportTable:
    key: str = described("Its name for machines.")
    title: str = described("What it is called, in the caller's language.")
    note: str | None = described("How it is to be read.")
    columns: list[ReportColumn] = described("Its columns.")
    row_count: int = described("How many rows it has.")
    totals: list[str] | None = described("Sums of the summed columns over all rows, empty under the others.")
    table: strawberry.Private[Table]
    language: strawberry.Private[str]

    @access.field(
        size=access.ListSize(assumed_size=50, slicing_arguments=["first"]),
        description="Its rows behind the first `skip` of them.",
    )
    def rows(self, first: First = 50, skip: int = 0) -> list[ReportRow]:
        chosen = self.table.rows[max(skip, 0) : max(skip, 0) + connections.bounded(first)]
        return [ReportRow(cells=[_shown(cell, self.language) for cell in row]) for row in chosen]


@strawberry.type(description="A table that a report can be asked.")
class ReportHead:
    key: str = described("Its name for machines.")
    title: str = described("What it is called, in the caller's language.")
    columns: list[ReportColumn] = described("All its columns.")


@strawberry.input(description="What a row has to be like.")
class ReportConditionInput:
    column: str = described("A column by its key.")
    operator: str = described(f"{', '.join(questions.OPERATORS)}.")
    value: str = described("What it is compared with: a number with a dot, a day as 2026-03-31, or text.", default="")


@strawberry.input(description="A question to a report. It can only leave something out of what the report says.")
class ReportQuestionInput:
    table: str = described("A table by its key.")
    columns: list[str] = described("Columns by their keys, in this order; none: all.", default_factory=list)
    conditions: list[ReportConditionInput] = described("All of them hold.", default_factory=list)
    order: str | None = described("The column to go by; by default the report's own order.", default=None)
    descending: bool = described("Whether downwards.", default=False)


@strawberry.type(description="What a report says.")
class SettlementReportContent:
    code: str = described("Its place in the catalogue: `R1`.")
    title: str = described("What it is called, in the caller's language.")
    subtitle: str = described("Whose it is.")
    at: datetime = described("The business instant that it speaks of.")
    content_hash: str = described("SHA-256 over what it says, as its files have it.")
    facts: list[ReportFact] = described("Its head.")
    notes: list[str] = described("How it is to be read.")
    heads: list[ReportHead] = described("Every table that it has, whatever was asked.")
    matched: int | None = described(
        f"How many rows match what was asked; {questions.MOST_ROWS} of them at most are here. Null without a question."
    )
    report: strawberry.Private[Report]
    language: strawberry.Private[str]

    @access.field(size=access.ListSize(assumed_size=2), description="Its tables.")
    def tables(self) -> list[ReportTable]:
        return [_table(one, self.language) for one in self.report.tables]


@strawberry.type
class ReportContentQuery:
    @access.query(
        scopes=DESK,
        cost=20,
        description="What a report says. Null where there is nothing to be said: no such report, run or statement. "
        "Movements behind a statement (R2) come by `movements` of its lines.",
    )
    async def settlement_report(
        self,
        info: Info[Context, None],
        code: str,
        run: int | None = None,
        partner: str | None = None,
        as_of: datetime | None = None,
        question: ReportQuestionInput | None = None,
    ) -> SettlementReportContent | None:
        context = info.context
        at = await context.now()
        if as_of is not None and as_of.tzinfo is None:
            raise masking.coded(masking.BAD_USER_INPUT, "`asOf` is an instant with its offset.")
        async with context.services.database.transaction() as connection:
            partner_id = None
            if partner is not None:
                names = await clearing.names(connection)
                partner_id = next((n for n, one in names.items() if one.code == partner), None)
                if partner_id is None:
                    return None
            wanted = Wanted(run, partner_id, at, as_of=as_of)
            try:
                if question is not None:
                    found = await asking.answer(connection, code, wanted, question_of(question))
                    return _content(found.report, context.language, found.tables, found.matched)
                made = await catalogue.make(connection, code, wanted)
            except (QuestionInvalid, QuestionTooLong):
                raise
            except Rejection:
                return None
        if made.long is not None:
            return None
        return _content(made.report, context.language, made.report.tables, None)


def question_of(given: ReportQuestionInput) -> Question:
    """A question as it was given."""
    conditions = tuple(Condition(one.column, one.operator, one.value) for one in given.conditions)
    return Question(given.table, tuple(given.columns), conditions, given.order or "", given.descending)


def _content(report: Report, language: str, tables: Sequence[Table], matched: int | None) -> SettlementReportContent:
    facts = [
        ReportFact(
            key=one.key, title=in_language(one.title, language), kind=_kind(one.kind), value=_shown(one.value, language)
        )
        for one in report.facts
    ]
    return SettlementReportContent(
        code=report.code, title=in_language(report.title, language), subtitle=report.subtitle, at=report.at,
        content_hash=report.content_hash(),
        facts=facts,
        notes=[in_language(note, language) for note in report.notes], report=report, language=language,
        heads=[
            ReportHead(key=one.key, title=in_language(one.title, language), columns=_columns(one, language))
            for one in tables
        ],
        matched=matched,
    )  # fmt: skip


def _table(one: Table, language: str) -> ReportTable:
    totals = one.totals()
    return ReportTable(
        key=one.key, title=in_language(one.title, language),
        note=None if one.note is None else in_language(one.note, language),
        columns=_columns(one, language),
        row_count=len(one.rows), totals=None if totals is None else [machine_text(cell) for cell in totals],
        table=one, language=language,
    )  # fmt: skip


def _columns(one: Table, language: str) -> list[ReportColumn]:
    return [
        ReportColumn(key=c.key, title=in_language(c.title, language), kind=_kind(c.kind), is_summed=c.is_summed)
        for c in one.columns
    ]


def _shown(cell: Cell, language: str) -> str:
    return in_language(cell.words, language) if isinstance(cell, Term) else machine_text(cell)


def _kind(kind: Kind) -> str:
    return str(kind.value)
