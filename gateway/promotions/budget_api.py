"""Budgets by GraphQL: what rules count against, how much of it is used, its limit, and payments into it."""

from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, person_calls, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import REPLAYED, described
from gateway.promotions.marketers import MARKETERS, Marketer, marketer_of, party
from gateway.promotions.rule_inputs import AddBudgetInput, FundBudgetInput, SetBudgetLimitInput
from gateway.promotions.rule_types import Budget, budget_of
from gateway.rejections import Rejection
from kit.amounts import minor_from_decimal
from partners.promotions import budgets
from partners.promotions.budgets import BudgetInvalid, BudgetUnknown

_MOST_FUNDED_MINOR = 10**15


@strawberry.type(description="A budget as it is now.")
class BudgetChange:
    budget: Budget = described("The budget.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A budget that is there.")
class AddBudgetSuccess(BudgetChange):
    pass


@strawberry.type(description="A budget with another limit.")
class SetBudgetLimitSuccess(BudgetChange):
    pass


@strawberry.type(description="A budget that was paid into.")
class FundBudgetSuccess(BudgetChange):
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
        "proof of a moment ago.",
    )
    async def set_budget_limit(self, info: Info[Context, None], input: SetBudgetLimitInput) -> SetBudgetLimitResult:
        async def change(connection: AsyncConnection) -> None:
            if input.limit > (await budgets.read(connection, input.budget)).ceiling:
                person_calls.require_fresh(marketer.person)
            await budgets.set_limit(
                connection, input.budget, input.limit, actor=marketer.person.number, at=marketer.at
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        content = (input.budget, str(input.limit))
        replayed = await marketer.once("setBudgetLimit", input.idempotency_key, change, *content)
        return SetBudgetLimitSuccess(budget=await _budget(marketer, input.budget), replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Records a payment into a budget of money. Takes a proof of a moment ago.",
    )
    async def fund_budget(self, info: Info[Context, None], input: FundBudgetInput) -> FundBudgetResult:
        async def fund(connection: AsyncConnection) -> None:
            person_calls.require_fresh(marketer.person)
            currency = (await budgets.read(connection, input.budget)).currency or ""
            try:
                amount_minor = minor_from_decimal(input.amount, currency)
            except ValueError as error:
                raise BudgetInvalid("the amount is not a whole number of minor units") from error
            if amount_minor > _MOST_FUNDED_MINOR:
                raise BudgetInvalid("the amount is too large to be one payment")
            await budgets.fund(
                connection, input.budget, amount_minor, payer_id=await party(connection, input.payer),
                reference=input.reference, actor=marketer.person.number, at=marketer.at,
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        content = (input.budget, str(input.amount), input.payer or "", input.reference)
        replayed = await marketer.once("fundBudget", input.idempotency_key, fund, *content)
        return FundBudgetSuccess(budget=await _budget(marketer, input.budget), replayed=replayed)


async def _budget(marketer: Marketer, code: str) -> Budget:
    async with marketer.services.database.reading() as connection:
        return budget_of(await marketer.shown(), await budgets.read(connection, code))
