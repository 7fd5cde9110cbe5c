"""Viewers: what somebody who is signed in at a browser may ask over GraphQL, made of who they are at this moment.

A member has their own membership, staff what their roles open, a partner's colleague what the roles at that partner do.
Of all these a partner's cashiers alone have the scopes of a till, for the page that is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import Request

from gateway import scopes
from gateway.context import Person, Services, Viewer
from gateway.sessions import people
from gateway.sessions.people import AnyPerson, Colleague, Member
from kit import actors
from members.identification import MemberRef, identify

MEMBERS_APP = (-1, "cl_membersapp0000000000")
STAFF_CONSOLE = (-2, "cl_staffconsole00000000")
PARTNER_PORTAL = (-3, "cl_partnerportal0000000")

_STAFF = frozenset({scopes.SCHEMA_READ})
_BY_ROLE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        actors.OPERATOR_ADMIN: frozenset({scopes.CLOCK_ADVANCE}),
        actors.ONBOARDING: frozenset({scopes.CLUBS_INVITE}),
        actors.AGREEMENT_MAKER: frozenset({scopes.AGREEMENTS_MAKE}),
        actors.AGREEMENT_CHECKER: frozenset({scopes.AGREEMENTS_DECIDE}),
        actors.FINANCE_MAKER: frozenset({scopes.SETTLEMENT_READ, scopes.SETTLEMENT_MAKE}),
        actors.FINANCE_CHECKER: frozenset({scopes.SETTLEMENT_READ, scopes.SETTLEMENT_DECIDE}),
        actors.MEMBER_CARE_MAKER: frozenset(),
        actors.MEMBER_CARE_CHECKER: frozenset(),
        actors.PROMOTION_MAKER: frozenset({scopes.RULES_READ, scopes.RULES_EDIT}),
        actors.PROMOTION_CHECKER: frozenset({scopes.RULES_READ, scopes.RULES_APPROVE}),
    }
)


async def viewer_at(request: Request, audience: str) -> Viewer | None:
    """Whoever of an audience is signed in at the browser that sent a request, with their rights; None for nobody."""
    found = await people.signed_in_as(request, audience)
    return None if found is None else await viewer_of(request, found)


async def viewer_of(request: Request, found: AnyPerson) -> Viewer:
    """Somebody who is signed in, with the rights of this moment. For pages that have looked who it is."""
    session = found.session
    is_fresh = session.is_fresh(people.now_of(request))
    if isinstance(found, Member):
        member_id = await _survivor(request.app.state.services, found.member_id)
        person = Person(session.person.audience, member_id, "", frozenset(), is_fresh, session.session_id)
        return Viewer(
            *MEMBERS_APP, partner_id=None, scopes=frozenset({scopes.MEMBER_SELF}), member_id=member_id, person=person
        )
    person = Person(session.person.audience, found.actor_id, found.name, found.roles, is_fresh, session.session_id)
    if isinstance(found, Colleague):
        return Viewer(
            *PARTNER_PORTAL, partner_id=found.partner_id, scopes=found.scopes, actor_id=found.actor_id, person=person
        )
    return Viewer(
        *STAFF_CONSOLE, partner_id=None, scopes=scopes_of(found.roles), actor_id=found.actor_id, person=person
    )


def scopes_of(roles: frozenset[str]) -> frozenset[str]:
    """What staff may do over GraphQL by the roles of the programme that they hold."""
    return _STAFF.union(*(_BY_ROLE[role] for role in roles))


async def _survivor(services: Services, member_id: int) -> int:
    """The member that a number stands for, who may be another since two became one."""
    async with services.database.reading() as connection:
        at = await services.now()
        found = await identify(
            connection, services.vault, MemberRef(id=member_id), partner_id=people.OPERATOR, terminal_id=None, at=at
        )
    return found.member_id
