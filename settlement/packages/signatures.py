"""PURE: Ed25519 signatures over packages, as a detached JWS."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from settlement.packages.canonical import base64url, canonical_bytes, digest_hex


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs now."""

    kid: str
    key: Ed25519PrivateKey

    def sign(self, payload: bytes) -> str:
        """A compact JWS (RFC 7515, EdDSA) with the payload detached: what stands between the dots is empty."""
        header = base64url(canonical_bytes({"alg": "EdDSA", "kid": self.kid, "typ": "tessera-settlement"}))
        signature = self.key.sign(f"{header}.{base64url(payload)}".encode())
        return f"{header}..{base64url(signature)}"


def public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """The public half as a JSON Web Key (RFC 8037); its kid is its thumbprint (RFC 7638)."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url(key.public_key().public_bytes_raw())}
    return {**jwk, "kid": base64url(bytes.fromhex(digest_hex(canonical_bytes(jwk))))}
