"""The explorer: from our own files, in a sandbox alone."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from graphql import OperationDefinitionNode, build_client_schema, parse, validate
from graphql.execution.values import get_variable_values

from gateway import application
from gateway.explorer_pages import FILES
from gateway.schema import schema
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from kit.settings import Settings
from tests import builders
from tests.gateway import stand

OF_OURS = ("explorer.html", "explorer.css", "explorer.js", "examples.json")


@pytest.fixture(params=["sandbox", "wall"])
async def http(
    request: pytest.FixtureRequest, database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[tuple[str, httpx2.AsyncClient]]:
    settings = Settings(issuer=stand.ISSUER, clock=request.param, pool_size=2)
    built = application.of(settings, server.url(database_name, APPLICATION_ROLE), vault=vault)
    async with (
        built.router.lifespan_context(built),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(built), base_url=stand.ISSUER) as client,
    ):
        yield request.param, client


async def test_a_sandbox_serves_it_and_nothing_else_does(http: tuple[str, httpx2.AsyncClient]) -> None:
    clock, client = http
    names = [path.name for path in FILES.iterdir() if path.suffix in (".html", ".js", ".css", ".json")]
    assert len(names) == 8
    for path in ("/explorer", "/explorer/schema.json", *(f"/explorer/{name}" for name in names)):
        response = await client.get(path)
        if clock == "wall":
            assert response.status_code == 404, path
            continue
        assert response.status_code == 200, path
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert "unsafe-eval" not in policy
        assert re.search(r"script-src 'self';", policy)


async def test_the_sandboxs_instant_and_the_programmes_currency_are_filled_in(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> None:
    await builders.found(database, vault)
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, builders.NOON)
    settings = Settings(issuer=stand.ISSUER, clock="sandbox", pool_size=2)
    built = application.of(settings, server.url(database_name, APPLICATION_ROLE), vault=vault)
    async with (
        built.router.lifespan_context(built),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(built), base_url=stand.ISSUER) as client,
    ):
        told = (await client.get("/explorer")).text
    assert f'name="moment" value="{builders.NOON:%Y-%m-%dT%H:%M:%SZ}"' in told
    assert f'name="currency" autocomplete="off" value="{builders.PROGRAMME.base_currency}"' in told


async def test_what_is_not_of_the_page_is_not_served(http: tuple[str, httpx2.AsyncClient]) -> None:
    _, client = http
    for path in ("x.js", "README.md", "react.LICENSE", "..%2Fapp.py", "%2e%2e/app.py", "explorer.html/"):
        assert (await client.get(f"/explorer/{path}")).status_code in (404, 307), path


async def test_its_schema_is_the_whole_schema(http: tuple[str, httpx2.AsyncClient]) -> None:
    clock, client = http
    if clock == "sandbox":
        built = build_client_schema((await client.get("/explorer/schema.json")).json())
        assert built.subscription_type
        assert "recordPurchase" in built.mutation_type.fields  # type: ignore[union-attr]


def test_every_saved_example_is_one_that_the_schema_takes() -> None:
    words = {
        "card": "4242", "outlet": "1", "till": "1", "moment": "2026-03-02T12:00:00Z", "day": "2026-03-02",
        "currency": "EUR", "key": "a" * 20, "reference": "TRY-1",
    }  # fmt: skip
    examples = json.loads((FILES / "examples.json").read_text(encoding="utf-8"))
    assert len(examples) >= 5
    for each in examples:
        document = parse(each["query"])
        assert validate(schema.graphql, document) == [], each["title"]
        text = json.dumps(each["variables"])
        assert set(re.findall(r"{(\w+)}", text)) <= words.keys()
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", word)
        [operation] = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        found = get_variable_values(schema.graphql, operation.variable_definitions or (), json.loads(text))
        assert not isinstance(found, list), (each["title"], found)


def test_it_needs_nobody_else() -> None:
    for name in OF_OURS:
        text = (FILES / name).read_text(encoding="utf-8")
        assert "http:" not in text
        assert "https:" not in text
    named = re.findall(r'(?:src|href)="([^"]+)"', (FILES / "explorer.html").read_text(encoding="utf-8"))
    assert all(each.startswith("/explorer/") or each == "data:," for each in named)


def test_every_foreign_file_has_its_licence_beside_it() -> None:
    assert {path.name for path in FILES.glob("*.LICENSE")} == {
        "graphiql.LICENSE", "react.LICENSE", "react-dom.LICENSE",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 2_000_000
