"""The toy gateway: one for a module's tests that change nothing, or one of a test's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, MutableMapping
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from tests.gateway.own_toys import ONBOARDED
from tests.gateway.signers import HIDDEN
from tests.gateway.toys import Toy, running

if TYPE_CHECKING:
    from tests.gateway.town import Town

_numbers = count(1)


@pytest.fixture(autouse=True, scope="session")
def plain_logs() -> None:
    """Log lines without the coloured tracebacks of a terminal, which take seconds to draw."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])


@pytest.fixture(scope="module")
async def module_toy(server: postgres.Server, template: str, vault: Vault) -> AsyncIterator[Toy]:
    """A small schema behind the real gateway, in this process, for a whole module."""
    name = f"toy_{os.getpid()}_{next(_numbers)}"
    postgres.create_database(server, name, template=template)
    url = server.url(name, APPLICATION_ROLE)
    async with connect(url) as database, running(database, url, vault, ONBOARDED.get(template)) as opened:
        yield opened
    postgres.drop_database(server, name)


@pytest.fixture(scope="session")
async def place(server: postgres.Server, template: str, vault: Vault) -> AsyncIterator[Town]:
    """One town with a real browser for all tests that need one; each test opens browsers of its own."""
    from tests.gateway import town  # Playwright is loaded only where a browser is used

    async with town.opened(server, template, vault, f"town_{os.getpid()}") as opened:
        yield opened


@pytest.fixture
def toy(module_toy: Toy) -> Toy:
    """The module's toy, with nothing seen yet."""
    module_toy.seen.calls.clear()
    return module_toy


@pytest.fixture
async def own_toy(
    server: postgres.Server, template: str, database_name: str, database: Database, vault: Vault
) -> AsyncIterator[Toy]:
    """A toy of this test's own, whose clients and clock it may change."""
    url = server.url(database_name, APPLICATION_ROLE)
    async with running(database, url, vault, ONBOARDED.get(template)) as opened:
        yield opened


@pytest.fixture
def oauth_logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged during a test; afterwards it is seen that no token, code, assertion or secret is in it."""
    HIDDEN.clear()
    with capture_logs() as logs:
        yield logs
    said = str(logs)
    assert not [hidden for hidden in HIDDEN if hidden in said]
