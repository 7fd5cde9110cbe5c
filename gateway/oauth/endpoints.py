"""The endpoints that programs call: token, pushed requests, a till's request, revocation, introspection.

Each reads one form, knows who asks before anything else, answers no-store, and says in the log what it gave and
refused. What changes a grant is in the audit trail too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628.endpoint import create_string_user_code
from sqlalchemy import Connection, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from gateway.gate.allowances import TOKENS, Exhausted
from gateway.oauth import dpop, forms, grant_store, grants
from gateway.oauth.authentication import TokenClient, named
from gateway.oauth.clients import CLIENT_CREDENTIALS, DEVICE_CODE
from gateway.oauth.desk import OAuth
from gateway.oauth.dpop import InvalidProof, NonceWanted
from gateway.oauth.forms import Asked, Events, Form
from gateway.oauth.grants import hash_of_credential, new_credential
from gateway.oauth.server import Server, Standing
from gateway.oauth.tokens import InvalidToken, Token
from kit import audit
from kit.database import Database
from kit.secrets import fingerprint

if TYPE_CHECKING:
    from gateway.gate.admission import Admission

REQUEST_URI = "urn:ietf:params:oauth:request_uri:"
PUSHED_LIFE = timedelta(seconds=90)
DEVICE_LIFE = timedelta(minutes=10)
INTERVAL_SECONDS = 5
LONGEST_STATE = 2_048
LONGEST_SCOPE = 1_000
_TOKEN_SHARES = 1_024

log = structlog.get_logger("gateway.oauth")


class UseDPoPNonce(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """The proof has to carry the nonce that comes with this answer (RFC 9449, 8)."""

    error = "use_dpop_nonce"
    description = "Make the DPoP proof with the nonce of this answer."

    def __init__(self, nonce: str) -> None:
        super().__init__()
        self._nonce = nonce

    def get_headers(self) -> list[tuple[str, str]]:
        """With the nonce."""
        return [*super().get_headers(), ("DPoP-Nonce", self._nonce)]


class InvalidDPoPProof(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """The proof of a key is missing or not accepted (RFC 9449)."""

    error = "invalid_dpop_proof"
    description = "The DPoP proof is missing or not accepted."


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose client is known: its form, the key whose proof it brought, and the moment."""

    oauth: OAuth
    request: Request
    form: Form
    client: TokenClient
    jkt: str | None
    standing: Standing

    def server(self, connection: Connection | None) -> Server:
        """The library's server for it."""
        return Server(connection, self.standing, self.client, jkt=self.jkt)

    def asked(self) -> Asked:
        """The request as the library wants to see it."""
        return Asked(self.oauth.issuer + self.request.url.path, self.form.values)


Answering = Callable[[Call], Awaitable[Response]]


async def token(request: Request) -> Response:
    """POST /oauth/token: an access token for a client, by any of the grants that are served."""
    return await _answered(request, "token", _token)


async def pushed(request: Request) -> Response:
    """POST /oauth/par: keeps what a client wants to be authorized for, and gives it a name for the browser."""
    return await _answered(request, "pushed_request", _pushed)


async def device(request: Request) -> Response:
    """POST /oauth/device_authorization: a till asks to be enrolled, and gets a short code for a person to type."""
    return await _answered(request, "device_request", _device)


async def revoke(request: Request) -> Response:
    """POST /oauth/revoke: ends a token of the client that asks, or with a refresh token all that its grant gave."""
    return await _answered(request, "revocation", _revoke)


async def introspect(request: Request) -> Response:
    """POST /oauth/introspect: what a token of the client that asks is good for; any other is not active."""
    return await _answered(request, "introspection", _introspect)


# --- What all share -----------------------------------------------------------------------------------------


async def _answered(request: Request, what: str, answering: Answering) -> Response:
    authorization = request.headers.get("authorization")
    form = None
    try:
        form = await forms.form_of(request)
        response = await answering(await _call(request, authorization, form))
    except OAuth2Error as error:
        response = forms.refusal(error)
    if response.status_code >= 400:
        error_code = orjson.loads(response.body)["error"]
        client_id = named(authorization, form)
        log.warning(f"{what}_refused", client_id=client_id, status=response.status_code, error=error_code)
    return response


async def _call(request: Request, authorization: str | None, form: Form) -> Call:
    """Who asks. Raises invalid_request, invalid_client, invalid_target, invalid_dpop_proof."""
    oauth: OAuth = request.app.state.oauth
    if len(request.headers.getlist("authorization")) > 1:
        raise InvalidRequestError("A client authenticates in one way.")
    standing = await oauth.standing()
    client = await oauth.authentication.client(authorization, form, standing.partner_is_active)
    forms.check_resources(form, oauth.resource)
    proofs = request.headers.getlist("dpop")
    jkt = await _proven(oauth, request, proofs, standing.at) if proofs else None
    return Call(oauth, request, form, client, jkt, standing)


async def _proven(oauth: OAuth, request: Request, proofs: list[str], at: datetime) -> str:
    """The thumbprint of the key whose proof a request brings. Raises invalid_dpop_proof, use_dpop_nonce."""
    try:
        uri = oauth.issuer + request.url.path
        proof = dpop.read(proofs, method=request.method, uri=uri, at=at, nonces=oauth.nonces)
    except NonceWanted as wanted:
        raise UseDPoPNonce(wanted.nonce) from wanted
    except InvalidProof as error:
        log.warning("proof_refused", reason=str(error))
        raise InvalidDPoPProof from error
    if not await oauth.used.claim(proof.used_id, until=proof.until):
        log.warning("proof_refused", reason="seen before")
        raise InvalidDPoPProof
    return proof.jkt


async def _in_transaction(database: Database, work: Callable[[Connection], tuple[Response, Events]]) -> Response:
    """Run work in a transaction that is committed whatever was answered, with what the audit trail has to know."""
    async with database.transaction() as connection:
        response, events = await connection.run_sync(work)
        await record(connection, events)
    return response


async def record(connection: AsyncConnection, events: Events) -> None:
    """Append a request's events to the audit trail and the log."""
    for action, subject, detail, by in events.entries:
        await audit.write(connection, actor=by, action=action, subject=subject, detail=detail, at=events.at)
        log.info(action.lower(), subject=subject)


# --- Tokens -------------------------------------------------------------------------------------------------


async def _token(call: Call) -> Response:
    await _take_turn(call)
    form = call.form.values
    if "grant_type" not in form:
        raise InvalidRequestError("grant_type is missing.")
    if call.client.binds_tokens and call.jkt is None:
        raise InvalidDPoPProof

    def work(connection: Connection | None) -> tuple[Response, Events]:
        server = call.server(connection)
        return server.create_token_response(call.asked()), server.events

    if form["grant_type"] == CLIENT_CREDENTIALS:
        response, _ = work(None)  # nothing is kept of it
    else:
        response = await _in_transaction(call.oauth.database, work)
    if response.status_code == 200:
        log.info("token_issued", client_id=call.client.client_id, bound=call.jkt is not None)
    return response


class TooManyTokens(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """A client asks for tokens faster than it could use them up. It keeps what it has for ten minutes."""

    error = "temporarily_unavailable"
    description = "Too many tokens are asked for. Keep a token until it ends."
    status_code = 429

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self._wait_seconds = wait_seconds

    def get_headers(self) -> list[tuple[str, str]]:
        """With how long to wait."""
        return [*super().get_headers(), ("Retry-After", str(self._wait_seconds))]


async def _take_turn(call: Call) -> None:
    """Count a request for a token against the client's allowance. Raises temporarily_unavailable (429).

    Those of a client for many tills or apps are told apart by their keys, so that one does not use up the others'; in a
    bounded number of shares, because whoever likes can make new keys.
    """
    admission: Admission = call.request.app.state.endpoint.admission
    rule = await admission.rules.of(call.client.client_no)
    whose = 0 if call.jkt is None else 1 + fingerprint(call.jkt).int % _TOKEN_SHARES
    try:
        await admission.allowances.take((call.client.client_no, whose, TOKENS), rule.hundredth, 1)
    except Exhausted as no:
        raise TooManyTokens(no.wait_seconds) from no


# --- Pushed requests ----------------------------------------------------------------------------------------


async def _pushed(call: Call) -> Response:
    form = call.form.values
    if "request_uri" in form or "request" in form:
        raise InvalidRequestError("A pushed request brings its parameters itself.")
    if not call.client.check_response_type("code"):
        raise UnauthorizedClientError
    if not _is_text(form.get("state", "x"), LONGEST_STATE) or len(form.get("scope", "")) > LONGEST_SCOPE:
        raise InvalidRequestError("state or scope is too long, or has characters that it must not have.")
    jkt = _fixed_key(call)
    call.server(None).get_consent_grant(call.asked())
    name = new_credential()
    values = {
        "request_hash": hash_of_credential(name), "client_no": call.client.client_no,
        "redirect_uri": form["redirect_uri"], "scope": call.client.get_allowed_scope(form.get("scope")),
        "state": form.get("state"), "code_challenge": form["code_challenge"], "jkt": jkt,
        "created_at": call.standing.at, "expires_at": call.standing.at + PUSHED_LIFE,
    }  # fmt: skip
    async with call.oauth.database.transaction() as connection:
        await connection.run_sync(grant_store.insert_pushed, values)
    log.info("pushed_request_kept", client_id=call.client.client_id)
    return forms.answer(201, {"request_uri": REQUEST_URI + name, "expires_in": int(PUSHED_LIFE.total_seconds())})


def _fixed_key(call: Call) -> str | None:
    """The key that the code will be bound to: by a proof, or by dpop_jkt alone. Raises what the endpoint answers."""
    said = call.form.values.get("dpop_jkt")
    if said is not None and call.jkt not in (None, said):
        raise InvalidDPoPProof
    if said is not None and not (
        len(said) == 43 and said.replace("-", "").replace("_", "").isalnum() and said.isascii()
    ):
        raise InvalidRequestError("dpop_jkt is no thumbprint.")
    if call.client.public and said is None and call.jkt is None:
        raise InvalidDPoPProof
    return said or call.jkt


def _is_text(text: str, longest: int) -> bool:
    return 1 <= len(text) <= longest and text.isascii() and text.isprintable()


# --- Tills --------------------------------------------------------------------------------------------------


async def _device(call: Call) -> Response:
    if not call.client.check_grant_type(DEVICE_CODE):
        raise UnauthorizedClientError
    if call.jkt is None:
        raise InvalidDPoPProof
    form, at = call.form.values, call.standing.at
    for name, longest in (("outlet", 32), ("terminal", 32), ("serial", 64)):
        said = form.get(name, "")
        if not 1 <= len(said) <= longest or not said.isprintable() or said != said.strip():
            raise InvalidRequestError(f"{name} is missing or malformed.")
    grants.check_scope(form.get("scope"), call.client.scopes)
    peer = call.request.client
    values = {
        "client_no": call.client.client_no, "jkt": call.jkt, "scope": call.client.get_allowed_scope(form.get("scope")),
        "outlet": form["outlet"], "terminal": form["terminal"], "serial": form["serial"],
        "network_place": peer.host[:64] if peer else "", "created_at": at, "expires_at": at + DEVICE_LIFE,
        "interval_seconds": INTERVAL_SECONDS,
    }  # fmt: skip
    device_code, user_code = await _kept(call.oauth, values)
    page = call.oauth.issuer + "/oauth/device"
    log.info("device_request_kept", client_id=call.client.client_id)
    body = {
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": add_params_to_uri(page, [("user_code", user_code)]),
        "expires_in": int(DEVICE_LIFE.total_seconds()),
        "interval": INTERVAL_SECONDS,
    }
    return forms.answer(200, body)


async def _kept(oauth: OAuth, values: Mapping[str, Any]) -> tuple[str, str]:
    """A till's request, kept under a fresh long and a fresh short code."""
    while True:
        device_code, user_code = new_credential(), create_string_user_code()
        named_values = {
            **values,
            "code_hash": hash_of_credential(device_code),
            "user_code": oauth.vault.lookup("user-code", user_code),
        }
        async with oauth.database.transaction() as connection:
            if await connection.run_sync(grant_store.insert_device, named_values):
                return device_code, user_code


# --- Revocation and introspection ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shown:
    """A token that a client shows: an access token that is verified, or the row of a refresh token with its grant."""

    access: Token | None = None
    refresh: RowMapping | None = None
    owner: str | int = ""

    def check_client(self, client: TokenClient) -> bool:
        return self.owner in (client.client_id, client.client_no)

    def is_expired(self) -> bool:
        return False  # what is over was not found

    def is_revoked(self) -> bool:
        return False


class _Revocation(RevocationEndpoint):  # type: ignore[misc]
    """The library's endpoint over a token that was looked up before."""

    def __init__(self, server: Server, shown: _Shown | None) -> None:
        super().__init__(server)
        self._shown = shown

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Shown | None:
        return self._shown

    def check_params(self, request: Asked, client: TokenClient) -> None:
        _check_token_parameter(request)

    def revoke_token(self, token: _Shown, request: Asked) -> None:
        server: Server = self.server
        if token.access is not None:
            until = datetime.fromtimestamp(token.access.expires_at, UTC) + grants.SKEW
            grant_store.end_token(server.connection, token.access.token_id, at=server.at, until=until)
            server.events.add("ACCESS_TOKEN_ENDED", f"client:{server.client.client_no}")
        elif token.refresh is not None:
            grant_id = token.refresh["grant_id"]
            if grants.end(server.connection, why="REVOKED", at=server.at, grant_id=grant_id):
                server.events.add("GRANT_ENDED", f"grant:{grant_id}", client=server.client.client_id)


class _Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """The library's endpoint over a token that was looked up before."""

    def __init__(self, server: Server, shown: _Shown | None) -> None:
        super().__init__(server)
        self._shown = shown

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Shown | None:
        return self._shown

    def check_params(self, request: Asked, client: TokenClient) -> None:
        _check_token_parameter(request)

    def check_permission(self, token: _Shown, client: TokenClient, request: Asked) -> bool:
        return token.check_client(client)

    def introspect_token(self, token: _Shown) -> dict[str, Any]:
        if token.access is not None:
            return _described(token.access, self.server)
        row = token.refresh
        assert row is not None
        return {
            "client_id": self.server.client.client_id,
            "scope": " ".join(row["scopes"]),
            "iss": self.server.issuer,
            "exp": int(min(row["token_expires_at"], row["ends_at"]).timestamp()),
        }


def _described(access: Token, server: Server) -> dict[str, Any]:
    said: dict[str, Any] = {
        "client_id": access.client_id,
        "scope": " ".join(sorted(access.scopes & server.client.scopes)),
        "token_type": "Bearer" if access.jkt is None else "DPoP",
        "sub": access.subject,
        "aud": server.resource,
        "iss": server.issuer,
        "iat": access.issued_at,
        "exp": access.expires_at,
        "jti": access.token_id,
    }
    return said if access.jkt is None else {**said, "cnf": {"jkt": access.jkt}}


def _check_token_parameter(request: Asked) -> None:
    if "token" not in request.form:  # an unknown hint is no reason to refuse (RFC 7009, 2.1)
        raise InvalidRequestError("token is missing.")


async def _revoke(call: Call) -> Response:
    return await _on_token(call, _Revocation, RevocationEndpoint.ENDPOINT_NAME)


async def _introspect(call: Call) -> Response:
    return await _on_token(call, _Introspection, IntrospectionEndpoint.ENDPOINT_NAME)


async def _on_token(call: Call, kind: Any, name: str) -> Response:
    said = call.form.values.get("token", "")
    try:
        access: Token | None = await call.oauth.bearers.read(said)
    except InvalidToken:
        access = None

    def work(connection: Connection) -> tuple[Response, Events]:
        server = call.server(connection)
        server.register_endpoint(kind(server, _shown(connection, said, access, call)))
        return server.create_endpoint_response(name, call.asked()), server.events

    return await _in_transaction(call.oauth.database, work)


def _shown(connection: Connection, said: str, access: Token | None, call: Call) -> _Shown | None:
    """What a token is that is still good; None for everything else."""
    at = call.standing.at
    if access is not None:
        ids = [access.token_id, *([access.grant_id] if access.grant_id else [])]
        return None if grant_store.any_ended(connection, ids) else _Shown(access=access, owner=access.client_id)
    row = grant_store.held_refresh(connection, hash_of_credential(said), b"")
    if row is None or row["ended_at"] is not None or row["used_at"] is not None:
        return None
    if min(row["token_expires_at"], row["ends_at"]) <= at:
        return None
    return _Shown(refresh=row, owner=row["client_no"])
