"""Grants: what a person allowed a client to do, and the library's grant types with what they leave open closed.

A code, a refresh token and a till's code are looked up under lock and kept after use, so that of several who use one at
once the first succeeds, and a second use is seen. Refresh tokens of public clients are replaced at every use; those of
confidential clients stay, because replacing them only loses them. Instants are the wall's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
    UnauthorizedClientError,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc6749.errors import AccessDeniedError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceCodeGrant
from authlib.oauth2.rfc8628.errors import AuthorizationPendingError, ExpiredTokenError, SlowDownError
from sqlalchemy import Connection, RowMapping

from gateway.oauth import grant_store
from gateway.oauth.keys import TOKEN_LIFE

if TYPE_CHECKING:
    from gateway.oauth.authentication import TokenClient
    from gateway.oauth.server import Server

CODE_LIFE = timedelta(seconds=60)
REFRESH_IDLE = timedelta(days=14)
REFRESH_LIFE = timedelta(days=90)
TERMINAL_IDLE = timedelta(days=60)
TERMINAL_LIFE = timedelta(days=400)
GRACE = timedelta(seconds=10)
REUSE_SEEN = timedelta(days=7)
SLOWER_SECONDS = 5
SKEW = timedelta(seconds=10)

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,256}")


class NotThisResponseType(UnsupportedResponseTypeError):  # type: ignore[misc]  # noqa: N818
    """Another response type; the answer does not repeat it."""

    description = "Only code is served."

    def __init__(self) -> None:
        super().__init__(None)


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant that tokens are given under. jkt: the key that they have to be bound to, if that is fixed."""

    grant_id: str
    client_no: int
    actor_id: int
    terminal_id: int | None
    scopes: tuple[str, ...]
    jkt: str | None
    ends_at: datetime

    def get_redirect_uri(self) -> None:
        """None: the code's address is compared before."""

    def get_scope(self) -> str:
        """Its scopes, separated by spaces."""
        return " ".join(self.scopes)

    def check_client(self, client: TokenClient) -> bool:
        """Whether it was given to this client."""
        return self.client_no == client.client_no


def hash_of_credential(credential: str) -> bytes:
    """What the database keeps of a code or a token. Whatever has another form than ours is nobody's."""
    return hashlib.sha256(credential.encode() if _CREDENTIAL.fullmatch(credential) else b"").digest()


def new_credential() -> str:
    """256 random bits, to be shown once."""
    return secrets.token_urlsafe(32)


def successor_of(key: bytes, refresh_token: str) -> str:
    """The refresh token that replaces one: always the same, so that a lost answer is repeated without keeping it."""
    digest = hmac.digest(key, refresh_token.encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def end(
    connection: Connection,
    *,
    why: str,
    at: datetime,
    grant_id: str | None = None,
    actor_id: int | None = None,
    terminal_id: int | None = None,
) -> list[str]:
    """End a grant, all that a person gave to apps, or all of a terminal.

    Their access tokens are refused within ten seconds. Returns the ids of those that were in force. Run in the caller's
    transaction, inside run_sync.
    """
    until = at + TOKEN_LIFE + SKEW
    return grant_store.end_grants(
        connection, why=why, at=at, until=until, grant_id=grant_id, actor_id=actor_id, terminal_id=terminal_id
    )


def add(
    connection: Connection,
    *,
    client_no: int,
    actor_id: int,
    scope: str,
    jkt: str | None,
    at: datetime,
    terminal_id: int | None = None,
) -> HeldGrant:
    """Write down what a person allowed."""
    life = REFRESH_LIFE if terminal_id is None else TERMINAL_LIFE
    scopes = tuple(scope.split())
    grant = HeldGrant(f"gr_{secrets.token_urlsafe(16)}", client_no, actor_id, terminal_id, scopes, jkt, at + life)
    values = {
        "grant_id": grant.grant_id, "client_no": client_no, "actor_id": actor_id, "terminal_id": terminal_id,
        "scopes": list(scopes), "jkt": jkt, "created_at": at, "ends_at": grant.ends_at,
    }  # fmt: skip
    grant_store.insert_grant(connection, values)
    return grant


class Credentials(ClientCredentialsGrant):  # type: ignore[misc]
    """Client credentials that answer invalid_scope where the library would narrow."""

    def validate_requested_scope(self) -> None:
        """Nothing where the client has every scope that it asks for."""
        check_scope(self.request.payload.scope, self.request.client.scopes)


class Codes(AuthorizationCodeGrant):  # type: ignore[misc]
    """Authorization codes: for a minute, once, for the client, address and key that they were asked for with."""

    server: Server

    def validate_requested_scope(self) -> None:
        """Nothing where the client has every scope that it asks for."""
        check_scope(self.request.payload.scope, self.server.client.scopes)

    @staticmethod
    def validate_authorization_redirect_uri(request: OAuth2Request, client: TokenClient) -> str:
        """The address to come back to, registered for this client character by character."""
        redirect_uri = request.payload.redirect_uri
        if not redirect_uri or not client.check_redirect_uri(redirect_uri):
            raise InvalidRequestError("The redirect_uri is not registered.")
        return str(redirect_uri)

    def generate_authorization_code(self) -> str:
        """A code of 256 random bits."""
        return new_credential()

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        """Write down the grant and its code."""
        server, data = self.server, request.payload.data
        grant = add(
            server.connection,
            client_no=server.client.client_no,
            actor_id=request.user,
            scope=request.scope,
            jkt=data.get("dpop_jkt"),
            at=server.at,
        )
        values = {
            "code_hash": hash_of_credential(code), "grant_id": grant.grant_id, "created_at": server.at,
            "redirect_uri": request.payload.redirect_uri, "code_challenge": data["code_challenge"],
            "expires_at": server.at + CODE_LIFE,
        }  # fmt: skip
        grant_store.insert_code(server.connection, values)
        detail = {"client": server.client.client_id, "scopes": list(grant.scopes)}
        server.events.add("GRANT_GIVEN", f"grant:{grant.grant_id}", by=request.user, **detail)

    def query_authorization_code(self, code: str, client: TokenClient) -> _Code | None:
        """A client's code, held; one that was used before ends everything that it gave."""
        server = self.server
        row = grant_store.held_code(server.connection, hash_of_credential(code), client.client_no)
        if row is None:
            return None
        grant = _held(row)
        if row["used_at"] is not None:
            server.end_reused(grant, "CODE_REUSED")
            return None
        if row["code_expires_at"] <= server.at or row["ended_at"] is not None:
            return None
        return _Code(grant, bytes(row["code_hash"]), row["redirect_uri"], row["code_challenge"])

    def validate_token_request(self) -> None:
        """Check the request, and that its proof is of the key that the code was asked for with."""
        super().validate_token_request()
        held: _Code = self.request.authorization_code
        if held.grant.jkt is not None and held.grant.jkt != self.server.jkt:
            raise InvalidGrantError("The code is bound to another key.")

    def authenticate_user(self, authorization_code: _Code) -> int:
        """Who gave the grant; tokens will be given under it."""
        self.server.grant = authorization_code.grant
        return authorization_code.grant.actor_id

    def delete_authorization_code(self, authorization_code: _Code) -> None:
        """Mark the code as used; the row stays, or a second use would not be seen."""
        grant_store.use_code(self.server.connection, authorization_code.code_hash, self.server.at)


@dataclass(frozen=True, slots=True)
class _Code:
    """A code as the library wants to see it."""

    grant: HeldGrant
    code_hash: bytes
    redirect_uri: str
    code_challenge: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.grant.get_scope()


class Challenge(CodeChallenge):  # type: ignore[misc]
    """PKCE for everyone, S256 alone, said openly."""

    def validate_code_challenge(self, grant: Codes, redirect_uri: str) -> None:
        """Nothing where a request brings a challenge by S256."""
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge_method must be S256.")
        if not _CHALLENGE.fullmatch(data.get("code_challenge", "")):
            raise InvalidRequestError("code_challenge is missing or malformed.")

    def validate_code_verifier(self, grant: Codes, result: object) -> None:
        """Nothing where the verifier is the challenge's."""
        verifier = grant.request.form.get("code_verifier", "")
        digest = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
        said = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        wanted = grant.request.authorization_code.code_challenge
        if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(said, wanted):
            raise InvalidGrantError("The code_verifier is not the challenge's.")


class Refreshing(RefreshTokenGrant):  # type: ignore[misc]
    """Refresh tokens: replaced at every use with reuse detection for public clients, stable for confidential ones."""

    server: Server

    def authenticate_refresh_token(self, refresh_token: str) -> HeldGrant | None:
        """The grant of a refresh token, held; one that was replaced before ends the grant and whatever it gave."""
        server = self.server
        successor = successor_of(server.refresh_key, refresh_token)
        row = grant_store.held_refresh(
            server.connection, hash_of_credential(refresh_token), hash_of_credential(successor)
        )
        if row is None or row["client_no"] != server.client.client_no:
            return None
        grant = _held(row)
        if row["ended_at"] is not None or grant.ends_at <= server.at or row["token_expires_at"] <= server.at:
            return None
        if server.client.public and grant.jkt != server.jkt:
            return None
        if row["used_at"] is not None and (row["successor_used"] or row["used_at"] + GRACE <= server.at):
            server.end_reused(grant, "REFRESH_TOKEN_REUSED")
            return None
        if grant.terminal_id is not None and not server.terminal_is_active(grant.terminal_id):
            return None
        server.grant = grant
        server.refresh_token = successor if server.client.public else None
        return grant

    def _validate_token_scope(self, token: HeldGrant) -> None:
        check_scope(self.request.payload.scope, frozenset(token.scopes))

    def authenticate_user(self, refresh_token: HeldGrant) -> int:
        """Who gave the grant."""
        return refresh_token.actor_id

    def revoke_old_credential(self, refresh_token: HeldGrant) -> None:
        """Mark a public client's token as used; let a confidential client's live on."""
        server = self.server
        token_hash = hash_of_credential(self.request.form["refresh_token"])
        if server.client.public:
            grant_store.use_refresh(server.connection, token_hash, at=server.at, until=server.at + REUSE_SEEN)
        else:
            grant_store.prolong_refresh(server.connection, token_hash, expires_at(refresh_token, server.at))


class Devices(DeviceCodeGrant):  # type: ignore[misc]
    """A till's code: redeemed once, by the client that asked and the key that it asked with."""

    server: Server

    def validate_token_request(self) -> None:
        """Nothing where a person has approved; pending, slow_down, denied or expired else."""
        server = self.server
        code = self.request.form.get("device_code")
        if not code:
            raise InvalidRequestError("device_code is missing.")
        client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError
        row = grant_store.held_device(server.connection, hash_of_credential(code), client.client_no)
        if row is None or row["grant_id"] is not None or row["jkt"] != server.jkt:
            raise InvalidGrantError
        self._check_decided(row)
        if not server.terminal_is_active(row["terminal_id"]):
            raise AccessDeniedError
        self.request.client = client
        self.request.user = row["actor_id"]
        self.request.credential = self._redeemed(row)

    def _check_decided(self, row: RowMapping) -> None:
        server = self.server
        if row["expires_at"] <= server.at:
            raise ExpiredTokenError
        if row["approved"] is None:
            interval = row["interval_seconds"]
            is_early = row["polled_at"] is not None and server.at < row["polled_at"] + timedelta(seconds=interval)
            slower = interval + SLOWER_SECONDS * is_early
            grant_store.polled_device(server.connection, bytes(row["code_hash"]), interval_seconds=slower, at=server.at)
            raise SlowDownError if is_early else AuthorizationPendingError
        if not row["approved"]:
            raise AccessDeniedError

    def _redeemed(self, row: RowMapping) -> HeldGrant:
        """The grant of a till. It replaces whatever till stood there before."""
        server = self.server
        replaced = end(server.connection, why="TERMINAL_ENROLLED_AGAIN", at=server.at, terminal_id=row["terminal_id"])
        server.grant = add(
            server.connection,
            client_no=row["client_no"],
            actor_id=row["actor_id"],
            scope=row["scope"],
            jkt=row["jkt"],
            terminal_id=row["terminal_id"],
            at=server.at,
        )
        grant_store.redeem_device(server.connection, bytes(row["code_hash"]), server.grant.grant_id)
        detail = {"grant": server.grant.grant_id, "replaced": replaced}
        server.events.add("TERMINAL_ENROLLED", f"terminal:{row['terminal_id']}", by=row["actor_id"], **detail)
        return server.grant


def check_scope(asked: str | None, held: frozenset[str]) -> None:
    """Nothing where every scope that is asked for is held; none asked for is all. Raises invalid_scope."""
    if asked is not None and not (asked.split() and held.issuperset(asked.split())):
        raise InvalidScopeError


def expires_at(grant: HeldGrant, at: datetime) -> datetime:
    """When a refresh token that is used now would end if it were not used again."""
    return min(grant.ends_at, at + (REFRESH_IDLE if grant.terminal_id is None else TERMINAL_IDLE))


def _held(row: RowMapping | Any) -> HeldGrant:
    return HeldGrant(
        row["grant_id"],
        row["client_no"],
        row["actor_id"],
        row["terminal_id"],
        tuple(row["scopes"]),
        row["jkt"],
        row["ends_at"],
    )
