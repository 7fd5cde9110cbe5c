"""One call of an endpoint: a signed POST, whose answer is a status and the beginning of a body.

Signed as Standard Webhooks says, by the wall's clock, because the receiver's own tells whether a call is old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpcore2
from standardwebhooks import Webhook

from gateway.webhooks import addresses, answers
from gateway.webhooks.addresses import Guarded, NotPublic, Resolve

PATIENCE_SECONDS = 15
BODY_SECONDS = 2
MOST_CONNECTIONS = 128
LAST_STATUS = 599

_AWAY: tuple[tuple[type[Exception], str], ...] = (
    (NotPublic, "NOT_PUBLIC"),
    (TimeoutError, "TIMEOUT"),
    (httpcore2.TimeoutException, "TIMEOUT"),
    (httpcore2.ConnectError, "NO_CONNECTION"),
    (httpcore2.NetworkError, "BROKEN_OFF"),
    (httpcore2.ProtocolError, "NOT_HTTP"),
    (httpcore2.UnsupportedProtocol, "NOT_HTTP"),
    (ValueError, "NOT_HTTP"),
    (OSError, "BROKEN_OFF"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent: where to, under which id, by which secrets it is signed, and the id of this one attempt."""

    url: str
    delivery_id: str
    request_id: str
    body: bytes
    secrets: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: a status and the beginning of the body, or why there was none (error). asked: how long the
    endpoint wants us to wait."""

    took_ms: int
    status: int | None = None
    error: str | None = None
    body: bytes = b""
    asked: timedelta | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint took it."""
        return self.status is not None and 200 <= self.status < 300


class Caller:
    """Calls endpoints over connections of its own."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._pool = pool
        self._patience_seconds = patience_seconds

    async def call(self, call: Call, *, now: datetime) -> Answer:
        """Send something once; never raises for what the other side does. now is the wall's instant, UTC."""
        began = time.perf_counter()

        def took() -> int:
            return max(0, round((time.perf_counter() - began) * 1_000))

        try:
            async with (
                asyncio.timeout(self._patience_seconds),
                self._pool.stream("POST", call.url, headers=headers(call, now), content=call.body) as response,
            ):
                body = await _beginning(response)
                if response.status > LAST_STATUS:
                    return Answer(took(), error="NOT_HTTP", body=body)
                return Answer(took(), response.status, body=body, asked=_asked(response, now))
        except Exception as error:
            for kind, name in _AWAY:
                if isinstance(error, kind):
                    return Answer(took(), error=name)
            raise


@asynccontextmanager
async def opened(
    *, is_sandbox: bool, resolve: Resolve = addresses.resolve, patience_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Caller]:
    """What calls endpoints, for the time of the block."""
    async with httpcore2.AsyncConnectionPool(
        max_connections=MOST_CONNECTIONS, keepalive_expiry=5,
        network_backend=Guarded(is_sandbox=is_sandbox, resolve=resolve),
    ) as pool:  # fmt: skip
        yield Caller(pool, patience_seconds=patience_seconds)


def headers(call: Call, now: datetime) -> list[tuple[str, str]]:
    """The headers of a call; with several secrets it bears a signature of each, the newest first."""
    at = now.astimezone(UTC)  # the library takes whatever it is given for UTC
    text = call.body.decode()
    return [
        ("Content-Type", "application/json"),
        ("User-Agent", "Tessera-Webhooks/1"),
        ("Accept", "*/*"),
        ("webhook-id", call.delivery_id),
        ("webhook-timestamp", str(int(at.timestamp()))),
        ("webhook-signature", " ".join(Webhook(secret).sign(call.delivery_id, at, text) for secret in call.secrets)),
        ("X-Request-Id", call.request_id),
    ]


async def _beginning(response: httpcore2.Response) -> bytes:
    """The beginning of a body, as far as it comes in time: what was answered is known by the status."""
    read = b""
    with suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        async with asyncio.timeout(BODY_SECONDS):
            async for part in response.aiter_stream():
                read += part
                if len(read) >= answers.MOST_READ:
                    break
    return read[: answers.MOST_READ]


def _asked(response: httpcore2.Response, now: datetime) -> timedelta | None:
    """How long the endpoint wants us to wait, in seconds or until an instant, where it refuses for now."""
    if response.status not in (429, 502, 503, 504):
        return None
    said = next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), "")
    if said.isascii() and said.isdecimal():
        return timedelta(seconds=min(int(said[:6]), 86_400))
    try:
        until = parsedate_to_datetime(said)
    except (ValueError, OverflowError):  # an offset of a thousand years, say
        return None
    return max(until - now, timedelta(0)) if until.tzinfo is not None else None
