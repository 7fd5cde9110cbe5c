"""When traffic may come."""

from __future__ import annotations

import asyncpg
import pytest

from gateway import health
from gateway.context import Services
from gateway.health import Readiness
from kit import postgres
from kit.database import APPLICATION_ROLE, connect
from partners.directory import DirectoryCache
from tests.gateway.toys import Toy


async def answer(toy: Toy, path: str) -> tuple[int, dict[str, str]]:
    response = await toy.http.get(path)
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()


async def test_a_process_with_a_migrated_founded_database_is_alive_and_ready(toy: Toy) -> None:
    assert await answer(toy, "/healthz") == (200, {"status": "ok"})
    assert await answer(toy, "/readyz") == (200, {"status": "ready"})


async def test_a_draining_process_is_alive_but_not_ready_and_still_serves(own_toy: Toy) -> None:
    own_toy.app.state.readiness.draining = True
    assert await answer(own_toy, "/readyz") == (503, {"status": "not ready", "because": "draining"})
    assert await answer(own_toy, "/healthz") == (200, {"status": "ok"})
    assert (await own_toy.ask("{ one }")).status_code == 200


async def test_another_migration_than_the_codes_is_not_ready(
    own_toy: Toy, server: postgres.Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REMEMBER_SECONDS", 0.0)
    assert (await answer(own_toy, "/readyz"))[0] == 200
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE alembic_version SET version_num = '0001'")
    await owner.close()
    assert await answer(own_toy, "/readyz") == (503, {"status": "not ready", "because": "migrations"})


async def test_a_process_without_its_database_is_alive_but_not_ready(
    own_toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(health, "REMEMBER_SECONDS", 0.0)
    monkeypatch.setattr(type(own_toy.database.engine), "connect", away)
    assert await answer(own_toy, "/readyz") == (503, {"status": "not ready", "because": "database"})
    assert await answer(own_toy, "/healthz") == (200, {"status": "ok"})


async def test_a_process_whose_coalition_is_not_founded_is_not_ready(
    own_toy: Toy, server: postgres.Server, template: str
) -> None:
    name = "unfounded"
    postgres.create_database(server, name, template=template)
    async with connect(server.url(name, APPLICATION_ROLE), pool_size=1) as empty:
        directory = DirectoryCache(empty.pool, own_toy.vault)
        services = Services(own_toy.app.state.services.settings, empty, own_toy.vault, directory)
        assert await Readiness(services).problem() == "programme"
    postgres.drop_database(server, name)


async def test_the_database_is_asked_at_most_once_a_second(own_toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    readiness = Readiness(own_toy.app.state.services)
    asked = 0

    async def counted() -> None:
        nonlocal asked
        asked += 1

    monkeypatch.setattr(readiness, "_ask", counted)
    for _ in range(50):
        assert await readiness.problem() is None
    assert asked == 1
