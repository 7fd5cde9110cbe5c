"""SQL of segments. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_version(
    connection: AsyncConnection, segment: str, at: datetime, members: int, sha256: str, author: int
) -> int | None:
    """Write the next version of a segment; None where one that begins later, or now, is there."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(7305006, hashtext(:segment))"), {"segment": segment})
    done = await connection.execute(
        text("""
            INSERT INTO members.segment_version (segment, version, valid_from, members, sha256, author_id)
            SELECT :segment, coalesce(max(version), 0) + 1, :at, :members, :sha256, :author
            FROM members.segment_version WHERE segment = :segment
            HAVING coalesce(max(valid_from), '-infinity') < :at
            RETURNING version
        """),
        {"segment": segment, "at": at, "members": members, "sha256": sha256, "author": author},
    )
    return done.scalar_one_or_none()


async def insert_members(connection: AsyncConnection, segment: str, version: int, member_ids: Sequence[int]) -> int:
    """Write who is in a version; how many of them exist."""
    done = await connection.execute(
        text("""
            INSERT INTO members.segment_member (member_id, segment, version)
            SELECT m.member_id, :segment, :version
            FROM unnest(CAST(:member_ids AS bigint[])) AS t(member_id) JOIN members.member m USING (member_id)
        """),
        {"segment": segment, "version": version, "member_ids": list(member_ids)},
    )
    return done.rowcount


async def members_of(connection: AsyncConnection, segment: str, at: datetime) -> list[int]:
    """Who is in the version in force at an instant."""
    found = await connection.execute(
        text("""
            SELECT s.member_id FROM members.segment_member s
            WHERE s.segment = :segment AND s.version = (
              SELECT max(v.version) FROM members.segment_version v WHERE v.segment = :segment AND v.valid_from <= :at)
            ORDER BY s.member_id
        """),
        {"segment": segment, "at": at},
    )
    return list(found.scalars())
