"""schemathesis against a running gateway: whatever the schema allows is asked, and nothing is ever our fault."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import app, application, lanes, scopes
from gateway.schema import schema
from gateway.sessions import forms, session
from gateway.sessions.session import Person
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from kit.settings import Settings
from members import enrolment
from members.consents import ConsentGiven
from members.messages import MEMBER
from tests.builders import NOON, violations
from tests.founded import a_coalition, met
from tests.gateway import stand, toys
from tests.gateway.live import served
from tests.gateway.test_schema import COMMITTED, ROOTS, demanded

SESSION_ROOTS = [
    f"{root}.{name}"
    for root, name in ROOTS
    if demanded(root, name) and demanded(root, name) <= scopes.OF_SESSIONS.keys()
]
OWN_ROOTS = [f"{root}.{name}" for root, name in ROOTS if demanded(root, name) == {scopes.MEMBER_SELF}]
SLOWEST_SECONDS = 5
"""A bound that a loaded machine keeps too: what it is there to see is a request that takes a minute."""


template = a_coalition(bakery={})


@pytest.fixture
async def token_and_settings(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> tuple[str, str]:
    """A token of every scope, and the database's address."""
    url = server.url(database_name, APPLICATION_ROLE)
    coalition = await met(database, vault)
    async with stand.opened(coalition, url) as gateway:
        till = await gateway.till("bakery", wanted=list(scopes.SCOPES))
    await coalition.desk.close()
    return till.token, url


def fuzzed(
    address: str, token: str, place: Path, *options: str, path: str = "/graphql", headers: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """What schemathesis says of a running gateway. headers, by turns name and value: of a page's script."""
    where = [f"{address}{path}", "-H", f"Authorization: Bearer {token}"]
    if headers:
        pairs = zip(headers[::2], headers[1::2], strict=True)
        sent = [part for name, value in pairs for part in ("-H", f"{name}: {value}")]
        where = [str(COMMITTED), "--url", f"{address}{path}", *sent]
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", *where,
        "--phases", "fuzzing", "--mode", "all", "--checks", "not_a_server_error", "--seed", "20261121",
        "--max-response-time", str(SLOWEST_SECONDS), "--continue-on-failure", "--generation-database", "none",
        "--suppress-health-check", "all", "--no-color", "--workers", "1", *options,
    ]  # fmt: skip
    hooks = Path(__file__).with_name("fuzzing_scalars.py")
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(hooks)}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=place, env=environment, check=False)


@pytest.mark.parametrize("examples", [4, pytest.param(16, marks=pytest.mark.deep)])
async def test_whatever_is_asked_the_gateway_answers_in_time_and_never_with_a_fault_of_its_own(
    token_and_settings: tuple[str, str], vault: Vault, database: Database, tmp_path: Path, examples: int
) -> None:
    token, url = token_and_settings
    settings = Settings(issuer=stand.ISSUER, clock="sandbox", pool_size=4)
    built = app.build(settings, schema, database_url=url, vault=vault, opening=lanes.opened)
    with served(built, settings) as address:
        others = [option for name in SESSION_ROOTS for option in ("--exclude-name", name)]
        done = fuzzed(address, token, tmp_path, "--max-examples", str(examples), *others)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert "INTERNAL_SERVER_ERROR" not in done.stdout
    assert await violations(database.pool) == []


async def test_whatever_a_pages_script_asks_is_never_answered_with_a_fault_either(
    token_and_settings: tuple[str, str], vault: Vault, database: Database, tmp_path: Path
) -> None:
    _, url = token_and_settings
    settings = Settings(issuer=stand.ISSUER, clock="sandbox", pool_size=4)
    built = application.of(settings, url, vault=vault)
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON)
        enrolled = await enrolment.enrol(
            connection, vault, enrolled_by=0, at=NOON, personal=None, consents=[ConsentGiven("PROGRAMME", "1", NOON)],
            language="en",
        )  # fmt: skip
        member = Person(MEMBER, enrolled.member_id)
        token = await session.begin(
            connection, member, proved_by=session.CODE, browser="?", replaces=None, now=clock.wall()
        )
    headers = ("Cookie", f"sandbox-member-session={token}", forms.HEADER, forms.token_for(vault, token))
    with served(built, settings) as address:
        # A member's allowance is small, and what is over it is refused.
        own = [option for name in OWN_ROOTS for option in ("--include-name", name)]
        done = fuzzed(address, "none", tmp_path, "--max-examples", "3", *own, path="/session/graphql", headers=headers)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert "INTERNAL_SERVER_ERROR" not in done.stdout
    assert "passed" in done.stdout


async def test_a_fault_would_be_seen(token_and_settings: tuple[str, str], vault: Vault, tmp_path: Path) -> None:
    token, url = token_and_settings
    settings = Settings(issuer=stand.ISSUER, clock="sandbox", pool_size=2)
    with served(app.build(settings, toys.schema, database_url=url, vault=vault), settings) as address:
        done = fuzzed(address, token, tmp_path, "--max-examples", "2", "--include-name", "Query.broken")
    assert done.returncode == 1, done.stdout[-5_000:]
    assert "INTERNAL_SERVER_ERROR" in done.stdout
