"""The pages on which a person decides: whether an app may act for a partner, and whether a till is the one it says.

Plain HTML without a script, in the person's language. Whoever is signed in is asked of a port (`approvers`). A form is
bound to the sign-in that it was shown to, decides once, and never rests on what the browser says of the request: that
was pushed or asked by the client itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import structlog
from authlib.oauth2 import OAuth2Error
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection, RowMapping
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.context import language_of
from gateway.oauth import approvers, forms, grant_store, texts
from gateway.oauth.approvers import Approver
from gateway.oauth.authentication import TokenClient, token_client
from gateway.oauth.calls import record
from gateway.oauth.desk import OAuth, terminal_is_active
from gateway.oauth.endpoints import REQUEST_URI
from gateway.oauth.forms import Asked, Events, Form
from gateway.oauth.grants import hash_of_credential
from gateway.oauth.server import Server
from partners.directory import Directory

OPEN_LIFE = timedelta(minutes=10)
MISSES_SOON = (5, timedelta(minutes=10))
MISSES_LONG = (20, timedelta(hours=1))

TEMPLATES = Path(__file__).parent.parent / "templates"
_STYLE = (TEMPLATES / "oauth.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+")

log = structlog.get_logger("gateway.oauth")


class _Shown(Exception):  # noqa: N818 - it ends a request with a page
    """A page that is the answer, whatever was being done."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class _Visit:
    """A person at a page."""

    oauth: OAuth
    request: Request
    form: Form
    approver: Approver

    def token(self, of: str) -> str:
        """What binds a form to this sign-in and to what it decides."""
        key = self.oauth.vault.derive("oauth-form")
        digest = hmac.digest(key, f"{self.approver.session}\0{of}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def check(self, of: str) -> None:
        """Nothing where a form came from a page of this sign-in."""
        said = self.form.values.get("form_token", "")
        if not hmac.compare_digest(said.encode(), self.token(of).encode()):
            log.warning("form_refused", actor=self.approver.actor_id)
            raise _Shown(_message(self.request, 403, "stale"))

    def page(self, template: str, *, goes_to: str = "", status: int = 200, **values: Any) -> Response:
        """A page for this person."""
        return _page(self.request, template, goes_to=goes_to, status=status, approver=self.approver, **values)


async def authorize(request: Request) -> Response:
    """GET /oauth/authorize: asks the person who is signed in; POST: what was decided, and back to the client."""
    try:
        form = await _form(request)
        client = await _client(request, form)
        visit = await _visit(request, form)
        return await (_decided(visit, client) if request.method == "POST" else _asked(visit, client))
    except _Shown as shown:
        return shown.response


async def device(request: Request) -> Response:
    """GET /oauth/device: asks for a till's code; POST: shows the till, then writes down what was decided."""
    try:
        visit = await _visit(request, await _form(request))
        if request.method != "POST":
            return _code_page(visit, visit.form.values.get("user_code", ""))
        visit.check("device")
        return await _device_decided(visit)
    except _Shown as shown:
        return shown.response


# --- Apps ---------------------------------------------------------------------------------------------------


async def _client(request: Request, form: Form) -> TokenClient:
    """The client that a request is of, which takes part. Whoever does not is sent nowhere."""
    oauth: OAuth = request.app.state.oauth
    row = await oauth.authentication.known(form.values.get("client_id", ""))
    standing = await oauth.standing()
    if row is None or row["status"] != "ACTIVE" or "request_uri" not in form.values:
        raise _Shown(_message(request, 400, "invalid"))
    if row["partner_id"] is not None and not standing.partner_is_active(row["partner_id"]):
        raise _Shown(_message(request, 400, "invalid"))
    return token_client(row)


async def _opened(visit: _Visit, client: TokenClient) -> tuple[bytes, RowMapping]:
    """The request that the client pushed, and its name's hash."""
    uri = visit.form.values["request_uri"]
    name = hash_of_credential(uri.removeprefix(REQUEST_URI))
    at = visit.oauth.now()
    async with visit.oauth.database.transaction() as connection:
        row = await connection.run_sync(
            lambda sync: grant_store.open_pushed(sync, name, client.client_no, at=at, until=at + OPEN_LIFE)
        )
        allowed = await approvers.may_approve(connection, visit.approver, client.partner_id)
    if row is None or not uri.startswith(REQUEST_URI):
        raise _Shown(_message(visit.request, 400, "invalid"))
    if not allowed:
        log.warning("approval_refused", actor=visit.approver.actor_id, client_id=client.client_id)
        raise _Shown(_message(visit.request, 403, "forbidden"))
    return name, row


async def _asked(visit: _Visit, client: TokenClient) -> Response:
    name, row = await _opened(visit, client)
    directory = await visit.oauth.directory.get()
    language = _language(visit.request)
    origin = _origin(row["redirect_uri"])
    return visit.page(
        "oauth_consent.html",
        goes_to=origin,
        client=client.name,
        partner=_partner_name(directory, client.partner_id, language),
        scopes=texts.scope_texts(row["scope"].split(), language),
        origin=origin,
        client_id=client.client_id,
        request_uri=visit.form.values["request_uri"],
        form_token=visit.token(name.hex()),
    )


async def _decided(visit: _Visit, client: TokenClient) -> Response:
    name, row = await _opened(visit, client)
    visit.check(name.hex())
    decision = visit.form.values.get("decision")
    if decision not in ("approve", "deny"):
        raise _Shown(_message(visit.request, 400, "invalid"))
    standing = await visit.oauth.standing()

    def work(connection: Connection) -> tuple[Response | None, Events]:
        server = Server(connection, standing, client)
        if not grant_store.complete_pushed(connection, name, standing.at):
            return None, server.events
        return _written(server, row, visit.approver.actor_id, approved=decision == "approve"), server.events

    async with visit.oauth.database.transaction() as connection:
        response, events = await connection.run_sync(work)
        await record(connection, events)
    if response is None:
        raise _Shown(_message(visit.request, 403, "stale"))
    return response


def _written(server: Server, row: RowMapping, actor_id: int, *, approved: bool) -> Response:
    """The way back to the client, with a code or with the reason why there is none."""
    pushed = {
        "response_type": "code", "client_id": server.client.client_id, "redirect_uri": row["redirect_uri"],
        "scope": row["scope"], "state": row["state"], "code_challenge": row["code_challenge"],
        "code_challenge_method": "S256", "dpop_jkt": row["jkt"],
    }  # fmt: skip
    asked = Asked(server.issuer + "/oauth/authorize", {name: value for name, value in pushed.items() if value})
    if not approved:
        server.events.add("GRANT_DENIED", f"client:{server.client.client_no}", by=actor_id)
    answer: Response
    try:
        grant = server.get_consent_grant(asked)
        answer = server.create_authorization_response(asked, actor_id if approved else None, grant)
    except OAuth2Error as error:  # what the client may ask for has changed since it pushed
        error.redirect_uri = row["redirect_uri"]
        answer = server.handle_error_response(asked, error)
    return answer


# --- Tills --------------------------------------------------------------------------------------------------


def _code_page(visit: _Visit, user_code: str, *, wrong: bool = False) -> Response:
    return visit.page(
        "oauth_device.html",
        status=400 if wrong else 200,
        user_code=_normal(user_code),
        wrong=wrong,
        form_token=visit.token("device"),
    )


async def _device_decided(visit: _Visit) -> Response:
    user_code = _normal(visit.form.values.get("user_code", ""))
    decision = visit.form.values.get("decision")
    directory = await visit.oauth.directory.get()
    at = visit.oauth.now()
    events = Events(at)
    async with visit.oauth.database.transaction() as connection:
        if await connection.run_sync(_has_guessed, visit.approver.actor_id, at):
            log.warning("user_code_locked", actor=visit.approver.actor_id)
            return _message(visit.request, 429, "too_many")
        row = await connection.run_sync(
            grant_store.device_by_user_code, visit.oauth.vault.lookup("user-code", user_code), at
        )
        # Another partner's code is as unknown as one that is not there.
        if (
            row is None
            or row["client_status"] != "ACTIVE"
            or not await approvers.may_approve(connection, visit.approver, row["partner_id"])
        ):
            await connection.run_sync(grant_store.insert_miss, visit.approver.actor_id, at)
            return _code_page(visit, user_code, wrong=True)
        terminal_id = _terminal_of(directory, row)
        if decision == "look" or (decision == "approve" and terminal_id is None):
            return _check_page(visit, row, directory, user_code, terminal_id)
        if decision not in ("approve", "deny"):
            return _message(visit.request, 400, "invalid")
        approved = decision == "approve"
        await connection.run_sync(
            lambda sync: grant_store.decide_device(
                sync, bytes(row["code_hash"]), approved=approved, actor_id=visit.approver.actor_id,
                terminal_id=terminal_id if approved else None,
            )
        )  # fmt: skip
        action = "TERMINAL_APPROVED" if approved else "TERMINAL_DENIED"
        events.add(action, f"client:{row['client_no']}", by=visit.approver.actor_id, terminal=terminal_id)
        await record(connection, events)
    return _message(visit.request, 200, "device_allowed" if approved else "device_denied", visit.approver)


def _has_guessed(connection: Connection, actor_id: int, at: Any) -> bool:
    """Whether a person has typed so many codes that were not there that this is guessing."""
    (most_soon, soon), (most_long, long) = MISSES_SOON, MISSES_LONG
    found_soon, found_long = grant_store.misses_since(connection, actor_id, soon=at - soon, long=at - long)
    return found_soon >= most_soon or found_long >= most_long


def _terminal_of(directory: Directory, row: RowMapping) -> int | None:
    """The active terminal that a till says it is; None where its partner has none such."""
    outlet = directory.outlet(row["partner_id"], row["outlet"]) if row["partner_id"] is not None else None
    terminal = directory.terminal(outlet.outlet_id, row["terminal"]) if outlet is not None else None
    if terminal is None or not terminal_is_active(directory, terminal.terminal_id):
        return None
    return terminal.terminal_id


def _check_page(
    visit: _Visit, row: RowMapping, directory: Directory, user_code: str, terminal_id: int | None
) -> Response:
    language = _language(visit.request)
    outlet = directory.outlet(row["partner_id"], row["outlet"]) if row["partner_id"] is not None else None
    wanted = sorted(set(row["scope"].split()) & set(row["client_scopes"]))
    return visit.page(
        "oauth_device_check.html",
        user_code=user_code,
        partner=_partner_name(directory, row["partner_id"], language),
        outlet=f"{outlet.name} ({outlet.code})" if outlet is not None else row["outlet"],
        terminal=row["terminal"],
        serial=row["serial"],
        place=row["network_place"],
        asked_at=row["created_at"],
        scopes=texts.scope_texts(wanted, language),
        may_approve=terminal_id is not None,
        form_token=visit.token("device"),
    )


def _normal(user_code: str) -> str:
    """A till's code as it was made, however it was typed."""
    letters = re.sub(r"[^A-Z]", "", user_code[:64].upper())[:8]
    return f"{letters[:4]}-{letters[4:]}" if len(letters) > 4 else letters


# --- What both share ----------------------------------------------------------------------------------------


async def _form(request: Request) -> Form:
    try:
        return await forms.form_of(request) if request.method == "POST" else forms.parsed(request.url.query)
    except (OAuth2Error, ValueError) as error:
        raise _Shown(_message(request, 400, "invalid")) from error


async def _visit(request: Request, form: Form) -> _Visit:
    """Who is at the page; whoever is nobody is led to signing in."""
    oauth: OAuth = request.app.state.oauth
    if oauth.signed_in is None:
        raise _Shown(_message(request, 403, "closed"))
    found = await oauth.signed_in(request, _here(request, form))
    if isinstance(found, Response):
        raise _Shown(found)
    return _Visit(oauth, request, form, found)


def _here(request: Request, form: Form) -> str:
    """Where a request is asked again after signing in: its page, with what the client's own link said."""
    said = {name: form.values[name] for name in ("client_id", "request_uri", "user_code") if form.values.get(name)}
    return request.url.path + ("?" + urlencode(said, safe=":") if said else "")


def _message(request: Request, status: int, message: str, approver: Approver | None = None) -> Response:
    if status != 200:
        log.warning("page_refused", path=request.url.path, status=status, what=message)
    return _page(request, "oauth_message.html", status=status, message=message, approver=approver)


def _page(request: Request, template: str, *, status: int = 200, goes_to: str = "", **values: Any) -> Response:
    language = _language(request)
    html = (
        _templates()
        .get_template(template)
        .render(style=_STYLE, language=language, words=texts.words(language), **values)
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {goes_to}"
    )
    return HTMLResponse(
        html, status, {**forms.NO_STORE, "Content-Security-Policy": policy.rstrip(), "Vary": "Accept-Language"}
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _language(request: Request) -> str:
    return language_of(request.headers.get("accept-language", ""))


def _origin(uri: str) -> str:
    """Scheme and host of a registered address, fit to stand in a policy; nothing where it is not."""
    parts = urlsplit(uri)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else ""


def _partner_name(directory: Directory, partner_id: int | None, language: str) -> str:
    partner = directory.partner(partner_id) if partner_id is not None else None
    return partner.name if partner is not None else texts.words(language)["the_operator"]
