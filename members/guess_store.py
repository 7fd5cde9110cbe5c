"""SQL of wrong guesses. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def lock(connection: AsyncConnection, kind: str, subject: int) -> None:
    """Let nobody else guess for somebody until the transaction ends: guesses made at once are counted one by one."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(7305035, hashtext(:who))"), {"who": f"{kind}:{subject}"}
    )


async def count(
    connection: AsyncConnection, kind: str, subject: int, guesses: int, *, now: datetime, since: datetime
) -> int:
    """Count wrong guesses; how many there are in the window, which begins anew where it began before `since`."""
    counted = await connection.execute(
        text("""
            INSERT INTO members.guess AS g (kind, subject, began_at, wrong) VALUES (:kind, :subject, :now, :guesses)
            ON CONFLICT (kind, subject) DO UPDATE
            SET wrong = CASE WHEN g.began_at <= :since THEN EXCLUDED.wrong
                             ELSE least(g.wrong + EXCLUDED.wrong, 1000000) END,
                began_at = CASE WHEN g.began_at <= :since THEN EXCLUDED.began_at ELSE g.began_at END
            RETURNING wrong
        """),
        {"kind": kind, "subject": subject, "guesses": guesses, "now": now, "since": since},
    )
    return int(counted.scalar_one())


async def over(connection: AsyncConnection, kinds: Sequence[str], most: int, since: datetime) -> Sequence[Row[Any]]:
    """Who has guessed wrong so often in a window that began after an instant: kind, subject, began_at."""
    found = await connection.execute(
        text("""
            SELECT kind, subject, began_at FROM members.guess
            WHERE kind = ANY (:kinds) AND wrong >= :most AND began_at > :since
        """),
        {"kinds": list(kinds), "most": most, "since": since},
    )
    return found.all()


async def wrong(connection: AsyncConnection, kind: str, subject: int, *, since: datetime) -> int:
    """How many wrong guesses somebody made in a window that began after an instant."""
    found = await connection.execute(
        text("SELECT wrong FROM members.guess WHERE kind = :kind AND subject = :subject AND began_at > :since"),
        {"kind": kind, "subject": subject, "since": since},
    )
    return int(found.scalar_one_or_none() or 0)
