"""Statements about keys that sign packages. Private to the package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = 7_305_019  # an advisory lock's number, of no meaning elsewhere


async def lock(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to add a key."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def current(connection: AsyncConnection) -> Row[Any] | None:
    """The key that was added last: kid, sealed_key."""
    found = await connection.execute(
        text("SELECT kid, sealed_key FROM settlement.signing_key ORDER BY key_no DESC LIMIT 1")
    )
    return found.one_or_none()


async def public(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """The public halves of all keys, the newest first: public_jwk as text."""
    found = await connection.execute(text("SELECT public_jwk::text FROM settlement.signing_key ORDER BY key_no DESC"))
    return found.all()


async def insert(connection: AsyncConnection, *, kid: str, public_jwk: str, sealed_key: bytes, at: datetime) -> None:
    """Add a key."""
    await connection.execute(
        text(
            "INSERT INTO settlement.signing_key (kid, public_jwk, sealed_key, created_at) "
            "VALUES (:kid, CAST(:public_jwk AS jsonb), :sealed_key, :at)"
        ),
        {"kid": kid, "public_jwk": public_jwk, "sealed_key": sealed_key, "at": at},
    )


async def sealed(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every key: kid, sealed_key."""
    return (await connection.execute(text("SELECT kid, sealed_key FROM settlement.signing_key FOR UPDATE"))).all()


async def reseal(connection: AsyncConnection, kid: str, sealed_key: bytes) -> None:
    """Seal a key otherwise."""
    statement = text("UPDATE settlement.signing_key SET sealed_key = :sealed_key WHERE kid = :kid")
    await connection.execute(statement, {"kid": kid, "sealed_key": sealed_key})
