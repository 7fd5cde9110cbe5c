"""The pages of signing in, the same for members (at /), for staff (at /staff) and for partners' people (at /portal).

Everything but passkeys works without a script. A page that changes nothing answers a repeated click with itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import lru_cache, partial
from urllib.parse import quote, urlsplit
from uuid import uuid4
from zoneinfo import available_timezones

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.context import LANGUAGES, Services
from gateway.messages import letters
from gateway.messages.notices import zone_of
from gateway.messages.sending import channels_of
from gateway.metrics import is_from_here
from gateway.sessions import browsers, codes, forms, passkeys, people, session, views
from gateway.sessions.cookies import Jar, jar_of
from gateway.sessions.passkeys import Site
from gateway.sessions.people import PREFIXES, Member
from gateway.sessions.session import Person
from kit import console
from kit.errors import Rejection
from members import messages
from members.messages import COLLEAGUE, MEMBER, STAFF, AddressUnknown

Handler = Callable[[Request, str], Awaitable[Response]]

_STATUS = {"SIGN_IN_TOO_OFTEN": 429, "STEP_UP_REQUIRED": 403}

log = structlog.get_logger("gateway.sessions")


# --- Signing in ---------------------------------------------------------------------------------------------


async def sign_in(request: Request, audience: str) -> Response:
    """GET …/sign-in: asks for an address, or for a passkey."""
    onward = _next(request, audience)
    if await people.signed_in_as(request, audience):
        return RedirectResponse(onward, 303)
    return await _sign_in_page(request, audience, onward)


async def ask(request: Request, audience: str) -> Response:
    """POST …/sign-in: sends a code, or says so of an address that is no one's."""
    services, jar = _services(request), jar_of(request, audience)
    fields = await forms.read_form(request, services.vault, jar.entry(request))
    onward = forms.local_path(fields.get("next"), _home(audience))
    address = fields.get("address", "")
    if not address.strip():
        return await _sign_in_page(request, audience, onward, problem="address_missing", status=422)
    sender = await views.sender_of(services)
    try:
        async with services.database.transaction() as connection:
            token = await codes.ask(
                connection, services.vault, sender, audience=audience, address=address,
                known=jar.known(request), at=await _at(connection, services), now=people.now_of(request),
            )  # fmt: skip
    except Rejection as no:
        return await _sign_in_page(request, audience, onward, problem=no.code, status=_STATUS.get(no.code, 422))
    return _to_code(request, jar, token, onward)


async def code_page(request: Request, audience: str) -> Response:
    """GET …/sign-in/code: asks for the code."""
    if jar_of(request, audience).entry(request) is None:
        return RedirectResponse(f"{PREFIXES[audience]}/sign-in", 303)
    return await _code_page(request, audience, _next(request, audience))


async def enter(request: Request, audience: str) -> Response:
    """POST …/sign-in/code: signs in."""
    services, jar = _services(request), jar_of(request, audience)
    entry = jar.entry(request)
    if entry is None and await people.signed_in_as(request, audience):
        return RedirectResponse(_home(audience), 303)  # a second click: the first one signed in
    fields = await forms.read_form(request, services.vault, entry)
    onward = forms.local_path(fields.get("next"), _home(audience))
    assert entry is not None
    try:
        proved = await codes.enter(
            services.database, services.vault, audience=audience, token=entry, code=fields.get("code", ""),
            now=people.now_of(request),
        )  # fmt: skip
        token = await _begin(request, proved.person, proved.by)
    except Rejection as no:
        log.info("sign-in refused", audience=audience, code=no.code)
        return await _code_page(request, audience, onward, problem=no.code, status=422)
    return _signed_in(request, jar, proved.person, token, RedirectResponse(onward, 303))


async def passkey_options(request: Request, audience: str) -> Response:
    """POST …/sign-in/passkey/options: a challenge for whatever passkey the browser's owner picks."""
    services, entry = _services(request), jar_of(request, audience).entry(request)
    await forms.read_json(request, services.vault, entry)
    assert entry is not None
    async with services.database.transaction() as connection:
        options = await passkeys.sign_in_options(
            connection, await _site(request), holder=entry, now=people.now_of(request)
        )
    return _json(options)


async def passkey_sign_in(request: Request, audience: str) -> Response:
    """POST …/sign-in/passkey: signs in with a passkey's answer."""
    services, jar = _services(request), jar_of(request, audience)
    entry = jar.entry(request)
    told = await forms.read_json(request, services.vault, entry)
    assert entry is not None
    answer = told.get("credential")
    onward = forms.local_path(told.get("next"), _home(audience))
    try:
        async with services.database.transaction() as connection:
            person = await passkeys.prove(
                connection, services.vault, await _site(request), answer if isinstance(answer, dict) else {},
                audience=audience, holder=entry, now=people.now_of(request),
            )  # fmt: skip
        token = await _begin(request, person, session.PASSKEY)
    except Rejection as no:
        log.info("sign-in refused", audience=audience, code=no.code)
        return _json_no(request, no)
    return _signed_in(request, jar, person, token, _json({"next": onward}))


# --- A fresh proof ------------------------------------------------------------------------------------------


async def confirm(request: Request, audience: str) -> Response:
    """GET …/confirm: asks for a fresh proof of whoever is signed in."""
    found = await people.signed_in_as(request, audience)
    if found is None:
        return RedirectResponse(f"{PREFIXES[audience]}/sign-in?next={quote(_next(request, audience), safe='')}", 303)
    onward = _next(request, audience)
    if found.session.is_fresh(people.now_of(request)):
        return RedirectResponse(onward, 303)
    return await _confirm_page(request, audience, onward)


async def confirm_ask(request: Request, audience: str) -> Response:
    """POST …/confirm: sends a code to whoever is signed in."""
    services, jar = _services(request), jar_of(request, audience)
    fields = await forms.read_form(request, services.vault, jar.entry(request))
    onward = forms.local_path(fields.get("next"), _home(audience))
    found = await people.signed_in_as(request, audience)
    if found is None:
        return RedirectResponse(f"{PREFIXES[audience]}/sign-in", 303)
    sender = await views.sender_of(services)
    try:
        async with services.database.transaction() as connection:
            token = await codes.ask_again(
                connection, services.vault, sender, found.session.person,
                at=await _at(connection, services), now=people.now_of(request),
            )  # fmt: skip
    except Rejection as no:
        return await _confirm_page(request, audience, onward, problem=no.code, status=_STATUS.get(no.code, 422))
    return _to_code(request, jar, token, onward)


# --- Security -----------------------------------------------------------------------------------------------


async def security(request: Request, audience: str) -> Response:
    """GET …/security: sessions, passkeys, and how we write."""
    found = await people.signed_in_as(request, audience)
    if found is None:
        return people.ask_to_sign_in(request, audience)
    return await _security_page(request, audience, found)


async def sign_out(request: Request, audience: str) -> Response:
    """POST …/sign-out: ends the session at this browser."""
    found, _ = await _change(request, audience)
    async with _services(request).database.transaction() as connection:
        await session.end(connection, found.session, now=people.now_of(request))
    return signed_out(request, audience)


async def end_session(request: Request, audience: str) -> Response:
    """POST …/security/end: ends another session of the same person."""
    found, fields = await _change(request, audience)
    async with _services(request).database.transaction() as connection:
        await session.end_one(connection, found.session, _number(fields, "session"), now=people.now_of(request))
    return RedirectResponse(f"{PREFIXES[audience]}/security", 303)


async def end_all(request: Request, audience: str) -> Response:
    """POST …/security/end-all: signs out everywhere, here too."""
    found, _ = await _change(request, audience)
    async with _services(request).database.transaction() as connection:
        await session.end_all(connection, found.session.person, now=people.now_of(request))
        await _tell(request, connection, found.session.person, letters.SIGNED_OUT_EVERYWHERE)
    request.app.state.post.wake()
    return signed_out(request, audience)


async def manner(request: Request, audience: str) -> Response:
    """POST /security/manner: sets how we write to a member."""
    found, fields = await _change(request, audience)
    try:
        async with _services(request).database.transaction() as connection:
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
    services = _services(request)
    try:
        found.session.require_fresh(people.now_of(request))
        async with services.database.transaction() as connection:
            options = await passkeys.addition_options(
                connection, services.vault, await _site(request), found.session.person,
                holder=holder, now=people.now_of(request),
            )  # fmt: skip
    except Rejection as no:
        return _json_no(request, no)
    return _json(options)


async def add_passkey(request: Request, audience: str) -> Response:
    """POST …/security/passkeys: adds the passkey that the browser made. Takes a fresh proof."""
    found, holder, told = await _script_change(request, audience)
    answer = told.get("credential")
    try:
        found.session.require_fresh(people.now_of(request))
        async with _services(request).database.transaction() as connection:
            await passkeys.add(
                connection, await _site(request), found.session.person, answer if isinstance(answer, dict) else {},
                holder=holder, now=people.now_of(request),
            )  # fmt: skip
            await _tell(request, connection, found.session.person, letters.PASSKEY_ADDED)
    except Rejection as no:
        return _json_no(request, no)
    request.app.state.post.wake()
    return _json({"next": f"{PREFIXES[audience]}/security"})


async def remove_passkey(request: Request, audience: str) -> Response:
    """POST …/security/passkeys/remove: removes a passkey. Takes a fresh proof."""
    found, fields = await _change(request, audience)
    if not found.session.is_fresh(people.now_of(request)):
        return RedirectResponse(f"{PREFIXES[audience]}/confirm?next={PREFIXES[audience]}/security", 303)
    try:
        async with _services(request).database.transaction() as connection:
            await passkeys.remove(
                connection, found.session.person, _number(fields, "passkey"), now=people.now_of(request)
            )
            await _tell(request, connection, found.session.person, letters.PASSKEY_REMOVED)
    except Rejection as no:
        return await _security_page(request, audience, found, problem=no.code, status=422)
    request.app.state.post.wake()
    return RedirectResponse(f"{PREFIXES[audience]}/security", 303)


# --- Parts --------------------------------------------------------------------------------------------------


async def _change(request: Request, audience: str) -> tuple[people.AnyPerson, dict[str, str]]:
    """Whoever is signed in and the form that our page sent for them. Raises HTTPException (403) else."""
    token = jar_of(request, audience).session(request)
    fields = await forms.read_form(request, _services(request).vault, token)
    found = await people.signed_in_as(request, audience)
    if found is None:
        raise HTTPException(403, "not signed in")
    return found, fields


async def _script_change(request: Request, audience: str) -> tuple[people.AnyPerson, str, dict[str, object]]:
    token = jar_of(request, audience).session(request)
    told = await forms.read_json(request, _services(request).vault, token)
    found = await people.signed_in_as(request, audience)
    if found is None or token is None:
        raise HTTPException(403, "not signed in")
    return found, token, told


async def _begin(request: Request, person: Person, by: str) -> str:
    services, now = _services(request), people.now_of(request)
    async with services.database.transaction() as connection:
        if not await people.stands(connection, services, person, now):
            raise codes.SignInCodeInvalid  # they left while the code was on its way
        return await session.begin(
            connection,
            person,
            proved_by=by,
            browser=browsers.name_of(request.headers.get("user-agent", "")),
            replaces=jar_of(request, person.audience).session(request),
            now=now,
        )


def _signed_in(request: Request, jar: Jar, person: Person, token: str, response: Response) -> Response:
    jar.keep_session(response, token)
    jar.keep_known(response, codes.recognise(_services(request).vault, person))
    return response


def signed_out(request: Request, audience: str) -> Response:
    """What a browser is told when its session has ended: forget everything, and sign in anew. A till keeps the sales
    that wait in it."""
    response = RedirectResponse(f"{PREFIXES[audience]}/sign-in", 303)
    jar_of(request, audience).drop_session(response)
    response.headers["Clear-Site-Data"] = '"cache"' if audience == COLLEAGUE else '"cache", "storage"'
    return response


def _to_code(request: Request, jar: Jar, token: str, onward: str) -> Response:
    request.app.state.post.wake()
    response = RedirectResponse(f"{PREFIXES[jar.audience]}/sign-in/code?next={quote(onward, safe='')}", 303)
    jar.keep_entry(response, token)
    return response


async def _tell(request: Request, connection: AsyncConnection, person: Person, what: str) -> None:
    services, now = _services(request), people.now_of(request)
    sender = await views.sender_of(services)
    try:
        to = await codes.recipient_of(connection, services.vault, person)
    except AddressUnknown:
        return  # nobody to tell; the audit trail has it
    letter = letters.security_notice(to.language, what=what, at=now, zone=zone_of(to, sender), site=sender.site)
    await messages.accept(
        connection, to, letter, message_id=uuid4(), purpose=messages.SECURITY_NOTICE,
        at=await _at(connection, services), now=now,
    )  # fmt: skip


async def _sign_in_page(
    request: Request, audience: str, onward: str, *, problem: str | None = None, status: int = 200
) -> Response:
    return await _entry_page(request, audience, "sign_in.html", onward, problem, status)


async def _confirm_page(
    request: Request, audience: str, onward: str, *, problem: str | None = None, status: int = 200
) -> Response:
    return await _entry_page(request, audience, "confirm.html", onward, problem, status)


async def _entry_page(
    request: Request, audience: str, template: str, onward: str, problem: str | None, status: int
) -> Response:
    jar = jar_of(request, audience)
    entry = jar.entry(request) or session.new_token()
    response = await views.page(
        request, template, audience, status=status, next=onward, problem=problem,
        csrf=forms.token_for(_services(request).vault, entry), has_passkeys=_has_passkeys(request),
        address=request.query_params.get("address", "")[:254] if is_open_sandbox(request) else "",
    )  # fmt: skip
    jar.keep_entry(response, entry)
    return response


async def _code_page(
    request: Request, audience: str, onward: str, *, problem: str | None = None, status: int = 200
) -> Response:
    entry = jar_of(request, audience).entry(request)
    assert entry is not None
    return await views.page(
        request, "code.html", audience, status=status, next=onward, problem=problem,
        csrf=forms.token_for(_services(request).vault, entry),
        mailbox_is_open=is_open_sandbox(request) and not channels_of(_services(request).settings),
    )  # fmt: skip


async def _security_page(
    request: Request, audience: str, found: people.AnyPerson, *, problem: str | None = None, status: int = 200
) -> Response:
    services, person = _services(request), found.session.person
    async with services.database.reading() as connection:
        of_person = await session.of_person(connection, person, now=people.now_of(request))
        keys = await passkeys.of_person(connection, person)
        written = await messages.manner(connection, person.number) if person.audience == MEMBER else None
    return await views.page(
        request, "security.html", audience, status=status, problem=problem, csrf=found.csrf,
        name=None if isinstance(found, Member) else found.name, sessions=of_person, passkeys=keys,
        here=found.session.session_id, has_passkeys=_has_passkeys(request), manner=written,
        saved="saved" in request.query_params, time_zone=written.time_zone if written else None,
        zones=_zones() if written else (), languages=LANGUAGES,
    )  # fmt: skip


async def _site(request: Request) -> Site:
    services = _services(request)
    site = passkeys.site_of(services.settings.issuer, (await views.sender_of(services)).programme)
    if site is None:
        raise HTTPException(404, "no passkeys at this address")
    return site


def _has_passkeys(request: Request) -> bool:
    return passkeys.site_of(_services(request).settings.issuer, "-") is not None


def is_open_sandbox(request: Request) -> bool:
    """Whether this is a sandbox on this machine and asked from it, where anybody may read what was written to anybody.

    Asked under its own name too: a page elsewhere that makes its host's name lead to this machine is another's.
    """
    settings = _services(request).settings
    own = urlsplit(settings.issuer)
    return (
        settings.clock == "sandbox"
        and own.hostname in ("127.0.0.1", "::1", "localhost")
        and request.headers.get("host") == own.netloc
        and is_from_here(request)
    )


async def _at(connection: AsyncConnection, services: Services) -> datetime:
    return await console.business_instant(connection, services.settings)


def _next(request: Request, audience: str) -> str:
    return forms.local_path(request.query_params.get("next"), _home(audience))


def _home(audience: str) -> str:
    return {STAFF: "/console", COLLEAGUE: "/portal"}.get(audience, f"{PREFIXES[audience]}/security")


@lru_cache(maxsize=1)
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HTTPException(400, f"{name} is a number")
    return int(text)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, {"Cache-Control": "no-store"}, "application/json")


def _json_no(request: Request, no: Rejection) -> Response:
    return _json({"code": no.code}, _STATUS.get(no.code, 422))


def _of(handler: Handler, audience: str) -> Callable[[Request], Awaitable[Response]]:
    return partial(_served, handler, audience)


async def _served(handler: Handler, audience: str, request: Request) -> Response:
    response = await handler(request, audience)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


_PATHS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/sign-in", sign_in),
    ("POST", "/sign-in", ask),
    ("GET", "/sign-in/code", code_page),
    ("POST", "/sign-in/code", enter),
    ("POST", "/sign-in/passkey/options", passkey_options),
    ("POST", "/sign-in/passkey", passkey_sign_in),
    ("GET", "/confirm", confirm),
    ("POST", "/confirm", confirm_ask),
    ("POST", "/sign-out", sign_out),
    ("GET", "/security", security),
    ("POST", "/security/end", end_session),
    ("POST", "/security/end-all", end_all),
    ("POST", "/security/passkeys/options", addition_options),
    ("POST", "/security/passkeys", add_passkey),
    ("POST", "/security/passkeys/remove", remove_passkey),
)

ROUTES: list[BaseRoute] = [
    *views.ROUTES,
    *(
        Route(PREFIXES[audience] + path, _of(handler, audience), methods=[method])
        for audience in (MEMBER, STAFF, COLLEAGUE)
        for method, path, handler in _PATHS
    ),
    Route("/security/manner", _of(manner, MEMBER), methods=["POST"]),
]
