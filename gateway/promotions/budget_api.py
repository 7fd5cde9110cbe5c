"""Budgets by GraphQL: what rules count against, how much of it is used, its limit, payments into it, and more of one
that a published release counts against, which takes two people.
"""

from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, person_calls, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import REPLAYED, described
from gateway.promotions.marketers import MARKETERS, Marketer, marketer_of, party
from gateway.promotions.rule_inputs import (
    AddBudgetInput,
    ApproveBudgetProposalInput,
    DeclineBudgetProposalInput,
    FundBudgetInput,
    SetBudgetLimitInput,
    WithdrawBudgetProposalInput,
)
from gateway.promotions.rule_types import Budget, BudgetProposal, budget_of, proposal_of
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from kit.amounts import minor_from_decimal
from kit.approvals import ProposalUnknown
from partners.promotions import budget_proposals, budgets
from partners.promotions.budgets import BudgetInvalid, BudgetUnknown

_MOST_FUNDED_MINOR = 10**15
_AT_ONCE = 0  # what is kept of a change that no proposal came of


@strawberry.type(description="A budget as it is now.")
class BudgetChange:
    budget: Budget = described("The budget.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A budget that is there.")
class AddBudgetSuccess(BudgetChange):
    pass


_PROPOSAL = "What waits for a second person now, or did when this was asked first; null: it counts already."


@strawberry.type(description="A budget with another limit, or one that was proposed.")
class SetBudgetLimitSuccess(BudgetChange):
    proposal: BudgetProposal | None = described(_PROPOSAL)


@strawberry.type(description="A budget that was paid into, or a payment that was proposed.")
class FundBudgetSuccess(BudgetChange):
    proposal: BudgetProposal | None = described(_PROPOSAL)


@strawberry.type(description="A proposal about a budget, and what became of it.")
class BudgetProposalChange:
    proposal: BudgetProposal = described("The proposal.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="More of a budget that counts from now on.")
class ApproveBudgetProposalSuccess(BudgetProposalChange):
    pass


@strawberry.type(description="More of a budget that will not be.")
class DeclineBudgetProposalSuccess(BudgetProposalChange):
    pass


@strawberry.type(description="A proposal that was taken back.")
class WithdrawBudgetProposalSuccess(BudgetProposalChange):
    pass


AddBudgetResult = Annotated[
    AddBudgetSuccess | Rejection, strawberry.union("AddBudgetResult", description="The budget, or the reason.")
]
SetBudgetLimitResult = Annotated[
    SetBudgetLimitSuccess | Rejection,
    strawberry.union("SetBudgetLimitResult", description="The budget, or the reason."),
]
FundBudgetResult = Annotated[
    FundBudgetSuccess | Rejection, strawberry.union("FundBudgetResult", description="The budget, or the reason.")
]

ApproveBudgetProposalResult = Annotated[
    ApproveBudgetProposalSuccess | Rejection,
    strawberry.union("ApproveBudgetProposalResult", description="The proposal, or the reason."),
]
DeclineBudgetProposalResult = Annotated[
    DeclineBudgetProposalSuccess | Rejection,
    strawberry.union("DeclineBudgetProposalResult", description="The proposal, or the reason."),
]
WithdrawBudgetProposalResult = Annotated[
    WithdrawBudgetProposalSuccess | Rejection,
    strawberry.union("WithdrawBudgetProposalResult", description="The proposal, or the reason."),
]


@strawberry.type
class BudgetQuery:
    @access.query(scopes=MARKETERS, size=access.paged(), description="Budgets in the order in which they were added.")
    async def budgets(self, info: Info[Context, None], first: First = 20, after: After = None) -> Connection[Budget]:
        cursors = Cursors(info.context.services.vault, "budget")
        behind, wanted = cursors.read(after), connections.bounded(first) + 1
        shown = await marketer_of(info, await info.context.now()).shown()
        async with info.context.services.database.reading() as connection:
            found = await budgets.page(connection, after=behind, limit=wanted)
        return connections.page(
            found, first, after=after, cursor=lambda row: cursors.write(row[0]),
            node=lambda row: budget_of(shown, row[1]),
        )  # fmt: skip

    @access.query(scopes=MARKETERS, description="A budget and what is used of it. Null where there is none.")
    async def budget_usage(self, info: Info[Context, None], code: str) -> Budget | None:
        shown = await marketer_of(info, await info.context.now()).shown()
        try:
            async with info.context.services.database.reading() as connection:
                return budget_of(shown, await budgets.read(connection, code))
        except BudgetUnknown:
            return None

    @access.query(
        scopes=MARKETERS,
        size=access.ListSize(assumed_size=3),
        description="What a budget of money may be in: currencies in which a point has a value.",
    )
    async def budget_currencies(self, info: Info[Context, None]) -> list[CurrencyCode]:
        async with info.context.services.database.reading() as connection:
            return [CurrencyCode(code) for code in await budgets.currencies(connection)]

    @access.query(
        scopes=MARKETERS,
        size=access.paged(),
        description="What waits for a second person about budgets, the oldest first.",
    )
    async def budget_proposals(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[BudgetProposal]:
        cursors = Cursors(info.context.services.vault, "budget proposal")
        behind, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        shown = await marketer_of(info, await info.context.now()).shown()
        async with info.context.services.database.reading() as connection:
            found = [one for one in await budget_proposals.waiting(connection) if one.number > behind]
        return connections.page(
            found[:wanted], first, after=after, cursor=lambda one: cursors.write(one.number),
            node=lambda one: proposal_of(shown, one),
        )  # fmt: skip

    @access.query(
        scopes=MARKETERS,
        description="A proposal about a budget, whatever became of it. Null where there is none of this number.",
    )
    async def budget_proposal(self, info: Info[Context, None], number: int) -> BudgetProposal | None:
        try:
            return await _decided(marketer_of(info, await info.context.now()), number)
        except ProposalUnknown:
            return None


@strawberry.type
class BudgetMutation:
    @access.mutation(
        scopes=(scopes.RULES_EDIT,), moves_points=False, description="Adds a budget, which rules may count against."
    )
    async def add_budget(self, info: Info[Context, None], input: AddBudgetInput) -> AddBudgetResult:
        async def add(connection: AsyncConnection) -> None:
            await budgets.add(
                connection, source=input.document(), sponsor_id=await party(connection, input.sponsor),
                actor=marketer.person.number, at=marketer.at, currency=input.currency_code,
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        content = (str(sorted(input.document().items())), input.currency_code or "", input.sponsor or "")
        replayed = await marketer.once("addBudget", input.idempotency_key, add, *content)
        return AddBudgetSuccess(budget=await _budget(marketer, input.code), replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Sets how much of a budget of points or times may be used. What is used stays used. More takes a "
        "proof of a moment ago, and of a budget that a published release counts against a second person.",
    )
    async def set_budget_limit(self, info: Info[Context, None], input: SetBudgetLimitInput) -> SetBudgetLimitResult:
        async def change(connection: AsyncConnection) -> int:
            if input.limit > (await budgets.read(connection, input.budget)).ceiling:
                person_calls.require_fresh(marketer.person)
            proposal = await budget_proposals.set_limit(
                connection, input.budget, input.limit, cover=cover, actor=marketer.person.number, at=marketer.at
            )
            return proposal or _AT_ONCE

        marketer = marketer_of(info, await info.context.now())
        cover = input.told_cover((await marketer.shown()).directory.programme)
        content = (input.budget, str(input.limit), *(() if cover is None else (str(cover),)))
        number, replayed = await marketer.numbered("setBudgetLimit", input.idempotency_key, change, *content)
        return SetBudgetLimitSuccess(
            budget=await _budget(marketer, input.budget), proposal=await _proposal(marketer, number), replayed=replayed
        )

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Records a payment into a budget of money. Takes a proof of a moment ago, and where a published "
        "release counts against the budget a second person.",
    )
    async def fund_budget(self, info: Info[Context, None], input: FundBudgetInput) -> FundBudgetResult:
        async def fund(connection: AsyncConnection) -> int:
            person_calls.require_fresh(marketer.person)
            currency = (await budgets.read(connection, input.budget)).currency or ""
            try:
                amount_minor = minor_from_decimal(input.amount, currency)
            except ValueError as error:
                raise BudgetInvalid("the amount is not a whole number of minor units") from error
            if amount_minor > _MOST_FUNDED_MINOR:
                raise BudgetInvalid("the amount is too large to be one payment")
            proposal = await budget_proposals.fund(
                connection, input.budget, amount_minor, payer_id=await party(connection, input.payer),
                reference=input.reference, actor=marketer.person.number, at=marketer.at,
            )  # fmt: skip
            return proposal or _AT_ONCE

        marketer = marketer_of(info, await info.context.now())
        content = (input.budget, str(input.amount), input.payer or "", input.reference)
        number, replayed = await marketer.numbered("fundBudget", input.idempotency_key, fund, *content)
        return FundBudgetSuccess(
            budget=await _budget(marketer, input.budget), proposal=await _proposal(marketer, number), replayed=replayed
        )

    @access.mutation(
        scopes=(scopes.RULES_APPROVE,),
        moves_points=False,
        description="Lets more of a budget be used, as somebody else proposed; in spite of its gate where that is "
        "said. Takes a proof of a moment ago.",
    )
    async def approve_budget_proposal(
        self, info: Info[Context, None], input: ApproveBudgetProposalInput
    ) -> ApproveBudgetProposalResult:
        async def approve(connection: AsyncConnection) -> None:
            person_calls.require_fresh(marketer.person)
            await budget_proposals.approve(
                connection, input.proposal, checker=marketer.person.number, at=marketer.at, in_spite=input.in_spite,
                reason=input.reason,
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        content = (str(input.proposal), str(input.in_spite), input.reason or "")
        replayed = await marketer.once("approveBudgetProposal", input.idempotency_key, approve, *content)
        return ApproveBudgetProposalSuccess(proposal=await _decided(marketer, input.proposal), replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_APPROVE,),
        moves_points=False,
        description="Refuses more of a budget that somebody else proposed.",
    )
    async def decline_budget_proposal(
        self, info: Info[Context, None], input: DeclineBudgetProposalInput
    ) -> DeclineBudgetProposalResult:
        async def decline(connection: AsyncConnection) -> None:
            await budget_proposals.decline(
                connection, input.proposal, checker=marketer.person.number, at=marketer.at, reason=input.reason
            )

        marketer = marketer_of(info, await info.context.now())
        content = (str(input.proposal), input.reason or "")
        replayed = await marketer.once("declineBudgetProposal", input.idempotency_key, decline, *content)
        return DeclineBudgetProposalSuccess(proposal=await _decided(marketer, input.proposal), replayed=replayed)

    @access.mutation(scopes=(scopes.RULES_EDIT,), moves_points=False, description="Takes a proposal of one's own back.")
    async def withdraw_budget_proposal(
        self, info: Info[Context, None], input: WithdrawBudgetProposalInput
    ) -> WithdrawBudgetProposalResult:
        async def withdraw(connection: AsyncConnection) -> None:
            await budget_proposals.withdraw(
                connection, input.proposal, maker=marketer.person.number, at=marketer.at
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        replayed = await marketer.once(
            "withdrawBudgetProposal", input.idempotency_key, withdraw, str(input.proposal)
        )  # fmt: skip
        return WithdrawBudgetProposalSuccess(proposal=await _decided(marketer, input.proposal), replayed=replayed)


async def _budget(marketer: Marketer, code: str) -> Budget:
    async with marketer.services.database.reading() as connection:
        return budget_of(await marketer.shown(), await budgets.read(connection, code))


async def _proposal(marketer: Marketer, number: int) -> BudgetProposal | None:
    return None if number == _AT_ONCE else await _decided(marketer, number)


async def _decided(marketer: Marketer, number: int) -> BudgetProposal:
    async with marketer.services.database.reading() as connection:
        return proposal_of(await marketer.shown(), await budget_proposals.read(connection, number))
