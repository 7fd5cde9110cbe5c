"""Statements on rights and their use. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a right that was given for one cause; partner_id gave it."""

    holder_id: int
    code: str
    cause: UUID
    partner_id: int
    left: int
    expires_at: datetime | None


async def left(connection: AsyncConnection, holder_id: int, at: datetime) -> list[Left]:
    """Rights that a member, or one merged into them, has left, those that end first first."""
    found = await connection.execute(
        text("""
            SELECT holder_id, code, cause, partner_id, quantity - used AS left_over, expires_at
            FROM partners.entitlement
            WHERE holder_id IN (SELECT members.selves(:holder_id)) AND used < quantity AND revoked_at IS NULL
              AND at <= :at AND (expires_at IS NULL OR expires_at > :at)
            ORDER BY expires_at NULLS LAST, at, cause, code
        """),
        {"holder_id": holder_id, "at": at},
    )
    return [Left(row.holder_id, row.code, row.cause, row.partner_id, row.left_over, row.expires_at) for row in found]


async def use_one(connection: AsyncConnection, holder_id: int, code: str, cause: UUID) -> bool:
    """Use one of what was given for a cause; False where none of it is left by now."""
    done = await connection.execute(
        text("""
            UPDATE partners.entitlement SET used = used + 1
            WHERE holder_id = :holder_id AND code = :code AND cause = :cause AND used < quantity AND revoked_at IS NULL
        """),
        {"holder_id": holder_id, "code": code, "cause": cause},
    )
    return done.rowcount == 1


async def fingerprint_of(connection: AsyncConnection, idem_key: UUID) -> UUID | None:
    """The input under a key that used a right; None where none did."""
    found = await connection.execute(
        text("SELECT fingerprint FROM partners.right_use WHERE idem_key = :idem_key"), {"idem_key": idem_key}
    )
    content: UUID | None = found.scalar_one_or_none()
    return content


async def insert_use(connection: AsyncConnection, values: Mapping[str, Any]) -> bool:
    """Write that a right was used; False where another use has the key."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.right_use (holder_id, code, cause, member_id, partner_id, client_id, outlet_id,
                                            terminal_id, at, idem_key, fingerprint)
            VALUES (:holder_id, :code, :cause, :member_id, :partner_id, :client_id, :outlet_id, :terminal_id, :at,
                    :idem_key, :fingerprint)
            ON CONFLICT (idem_key) DO NOTHING
        """),
        values,
    )
    return done.rowcount == 1
