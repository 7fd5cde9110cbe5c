"""Webhooks at /portal/webhooks: a partner's endpoints, what was sent to them, and what is sent again.

A secret is shown once, in the answer to the form that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.pages import portal_frame, rendering, webhook_phrases
from gateway.pages.portal_frame import HOME, Office
from gateway.pages.workplace import Problem, decided
from gateway.webhooks import addresses

WEBHOOKS = f"{HOME}/webhooks"
ON_A_PAGE = 20
DAYS_BACK = 7
MOST_HOURS = 10**6


async def webhooks(office: Office) -> Response:
    """GET /portal/webhooks: where the partner's systems are told of what happened."""
    found = (await office.ask("PortalWebhooks"))["webhookEndpoints"]
    return office.page("webhooks.html", endpoints=found, webhook_phrases=webhook_phrases)


async def new_webhook(
    office: Office, problem: Problem | None = None, fields: Mapping[str, str] | None = None
) -> Response:
    """GET /portal/webhooks/new: asks where to tell what."""
    found = (await office.ask("PortalWebhookTypes"))["webhookEventTypes"]
    return office.page(
        "webhook_new.html", problem=problem, types=found, fields=fields or {}, webhook_phrases=webhook_phrases,
        may_loop=_may_loop(office),
    )  # fmt: skip


async def add_webhook(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/new: the endpoint is added; its secret is shown."""

    async def again(at: Office, problem: Problem) -> Response:
        return await new_webhook(at, problem, fields)

    return await decided(
        office, fields, "AddWebhookEndpoint", _wanted(fields), onward=f"{WEBHOOKS}/new", again=again, shown=_with_secret
    )


async def webhook(office: Office, problem: Problem | None = None, secret: str | None = None) -> Response:
    """GET /portal/webhooks/{endpoint}: an endpoint, and what was sent to it."""
    return await _page(office, _endpoint(office), problem, secret)


async def change(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/change: it gets another URL, description and types."""
    return await _changed(office, fields, "ChangeWebhookEndpoint", _wanted(fields))


async def rotate(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/secret: a new secret is made and shown."""
    typed = fields.get("overlap", "24")
    hours = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 6 else MOST_HOURS
    return await _changed(office, fields, "RotateWebhookSecret", {"overlapHours": hours})


async def disable(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/disable: nothing is sent to it for a while."""
    return await _changed(office, fields, "DisableWebhookEndpoint", {})


async def enable(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/enable: what is kept for it is sent."""
    return await _changed(office, fields, "EnableWebhookEndpoint", {})


async def remove(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/remove: it is told nothing any more."""
    given = {"endpointId": _endpoint(office)}
    return await decided(office, fields, "RemoveWebhookEndpoint", given, onward=WEBHOOKS, again=webhook)


async def sample(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/sample: it is sent a made-up event."""
    given = {"endpointId": _endpoint(office), "type": fields.get("type", "")}
    return await decided(office, fields, "SendSampleWebhook", given, onward=_at(_endpoint(office)), again=webhook)


async def resend_failed(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/{endpoint}/resend: what was given up is sent again."""
    given = {"endpointId": _endpoint(office), "since": _instant(office, fields.get("since", ""))}
    onward = f"{_at(_endpoint(office))}?state=WAITING"
    return await decided(office, fields, "ResendFailedWebhooks", given, onward=onward, again=webhook)


async def delivery(office: Office, problem: Problem | None = None) -> Response:
    """GET /portal/webhooks/deliveries/{delivery}: what is sent, and what came of it."""
    found = (await office.ask("PortalWebhookDelivery", id=office.request.path_params["delivery"]))["webhookDelivery"]
    if found is None:
        return office.missing(WEBHOOKS)
    body = orjson.dumps(orjson.loads(found["body"]), option=orjson.OPT_INDENT_2).decode()
    return office.page(
        "webhook_delivery.html", problem=problem, delivery=found, body=body, webhook_phrases=webhook_phrases
    )


async def resend(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/webhooks/deliveries/{delivery}/resend: it is sent again at once."""
    id = str(office.request.path_params["delivery"])
    onward = f"{WEBHOOKS}/deliveries/{quote(id, safe='')}"
    return await decided(office, fields, "ResendWebhook", {"deliveryId": id}, onward=onward, again=delivery)


# --- Parts --------------------------------------------------------------------------------------------------


async def _page(office: Office, id: str, problem: Problem | None, secret: str | None) -> Response:
    state = office.asked("state", 16)
    found = await office.ask(
        "PortalWebhook", id=id, first=ON_A_PAGE, after=office.asked("after") or None,
        state=state if state in webhook_phrases.STATES else None,
    )  # fmt: skip
    its = next((each for each in found["webhookEndpoints"] if each["id"] == id), None)
    if its is None:
        return office.missing(WEBHOOKS)
    today = (await office.request.app.state.services.now()).astimezone(office.frame.zone)
    return office.page(
        "webhook.html", problem=problem, endpoint=its, secret=secret, types=found["webhookEventTypes"],
        found=found["webhookDeliveries"], state=state, is_first=not office.asked("after"),
        since=(today - timedelta(days=DAYS_BACK)).strftime("%Y-%m-%dT%H:%M"), webhook_phrases=webhook_phrases,
        may_loop=_may_loop(office),
    )  # fmt: skip


async def _changed(office: Office, fields: Mapping[str, str], name: str, given: Mapping[str, Any]) -> Response:
    id = _endpoint(office)
    return await decided(
        office, fields, name, {"endpointId": id, **given}, again=webhook, shown=_with_secret, onward=_at(id)
    )


async def _with_secret(office: Office, told: dict[str, Any]) -> Response:
    """An endpoint after it was changed: its page, or this once the page with the secret that was made."""
    id = told["endpoint"]["id"]
    if told["secret"] is None:
        return RedirectResponse(_at(id), 303)
    return await _page(office, id, None, told["secret"])


def _wanted(fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "url": fields.get("url", ""), "description": fields.get("description", ""),
        "types": [name.removeprefix("type ") for name in fields if name.startswith("type ")],
    }  # fmt: skip


def _may_loop(office: Office) -> bool:
    return addresses.is_own_sandbox(office.request.app.state.services.settings)


def _endpoint(office: Office) -> str:
    return str(office.request.path_params["endpoint"])


def _at(id: str) -> str:
    return f"{WEBHOOKS}/{quote(id, safe='')}"


def _instant(office: Office, typed: str) -> str:
    """An instant as a browser's field has it, in the programme's zone; long ago where it is none."""
    return rendering.typed_instant(typed[:16], office.frame.zone) or datetime(1970, 1, 1, tzinfo=UTC).isoformat()


ROUTES: list[BaseRoute] = portal_frame.routes(
    (
        ("/webhooks", webhooks),
        ("/webhooks/new", new_webhook),
        ("/webhooks/{endpoint}", webhook),
        ("/webhooks/deliveries/{delivery}", delivery),
    ),
    (
        ("/webhooks/new", add_webhook),
        ("/webhooks/{endpoint}/change", change),
        ("/webhooks/{endpoint}/secret", rotate),
        ("/webhooks/{endpoint}/disable", disable),
        ("/webhooks/{endpoint}/enable", enable),
        ("/webhooks/{endpoint}/remove", remove),
        ("/webhooks/{endpoint}/sample", sample),
        ("/webhooks/{endpoint}/resend", resend_failed),
        ("/webhooks/deliveries/{delivery}/resend", resend),
    ),
)
