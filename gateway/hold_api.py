"""Two-phase redemption: points are set aside, then captured or let go. Capturing for a purchase is recordPurchase's."""

from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.hold_inputs import CaptureHoldInput, PlaceHoldInput, ReleaseHoldInput
from gateway.hold_types import CaptureHoldSuccess, PlaceHoldSuccess, ReleaseHoldSuccess, hold
from gateway.purchase_api import call_of, hold_ref, proof_of, shown
from gateway.rejections import Rejection
from gateway.types import Redemption
from partners.holds import holds
from partners.tills import tills

PlaceHoldResult = Annotated[
    PlaceHoldSuccess | Rejection, strawberry.union("PlaceHoldResult", description="A hold, or the reason.")
]
CaptureHoldResult = Annotated[
    CaptureHoldSuccess | Rejection, strawberry.union("CaptureHoldResult", description="A redemption, or the reason.")
]
ReleaseHoldResult = Annotated[
    ReleaseHoldSuccess | Rejection, strawberry.union("ReleaseHoldResult", description="The hold, or the reason.")
]


@strawberry.type
class HoldMutation:
    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,),
        description="Sets points aside for a sale that is not finished: nobody else can spend them until they are "
        "captured, released, or their time runs out.",
    )
    async def place_hold(self, info: Info[Context, None], input: PlaceHoldInput) -> PlaceHoldResult:
        counter, call = await call_of(info, "placeHold", input.idempotency_key)
        done = await tills.place_hold(
            counter.desk,
            call,
            counter.member_ref(input.member),
            input.outlet,
            input.terminal,
            input.wish(),
            proof=proof_of(counter, input.proof),
        )
        return PlaceHoldSuccess(done=done, language=info.context.language, hold=hold(counter.partner, done.hold))

    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,),
        description="Spends what is set aside, whole or in part, on a reward or a service; what is not captured goes "
        "back. For a purchase, name the hold in recordPurchase instead.",
    )
    async def capture_hold(self, info: Info[Context, None], input: CaptureHoldInput) -> CaptureHoldResult:
        counter, call = await call_of(info, "captureHold", input.idempotency_key)
        ref = hold_ref(counter.partner, input.hold_id)
        done = await tills.capture_hold(counter.desk, call, ref, input.receipt(), asked=input.points)
        now = await holds.own(counter.desk, counter.caller, ref, at=call.at)
        return CaptureHoldSuccess(
            done=done,
            language=info.context.language,
            hold=hold(counter.partner, now),
            transaction=shown(info, counter, done, Redemption),
        )

    @access.mutation(scopes=(scopes.POINTS_REDEEM,), description="Lets a hold go: its points are the member's again.")
    async def release_hold(self, info: Info[Context, None], input: ReleaseHoldInput) -> ReleaseHoldResult:
        counter, call = await call_of(info, "releaseHold", input.idempotency_key)
        done = await tills.release_hold(counter.desk, call, hold_ref(counter.partner, input.hold_id))
        return ReleaseHoldSuccess(done=done, language=info.context.language, hold=hold(counter.partner, done.hold))
