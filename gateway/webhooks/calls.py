"""Deliveries and their attempts as a partner's developers look at them, sent again on request, and samples."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.webhooks import delivering, delivery_store, endpoints, gathering, kinds
from gateway.webhooks.endpoints import WebhookInvalid
from gateway.webhooks.kinds import KINDS, Event
from kit.errors import Rejection
from kit.secrets import opaque_id, read_opaque_id
from partners.directory import Partner

ENDPOINT_ID = "whe"
LATEST = 100
MOST_RESENT = 1_000

_NOBODYS = bytes(16)
_IDS_OF_SAMPLES = {"txn": _NOBODYS, "hld": _NOBODYS, "mbr": _NOBODYS[:8], "stm": _NOBODYS[:8], "dsp": _NOBODYS[:8]}


class WebhookDeliveryUnknown(Rejection):
    """The partner has no such delivery, or it is older than deliveries are kept."""

    code = "WEBHOOK_DELIVERY_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("this partner has no such delivery")


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery as its partner's developers see it; delivery_id and body as they are sent."""

    delivery_no: int
    delivery_id: str
    endpoint_no: int
    url: str
    type: str
    is_sample: bool
    sequence: int
    state: str
    at: datetime
    next_at: datetime | None
    attempts: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call of an endpoint: at by the business clock, sent_at by the wall's."""

    number: int
    at: datetime
    sent_at: datetime
    took_ms: int
    request_id: str
    status: int | None
    error: str | None
    answer: str


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint does: deliveries that wait and that were given up; of its latest attempts how many were taken,
    and in how many milliseconds 95 of 100 ended."""

    waiting: int
    failed: int
    attempts: int
    taken: int
    took_ms: int | None


async def page(
    connection: AsyncConnection, partner: Partner, *, limit: int, before: int | None = None,
    endpoint_no: int | None = None, state: str | None = None,
) -> list[Delivered]:  # fmt: skip
    """A partner's deliveries, the latest first: behind one, of an endpoint, in a state."""
    wanted = {
        "partner_id": partner.partner_id, "limit": limit, "before": before, "endpoint_no": endpoint_no, "state": state
    }  # fmt: skip
    return [_delivered(partner, row) for row in await delivery_store.page(connection, wanted)]


async def by_number(connection: AsyncConnection, partner: Partner, delivery_no: int) -> Delivered:
    """A partner's delivery. Rejects WEBHOOK_DELIVERY_UNKNOWN."""
    found = await find(connection, partner, delivery_no)
    if found is None:
        raise WebhookDeliveryUnknown
    return found


async def find(connection: AsyncConnection, partner: Partner, delivery_no: int) -> Delivered | None:
    """A partner's delivery; None for another's, and for one that is no more."""
    row = await delivery_store.one(connection, partner.partner_id, delivery_no)
    return None if row is None else _delivered(partner, row)


async def attempts(connection: AsyncConnection, delivery_no: int) -> list[Attempt]:
    """A delivery's last attempts, the latest first."""
    return [
        Attempt(
            row["attempt_no"], row["at"], row["sent_at"], row["took_ms"], row["request_id"], row["status"],
            row["error"], row["answer"],
        )
        for row in await delivery_store.attempts(connection, [delivery_no])
    ]  # fmt: skip


async def health(connection: AsyncConnection, endpoint_no: int) -> Health:
    """How an endpoint does."""
    [row] = await delivery_store.counts(connection, [endpoint_no], LATEST)
    return Health(row["waiting"], row["failed"], row["attempts"], row["taken"], row["took_ms"])


async def resend(
    connection: AsyncConnection, partner: Partner, delivery_no: int, *, at: datetime, now: datetime
) -> None:
    """Send a delivery again at once, under its id, whatever became of it. Rejects WEBHOOK_DELIVERY_UNKNOWN,
    WEBHOOK_UNKNOWN."""
    its = await by_number(connection, partner, delivery_no)
    await endpoints.require(connection, partner.partner_id, its.endpoint_no, now=now)
    await delivery_store.send_again(connection, its.endpoint_no, at=at, limit=1, delivery_no=delivery_no)


async def resend_failed(
    connection: AsyncConnection, partner: Partner, endpoint_no: int, *, since: datetime, at: datetime, now: datetime
) -> int:
    """Send again what an endpoint was given up on, of events since a business instant, a thousand at most; how many.

    Rejects WEBHOOK_UNKNOWN.
    """
    await endpoints.require(connection, partner.partner_id, endpoint_no, now=now)
    return await delivery_store.send_again(connection, endpoint_no, at=at, limit=MOST_RESENT, since=since)


async def send_sample(
    connection: AsyncConnection, partner: Partner, endpoint_no: int, type: str, *, at: datetime, now: datetime
) -> int:
    """Send an endpoint a made-up event of a type; the delivery's number. Rejects WEBHOOK_UNKNOWN, WEBHOOK_INVALID."""
    await endpoints.require(connection, partner.partner_id, endpoint_no, now=now)
    event = sample(partner, type, at=at)
    [event_no] = await delivery_store.insert_events(connection, [gathering.row_of(event, now)])
    assert event_no is not None
    [delivery_no] = await delivery_store.insert_deliveries(connection, endpoint_no, [event_no], at)
    return delivery_no


def sample(partner: Partner, type: str, *, at: datetime) -> Event:
    """A made-up event of a type, with ids that are nobody's. Rejects WEBHOOK_INVALID."""
    if type not in KINDS:
        raise WebhookInvalid("type", f"one of {', '.join(KINDS)}")
    data: dict[str, Any] = dict(KINDS[type].sample)
    for name, value in data.items():
        if value in _IDS_OF_SAMPLES and name.endswith("Id"):
            data[name] = opaque_id(partner.id_key, value, _IDS_OF_SAMPLES[value])
    return Event(partner.partner_id, type, f"sample:{uuid4().hex}", at, data, is_sample=True)


def sample_document(partner: Partner, type: str, *, at: datetime) -> bytes:
    """The document of a made-up event."""
    return kinds.document(sample(partner, type, at=at), event_id=delivering.event_id(partner, 0), sequence=1)


def endpoint_id(partner: Partner, endpoint_no: int) -> str:
    """An endpoint's id as its partner knows it."""
    return opaque_id(partner.id_key, ENDPOINT_ID, endpoint_no.to_bytes(8, "big"))


def read_endpoint_id(partner: Partner, opaque: str) -> int:
    """The number inside an id of this partner's endpoints; 0, which none has, for anything else."""
    return _number(partner, ENDPOINT_ID, opaque)


def read_delivery_id(partner: Partner, opaque: str) -> int:
    """The number inside an id of this partner's deliveries; 0, which none has, for anything else."""
    return _number(partner, delivering.DELIVERY_ID, opaque)


def _number(partner: Partner, prefix: str, opaque: str) -> int:
    raw = read_opaque_id(partner.id_key, prefix, opaque)
    found = int.from_bytes(raw, "big") if raw is not None and len(raw) == 8 else 0
    return found if found < 2**31 or prefix != ENDPOINT_ID else 0


def _delivered(partner: Partner, row: RowMapping) -> Delivered:
    event_id = delivering.event_id(partner, row["event_no"])
    return Delivered(
        row["delivery_no"], delivering.delivery_id(partner, row["delivery_no"]), row["endpoint_no"], row["url"],
        row["type"], row["is_sample"], row["sequence"], row["state"], row["at"], row["next_at"], row["attempts"],
        kinds.document(delivering.event_of(row), event_id=event_id, sequence=row["sequence"]),
    )  # fmt: skip
