"""Books of a coalition that trades."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit.database import Database
from kit.secrets import Vault
from tests.settlement.money.books import Books, opened


@pytest.fixture
async def books(database: Database, vault: Vault) -> AsyncIterator[Books]:
    """A coalition with nobody but its people; whatever a test does, its books must pass every control at the end."""
    made = await opened(database, vault)
    yield made
    assert await made.violations() == []
    await made.coalition.desk.close()
