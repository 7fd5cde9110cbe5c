"""The gateway's own statements."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def migration(connection: AsyncConnection) -> str | None:
    """The migration that the database stands at."""
    return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
