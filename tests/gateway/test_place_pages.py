"""Where points are spent: partners say where their outlets are, members find them, and nobody keeps where members are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.membership import places
from gateway.membership.places import Spot
from gateway.sessions import colleagues
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from partners.agreements import onboarding
from tests.builders import NOON, rows_written
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import script_of
from tests.gateway.desk import Desk
from tests.gateway.test_session_matrix import colleague_script

SET = """mutation($i: SetOutletPlaceInput!) { setOutletPlace(input: $i) { ... on OutletSuccess { replayed
  outlets { code town street latitude longitude } } ... on Rejection { code fields { path } } } }"""
PLACES = """query($near: NearInput, $first: Int = 20, $after: String) { viewer { ... on Member { own {
  places(near: $near, first: $first, after: $after) { nodes { partner { code } outlet outlets town street metres }
  pageInfo { endCursor hasNextPage } } } } } }"""
OLD_TOWN = {"town": "Chișinău", "street": "str. Pușkin 1", "latitude": "47.0245", "longitude": "28.8322"}
ACROSS = {"town": "Bălți", "street": None, "latitude": "47.7617", "longitude": "27.9290"}
DEGREES = st.tuples(st.integers(-90_000_000, 90_000_000), st.integers(-180_000_000, 180_000_000))


template = a_coalition(bakery={}, grocer={}, library={"role": "ISSUER"})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    """A town of three: the library takes no points, and of the grocer's two outlets nobody said where they are."""
    coalition = await met(database, vault)
    await coalition.add_member(email="ada@example.org")
    async with coalition.database.transaction() as connection:
        await onboarding.add_outlet(
            connection, partner_id=coalition.callers["bakery"].partner_id, code="2", name="Station",
            actor=coalition.onboarder, at=NOON,
        )  # fmt: skip
        await onboarding.add_outlet(
            connection, partner_id=coalition.callers["grocer"].partner_id, code="2", name="Market",
            actor=coalition.onboarder, at=NOON,
        )  # fmt: skip
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


def placing(outlet: str, **place: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), "outlet": outlet, **place}


async def test_a_manager_says_where_an_outlet_is_and_members_find_the_nearest(desk: Desk) -> None:
    manager = await colleague_script(desk, "bakery", colleagues.MANAGER)
    call = placing("1", **OLD_TOWN)
    done = await manager.ask(SET, i=call)
    assert (done["replayed"], done["outlets"][0]) == (False, {"code": "1", **OLD_TOWN})
    assert (await manager.ask(SET, i=call))["replayed"] is True
    await manager.ask(SET, i=placing("2", **ACROSS))
    before = await rows_written(desk.database.pool)
    for wrong in (
        {"latitude": "91", "longitude": "0"}, {"latitude": "0", "longitude": "-180.000001"}, {"latitude": "47"},
        {"town": "x" * 101}, {"street": "\u0007"}, {"latitude": "1000000", "longitude": "1"},
    ):  # fmt: skip
        assert (await manager.ask(SET, i=placing("1", **wrong)))["code"] == "ONBOARDING_INVALID", wrong
    assert (await manager.ask(SET, i=placing("9", **OLD_TOWN)))["code"] == "OUTLET_UNKNOWN"
    assert await rows_written(desk.database.pool) == before

    ada = await script_of(await desk.signed_in("ada@example.org"))

    async def found(**asked: Any) -> list[tuple[str, str | int, int | None]]:
        told = (await ada.ask(PLACES, **asked))["own"]["places"]["nodes"]
        return [(each["partner"]["code"], each["outlet"] or each["outlets"], each["metres"]) for each in told]

    assert await found() == [
        ("bakery", "Station", None), ("bakery", "Main street", None), ("grocer", 2, None),
    ]  # fmt: skip
    near = {"latitude": "47.02", "longitude": "28.83"}
    assert await found(near=near) == [
        ("bakery", "Main street", 527), ("bakery", "Station", 106_779), ("grocer", 2, None),
    ]  # fmt: skip
    page = (await ada.ask(PLACES, near=near, first=2))["own"]["places"]["pageInfo"]
    assert page["hasNextPage"] is True
    assert await found(near=near, after=page["endCursor"]) == [("grocer", 2, None)]
    for nowhere in ({"latitude": "91", "longitude": "0"}, {"latitude": "0", "longitude": "-180.1"}):
        assert (await ada.error(PLACES, near=nowhere))["code"] == "BAD_USER_INPUT"
    async with desk.database.transaction() as connection:
        await onboarding.suspend_partner(
            connection, partner_id=desk.coalition.callers["bakery"].partner_id, actor=desk.coalition.onboarder, at=NOON
        )
    await desk.application.state.services.directory.refresh()
    assert await found(near=near) == [("grocer", 2, None)]


async def test_the_page_lists_them_by_town_or_near_and_a_position_is_kept_nowhere(desk: Desk) -> None:
    await colleague_script(desk, "bakery", colleagues.MANAGER)
    office = await desk.signed_in("manager@bakery.example", "/portal")
    place = {"outlet": "1", **{name: text or "" for name, text in OLD_TOWN.items()}}
    place["latitude"] = place["latitude"].replace(".", ",")
    shown = await office.get("/portal/outlets")
    csrf = desks.hidden(shown.text, "/portal/leave")["csrf"]
    sent = await office.post("/portal/outlets/place", {"csrf": csrf, "key": stand.key(), **place})
    assert sent.status_code == 303, sent.text
    assert "str. Pușkin 1, Chișinău" in (await office.get("/portal/outlets")).text

    browser = await desk.signed_in("ada@example.org")
    listed = await browser.get("/app/places")
    assert "geolocation=(self)" in listed.headers["permissions-policy"]
    assert "geolocation=()" in (await browser.get("/app")).headers["permissions-policy"]
    assert listed.text.index("Chișinău") < listed.text.index("Elsewhere")
    assert "Library" not in listed.text
    assert "2 outlets" in listed.text
    form = desks.hidden(listed.text, "/app/places")
    with capture_logs() as logs:
        near = await browser.post("/app/places", {**form, "latitude": "47.020", "longitude": "28.830"})
    assert near.status_code == 200
    assert "530 m" in near.text
    assert near.headers["cache-control"] == "no-store"
    assert logs
    assert "47.02" not in str(logs)
    tables = await desk.database.pool.fetch(
        "SELECT relname, nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r' "
        "AND nspname IN ('kit', 'gateway', 'members', 'partners') AND has_table_privilege(c.oid, 'SELECT')"
    )
    for table in tables:
        rows = await desk.database.pool.fetchval(
            f"SELECT count(*) FROM {table['nspname']}.{table['relname']} t WHERE t::text LIKE '%47.02%'"
        )
        assert rows == 0, table
    assert (await browser.post("/app/places", {**form, "latitude": "here", "longitude": "1"})).status_code == 422


async def test_a_manager_of_many_outlets_has_them_by_the_page_and_finds_one_by_name_or_place(desk: Desk) -> None:
    await colleague_script(desk, "bakery", colleagues.MANAGER)
    at_bakery = {
        "partner_id": desk.coalition.callers["bakery"].partner_id, "actor": desk.coalition.onboarder, "at": NOON
    }  # fmt: skip
    async with desk.database.transaction() as connection:
        more = [(f"s-{number}", f"Shop {number}") for number in range(1, 31)]
        await onboarding.add_outlets(connection, outlets=more, **at_bakery)
        await onboarding.set_outlet_place(
            connection, code="s-30", place=onboarding.OutletPlace("Old Town", "Lane 4"), **at_bakery
        )
    await desk.application.state.services.directory.refresh()
    office = await desk.signed_in("manager@bakery.example", "/portal")

    async def shops(query: str) -> list[str]:
        told = await office.get(f"/portal/outlets{query}")
        assert told.status_code == 200
        return re.findall(r"<h2>(.+?) <code>", told.text)

    first, second = await shops(""), await shops("?page=2")
    assert (len(first), len(second)) == (20, 12)
    assert [*first, *second][2:] == [f"Shop {number}" for number in range(1, 31)]
    assert await shops("?text=old+town") == await shops("?text=LANE") == ["Shop 30"]
    assert await shops("?text=shop+7") == ["Shop 7"]
    assert await shops("?text=nowhere") == await shops("?page=99") == []
    assert await shops("?page=x") == first
    csrf = desks.hidden((await office.get("/portal/outlets?text=s-30")).text, "/portal/leave")["csrf"]
    till = {"csrf": csrf, "key": stand.key(), "outlet": "s-30", "code": "1", "text": "s-30"}
    sent = await office.post("/portal/outlets/till", till)
    assert (sent.status_code, sent.headers["location"]) == (303, "/portal/outlets?text=s-30")
    wrong = await office.post("/portal/outlets/till", {**till, "key": stand.key()})
    assert wrong.status_code == 422
    assert re.findall(r"<h2>(.+?) <code>", wrong.text) == ["Shop 30"]


@given(DEGREES, DEGREES)
def test_a_distance_is_the_same_both_ways_and_no_further_than_half_around(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    there, back = places.metres_between(*one, *other), places.metres_between(*other, *one)
    assert there == back
    assert 0 <= there <= 20_015_087  # half of 2 * pi * 6,371 km
    assert places.metres_between(*one, *one) == 0


def test_a_degree_of_latitude_is_a_hundred_and_eleven_kilometres_and_order_is_total() -> None:
    assert places.metres_between(0, 0, 1_000_000, 0) == 111_195
    assert places.metres_between(60_000_000, 0, 60_000_000, 1_000_000) == 55_597  # half as far at sixty degrees
    spots = [Spot(3, "b", "x"), Spot(2, "a", "y", "Town", 0, 0), Spot(1, "a", "x", "Town", 5, 5)]
    assert [spot.outlet_id for spot in places.by_town(spots)] == [1, 2, 3]
    assert [spot.outlet_id for spot in places.by_distance(spots, 0, 0)] == [2, 1, 3]
    assert places.micro_of(Decimal("47.0244999")) == 47_024_500
    assert places.degrees_of(47_024_500) == Decimal("47.0245")
