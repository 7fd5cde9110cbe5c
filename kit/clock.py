"""The only places that read a clock.

Business time is an argument (`at`) everywhere below the gateway. The gateway takes it from here: the wall, or
the database row of a sandbox. Wall time alone is for tokens, one-time codes and leases.
"""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


def wall() -> datetime:
    """The wall clock's instant, UTC."""
    return datetime.now(UTC)


async def sandbox(connection: AsyncConnection) -> datetime:
    """The business clock's row, UTC. Before anyone set it, the wall's instant."""
    found = (await connection.execute(text("SELECT now_at FROM kit.business_clock"))).scalar_one_or_none()
    return found or wall()


async def sandbox_of(pool: asyncpg.Pool) -> datetime:
    """The same, on the raw pool of the hot path."""
    found: datetime | None = await pool.fetchval("SELECT now_at FROM kit.business_clock")
    return found or wall()


async def set_sandbox(connection: AsyncConnection, at: datetime) -> None:
    """Move the business clock of a sandbox forward to an instant. It never runs backwards: an earlier one is kept."""
    await connection.execute(
        text(
            "INSERT INTO kit.business_clock (id, now_at) VALUES (1, :at) "
            "ON CONFLICT (id) DO UPDATE SET now_at = greatest(kit.business_clock.now_at, EXCLUDED.now_at)"
        ),
        {"at": at},
    )
