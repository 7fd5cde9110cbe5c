"""The pages of whoever is signed in: where else they are, their passkeys, how we write to them; and signing out."""

from __future__ import annotations

from functools import lru_cache
from uuid import uuid4
from zoneinfo import available_timezones

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.context import LANGUAGES
from gateway.messages import letters
from gateway.messages.notices import zone_of
from gateway.sessions import codes, forms, passkeys, people, session, views
from gateway.sessions.answers import at_of, has_passkeys, json_no, json_of, services_of, signed_out, site_of
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import PREFIXES, Member
from gateway.sessions.session import Person
from kit.errors import Rejection
from members import messages
from members.messages import MEMBER, AddressUnknown


async def security(request: Request, audience: str) -> Response:
    """GET …/security: sessions, passkeys, and how we write."""
    found = await people.signed_in_as(request, audience)
    if found is None:
        return people.ask_to_sign_in(request, audience)
    return await _security_page(request, audience, found)


async def sign_out(request: Request, audience: str) -> Response:
    """POST …/sign-out: ends the session at this browser."""
    found, _ = await _change(request, audience)
    async with services_of(request).database.transaction() as connection:
        await session.end(connection, found.session, now=people.now_of(request))
    return signed_out(request, audience)


async def end_session(request: Request, audience: str) -> Response:
    """POST …/security/end: ends another session of the same person."""
    found, fields = await _change(request, audience)
    async with services_of(request).database.transaction() as connection:
        await session.end_one(connection, found.session, _number(fields, "session"), now=people.now_of(request))
    return RedirectResponse(f"{PREFIXES[audience]}/security", 303)


async def end_all(request: Request, audience: str) -> Response:
    """POST …/security/end-all: signs out everywhere, here too."""
    found, _ = await _change(request, audience)
    async with services_of(request).database.transaction() as connection:
        await session.end_all(connection, found.session.person, now=people.now_of(request))
        await _tell(request, connection, found.session.person, letters.SIGNED_OUT_EVERYWHERE)
    request.app.state.post.wake()
    return signed_out(request, audience)


async def manner(request: Request, audience: str) -> Response:
    """POST /security/manner: sets how we write to a member."""
    found, fields = await _change(request, audience)
    try:
        async with services_of(request).database.transaction() as connection:
            await messages.set_manner(
                connection, found.session.person.number,
                language=fields.get("language", ""), time_zone=fields.get("time_zone") or None,
            )  # fmt: skip
    except Rejection as no:
        return await _security_page(request, audience, found, problem=no.code, status=422)
    return RedirectResponse("/security?saved=1#manner", 303)


async def addition_options(request: Request, audience: str) -> Response:
    """POST …/security/passkeys/options: a challenge for a new passkey. Takes a fresh proof."""
    found, holder, _ = await _script_change(request, audience)
    services = services_of(request)
    try:
        found.session.require_fresh(people.now_of(request))
        async with services.database.transaction() as connection:
            options = await passkeys.addition_options(
                connection, services.vault, await site_of(request), found.session.person,
                holder=holder, now=people.now_of(request),
            )  # fmt: skip
    except Rejection as no:
        return json_no(no)
    return json_of(options)


async def add_passkey(request: Request, audience: str) -> Response:
    """POST …/security/passkeys: adds the passkey that the browser made. Takes a fresh proof."""
    found, holder, told = await _script_change(request, audience)
    answer = told.get("credential")
    try:
        found.session.require_fresh(people.now_of(request))
        async with services_of(request).database.transaction() as connection:
            await passkeys.add(
                connection, await site_of(request), found.session.person, answer if isinstance(answer, dict) else {},
                holder=holder, now=people.now_of(request),
            )  # fmt: skip
            await _tell(request, connection, found.session.person, letters.PASSKEY_ADDED)
    except Rejection as no:
        return json_no(no)
    request.app.state.post.wake()
    return json_of({"next": f"{PREFIXES[audience]}/security"})


async def remove_passkey(request: Request, audience: str) -> Response:
    """POST …/security/passkeys/remove: removes a passkey. Takes a fresh proof."""
    found, fields = await _change(request, audience)
    if not found.session.is_fresh(people.now_of(request)):
        return RedirectResponse(f"{PREFIXES[audience]}/confirm?next={PREFIXES[audience]}/security", 303)
    try:
        async with services_of(request).database.transaction() as connection:
            await passkeys.remove(
                connection, found.session.person, _number(fields, "passkey"), now=people.now_of(request)
            )
            await _tell(request, connection, found.session.person, letters.PASSKEY_REMOVED)
    except Rejection as no:
        return await _security_page(request, audience, found, problem=no.code, status=422)
    request.app.state.post.wake()
    return RedirectResponse(f"{PREFIXES[audience]}/security", 303)


async def _change(request: Request, audience: str) -> tuple[people.AnyPerson, dict[str, str]]:
    """Whoever is signed in and the form that our page sent for them. Raises HTTPException (403) else."""
    token = jar_of(request, audience).session(request)
    fields = await forms.read_form(request, services_of(request).vault, token)
    found = await people.signed_in_as(request, audience)
    if found is None:
        raise HTTPException(403, "not signed in")
    return found, fields


async def _script_change(request: Request, audience: str) -> tuple[people.AnyPerson, str, dict[str, object]]:
    token = jar_of(request, audience).session(request)
    told = await forms.read_json(request, services_of(request).vault, token)
    found = await people.signed_in_as(request, audience)
    if found is None or token is None:
        raise HTTPException(403, "not signed in")
    return found, token, told


async def _tell(request: Request, connection: AsyncConnection, person: Person, what: str) -> None:
    services, now = services_of(request), people.now_of(request)
    sender = await views.sender_of(services)
    try:
        to = await codes.recipient_of(connection, services.vault, person)
    except AddressUnknown:
        return  # nobody to tell; the audit trail has it
    letter = letters.security_notice(to.language, what=what, at=now, zone=zone_of(to, sender), site=sender.site)
    await messages.accept(
        connection, to, letter, message_id=uuid4(), purpose=messages.SECURITY_NOTICE,
        at=await at_of(connection, services), now=now,
    )  # fmt: skip


async def _security_page(
    request: Request, audience: str, found: people.AnyPerson, *, problem: str | None = None, status: int = 200
) -> Response:
    services, person = services_of(request), found.session.person
    async with services.database.reading() as connection:
        of_person = await session.of_person(connection, person, now=people.now_of(request))
        keys = await passkeys.of_person(connection, person)
        written = await messages.manner(connection, person.number) if person.audience == MEMBER else None
    return await views.page(
        request, "security.html", audience, status=status, problem=problem, csrf=found.csrf,
        name=None if isinstance(found, Member) else found.name, sessions=of_person, passkeys=keys,
        here=found.session.session_id, has_passkeys=has_passkeys(request), manner=written,
        saved="saved" in request.query_params, time_zone=written.time_zone if written else None,
        zones=_zones() if written else (), languages=LANGUAGES,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HTTPException(400, f"{name} is a number")
    return int(text)
