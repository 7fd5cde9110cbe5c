"""SQL of pairings. Private to this package."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_PAIRING = """
    SELECT p.pairing_id, p.partner_id, p.outlet_id, p.terminal_id, p.client_no, p.expires_at, p.fingerprint,
           a.member_id, a.answered_at,
           EXISTS (SELECT FROM members.pairing l
                   WHERE l.terminal_id = p.terminal_id AND l.pairing_id > p.pairing_id) AS is_replaced
    FROM members.pairing p LEFT JOIN members.pairing_answer a USING (pairing_id)
"""


async def insert_pairing(
    connection: AsyncConnection,
    *,
    code_hash: bytes,
    idem_key: UUID,
    fingerprint: UUID,
    partner_id: int,
    outlet_id: int,
    terminal_id: int,
    client_no: int,
    began_at: datetime,
    expires_at: datetime,
) -> bool:
    """Write a pairing; False where its key has one."""
    done = await connection.execute(
        text("""
            INSERT INTO members.pairing (code_hash, idem_key, fingerprint, partner_id, outlet_id, terminal_id,
                                         client_no, began_at, expires_at)
            VALUES (:code_hash, :idem_key, :fingerprint, :partner_id, :outlet_id, :terminal_id, :client_no, :began_at,
                    :expires_at)
            ON CONFLICT (idem_key) DO NOTHING
        """),
        {
            "code_hash": code_hash, "idem_key": idem_key, "fingerprint": fingerprint, "partner_id": partner_id,
            "outlet_id": outlet_id, "terminal_id": terminal_id, "client_no": client_no, "began_at": began_at,
            "expires_at": expires_at,
        },
    )  # fmt: skip
    return done.rowcount == 1


async def pairing_by_key(connection: AsyncConnection, idem_key: UUID) -> Row[Any]:
    """The pairing that was begun under a key."""
    return (await connection.execute(text(f"{_PAIRING} WHERE p.idem_key = :idem_key"), {"idem_key": idem_key})).one()


async def pairing_by_code(connection: AsyncConnection, code_hash: bytes) -> Row[Any] | None:
    """The pairing whose code has this hash."""
    found = await connection.execute(text(f"{_PAIRING} WHERE p.code_hash = :code_hash"), {"code_hash": code_hash})
    return found.one_or_none()


async def pairing(connection: AsyncConnection, pairing_id: int) -> Row[Any] | None:
    """The pairing of a number."""
    found = await connection.execute(text(f"{_PAIRING} WHERE p.pairing_id = :pairing_id"), {"pairing_id": pairing_id})
    return found.one_or_none()


async def insert_answer(connection: AsyncConnection, pairing_id: int, member_id: int, *, at: datetime) -> None:
    """Write who confirmed a pairing; nothing where somebody did before."""
    await connection.execute(
        text("""
            INSERT INTO members.pairing_answer (pairing_id, member_id, answered_at)
            VALUES (:pairing_id, :member_id, :at) ON CONFLICT (pairing_id) DO NOTHING
        """),
        {"pairing_id": pairing_id, "member_id": member_id, "at": at},
    )


async def delete_over(connection: AsyncConnection, *, before: datetime, limit: int) -> int:
    """Remove pairings that were over by an instant, the oldest first, with what was answered; how many."""
    done = await connection.execute(
        text("""
            DELETE FROM members.pairing WHERE pairing_id IN (
              SELECT pairing_id FROM members.pairing WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)
        """),
        {"before": before, "limit": limit},
    )
    return int(done.rowcount)
