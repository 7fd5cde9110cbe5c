"""The toy gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.gateway.toys import Toy, running


@pytest.fixture
async def toy(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> AsyncIterator[Toy]:
    """A small schema behind the real gateway, in this process."""
    async with running(database, server.url(database_name, APPLICATION_ROLE), vault) as opened:
        yield opened
