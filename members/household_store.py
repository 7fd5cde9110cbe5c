"""Statements on households. Private to the members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def last_move(connection: AsyncConnection, member_id: int) -> Row[Any] | None:
    """The last time that a member joined or left: seq, household_id, joined, card_id, at."""
    found = await connection.execute(
        text("""
            SELECT seq, household_id, joined, card_id, at FROM members.household_move
            WHERE member_id = :member_id ORDER BY seq DESC LIMIT 1
        """),
        {"member_id": member_id},
    )
    return found.one_or_none()


async def insert_move(
    connection: AsyncConnection,
    *,
    member_id: int,
    seq: int,
    household_id: int,
    joined: bool,
    card_id: int,
    at: datetime,
) -> None:
    """A member joins or leaves."""
    await connection.execute(
        text("""
            INSERT INTO members.household_move (member_id, seq, household_id, joined, card_id, at)
            VALUES (:member_id, :seq, :household_id, :joined, :card_id, :at)
        """),
        {
            "member_id": member_id,
            "seq": seq,
            "household_id": household_id,
            "joined": joined,
            "card_id": card_id,
            "at": at,
        },
    )


async def members_of(connection: AsyncConnection, household_id: int) -> Sequence[Row[Any]]:
    """Who is in a household: member_id, card_id, at; who joined first comes first."""
    found = await connection.execute(
        text("""
            SELECT l.member_id, l.card_id, l.at
            FROM (SELECT DISTINCT member_id FROM members.household_move WHERE household_id = :household_id) m
            CROSS JOIN LATERAL (
              SELECT x.* FROM members.household_move x WHERE x.member_id = m.member_id ORDER BY x.seq DESC LIMIT 1
            ) l
            WHERE l.joined AND l.household_id = :household_id
            ORDER BY l.at, l.member_id
        """),
        {"household_id": household_id},
    )
    return found.all()


async def cards_of(connection: AsyncConnection, household_id: int, member_id: int) -> list[int]:
    """The household's cards that a member ever got."""
    found = await connection.execute(
        text("""
            SELECT card_id FROM members.household_move
            WHERE household_id = :household_id AND member_id = :member_id AND joined ORDER BY card_id
        """),
        {"household_id": household_id, "member_id": member_id},
    )
    return list(found.scalars())


async def close(connection: AsyncConnection, household_id: int) -> None:
    """Let a household's cards be good for nothing any more."""
    await connection.execute(
        text("UPDATE members.member SET status = 'CLOSED' WHERE member_id = :household_id AND status = 'HOUSEHOLD'"),
        {"household_id": household_id},
    )
