"""Worlds of finance that are built once per file of tests and copied for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from copy import copy
from typing import Any

import asyncpg
import pytest

from kit.database import APPLICATION_ROLE, Database, connect
from kit.postgres import Server
from tests.conftest import Copying

Coalition = Any  # of conftest, which is not imported
Build = Callable[[Coalition, asyncpg.Connection], Awaitable[None]]


def once(build: Build) -> tuple[Any, Any]:
    """A file's own `template`, in which a founded coalition was built up (build also has the schema's owner), and the
    fixture that is this coalition in a test's own copy."""
    built: dict[str, Coalition] = {}

    @pytest.fixture(scope="module", name="template")
    async def its_template(
        server: Server, template: str, copying: Copying, coalition_of: Callable[[Database], Coalition]
    ) -> AsyncIterator[str]:
        async with copying(template) as name:
            owner = await asyncpg.connect(server.dsn(name, server.superuser))
            async with connect(server.url(name, APPLICATION_ROLE)) as database:
                built[name] = coalition_of(database)
                await built[name].found()
                await build(built[name], owner)
            await owner.close()
            yield name

    @pytest.fixture
    def its_copy(template: str, database: Database) -> Coalition:
        found = copy(built[template])
        found.database, found.partners = database, dict(found.partners)
        return found

    return its_template, its_copy
