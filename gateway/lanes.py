"""The desk that a gateway process opens for its resolvers and drains when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.context import Services
from partners.desk import Desk


@asynccontextmanager
async def opened(services: Services) -> AsyncIterator[Desk]:
    """The desk over a process's services; leaving it finishes what is queued."""
    desk = Desk(services.database, services.vault, services.directory)
    try:
        yield desk
    finally:
        await desk.close()
