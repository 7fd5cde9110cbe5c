"""PURE: what others sign: a client's assertion, a proof of a key. Which keys and algorithms count, and nothing else.

A signature is accepted by ES256, PS256 or Ed25519 alone; a header that brings more than it needs is refused, and no
address in one is ever followed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

Key = ECKey | RSAKey | OKPKey

ALGORITHMS = ("ES256", "PS256", "EdDSA", "Ed25519")
"""As a header may spell them; EdDSA is the old name of Ed25519."""
LONGEST = 8_192
LEAST_RSA_BITS = 2_048
MOST_RSA_BITS = 4_096

_PUBLIC_MEMBERS = {"EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e"), "OKP": ("kty", "crv", "x")}
_PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))


class BadSignature(Exception):  # noqa: N818 - it is what it says
    """Something signed that is not accepted; the reason is for the log, never for the caller."""


class BadJwk(ValueError):  # noqa: N818 - it is what it says
    """A JSON Web Key that is not accepted; the sentence says why and repeats nothing of it."""


class _Registry(JWSRegistry):
    """The library's rules with room for the key of an RSA proof in a header, and both names of one algorithm."""

    max_header_length = 2_048

    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=["ES256", "PS256", "Ed25519"])


def public_key(jwk: Mapping[str, Any]) -> tuple[Key, str]:
    """A public key and the algorithm that it is for: ES256, PS256 or Ed25519. Raises BadJwk."""
    if _PRIVATE_MEMBERS & jwk.keys():
        raise BadJwk("the key has its private part in it")
    kind = jwk.get("kty")
    members = _PUBLIC_MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None or not all(isinstance(jwk.get(name), str) for name in members):
        raise BadJwk("the key is not an EC, RSA or OKP key")
    bare = {name: jwk[name] for name in members}
    try:
        if kind == "EC" and jwk["crv"] == "P-256":
            return _opened(ECKey.import_key(bare)), "ES256"
        if kind == "OKP" and jwk["crv"] == "Ed25519":
            return _opened(OKPKey.import_key(bare)), "Ed25519"
        if kind == "RSA" and LEAST_RSA_BITS <= 6 * len(jwk["n"]) <= MOST_RSA_BITS + 6:
            key = RSAKey.import_key(bare)
            if LEAST_RSA_BITS <= key.raw_value.key_size <= MOST_RSA_BITS:
                return key, "PS256"
    except (JoseError, ValueError, TypeError) as error:
        raise BadJwk("the key's numbers make no key") from error
    raise BadJwk(f"the key must be EC P-256, OKP Ed25519, or RSA of {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits")


def _opened(key: Any) -> Any:
    _ = key.raw_value  # imports are lazy: only now is it seen that a point is on its curve
    return key


def header_of(token: str) -> dict[str, Any]:
    """The header of something signed, not trusted yet. Raises BadSignature for what is not one."""
    if len(token) > LONGEST or token.count(".") != 2 or not token.isascii():
        raise BadSignature("size or form")
    return _object(token.partition(".")[0])


def claims_of(token: str) -> dict[str, Any]:
    """The claims of something signed, not trusted yet. Raises BadSignature for what is not one."""
    return _object(token.split(".")[1])


def verified(
    token: str, key: Key, algorithm: str, *, types: Collection[str | None], members: Collection[str]
) -> dict[str, Any]:
    """The claims of a token that this key signed by this algorithm. Raises BadSignature for anything else.

    types are the header's `typ` that are accepted, lower case; members what else it may hold beside alg and typ.
    """
    header = header_of(token)
    said, kind = header.get("alg"), header.get("typ")
    if ("Ed25519" if said == "EdDSA" else said) != algorithm:
        raise BadSignature("algorithm")
    if (kind.lower() if isinstance(kind, str) else kind) not in types:
        raise BadSignature("type")
    if header.keys() - {"alg", "typ", *members}:
        raise BadSignature("header")
    try:
        jws.deserialize_compact(token, key, registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise BadSignature("signature") from error
    return claims_of(token)


def instant(claims: Mapping[str, Any], name: str) -> int | None:
    """A claim in whole seconds since 1970, None where it is absent. Raises BadSignature for another kind of value."""
    found = claims.get(name)
    if found is not None and type(found) is not int:
        raise BadSignature(name)
    return found


def _object(segment: str) -> dict[str, Any]:
    try:
        found = orjson.loads(base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadSignature("not a JWT") from error
    if not isinstance(found, dict):
        raise BadSignature("not a JWT")
    return found
