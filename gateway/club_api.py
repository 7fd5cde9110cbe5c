"""Closed clubs: somebody of the operator's lets a member in."""

from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from members import identification
from members.identification import MemberRef
from members.messages import STAFF
from partners.mechanics import clubs

_OPERATOR = 0


@strawberry.input(description="A member who is let into a closed club.")
class InviteToClubInput:
    idempotency_key: str = described(KEY)
    card_number: str = described("The number on one of the member's cards.")
    badge: str = described("The badge that lets into the club.")


@strawberry.type(description="A member who is in the club.")
class InviteToClubSuccess:
    badge: str = described("The badge that the member bears.")
    replayed: bool = described(REPLAYED)


InviteToClubResult = Annotated[
    InviteToClubSuccess | Rejection, strawberry.union("InviteToClubResult", description="Done, or the reason.")
]


@strawberry.type
class ClubMutation:
    @access.mutation(
        scopes=(scopes.CLUBS_INVITE,),
        moves_points=False,
        description="Lets a member into a closed club, whose offers nobody else sees or can use.",
    )
    async def invite_to_club(self, info: Info[Context, None], input: InviteToClubInput) -> InviteToClubResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, STAFF)
        content = (input.card_number, input.badge)
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "inviteToClub", input.idempotency_key, *content, at=at
            )
            if is_new:
                found = await identification.identify(
                    connection, services.vault, MemberRef(card_number=input.card_number), partner_id=_OPERATOR,
                    terminal_id=None, at=at,
                )  # fmt: skip
                await clubs.invite(connection, found.member_id, input.badge, actor=person.number, at=at)
        return InviteToClubSuccess(badge=input.badge, replayed=not is_new)
