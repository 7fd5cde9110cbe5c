"""Colleagues: a partner's manager sees who signs in for the partner, invites others, and takes it back."""

from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context, Person
from gateway.inputs import KEY, REPLAYED, described
from gateway.purchase_api import counter_of
from gateway.rejections import Rejection
from gateway.sessions import colleagues
from gateway.sessions.views import sender_of
from gateway.types import ColleagueView
from kit import clock
from members.messages import COLLEAGUE
from partners.directory import Partner


@strawberry.input(description="Somebody who is to sign in for this partner.")
class InviteColleagueInput:
    idempotency_key: str = described(KEY)
    name: str = described("What the portal and the audit trail call them; unique at the partner.")
    email: str = described("Where sign-in codes go; it is not shown to anybody again.")
    roles: list[str] = described("One or more of MANAGER, DEVELOPER, FINANCE, CASHIER.")
    language: str = described("The language that they are written to in: en, ru or ro.", default="en")


@strawberry.input(description="Somebody who is to sign in for this partner no more.")
class RemoveColleagueInput:
    idempotency_key: str = described(KEY)
    name: str = described("Their name, as `colleagues` has it.")


@strawberry.type(description="A colleague who may sign in.")
class InviteColleagueSuccess:
    invitation: str | None = described(
        "Good once, for three days, where the portal asks for a code; shown to nobody again. Null in a replay."
    )
    colleagues: list[ColleagueView] = described("All of the partner's, by name.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A colleague who is signed out and stays out.")
class RemoveColleagueSuccess:
    colleagues: list[ColleagueView] = described("All that are left, by name.")
    replayed: bool = described(REPLAYED)


InviteColleagueResult = Annotated[
    InviteColleagueSuccess | Rejection, strawberry.union("InviteColleagueResult", description="Done, or the reason.")
]
RemoveColleagueResult = Annotated[
    RemoveColleagueSuccess | Rejection, strawberry.union("RemoveColleagueResult", description="Done, or the reason.")
]


@strawberry.type
class ColleagueQuery:
    @access.query(
        scopes=(scopes.COLLEAGUES_MANAGE,), cost=10, description="Who signs in for the signed-in manager's partner."
    )
    async def colleagues(self, info: Info[Context, None]) -> list[ColleagueView]:
        partner = (await counter_of(info)).partner
        async with info.context.services.database.reading() as connection:
            return await _everybody(connection, partner)


@strawberry.type
class ColleagueMutation:
    @access.mutation(
        scopes=(scopes.COLLEAGUES_MANAGE,),
        moves_points=False,
        description="Lets somebody sign in for the signed-in manager's partner. Of somebody who may already, changes "
        "roles and address and ends their sessions. Takes a proof of a moment ago.",
    )
    async def invite_colleague(self, info: Info[Context, None], input: InviteColleagueInput) -> InviteColleagueResult:
        partner, services, at = (await counter_of(info)).partner, info.context.services, await info.context.now()
        person, sender = _manager(info), await sender_of(services)
        content = (input.name, input.email, input.language, *sorted(input.roles))
        invitation = None
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "inviteColleague", input.idempotency_key, *content, at=at
            )
            if is_new:
                person_calls.require_fresh(person)
                invitation = await colleagues.invite(
                    connection, services.vault, sender, partner, name=input.name, roles=input.roles,
                    email=input.email, language=input.language, by=person.number, now=clock.wall(),
                )  # fmt: skip
            everybody = await _everybody(connection, partner)
        return InviteColleagueSuccess(invitation=invitation, colleagues=everybody, replayed=not is_new)

    @access.mutation(
        scopes=(scopes.COLLEAGUES_MANAGE,),
        moves_points=False,
        description="Lets a colleague sign in no more and ends their sessions. Takes a proof of a moment ago.",
    )
    async def remove_colleague(self, info: Info[Context, None], input: RemoveColleagueInput) -> RemoveColleagueResult:
        partner, services, at = (await counter_of(info)).partner, info.context.services, await info.context.now()
        person = _manager(info)
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "removeColleague", input.idempotency_key, input.name, at=at
            )
            if is_new:
                person_calls.require_fresh(person)
                await colleagues.remove(connection, partner, name=input.name, by=person.number, now=clock.wall())
            everybody = await _everybody(connection, partner)
        return RemoveColleagueSuccess(colleagues=everybody, replayed=not is_new)


def _manager(info: Info[Context, None]) -> Person:
    return person_calls.person_of(info.context.viewer, COLLEAGUE)


async def _everybody(connection: AsyncConnection, partner: Partner) -> list[ColleagueView]:
    found = await colleagues.everybody(connection, partner.partner_id, now=clock.wall())
    return [ColleagueView(name=each.name, roles=sorted(each.roles)) for each in found]
