"""Coupons that a till keeps for a receipt that is not paid yet."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, ReceiptRefInput, described
from gateway.purchase_api import call_of
from gateway.rejections import Rejection
from partners.tills import tills


@strawberry.input(description="Coupons to be kept for a receipt that is not paid yet.")
class ReserveCouponsInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Who shows them.")
    receipt: ReceiptRefInput = described("The receipt that they are kept for: the purchase under it uses them.")
    coupons: list[str] = described("Codes of coupons that are shown.")


@strawberry.input(description="Coupons to be let go that were kept for a receipt.")
class ReleaseCouponsInput:
    idempotency_key: str = described(KEY)
    receipt: ReceiptRefInput = described("The receipt that they were kept for.")
    coupons: list[str] = described("Their codes.")


@strawberry.type(description="Coupons that nobody else uses for a while.")
class ReserveCouponsSuccess:
    valid_until: datetime = described("Until when they are kept; the same call again begins anew.")


@strawberry.type(description="Coupons that anybody may use again.")
class ReleaseCouponsSuccess:
    released: int = described("How many of them were kept for the receipt.")


ReserveCouponsResult = Annotated[
    ReserveCouponsSuccess | Rejection,
    strawberry.union("ReserveCouponsResult", description="Until when, or the reason."),
]
ReleaseCouponsResult = Annotated[
    ReleaseCouponsSuccess | Rejection, strawberry.union("ReleaseCouponsResult", description="How many, or the reason.")
]


@strawberry.type
class CouponMutation:
    @access.mutation(
        scopes=(scopes.POINTS_ACCRUE,),
        moves_points=False,
        description="Keeps coupons for a receipt for a quarter of an hour, all or none. May be repeated.",
    )
    async def reserve_coupons(self, info: Info[Context, None], input: ReserveCouponsInput) -> ReserveCouponsResult:
        counter, call = await call_of(info, "reserveCoupons", input.idempotency_key)
        shown = tills.Coupons(tuple(input.coupons), call.wall_at)
        until = await tills.reserve_coupons(
            counter.desk, call, counter.member_ref(input.member), input.receipt.ref(), shown
        )
        return ReserveCouponsSuccess(valid_until=until)

    @access.mutation(
        scopes=(scopes.POINTS_ACCRUE,),
        moves_points=False,
        description="Lets go coupons that were kept for a receipt. May be repeated.",
    )
    async def release_coupons(self, info: Info[Context, None], input: ReleaseCouponsInput) -> ReleaseCouponsResult:
        counter, call = await call_of(info, "releaseCoupons", input.idempotency_key)
        shown = tills.Coupons(tuple(input.coupons), call.wall_at)
        return ReleaseCouponsSuccess(
            released=await tills.release_coupons(counter.desk, call, input.receipt.ref(), shown)
        )
