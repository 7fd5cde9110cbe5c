"""Statements on whom members' cards, aliases and numbers stand for. Private to the members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_LAST = """
    SELECT DISTINCT ON (member_id) member_id, seq, survivor_id, approval_id FROM members.succession
    {where} ORDER BY member_id, seq DESC
"""


async def survivor_of(connection: AsyncConnection, member_id: int) -> int | None:
    """The other member whom a member's number stands for now; None where it stands for themselves."""
    found = await connection.execute(
        text(f"SELECT survivor_id FROM ({_LAST.format(where='WHERE member_id = :member_id')}) s "
             "WHERE survivor_id <> member_id"),
        {"member_id": member_id},
    )  # fmt: skip
    return found.scalar_one_or_none()


async def stands_for(connection: AsyncConnection, member_ids: Sequence[int]) -> list[int]:
    """These members, and all who are merged into one of them now."""
    found = await connection.execute(
        text(f"""
            SELECT unnest(CAST(:member_ids AS bigint[])) AS member_id
            UNION
            SELECT l.member_id FROM ({
            _LAST.format(
                where='''WHERE member_id IN (
              SELECT x.member_id FROM members.succession x WHERE x.survivor_id = ANY (CAST(:member_ids AS bigint[])))'''
            )
        }) l
            WHERE l.survivor_id = ANY (CAST(:member_ids AS bigint[]))
            ORDER BY member_id
        """),
        {"member_ids": list(member_ids)},
    )
    return list(found.scalars())


async def merged_into(connection: AsyncConnection, member_ids: Sequence[int]) -> dict[int, int]:
    """Those who are merged into one of these members now: member to survivor."""
    found = await connection.execute(
        text(f"""
            SELECT l.member_id, l.survivor_id FROM ({
            _LAST.format(
                where='''WHERE member_id IN (
              SELECT x.member_id FROM members.succession x WHERE x.survivor_id = ANY (CAST(:member_ids AS bigint[])))'''
            )
        }) l
            WHERE l.survivor_id = ANY (CAST(:member_ids AS bigint[])) AND l.survivor_id <> l.member_id
        """),
        {"member_ids": list(member_ids)},
    )
    return {row.member_id: row.survivor_id for row in found}


async def survivors_of(connection: AsyncConnection, member_ids: Sequence[int]) -> dict[int, int]:
    """Those of these members who are merged into somebody now: member to survivor."""
    last = _LAST.format(where="WHERE member_id = ANY (CAST(:member_ids AS bigint[]))")
    found = await connection.execute(
        text(f"SELECT member_id, survivor_id FROM ({last}) l WHERE survivor_id <> member_id"),
        {"member_ids": list(member_ids)},
    )
    return {row.member_id: row.survivor_id for row in found}


async def ever_stood_for(connection: AsyncConnection, member_id: int) -> set[int]:
    """Everybody whom a member's cards ever stood for, themselves included."""
    found = await connection.execute(
        text("SELECT DISTINCT survivor_id FROM members.succession WHERE member_id = :member_id"),
        {"member_id": member_id},
    )
    return {member_id, *found.scalars()}


async def merged_away(connection: AsyncConnection) -> dict[int, int]:
    """All who are merged into somebody now: member to survivor."""
    found = await connection.execute(
        text(f"SELECT member_id, survivor_id FROM ({_LAST.format(where='')}) l WHERE survivor_id <> member_id")
    )
    return {row.member_id: row.survivor_id for row in found}


async def rows_of(connection: AsyncConnection, approval_id: int) -> Sequence[Row[Any]]:
    """What a merge wrote: member_id, seq, survivor_id; before, whom the member's number stood for until then; and
    whether it stands: it has not ended since, and no later merge that has not ended covers it."""
    found = await connection.execute(
        text("""
            SELECT s.member_id, s.seq, s.survivor_id, b.before,
                   s.survivor_id = (SELECT n.survivor_id FROM members.succession n WHERE n.member_id = s.member_id
                                    ORDER BY n.seq DESC LIMIT 1)
                   AND NOT EXISTS (SELECT FROM members.succession n WHERE n.member_id = s.member_id AND n.seq > s.seq
                                     AND n.survivor_id = b.before) AS stands
            FROM members.succession s
            CROSS JOIN LATERAL (
              SELECT coalesce((SELECT x.survivor_id FROM members.succession x
                               WHERE x.member_id = s.member_id AND x.seq = s.seq - 1), s.member_id) AS before
            ) b
            WHERE s.approval_id = :approval_id ORDER BY s.member_id
        """),
        {"approval_id": approval_id},
    )
    return found.all()


async def append(connection: AsyncConnection, survivors: dict[int, int], *, approval_id: int, at: datetime) -> None:
    """Say whom members' numbers stand for from now on: member to survivor."""
    await connection.execute(
        text("""
            INSERT INTO members.succession (member_id, seq, survivor_id, approval_id, at)
            SELECT t.member_id,
                   coalesce((SELECT max(s.seq) FROM members.succession s WHERE s.member_id = t.member_id), 0) + 1,
                   t.survivor_id, :approval_id, :at
            FROM unnest(CAST(:member_ids AS bigint[]), CAST(:survivor_ids AS bigint[])) AS t(member_id, survivor_id)
        """),
        {"member_ids": list(survivors), "survivor_ids": list(survivors.values()), "approval_id": approval_id, "at": at},
    )


async def lock_members(connection: AsyncConnection, member_ids: Sequence[int]) -> None:
    """Keep others from changing members until the transaction ends, in one order for everyone."""
    await connection.execute(
        text("""
            SELECT 1 FROM members.member WHERE member_id = ANY (CAST(:member_ids AS bigint[])) ORDER BY member_id
            FOR NO KEY UPDATE
        """),
        {"member_ids": list(member_ids)},
    )
