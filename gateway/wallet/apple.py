"""Passes for Apple's wallet: a .pkpass is an archive of files, a manifest of their hashes, and its detached signature.

Apple's PassKit package format says what is in it; that hashes are SHA-1 is the format's choice, the signature is over
SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509.oid import NameOID

from gateway.wallet.passes import Face

MEDIA_TYPE = "application/vnd.apple.pkpass"
ICON = Path(__file__).parent / "icon.png"
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BadSigner(Exception):  # noqa: N818 - it is what the file is
    """The file is no private key with the certificate of a pass type and those above it."""


@dataclass(frozen=True, slots=True)
class AppleSigner:
    """A pass type's key and certificate, and those that lead from it to Apple's root. Never prints its key."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...]

    def __repr__(self) -> str:
        return f"AppleSigner({self.pass_type})"

    @classmethod
    def read(cls, file: Path) -> AppleSigner:
        """The signer of a PEM file: the private key, the pass type's certificate, then those above it. Raises
        BadSigner."""
        try:
            content = file.read_bytes()
            key = load_pem_private_key(content, None)
            certificate, *above = x509.load_pem_x509_certificates(content)
        except (OSError, ValueError, TypeError) as error:
            raise BadSigner(f"{file} is no PEM file of a private key and certificates") from error
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise BadSigner(f"{file} holds a key of a kind that signs no passes")
        if key.public_key() != certificate.public_key():
            raise BadSigner(f"{file}: the first certificate is not that of the key")
        signer = cls(key, certificate, tuple(above))
        if not signer.pass_type or not signer.team:
            raise BadSigner(f"{file}: the first certificate names no pass type (UID) and team (OU)")
        return signer

    @property
    def pass_type(self) -> str:
        """The pass type identifier that the certificate is for."""
        return _named(self.certificate, NameOID.USER_ID)

    @property
    def team(self) -> str:
        """The team that the certificate was given to."""
        return _named(self.certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)

    def pack(self, face: Face) -> bytes:
        """The .pkpass of a face."""
        files = {"pass.json": orjson.dumps(_content(self, face)), "icon.png": ICON.read_bytes()}
        files["icon@2x.png"] = files["logo.png"] = files["icon.png"]
        manifest = orjson.dumps(
            {name: hashlib.sha1(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
        )
        files |= {"manifest.json": manifest, "signature": self._signed(manifest)}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
        return packed.getvalue()

    def _signed(self, manifest: bytes) -> bytes:
        builder = PKCS7SignatureBuilder().set_data(manifest).add_signer(self.certificate, self.key, SHA256())
        for certificate in self.above:
            builder = builder.add_certificate(certificate)
        return builder.sign(Encoding.DER, [PKCS7Options.DetachedSignature, PKCS7Options.Binary])


def _content(signer: AppleSigner, face: Face) -> dict[str, Any]:
    return {
        "formatVersion": 1,
        "passTypeIdentifier": signer.pass_type,
        "teamIdentifier": signer.team,
        "serialNumber": face.serial,
        "organizationName": face.programme,
        "description": face.programme,
        "logoText": face.programme,
        "sharingProhibited": True,
        "foregroundColor": "rgb(253,243,231)",
        "labelColor": "rgb(251,228,205)",
        "backgroundColor": "rgb(109,42,16)",
        "barcodes": [
            {
                "format": "PKBarcodeFormatQR", "message": face.number, "messageEncoding": "iso-8859-1",
                "altText": face.spaced,
            }
        ],
        "storeCard": {
            "headerFields": [{"key": "points", "label": face.points_label, "value": face.points}],
            "secondaryFields": [{"key": "number", "label": face.number_label, "value": face.spaced}],
            "auxiliaryFields": [{"key": "asOf", "label": face.as_of_label, "value": face.as_of}],
            "backFields": [{"key": "note", "label": face.programme, "value": face.note}],
        },
    }  # fmt: skip


def _named(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""
