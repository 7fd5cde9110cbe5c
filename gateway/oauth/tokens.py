"""Access tokens: how one is written, and what a bearer must show on every request.

A token is a JWT of type at+jwt (RFC 9068) signed with ES256, good for ten minutes at the GraphQL endpoint alone. A
signature is checked once; what can change meanwhile (client, partner, keys) is asked of the moment-old views.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError

from gateway.context import Viewer
from gateway.oauth.clients import Client, ClientCache
from gateway.oauth.keys import ALGORITHM, TOKEN_LIFE, KeyRing, SigningKey
from kit.clock import wall

TYPE = "at+jwt"
LONGEST_TOKEN = 4096
CLOCK_SKEW_SECONDS = 10


class InvalidToken(Exception):  # noqa: N818 - it is what it says
    """A bearer token that is not accepted; the reason is for the log, never for the caller."""


@dataclass(frozen=True, slots=True)
class _Grant:
    client_id: str
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    kid: str


def resource_of(issuer: str) -> str:
    """The audience of our tokens: the address of the GraphQL endpoint."""
    return issuer.rstrip("/") + "/graphql"


def write(issuer: str, signing: SigningKey, client_id: str, scope: str, at: datetime) -> str:
    """A signed access token for a client with a space-separated scope, issued at a wall instant."""
    issued_at = int(at.timestamp())
    claims = {
        "iss": issuer,
        "aud": resource_of(issuer),
        "sub": client_id,
        "client_id": client_id,
        "scope": scope,
        "jti": secrets.token_urlsafe(16),
        "iat": issued_at,
        "exp": issued_at + int(TOKEN_LIFE.total_seconds()),
    }
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": signing.kid}
    return jwt.encode(header, claims, signing.key, algorithms=[ALGORITHM])


class Bearers:
    """Checks bearer tokens for one process. Keeps what it has verified, up to a number of tokens."""

    def __init__(
        self,
        issuer: str,
        keys: KeyRing,
        clients: ClientCache,
        partner_is_active: Callable[[int], Awaitable[bool]],
        *,
        now: Callable[[], datetime] = wall,
        capacity: int = 4096,
    ) -> None:
        self._issuer = issuer
        self._resource = resource_of(issuer)
        self._keys = keys
        self._clients = clients
        self._partner_is_active = partner_is_active
        self._now = now
        self._capacity = capacity
        self._verified: OrderedDict[bytes, _Grant] = OrderedDict()

    async def viewer(self, token: str) -> Viewer:
        """Whom a token speaks for. Raises InvalidToken for everything that is not good here and now."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise InvalidToken("size or characters")
        digest = hashlib.sha256(token.encode()).digest()
        grant = self._verified.get(digest)
        if grant is None:
            grant = await self._verify(token)
            self._keep(digest, grant)
        else:
            self._verified.move_to_end(digest)
        await self._check_now(digest, grant)
        return await self._standing(grant)

    async def _check_now(self, digest: bytes, grant: _Grant) -> None:
        if grant.expires_at <= self._now().timestamp():
            self._verified.pop(digest, None)
            raise InvalidToken("expired")
        if await self._keys.verifier(grant.kid) is None:
            raise InvalidToken("key withdrawn")

    async def _standing(self, grant: _Grant) -> Viewer:
        client = await self._clients.find(grant.client_id)
        if client is None or not client.active:
            raise InvalidToken("client unknown or suspended")
        if grant.issued_at < client.not_before:
            raise InvalidToken("issued before the client's tokens were ended")
        if client.partner_id is not None and not await self._partner_is_active(client.partner_id):
            raise InvalidToken("partner unknown or suspended")
        return _viewer(client, grant)

    async def _verify(self, token: str) -> _Grant:
        kid = _kid_of(token)
        signing = await self._keys.verifier(kid)
        if signing is None:
            raise InvalidToken("unknown key")
        try:
            claims = jwt.decode(token, signing.key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError) as error:
            raise InvalidToken("signature") from error
        return self._grant(claims, kid)

    def _grant(self, claims: Mapping[str, Any], kid: str) -> _Grant:
        if claims.get("iss") != self._issuer or claims.get("aud") != self._resource:
            raise InvalidToken("issuer or audience")
        if "cnf" in claims:
            raise InvalidToken("bound to a key that was not shown")
        client_id, scope = claims.get("client_id"), claims.get("scope")
        if not isinstance(client_id, str) or not isinstance(scope, str) or claims.get("sub") != client_id:
            raise InvalidToken("subject or scope")
        if not isinstance(claims.get("jti"), str):
            raise InvalidToken("jti")
        issued_at, expires_at = claims.get("iat"), claims.get("exp")
        if type(issued_at) is not int or type(expires_at) is not int:
            raise InvalidToken("instants")
        if issued_at > self._now().timestamp() + CLOCK_SKEW_SECONDS:
            raise InvalidToken("issued in the future")
        return _Grant(client_id, frozenset(scope.split(" ")), issued_at, expires_at, kid)

    def _keep(self, digest: bytes, grant: _Grant) -> None:
        self._verified[digest] = grant
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)


def _viewer(client: Client, grant: _Grant) -> Viewer:
    return Viewer(client.client_no, client.client_id, client.partner_id, grant.scopes & client.scopes)


def _kid_of(token: str) -> str:
    """The kid in the header of a token that says it is one of ours; nothing in it is trusted yet."""
    head = token.partition(".")[0]
    try:
        header = orjson.loads(base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidToken("not a JWT") from error
    if not isinstance(header, dict) or header.get("typ") != TYPE or header.get("alg") != ALGORITHM:
        raise InvalidToken("type or algorithm")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise InvalidToken("no kid")
    return kid
