"""Statements on questions that people keep. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_QUESTION = (
    "SELECT q.question_id, q.owner_id, a.name AS owner, q.name, q.is_shared, q.asks, q.at "
    "FROM settlement.saved_question q JOIN kit.actor a ON a.actor_id = q.owner_id "
    "WHERE NOT EXISTS (SELECT FROM settlement.saved_question_end e WHERE e.question_id = q.question_id)"
)


async def insert(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A question that somebody keeps; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.saved_question (owner_id, name, is_shared, asks, at) "
            "VALUES (:owner_id, :name, :is_shared, CAST(:asks AS jsonb), :at) RETURNING question_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_end(connection: AsyncConnection, question_id: int, *, at: datetime) -> None:
    """That a question is kept no more."""
    await connection.execute(
        text("INSERT INTO settlement.saved_question_end (question_id, at) VALUES (:question_id, :at)"),
        {"question_id": question_id, "at": at},
    )


async def lock_owner(connection: AsyncConnection, owner_id: int) -> None:
    """Nobody else keeps questions for this person until the transaction ends."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('settlement.saved_question', :owner_id))"),
        {"owner_id": owner_id},
    )


async def kept(connection: AsyncConnection, owner_id: int) -> int:
    """How many a person keeps."""
    found = await connection.execute(
        text(f"SELECT count(*) FROM ({_QUESTION} AND q.owner_id = :owner_id) k"), {"owner_id": owner_id}
    )
    return int(found.scalar_one())


async def page(connection: AsyncConnection, owner_id: int, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """A person's own and those that are shared, in the order they were kept, behind a number."""
    found = await connection.execute(
        text(
            f"{_QUESTION} AND (q.owner_id = :owner_id OR q.is_shared) AND q.question_id > :after "
            "ORDER BY q.question_id LIMIT :limit"
        ),
        {"owner_id": owner_id, "after": after, "limit": limit},
    )
    return found.all()


async def one(connection: AsyncConnection, question_id: int, owner_id: int) -> Row[Any] | None:
    """A question that a person keeps, or that is shared."""
    found = await connection.execute(
        text(f"{_QUESTION} AND (q.owner_id = :owner_id OR q.is_shared) AND q.question_id = :question_id"),
        {"question_id": question_id, "owner_id": owner_id},
    )
    return found.one_or_none()


async def limit_time(connection: AsyncConnection, milliseconds: int) -> None:
    """No statement of this transaction takes longer."""
    await connection.execute(
        text("SELECT set_config('statement_timeout', :limit, true)"), {"limit": f"{milliseconds}ms"}
    )
