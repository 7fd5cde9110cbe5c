"""Passkeys (WebAuthn): a key pair in the person's own device that signs a challenge of ours, and nothing to phish.

The browser is given a challenge once, bound to the cookie it came with; the answer takes the challenge away. The device
must have verified its owner, so a passkey alone is two factors. Passkeys need a host name: none work on a bare address.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncConnection
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, options_to_json_dict, parse_client_data_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from gateway.sessions import session, store
from gateway.sessions.session import Person, hash_of
from kit.errors import Rejection
from kit.secrets import Vault

ADD: Final = "ADD"
SIGN_IN: Final = "SIGN_IN"
CHALLENGE_LIFE = timedelta(minutes=5)
MOST_PASSKEYS = 20

_ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]


class PasskeyInvalid(Rejection):
    """The passkey's answer does not hold: of another site, an old challenge, a wrong signature, or an unknown key."""

    code = "PASSKEY_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the passkey did not prove anything here")


class PasskeyUnknown(Rejection):
    """The person has no such passkey."""

    code = "PASSKEY_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("there is no such passkey")


class PasskeysTooMany(Rejection):
    """The person has as many passkeys as one may have."""

    code = "PASSKEYS_TOO_MANY"
    retryable = True

    def __init__(self) -> None:
        super().__init__(f"at most {MOST_PASSKEYS} passkeys: remove one first")


@dataclass(frozen=True, slots=True)
class Site:
    """What passkeys are made for: the origin of the pages, and the host name that browsers bind them to."""

    origin: str
    host: str
    name: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A passkey as its owner sees it in a list. is_synced: it lives in an account of theirs, not in one device."""

    passkey_id: int
    is_synced: bool
    added_at: datetime
    used_at: datetime | None


def site_of(issuer: str, name: str) -> Site | None:
    """The site at a public address; None where browsers make no passkeys for it (a bare IP address)."""
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return Site(f"{parts.scheme}://{parts.netloc}", host, name)
    return None


async def addition_options(
    connection: AsyncConnection, vault: Vault, site: Site, person: Person, *, holder: str, now: datetime
) -> dict[str, Any]:
    """What a browser needs to make a passkey for somebody. holder is the token of the session that asks.

    Rejects PASSKEYS_TOO_MANY.
    """
    have = await store.passkeys_of(connection, person.audience, person.number)
    if len(have) >= MOST_PASSKEYS:
        raise PasskeysTooMany
    options = generate_registration_options(
        rp_id=site.host,
        rp_name=site.name,
        user_id=_handles(vault, person)[0],
        user_name=site.name,  # devices show it; a name or an address would be personal
        challenge=await _challenge(connection, holder, ADD, now),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=bytes(row["credential_id"])) for row in have],
        supported_pub_key_algs=_ALGORITHMS,
    )
    return options_to_json_dict(options)


async def add(
    connection: AsyncConnection,
    site: Site,
    person: Person,
    answer: Mapping[str, Any],
    *,
    holder: str,
    now: datetime,
) -> None:
    """Add the passkey that a browser made. Rejects PASSKEY_INVALID."""
    challenge = await _taken(connection, answer, holder, ADD, now)
    try:
        made = verify_registration_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
        )
    except Exception:  # it parses what strangers send, and what it cannot read proves nothing
        raise PasskeyInvalid from None
    is_new = await store.insert_passkey(
        connection,
        {
            "credential_id": made.credential_id,
            "audience": person.audience,
            "person_id": person.number,
            "public_key": made.credential_public_key,
            "sign_count": made.sign_count,
            "is_synced": made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            "now": now,
        },
    )
    if not is_new:
        raise PasskeyInvalid
    await session.record(connection, person, "PASSKEY_ADDED", {}, now)


async def sign_in_options(connection: AsyncConnection, site: Site, *, holder: str, now: datetime) -> dict[str, Any]:
    """What a browser needs to sign in with whatever passkey its owner picks. holder is its entry token."""
    options = generate_authentication_options(
        rp_id=site.host,
        challenge=await _challenge(connection, holder, SIGN_IN, now),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json_dict(options)


async def prove(
    connection: AsyncConnection,
    vault: Vault,
    site: Site,
    answer: Mapping[str, Any],
    *,
    audience: str,
    holder: str,
    now: datetime,
) -> Person:
    """Who is proved by a passkey's answer. The caller begins the session. Rejects PASSKEY_INVALID."""
    challenge = await _taken(connection, answer, holder, SIGN_IN, now)
    kept = await store.lock_passkey(connection, audience, _credential_id(answer))
    if kept is None:
        raise PasskeyInvalid
    person = Person(audience, kept["person_id"])
    try:
        used = verify_authentication_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=bytes(kept["public_key"]),
            credential_current_sign_count=kept["sign_count"],
            require_user_verification=True,
        )
        handle = base64url_to_bytes(answer["response"]["userHandle"])
    except Exception:  # it parses what strangers send, and what it cannot read proves nothing
        raise PasskeyInvalid from None
    if not any(hmac.compare_digest(handle, each) for each in _handles(vault, person)):
        raise PasskeyInvalid
    is_synced = used.credential_device_type is CredentialDeviceType.MULTI_DEVICE
    await store.use_passkey(connection, kept["passkey_id"], used.new_sign_count, is_synced, now)
    return person


async def of_person(connection: AsyncConnection, person: Person) -> list[Listed]:
    """A person's passkeys, the first added first."""
    rows = await store.passkeys_of(connection, person.audience, person.number)
    return [Listed(row["passkey_id"], row["is_synced"], row["added_at"], row["used_at"]) for row in rows]


async def remove(connection: AsyncConnection, person: Person, passkey_id: int, *, now: datetime) -> None:
    """Remove a passkey of a person. Rejects PASSKEY_UNKNOWN."""
    if not await store.delete_passkeys(connection, person.audience, person.number, only=passkey_id):
        raise PasskeyUnknown
    await session.record(connection, person, "PASSKEY_REMOVED", {}, now)


async def _challenge(connection: AsyncConnection, holder: str, ceremony: str, now: datetime) -> bytes:
    challenge = secrets.token_bytes(32)
    await store.insert_challenge(connection, _sha256(challenge), hash_of(holder), ceremony, now + CHALLENGE_LIFE)
    return challenge


async def _taken(
    connection: AsyncConnection, answer: Mapping[str, Any], holder: str, ceremony: str, now: datetime
) -> bytes:
    challenge = _challenge_in(answer)
    if not await store.take_challenge(connection, _sha256(challenge), hash_of(holder), ceremony, now):
        raise PasskeyInvalid
    return challenge


def _challenge_in(answer: Mapping[str, Any]) -> bytes:
    # Which of the challenges that this browser was given it answers; that it was signed is verified afterwards.
    try:
        from_client = parse_client_data_json(base64url_to_bytes(answer["response"]["clientDataJSON"]))
    except Exception:  # as above
        raise PasskeyInvalid from None
    return from_client.challenge


def _credential_id(answer: Mapping[str, Any]) -> bytes:
    try:
        return base64url_to_bytes(answer["rawId"])
    except Exception:  # as above
        raise PasskeyInvalid from None


def _handles(vault: Vault, person: Person) -> list[bytes]:
    """What devices know a person by: the handle of today, then those of the keys before."""
    return [hmac.digest(key, person.subject.encode(), "sha256") for key in vault.derived("passkey_handle")]


def _sha256(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()
