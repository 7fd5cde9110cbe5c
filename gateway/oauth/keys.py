"""Signing keys: ES256 keys sealed in the database, and the view of them that a process signs and verifies with.

A key is published before it signs and verifies after it has stopped signing, so that no process and no client ever
meets a token whose key it does not know yet, or no more.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from joserfc.jwk import ECKey
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.oauth import store
from kit import actors, audit
from kit.clock import wall
from kit.database import Database
from kit.secrets import BadKey, Vault

ALGORITHM = "ES256"
TOKEN_LIFE = timedelta(minutes=10)
RENEW_SECONDS = 60.0
RETRY_SECONDS = 5.0
PUBLISHED_BEFORE_SIGNING = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with the wall instants between which it signs and verifies (None: until it is replaced)."""

    kid: str
    key: ECKey
    signs_from: datetime
    verifies_until: datetime | None


async def rotate_key(
    connection: AsyncConnection, vault: Vault, *, by: str, at: datetime, emergency: bool = False
) -> str:
    """Add a signing key that takes over in three minutes; the ones before it verify until their tokens expired.

    In an emergency it takes over now and every other key is refused within a minute, so that every client has to ask
    for a token again. For an actor in OPERATOR_ADMIN; returns the new key's kid. Rejects ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.OPERATOR_ADMIN)
    await store.lock_rotation(connection)
    signs_from = at if emergency else at + PUBLISHED_BEFORE_SIGNING
    kid = await _add(connection, vault, signs_from=signs_from, at=at)
    until = at if emergency else signs_from + TOKEN_LIFE + PUBLISHED_BEFORE_SIGNING
    await store.retire_keys(connection, but=kid, until=until)
    detail = {"emergency": emergency}
    await audit.write(
        connection, actor=actor_id, action="SIGNING_KEY_ROTATED", subject=f"key:{kid}", detail=detail, at=at
    )
    return kid


async def ensure_key(connection: AsyncConnection, vault: Vault, *, at: datetime) -> None:
    """Add the first signing key of a database that has none; it signs at once."""
    await store.lock_rotation(connection)
    if not await store.verifying_keys(connection, at):
        await _add(connection, vault, signs_from=at, at=at)


async def _add(connection: AsyncConnection, vault: Vault, *, signs_from: datetime, at: datetime) -> str:
    key = ECKey.generate_key("P-256", private=True)
    kid = key.thumbprint()
    clear = json.dumps(key.as_dict(private=True)).encode()
    await store.insert_key(
        connection, kid=kid, sealed_key=vault.seal(clear, f"signing-key:{kid}"), signs_from=signs_from, at=at
    )
    return kid


class KeyRing:
    """The signing keys of a process, read again every minute, and when a token names one that is not here."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = wall,
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._now = now
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._keys: dict[str, SigningKey] = {}

    async def open(self) -> None:
        """Make the database's first key if it has none, and read them all."""
        async with self._database.transaction() as connection:
            await ensure_key(connection, self._vault, at=self._now())
        await self._renew(0.0)

    async def verifier(self, kid: str) -> SigningKey | None:
        """The key of this kid, if its tokens are accepted now."""
        await self._renew(RENEW_SECONDS)
        if kid not in self._keys:
            await self._renew(RETRY_SECONDS)
        found = self._keys.get(kid)
        if found is None or (found.verifies_until is not None and found.verifies_until <= self._now()):
            return None
        return found

    async def signer(self) -> SigningKey:
        """The key that signs now: of those whose time has come, the one that took over last."""
        await self._renew(RENEW_SECONDS)
        now = self._now()
        ready = [key for key in self._keys.values() if key.signs_from <= now]
        return max(ready, key=lambda key: (key.signs_from, key.kid))

    async def public(self) -> dict[str, object]:
        """The JSON Web Key Set: public halves only."""
        await self._renew(RENEW_SECONDS)
        return {
            "keys": [
                {**held.key.as_dict(private=False), "kid": held.kid, "use": "sig", "alg": ALGORITHM}
                for held in self._keys.values()
            ]
        }

    async def _renew(self, older_than_seconds: float) -> None:
        if self._clock() - self._read_at < older_than_seconds:
            return
        async with self._lock:
            asked_at = self._clock()
            if asked_at - self._read_at < older_than_seconds:
                return
            async with self._database.reading() as connection:
                rows = await store.verifying_keys(connection, self._now())
            self._keys = {row["kid"]: self._opened(row) for row in rows}
            self._read_at = asked_at

    def _opened(self, row: RowMapping) -> SigningKey:
        kid = row["kid"]
        try:
            clear = self._vault.open(bytes(row["sealed_key"]), f"signing-key:{kid}")
        except InvalidTag as error:
            raise BadKey("the master key is not the one that this database was made with") from error
        return SigningKey(kid, ECKey.import_key(json.loads(clear)), row["signs_from"], row["verifies_until"])
