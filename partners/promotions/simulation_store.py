"""Statements on rehearsals that somebody asked for. Private to the partners."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

MOST_ATTEMPTS = 3

_MINE = "simulation_id = :simulation_id AND state = 'RUNNING' AND attempts = :attempts"


async def insert(
    connection: AsyncConnection,
    *,
    author_id: int,
    at: datetime,
    since: datetime,
    until: datetime,
    manifest: str,
    content_sha256: str,
) -> int:
    """Store a rehearsal that waits; its number."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.simulation (author_id, at, since, until, manifest, content_sha256)
            VALUES (:author_id, :at, :since, :until, :manifest, :content_sha256) RETURNING simulation_id
        """),
        {
            "author_id": author_id, "at": at, "since": since, "until": until, "manifest": manifest,
            "content_sha256": content_sha256,
        },
    )  # fmt: skip
    return int(done.scalar_one())


async def unfinished(connection: AsyncConnection, author_id: int) -> int:
    """How many of somebody's wait or run."""
    found = await connection.execute(
        text("""
            SELECT count(*) FROM partners.simulation
            WHERE author_id = :author_id AND state IN ('WAITING', 'RUNNING')
        """),
        {"author_id": author_id},
    )
    return int(found.scalar_one())


async def by_number(connection: AsyncConnection, simulation_id: int) -> Row[Any] | None:
    """A rehearsal: all but its manifest, and author's name."""
    found = await connection.execute(
        text("""
            SELECT simulation_id, m.name AS author, at, since, until, content_sha256, state, baskets, baskets_done,
                   report
            FROM partners.simulation JOIN kit.actor m ON m.actor_id = author_id WHERE simulation_id = :simulation_id
        """),
        {"simulation_id": simulation_id},
    )
    return found.one_or_none()


async def give_up(connection: AsyncConnection, now: datetime) -> None:
    """Let those be failed that whoever ran them let go of for the last time."""
    await connection.execute(
        text("""
            UPDATE partners.simulation SET state = 'FAILED', leased_until = NULL
            WHERE state = 'RUNNING' AND leased_until <= :now AND attempts >= :most
        """),
        {"now": now, "most": MOST_ATTEMPTS},
    )


async def take(connection: AsyncConnection, *, now: datetime, leased_until: datetime) -> Row[Any] | None:
    """Take the next one that waits, or whose lease is over: simulation_id, attempts, since, until, manifest."""
    found = await connection.execute(
        text("""
            UPDATE partners.simulation SET state = 'RUNNING', leased_until = :leased_until, attempts = attempts + 1,
                   baskets_done = 0
            WHERE simulation_id = (
              SELECT simulation_id FROM partners.simulation
              WHERE (state = 'WAITING' OR (state = 'RUNNING' AND leased_until <= :now)) AND attempts < :most
              ORDER BY simulation_id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING simulation_id, attempts, since, until, manifest
        """),
        {"now": now, "leased_until": leased_until, "most": MOST_ATTEMPTS},
    )
    return found.one_or_none()


async def count_baskets(connection: AsyncConnection, simulation_id: int, attempts: int) -> None:
    """Write down how many purchases there are in its window."""
    await connection.execute(
        text(f"""
            UPDATE partners.simulation SET baskets = (
              SELECT count(*) FROM partners.receipt
              WHERE kind = 1 AND unit = 1 AND occurred_at >= since AND occurred_at < until)
            WHERE {_MINE}
        """),
        {"simulation_id": simulation_id, "attempts": attempts},
    )


async def note_progress(
    connection: AsyncConnection, simulation_id: int, attempts: int, *, baskets_done: int, leased_until: datetime
) -> bool:
    """Write down how far it is, and keep it; False where somebody else has it."""
    done = await connection.execute(
        text(
            f"UPDATE partners.simulation SET baskets_done = :baskets_done, leased_until = :leased_until WHERE {_MINE}"
        ),
        {
            "simulation_id": simulation_id, "attempts": attempts, "baskets_done": baskets_done,
            "leased_until": leased_until,
        },
    )  # fmt: skip
    return done.rowcount == 1


async def finish(connection: AsyncConnection, simulation_id: int, attempts: int, report: Mapping[str, Any]) -> bool:
    """Store what it came to; False where somebody else has it."""
    done = await connection.execute(
        text(f"""
            UPDATE partners.simulation SET state = 'DONE', leased_until = NULL, report = CAST(:report AS jsonb)
            WHERE {_MINE}
        """),
        {"simulation_id": simulation_id, "attempts": attempts, "report": json.dumps(report)},
    )
    return done.rowcount == 1


async def put_back(connection: AsyncConnection, simulation_id: int, attempts: int, *, counts: bool) -> None:
    """Let it wait again, or fail after its last attempt; counts: whether this was an attempt."""
    await connection.execute(
        text(f"""
            UPDATE partners.simulation SET leased_until = NULL, attempts = attempts - CAST(:free AS smallint),
                   state = CASE WHEN attempts - :free >= :most THEN 'FAILED' ELSE 'WAITING' END
            WHERE {_MINE}
        """),
        {"simulation_id": simulation_id, "attempts": attempts, "free": 0 if counts else 1, "most": MOST_ATTEMPTS},
    )
