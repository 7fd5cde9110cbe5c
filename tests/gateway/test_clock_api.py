"""A sandbox's clock over GraphQL: it goes on, does what is due, and comes to the same however it is moved; elsewhere and
to others it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.subscription import subscriptions
from tests import builders
from tests.builders import NOON
from tests.gateway import desk as desks
from tests.gateway.conversing import script_of
from tests.gateway.desk import Desk
from tests.gateway.subscribing import subscribed
from tests.gateway.subscription.test_subscription_api import keyed, pay

ADVANCE = """mutation($i: AdvanceTestClockInput!) { advanceTestClock(input: $i) {
  ... on AdvanceTestClockSuccess { now done arrived replayed } ... on Rejection { code retryable } } }"""


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await builders.found(database, vault)
    card = await coalition.add_member(email="ada@example.org")
    async with database.transaction() as connection:
        await subscribed(connection, card.member_id)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def admin(desk: Desk) -> Any:
    await desk.invite("anna", "anna@example.org", [actors.OPERATOR_ADMIN])
    return await script_of(await desk.signed_in("anna@example.org", "/staff"), "/staff")


async def test_the_clock_goes_on_does_what_is_due_once_and_never_back(desk: Desk) -> None:
    anna = await admin(desk)
    async with desk.database.reading() as connection:
        now = await clock.sandbox(connection)
    await pay(desk.database, 1, 1000, now)
    to = now + timedelta(days=40)
    asked = keyed(to=to.isoformat())
    done = await anna.ask(ADVANCE, i=asked)
    assert (done["arrived"], done["replayed"], done["done"] >= 2) == (True, False, True)
    assert datetime.fromisoformat(done["now"]) == to
    assert await desk.database.pool.fetchval("SELECT count(*) FROM members.invoice") == 2
    again = await anna.ask(ADVANCE, i=asked)
    assert (again["replayed"], again["done"]) == (True, 0)
    back = await anna.ask(ADVANCE, i=keyed(to=now.isoformat()))
    assert datetime.fromisoformat(back["now"]) == to
    async with desk.database.reading() as connection:
        digest = await subscriptions.digest(connection)
    assert (await anna.ask(ADVANCE, i=keyed(to=to.isoformat())))["done"] == 0
    async with desk.database.reading() as connection:
        assert await subscriptions.digest(connection) == digest


async def test_where_the_clock_is_the_walls_and_to_whoever_else_it_is_refused(desk: Desk) -> None:
    anna = await admin(desk)
    to = (NOON + timedelta(days=4000)).isoformat()
    before = await builders.rows_written(desk.database.pool)
    desk.settings.clock = "wall"
    assert await anna.ask(ADVANCE, i=keyed(to=to)) == {"code": "NO_TEST_CLOCK", "retryable": False}
    desk.settings.clock = "sandbox"
    assert await builders.rows_written(desk.database.pool) == before
    ada = await script_of(await desk.signed_in("ada@example.org"))
    answer = await ada.post(ADVANCE, {"i": keyed(to=to)})
    assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
