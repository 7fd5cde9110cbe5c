"""What people of finance do over GraphQL in their own name: runs, proposals, deposits, calendars, agreements.

Every call takes a proof of a moment ago, is done once under its key, and is as open as at the terminal: the role asks,
and what takes two people takes two people. A partner's book-keeper accepts a statement of the own partner.
"""

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, masking, scopes
from gateway.context import Context
from gateway.finance.answers import FinanceResult, ProposalResult, done, proposed
from gateway.finance.calls import once, person
from gateway.finance.settlement_types import SettlementRun, run_of
from gateway.finance.statement_api import SettlementStatement, statement_by_id
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from kit.errors import FieldProblem
from members.messages import COLLEAGUE
from partners import agreements, drafts, onboarding
from partners.agreements import AgreementUnknown
from settlement import proposals, runs
from settlement.documents import taxes
from settlement.documents.drawing import TaxRule
from settlement.exposure import defaults, deposits
from settlement.exposure.deposits import DepositInvalid
from settlement.money import stock
from settlement.money.stock import Handover
from settlement.rating import OPERATOR
from settlement.runs import StatementUnknown

MAKE, DECIDE = (scopes.SETTLEMENT_MAKE,), (scopes.SETTLEMENT_DECIDE,)

_RUN = "Number of a run."
_PARTNER = "Code of a partner."
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


@strawberry.input(description="Money that a partner deposits, or is given back.")
class DepositInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    amount: Decimal = described("Above zero, at most six decimals.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    reference: str = described("The bank's own number.")


@strawberry.input(description="A partner that did not pay for a run.")
class ProposeDefaultCoverInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)
    partner: str = described(_PARTNER)


@strawberry.input(description="Points already out there that are to be funded otherwise.")
class ProposeBuyOutInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    version: int = described("The version of its agreement that they were issued under.")
    billed_fund_micro: int = described("What of the fund part is billed from then on, micro-units a point.")
    paid: Decimal | None = described("What the partner pays in all; by default the difference at face.", default=None)
    reason: str = described(_REASON)


@strawberry.input(description="A partner that leaves: somebody else carries its points from then on.")
class ProposeExitInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    carrier: str | None = described("Code of whoever carries them; by default the operator.", default=None)
    reason: str = described(_REASON)


@strawberry.input(description="What another of finance proposed.")
class DecideFinanceProposalInput:
    idempotency_key: str = described(KEY)
    proposal: int = described("Its number.")
    approved: bool = described("Whether it is to be done.")


@strawberry.input(description="A term that is to say something else.")
class TermInput:
    name: str = described("Its name, as `agreements` has it.")
    value: str = described("Written as `agreements` writes it.")


@strawberry.input(description="The next version of an agreement: the last approved one, but for some terms.")
class ProposeAgreementInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    valid_from: datetime = described("In force from here.")
    terms: list[TermInput] = described("What is to change.")


@strawberry.input(description="A version of an agreement that another proposed.")
class DecideAgreementInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    version: int = described("Its number.")
    approved: bool = described("Whether it is signed.")


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
            under_way = [run_of(r) for r in await runs.runs(connection) if r.state in runs.UNFINISHED]
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
        number = found.statement.statement_id
        partner = (await info.context.services.directory.get()).partner(partner_id)
        assert partner is not None

        async def accept(connection: AsyncConnection, actor: str, at: datetime) -> None:
            whose = f"{partner.code}/{actor}"  # as the trail knows a partner's people
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

    @access.mutation(scopes=MAKE, moves_points=False, description="Records what a partner deposited.")
    async def record_deposit(self, info: Info[Context, None], input: DepositInput) -> FinanceResult:
        amount = _micro(input.amount)

        async def record(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await deposits.record(
                connection, await onboarding.partner_id_of(connection, input.partner), currency=input.currency_code,
                amount_micro=amount, reference=input.reference, actor=actor, at=at,
            )  # fmt: skip

        content = (input.partner, str(amount), input.currency_code, input.reference)
        return await done(info, "recordDeposit", input.idempotency_key, record, *content)

    @access.mutation(scopes=MAKE, moves_points=False, description="Proposes to give a part of a deposit back.")
    async def propose_deposit_return(self, info: Info[Context, None], input: DepositInput) -> ProposalResult:
        amount = _micro(input.amount)

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            return await deposits.propose_return(
                connection, await onboarding.partner_id_of(connection, input.partner), currency=input.currency_code,
                amount_micro=amount, reference=input.reference, maker=actor, at=at,
            )  # fmt: skip

        content = (input.partner, str(amount), input.currency_code, input.reference)
        return await proposed(info, "proposeDepositReturn", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Proposes to cover what a partner did not pay: prefunding, holdback, collateral, the operator's "
        "own.",
    )
    async def propose_default_cover(self, info: Info[Context, None], input: ProposeDefaultCoverInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            return await defaults.propose(connection, input.run, partner_id, maker=actor, at=at)

        content = (str(input.run), input.partner)
        return await proposed(info, "proposeDefaultCover", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Proposes that points already out there are funded otherwise."
    )
    async def propose_buy_out(self, info: Info[Context, None], input: ProposeBuyOutInput) -> ProposalResult:
        paid = None if input.paid is None else _micro(input.paid)

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            signed = await _version(connection, partner_id, input.version)
            handover = Handover(partner_id, signed.terms.terms_id, partner_id, input.billed_fund_micro, paid)
            maker = person(info).number
            return await stock.propose_transfer(connection, [handover], reason=input.reason, maker=maker, at=at)

        content = (input.partner, str(input.version), str(input.billed_fund_micro), str(paid), input.reason)
        return await proposed(info, "proposeBuyOut", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Proposes that somebody else carries a leaving partner's points."
    )
    async def propose_exit(self, info: Info[Context, None], input: ProposeExitInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            carrier = OPERATOR if input.carrier is None else await onboarding.partner_id_of(connection, input.carrier)
            handovers = await stock.exit_handovers(connection, partner_id, carrier_id=carrier, paid_micro={})
            maker = person(info).number
            return await stock.propose_transfer(connection, handovers, reason=input.reason, maker=maker, at=at)

        content = (input.partner, input.carrier or "", input.reason)
        return await proposed(info, "proposeExit", input.idempotency_key, propose, *content)

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

    @access.mutation(
        scopes=(scopes.AGREEMENTS_MAKE,),
        moves_points=False,
        description="Proposes the next version of a partner's agreement; what is not said stays as it is.",
    )
    async def propose_agreement(self, info: Info[Context, None], input: ProposeAgreementInput) -> ProposalResult:
        said = {one.name: one.value for one in input.terms}

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            signed = [v for v in await agreements.versions(connection, partner_id) if v.state == "APPROVED"]
            if not signed:
                problem = FieldProblem(("partner",), "UNKNOWN", "nothing is signed yet that could be followed")
                raise agreements.AgreementInvalid("the first version is proposed whole", problems=[problem])
            changed = drafts.changed(drafts.of_version(signed[-1]), said)
            draft = replace(changed, valid_from=input.valid_from)
            maker = person(info).number
            terms_id = await agreements.propose(connection, partner_id=partner_id, draft=draft, maker=maker, at=at)
            return next(
                v.terms.version
                for v in await agreements.versions(connection, partner_id)
                if v.terms.terms_id == terms_id
            )

        written = (f"{name}={value}" for name, value in sorted(said.items()))
        content = (input.partner, input.valid_from.isoformat(), *written)
        return await proposed(info, "proposeAgreement", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=(scopes.AGREEMENTS_DECIDE,),
        moves_points=False,
        description="Signs a version of an agreement that another proposed, or declines it.",
    )
    async def decide_agreement(self, info: Info[Context, None], input: DecideAgreementInput) -> FinanceResult:
        async def decide(connection: AsyncConnection, actor: str, at: datetime) -> None:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            found = await _version(connection, partner_id, input.version)
            act = agreements.approve if input.approved else agreements.decline
            await act(connection, found.terms.terms_id, checker=person(info).number, at=at)

        content = (input.partner, str(input.version), str(input.approved))
        return await done(info, "decideAgreement", input.idempotency_key, decide, *content)


async def _run(info: Info[Context, None], number: int, *, is_new: bool) -> SettlementRunSuccess:
    async with info.context.services.database.reading() as connection:
        return SettlementRunSuccess(run=run_of(await runs.head(connection, number)), replayed=not is_new)


async def _version(connection: AsyncConnection, partner_id: int, version: int) -> agreements.Version:
    found = await agreements.versions(connection, partner_id)
    its = next((one for one in found if one.terms.version == version), None)
    if its is None:
        raise AgreementUnknown(f"the partner's agreement has no version {version}")
    return its


def _micro(amount: Decimal) -> int:
    """An amount in micro-units. Rejects DEPOSIT_INVALID."""
    scaled = amount.scaleb(6)
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or abs(scaled) > 10**18:
        raise DepositInvalid("an amount has at most six decimals")
    return int(scaled)
