"""Who asks: a client by its signed assertion (RFC 7523), by its secret where that was allowed, or a public one by name.

There is one answer to every failure, and a client that does not exist costs the same as a wrong secret or signature.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from joserfc.jwk import ECKey
from sqlalchemy import RowMapping

from gateway.oauth import jose, store
from gateway.oauth.clients import hash_of
from gateway.oauth.forms import Form
from gateway.oauth.jose import BadSignature
from gateway.oauth.used import UsedIds
from kit.database import Database
from kit.secrets import fingerprint

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_ASSERTION_SECONDS = 300
SKEW_SECONDS = 10
LONGEST_JTI = 256

_CLIENT_ID = re.compile(r"cl_[a-z0-9]{20}")
_SECRET = re.compile(r"[\x21-\x7e]{1,256}")
_TYPES = (None, "jwt", "client-authentication+jwt")
_NOBODY = (hash_of("nobody"),)  # compared with when there is no such client, so that it costs the same
_NOBODYS_KEY = ECKey.generate_key("P-256", private=True)


class AuthenticationFailed(InvalidClientError):  # type: ignore[misc]  # noqa: N818
    """The one answer to every failure to authenticate."""

    def __init__(self) -> None:
        super().__init__(status_code=401, description="Client authentication failed.")

    def get_headers(self) -> list[tuple[str, str]]:
        """The answer's headers, with the challenge."""
        return [*OAuth2Error.get_headers(self), ("WWW-Authenticate", 'Basic realm="token", charset="UTF-8"')]


@dataclass(frozen=True, slots=True)
class TokenClient:
    """A client as Authlib wants to see it, authenticated already."""

    client_no: int
    client_id: str
    partner_id: int | None
    name: str
    scopes: frozenset[str]
    public: bool
    binds_tokens: bool
    grant_types: frozenset[str]
    redirect_uris: frozenset[str]

    def get_client_id(self) -> str:
        """Its id."""
        return self.client_id

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether it may ask for tokens in this way."""
        return grant_type in self.grant_types

    def check_response_type(self, response_type: str) -> bool:
        """Whether it may ask for authorization in this way."""
        return response_type == "code" and "authorization_code" in self.grant_types

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether this is one of its addresses, character by character."""
        return redirect_uri in self.redirect_uris

    def get_default_redirect_uri(self) -> None:
        """None: a request names its address."""

    def get_allowed_scope(self, scope: str | None) -> str:
        """The scopes that a request asks for, or all; those that are too much are refused elsewhere."""
        return " ".join(sorted(set(scope.split()) if scope else self.scopes))


class Authentication:
    """Checks who asks, for one process."""

    def __init__(self, issuer: str, database: Database, used: UsedIds, now: Callable[[], datetime]) -> None:
        self._issuer = issuer
        self._database = database
        self._used = used
        self._now = now

    async def client(
        self, authorization: str | None, form: Form, partner_is_active: Callable[[int], bool]
    ) -> TokenClient:
        """The client that a request comes from. Raises invalid_request for several ways at once, invalid_client."""
        values = form.values
        has_assertion = "client_assertion" in values or "client_assertion_type" in values
        if sum((authorization is not None, has_assertion, "client_secret" in values)) > 1:
            raise InvalidRequestError("A client authenticates in one way.")
        if authorization is not None:
            row = await self._by_secret(authorization)
        elif has_assertion:
            row = await self._by_assertion(values)
        else:
            row = await self._by_name(values)
        if row["status"] != "ACTIVE" or values.get("client_id") not in (None, row["client_id"]):
            raise AuthenticationFailed
        if row["partner_id"] is not None and not partner_is_active(row["partner_id"]):
            raise AuthenticationFailed
        return token_client(row)

    async def known(self, client_id: str) -> RowMapping | None:
        """The client of an id, whoever asks."""
        if not _CLIENT_ID.fullmatch(client_id):
            return None
        async with self._database.reading() as connection:
            return await store.client_with_credentials(connection, client_id, self._now())

    async def _by_secret(self, authorization: str) -> RowMapping:
        client_id, secret = basic(authorization)
        row = await self.known(client_id)
        given = hash_of(secret)
        held = row["secret_hashes"] if row is not None and row["secret_hashes"] else _NOBODY
        # All are compared, so that the time tells nothing about which one was right.
        matches = [hmac.compare_digest(given, bytes(each)) for each in held]
        if row is None or not any(matches) or not row["secret_allowed"]:
            raise AuthenticationFailed
        return row

    async def _by_name(self, values: Mapping[str, str]) -> RowMapping:
        row = await self.known(values.get("client_id", ""))
        if row is None or row["kind"] != "PUBLIC" or "client_secret" in values:
            raise AuthenticationFailed
        return row

    async def _by_assertion(self, values: Mapping[str, str]) -> RowMapping:
        assertion = values.get("client_assertion", "")
        if values.get("client_assertion_type") != ASSERTION_TYPE:
            raise AuthenticationFailed
        try:
            header, claims = jose.header_of(assertion), jose.claims_of(assertion)
            client_id = claims.get("sub")
            row = await self.known(client_id if isinstance(client_id, str) else "")
            _check_signature(assertion, header, row)
            until = self._checked(claims, client_id)
        except BadSignature as error:
            raise AuthenticationFailed from error
        assert row is not None
        used_id = fingerprint("assertion", row["client_id"], claims["jti"])
        if not await self._used.claim(used_id, until=until):
            raise AuthenticationFailed
        return row

    def _checked(self, claims: Mapping[str, Any], client_id: object) -> datetime:
        """Until when an assertion could be shown again. Raises BadSignature where a claim is not as it must be."""
        now = int(self._now().timestamp())
        expires_at = jose.instant(claims, "exp")
        if claims.get("iss") != client_id or claims.get("aud") != self._issuer:
            raise BadSignature("issuer or audience")
        if expires_at is None or not now - SKEW_SECONDS < expires_at <= now + LONGEST_ASSERTION_SECONDS + SKEW_SECONDS:
            raise BadSignature("expiry")
        for name in ("iat", "nbf"):
            if (begins := jose.instant(claims, name)) is not None and begins > now + SKEW_SECONDS:
                raise BadSignature(name)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 1 <= len(jti) <= LONGEST_JTI:
            raise BadSignature("jti")
        return datetime.fromtimestamp(expires_at, UTC) + timedelta(seconds=2 * SKEW_SECONDS)


def token_client(row: RowMapping) -> TokenClient:
    """A client's row as the library wants to see it."""
    return TokenClient(
        row["client_no"],
        row["client_id"],
        row["partner_id"],
        row["name"],
        frozenset(row["scopes"]),
        row["kind"] == "PUBLIC",
        row["binds_tokens"],
        frozenset(row["grant_types"]),
        frozenset(row["redirect_uris"]),
    )


def basic(authorization: str | None) -> tuple[str, str]:
    """Client id and secret of a Basic header. Raises AuthenticationFailed for anything else."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 1024:
        raise AuthenticationFailed
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise AuthenticationFailed from error
    client_id, colon, secret = decoded.partition(":")
    if not colon or not _CLIENT_ID.fullmatch(client_id) or not _SECRET.fullmatch(secret):
        raise AuthenticationFailed
    return client_id, secret


def named(authorization: str | None, form: Form | None) -> str | None:
    """The client that a request says it comes from, for the log; only what looks like an id of ours."""
    said: object = None
    try:
        if authorization is not None:
            said = basic(authorization)[0]
        elif form is not None:
            said = form.values.get("client_id") or jose.claims_of(form.values["client_assertion"]).get("sub")
    except (AuthenticationFailed, BadSignature, KeyError, IndexError):
        return None
    return said if isinstance(said, str) and _CLIENT_ID.fullmatch(said) else None


def _check_signature(assertion: str, header: Mapping[str, Any], row: RowMapping | None) -> None:
    """Nothing where a key of the client's signed it. Raises BadSignature."""
    keys = [each for each in (row["keys"] if row is not None else ()) if header.get("kid") in (None, each["kid"])]
    if not keys:
        jose.verified(assertion, _NOBODYS_KEY, "ES256", types=_TYPES, members=("kid",))
        raise BadSignature("no such key")
    for last, each in enumerate(keys, 1 - len(keys)):
        try:
            key, algorithm = jose.public_key(each["jwk"])
            jose.verified(assertion, key, algorithm, types=_TYPES, members=("kid",))
        except BadSignature:
            if last == 0:
                raise
        else:
            return
