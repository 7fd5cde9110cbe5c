"""What payment providers tell by themselves: taken in at a route of each, checked on its raw bytes, written down and
answered; looked at by the worker, who asks the provider how it stands. A page where a member gives a means of payment
is asked about the same way, and for an hour without being told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.charging import choice
from gateway.charging.yookassa_payments import YooKassa
from gateway.context import Services
from gateway.endpoint import body_of
from gateway.streams import Refused
from kit import clock
from kit.database import Database
from kit.errors import Rejection
from kit.settings import Settings, settings
from members.subscription import provider_events
from members.subscription.provider_events import Taken
from members.subscription.providers import Forged, Provider, Silent

LARGEST_EVENT = 256 * 1024
BODY_SECONDS = 5
AT_ONCE = 50
MOST_TRIES = 12
"""Some three days of waits that double up to four hours; what is not known by then is left to reconciliation."""

log = structlog.get_logger("gateway.payment_events")


async def told(request: Request) -> Response:
    """POST /webhooks/payments/{provider}: 200 when what was told is written down, now or before; 400 for what is not
    the provider's, 403 from elsewhere than its networks, 404 where it does not charge, 413, 503 where too much
    waits."""
    services: Services = request.app.state.services
    name = request.path_params["provider"]
    provider = choice.of(services.settings, services.vault).get(name)
    if provider is None or not provider.is_automatic:
        return _said(404, "no such provider")
    if not _is_from(services.settings, name, request):
        log.warning("payment_event_refused", provider=name, reason="network")
        return _said(403, "not from there")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await body_of(_length(request), request.receive, LARGEST_EVENT)
        heard = provider.read(dict(request.headers), raw)
    except Refused as no:
        return _said(no.status, no.message)
    except TimeoutError:
        return _said(408, "too slow")
    except Forged as forged:
        log.warning("payment_event_refused", provider=name, reason=str(forged))
        return _said(400, "not the provider's")
    if heard:
        async with services.database.transaction() as connection:
            if not await provider_events.keep(connection, name, heard, now=clock.wall()):
                return _said(503, "too much waits", {"Retry-After": "60"})
    return _said(200, "taken")


def _is_from(chosen: Settings, name: str, request: Request) -> bool:
    """Whether a notification comes from the networks that were said, where some were."""
    if name != YooKassa.name or not chosen.yookassa_networks:
        return True
    if request.client is None:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address  # as a socket of both families tells it
    return any(address.version == one.version and address in one for one in _networks(chosen.yookassa_networks))


def _networks(said: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(one.strip()) for one in said.split(",") if one.strip()]


def _length(request: Request) -> bytes | None:
    length = request.headers.get("content-length")
    return None if length is None else length.encode()


def _said(status: int, what: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps({"status": what}), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json"
    )


ROUTES = [Route("/webhooks/payments/{provider:str}", told, methods=["POST"])]


# --- The worker's job -------------------------------------------------------------------------------------------


async def look(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """Look at what providers told, and at pages that members are on, by this process's settings; how many things came
    of it. Stops between two."""
    return await look_by(database, choice.of(settings()), at=at, now=clock.wall(), stopping=stopping)


async def look_by(
    database: Database, providers: Mapping[str, Provider], *, at: datetime, now: datetime, stopping: asyncio.Event
) -> int:
    """The same with these providers; now is the wall's instant. A provider that does not answer is asked again."""
    names = [name for name, provider in providers.items() if provider.is_automatic]
    finished = 0
    while names and not stopping.is_set():
        async with database.transaction() as connection:
            batch = await provider_events.take(connection, names, now=now, limit=AT_ONCE)
        for taken in batch:
            finished += await _look_at(database, providers[taken.provider], taken, at)
        if len(batch) < AT_ONCE:
            break
    return finished + await _look_at_pages(database, providers, names, at)


async def _look_at(database: Database, provider: Provider, taken: Taken, at: datetime) -> bool:
    """Ask about one event and write what came of it; False where nobody knows yet."""
    try:
        if taken.heard.kind == "MEANS":
            return await _finish(database, provider, taken.heard.reference, at, taken)
        said = await provider.look(taken.heard)
        is_last = taken.tries >= MOST_TRIES
        async with database.transaction() as connection:
            is_known = await provider_events.settle(connection, provider, taken, said, is_last=is_last, at=at)
        if is_last and not is_known:
            event_id = taken.heard.event_id
            log.warning("payment_event_refused", provider=taken.provider, event_id=event_id, reason="unknown")
        return is_known or is_last
    except Silent:
        return False
    except Rejection as no:
        log.warning("payment_event_refused", provider=taken.provider, event_id=taken.heard.event_id, reason=no.code)
        return await _give_up(database, taken)


async def _look_at_pages(
    database: Database, providers: Mapping[str, Provider], names: Sequence[str], at: datetime
) -> int:
    if not names:
        return 0
    finished = 0
    async with database.reading() as connection:
        pages = await provider_events.open_setups(connection, names, at=at, limit=AT_ONCE)
    for name, reference in pages:
        try:
            finished += await _finish(database, providers[name], reference, at, None)
        except Silent:
            continue
        except Rejection as no:
            log.warning("payment_page_refused", provider=name, reason=no.code)
    return finished


async def _finish(database: Database, provider: Provider, reference: str, at: datetime, taken: Taken | None) -> bool:
    """Take the means that came of a page; False where none has come yet."""
    async with database.reading() as connection:
        is_open = await provider_events.is_open(connection, provider.name, reference)
    saved = await provider.saved(reference) if is_open else None
    if is_open and saved is None:
        return taken is not None and taken.tries >= MOST_TRIES and await _give_up(database, taken)
    async with database.transaction() as connection:
        came = saved is not None and await provider_events.finish_setup(connection, provider, reference, saved, at=at)
        if taken is not None:
            await provider_events.done(connection, taken)
    return came or taken is not None


async def _give_up(database: Database, taken: Taken) -> bool:
    async with database.transaction() as connection:
        await provider_events.done(connection, taken)
    return True
