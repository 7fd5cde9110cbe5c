"""Closing a cut-off over GraphQL, in the name of whoever of finance is signed in."""

from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.finance.settlement_types import SettlementCutoff, cutoff_of
from gateway.inputs import KEY, described
from gateway.rejections import Rejection
from members.messages import STAFF
from settlement import closing


@strawberry.input(description="The open cut-off, which is to be closed.")
class CloseSettlementCutoffInput:
    idempotency_key: str = described(KEY)
    cutoff: int = described("Its number, so that nobody closes the next one by mistake.")


@strawberry.type(description="A cut-off that is closed: what is recorded from now on belongs to the next.")
class CloseSettlementCutoffSuccess:
    cutoff: SettlementCutoff = described("It, with its counts.")
    replayed: bool = described("True when an earlier call closed it; nothing was written now.")


CloseSettlementCutoffResult = Annotated[
    CloseSettlementCutoffSuccess | Rejection,
    strawberry.union("CloseSettlementCutoffResult", description="Closed, or the reason."),
]


@strawberry.type
class CutoffMutation:
    @access.mutation(
        scopes=(scopes.SETTLEMENT_MAKE,),
        moves_points=False,
        cost=50,
        description="Closes the open cut-off and balances its windows, so that a run can settle them.",
    )
    async def close_settlement_cutoff(
        self, info: Info[Context, None], input: CloseSettlementCutoffInput
    ) -> CloseSettlementCutoffResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, STAFF)

        async def is_new(connection: AsyncConnection) -> bool:
            name, key = "closeSettlementCutoff", input.idempotency_key
            return await person_calls.is_new(connection, services.vault, person, name, key, str(input.cutoff), at=at)

        closed, was_new = await closing.close(
            services.database,
            input.cutoff,
            actor=person.name,
            at=at,
            is_new=is_new,
            permit=lambda: person_calls.require_fresh(person),
        )
        return CloseSettlementCutoffSuccess(cutoff=cutoff_of(closed), replayed=not was_new)
