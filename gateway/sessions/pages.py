"""The pages of signing in, the same for members (at /), for staff (at /staff) and for partners' people (at /portal).

Everything but passkeys works without a script. A page that changes nothing answers a repeated click with itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.messages.sending import channels_of
from gateway.metrics import is_from_here
from gateway.sessions import browsers, codes, forms, passkeys, people, security_pages, session, views
from gateway.sessions.answers import STATUS, at_of, has_passkeys, json_no, json_of, services_of, site_of
from gateway.sessions.cookies import Jar, jar_of
from gateway.sessions.people import PREFIXES
from gateway.sessions.session import Person
from kit.errors import Rejection
from members.messages import COLLEAGUE, MEMBER, STAFF

Handler = Callable[[Request, str], Awaitable[Response]]

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
    services, jar = services_of(request), jar_of(request, audience)
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
                known=jar.known(request), at=await at_of(connection, services), now=people.now_of(request),
            )  # fmt: skip
    except Rejection as no:
        return await _sign_in_page(request, audience, onward, problem=no.code, status=STATUS.get(no.code, 422))
    return _to_code(request, jar, token, onward)


async def code_page(request: Request, audience: str) -> Response:
    """GET …/sign-in/code: asks for the code."""
    if jar_of(request, audience).entry(request) is None:
        return RedirectResponse(f"{PREFIXES[audience]}/sign-in", 303)
    return await _code_page(request, audience, _next(request, audience))


async def enter(request: Request, audience: str) -> Response:
    """POST …/sign-in/code: signs in."""
    services, jar = services_of(request), jar_of(request, audience)
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
    services, entry = services_of(request), jar_of(request, audience).entry(request)
    await forms.read_json(request, services.vault, entry)
    assert entry is not None
    async with services.database.transaction() as connection:
        options = await passkeys.sign_in_options(
            connection, await site_of(request), holder=entry, now=people.now_of(request)
        )
    return json_of(options)


async def passkey_sign_in(request: Request, audience: str) -> Response:
    """POST …/sign-in/passkey: signs in with a passkey's answer."""
    services, jar = services_of(request), jar_of(request, audience)
    entry = jar.entry(request)
    told = await forms.read_json(request, services.vault, entry)
    assert entry is not None
    answer = told.get("credential")
    onward = forms.local_path(told.get("next"), _home(audience))
    try:
        async with services.database.transaction() as connection:
            person = await passkeys.prove(
                connection, services.vault, await site_of(request), answer if isinstance(answer, dict) else {},
                audience=audience, holder=entry, now=people.now_of(request),
            )  # fmt: skip
        token = await _begin(request, person, session.PASSKEY)
    except Rejection as no:
        log.info("sign-in refused", audience=audience, code=no.code)
        return json_no(no)
    return _signed_in(request, jar, person, token, json_of({"next": onward}))


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
    services, jar = services_of(request), jar_of(request, audience)
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
                at=await at_of(connection, services), now=people.now_of(request),
            )  # fmt: skip
    except Rejection as no:
        return await _confirm_page(request, audience, onward, problem=no.code, status=STATUS.get(no.code, 422))
    return _to_code(request, jar, token, onward)


# --- Parts --------------------------------------------------------------------------------------------------


async def _begin(request: Request, person: Person, by: str) -> str:
    services, now = services_of(request), people.now_of(request)
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
    jar.keep_known(response, codes.recognise(services_of(request).vault, person))
    return response


def _to_code(request: Request, jar: Jar, token: str, onward: str) -> Response:
    request.app.state.post.wake()
    response = RedirectResponse(f"{PREFIXES[jar.audience]}/sign-in/code?next={quote(onward, safe='')}", 303)
    jar.keep_entry(response, token)
    return response


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
        csrf=forms.token_for(services_of(request).vault, entry), has_passkeys=has_passkeys(request),
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
        csrf=forms.token_for(services_of(request).vault, entry),
        mailbox_is_open=is_open_sandbox(request) and not channels_of(services_of(request).settings),
    )  # fmt: skip


def is_open_sandbox(request: Request) -> bool:
    """Whether this is a sandbox on this machine and asked from it, where anybody may read what was written to anybody.

    Asked under its own name too: a page elsewhere that makes its host's name lead to this machine is another's.
    """
    settings = services_of(request).settings
    own = urlsplit(settings.issuer)
    return (
        settings.clock == "sandbox"
        and own.hostname in ("127.0.0.1", "::1", "localhost")
        and request.headers.get("host") == own.netloc
        and is_from_here(request)
    )


def _next(request: Request, audience: str) -> str:
    return forms.local_path(request.query_params.get("next"), _home(audience))


def _home(audience: str) -> str:
    return {STAFF: "/console", COLLEAGUE: "/portal"}.get(audience, f"{PREFIXES[audience]}/security")


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
    ("POST", "/sign-out", security_pages.sign_out),
    ("GET", "/security", security_pages.security),
    ("POST", "/security/end", security_pages.end_session),
    ("POST", "/security/end-all", security_pages.end_all),
    ("POST", "/security/passkeys/options", security_pages.addition_options),
    ("POST", "/security/passkeys", security_pages.add_passkey),
    ("POST", "/security/passkeys/remove", security_pages.remove_passkey),
)

ROUTES: list[BaseRoute] = [
    *views.ROUTES,
    *(
        Route(PREFIXES[audience] + path, _of(handler, audience), methods=[method])
        for audience in (MEMBER, STAFF, COLLEAGUE)
        for method, path, handler in _PATHS
    ),
    Route("/security/manner", _of(security_pages.manner, MEMBER), methods=["POST"]),
]
