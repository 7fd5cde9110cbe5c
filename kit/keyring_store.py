"""Statements on the master key's generations. Private to the kit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_ROTATION = 7_317_001  # an advisory lock's number, of no meaning elsewhere


async def lock(connection: AsyncConnection) -> None:
    """Be the only one, until the transaction ends, that looks at the generations or begins one."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ROTATION})


async def latest(connection: AsyncConnection) -> Row[Any] | None:
    """The newest generation: generation, check_value, finished_at."""
    statement = text("SELECT generation, check_value, finished_at FROM kit.master_key ORDER BY generation DESC LIMIT 1")
    return (await connection.execute(statement)).one_or_none()


async def insert(
    connection: AsyncConnection, generation: int, check_value: bytes, now: datetime, *, finished_at: datetime | None
) -> None:
    """Note a generation."""
    statement = text(
        "INSERT INTO kit.master_key (generation, check_value, began_at, finished_at) "
        "VALUES (:generation, :check_value, :now, :finished_at)"
    )
    given = {"generation": generation, "check_value": check_value, "now": now, "finished_at": finished_at}
    await connection.execute(statement, given)


async def finish(connection: AsyncConnection, generation: int, now: datetime) -> None:
    """Note that every row is of a generation."""
    statement = text("UPDATE kit.master_key SET finished_at = :now WHERE generation = :generation")
    await connection.execute(statement, {"generation": generation, "now": now})


async def part(connection: AsyncConnection, generation: int, name: str) -> Row[Any] | None:
    """How far a part is: after, rows, is_done."""
    statement = text(
        "SELECT after, rows, is_done FROM kit.key_rotation WHERE generation = :generation AND part = :part FOR UPDATE"
    )
    return (await connection.execute(statement, {"generation": generation, "part": name})).one_or_none()


async def write_part(
    connection: AsyncConnection, generation: int, name: str, after: int, rows: int, is_done: bool
) -> None:
    """Note how far a part is."""
    statement = text(
        "INSERT INTO kit.key_rotation (generation, part, after, rows, is_done) "
        "VALUES (:generation, :part, :after, :rows, :is_done) ON CONFLICT (generation, part) DO UPDATE "
        "SET after = EXCLUDED.after, rows = EXCLUDED.rows, is_done = EXCLUDED.is_done"
    )
    given = {"generation": generation, "part": name, "after": after, "rows": rows, "is_done": is_done}
    await connection.execute(statement, given)


async def connections_of(connection: AsyncConnection, role: str) -> int:
    """Open connections of a role to this database."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = :role AND pid <> pg_backend_pid()"
    )
    return int((await connection.execute(statement, {"role": role})).scalar_one())
