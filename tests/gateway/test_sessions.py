"""Signing in by code, sessions, and what keeps them safe."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests import builders
from tests.gateway import desk as desks
from tests.gateway.desk import Desk

ADA = "ada@example.org"


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    """A gateway with its pages, and a member called Ada."""
    coalition = await builders.found(database, vault)
    await coalition.add_member(name="Ada Lovelace", email=ADA, phone="+49 30 1234567")
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


async def test_a_member_signs_in_with_the_code_that_was_sent(desk: Desk) -> None:
    browser = desk.browser()
    asked = await browser.ask(" Ada@Example.org ")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in/code?next=%2Fsecurity")
    entered = await browser.enter(await desk.code_for(ADA))
    assert (entered.status_code, entered.headers["location"]) == (303, "/security")
    page = await browser.get("/security")
    assert page.status_code == 200
    assert "this browser" in page.text
