"""A device with passkeys, in software: real keys, real signatures, and every lie that a test wants it to tell."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class Key:
    """A passkey: its pair, whose it is, and how often it was used."""

    credential_id: bytes
    private: ec.EllipticCurvePrivateKey
    user_handle: bytes
    count: int = 0


@dataclass
class Authenticator:
    """Makes and uses passkeys for an origin. flags and the rest may be set to what an honest device never says."""

    origin: str = "http://localhost:8000"
    host: str = "localhost"
    flags: int = UP | UV
    counts: bool = True
    keys: list[Key] = field(default_factory=list)

    def make(self, options: dict[str, Any], **lies: Any) -> dict[str, Any]:
        """Answer the options of an addition with a new passkey, as a browser's credential in JSON."""
        number = len(self.keys)
        credential_id = hashlib.sha256(f"{id(self)}:{number}".encode()).digest()
        key = Key(credential_id, ec.generate_private_key(ec.SECP256R1()), decode(options["user"]["id"]))
        self.keys.append(key)
        point = key.private.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        attested = bytes(16) + struct.pack(">H", len(credential_id)) + credential_id + public
        data = self._data(key, self.flags | AT, lies) + attested
        client = self._client("webauthn.create", options, lies)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._credential(key, client, attestationObject=encode(attestation))

    def use(self, options: dict[str, Any], key: Key | None = None, **lies: Any) -> dict[str, Any]:
        """Answer the options of a sign-in, as a browser's credential in JSON."""
        key = key or self.keys[-1]
        if self.counts:
            key.count += 1
        data = self._data(key, self.flags, lies)
        client = self._client("webauthn.get", options, lies)
        signed = (lies.get("signed_by") or key).private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._credential(
            key, client, authenticatorData=encode(data), signature=encode(signed),
            userHandle=encode(lies.get("user_handle", key.user_handle)),
        )  # fmt: skip

    def _data(self, key: Key, flags: int, lies: dict[str, Any]) -> bytes:
        host = hashlib.sha256(str(lies.get("host", self.host)).encode()).digest()
        return host + struct.pack(">BI", lies.get("flags", flags), lies.get("count", key.count))

    def _client(self, kind: str, options: dict[str, Any], lies: dict[str, Any]) -> bytes:
        told = {
            "type": lies.get("type", kind),
            "challenge": lies.get("challenge", options["challenge"]),
            "origin": lies.get("origin", self.origin),
            "crossOrigin": False,
        }
        return json.dumps(told).encode()

    def _credential(self, key: Key, client: bytes, **response: Any) -> dict[str, Any]:
        name = encode(key.credential_id)
        return {
            "id": name, "rawId": name, "type": "public-key", "clientExtensionResults": {},
            "response": {"clientDataJSON": encode(client), **response},
        }  # fmt: skip


def encode(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of `encode`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
