"""Statements on what people asked to be done over their sessions. Private to the gateway."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEY = "person_id = :person_id AND audience = :audience AND operation = :operation AND idem_key = :idem_key"


async def insert_call(
    connection: AsyncConnection,
    *,
    person_id: int,
    audience: str,
    operation: str,
    idem_key: UUID,
    fingerprint: UUID,
    at: datetime,
) -> UUID | None:
    """Keep a call; the fingerprint of the one that was made under its key before, and None where none was."""
    given = {
        "person_id": person_id, "audience": audience, "operation": operation, "idem_key": idem_key,
        "fingerprint": fingerprint, "at": at,
    }  # fmt: skip
    statement = text(
        "INSERT INTO gateway.person_call (person_id, audience, operation, idem_key, fingerprint, done_at) "
        "VALUES (:person_id, :audience, :operation, :idem_key, :fingerprint, :at) ON CONFLICT DO NOTHING RETURNING 1"
    )
    if (await connection.execute(statement, given)).one_or_none() is not None:
        return None
    earlier = text(f"SELECT fingerprint FROM gateway.person_call WHERE {_KEY}")
    found: UUID = (await connection.execute(earlier, given)).scalar_one()
    return found


async def set_made(
    connection: AsyncConnection, *, person_id: int, audience: str, operation: str, idem_key: UUID, made: int
) -> None:
    """Keep the number of what a call made."""
    given = {"person_id": person_id, "audience": audience, "operation": operation, "idem_key": idem_key, "made": made}
    await connection.execute(text(f"UPDATE gateway.person_call SET made = :made WHERE {_KEY}"), given)


async def made_by(
    connection: AsyncConnection, *, person_id: int, audience: str, operation: str, idem_key: UUID
) -> int | None:
    """The number of what a call made; None where it made nothing that has one."""
    given = {"person_id": person_id, "audience": audience, "operation": operation, "idem_key": idem_key}
    found = await connection.execute(text(f"SELECT made FROM gateway.person_call WHERE {_KEY}"), given)
    made: int | None = found.scalar_one()
    return made


async def is_kept(
    connection: AsyncConnection, *, person_id: int, audience: str, operation: str, idem_key: UUID
) -> bool:
    """Whether a call was made under a key."""
    given = {"person_id": person_id, "audience": audience, "operation": operation, "idem_key": idem_key}
    found = await connection.execute(text(f"SELECT EXISTS (SELECT FROM gateway.person_call WHERE {_KEY})"), given)
    return bool(found.scalar_one())
