"""Passes for Google's wallet: a link that saves one, with a token signed by the issuer's service account in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from gateway.wallet.passes import Face

SAVE = "https://pay.google.com/gp/v/save/"
_CLASS = "card"


class BadSigner(Exception):  # noqa: N818 - it is what the file is
    """The file is no service account with an RSA key, or the issuer is none."""


@dataclass(frozen=True, slots=True)
class GoogleSigner:
    """A service account that may save passes of an issuer. Never prints its key."""

    account: str
    issuer: str
    key: RSAKey

    def __repr__(self) -> str:
        return f"GoogleSigner({self.issuer})"

    @classmethod
    def read(cls, file: Path, issuer: str) -> GoogleSigner:
        """The signer of a service account's JSON file. Raises BadSigner."""
        try:
            content = orjson.loads(file.read_bytes())
            account, key = str(content["client_email"]), RSAKey.import_key(content["private_key"])
        except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
            raise BadSigner(f"{file} is no service account with an RSA key") from error
        if not issuer.isdecimal():
            raise BadSigner("an issuer of passes is a number: TESSERA_GOOGLE_WALLET_ISSUER")
        return cls(account, issuer, key)

    def link(self, face: Face, *, site: str, icon: str, now: datetime) -> str:
        """Where the pass is saved. site and icon are addresses of ours, now is the wall's instant."""
        claims = {
            "iss": self.account, "aud": "google", "typ": "savetowallet", "iat": int(now.timestamp()), "origins": [site],
            "payload": _payload(self.issuer, face, icon),
        }  # fmt: skip
        return SAVE + jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, self.key, algorithms=["RS256"])


def _payload(issuer: str, face: Face, icon: str) -> dict[str, Any]:
    its_class = f"{issuer}.{_CLASS}"
    return {
        "loyaltyClasses": [
            {
                "id": its_class, "issuerName": face.programme, "programName": face.programme,
                "reviewStatus": "UNDER_REVIEW",
                "programLogo": {"sourceUri": {"uri": icon}},
            }
        ],
        "loyaltyObjects": [
            {
                "id": f"{issuer}.{face.serial}", "classId": its_class, "state": "ACTIVE", "accountId": face.spaced,
                "barcode": {"type": "QR_CODE", "value": face.number, "alternateText": face.spaced},
                "loyaltyPoints": {"label": face.points_label, "balance": {"int": face.points}},
                "textModulesData": [
                    {"id": "asOf", "header": face.as_of_label, "body": face.as_of},
                    {"id": "note", "header": face.programme, "body": face.note},
                ],
            }
        ],
    }  # fmt: skip
