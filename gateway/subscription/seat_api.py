"""Seats of a subscription: its owner offers one and takes it back, a guest takes it and gives it up."""

from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.own_ids import MEMBER, read_any_own_id
from gateway.rejections import Rejection
from gateway.subscription.subscription_api import SubscriptionDecision, did, member_id_of, number_of, once
from members.subscription import seats, subscriptions
from members.subscription.subscriptions import Subscription

_ID = "The subscription, as `own { subscriptions }` names it."


@strawberry.input(description="A seat for somebody else.")
class OfferSeatInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described(_ID)
    guest_id: strawberry.ID = described("The id that the guest's own app shows, which they told.")


@strawberry.input(description="A seat that was offered to the signed-in member, or that they have.")
class SeatInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described("The id that `own { seats }` shows.")


@strawberry.input(description="A seat that its owner takes back.")
class RemoveSeatInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described(_ID)
    number: int = described("Which seat, as `seats` numbers it.")


@strawberry.type(description="The seat is offered.")
class OfferSeatSuccess(SubscriptionDecision):
    pass


@strawberry.type(description="The seat is the signed-in member's.")
class AcceptSeatSuccess:
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The seat is given up.")
class LeaveSeatSuccess:
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The seat is nobody's any more; it can be offered again from its `freeAt` on.")
class RemoveSeatSuccess(SubscriptionDecision):
    pass


OfferSeatResult = Annotated[
    OfferSeatSuccess | Rejection, strawberry.union("OfferSeatResult", description="Done, or the reason.")
]
AcceptSeatResult = Annotated[
    AcceptSeatSuccess | Rejection, strawberry.union("AcceptSeatResult", description="Done, or the reason.")
]
LeaveSeatResult = Annotated[
    LeaveSeatSuccess | Rejection, strawberry.union("LeaveSeatResult", description="Done, or the reason.")
]
RemoveSeatResult = Annotated[
    RemoveSeatSuccess | Rejection, strawberry.union("RemoveSeatResult", description="Done, or the reason.")
]


@strawberry.type
class SeatMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Offers somebody a seat in the signed-in member's subscription; it counts when they take it.",
    )
    async def offer_seat(self, info: Info[Context, None], input: OfferSeatInput) -> OfferSeatResult:
        async def offer(connection: AsyncConnection, at: datetime) -> Subscription:
            its = await subscriptions.own(connection, member_id, number)
            guest = read_any_own_id(info.context.services.vault, MEMBER, input.guest_id)
            if guest is None:
                raise seats.SeatUnknown("nobody shows this id in their app")
            await seats.invite(connection, member_id, number, member_id=guest, at=at)
            return its

        member_id, number = member_id_of(info), number_of(info, input.subscription_id)
        content = (input.subscription_id, input.guest_id)
        its, replayed = await once(info, "offerSeat", input.idempotency_key, offer, *content, number=number)
        return OfferSeatSuccess(subscription=its, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member takes a seat that was offered to them.",
    )
    async def accept_seat(self, info: Info[Context, None], input: SeatInput) -> AcceptSeatResult:
        async def accept(connection: AsyncConnection, at: datetime) -> None:
            await seats.accept(connection, member_id, number, at=at)

        member_id, number = member_id_of(info), number_of(info, input.subscription_id, no=seats.SeatUnknown)
        done = await did(info, "acceptSeat", input.idempotency_key, accept, input.subscription_id)
        return AcceptSeatSuccess(replayed=not done)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member gives up the seat that they have, or that was offered to them.",
    )
    async def leave_seat(self, info: Info[Context, None], input: SeatInput) -> LeaveSeatResult:
        async def leave(connection: AsyncConnection, at: datetime) -> None:
            await seats.remove(connection, member_id, number, member_id=member_id, at=at)

        member_id, number = member_id_of(info), number_of(info, input.subscription_id, no=seats.SeatUnknown)
        done = await did(info, "leaveSeat", input.idempotency_key, leave, input.subscription_id)
        return LeaveSeatSuccess(replayed=not done)

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

        member_id = member_id_of(info)
        number = number_of(info, input.subscription_id)
        content = (input.subscription_id, str(input.number))
        its, replayed = await once(info, "removeSeat", input.idempotency_key, remove, *content, number=number)
        return RemoveSeatSuccess(subscription=its, replayed=replayed)
