"""How a process reaches PostgreSQL: one SQLAlchemy engine for reads and what is not hot, one raw asyncpg pool for
the lanes. Both sign in as the application's role, which may not change what is written once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

APPLICATION_ROLE = "tessera_app"


@dataclass(frozen=True, slots=True)
class Database:
    """The two ways into one database. Open it with `connect`, once per process."""

    engine: AsyncEngine
    pool: asyncpg.Pool

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that commits each statement by itself; for reads."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection inside a transaction, committed at the end, rolled back when anything is raised."""
        async with self.engine.begin() as connection:
            yield connection


def engine_url(url: str) -> str:
    """A postgresql:// address as SQLAlchemy with asyncpg wants it."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def driver_url(url: str) -> str:
    """The same address as raw asyncpg wants it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@asynccontextmanager
async def connect(
    url: str, *, pool_size: int = 8, statement_seconds: int | None = None, **engine_options: Any
) -> AsyncIterator[Database]:
    """Open both ways into the database at a postgresql:// address and close them at the end.

    pool_size bounds each of them; statement_seconds, if given, is after how long the server ends a statement. Raises
    what the driver raises when the server cannot be reached.
    """
    server_settings = {} if statement_seconds is None else {"statement_timeout": f"{statement_seconds}s"}
    engine = create_async_engine(
        engine_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=False,
        connect_args={"server_settings": server_settings},
        **engine_options,
    )
    pool = await asyncpg.create_pool(
        driver_url(url),
        min_size=1,
        max_size=pool_size,
        command_timeout=30,
        reset=_keep,
        server_settings=server_settings,
    )
    try:
        yield Database(engine, pool)
    finally:
        await pool.close()
        await engine.dispose()


async def _keep(_connection: asyncpg.Connection) -> None:
    """Nothing to reset: calls on the pool are single statements that leave no state, and a round trip is not free."""
