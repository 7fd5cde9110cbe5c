"""Seats of a subscription that its owner takes back."""

from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, scopes, subscription_api
from gateway.context import Context
from gateway.hold_inputs import KEY
from gateway.inputs import described
from gateway.rejections import Rejection
from gateway.subscription_api import SubscriptionDecision
from members.subscription import seats, subscriptions
from members.subscription.subscriptions import Subscription


@strawberry.input(description="A seat that its owner takes back.")
class RemoveSeatInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described("The subscription, as `own { subscriptions }` names it.")
    number: int = described("Which seat, as `seats` numbers it.")


@strawberry.type(description="The seat is nobody's any more; it can be offered again from its `freeAt` on.")
class RemoveSeatSuccess(SubscriptionDecision):
    pass


RemoveSeatResult = Annotated[
    RemoveSeatSuccess | Rejection, strawberry.union("RemoveSeatResult", description="Done, or the reason.")
]


@strawberry.type
class SeatMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Takes back a seat in the signed-in member's subscription, taken or only offered.",
    )
    async def remove_seat(self, info: Info[Context, None], input: RemoveSeatInput) -> RemoveSeatResult:
        async def remove(connection: AsyncConnection, at: datetime) -> Subscription:
            its = await subscriptions.own(connection, member_id, number)
            held = await seats.seats(connection, its.holder_id, number)
            seat = next((one for one in held if one.seat_no == input.number and one.removed_at is None), None)
            if seat is None:
                raise seats.SeatUnknown("the subscription has no such seat")
            await seats.remove(connection, member_id, number, member_id=seat.member_id, at=at)
            return its

        member_id = subscription_api.member_id_of(info)
        number = subscription_api.number_of(info, input.subscription_id)
        content = (input.subscription_id, str(input.number))
        its, replayed = await subscription_api.once(
            info, "removeSeat", input.idempotency_key, remove, *content, number=number
        )
        return RemoveSeatSuccess(subscription=its, replayed=replayed)
