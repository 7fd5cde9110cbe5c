"""Clients, outlets and tills in the hands of a partner's own people: what its agreement allows, once, and in the trail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from joserfc.jwk import ECKey

from gateway.oauth import clients, own_clients
from gateway.sessions import colleagues, session
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import rollups
from partners.decisions import deciding
from partners.purchases import purchases
from tests import builders
from tests.builders import NOON, a_receipt
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.test_session_matrix import colleague

CLIENT = (
    "client { clientId name kind status scopes keys { kid expiresAt } secrets { expiresAt } trail { action actor } }"
)
ANSWER = f"... on ApiClientSuccess {{ secret replayed {CLIENT} }} ... on Rejection {{ code fields {{ path }} }}"
ADD = f"mutation($i: AddApiClientInput!) {{ addApiClient(input: $i) {{ {ANSWER} }} }}"
ADD_KEY = f"mutation($i: AddClientKeyInput!) {{ addClientKey(input: $i) {{ {ANSWER} }} }}"
REMOVE_KEY = f"mutation($i: RemoveClientKeyInput!) {{ removeClientKey(input: $i) {{ {ANSWER} }} }}"
ROTATE = f"mutation($i: RotateClientSecretInput!) {{ rotateClientSecret(input: $i) {{ {ANSWER} }} }}"
SUSPEND = f"mutation($i: SuspendClientInput!) {{ suspendApiClient(input: $i) {{ {ANSWER} }} }}"
OUTLETS = "... on OutletSuccess { replayed outlets { code name terminals { code status } } } ... on Rejection { code }"
ADD_OUTLET = f"mutation($i: AddOutletInput!) {{ addOutlet(input: $i) {{ {OUTLETS} }} }}"
ADD_TERMINAL = f"mutation($i: AddTerminalInput!) {{ addTerminal(input: $i) {{ {OUTLETS} }} }}"
CLOSE = f"mutation($i: CloseTerminalInput!) {{ closeTerminal(input: $i) {{ {OUTLETS} }} }}"
COUNT = "SELECT count(*) FROM gateway.client WHERE client_no > 0"


template = a_coalition(bakery={}, grocer={})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def person(desk: Desk, role: str, code: str = "bakery") -> Script:
    """The portal's script of somebody of a partner."""
    address = f"{role.lower()}@{code}.example"
    await colleague(desk, code, role.title(), address, role)
    return await script_of(await desk.signed_in(address, "/portal"), "/portal")


def keyed(**fields: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), **fields}


def a_key() -> str:
    """The public half of a new key, as somebody pastes it."""
    return orjson.dumps(ECKey.generate_key("P-256").as_dict(private=False)).decode()


async def test_a_developer_adds_a_client_rotates_its_key_and_ends_it(desk: Desk) -> None:
    dev = await person(desk, colleagues.DEVELOPER)
    call = keyed(name="shop", scopes=["points:accrue", "members:read"], publicKey=a_key())
    made = await dev.ask(ADD, i=call)
    client_id = made["client"]["clientId"]
    assert (made["client"]["kind"], made["secret"], made["replayed"]) == ("KEY", None, False)
    again = await dev.ask(ADD, i=call)
    assert (again["replayed"], again["client"]["clientId"]) == (True, client_id)
    first = made["client"]["keys"][0]["kid"]
    rotated = await dev.ask(ADD_KEY, i=keyed(clientId=client_id, publicKey=a_key(), overlapHours=2))
    ends = {each["kid"]: each["expiresAt"] for each in rotated["client"]["keys"]}
    assert len(ends) == 2
    assert ends[first] is not None
    assert [kid for kid, end in ends.items() if end is None] != [first]
    removed = await dev.ask(REMOVE_KEY, i=keyed(clientId=client_id, kid=first))
    assert [each["kid"] for each in removed["client"]["keys"]] == [kid for kid in ends if kid != first]
    ended = await dev.ask(SUSPEND, i=keyed(clientId=client_id))
    assert ended["client"]["status"] == "SUSPENDED"
    assert ended["client"]["trail"] == [
        {"action": action, "actor": "Developer"}
        for action in ("CLIENT_SUSPENDED", "CLIENT_KEY_REMOVED", "CLIENT_KEY_ADDED", "CLIENT_ADDED")
    ]
    rows = await desk.database.pool.fetch("SELECT DISTINCT actor FROM kit.audit_trail WHERE subject LIKE 'client:%'")
    assert {row["actor"] for row in rows} == {"bakery/Developer"}


async def test_a_secret_is_an_exception_is_shown_once_and_is_replaced_with_an_overlap(desk: Desk) -> None:
    dev, before = await person(desk, colleagues.DEVELOPER), await desk.database.pool.fetchval(COUNT)
    wanted = {"name": "old till", "scopes": ["points:accrue"]}
    assert (await dev.ask(ADD, i=keyed(**wanted)))["code"] == "SECRET_NOT_ALLOWED"
    assert await desk.database.pool.fetchval(COUNT) == before
    async with desk.database.transaction() as connection:
        partner_id = desk.coalition.callers["bakery"].partner_id
        await clients.allow_secrets(connection, partner_id=partner_id, by="onboarder", at=desk.wall())
    call = keyed(**wanted)
    made = await dev.ask(ADD, i=call)
    assert made["secret"].startswith("tsk_")
    assert (await dev.ask(ADD, i=call))["secret"] is None
    rotated = await dev.ask(ROTATE, i=keyed(clientId=made["client"]["clientId"], overlapHours=1))
    assert rotated["secret"] not in (None, made["secret"])
    assert len(rotated["client"]["secrets"]) == 2
    too_long = await dev.ask(ROTATE, i=keyed(clientId=made["client"]["clientId"], overlapHours=721))
    assert too_long["code"] == "OVERLAP_TOO_LONG"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"scopes": ["colleagues:manage"]}, "SCOPE_UNKNOWN"), ({"scopes": []}, "SCOPE_UNKNOWN"),
     ({"name": " "}, "CLIENT_INVALID"), ({"name": "x" * 61}, "CLIENT_INVALID"),
     ({"publicKey": "{}"}, "CLIENT_KEY_INVALID"), ({"publicKey": "[1"}, "CLIENT_KEY_INVALID"),
     ({"publicKey": orjson.dumps(ECKey.generate_key("P-256").as_dict(private=True)).decode()}, "CLIENT_KEY_INVALID")],
)  # fmt: skip
async def test_what_cannot_be_a_client_is_none(desk: Desk, wrong: dict[str, Any], code: str) -> None:
    dev, before = await person(desk, colleagues.DEVELOPER), await desk.database.pool.fetchval(COUNT)
    wanted = {"name": "shop", "scopes": ["points:accrue"], "publicKey": a_key(), **wrong}
    assert (await dev.ask(ADD, i=keyed(**wanted)))["code"] == code
    assert await desk.database.pool.fetchval(COUNT) == before


async def test_a_client_can_do_no_more_than_the_agreement_allows(desk: Desk) -> None:
    await desk.coalition.add_partner("museum", role="ISSUER")
    dev = await person(desk, colleagues.DEVELOPER, "museum")
    agreed = {each["scope"]: each["agreed"] for each in await dev.ask("{ grantableScopes { scope agreed } }")}
    assert agreed["points:accrue"]
    assert not agreed["points:redeem"]
    before = await desk.database.pool.fetchval(COUNT)
    wanted = keyed(name="shop", scopes=["points:redeem"], publicKey=a_key())
    assert (await dev.ask(ADD, i=wanted))["code"] == "SCOPE_NOT_AGREED"
    assert await desk.database.pool.fetchval(COUNT) == before


async def test_a_partner_has_so_many_clients_in_use_and_no_more(desk: Desk) -> None:
    dev, partner_id = await person(desk, colleagues.DEVELOPER), desk.coalition.callers["bakery"].partner_id
    async with desk.database.transaction() as connection:
        for number in range(own_clients.MOST_CLIENTS):
            await clients.add_public_client(
                connection, partner_id=partner_id, name=f"tills {number}", scopes=["points:accrue"], by="onboarder",
                at=desk.wall(),
            )  # fmt: skip
    wanted = {"name": "one more", "scopes": ["points:accrue"], "forTills": True}
    assert (await dev.ask(ADD, i=keyed(**wanted)))["code"] == "CLIENTS_TOO_MANY"
    first = (await dev.ask("{ apiClients { clientId } }"))[0]["clientId"]
    await dev.ask(SUSPEND, i=keyed(clientId=first))
    assert (await dev.ask(ADD, i=keyed(**wanted)))["client"]["kind"] == "TILLS"


async def test_clients_and_tills_take_a_fresh_proof_and_the_right_role(desk: Desk) -> None:
    dev, manager = await person(desk, colleagues.DEVELOPER), await person(desk, colleagues.MANAGER)
    assert (await manager.error("{ apiClients { name } }"))["code"] == "FORBIDDEN"
    assert (await dev.error("{ ownOutlets { name } }"))["code"] == "FORBIDDEN"
    desk.wall.at += session.STEP_UP
    before = await desk.database.pool.fetchval(COUNT)
    wanted = keyed(name="shop", scopes=["points:accrue"], publicKey=a_key())
    assert (await dev.ask(ADD, i=wanted))["code"] == "STEP_UP_REQUIRED"
    assert (await manager.ask(CLOSE, i=keyed(outlet="1", terminal="1")))["code"] == "STEP_UP_REQUIRED"
    assert await desk.database.pool.fetchval(COUNT) == before
    assert await desk.database.pool.fetchval("SELECT bool_and(status = 'ACTIVE') FROM partners.terminal")


async def test_a_manager_adds_an_outlet_with_a_till_and_closes_it(desk: Desk) -> None:
    manager = await person(desk, colleagues.MANAGER)
    call = keyed(code="quay", name="At the quay")
    assert len((await manager.ask(ADD_OUTLET, i=call))["outlets"]) == 2
    assert (await manager.ask(ADD_OUTLET, i=call))["replayed"] is True
    assert (await manager.ask(ADD_OUTLET, i=keyed(code="quay", name="Again")))["code"] == "OUTLET_EXISTS"
    added = await manager.ask(ADD_TERMINAL, i=keyed(outlet="quay", code="7"))
    assert added["outlets"][1]["terminals"] == [{"code": "7", "status": "ACTIVE"}]
    closed = await manager.ask(CLOSE, i=keyed(outlet="quay", terminal="7"))
    assert closed["outlets"][1]["terminals"] == [{"code": "7", "status": "SUSPENDED"}]
    assert (await manager.ask(CLOSE, i=keyed(outlet="quay", terminal="7")))["code"] == "STATUS_UNCHANGED"
    other = await person(desk, colleagues.MANAGER, "grocer")
    assert (await other.ask(CLOSE, i=keyed(outlet="quay", terminal="7")))["code"] == "OUTLET_UNKNOWN"
    assert (await other.ask(ADD_TERMINAL, i=keyed(outlet="quay", code="8")))["code"] == "OUTLET_UNKNOWN"


async def test_a_partners_points_by_day_are_its_own(desk: Desk) -> None:
    card = await desk.coalition.add_member()
    coalition = desk.coalition
    directory = await coalition.desk.directory.get()
    prepared = await deciding.decide(
        coalition.desk, directory, coalition.callers["bakery"], builders.identified(card),
        a_receipt(10_000, reference="A-1"), at=NOON, idem_key=None,
    )  # fmt: skip
    await purchases.accrue(coalition.desk, prepared)
    while True:
        async with desk.database.transaction() as connection:
            if not await rollups.roll_up(connection):
                break
    asked = (
        "query($since: Date!, $until: Date!) { partnerActivity(since: $since, until: $until) { day issued redeemed } }"
    )
    days = {"since": NOON.date().isoformat(), "until": (NOON + timedelta(days=1)).date().isoformat()}
    [day] = await (await person(desk, colleagues.MANAGER)).ask(asked, **days)
    assert int(day["issued"]) > 0
    assert day["redeemed"] == "0"
    other = await person(desk, colleagues.MANAGER, "grocer")
    assert await other.ask(asked, **days) == []
    too_many = {**days, "until": (NOON + timedelta(days=200)).date().isoformat()}
    assert (await other.error(asked, **too_many))["code"] == "BAD_USER_INPUT"
