"""Which OAuth path leads where, and the server's documents: its metadata (RFC 8414) and key set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from authlib.common.security import is_secure_transport
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.oauth import endpoints, jose, pages, shown_tokens
from gateway.oauth.approvers import SignedIn
from gateway.oauth.authentication import Authentication
from gateway.oauth.clients import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN, ClientCache
from gateway.oauth.desk import OAuth, partner_is_active, terminal_is_active
from gateway.oauth.dpop import Nonces
from gateway.oauth.keys import KeyRing
from gateway.oauth.tokens import Bearers
from gateway.oauth.used import UsedIds
from gateway.scopes import SCOPES
from kit.clock import wall
from kit.database import Database
from kit.secrets import Vault

if TYPE_CHECKING:
    from partners.directory import DirectoryCache

_AUTHENTICATION = ["private_key_jwt", "client_secret_basic", "none"]


class BadIssuer(ValueError):  # noqa: N818 - it is what it says
    """An issuer that OAuth must not be served under; the sentence says what to do."""


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
    vault: Vault,
    *,
    signed_in: SignedIn | None = None,
    clients: ClientCache | None = None,
    demands_nonces: bool = False,
    now: Callable[[], datetime] = wall,
) -> OAuth:
    """The OAuth services of a process, with a signing key made if the database has none. Close its `used`.

    signed_in is the port that knows who is signed in at the pages. demands_nonces: a proof of a key has to carry a
    nonce of ours. Raises BadIssuer, BadKey.
    """
    await keys.open()
    views = clients or ClientCache(database)
    used = UsedIds(database.pool, now=now)

    async def partner_takes_part(partner_id: int) -> bool:
        return partner_is_active(await directory.get(), partner_id)

    async def terminal_takes_part(terminal_id: int) -> bool:
        return terminal_is_active(await directory.get(), terminal_id)

    nonces = Nonces(vault.derive("dpop-nonce"), demands_nonces)
    bearers = Bearers(
        issuer, keys, views, partner_takes_part, terminal_is_active=terminal_takes_part, used=used, nonces=nonces,
        now=now,
    )  # fmt: skip
    authentication = Authentication(issuer, database, used, now)
    return OAuth(issuer, database, directory, keys, views, bearers, used, authentication, vault, signed_in, nonces, now)


async def key_set(request: Request) -> Response:
    """GET /oauth/jwks.json: the public halves of the signing keys."""
    oauth: OAuth = request.app.state.oauth
    return _document(await oauth.keys.public())


async def metadata(request: Request) -> Response:
    """GET /.well-known/oauth-authorization-server: exactly what is served, under the configured address."""
    oauth: OAuth = request.app.state.oauth
    return _document(described(oauth.issuer))


def described(issuer: str) -> dict[str, object]:
    """The server's metadata (RFC 8414, 8628, 9126, 9207, 9449). Raises ValueError where it would not be valid."""
    document = AuthorizationServerMetadata(
        {
            "issuer": issuer,
            "authorization_endpoint": issuer + "/oauth/authorize",
            "token_endpoint": issuer + "/oauth/token",
            "pushed_authorization_request_endpoint": issuer + "/oauth/par",
            "require_pushed_authorization_requests": True,
            "device_authorization_endpoint": issuer + "/oauth/device_authorization",
            "revocation_endpoint": issuer + "/oauth/revoke",
            "introspection_endpoint": issuer + "/oauth/introspect",
            "jwks_uri": issuer + "/oauth/jwks.json",
            "grant_types_supported": [CLIENT_CREDENTIALS, AUTHORIZATION_CODE, REFRESH_TOKEN, DEVICE_CODE],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": _AUTHENTICATION,
            "token_endpoint_auth_signing_alg_values_supported": list(jose.ALGORITHMS),
            "revocation_endpoint_auth_methods_supported": _AUTHENTICATION,
            "revocation_endpoint_auth_signing_alg_values_supported": list(jose.ALGORITHMS),
            "introspection_endpoint_auth_methods_supported": _AUTHENTICATION,
            "introspection_endpoint_auth_signing_alg_values_supported": list(jose.ALGORITHMS),
            "dpop_signing_alg_values_supported": list(jose.ALGORITHMS),
            "ui_locales_supported": ["en", "ru", "ro"],
            "scopes_supported": sorted(SCOPES),
        }
    )
    if is_secure_transport(issuer) and issuer.startswith("https://"):
        document.validate()
    return dict(document)


def _document(content: object) -> Response:
    return Response(orjson.dumps(content), 200, {"Cache-Control": "public, max-age=60"}, "application/json")


ROUTES = [
    Route("/oauth/token", endpoints.token, methods=["POST"]),
    Route("/oauth/par", endpoints.pushed, methods=["POST"]),
    Route("/oauth/device_authorization", endpoints.device, methods=["POST"]),
    Route("/oauth/revoke", shown_tokens.revoke, methods=["POST"]),
    Route("/oauth/introspect", shown_tokens.introspect, methods=["POST"]),
    Route("/oauth/authorize", pages.authorize, methods=["GET", "POST"]),
    Route("/oauth/device", pages.device, methods=["GET", "POST"]),
    Route("/oauth/jwks.json", key_set, methods=["GET"]),
    Route("/.well-known/oauth-authorization-server", metadata, methods=["GET"]),
]
