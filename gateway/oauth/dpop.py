"""PURE: DPoP proofs (RFC 9449): that whoever shows a token also holds the key that it is bound to.

A proof is good for one method at one address, for a minute, once. Whether it was seen before is asked of `used`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from gateway.oauth import jose
from gateway.oauth.jose import BadJwk, BadSignature, Key
from kit.secrets import fingerprint

TYPE = "dpop+jwt"
OLDEST_SECONDS = 60
SKEW_SECONDS = 10
LONGEST_JTI = 256
NONCE_SECONDS = 180

_DEFAULT_PORTS = {"https": 443, "http": 80}


class InvalidProof(Exception):  # noqa: N818 - it is what it says
    """A proof that is not accepted; the reason is for the log, never for the caller."""


class NonceWanted(InvalidProof):
    """A proof that is good but for a nonce of ours, which it has to carry; here is one."""

    def __init__(self, nonce: str) -> None:
        super().__init__("nonce")
        self.nonce = nonce


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that holds: the thumbprint of its key, and the id under which it may be used once, until an instant."""

    jkt: str
    used_id: UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class Nonces:
    """What a server demands in proofs so that none can be made in advance (RFC 9449, 8 and 9): a word that changes
    every three minutes and is good for twice as long. Nothing of it is kept: every process makes the same of its key.
    """

    key: bytes = field(repr=False)
    are_demanded: bool = False

    def current(self, at: datetime) -> str:
        """The nonce of a wall instant."""
        return self._of(int(at.timestamp()) // NONCE_SECONDS)

    def check(self, said: object, at: datetime) -> None:
        """Nothing where a proof's nonce is good, or none is demanded. Raises NonceWanted."""
        if not self.are_demanded:
            return
        step = int(at.timestamp()) // NONCE_SECONDS
        good = (self._of(step), self._of(step - 1))
        if not isinstance(said, str) or not any(hmac.compare_digest(said.encode(), each.encode()) for each in good):
            raise NonceWanted(self.current(at))

    def _of(self, step: int) -> str:
        digest = hmac.digest(self.key, step.to_bytes(8, "big"), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()


def read(
    proofs: Sequence[str],
    *,
    method: str,
    uri: str,
    at: datetime,
    token: str | None = None,
    nonces: Nonces | None = None,
) -> Proof:
    """The one proof among a request's DPoP headers, for a method and our address; at the resource also for a token.

    at is the wall's instant; nonces None: whatever a proof says of one is not looked at. Raises InvalidProof,
    NonceWanted.
    """
    if len(proofs) != 1:
        raise InvalidProof("no proof, or several")
    proof = proofs[0]
    try:
        key, algorithm, jkt = _key(proof.partition(".")[0], jose.header_of(proof))
        claims = jose.verified(proof, key, algorithm, types=(TYPE,), members=("jwk",))
        issued_at = jose.instant(claims, "iat")
    except BadSignature as error:
        raise InvalidProof(str(error)) from error
    if claims.get("htm") != method or not _is_same(claims.get("htu"), uri):
        raise InvalidProof("method or address")
    now = int(at.timestamp())
    if issued_at is None or not now - OLDEST_SECONDS <= issued_at <= now + SKEW_SECONDS:
        raise InvalidProof("instant")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= LONGEST_JTI:
        raise InvalidProof("jti")
    if token is not None and claims.get("ath") != hash_of(token):
        raise InvalidProof("token")
    if nonces is not None:
        nonces.check(claims.get("nonce"), at)
    until = at + timedelta(seconds=OLDEST_SECONDS + 2 * SKEW_SECONDS)
    return Proof(jkt, fingerprint("dpop", jkt, jti), until)


def hash_of(token: str) -> str:
    """How a proof names the access token that it comes with."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


_known: dict[str, tuple[Key, str, str]] = {}
_MOST_KNOWN = 4_096


def _key(segment: str, header: dict[str, Any]) -> tuple[Key, str, str]:
    """The key in a header, its algorithm and thumbprint. A till's header is the same in every proof, so it is kept."""
    known = _known.get(segment)
    if known is not None:
        return known
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise InvalidProof("no key")
    try:
        key, algorithm = jose.public_key(jwk)
    except BadJwk as error:
        raise InvalidProof(str(error)) from error
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[segment] = (key, algorithm, key.thumbprint())
    return _known[segment]


def _is_same(said: object, uri: str) -> bool:
    return isinstance(said, str) and len(said) <= 2_048 and _normal(said) == _normal(uri)


@lru_cache(maxsize=1_024)
def _normal(uri: str) -> tuple[str, str, int | None, str] | None:
    """An address without what RFC 9449 ignores: query, fragment, the case of scheme and host, a default port."""
    try:
        parts = urlsplit(uri)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.username is not None or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port, parts.path or "/"
