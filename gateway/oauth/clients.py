"""Clients: who may ask for access tokens, and the moment-old view of them that every request is checked against.

A secret is shown once, when it is made; the database keeps its SHA-256. Instants are the wall's.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.oauth import store
from gateway.scopes import SCOPES
from kit import actors, audit
from kit.database import Database
from kit.errors import Rejection

FRESH_SECONDS = 5.0
STALE_SECONDS = 10.0
LONGEST_OVERLAP = timedelta(days=30)

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


async def add_client(
    connection: AsyncConnection,
    *,
    partner_id: int | None,
    name: str,
    scopes: Sequence[str],
    by: str,
    at: datetime,
) -> tuple[str, str]:
    """Add a client of a partner (or of the operator's staff: None) for an actor in ONBOARDING.

    Returns its id and its secret, which nobody can read again. Rejects SCOPE_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await _onboarding(connection, by)
    wanted = _checked(scopes)
    client_id = "cl_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))
    client_no = await store.insert_client(
        connection, client_id=client_id, partner_id=partner_id, name=name, scopes=wanted, at=at
    )
    secret = await _new_secret(connection, client_no, at)
    detail = {"partner": partner_id, "scopes": wanted}
    await _record(connection, actor_id, "CLIENT_ADDED", client_no, detail, at)
    return client_id, secret


async def rotate(connection: AsyncConnection, client_id: str, *, overlap: timedelta, by: str, at: datetime) -> str:
    """Give a client a new secret, returned once; the last one stays good for the overlap, all before it end now.

    Rejects CLIENT_UNKNOWN, OVERLAP_TOO_LONG, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise OverlapTooLong(f"an overlap lasts at most {LONGEST_OVERLAP.days} days")
    actor_id = await _onboarding(connection, by)
    client_no = await _held(connection, client_id)
    await store.expire_secrets(connection, client_no, newest_until=at + overlap, at=at)
    secret = await _new_secret(connection, client_no, at)
    detail = {"overlap_seconds": int(overlap.total_seconds())}
    await _record(connection, actor_id, "CLIENT_SECRET_ROTATED", client_no, detail, at)
    return secret


async def suspend(connection: AsyncConnection, client_id: str, *, by: str, at: datetime) -> None:
    """Stop a client: no token is issued to it, and those it holds are refused within ten seconds.

    Rejects CLIENT_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    await _set_status(connection, client_id, "SUSPENDED", "CLIENT_SUSPENDED", by, at)


async def resume(connection: AsyncConnection, client_id: str, *, by: str, at: datetime) -> None:
    """Let a suspended client ask for tokens again; tokens from before stay refused. Rejects as `suspend`."""
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

    async def _renew(self, older_than_seconds: float) -> None:
        async with self._lock:
            asked_at = self._clock()
            if asked_at - self._read_at < older_than_seconds:
                return
            async with self._database.reading() as connection:
                found = await all_clients(connection)
            self._by_id = {client.client_id: client for client in found}
            self._read_at = asked_at


def _checked(scopes: Sequence[str]) -> list[str]:
    wanted = sorted(set(scopes))
    if not wanted:
        raise ScopeUnknown(f"a client needs a scope; there are {', '.join(SCOPES)}")
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise ScopeUnknown(f"there is no scope {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    return wanted


async def _onboarding(connection: AsyncConnection, by: str) -> int:
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.ONBOARDING)
    return actor_id


async def _held(connection: AsyncConnection, client_id: str) -> int:
    row = await store.lock_client(connection, client_id)
    if row is None:
        raise ClientUnknown("no client has this id; `tessera partner client list` names them")
    return int(row["client_no"])


async def _new_secret(connection: AsyncConnection, client_no: int, at: datetime) -> str:
    secret = "tsk_" + secrets.token_urlsafe(32)
    await store.insert_secret(connection, client_no, hash_of(secret), at)
    return secret


async def _set_status(
    connection: AsyncConnection, client_id: str, status: str, action: str, by: str, at: datetime
) -> None:
    actor_id = await _onboarding(connection, by)
    client_no = await _held(connection, client_id)
    await store.update_status(connection, client_no, status, at)
    await _record(connection, actor_id, action, client_no, {}, at)


async def _record(
    connection: AsyncConnection, actor_id: int, action: str, client_no: int, detail: Mapping[str, object], at: datetime
) -> None:
    await audit.write(connection, actor=actor_id, action=action, subject=f"client:{client_no}", detail=detail, at=at)
