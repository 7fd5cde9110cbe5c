"""The token endpoint: Authlib's authorization server, run inside run_sync on the async connection.

Only client credentials, only the secret in the Basic header. What the library leaves open is closed here: one answer
for an unknown client and a wrong secret, no parameter twice, no scope narrowed in silence, nothing echoed, every
answer no-store, and no input that ends in a server error.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from authlib.oauth2 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import (
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    UnsupportedGrantTypeError,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from gateway.oauth import store
from gateway.oauth.clients import hash_of
from gateway.oauth.keys import TOKEN_LIFE, SigningKey
from gateway.oauth.tokens import write

LARGEST_BODY = 16_384
MOST_PARAMETERS = 20
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_CLIENT_ID = re.compile(r"cl_[a-z0-9]{20}")
_SECRET = re.compile(r"[\x21-\x7e]{1,256}")
_NOBODY = (hash_of("nobody"),)  # compared with when there is no such client, so that it costs the same
_OTHER_METHODS = ("client_secret", "client_assertion", "client_assertion_type")

log = structlog.get_logger("gateway.oauth")


class AuthenticationFailed(InvalidClientError):  # type: ignore[misc]  # noqa: N818
    """The one answer to every failure to authenticate."""

    def __init__(self) -> None:
        super().__init__(status_code=401, description="Client authentication failed.")

    def get_headers(self) -> list[tuple[str, str]]:
        """The answer's headers, with the challenge."""
        return [*OAuth2Error.get_headers(self), ("WWW-Authenticate", 'Basic realm="token", charset="UTF-8"')]


class GrantNotServed(UnsupportedGrantTypeError):  # type: ignore[misc]  # noqa: N818
    """Another grant type; the answer does not repeat it."""

    def get_error_description(self) -> str:
        """A sentence without the caller's input."""
        return "Only client_credentials is served."


@dataclass(frozen=True, slots=True)
class _TokenClient:
    """A client as Authlib wants to see it, authenticated already."""

    client_id: str
    scopes: frozenset[str]

    def get_client_id(self) -> str:
        return self.client_id

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == ClientCredentialsGrant.GRANT_TYPE)

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(sorted(set(scope.split()) if scope else self.scopes))


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    """Client credentials that answer invalid_scope where the library would narrow."""

    def validate_requested_scope(self) -> None:
        scope = self.request.payload.scope
        if scope is None:
            return
        if not scope.split() or not self.request.client.scopes.issuperset(scope.split()):
            raise InvalidScopeError()


class _Server(AuthorizationServer):  # type: ignore[misc]
    """The library's server for one request."""

    def __init__(
        self,
        connection: Connection,
        issuer: str,
        signing: SigningKey,
        partner_is_active: Callable[[int], bool],
        at: datetime,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._issuer = issuer
        self._signing = signing
        self._partner_is_active = partner_is_active
        self._at = at
        self.register_grant(_Grant)
        self.register_token_generator("default", self._token)

    def authenticate_client(
        self, request: OAuth2Request, methods: Sequence[str], endpoint: str = "token"
    ) -> _TokenClient:
        client_id, secret = _basic(request.headers.get("authorization"))
        row = store.client_with_secrets(self._connection, client_id, self._at)
        given = hash_of(secret)
        # All are compared, so that the time tells nothing about which one was right.
        matches = [hmac.compare_digest(given, bytes(held)) for held in (row["secret_hashes"] if row else _NOBODY)]
        if row is None or not any(matches) or row["status"] != "ACTIVE":
            raise AuthenticationFailed
        if row["partner_id"] is not None and not self._partner_is_active(row["partner_id"]):
            raise AuthenticationFailed
        if request.payload.client_id not in (None, client_id):
            raise AuthenticationFailed
        return _TokenClient(client_id, frozenset(row["scopes"]))

    def _token(self, *, client: _TokenClient, scope: str | None, **_: object) -> dict[str, object]:
        granted = client.get_allowed_scope(scope)
        return {
            "access_token": write(self._issuer, self._signing, client.client_id, granted, self._at),
            "token_type": "Bearer",
            "expires_in": int(TOKEN_LIFE.total_seconds()),
            "scope": granted,
        }

    def get_token_grant(self, request: OAuth2Request) -> ClientCredentialsGrant:
        if request.payload.grant_type != _Grant.GRANT_TYPE:
            raise GrantNotServed(None)
        return super().get_token_grant(request)

    def save_token(self, token: Mapping[str, object], request: OAuth2Request) -> None:
        """Nothing to keep: the token carries everything and lives for minutes."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Mapping[str, Any], headers: Sequence[tuple[str, str]]) -> Response:
        answer = Response(orjson.dumps(body), status, dict(headers), "application/json")
        answer.headers.update(NO_STORE)
        return answer


async def token(request: Request) -> Response:
    """POST /oauth/token: an access token for a client that shows its secret."""
    client_id = _named(request.headers.get("authorization"))
    try:
        response = await _answer(request)
    except OAuth2Error as error:
        response = _refusal(error)
    if response.status_code == 200:
        log.info("token_issued", client_id=client_id)
    else:
        log.warning("token_refused", client_id=client_id, status=response.status_code)
    return response


async def _answer(request: Request) -> Response:
    oauth = request.app.state.oauth
    form = await _form(request)
    issuer: str = oauth.issuer
    asked = OAuth2Request("POST", issuer + "/oauth/token", headers=request.headers)
    asked.payload = BasicOAuth2Payload(form)
    signing = await oauth.keys.signer()
    partner_is_active = await oauth.partners_now()
    async with oauth.database.reading() as connection:
        return await connection.run_sync(  # type: ignore[no-any-return]
            lambda sync: _Server(sync, issuer, signing, partner_is_active, oauth.now()).create_token_response(asked)
        )


async def _form(request: Request) -> dict[str, str]:
    """The body's parameters. Raises invalid_request for whatever is not one form with each parameter once."""
    if request.url.query:
        raise InvalidRequestError("Parameters belong in the body.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise InvalidRequestError("The body must be application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(
            (await _body(request)).decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise InvalidRequestError("The body is not a form.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidRequestError("A parameter is given twice.")
    if "grant_type" not in form:
        raise InvalidRequestError("grant_type is missing.")
    if any(name in form for name in _OTHER_METHODS) and "authorization" in request.headers:
        raise InvalidRequestError("A client authenticates in one way.")
    return form


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > LARGEST_BODY:
            raise InvalidRequestError("The body is too large.")
    return bytes(received)


def _basic(authorization: str | None) -> tuple[str, str]:
    """Client id and secret of a Basic header. Raises AuthenticationFailed for anything else."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 1024:
        raise AuthenticationFailed
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise AuthenticationFailed from error
    client_id, colon, secret = decoded.partition(":")
    if not colon or not _CLIENT_ID.fullmatch(client_id) or not _SECRET.fullmatch(secret):
        raise AuthenticationFailed
    return client_id, secret


def _named(authorization: str | None) -> str | None:
    """The client that a request says it comes from, for the log; only what looks like an id of ours."""
    try:
        return _basic(authorization)[0]
    except AuthenticationFailed:
        return None


def _refusal(error: OAuth2Error) -> Response:
    status, body, headers = error()
    answer = Response(orjson.dumps(body), status, dict(headers), "application/json")
    answer.headers.update(NO_STORE)
    return answer
