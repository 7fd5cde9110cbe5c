"""A till has a member use a right without money: an escort, a lounge."""

from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, described
from gateway.purchase_api import call_of
from gateway.rejections import Rejection
from partners import callers
from partners.mechanics import rights
from partners.mechanics.rights import Use
from partners.tills import recognition


@strawberry.input(description="One of a member's rights that is used here.")
class UseRightInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Whose.")
    right: str = described("The right's code, as `rights` of the member says it.")
    outlet: str = described("The partner's code of the outlet.")
    terminal: str | None = described("The outlet's code of the till.", default=None)


@strawberry.type(description="A right that was used, once.")
class UseRightSuccess:
    right: str = described("Which.")
    left: int = described("How many times the member may have it here still.")
    replayed: bool = described("True when an earlier call used it; nothing was written now.")


UseRightResult = Annotated[
    UseRightSuccess | Rejection, strawberry.union("UseRightResult", description="Done, or the reason.")
]


@strawberry.type
class RightMutation:
    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,),
        moves_points=False,
        description="Has a member use one of the rights that this partner honours, the one that ends first. Points and "
        "money have no part in it, so it takes no proof. Once under a key.",
    )
    async def use_right(self, info: Info[Context, None], input: UseRightInput) -> UseRightResult:
        counter, call = await call_of(info, "useRight", input.idempotency_key)
        place = callers.place_of(counter.directory, counter.caller, input.outlet, input.terminal)
        found = await recognition.identify(
            counter.desk, counter.caller, counter.member_ref(input.member), place.terminal_id, call.at
        )
        wanted = Use(found.member_id, input.right, counter.caller.client_no, place.outlet_id, place.terminal_id)
        here = rights.honoured(counter.directory.shelf.at(call.at, call.at), counter.partner)
        async with counter.desk.database.transaction() as connection:
            left, replayed = await rights.use(connection, wanted, here=here, key=call.idem_key, at=call.at)
        return UseRightSuccess(right=input.right, left=left, replayed=replayed)
