"""Access tokens: how one is written, and what its bearer must show on every request.

A token is a JWT of type at+jwt (RFC 9068) signed with ES256, good for ten minutes at the GraphQL endpoint alone. Its
signature is checked once; what can change meanwhile (client, partner, terminal, keys, what was ended) is asked of the
moment-old views. One that is bound to a key comes with a fresh proof of that key on every request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError

from gateway.context import Viewer
from gateway.oauth import dpop
from gateway.oauth.clients import Client, ClientCache
from gateway.oauth.dpop import InvalidProof, Nonces
from gateway.oauth.keys import ALGORITHM, TOKEN_LIFE, KeyRing, SigningKey
from gateway.oauth.used import UsedIds
from kit.clock import wall

TYPE = "at+jwt"
LONGEST_TOKEN = 4096
CLOCK_SKEW_SECONDS = 10


class InvalidToken(Exception):  # noqa: N818 - it is what it says
    """An access token that is not accepted; the reason is for the log, never for the caller."""


@dataclass(frozen=True, slots=True)
class Subject:
    """For whom a token speaks: a client with a space-separated scope, the key that it is bound to, and where a person
    allowed it, the grant, that person, and the terminal that the client is.
    """

    client_id: str
    scope: str
    jkt: str | None = None
    grant_id: str | None = None
    actor_id: int | None = None
    terminal_id: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """What a verified token says."""

    client_id: str
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    kid: str
    token_id: str
    jkt: str | None
    grant_id: str | None
    actor_id: int | None
    terminal_id: int | None

    @property
    def subject(self) -> str:
        """Its sub: the person who gave the grant, or the client itself."""
        return _subject(self.client_id, self.actor_id, self.terminal_id)


def resource_of(issuer: str) -> str:
    """The audience of our tokens: the address of the GraphQL endpoint."""
    return issuer.rstrip("/") + "/graphql"


def write(issuer: str, signing: SigningKey, subject: Subject, at: datetime) -> str:
    """A signed access token, issued at a wall instant."""
    issued_at = int(at.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": resource_of(issuer),
        "sub": _subject(subject.client_id, subject.actor_id, subject.terminal_id),
        "client_id": subject.client_id,
        "scope": subject.scope,
        "jti": secrets.token_urlsafe(16),
        "iat": issued_at,
        "exp": issued_at + int(TOKEN_LIFE.total_seconds()),
    }
    if subject.jkt is not None:
        claims["cnf"] = {"jkt": subject.jkt}
    named = {"grant": subject.grant_id, "actor": subject.actor_id, "terminal": subject.terminal_id}
    claims.update({name: value for name, value in named.items() if value is not None})
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": signing.kid}
    return jwt.encode(header, claims, signing.key, algorithms=[ALGORITHM])


def _subject(client_id: str, actor_id: int | None, terminal_id: int | None) -> str:
    """A till speaks for itself, an app for the person who allowed it."""
    return client_id if actor_id is None or terminal_id is not None else f"actor:{actor_id}"


async def _always(_: int) -> bool:
    return True


class Bearers:
    """Checks access tokens for one process. Keeps what it has verified, up to a number of tokens."""

    def __init__(
        self,
        issuer: str,
        keys: KeyRing,
        clients: ClientCache,
        partner_is_active: Callable[[int], Awaitable[bool]],
        *,
        terminal_is_active: Callable[[int], Awaitable[bool]] = _always,
        used: UsedIds | None = None,
        nonces: Nonces | None = None,
        now: Callable[[], datetime] = wall,
        capacity: int = 4096,
    ) -> None:
        self._issuer = issuer
        self._resource = resource_of(issuer)
        self._keys = keys
        self._clients = clients
        self._partner_is_active = partner_is_active
        self._terminal_is_active = terminal_is_active
        self._used = used
        self._nonces = nonces
        self._now = now
        self._capacity = capacity
        self._verified: OrderedDict[bytes, Token] = OrderedDict()

    async def viewer(self, token: str) -> Viewer:
        """Whom a bearer's token speaks for. Raises InvalidToken for everything that is not good here and now."""
        read = await self.read(token)
        if read.jkt is not None:
            raise InvalidToken("bound to a key that was not shown")
        return await self._standing(read)

    async def bound_viewer(self, token: str, proofs: Sequence[str], *, method: str, path: str | None = None) -> Viewer:
        """Whom a token speaks for that comes with a proof of its key, for a method at the GraphQL endpoint, or at
        another path of ours.

        Raises InvalidToken, and InvalidProof or NonceWanted where only the proof is wrong.
        """
        read = await self.read(token)
        if read.jkt is None or self._used is None:
            raise InvalidToken("bound to no key")
        uri = self._resource if path is None else self._issuer.rstrip("/") + path
        proof = dpop.read(proofs, method=method, uri=uri, at=self._now(), token=token, nonces=self._nonces)
        if proof.jkt != read.jkt:
            raise InvalidToken("bound to another key")
        viewer = await self._standing(read)
        if not await self._used.claim(proof.used_id, until=proof.until):
            raise InvalidProof("seen before")
        return viewer

    async def viewer_still(self, token: str) -> Viewer:
        """Whom a token still speaks for whose bearer was let in with it before, and showed its key then.

        Raises InvalidToken.
        """
        return await self._standing(await self.read(token))

    async def read(self, token: str) -> Token:
        """What a token of ours says that is within its time. Raises InvalidToken."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise InvalidToken("size or characters")
        digest = hashlib.sha256(token.encode()).digest()
        held = self._verified.get(digest)
        if held is None:
            held = await self._verify(token)
            self._keep(digest, held)
        else:
            self._verified.move_to_end(digest)
        await self._check_now(digest, held)
        return held

    async def _check_now(self, digest: bytes, grant: Token) -> None:
        if grant.expires_at <= self._now().timestamp():
            self._verified.pop(digest, None)
            raise InvalidToken("expired")
        if await self._keys.verifier(grant.kid) is None:
            raise InvalidToken("key withdrawn")

    async def _standing(self, grant: Token) -> Viewer:
        client = await self._clients.find(grant.client_id)
        if client is None or not client.active:
            raise InvalidToken("client unknown or suspended")
        if grant.issued_at < client.not_before:
            raise InvalidToken("issued before the client's tokens were ended")
        if self._clients.has_ended(grant.token_id) or (grant.grant_id and self._clients.has_ended(grant.grant_id)):
            raise InvalidToken("ended")
        if grant.terminal_id is not None and not await self._terminal_is_active(grant.terminal_id):
            raise InvalidToken("terminal suspended")
        if client.partner_id is not None and not await self._partner_is_active(client.partner_id):
            raise InvalidToken("partner unknown or suspended")
        return _viewer(client, grant)

    async def _verify(self, token: str) -> Token:
        kid = _kid_of(token)
        signing = await self._keys.verifier(kid)
        if signing is None:
            raise InvalidToken("unknown key")
        try:
            claims = jwt.decode(token, signing.key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError) as error:
            raise InvalidToken("signature") from error
        return self._grant(claims, kid)

    def _grant(self, claims: Mapping[str, Any], kid: str) -> Token:
        if claims.get("iss") != self._issuer or claims.get("aud") != self._resource:
            raise InvalidToken("issuer or audience")
        client_id, scope, token_id = claims.get("client_id"), claims.get("scope"), claims.get("jti")
        if not isinstance(client_id, str) or not isinstance(scope, str) or not isinstance(token_id, str):
            raise InvalidToken("client, scope or jti")
        issued_at, expires_at = claims.get("iat"), claims.get("exp")
        if type(issued_at) is not int or type(expires_at) is not int:
            raise InvalidToken("instants")
        if issued_at > self._now().timestamp() + CLOCK_SKEW_SECONDS:
            raise InvalidToken("issued in the future")
        grant_id, actor_id, terminal_id = claims.get("grant"), claims.get("actor"), claims.get("terminal")
        scopes = frozenset(scope.split(" "))
        token = Token(
            client_id, scopes, issued_at, expires_at, kid, token_id, _jkt_of(claims), grant_id, actor_id, terminal_id
        )
        if claims.get("sub") != token.subject:
            raise InvalidToken("subject")
        return token

    def _keep(self, digest: bytes, grant: Token) -> None:
        self._verified[digest] = grant
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)


def _jkt_of(claims: Mapping[str, Any]) -> str | None:
    """The key that a token is bound to. A binding that we do not know is one that we cannot check."""
    if "cnf" not in claims:
        return None
    bound = claims["cnf"]
    if not isinstance(bound, dict) or bound.keys() != {"jkt"} or not isinstance(bound["jkt"], str):
        raise InvalidToken("bound in another way")
    return str(bound["jkt"])


def _viewer(client: Client, grant: Token) -> Viewer:
    return Viewer(
        client.client_no, client.client_id, client.partner_id, grant.scopes & client.scopes,
        grant.terminal_id, grant.actor_id,
    )  # fmt: skip


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
