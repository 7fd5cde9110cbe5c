"""What people of finance are answered who have something done or proposed: that it is, or the reason."""

from typing import Annotated, TypeVar

import strawberry
from strawberry import Info

from gateway.context import Context
from gateway.finance.calls import Do, once
from gateway.inputs import REPLAYED, described
from gateway.rejections import Rejection

Done = TypeVar("Done")


@strawberry.type(description="It waits for somebody else.")
class ProposalSuccess:
    number: int | None = described("Number of the proposal, or of the version. Null in a replay.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="It is done.")
class FinanceSuccess:
    replayed: bool = described(REPLAYED)


ProposalResult = Annotated[
    ProposalSuccess | Rejection, strawberry.union("ProposalResult", description="Proposed, or the reason.")
]
FinanceResult = Annotated[
    FinanceSuccess | Rejection, strawberry.union("FinanceResult", description="Done, or the reason.")
]


async def proposed(info: Info[Context, None], operation: str, key: str, do: Do[int], *content: str) -> ProposalSuccess:
    """Propose something in the person's name, once under their key; the proposal's number where it was made now."""
    number, is_new = await once(info, operation, key, do, *content)
    return ProposalSuccess(number=number, replayed=not is_new)


async def done(info: Info[Context, None], operation: str, key: str, do: Do[Done], *content: str) -> FinanceSuccess:
    """Do something in the person's name, once under their key."""
    _, is_new = await once(info, operation, key, do, *content)
    return FinanceSuccess(replayed=not is_new)
