"""Clients: who may ask for access tokens, and the moment-old view of them that every request is checked against.

A client shows who it is by a key that it registered; by a secret only where its partner was allowed that. A secret is
shown once, when it is made; the database keeps its SHA-256. Instants are the wall's.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.oauth import client_keys, store
from gateway.scopes import SCOPES
from kit import actors, audit
from kit.database import Database
from kit.errors import Rejection
from partners.agreements.onboarding import OwnPerson

FRESH_SECONDS = 5.0
STALE_SECONDS = 10.0
LONGEST_OVERLAP = timedelta(days=30)

CLIENT_CREDENTIALS = "client_credentials"
AUTHORIZATION_CODE = "authorization_code"
REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a grant type's name
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

_ALPHABET = "abcdefghijkmnopqrstuvwxyz23456789"


class ClientUnknown(Rejection):
    """No client has this id."""

    code = "CLIENT_UNKNOWN"
    retryable = False


class ScopeUnknown(Rejection):
    """There is no such scope, or none was named."""

    code = "SCOPE_UNKNOWN"
    retryable = False


class OverlapTooLong(Rejection):
    """The replaced secret would stay good for longer than is allowed, or for a negative time."""

    code = "OVERLAP_TOO_LONG"
    retryable = False


class ClientPublic(Rejection):
    """The client is public: it has neither secrets nor registered keys."""

    code = "CLIENT_PUBLIC"
    retryable = False


class SecretNotAllowed(Rejection):
    """The partner's clients sign with keys; nobody made the exception that lets them use secrets."""

    code = "SECRET_NOT_ALLOWED"
    retryable = True


class RedirectUriInvalid(Rejection):
    """An address to come back to is not https (http on this machine), or is missing, or is not wanted."""

    code = "REDIRECT_URI_INVALID"
    retryable = False


By = str | OwnPerson
"""Who changes clients: an actor in ONBOARDING by name, or somebody of the partner itself, for its own clients alone."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client as it stands. partner_id None is the operator's staff; not_before is in seconds since 1970."""

    client_no: int
    client_id: str
    partner_id: int | None
    name: str
    scopes: frozenset[str]
    active: bool
    not_before: int


def hash_of(secret: str) -> bytes:
    """What the database keeps of a secret."""
    return hashlib.sha256(secret.encode()).digest()


async def allow_secrets(
    connection: AsyncConnection, *, partner_id: int | None, allowed: bool = True, by: str, at: datetime
) -> None:
    """Let the clients of a partner (None: of the operator) use secrets, or no more; for an actor in ONBOARDING.

    An exception for systems that cannot sign. Taken back, their secrets open nothing from the next request on. Rejects
    ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await onboarding(connection, by)
    await store.upsert_secret_exception(connection, partner_id or 0, allowed=allowed, at=at)
    action = "SECRETS_ALLOWED" if allowed else "SECRETS_FORBIDDEN"
    await audit.write(connection, actor=actor_id, action=action, subject=f"partner:{partner_id or 0}", detail={}, at=at)


async def add_client(
    connection: AsyncConnection,
    *,
    partner_id: int | None,
    name: str,
    scopes: Sequence[str],
    by: By,
    at: datetime,
) -> tuple[str, str]:
    """Add a client with a secret, of a partner (or of the operator's staff: None) for an actor in ONBOARDING.

    Returns its id and its secret, which nobody can read again. Rejects SECRET_NOT_ALLOWED, SCOPE_UNKNOWN,
    ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await _permitted(connection, by, partner_id)
    wanted = _checked(scopes)
    if not await store.secret_allowed(connection, partner_id or 0):
        raise SecretNotAllowed(
            "its clients sign with keys (`tessera oauth register`); `tessera oauth allow-secrets` makes an exception"
        )
    client_id, client_no = await _insert(connection, actor_id, Wanted(partner_id, name, tuple(wanted)), at)
    return client_id, await _new_secret(connection, client_no, at)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A client to be added. Public ones have no credential; redirect_uris make it one that people authorize."""

    partner_id: int | None
    name: str
    scopes: tuple[str, ...]
    public: bool = False
    grant_types: tuple[str, ...] = (CLIENT_CREDENTIALS,)
    redirect_uris: tuple[str, ...] = ()
    binds_tokens: bool = False


async def add_key_client(
    connection: AsyncConnection,
    *,
    partner_id: int | None,
    name: str,
    scopes: Sequence[str],
    jwk: Mapping[str, Any],
    redirect_uris: Sequence[str] = (),
    binds_tokens: bool = True,
    by: By,
    at: datetime,
) -> str:
    """Add a client that signs with the private half of a key, for an actor in ONBOARDING; returns its id.

    With redirect_uris people may authorize it too. Its tokens are bound to a key, unless binds_tokens is False. Rejects
    SCOPE_UNKNOWN, CLIENT_KEY_INVALID, CLIENT_KEY_TAKEN, REDIRECT_URI_INVALID, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await _permitted(connection, by, partner_id)
    uris = tuple(_checked_redirect(uri) for uri in redirect_uris)
    grant_types = (CLIENT_CREDENTIALS, *((AUTHORIZATION_CODE, REFRESH_TOKEN) if uris else ()))
    wanted = Wanted(partner_id, name, tuple(_checked(scopes)), False, grant_types, uris, binds_tokens)
    client_id, client_no = await _insert(connection, actor_id, wanted, at)
    await client_keys.insert(connection, client_no, jwk, at)
    return client_id


async def add_public_client(
    connection: AsyncConnection,
    *,
    partner_id: int | None,
    name: str,
    scopes: Sequence[str],
    redirect_uris: Sequence[str] = (),
    by: By,
    at: datetime,
) -> str:
    """Add a client without a credential: an app that people authorize, or without redirect_uris, tills to be enrolled.

    Every token of it is bound to a key that the app or till makes. For an actor in ONBOARDING; returns its id. Rejects
    SCOPE_UNKNOWN, REDIRECT_URI_INVALID, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await _permitted(connection, by, partner_id)
    uris = tuple(_checked_redirect(uri) for uri in redirect_uris)
    grant_types = (AUTHORIZATION_CODE if uris else DEVICE_CODE, REFRESH_TOKEN)
    wanted = Wanted(partner_id, name, tuple(_checked(scopes)), True, grant_types, uris, True)
    return (await _insert(connection, actor_id, wanted, at))[0]


async def rotate(connection: AsyncConnection, client_id: str, *, overlap: timedelta, by: By, at: datetime) -> str:
    """Give a client a new secret, returned once; the last one stays good for the overlap, all before it end now.

    Rejects CLIENT_UNKNOWN, SECRET_NOT_ALLOWED, OVERLAP_TOO_LONG, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise OverlapTooLong(f"an overlap lasts at most {LONGEST_OVERLAP.days} days")
    actor_id, held = await _own(connection, client_id, by)
    client_no = int(held["client_no"])
    if not await store.secret_allowed(connection, held["partner_id"] or 0):
        raise SecretNotAllowed("the exception that let this partner's clients use secrets was taken back")
    await store.expire_secrets(connection, client_no, newest_until=at + overlap, at=at)
    secret = await _new_secret(connection, client_no, at)
    detail = {"overlap_seconds": int(overlap.total_seconds())}
    await _record(connection, actor_id, "CLIENT_SECRET_ROTATED", client_no, detail, at)
    return secret


async def add_key(
    connection: AsyncConnection, client_id: str, jwk: Mapping[str, Any], *, overlap: timedelta, by: By, at: datetime
) -> str:
    """Register a key for a client; its other keys and its secrets stay good for the overlap. Returns the kid.

    For an actor in ONBOARDING. Rejects CLIENT_UNKNOWN, CLIENT_PUBLIC, OVERLAP_TOO_LONG, CLIENT_KEY_INVALID,
    CLIENT_KEY_TAKEN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise OverlapTooLong(f"an overlap lasts at most {LONGEST_OVERLAP.days} days")
    actor_id, row = await _own(connection, client_id, by)
    if row["kind"] == "PUBLIC":
        raise ClientPublic("a public client has no credential; what it is granted is bound to keys of its own")
    client_no = int(row["client_no"])
    kid = await client_keys.insert(connection, client_no, jwk, at)
    await store.expire_client_keys(connection, client_no, until=at + overlap, but=kid)
    await store.expire_secrets(connection, client_no, newest_until=at + overlap, at=at)
    detail = {"kid": kid, "overlap_seconds": int(overlap.total_seconds())}
    await _record(connection, actor_id, "CLIENT_KEY_ADDED", client_no, detail, at)
    return kid


async def remove_key(connection: AsyncConnection, client_id: str, kid: str, *, by: By, at: datetime) -> None:
    """Refuse a client's key from now on, and within ten seconds the access tokens that the client holds.

    For an actor in ONBOARDING. Rejects CLIENT_UNKNOWN, CLIENT_KEY_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id, row = await _own(connection, client_id, by)
    client_no = int(row["client_no"])
    if not await store.expire_client_keys(connection, client_no, until=at, only=kid):
        raise client_keys.ClientKeyUnknown("the client has no such key, or it is no longer good")
    await store.end_tokens(connection, client_no, at)
    await _record(connection, actor_id, "CLIENT_KEY_REMOVED", client_no, {"kid": kid}, at)


async def suspend(connection: AsyncConnection, client_id: str, *, by: By, at: datetime) -> None:
    """Stop a client: no token is issued to it, and those it holds are refused within ten seconds.

    Rejects CLIENT_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    await _set_status(connection, client_id, "SUSPENDED", "CLIENT_SUSPENDED", by, at)


async def resume(connection: AsyncConnection, client_id: str, *, by: str, at: datetime) -> None:
    """Let a suspended client ask for tokens again; tokens from before stay refused. A partner's own
    people cannot: the operator may have had a reason. Rejects as `suspend`."""
    await _set_status(connection, client_id, "ACTIVE", "CLIENT_RESUMED", by, at)


async def all_clients(connection: AsyncConnection) -> list[Client]:
    """Every client as it stands, in the order they were added."""
    return [
        Client(
            row["client_no"],
            row["client_id"],
            row["partner_id"],
            row["name"],
            frozenset(row["scopes"]),
            row["status"] == "ACTIVE",
            int(row["not_before"].timestamp()),
        )
        for row in await store.all_clients(connection)
    ]


class ClientCache:
    """All clients as they stood at most ten seconds ago, so that a token is checked without a database call.

    From the fifth second on the next caller renews the view, and the others keep the old one; after the tenth all
    wait, so that nobody who was suspended passes because the database is slow.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._by_id: Mapping[str, Client] = {}
        self._ended: frozenset[str] = frozenset()

    async def get(self) -> Mapping[str, Client]:
        """The clients by id. Raises what the driver raises when the view is too old and cannot be renewed."""
        age = self._clock() - self._read_at
        if age >= STALE_SECONDS or (age >= FRESH_SECONDS and not self._lock.locked()):
            await self._renew(FRESH_SECONDS)
        return self._by_id

    async def find(self, client_id: str) -> Client | None:
        """The client of this id; one that the view lacks is looked for at once, for it may be new.

        Asked only with ids out of tokens that we signed, so nobody can make it look for what never was.
        """
        found = (await self.get()).get(client_id)
        if found is None:
            await self._renew(0.0)
            found = self._by_id.get(client_id)
        return found

    def has_ended(self, token_id: str) -> bool:
        """Whether an access token (by jti) or a grant was ended, as of the view that the last look-up left."""
        return token_id in self._ended

    async def _renew(self, older_than_seconds: float) -> None:
        async with self._lock:
            asked_at = self._clock()
            if asked_at - self._read_at < older_than_seconds:
                return
            async with self._database.reading() as connection:
                found = await all_clients(connection)
                ended = frozenset(await store.ended_tokens(connection))
            self._by_id = {client.client_id: client for client in found}
            self._ended = ended
            self._read_at = asked_at


def _checked(scopes: Sequence[str]) -> list[str]:
    wanted = sorted(set(scopes))
    if not wanted:
        raise ScopeUnknown(f"a client needs a scope; there are {', '.join(SCOPES)}")
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise ScopeUnknown(f"there is no scope {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    return wanted


async def onboarding(connection: AsyncConnection, by: str) -> int:
    """The number of an actor who holds ONBOARDING. Rejects ACTOR_UNKNOWN, NOT_PERMITTED."""
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.ONBOARDING)
    return actor_id


async def _permitted(connection: AsyncConnection, by: By, partner_id: int | None) -> int:
    """The number of an actor who may add clients of a partner. Rejects ACTOR_UNKNOWN, NOT_PERMITTED."""
    if isinstance(by, str):
        return await onboarding(connection, by)
    if by.partner_id != partner_id:
        raise actors.NotPermitted("this is another partner's")
    return by.actor_id


async def _own(connection: AsyncConnection, client_id: str, by: By) -> tuple[int, RowMapping]:
    """The number of an actor who may change a client, and its row, held. A partner's people know no other partner's.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, CLIENT_UNKNOWN.
    """
    actor_id = await onboarding(connection, by) if isinstance(by, str) else by.actor_id
    row = await _held_row(connection, client_id)
    if not isinstance(by, str) and row["partner_id"] != by.partner_id:
        raise _unknown()
    return actor_id, row


async def _insert(connection: AsyncConnection, actor_id: int, wanted: Wanted, at: datetime) -> tuple[str, int]:
    client_id = "cl_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))
    client_no = await store.insert_client(
        connection, client_id=client_id, partner_id=wanted.partner_id, name=wanted.name, scopes=wanted.scopes,
        kind="PUBLIC" if wanted.public else "CONFIDENTIAL", grant_types=wanted.grant_types,
        redirect_uris=wanted.redirect_uris, binds_tokens=wanted.binds_tokens, at=at,
    )  # fmt: skip
    detail = {"partner": wanted.partner_id, "scopes": list(wanted.scopes)}
    await _record(connection, actor_id, "CLIENT_ADDED", client_no, detail, at)
    return client_id, client_no


def _checked_redirect(uri: str) -> str:
    """An address as it will be compared, character by character."""
    said = "must be https (or http://127.0.0.1), at most 500 visible ASCII characters, no fragment, no user in it"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RedirectUriInvalid(f"an address to come back to {said}") from error
    is_own = parts.scheme == "http" and host in ("127.0.0.1", "::1", "localhost")
    is_plain = re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]{1,500}", uri) is not None
    if not is_plain or not host or "@" in parts.netloc or "#" in uri or not (is_own or parts.scheme == "https"):
        raise RedirectUriInvalid(f"an address to come back to {said}")
    return uri


async def held(connection: AsyncConnection, client_id: str) -> int:
    """A client's number, its row held until the transaction ends. Rejects CLIENT_UNKNOWN."""
    return int((await _held_row(connection, client_id))["client_no"])


async def _held_row(connection: AsyncConnection, client_id: str) -> RowMapping:
    row = await store.lock_client(connection, client_id)
    if row is None:
        raise _unknown()
    return row


def _unknown() -> ClientUnknown:
    return ClientUnknown("no client has this id; `tessera partner client list` names them")


async def _new_secret(connection: AsyncConnection, client_no: int, at: datetime) -> str:
    secret = "tsk_" + secrets.token_urlsafe(32)
    await store.insert_secret(connection, client_no, hash_of(secret), at)
    return secret


async def _set_status(
    connection: AsyncConnection, client_id: str, status: str, action: str, by: By, at: datetime
) -> None:
    actor_id, row = await _own(connection, client_id, by)
    client_no = int(row["client_no"])
    await store.update_status(connection, client_no, status, at)
    await _record(connection, actor_id, action, client_no, {}, at)


async def _record(
    connection: AsyncConnection, actor_id: int, action: str, client_no: int, detail: Mapping[str, object], at: datetime
) -> None:
    await audit.write(connection, actor=actor_id, action=action, subject=f"client:{client_no}", detail=detail, at=at)
