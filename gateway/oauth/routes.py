"""The OAuth endpoints and what they share: POST /oauth/token, the key set, the server's metadata (RFC 8414)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from authlib.common.security import is_secure_transport
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.oauth.clients import ClientCache
from gateway.oauth.keys import KeyRing
from gateway.oauth.server import token
from gateway.oauth.tokens import Bearers
from gateway.scopes import SCOPES
from kit.clock import wall
from kit.database import Database

if TYPE_CHECKING:
    from partners.directory import DirectoryCache

ACTIVE = "ACTIVE"


class BadIssuer(ValueError):  # noqa: N818 - it is what it says
    """An issuer that OAuth must not be served under; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """What the OAuth endpoints of a process share; kept in the application's state."""

    issuer: str
    database: Database
    directory: DirectoryCache
    keys: KeyRing
    clients: ClientCache
    bearers: Bearers
    now: Callable[[], datetime] = wall

    async def partners_now(self) -> Callable[[int], bool]:
        """Whether a partner takes part, as of a moment ago."""
        directory = await self.directory.get()

        def is_active(partner_id: int) -> bool:
            partner = directory.partner(partner_id)
            return partner is not None and partner.status == ACTIVE

        return is_active


def checked_issuer(issuer: str) -> str:
    """The issuer without a slash at its end. Raises BadIssuer unless it is https, or http on this machine."""
    trimmed = issuer.rstrip("/")
    if not is_secure_transport(trimmed) or "?" in trimmed or "#" in trimmed:
        raise BadIssuer("TESSERA_ISSUER must be an https:// address; http:// is for this machine alone")
    return trimmed


async def open_oauth(
    issuer: str,
    database: Database,
    keys: KeyRing,
    directory: DirectoryCache,
    *,
    clients: ClientCache | None = None,
    now: Callable[[], datetime] = wall,
) -> OAuth:
    """The OAuth services of a process, with a signing key made if the database has none. Raises BadIssuer, BadKey."""
    await keys.open()
    views = clients or ClientCache(database)

    async def partner_is_active(partner_id: int) -> bool:
        partner = (await directory.get()).partner(partner_id)
        return partner is not None and partner.status == ACTIVE

    bearers = Bearers(issuer, keys, views, partner_is_active, now=now)
    return OAuth(issuer, database, directory, keys, views, bearers, now)


async def key_set(request: Request) -> Response:
    """GET /oauth/jwks.json: the public halves of the signing keys."""
    oauth: OAuth = request.app.state.oauth
    return _document(await oauth.keys.public())


async def metadata(request: Request) -> Response:
    """GET /.well-known/oauth-authorization-server: exactly what is served, under the configured address."""
    oauth: OAuth = request.app.state.oauth
    return _document(described(oauth.issuer))


def described(issuer: str) -> dict[str, object]:
    """The server's metadata (RFC 8414). Raises ValueError where it would not be valid."""
    document = AuthorizationServerMetadata(
        {
            "issuer": issuer,
            "token_endpoint": issuer + "/oauth/token",
            "jwks_uri": issuer + "/oauth/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "scopes_supported": sorted(SCOPES),
        }
    )
    return dict(document)


def _document(content: object) -> Response:
    return Response(orjson.dumps(content), 200, {"Cache-Control": "public, max-age=60"}, "application/json")


ROUTES = [
    Route("/oauth/token", token, methods=["POST"]),
    Route("/oauth/jwks.json", key_set, methods=["GET"]),
    Route("/.well-known/oauth-authorization-server", metadata, methods=["GET"]),
]
