"""Questions to reports that people of finance keep over GraphQL: their own and those that are shared. Answering one is
`settlementReport` with its question, under the rights of whoever asks then.
"""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, connections, person_calls
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import DESK, person
from gateway.finance.report_content_api import ReportQuestionInput, question_of
from gateway.inputs import KEY, REPLAYED, described
from gateway.person_calls import PersonCall
from gateway.rejections import Rejection
from settlement.reports import asking
from settlement.reports.asking import Asked, Kept, QuestionUnknown


@strawberry.input(description="A question that is to be kept. What is kept is the question, never an answer.")
class SaveQuestionInput:
    idempotency_key: str = described(KEY)
    name: str = described(f"At most {asking.LONGEST_NAME} characters.")
    is_shared: bool = described("Whether everybody of finance sees it.", default=False)
    report: str = described("Code of the report.")
    run: int | None = described("Of which run; by default whichever is the latest when it is asked.", default=None)
    partner: str | None = described("Code of the partner, where it is about one.", default=None)
    as_of: datetime | None = described("As of when, where the report can tell that; by default now.", default=None)
    question: ReportQuestionInput = described("What is asked.")


@strawberry.input(description="A question that is kept no more.")
class DropQuestionInput:
    idempotency_key: str = described(KEY)
    number: int = described("Its number; of the own ones.")


@strawberry.type(description="What a row has to be like.")
class ReportCondition:
    column: str = described("A column by its key.")
    operator: str = described("How it is compared.")
    value: str = described("With what.")


@strawberry.type(description="A question to a report that somebody keeps.")
class SavedQuestion:
    number: int = described("Its number.")
    name: str = described("What it is called.")
    owner: str = described("Who keeps it.")
    is_own: bool = described("Whether that is who asks.")
    is_shared: bool = described("Whether everybody of finance sees it.")
    report: str = described("Code of the report.")
    run: int | None = described("Of which run; null: the latest.")
    partner: str | None = described("Code of the partner.")
    as_of: datetime | None = described("As of when; null: now.")
    table: str = described("A table by its key.")
    columns: list[str] = described("Columns by their keys; none: all.")
    conditions: list[ReportCondition] = described("All of them hold.")
    order: str | None = described("The column to go by.")
    descending: bool = described("Whether downwards.")
    kept_at: datetime = described("Business instant.")


@strawberry.type(description="The question as it is kept.")
class SaveQuestionSuccess:
    question: SavedQuestion = described("The question.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="It is kept no more.")
class DropQuestionSuccess:
    replayed: bool = described(REPLAYED)


SaveQuestionResult = Annotated[
    SaveQuestionSuccess | Rejection, strawberry.union("SaveQuestionResult", description="Kept, or the reason.")
]
DropQuestionResult = Annotated[
    DropQuestionSuccess | Rejection, strawberry.union("DropQuestionResult", description="Dropped, or the reason.")
]


@strawberry.type
class QuestionQuery:
    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Questions to reports: the own and those that are shared, in the order they were kept.",
    )
    async def saved_questions(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SavedQuestion]:
        services, who = info.context.services, person(info).number
        cursors = Cursors(services.vault, "saved question")
        async with services.database.reading() as connection:
            rows = await asking.page(
                connection, owner_id=who, after=cursors.read(after) or 0, limit=connections.bounded(first) + 1
            )
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.question_id),
            node=lambda row: _question(row, who),
        )  # fmt: skip

    @access.query(scopes=DESK, description="One question. Null where there is none, or it is another's own.")
    async def saved_question(self, info: Info[Context, None], number: int) -> SavedQuestion | None:
        who = person(info).number
        async with info.context.services.database.reading() as connection:
            try:
                return _question(await asking.read(connection, number, owner_id=who), who)
            except QuestionUnknown:
                return None


@strawberry.type
class QuestionMutation:
    @access.mutation(scopes=DESK, moves_points=False, description="Keeps a question to a report.")
    async def save_question(self, info: Info[Context, None], input: SaveQuestionInput) -> SaveQuestionResult:
        services, at, who = info.context.services, await info.context.now(), person(info)
        asked = Asked(input.report, question_of(input.question), input.run, input.partner, input.as_of)
        content = (input.name, str(input.is_shared), repr(asked))
        call = PersonCall(who, "saveQuestion", input.idempotency_key, content, at)
        async with services.database.transaction() as connection:

            async def keep() -> int:
                return await asking.keep(
                    connection, asked, name=input.name, is_shared=input.is_shared, owner_id=who.number, at=at
                )

            number, replayed = await person_calls.numbered(connection, services.vault, call, keep)
            its = await asking.read(connection, number, owner_id=who.number)
        return SaveQuestionSuccess(question=_question(its, who.number), replayed=replayed)

    @access.mutation(scopes=DESK, moves_points=False, description="Keeps a question of one's own no more.")
    async def drop_question(self, info: Info[Context, None], input: DropQuestionInput) -> DropQuestionResult:
        services, at, who = info.context.services, await info.context.now(), person(info)
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, who, "dropQuestion", input.idempotency_key, str(input.number), at=at
            )
            if is_new:
                await asking.drop(connection, input.number, owner_id=who.number, at=at)
        return DropQuestionSuccess(replayed=not is_new)


def _question(row: Kept, who: int) -> SavedQuestion:
    asked, its = row.asked, row.asked.question
    return SavedQuestion(
        number=row.question_id, name=row.name, owner=row.owner, is_own=row.owner_id == who, is_shared=row.is_shared,
        report=asked.report, run=asked.run_id, partner=asked.partner, as_of=asked.as_of, table=its.table,
        columns=list(its.columns),
        conditions=[
            ReportCondition(column=one.column, operator=one.operator, value=one.value) for one in its.conditions
        ],
        order=its.order or None, descending=its.descending, kept_at=row.at,
    )  # fmt: skip
