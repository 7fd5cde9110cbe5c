"""`tessera oauth`, as a person at a terminal meets it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from gateway.oauth import endings, grants
from kit import actors
from kit.clock import wall
from kit.database import Database
from kit.secrets import Vault
from kit.settings import settings
from tests.gateway.signers import Signer
from tests.gateway.test_commands import done, environment, refused  # noqa: F401 - environment is a fixture
from tests.gateway.toys import Clock, onboarded


@pytest.fixture
async def client_id(database: Database, vault: Vault) -> str:
    _, client_id, _ = await onboarded(database, vault, Clock().at)
    return client_id


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "public.jwk"
    file.write_text(json.dumps(Signer().public))
    return file


def test_a_client_that_signs_is_registered_and_its_key_replaced_and_removed(
    client_id: str,
    key_file: Path,
    tmp_path: Path,
) -> None:
    said = done(f"oauth register {key_file} baker --name Office --redirect-uri https://app.example/back")
    match = re.fullmatch(r"client_id  (cl_[a-z0-9]{20})\n", said)
    assert match is not None
    added = match[1]
    printed = json.loads(done(f"oauth make-key {tmp_path / 'private.jwk'}"))
    private = json.loads((tmp_path / "private.jwk").read_text())
    assert (private["kid"], "d" in printed) == (printed["kid"], False)
    assert (tmp_path / "private.jwk").stat().st_mode & 0o077 == 0
    second = tmp_path / "second.jwk"
    second.write_text(json.dumps(printed))
    assert printed["kid"] in done(f"oauth key add {added} {second} --overlap-hours 1")
    listed = done(f"oauth key list {added}")
    assert listed.count("ES256") == 2
    assert "it is replaced" in listed
    done(f"oauth key remove {added} {printed['kid']}")
    assert "CLIENT_KEY_UNKNOWN" in refused(f"oauth key remove {added} {printed['kid']}")
    done(f"oauth suspend {added}")
    assert "SUSPENDED" in done("partner client list")
    done(f"oauth resume {added}")
    assert "SUSPENDED" not in done("partner client list")


def test_tills_and_apps_are_registered_without_a_credential(client_id: str) -> None:
    assert "cl_" in done("oauth register-public baker --name Tills")
    assert "cl_" in done("oauth register-public --staff --name App --redirect-uri http://127.0.0.1:9/back")
    assert "REDIRECT_URI_INVALID" in refused("oauth register-public baker --name App --redirect-uri http://a.example/")
    assert "--staff" in refused("oauth register-public --name App")


def test_secrets_are_an_exception_that_can_be_taken_back(client_id: str) -> None:
    done("partner client add baker --name Old")
    done("oauth allow-secrets baker --no-more")
    assert "SECRET_NOT_ALLOWED" in refused("partner client add baker --name Old")
    assert "SECRET_NOT_ALLOWED" in refused(f"partner client rotate {client_id}")
    done("oauth allow-secrets baker")
    done(f"partner client rotate {client_id}")


def test_what_is_no_key_is_said_in_a_sentence(client_id: str, key_file: Path, tmp_path: Path) -> None:
    for content in ("x", "[]", "{}", '{"kty": "oct", "k": "x"}'):
        key_file.write_text(content)
        assert "key" in refused(f"oauth register {key_file} baker --name x").lower()
    assert "exists" in refused(f"oauth make-key {key_file}")
    assert "CLIENT_UNKNOWN" in refused(f"oauth key list cl_{'a' * 20}")


async def test_what_people_allowed_is_listed_and_ended(client_id: str, database: Database) -> None:
    async with database.transaction() as connection:
        actor_id = await actors.ensure_actor(connection, "anna", [])
        client_no = (
            await connection.run_sync(lambda sync: sync.exec_driver_sql("SELECT max(client_no) FROM gateway.client"))
        ).scalar_one()
        grant = await connection.run_sync(
            lambda sync: grants.add(
                sync, client_no=client_no, actor_id=actor_id, scope="points:accrue", jkt=None, at=wall()
            )
        )
    listed = await asyncio.to_thread(done, f"oauth grants {client_id}")
    assert grant.grant_id in listed
    assert "anna" in listed
    await asyncio.to_thread(done, f"oauth end {grant.grant_id}")
    assert "GRANT_UNKNOWN" in await asyncio.to_thread(refused, f"oauth end {grant.grant_id}")
    assert "ENDED_BY_OPERATOR" in await asyncio.to_thread(done, f"oauth grants {client_id}")
    async with database.transaction() as connection:
        [held] = await endings.of_client(connection, client_id)
    assert held.ended_why == "ENDED_BY_OPERATOR"


@pytest.mark.parametrize("value", ["secret", "changeme", "MDEyMzQ1Njc4OWFiY2RlZg==", "A" * 43 + "=", "!", ""])
def test_l_30_a_weak_master_key_starts_nothing(client_id: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MASTER_KEY", value)
    settings.cache_clear()
    assert "master key" in refused("serve")
    assert "master key" in refused("rotate-signing-key")
