"""Endpoints that are shown a token: one ends it, the other says what it is good for, to the client whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from sqlalchemy import Connection, RowMapping
from starlette.requests import Request
from starlette.responses import Response

from gateway.oauth import grant_store, grants
from gateway.oauth.authentication import TokenClient
from gateway.oauth.calls import Call, answered, in_transaction
from gateway.oauth.forms import Asked, Events
from gateway.oauth.grants import hash_of_credential
from gateway.oauth.server import Server
from gateway.oauth.tokens import InvalidToken, Token


async def revoke(request: Request) -> Response:
    """POST /oauth/revoke: ends a token of the client that asks, or with a refresh token all that its grant gave."""
    return await answered(request, "revocation", _revoke)


async def introspect(request: Request) -> Response:
    """POST /oauth/introspect: what a token of the client that asks is good for; any other is not active."""
    return await answered(request, "introspection", _introspect)


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

    return await in_transaction(call.oauth.database, work)


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
