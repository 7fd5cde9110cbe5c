"""SQL of enrolments by key. Private to this package."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_key(
    connection: AsyncConnection, idem_key: UUID, *, fingerprint: UUID, partner_id: int, at: datetime
) -> bool:
    """Take a key; False where somebody has it. Waits for whoever is taking it in this moment."""
    done = await connection.execute(
        text("""
            INSERT INTO members.enrolment (idem_key, fingerprint, partner_id, at)
            VALUES (:idem_key, :fingerprint, :partner_id, :at) ON CONFLICT (idem_key) DO NOTHING
        """),
        {"idem_key": idem_key, "fingerprint": fingerprint, "partner_id": partner_id, "at": at},
    )
    return done.rowcount == 1


async def complete(connection: AsyncConnection, idem_key: UUID, *, member_id: int, card_id: int) -> None:
    """Write down what a key was used for."""
    await connection.execute(
        text("UPDATE members.enrolment SET member_id = :member_id, card_id = :card_id WHERE idem_key = :idem_key"),
        {"idem_key": idem_key, "member_id": member_id, "card_id": card_id},
    )


async def by_key(connection: AsyncConnection, idem_key: UUID) -> Row[Any] | None:
    """What a key was used for: fingerprint, member_id, card_id, last_four."""
    found = await connection.execute(
        text("""
            SELECT e.fingerprint, e.member_id, e.card_id, c.last_four
            FROM members.enrolment e JOIN members.card c USING (card_id) WHERE e.idem_key = :idem_key
        """),
        {"idem_key": idem_key},
    )
    return found.one_or_none()


async def forget(connection: AsyncConnection, member_id: int) -> None:
    """Take away what could be compared with what was told about a member."""
    await connection.execute(
        text("UPDATE members.enrolment SET fingerprint = NULL WHERE member_id = :member_id"), {"member_id": member_id}
    )
