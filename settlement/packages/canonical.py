"""PURE: the one way to write a value as bytes that are hashed or signed: JSON after RFC 8785, and no numbers in it.

Numbers of JSON are floats to most programs, so amounts, points and counts are strings of digits. What is left of
RFC 8785 then is: keys sorted, no space, UTF-8. Keys are ASCII, whose order is the same for bytes and UTF-16.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

Value = str | bool | None | Sequence["Value"] | Mapping[str, "Value"]


def canonical_bytes(value: Value) -> bytes:
    """The bytes of a value. Raises TypeError for a number and ValueError for a key that is not ASCII."""
    _check(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def digest_hex(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return sha256(content).hexdigest()


def base64url(content: bytes) -> str:
    """base64url without padding, as JOSE writes bytes (RFC 7515)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _check(value: object) -> None:
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ValueError(f"not a key of a canonical object: {key!r}")
            _check(inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            _check(inner)
    else:
        raise TypeError(f"not a canonical value: {type(value).__name__}")
