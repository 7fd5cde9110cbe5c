"""Books of a coalition that trades."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit.database import Database
from kit.secrets import Vault
from tests.settlement.money.books import Books, met, some_books

template = some_books()


@pytest.fixture
async def unchecked_books(database: Database, vault: Vault) -> AsyncIterator[Books]:
    """A coalition with nobody but its people, for who tampers with its books."""
    made = await met(database, vault)
    yield made
    await made.coalition.desk.close()


@pytest.fixture
async def books(unchecked_books: Books) -> AsyncIterator[Books]:
    """The same; whatever a test does, its books must pass every control at the end."""
    yield unchecked_books
    assert await unchecked_books.violations() == []
