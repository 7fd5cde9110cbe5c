"""A durable server that may be killed, and what the proofs have to tell at the end of a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

import migrations
from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect

_numbers = count(1)
_told: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What every proof did: operations, crashes, indeterminate answers, violations, seed."""
    if _told:
        terminalreporter.section("deep proofs")
        for line in _told:
            terminalreporter.write_line(line)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Say figures now and in the summary, whether or not they will please."""

    def say(**figures: object) -> None:
        line = f"{request.node.name}: " + ", ".join(f"{name} {value}" for name, value in figures.items())
        print(line)
        _told.append(line)

    return say


@pytest.fixture(scope="session")
def durable_server() -> Iterator[postgres.Server]:
    """A PostgreSQL that may not lose what it acknowledged, for tests that kill it and start it again."""
    place = Path(tempfile.mkdtemp(prefix="tessera-deep-"))
    with postgres.running(place, durable=True) as running:
        yield running
    for folder in {place, running.data_folder}:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def durable_template(durable_server: postgres.Server) -> str:
    """Name of a migrated database without rows on the durable server."""
    postgres.create_database(durable_server, "deep_template")
    migrations.upgrade(durable_server.url("deep_template", durable_server.superuser))
    return "deep_template"


@pytest.fixture
def durable_name(durable_server: postgres.Server, durable_template: str) -> Iterator[str]:
    """A database of this test's own on the durable server, which runs again when the test begins and ends."""
    postgres.start(durable_server.data_folder, durable=True)
    name = f"deep_{next(_numbers)}"
    postgres.create_database(durable_server, name, template=durable_template)
    yield name
    postgres.start(durable_server.data_folder, durable=True)
    postgres.drop_database(durable_server, name)


@pytest.fixture
async def durable_database(durable_server: postgres.Server, durable_name: str) -> AsyncIterator[Database]:
    """Both ways into that database, as the application's role; commits are seen to be durable."""
    async with connect(durable_server.url(durable_name, APPLICATION_ROLE)) as opened:
        async with opened.pool.acquire() as connection:
            await postgres.assert_durable(connection)
        yield opened
