"""What is founded once per file of tests and copied for each of them: founding costs as much as many a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from partners.callers import Caller
from partners.desk import Desk
from partners.directory import DirectoryCache
from tests.builders import Coalition, found
from tests.conftest import Copying


def a_template(build: Callable[[Database, Vault], Awaitable[object]]) -> Any:
    """A file's own `template`: each of its databases begins with what build leaves in one."""

    @pytest.fixture(scope="module", name="template")
    async def built(server: postgres.Server, template: str, copying: Copying, vault: Vault) -> AsyncIterator[str]:
        async with copying(template) as name:
            async with connect(server.url(name, APPLICATION_ROLE)) as database:
                await build(database, vault)
            yield name

    return built


def a_coalition(*more: Callable[[Coalition], Awaitable[object]], **partners: dict[str, object]) -> Any:
    """A file's own `template`: each of its databases begins with a founded programme, these partners, by code with
    what their terms say otherwise, and what more there is to do once."""

    async def with_partners(database: Database, vault: Vault) -> None:
        coalition = await found(database, vault)
        for code, terms in partners.items():
            await coalition.add_partner(code, **terms)
        for build in more:
            await build(coalition)
        await coalition.desk.close()

    return a_template(with_partners)


async def met(database: Database, vault: Vault) -> Coalition:
    """The coalition that is in a database already."""
    actors = {row["name"]: row["actor_id"] for row in await database.pool.fetch("SELECT name, actor_id FROM kit.actor")}
    made = Coalition(database, vault, Desk(database, vault, DirectoryCache(database.pool, vault)))
    made.maker, made.checker, made.onboarder = (actors[name] for name in ("maker", "checker", "onboarder"))
    for row in await database.pool.fetch("SELECT code, partner_id FROM partners.partner ORDER BY partner_id"):
        made.callers[row["code"]] = Caller(row["partner_id"], 100 + row["partner_id"])
    return made
