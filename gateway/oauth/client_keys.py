"""Keys of clients: the public halves with which a client's assertions are checked. Two are good while one replaces the
other. A key never comes from an address; it is registered by a person. Instants are the wall's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.oauth import jose, store
from gateway.oauth.jose import BadJwk
from kit.errors import Rejection


class ClientKeyInvalid(Rejection):
    """What was given is no public key of a kind that is accepted."""

    code = "CLIENT_KEY_INVALID"
    retryable = False


class ClientKeyTaken(Rejection):
    """The key is registered already, for this client or for another."""

    code = "CLIENT_KEY_TAKEN"
    retryable = False


class ClientKeyUnknown(Rejection):
    """The client has no such key, or it is no longer good."""

    code = "CLIENT_KEY_UNKNOWN"
    retryable = False


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A registered key by its thumbprint; expires_at None: until it is replaced."""

    kid: str
    algorithm: str
    created_at: datetime
    expires_at: datetime | None


async def insert(connection: AsyncConnection, client_no: int, jwk: Mapping[str, Any], at: datetime) -> str:
    """Register a public key for a client; returns its kid. Rejects CLIENT_KEY_INVALID, CLIENT_KEY_TAKEN."""
    try:
        key, algorithm = jose.public_key(jwk)
    except BadJwk as wrong:
        raise ClientKeyInvalid(str(wrong)) from wrong
    kid = key.thumbprint()
    bare = {name: str(value) for name, value in key.as_dict(private=False).items() if name != "kid"}
    if not await store.insert_client_key(connection, client_no, kid=kid, algorithm=algorithm, jwk=bare, at=at):
        raise ClientKeyTaken("this key is registered already; make another one for this client")
    return kid


async def of_client(connection: AsyncConnection, client_no: int) -> list[ClientKey]:
    """A client's keys, the oldest first, those that are no longer good included."""
    return [ClientKey(**row) for row in await store.client_keys(connection, client_no)]
