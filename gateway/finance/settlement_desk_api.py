"""What people of finance do over GraphQL in their own name: runs, calendars, tax rules, and what another proposed.

Every call takes a proof of a moment ago, is done once under its key, and is as open as at the terminal: the role asks,
and what takes two people takes two people. A partner's book-keeper accepts a statement of the own partner.
"""

from datetime import date, datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, masking, scopes
from gateway.context import Context
from gateway.finance.answers import FinanceResult, ProposalResult, done, proposed
from gateway.finance.calls import DECIDE, MAKE, known_as, once, person
from gateway.finance.settlement_types import SettlementRun, run_of
from gateway.finance.statement_api import SettlementStatement, statement_by_id
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from members.messages import COLLEAGUE
from settlement import archive, proposals, runs
from settlement.documents import taxes
from settlement.documents.drawing import TaxRule
from settlement.runs import StatementUnknown

_RUN = "Number of a run."
_REASON = "A sentence; it stays for ever."
STEPS = {"CALCULATED": runs.calculate, "CONTROLLED": runs.control, "IN_REVIEW": runs.issue}


@strawberry.input(description="A run for every currency with balanced windows.")
class StartSettlementRunsInput:
    idempotency_key: str = described(KEY)


@strawberry.input(description="A run's next step.")
class MoveSettlementRunInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)
    to: str = described("CALCULATED, CONTROLLED, or IN_REVIEW, which issues statements and documents.")


@strawberry.input(description="The decision on a run whose review is over.")
class DecideSettlementRunInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)
    approved: bool = described("False ends it, and takes its documents back by others.")
    reason: str | None = described("Why it ends; needed where it is not approved.", default=None)


@strawberry.input(description="A run that is to end before its statements are issued.")
class EndSettlementRunInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)
    reason: str = described(_REASON)
    supersede: bool = described("Whether a new version of it is drafted in its place.", default=False)


@strawberry.input(description="A statement that its partner accepts.")
class AcceptSettlementStatementInput:
    idempotency_key: str = described(KEY)
    statement_id: strawberry.ID = described("Id of the statement.")


@strawberry.input(description="A day on which nobody works.")
class DeclareHolidayInput:
    idempotency_key: str = described(KEY)
    day: date = described("The day.")
    name: str = described("What it is called.")


@strawberry.input(description="A version of a tax rule.")
class ProposeTaxRuleInput:
    idempotency_key: str = described(KEY)
    code: str = described("The rule in capitals, as agreements name it.")
    rate_bp: int = described("Basis points.")
    rounding: str = described("LINE or DOCUMENT.", default="LINE")
    tax_code: str = described("What documents call it.")
    valid_from: datetime = described("From when it holds.")


@strawberry.input(description="What another of finance proposed.")
class DecideFinanceProposalInput:
    idempotency_key: str = described(KEY)
    proposal: int = described("Its number.")
    approved: bool = described("Whether it is to be done.")


@strawberry.type(description="Runs that are under way.")
class SettlementRunsSuccess:
    runs: list[SettlementRun] = described("Those that are not issued yet.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A run as it stands now.")
class SettlementRunSuccess:
    run: SettlementRun = described("The run; a new one where it was superseded.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A statement that its partner accepted.")
class AcceptSettlementStatementSuccess:
    statement: SettlementStatement = described("The statement.")
    replayed: bool = described(REPLAYED)


SettlementRunsResult = Annotated[
    SettlementRunsSuccess | Rejection, strawberry.union("SettlementRunsResult", description="Done, or the reason.")
]
SettlementRunResult = Annotated[
    SettlementRunSuccess | Rejection, strawberry.union("SettlementRunResult", description="Done, or the reason.")
]
AcceptSettlementStatementResult = Annotated[
    AcceptSettlementStatementSuccess | Rejection,
    strawberry.union("AcceptSettlementStatementResult", description="Done, or the reason."),
]


@strawberry.type
class SettlementMutation:
    @access.mutation(
        scopes=MAKE, moves_points=False, description="Drafts a run for every currency with balanced windows."
    )
    async def start_settlement_runs(
        self, info: Info[Context, None], input: StartSettlementRunsInput
    ) -> SettlementRunsResult:
        async def begin(connection: AsyncConnection, actor: str, at: datetime) -> list[int]:
            return await runs.begin(connection, actor=actor, at=at)

        _, is_new = await once(info, "startSettlementRuns", input.idempotency_key, begin)
        async with info.context.services.database.reading() as connection:
            under_way = [run_of(r) for r in await archive.runs(connection) if r.state in runs.UNFINISHED]
        return SettlementRunsSuccess(runs=under_way, replayed=not is_new)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        cost=50,
        description="Does a run's next step: calculates it, holds it against every control and a second engine, or "
        "issues its statements and documents.",
    )
    async def move_settlement_run(
        self, info: Info[Context, None], input: MoveSettlementRunInput
    ) -> SettlementRunResult:
        step = STEPS.get(input.to)
        if step is None:
            raise masking.coded(masking.BAD_USER_INPUT, f"`to` is one of {', '.join(STEPS)}.")

        async def move(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await step(connection, input.run, actor=actor, at=at)

        _, is_new = await once(info, "moveSettlementRun", input.idempotency_key, move, str(input.run), input.to)
        return await _run(info, input.run, is_new=is_new)

    @access.mutation(
        scopes=DECIDE,
        moves_points=False,
        description="Approves a run whose review is over, or ends it; somebody else than who made it.",
    )
    async def decide_settlement_run(
        self, info: Info[Context, None], input: DecideSettlementRunInput
    ) -> SettlementRunResult:
        async def decide(connection: AsyncConnection, actor: str, at: datetime) -> None:
            if input.approved:
                await runs.approve(connection, input.run, actor=actor, at=at)
            else:
                await runs.abort(connection, input.run, actor=actor, reason=input.reason or "", at=at)

        content = (str(input.run), str(input.approved), input.reason or "")
        _, is_new = await once(info, "decideSettlementRun", input.idempotency_key, decide, *content)
        return await _run(info, input.run, is_new=is_new)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Ends a run before its statements are issued, or starts it anew."
    )
    async def end_settlement_run(self, info: Info[Context, None], input: EndSettlementRunInput) -> SettlementRunResult:
        async def end(connection: AsyncConnection, actor: str, at: datetime) -> int:
            if input.supersede:
                return await runs.supersede(connection, input.run, actor=actor, reason=input.reason, at=at)
            await runs.abort(connection, input.run, actor=actor, reason=input.reason, at=at)
            return input.run

        content = (str(input.run), str(input.supersede), input.reason)
        number, is_new = await once(info, "endSettlementRun", input.idempotency_key, end, *content)
        return await _run(info, number or input.run, is_new=is_new)

    @access.mutation(
        scopes=(scopes.STATEMENTS_ACCEPT,),
        moves_points=False,
        description="Accepts a statement of the own partner before its time to object is over.",
    )
    async def accept_settlement_statement(
        self, info: Info[Context, None], input: AcceptSettlementStatementInput
    ) -> AcceptSettlementStatementResult:
        found = await statement_by_id(info.context, input.statement_id)
        partner_id = info.context.viewer.partner_id
        if found is None or partner_id is None:
            raise StatementUnknown("there is no such statement of this partner")
        number, whose = found.statement.statement_id, await known_as(info, person(info, COLLEAGUE))

        async def accept(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await runs.accept(connection, number, partner_id=partner_id, actor=whose, at=at)

        _, is_new = await once(
            info, "acceptSettlementStatement", input.idempotency_key, accept, str(number), audience=COLLEAGUE
        )
        return AcceptSettlementStatementSuccess(statement=found, replayed=not is_new)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Declares a day on which nobody works; reviews keep their end."
    )
    async def declare_holiday(self, info: Info[Context, None], input: DeclareHolidayInput) -> FinanceResult:
        async def declare(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await runs.declare_holiday(connection, day=input.day, name=input.name, actor=actor, at=at)

        content = (input.day.isoformat(), input.name)
        return await done(info, "declareHoliday", input.idempotency_key, declare, *content)

    @access.mutation(scopes=MAKE, moves_points=False, description="Proposes a version of a tax rule.")
    async def propose_tax_rule(self, info: Info[Context, None], input: ProposeTaxRuleInput) -> ProposalResult:
        rule = TaxRule(
            code=input.code, version=0, rate_bp=input.rate_bp, rounding=input.rounding, tax_code=input.tax_code
        )

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            return await taxes.propose(connection, rule=rule, valid_from=input.valid_from, maker=actor, at=at)

        content = (rule.code, str(rule.rate_bp), rule.rounding, rule.tax_code, input.valid_from.isoformat())
        return await proposed(info, "proposeTaxRule", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=DECIDE, moves_points=False, description="Decides what another of finance proposed, and does it."
    )
    async def decide_finance_proposal(
        self, info: Info[Context, None], input: DecideFinanceProposalInput
    ) -> FinanceResult:
        async def decide(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await proposals.decide(connection, input.proposal, checker=actor, approved=input.approved, at=at)

        content = (str(input.proposal), str(input.approved))
        return await done(info, "decideFinanceProposal", input.idempotency_key, decide, *content)


async def _run(info: Info[Context, None], number: int, *, is_new: bool) -> SettlementRunSuccess:
    async with info.context.services.database.reading() as connection:
        return SettlementRunSuccess(run=run_of(await archive.head(connection, number)), replayed=not is_new)
