"""Statements of giving the gateway's own secrets over to the next master key. Private to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

STAFF: Final = "staff"
COLLEAGUE: Final = "colleague"


async def addresses(connection: AsyncConnection, kind: str, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next staff or colleagues: actor_id, address_lookup, sealed_address."""
    statement = text(
        f"SELECT actor_id, address_lookup, sealed_address FROM gateway.{_checked(kind)} WHERE actor_id > :after "
        "ORDER BY actor_id LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_addresses(connection: AsyncConnection, kind: str, changed: Sequence[tuple[int, UUID, bytes]]) -> None:
    """Give staff or colleagues other hashes and seals of their addresses: (actor, hash, sealed)."""
    statement = text(f"""
        UPDATE gateway.{_checked(kind)} s SET address_lookup = n.lookup, sealed_address = n.sealed
        FROM unnest(CAST(:actor_ids AS int[]), CAST(:lookups AS uuid[]), CAST(:sealed AS bytea[]))
             AS n(actor_id, lookup, sealed)
        WHERE s.actor_id = n.actor_id
    """)
    given = {
        "actor_ids": [actor_id for actor_id, _, _ in changed],
        "lookups": [lookup for _, lookup, _ in changed],
        "sealed": [sealed for _, _, sealed in changed],
    }
    await connection.execute(statement, given)


async def signing_keys(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every signing key: kid, sealed_key."""
    return (await connection.execute(text("SELECT kid, sealed_key FROM gateway.signing_key FOR NO KEY UPDATE"))).all()


async def write_signing_key(connection: AsyncConnection, kid: str, sealed: bytes) -> None:
    """Seal a signing key otherwise."""
    statement = text("UPDATE gateway.signing_key SET sealed_key = :sealed WHERE kid = :kid")
    await connection.execute(statement, {"kid": kid, "sealed": sealed})


def _checked(kind: str) -> str:
    if kind not in (STAFF, COLLEAGUE):
        raise ValueError(f"no such kind of person: {kind}")
    return kind
