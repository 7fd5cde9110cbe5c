"""A client that signs: its key, its assertions and its proofs of possession, made before they are needed.

A signature costs the client as much as a request costs the gateway, and in life the clients are other machines. So
they are signed before a slice begins, and none of it is in the slice's seconds.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks.figures import Slice
from gateway.oauth import dpop
from kit import clock

COORDINATE_BYTES = 32
FIRST_GUESS = 2_000  # requests a second, before it is known


def encoded(raw: bytes) -> str:
    """Base64 as JWTs have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Signer:
    """A P-256 key and what it signs by ES256."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (encoded(each.to_bytes(COORDINATE_BYTES, "big")) for each in (numbers.x, numbers.y))
        self.public = {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A JWT of this header, to which the algorithm is added, and these claims."""
        head = encoded(orjson.dumps({"alg": "ES256", **header}))
        text = f"{head}.{encoded(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(SHA256())))
        return f"{text}.{encoded(r.to_bytes(COORDINATE_BYTES, 'big') + s.to_bytes(COORDINATE_BYTES, 'big'))}"

    def assertion(self, client_id: str, issuer: str) -> str:
        """What shows at the token endpoint who a client is (RFC 7523), once."""
        now = int(clock.wall().timestamp())
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "jti": _jti(), "iat": now, "exp": now + 60}
        return self.signed({}, claims)

    def proof(self, uri: str, token: str | None = None) -> str:
        """What shows for one POST to an address that one holds the key (RFC 9449), for a token at the resource."""
        claims = {"htm": "POST", "htu": uri, "iat": int(clock.wall().timestamp()), "jti": _jti()}
        if token is not None:
            claims["ath"] = dpop.hash_of(token)
        return self.signed({"typ": "dpop+jwt", "jwk": self.public}, claims)


def _jti() -> str:
    return secrets.token_hex(8)


class Signed:
    """What was signed beforehand. `take` gives one, signed on the spot where there are no more."""

    def __init__(self, sign: Callable[[], str]) -> None:
        self._sign = sign
        self._ready: list[str] = []
        self._per_second = FIRST_GUESS

    def take(self) -> str:
        """One that nobody has used."""
        return self._ready.pop() if self._ready else self._sign()

    def beside(self, load: Callable[[int], Awaitable[Slice]]) -> Callable[[int], Awaitable[Slice]]:
        """The load, before each slice of which enough is signed for it; what is left is old by the next one."""

        async def slice_of(seconds: int) -> Slice:
            self._ready = [self._sign() for _ in range(self._per_second * seconds * 5 // 4)]
            done = await load(seconds)
            self._per_second = max(1, round(done.per_second))
            return done

        return slice_of
