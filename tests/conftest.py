"""A server for the session, a migrated template, and a database of its own for every test that asks."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

import migrations
from kit import console, postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault

MEMORY = Path("/dev/shm")
SCRATCH = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2_000_000_000 else Path(tempfile.gettempdir())

Copying = Callable[[str], AbstractAsyncContextManager[str]]
"""A copy of a template, by its name, in which nobody else is for the time of a block."""

LONG = {
    "tests/gateway/test_console_pages.py",
    "tests/gateway/test_portal_pages.py",
    "tests/gateway/test_webhook_pages.py",
    "tests/ledger/test_sharding.py",
    "tests/settlement/test_fee_corrections.py",
    "tests/settlement/test_fees.py",
    "tests/settlement/test_package_building.py",
    "tests/settlement/test_reconciled_year.py",
    "tests/settlement/test_report_catalogue.py",
    "tests/settlement/test_run_steps.py",
    "tests/settlement/test_runs.py",
    "tests/settlement/test_scheduling.py",
    "tests/settlement/test_settlement_machine.py",
    "tests/settlement/test_windows.py",
    "tests/test_architecture.py",
}
"""Files that take longest, and of those that would come last whatever takes more than ten seconds."""

_numbers = count(1)

# How long an example takes says how busy the machine is, and nothing about what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_configure() -> None:
    """Consoles ask for their width when they print: in a worker process of the tests they found 80 when they were made,
    and would keep to it."""
    for one in (console.out, console.err):
        one._width = None


@pytest.fixture(scope="session", autouse=True)
def known_types() -> Iterator[None]:
    """What the driver was told of our types once, it knows at the next connection.

    It asks each connection for them in a query that costs the server as much as everything else of a short test. Copies
    of a template have the same types under the same numbers, and a server gives no number twice.
    """
    told: dict[tuple[Any, ...], Any] = {}
    ask = asyncpg.Connection._introspect_types

    async def remember(connection: Any, numbers: Any, seconds: float | None) -> Any:
        key = (connection._addr, connection._params.user, *sorted(numbers))
        if key not in told:
            told[key], statement = await ask(connection, numbers, seconds)
            return told[key], statement
        return told[key], SimpleNamespace(name="remembered")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "_introspect_types", remember)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays until the end: whoever looks for garbage need not look there, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a database is marked so, and `-m "not postgres"` runs the rest without one. Files that take
    long come first: of several processes none then has one left when the others are done."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in LONG)


class WholeFiles(LoadScopeScheduling):
    """A file's tests stay in one process, where what they share is made once: a town, a browser, a template.

    `--dist loadgroup` keeps them together only where a group's name gets into the ids of tests. With our pytest it does
    not, and each process built a town for the tests that it was dealt.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    """How tests are dealt out to several processes: file by file, in the order that they were collected in."""
    config.option.loadscopereorder = False
    return WholeFiles(config, log)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """The embedded PostgreSQL of this session, not durable: its data dies with it.

    Nothing runs in it that no test asked for. A transaction of autovacuum's, in whichever database, keeps all others
    from reading by watermark what was recorded since it began, for as long as it runs.
    """
    place = Path(tempfile.mkdtemp(prefix="tessera-test-", dir=SCRATCH))
    with postgres.running(place, durable=False, settings={"autovacuum": "off"}) as running:
        yield running
    for folder in {place, running.data_folder}:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(migrated: str) -> str:
    """What a test's database is a copy of. A file may have one of its own, in which more is done already."""
    return migrated


@pytest.fixture(scope="session")
def migrated(server: postgres.Server) -> str:
    """Name of a migrated database without rows."""
    name = f"template_{os.getpid()}"
    postgres.create_database(server, name)
    migrations.upgrade(server.url(name, server.superuser))
    return name


@pytest.fixture(scope="session")
async def copying(server: postgres.Server) -> AsyncIterator[Copying]:
    """What makes copies of databases, for the time of a block."""
    connection = await asyncpg.connect(server.dsn("postgres", server.superuser))

    @asynccontextmanager
    async def copy(template: str) -> AsyncIterator[str]:
        # Over one connection: a program that is started for each costs as much again as the files that are copied.
        name = f"test_{os.getpid()}_{next(_numbers)}"
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        yield name
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    yield copy
    await connection.close()


@pytest.fixture
async def database_name(copying: Copying, template: str) -> AsyncIterator[str]:
    """A database of this test's own."""
    async with copying(template) as name:
        yield name


@pytest.fixture
async def database(server: postgres.Server, database_name: str) -> AsyncIterator[Database]:
    """Both ways into this test's database, signed in as the application's role."""
    async with connect(server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


@pytest.fixture(scope="module")
async def module_database(server: postgres.Server, template: str, copying: Copying) -> AsyncIterator[Database]:
    """A database of all tests of a file that only read what is in it."""
    async with copying(template) as name, connect(server.url(name, APPLICATION_ROLE)) as opened:
        yield opened


@pytest.fixture(scope="session")
def vault() -> Vault:
    """Keys of the tests."""
    return Vault(bytes(range(32)))
