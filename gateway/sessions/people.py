"""Who is signed in at the browser that sent a request. For every page that has to know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.context import Services
from gateway.oauth.desk import partner_is_active
from gateway.sessions import colleagues, forms, session, staff
from gateway.sessions.cookies import jar_of
from gateway.sessions.session import Person, Session
from kit import actors
from members import identification
from members.cards import MemberClosed, MemberUnknown
from members.identification import MemberRef
from members.messages import COLLEAGUE, MEMBER, STAFF

OPERATOR = 0
PREFIXES = {MEMBER: "", STAFF: "/staff", COLLEAGUE: "/portal"}


@dataclass(frozen=True, slots=True)
class Member:
    """A member who is signed in. csrf goes into the forms of the page; language is what they are written to in."""

    session: Session
    member_id: int
    language: str
    csrf: str


@dataclass(frozen=True, slots=True)
class Staff:
    """An actor who is signed in, with the roles held at this moment. csrf goes into the forms of the page."""

    session: Session
    actor_id: int
    name: str
    roles: frozenset[str]
    csrf: str


@dataclass(frozen=True, slots=True)
class Colleague:
    """A partner's colleague who is signed in, with the roles at the partner held at this moment."""

    session: Session
    actor_id: int
    partner_id: int
    name: str
    roles: frozenset[str]
    scopes: frozenset[str]
    csrf: str


AnyPerson = Member | Staff | Colleague


async def signed_in(request: Request) -> Member | Staff | None:
    """Whoever is signed in at this browser; of both, the member. Pages that know their audience ask for it alone."""
    return await signed_in_member(request) or await signed_in_staff(request)


async def signed_in_member(request: Request) -> Member | None:
    """The member who is signed in at this browser."""
    found = await _found(request, MEMBER)
    if found is None:
        return None
    current, csrf = found
    async with _services(request).database.reading() as connection:
        language = await member_language(connection, _services(request), current.person.number, now_of(request))
    return None if language is None else Member(current, current.person.number, language, csrf)


async def signed_in_staff(request: Request) -> Staff | None:
    """The actor who is signed in at this browser."""
    found = await _found(request, STAFF)
    if found is None:
        return None
    current, csrf = found
    async with _services(request).database.reading() as connection:
        if not await staff.may_sign_in(connection, current.person.number):
            return None
        name, roles = await actors.standing(connection, current.person.number)
    return Staff(current, current.person.number, name, roles, csrf)


async def signed_in_colleague(request: Request) -> Colleague | None:
    """The colleague who is signed in at this browser; nobody while their partner is suspended."""
    found = await _found(request, COLLEAGUE)
    if found is None:
        return None
    current, csrf = found
    async with _services(request).database.reading() as connection:
        who = await colleagues.standing(connection, current.person.number, now=now_of(request))
    if who is None or not await _takes_part(_services(request), who.partner_id):
        return None
    return Colleague(current, who.actor_id, who.partner_id, who.name, who.roles, who.scopes, csrf)


async def signed_in_as(request: Request, audience: str) -> AnyPerson | None:
    """Whoever of an audience is signed in at this browser."""
    if audience == MEMBER:
        return await signed_in_member(request)
    return await (signed_in_colleague if audience == COLLEAGUE else signed_in_staff)(request)


def ask_to_sign_in(request: Request, audience: str, *, onward: str | None = None) -> Response:
    """To the sign-in page, and back here (or to another path of ours) afterwards."""
    return RedirectResponse(f"{PREFIXES[audience]}/sign-in?next={_next(request, onward)}", 303)


def ask_to_confirm(request: Request, audience: str, *, onward: str | None = None) -> Response:
    """To the page that asks for a fresh proof (StepUpRequired), and back here (or elsewhere) afterwards."""
    return RedirectResponse(f"{PREFIXES[audience]}/confirm?next={_next(request, onward)}", 303)


def now_of(request: Request) -> datetime:
    """The wall's instant, by the clock that sign-in goes by."""
    instant: datetime = request.app.state.oauth.now()
    return instant


async def stands(connection: AsyncConnection, services: Services, person: Person, now: datetime) -> bool:
    """Whether somebody may be signed in at all: a member who has not left, staff and colleagues not removed."""
    if person.audience == STAFF:
        return await staff.may_sign_in(connection, person.number)
    if person.audience == COLLEAGUE:
        who = await colleagues.standing(connection, person.number, now=now)
        return who is not None and await _takes_part(services, who.partner_id)
    return await member_language(connection, services, person.number, now) is not None


async def member_language(connection: AsyncConnection, services: Services, member_id: int, now: datetime) -> str | None:
    """The language that a member is written to in; None where they are no member any more."""
    ref = MemberRef(id=member_id)
    try:
        found = await identification.identify(
            connection, services.vault, ref, partner_id=OPERATOR, terminal_id=None, at=now
        )
    except (MemberUnknown, MemberClosed):
        return None
    return found.language


async def _takes_part(services: Services, partner_id: int) -> bool:
    return partner_is_active(await services.directory.get(), partner_id)


async def _found(request: Request, audience: str) -> tuple[Session, str] | None:
    token = jar_of(request, audience).session(request)
    if token is None:
        return None
    services = _services(request)
    async with services.database.reading() as connection:
        current = await session.find(connection, audience, token, now=now_of(request))
    return None if current is None else (current, forms.token_for(services.vault, token))


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _next(request: Request, onward: str | None) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return quote(forms.local_path(onward or request.url.path + query, "/"), safe="")
