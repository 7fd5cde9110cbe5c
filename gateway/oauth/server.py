"""Authlib's authorization server for one request, run inside run_sync on the async connection.

Who asks, and the proof of the key that it holds, are known before; what the library leaves open is closed in the grant
types. What is written is committed with an error too, because a reused token ends its grant and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749 import UnsupportedGrantTypeError
from sqlalchemy import Connection
from starlette.responses import Response

from gateway.oauth import forms, grant_store, grants
from gateway.oauth.authentication import TokenClient
from gateway.oauth.forms import NO_STORE, Events
from gateway.oauth.grants import Challenge, Codes, Credentials, Devices, HeldGrant, NotThisResponseType, Refreshing
from gateway.oauth.keys import TOKEN_LIFE, SigningKey
from gateway.oauth.tokens import Subject, resource_of, write


class GrantNotServed(UnsupportedGrantTypeError):  # type: ignore[misc]  # noqa: N818
    """Another grant type; the answer does not repeat it."""

    description = "This grant type is not served."

    def __init__(self) -> None:
        super().__init__(None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process knows of the moment: its address, the key that signs, who takes part, the wall's instant."""

    issuer: str
    signing: SigningKey
    refresh_key: bytes = field(repr=False)
    partner_is_active: Callable[[int], bool]
    terminal_is_active: Callable[[int], bool]
    at: datetime


class Server(AuthorizationServer):  # type: ignore[misc]
    """The library's server for one request of a client. jkt: thumbprint of the key whose proof came with it."""

    def __init__(
        self, connection: Connection | None, standing: Standing, client: TokenClient, *, jkt: str | None = None
    ) -> None:
        super().__init__()
        self._connection = connection
        self._standing = standing
        self.client = client
        self.issuer = standing.issuer
        self.resource = resource_of(standing.issuer)
        self.jkt = jkt
        self.at = standing.at
        self.refresh_key = standing.refresh_key
        self.terminal_is_active = standing.terminal_is_active
        self.events = Events(standing.at)
        self.grant: HeldGrant | None = None
        self.refresh_token: str | None = None
        self.register_grant(Credentials)
        self.register_grant(Codes, [Challenge()])
        self.register_grant(Refreshing)
        self.register_grant(Devices)
        self.register_token_generator("default", self._token)

    @property
    def connection(self) -> Connection:
        """The request's connection, inside its transaction."""
        assert self._connection is not None
        return self._connection

    def end_reused(self, grant: HeldGrant, why: str) -> None:
        """End a grant one of whose codes or tokens came back: two hold it, and one of them should not."""
        grants.end(self.connection, why=why, at=self.at, grant_id=grant.grant_id)
        self.events.add(why, f"grant:{grant.grant_id}", client=self.client.client_id)

    def query_client(self, client_id: str) -> TokenClient | None:
        """The client that asks; there is no other in a request."""
        return self.client if client_id == self.client.client_id else None

    def authenticate_client(
        self, request: OAuth2Request, methods: Sequence[str], endpoint: str = "token"
    ) -> TokenClient:
        """The client, who was authenticated before."""
        return self.client

    def get_token_grant(self, request: OAuth2Request) -> Any:
        """The grant type that is asked for. Raises unsupported_grant_type."""
        known = (Credentials, Codes, Refreshing, Devices)
        if request.payload.grant_type not in [kind.GRANT_TYPE for kind in known]:
            raise GrantNotServed
        return super().get_token_grant(request)

    def get_authorization_grant(self, request: OAuth2Request) -> Any:
        """The authorization code grant. Raises unsupported_response_type."""
        if request.payload.response_type != "code":
            raise NotThisResponseType
        return super().get_authorization_grant(request)

    def _token(
        self, *, client: TokenClient, scope: str | None, include_refresh_token: bool = False, **_: object
    ) -> dict[str, object]:
        granted = client.get_allowed_scope(scope)
        subject = Subject(client.client_id, granted, self.jkt)
        if self.grant is not None:
            subject = Subject(
                client.client_id, granted, self.jkt, self.grant.grant_id, self.grant.actor_id, self.grant.terminal_id
            )
        token: dict[str, object] = {
            "access_token": write(self._standing.issuer, self._standing.signing, subject, self.at),
            "token_type": "Bearer" if self.jkt is None else "DPoP",
            "expires_in": int(TOKEN_LIFE.total_seconds()),
            "scope": granted,
        }
        if self.grant is not None and include_refresh_token:
            self.refresh_token = grants.new_credential()
        if self.refresh_token is not None:
            token["refresh_token"] = self.refresh_token
        return token

    def save_token(self, token: Mapping[str, object], request: OAuth2Request) -> None:
        """Keep the hash of a refresh token. An access token carries everything and lives for minutes."""
        if self.grant is not None and self.refresh_token is not None:
            grant_store.insert_refresh(
                self.connection,
                token_hash=grants.hash_of_credential(self.refresh_token),
                grant_id=self.grant.grant_id,
                at=self.at,
                expires_at=grants.expires_at(self.grant, self.at),
            )

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        """The request itself, which is one already."""
        return request

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Response:
        """An answer in JSON, or one that leads back to the client and says who we are (RFC 9207)."""
        given = dict(headers)
        if "Location" in given:
            location = add_params_to_uri(given["Location"], [("iss", self._standing.issuer)])
            return Response(status_code=303, headers={**NO_STORE, "Location": location})
        return forms.answer(status, body, headers)
