"""Endpoints in the hands of a partner's own developers: once, shown once, and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.sessions import colleagues
from gateway.webhooks import calling, delivering, endpoints, gathering
from gateway.webhooks.gathering import Sources
from gateway.webhooks.kinds import KINDS
from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.builders import NOON, a_receipt
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import receiving
from tests.gateway.conversing import Script
from tests.gateway.desk import Desk
from tests.gateway.membership.test_membership_api import keyed
from tests.gateway.receiving import Receiver
from tests.gateway.test_session_matrix import colleague_script
from tests.partners.purchases.test_purchases import record

ENDPOINT = """id url description types status reason failingSince secrets { createdAt expiresAt }
  health { waiting failed attempts taken }"""
DELIVERY = "id endpointId type sample sequence state attemptCount body attempts { number status error requestId tookMs answer }"
LIST = f"{{ webhookEndpoints {{ {ENDPOINT} }} }}"
SENT = (
    "query($e: ID, $s: String) { webhookDeliveries(endpointId: $e, state: $s) { nodes { "
    f"{DELIVERY} }} pageInfo {{ hasNextPage }} }} }}"
)
TABLES = ("gateway.webhook_endpoint", "gateway.webhook_secret", "gateway.webhook_event", "gateway.webhook_delivery",
          "kit.audit_trail", "gateway.person_call")  # fmt: skip


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving.opened() as opened:
        yield opened


async def do(script: Script, root: str, **fields: Any) -> Any:
    kinds = {
        "addWebhookEndpoint": "AddWebhookEndpointInput", "changeWebhookEndpoint": "ChangeWebhookEndpointInput",
        "rotateWebhookSecret": "RotateWebhookSecretInput", "resendWebhook": "ResendWebhookInput",
        "resendFailedWebhooks": "ResendFailedWebhooksInput", "sendSampleWebhook": "SendSampleWebhookInput",
    }  # fmt: skip
    answer = {
        "resendWebhook": f"... on WebhookDeliverySuccess {{ replayed delivery {{ {DELIVERY} }} }}",
        "sendSampleWebhook": f"... on WebhookDeliverySuccess {{ replayed delivery {{ {DELIVERY} }} }}",
        "resendFailedWebhooks": "... on ResendFailedWebhooksSuccess { replayed count }",
    }.get(root, f"... on WebhookEndpointSuccess {{ replayed secret endpoint {{ {ENDPOINT} }} }}")
    return await script.ask(
        f"mutation($i: {kinds.get(root, 'WebhookEndpointInput')}!) {{ {root}(input: $i) {{ {answer} "
        "... on Rejection { code fields { path } } } }",
        i=fields if "idempotencyKey" in fields else keyed(**fields),
    )


async def written(desk: Desk) -> list[int]:
    return [await desk.database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]


async def delivered(desk: Desk) -> int:
    sources = Sources(desk.database, desk.vault, desk.coalition.desk.directory)
    at = desk.wall()
    await gathering.gather(sources, at=at, now=clock.wall())
    async with calling.opened(is_sandbox=True) as caller:
        return await delivering.deliver(sources, caller, site=desks.SITE, at=at, now=clock.wall)


async def test_a_developer_adds_an_endpoint_is_told_looks_at_what_was_sent_and_sends_it_again(
    desk: Desk, receiver: Receiver
) -> None:
    dev, other = (
        await colleague_script(desk, "bakery", "DEVELOPER"),
        await colleague_script(desk, "grocer", "DEVELOPER"),
    )
    kinds = await dev.ask("{ webhookEventTypes { type description sample } }")
    assert {each["type"] for each in kinds} == KINDS.keys()
    assert all(orjson.loads(each["sample"])["sample"] for each in kinds)
    call = keyed(url=receiver.url(), types=["purchase.recorded"], description="stock")
    made = await do(dev, "addWebhookEndpoint", **call)
    endpoint, secret = made["endpoint"], made["secret"]
    again = await do(dev, "addWebhookEndpoint", **call)
    assert (again["replayed"], again["secret"], again["endpoint"]["id"]) == (True, None, endpoint["id"])
    assert secret.startswith("whsec_")
    card = await desk.coalition.add_member()
    await record(desk.coalition, card, a_receipt(reference="R-7"), after=0)
    receiver.script = lambda _: (500, {}, b"down")
    assert await delivered(desk) == 1
    [sent] = (await dev.ask(SENT, e=endpoint["id"]))["nodes"]
    assert (sent["state"], sent["attemptCount"], sent["type"]) == ("WAITING", 1, "purchase.recorded")
    [attempt] = sent["attempts"]
    assert (attempt["status"], attempt["answer"]) == (500, "down")
    [came] = receiver.received
    assert came.verified(secret) == orjson.loads(sent["body"])
    assert (came.id, came.headers["x-request-id"]) == (sent["id"], attempt["requestId"])
    receiver.script = receiving.taken
    resent = await do(dev, "resendWebhook", deliveryId=sent["id"])
    assert resent["delivery"]["state"] == "WAITING"
    assert await delivered(desk) == 1
    [shown] = await dev.ask(LIST)
    assert shown["health"] == {"waiting": 0, "failed": 0, "attempts": 2, "taken": 1}
    assert [each.id for each in receiver.received] == [sent["id"]] * 2
    assert (await do(dev, "resendFailedWebhooks", endpointId=endpoint["id"], since=NOON.isoformat()))["count"] == 0
    sample = await do(dev, "sendSampleWebhook", endpointId=endpoint["id"], type="dispute.answered")
    assert (sample["delivery"]["sample"], sample["delivery"]["sequence"]) == (True, 2)
    # Nobody else sees any of it.
    assert await other.ask(LIST) == []
    for wanted in ({}, {"e": endpoint["id"]}):
        assert (await other.ask(SENT, **wanted))["nodes"] == []
    one = "query($id: ID!) { webhookDelivery(id: $id) { id state } }"
    assert await dev.ask(one, id=sent["id"]) == {"id": sent["id"], "state": "DELIVERED"}
    assert await other.ask(one, id=sent["id"]) is None
    assert [len((await dev.ask(SENT, s=state))["nodes"]) for state in ("DELIVERED", "WAITING", "FAILED")] == [1, 1, 0]


async def test_an_endpoint_is_changed_replaced_in_its_secret_disabled_enabled_and_removed_each_in_the_trail(
    desk: Desk, receiver: Receiver
) -> None:
    dev = await colleague_script(desk, "bakery", "DEVELOPER")
    made = await do(dev, "addWebhookEndpoint", url=receiver.url("/a"), types=["hold.lapsed"])
    its = {"endpointId": made["endpoint"]["id"]}
    changed = await do(
        dev, "changeWebhookEndpoint", url=receiver.url("/b"), types=["hold.lapsed", "hold.lapsed"], **its
    )
    assert (changed["endpoint"]["url"], changed["endpoint"]["types"]) == (receiver.url("/b"), ["hold.lapsed"])
    rotated = await do(dev, "rotateWebhookSecret", overlapHours=2, **its)
    assert rotated["secret"] not in (None, made["secret"])
    assert [each["expiresAt"] is None for each in rotated["endpoint"]["secrets"]] == [True, False]
    assert (await do(dev, "disableWebhookEndpoint", **its))["endpoint"]["reason"] == "PARTNER"
    assert (await do(dev, "disableWebhookEndpoint", **its))["code"] == "WEBHOOK_STATUS"
    assert (await do(dev, "enableWebhookEndpoint", **its))["endpoint"]["status"] == "ACTIVE"
    assert (await do(dev, "enableWebhookEndpoint", **its))["code"] == "WEBHOOK_STATUS"
    assert (await do(dev, "removeWebhookEndpoint", **its))["endpoint"]["status"] == "REMOVED"
    assert (await do(dev, "enableWebhookEndpoint", **its))["code"] == "WEBHOOK_UNKNOWN"
    assert await dev.ask(LIST) == []
    rows = await desk.database.pool.fetch(
        "SELECT action, actor FROM kit.audit_trail WHERE subject LIKE 'webhook:%' ORDER BY entry_id"
    )
    assert [(row["action"], row["actor"]) for row in rows] == [
        (f"WEBHOOK_{what}", "bakery/developer")
        for what in ("ADDED", "CHANGED", "SECRET_ROTATED", "DISABLED", "ENABLED", "REMOVED")
    ]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("addWebhookEndpoint", {"url": "https://10.0.0.1/"}, "WEBHOOK_URL_INVALID"),
    ("addWebhookEndpoint", {"types": []}, "WEBHOOK_INVALID"),
    ("addWebhookEndpoint", {"types": ["no.such"]}, "WEBHOOK_INVALID"),
    ("addWebhookEndpoint", {"description": "x" * 121}, "WEBHOOK_INVALID"),
    ("changeWebhookEndpoint", {"url": "http://hooks.example.org/"}, "WEBHOOK_URL_INVALID"),
    ("rotateWebhookSecret", {"overlapHours": 721}, "WEBHOOK_INVALID"),
    ("rotateWebhookSecret", {"overlapHours": -2_000_000_000}, "WEBHOOK_INVALID"),
    ("sendSampleWebhook", {"type": "no.such"}, "WEBHOOK_INVALID"),
    ("resendWebhook", {"deliveryId": "dlv_nothing"}, "WEBHOOK_DELIVERY_UNKNOWN"),
    ("sendSampleWebhook", {"endpointId": "whe_nothing", "type": "hold.lapsed"}, "WEBHOOK_UNKNOWN"),
]


async def test_what_cannot_be_is_refused_and_writes_nothing(desk: Desk) -> None:
    dev = await colleague_script(desk, "bakery", "DEVELOPER")
    wanted = {"url": "https://hooks.example.org/", "types": ["hold.lapsed"]}
    its = {"endpointId": (await do(dev, "addWebhookEndpoint", **wanted))["endpoint"]["id"]}
    given = {
        "addWebhookEndpoint": wanted, "changeWebhookEndpoint": wanted | its, "rotateWebhookSecret": its,
        "sendSampleWebhook": its, "resendWebhook": {},
    }  # fmt: skip
    before = await written(desk)
    for root, wrong, code in WRONG:
        assert (await do(dev, root, **(given[root] | wrong)))["code"] == code, wrong
    assert await written(desk) == before


async def test_a_partner_has_so_many_endpoints_and_what_opens_them_takes_a_fresh_proof(desk: Desk) -> None:
    dev = await colleague_script(desk, "bakery", colleagues.DEVELOPER)
    wanted = {"url": "https://hooks.example.org/", "types": ["hold.lapsed"]}
    for _ in range(endpoints.MOST_ENDPOINTS):
        made = await do(dev, "addWebhookEndpoint", **wanted)
    before = await written(desk)
    assert (await do(dev, "addWebhookEndpoint", **wanted))["code"] == "WEBHOOKS_TOO_MANY"
    desk.wall.move(minutes=6)
    its = {"endpointId": made["endpoint"]["id"]}
    for root, fields in (
        ("addWebhookEndpoint", wanted),
        ("changeWebhookEndpoint", wanted | its),
        ("rotateWebhookSecret", its),
    ):
        assert (await do(dev, root, **fields))["code"] == "STEP_UP_REQUIRED"
    assert await written(desk) == before
    assert (await do(dev, "removeWebhookEndpoint", **its))["endpoint"]["status"] == "REMOVED"
