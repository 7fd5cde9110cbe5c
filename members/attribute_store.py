"""SQL of members' attributes. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def append(
    connection: AsyncConnection,
    member_id: int,
    kind: str,
    *,
    holds: bool,
    evidence: str,
    verifier: str,
    at: datetime,
    expires_at: datetime | None,
) -> None:
    """Append what was found of a member who is locked."""
    await connection.execute(
        text("""
            INSERT INTO members.attribute (member_id, seq, kind, holds, evidence, verifier, at, expires_at)
            SELECT :member_id, coalesce(max(seq), 0) + 1, :kind, :holds, :evidence, :verifier, :at, :expires_at
            FROM members.attribute WHERE member_id = :member_id
        """),
        {
            "member_id": member_id,
            "kind": kind,
            "holds": holds,
            "evidence": evidence,
            "verifier": verifier,
            "at": at,
            "expires_at": expires_at,
        },
    )


async def last_of_each(connection: AsyncConnection, member_id: int, at: datetime) -> Sequence[Row[Any]]:
    """The last that was found of each kind by an instant, of the member and of whom they stand for."""
    found = await connection.execute(
        text("""
            SELECT DISTINCT ON (kind) kind, holds, evidence, verifier, at, expires_at FROM members.attribute
            WHERE member_id IN (SELECT members.selves(:member_id)) AND at <= :at ORDER BY kind, at DESC, seq DESC
        """),
        {"member_id": member_id, "at": at},
    )
    return found.all()
