"""`tessera`, as a person at a terminal meets it."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from gateway import commands
from kit.actors import ensure_actor
from kit.clock import wall
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from tests.gateway.toys import Clock, onboarded


@pytest.fixture(autouse=True)
def environment(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MIGRATION_URL", server.dsn(database_name, server.superuser))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_ACTOR", "anna")
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
async def client_id(database: Database, vault: Vault) -> str:
    _, client_id, _ = await onboarded(database, vault, Clock().at)
    return client_id


def say(line: str) -> Result:
    return CliRunner().invoke(commands.app, line.split())


def done(line: str) -> str:
    result = say(line)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(line: str) -> str:
    result = say(line)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_a_client_is_added_rotated_suspended_and_resumed(client_id: str) -> None:
    said = done("partner client add baker --name Web --scope points:accrue --scope members:read")
    match = re.fullmatch(r"client_id +(cl_[a-z0-9]{20})\nclient_secret +(tsk_[A-Za-z0-9_-]{43})\n", said)
    assert match is not None
    added, secret = match.groups()
    assert secret not in done("partner client list")
    rotated = done(f"partner client rotate {added} --overlap-hours 1")
    assert secret not in rotated
    assert "tsk_" in rotated
    done(f"partner client suspend {added}")
    assert re.search(rf"{added}.*SUSPENDED.*members:read points:accrue", done("partner client list"))
    done(f"partner client resume {added}")
    assert "SUSPENDED" not in done("partner client list")


def test_a_client_of_the_staff_belongs_to_no_partner(client_id: str) -> None:
    assert "SECRET_NOT_ALLOWED" in refused("partner client add --staff --name Console --scope schema:read")
    done("oauth allow-secrets --staff")
    done("partner client add --staff --name Console --scope schema:read")
    assert re.search(r"staff +│ +Console", done("partner client list"))


def test_what_cannot_be_done_is_said_in_a_sentence(client_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PARTNER_UNKNOWN" in refused("partner client add butcher --name x")
    assert "--staff" in refused("partner client add --name x")
    assert "--staff" in refused("partner client add baker --staff --name x")
    assert "SCOPE_UNKNOWN" in refused("partner client add baker --name x --scope points:acrue")
    assert "CLIENT_UNKNOWN" in refused("partner client rotate cl_nobody")
    monkeypatch.setenv("TESSERA_ACTOR", "nobody")
    assert "ACTOR_UNKNOWN" in refused(f"partner client suspend {client_id}")


async def test_the_signing_key_is_rotated(client_id: str, database: Database) -> None:
    async with database.transaction() as connection:
        await ensure_actor(connection, "bob", [])
    assert "NOT_PERMITTED" in await asyncio.to_thread(refused, "rotate-signing-key --actor bob")
    for _ in range(2):
        assert "Signing key" in await asyncio.to_thread(done, "rotate-signing-key")
    async with database.reading() as connection:
        trail = "SELECT count(*) FROM kit.audit_trail WHERE action = 'SIGNING_KEY_ROTATED'"
        assert await connection.scalar(text(trail)) == 2
        good = "SELECT count(*) FILTER (WHERE verifies_until IS NULL), count(*) FROM gateway.signing_key"
        assert (await connection.execute(text(good))).one() == (1, 2)


def test_a_fresh_ledger_has_no_violations(client_id: str) -> None:
    assert done("audit") == "No violations.\n"


async def test_a_total_that_is_not_its_postings_is_named_by_the_audit(
    client_id: str, server: Server, database_name: str
) -> None:
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("INSERT INTO ledger.rollup VALUES ('2026-05-05', 1, 1, 1, 1, 10, 1, 1, 70)")
    await owner.close()
    result = await asyncio.to_thread(say, "audit")
    assert result.exit_code == 1
    assert re.search(r"A12 roll-up = its postings.*2026-05-05", result.stdout)


def test_a_migrated_database_has_nothing_to_migrate() -> None:
    assert done("migrate") == "Nothing to do.\n"


def test_a_new_key_is_32_bytes_and_never_the_same() -> None:
    first, second = done("new-key").strip(), done("new-key").strip()
    assert len(base64.urlsafe_b64decode(first)) == 32
    assert first != second


def test_the_schema_is_printed() -> None:
    assert "type Mutation" in done("schema")
    assert "Nothing that a caller could notice." in done("schema changes")


async def test_who_uses_what_of_the_schema_is_listed(client_id: str, database: Database) -> None:
    today = wall().date()
    number = await database.pool.fetchval("SELECT client_no FROM gateway.client WHERE client_no > 0")
    for field, day in (("Query.member", today), ("Query.quote", today - timedelta(days=40))):
        await database.pool.execute("INSERT INTO gateway.field_use VALUES ($1, $2, $3, 7)", number, day, field)
    said = await asyncio.to_thread(done, "schema usage")
    assert re.search(rf"Query.member +│ +{client_id} +│ +7 +│ +{today}", said)
    assert "Query.quote" not in said
    assert "Query.quote" in await asyncio.to_thread(done, "schema usage --days 50")
    assert "Query.member" not in await asyncio.to_thread(done, "schema usage --deprecated")


def test_what_a_client_may_ask_for_is_shown_and_changed(client_id: str) -> None:
    assert "1000000 points at once" in done(f"partner client limit {client_id}")
    assert "20000 points at once, 1000 a second" in done(f"partner client limit {client_id} --grade large")
    assert "500 points at once, 50 a second" in done(f"partner client limit {client_id} --burst 500 --restore 50")
    said = done(f"partner client limit {client_id} --trusted-only")
    assert "500 points at once" in said
    assert "registered documents alone" in said
    assert "any document" in done(f"partner client limit {client_id} --any-document")
    assert "standard or large" in refused(f"partner client limit {client_id} --grade huge")
    assert "both" in refused(f"partner client limit {client_id} --burst 5")
    assert "ALLOWANCE_INVALID" in refused(f"partner client limit {client_id} --burst 5 --restore 5")
    assert "CLIENT_UNKNOWN" in refused("partner client limit cl_nobody")


def test_documents_are_registered_from_files_listed_and_forgotten(client_id: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "viewer.graphql", tmp_path / "bad.graphql"
    good.write_text("{ viewer { __typename } }", encoding="utf-8")
    bad.write_text("{ wiewer { __typename } }", encoding="utf-8")
    assert "DOCUMENT_INVALID" in refused(f"partner client document add {client_id} {good} {bad}")
    assert "viewer" not in done(f"partner client document list {client_id}")
    name = done(f"partner client document add {client_id} {good}").split()[0]
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert name in done(f"partner client document list {client_id}")
    assert done(f"partner client document forget {client_id} {name}") == "Forgotten.\n"
    assert "DOCUMENT_INVALID" in refused(f"partner client document forget {client_id} {name}")
    assert "64 hexadecimal" in refused(f"partner client document forget {client_id} xyz")


def test_a_database_of_another_version_is_not_served(server: Server, database_name: str) -> None:
    import asyncpg
    import uvloop

    async def put_back() -> None:
        owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
        await owner.execute("UPDATE alembic_version SET version_num = '0001'")
        await owner.close()

    uvloop.run(put_back())
    assert "run `tessera migrate`" in refused("serve")


def test_an_issuer_in_the_clear_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_ISSUER", "http://loyalty.example")
    settings.cache_clear()
    assert "https://" in refused("serve")
