"""Members bring members: who is signed in draws a code to give away, and a till tells who came by one. And a member's
own yes to a personal offer.
"""

from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, purchase_api, scopes
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, described
from gateway.membership.membership_api import own_member
from gateway.person_calls import PersonCall
from gateway.rejections import Rejection
from gateway.types import Member, member_id_for
from members import identification
from members.identification import MemberRef
from members.messages import MEMBER
from partners import callers, calls
from partners.agreements.onboarding import PartnerUnknown
from partners.callers import Caller
from partners.coupons.guesses import Asking
from partners.desk import Desk
from partners.mechanics import invitations, offers
from partners.tills import recognition

_OPERATOR = 0
_NO_NUMBER = 0
_LONGEST_DEVICE = 200


@strawberry.input(description="An invitation that the signed-in member wants to give away.")
class InviteFriendInput:
    idempotency_key: str = described(KEY)


@strawberry.input(description="Somebody who came by a member's invitation.")
class AcceptInvitationInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Who came; enrolled already.")
    code: str = described("The code that they show.")
    device: str | None = described("What tells their device from others, where that is known.", default=None)
    outlet: str | None = described(
        "The partner's code of the outlet; needed, with the till, where the member is named by a visit.", default=None
    )
    terminal: str | None = described("The outlet's code of the till.", default=None)


@strawberry.input(description="The signed-in member's yes to a personal offer.")
class AcceptOfferInput:
    idempotency_key: str = described(KEY)
    partner: str = described("Code of the partner where it is on offer.")
    promotion: str = described("The offer's `activation`.")


@strawberry.type(description="An invitation to give away.")
class InviteFriendSuccess:
    invitation: str | None = described(
        "The code, told once; null in a replay: ask for another one, older ones stay good."
    )
    replayed: bool = described("True when an earlier call drew it; nothing was written now.")


@strawberry.type(description="Somebody who came, and counts if they buy and keep it.")
class AcceptInvitationSuccess:
    member_id: strawberry.ID = described("Our id of the member, as this partner knows it.")
    replayed: bool = described("True when an earlier call told it; nothing was written now.")


@strawberry.type(description="A personal offer that counts from now on.")
class AcceptOfferSuccess:
    promotion: str = described("Which.")
    member: Member = described("The member as they are now.")


InviteFriendResult = Annotated[
    InviteFriendSuccess | Rejection, strawberry.union("InviteFriendResult", description="The code, or the reason.")
]
AcceptInvitationResult = Annotated[
    AcceptInvitationSuccess | Rejection, strawberry.union("AcceptInvitationResult", description="Done, or the reason.")
]
AcceptOfferResult = Annotated[
    AcceptOfferSuccess | Rejection, strawberry.union("AcceptOfferResult", description="Done, or the reason.")
]


@strawberry.type
class ReferralMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Draws a code that the signed-in member gives to a friend. When the friend buys and keeps it, both "
        "are given what the programme says.",
    )
    async def invite_friend(self, info: Info[Context, None], input: InviteFriendInput) -> InviteFriendResult:
        async def draw(connection: AsyncConnection) -> int:
            drawn.append(
                await invitations.draw(connection, services.vault, person.number, device=None, at=call.at)
            )  # fmt: skip
            return _NO_NUMBER

        services, person = info.context.services, person_calls.person_of(info.context.viewer, MEMBER)
        drawn: list[str] = []
        call = PersonCall(person, "inviteFriend", input.idempotency_key, (), await info.context.now())
        async with services.database.transaction() as connection:
            _, replayed = await person_calls.numbered(connection, services.vault, call, lambda: draw(connection))
        return InviteFriendSuccess(invitation=drawn[0] if drawn else None, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBERS_ENROL,),
        moves_points=False,
        description="Tells that a member came by another's invitation. Why one does not count is told to nobody.",
    )
    async def accept_invitation(
        self, info: Info[Context, None], input: AcceptInvitationInput
    ) -> AcceptInvitationResult:
        counter, call = await purchase_api.call_of(info, "acceptInvitation", input.idempotency_key)
        terminal_id = None
        if input.outlet is not None:
            place = callers.place_of(counter.directory, counter.caller, input.outlet, input.terminal)
            terminal_id = place.terminal_id
        found = await recognition.identify(
            counter.desk, counter.caller, counter.member_ref(input.member), terminal_id, call.at
        )
        asking = Asking(found.member_id, terminal_id, counter.caller.client_no)
        replayed = await invitations.accept(
            counter.desk.database, counter.desk.vault, input.code, asking=asking,
            partner_id=counter.partner.partner_id, device=(input.device or "")[:_LONGEST_DEVICE] or None,
            idem_key=call.idem_key, at=call.at, now=call.wall_at,
        )  # fmt: skip
        return AcceptInvitationSuccess(member_id=member_id_for(counter.partner, found.member_id), replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member says yes to a personal offer, which counts from then on. May be repeated.",
    )
    async def accept_offer(self, info: Info[Context, None], input: AcceptOfferInput) -> AcceptOfferResult:
        person = person_calls.person_of(info.context.viewer, MEMBER)
        calls.check_key(input.idempotency_key)
        desk: Desk = info.context.services.lanes
        partner = (await desk.directory.get()).partner_by_code(input.partner)
        if partner is None:
            raise PartnerUnknown("there is no such partner")
        at = await info.context.now()
        async with desk.database.reading() as connection:
            found = await identification.identify(
                connection, desk.vault, MemberRef(id=person.number), partner_id=_OPERATOR, terminal_id=None, at=at
            )
        caller = Caller(partner.partner_id, info.context.viewer.client_no)
        await offers.activate(desk, caller, found, input.promotion, at=at)
        return AcceptOfferSuccess(promotion=input.promotion, member=await own_member(info))
