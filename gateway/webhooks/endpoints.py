"""Endpoints: where a partner's developers want to be told of what, and what it is signed with.

A secret is shown once. When it is replaced, the one before signs too until the overlap is over, so that a receiver can
change its own in between. While an endpoint is disabled what happens is kept for it, and sent when it is enabled again.
What somebody of the partner may do here is asked by the caller; every change is in the audit trail.
"""

from __future__ import annotations

import secrets as random
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.webhooks import addresses, endpoint_store
from gateway.webhooks.kinds import KINDS
from kit import audit
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from partners.agreements import onboarding
from partners.agreements.onboarding import OwnPerson

MOST_ENDPOINTS = 10
LONGEST_DESCRIPTION = 120
LONGEST_OVERLAP = timedelta(days=30)
SECRET_BYTES = 32
SECRETS_KEPT = timedelta(days=7)

ACTIVE, DISABLED, REMOVED = "ACTIVE", "DISABLED", "REMOVED"
BY_PARTNER, FAILING, GONE = "PARTNER", "FAILING", "GONE"


class WebhookInvalid(Rejection):
    """A description, types of events or an overlap that an endpoint cannot have; `fields` says which."""

    code = "WEBHOOK_INVALID"
    retryable = False

    def __init__(self, field: str, form: str) -> None:
        super().__init__(f"{field} must be {form}", problems=[FieldProblem((field,), "INVALID", form)])


class WebhookUnknown(Rejection):
    """The partner has no such endpoint; another partner's is unknown too."""

    code = "WEBHOOK_UNKNOWN"
    retryable = False

    def __init__(self) -> None:
        super().__init__("this partner has no such endpoint")


class WebhooksTooMany(Rejection):
    """The partner has as many endpoints as one may have."""

    code = "WEBHOOKS_TOO_MANY"
    retryable = True

    def __init__(self) -> None:
        super().__init__(f"a partner has at most {MOST_ENDPOINTS} endpoints; remove one that is not needed")


class WebhookStatus(Rejection):
    """The endpoint is as it was to be made: it is disabled, or enabled, already."""

    code = "WEBHOOK_STATUS"
    retryable = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as its partner's developers see it. reason: why it is disabled (PARTNER, FAILING, GONE).

    failing_since: since when it took nothing, by the business clock; rests_until: nothing is sent before. secrets: when
    each that signs was made and ends, by the wall's clock, the newest first.
    """

    endpoint_no: int
    partner_id: int
    url: str
    description: str
    types: tuple[str, ...]
    status: str
    reason: str | None
    failing_since: datetime | None
    rests_until: datetime | None
    created_at: datetime
    secrets: tuple[tuple[datetime, datetime | None], ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint as somebody wants it."""

    url: str
    description: str
    types: tuple[str, ...]

    def checked(self, *, is_sandbox: bool) -> Wanted:
        """The same as it is kept. Rejects WEBHOOK_URL_INVALID, WEBHOOK_INVALID."""
        url, description = addresses.check(self.url, is_sandbox=is_sandbox), self.description.strip()
        if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
            raise WebhookInvalid("description", f"at most {LONGEST_DESCRIPTION} characters that can be seen")
        types = tuple(dict.fromkeys(self.types))
        if not types or not set(types) <= KINDS.keys():
            raise WebhookInvalid("types", f"one or more of {', '.join(KINDS)}")
        return Wanted(url, description, types)


async def all_of(connection: AsyncConnection, partner_id: int, *, now: datetime) -> list[Endpoint]:
    """A partner's endpoints, the oldest first."""
    return await _shown(connection, await endpoint_store.of_partner(connection, partner_id), now)


async def require(connection: AsyncConnection, partner_id: int, endpoint_no: int, *, now: datetime) -> Endpoint:
    """A partner's endpoint. Rejects WEBHOOK_UNKNOWN."""
    found = await by_number(connection, partner_id, endpoint_no, now=now)
    if found.status == REMOVED:
        raise WebhookUnknown
    return found


async def by_number(connection: AsyncConnection, partner_id: int, endpoint_no: int, *, now: datetime) -> Endpoint:
    """A partner's endpoint, also one that was removed. Rejects WEBHOOK_UNKNOWN."""
    row = await endpoint_store.one(connection, partner_id, endpoint_no)
    if row is None:
        raise WebhookUnknown
    return (await _shown(connection, [row], now))[0]


async def add(
    connection: AsyncConnection, vault: Vault, by: OwnPerson, wanted: Wanted, *, is_sandbox: bool, at: datetime,
    now: datetime,
) -> tuple[int, str]:  # fmt: skip
    """Add an endpoint of the partner; its number, and the secret, which nobody can read again.

    at is the business instant from which on it is told of events. Rejects WEBHOOK_URL_INVALID, WEBHOOK_INVALID,
    WEBHOOKS_TOO_MANY.
    """
    checked = wanted.checked(is_sandbox=is_sandbox)
    await onboarding.lock_partner(connection, by.partner_id)  # counted by one at a time
    if len(await endpoint_store.of_partner(connection, by.partner_id)) >= MOST_ENDPOINTS:
        raise WebhooksTooMany
    row = {"partner_id": by.partner_id, "at": at, **_columns(checked)}
    endpoint_no = await endpoint_store.insert(connection, row)
    secret = await _new_secret(connection, vault, endpoint_no, now)
    await _note(connection, by, "WEBHOOK_ADDED", endpoint_no, now)
    return endpoint_no, secret


async def change(
    connection: AsyncConnection, by: OwnPerson, endpoint_no: int, wanted: Wanted, *, is_sandbox: bool, now: datetime
) -> None:
    """Give an endpoint another URL, description and types; what is on its way goes to the new URL.

    Rejects WEBHOOK_UNKNOWN, WEBHOOK_URL_INVALID, WEBHOOK_INVALID.
    """
    await require(connection, by.partner_id, endpoint_no, now=now)
    await endpoint_store.change(connection, endpoint_no, _columns(wanted.checked(is_sandbox=is_sandbox)))
    await _note(connection, by, "WEBHOOK_CHANGED", endpoint_no, now)


async def rotate(
    connection: AsyncConnection, vault: Vault, by: OwnPerson, endpoint_no: int, *, overlap: timedelta, now: datetime
) -> str:
    """Sign with a new secret, and with the last one too until the overlap is over; the new one, shown once.

    Rejects WEBHOOK_UNKNOWN, WEBHOOK_INVALID.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise WebhookInvalid("overlapHours", f"0 to {LONGEST_OVERLAP // timedelta(hours=1)}")
    await require(connection, by.partner_id, endpoint_no, now=now)
    await endpoint_store.lock(connection, endpoint_no)
    await endpoint_store.end_secrets(connection, endpoint_no, newest_at=now + overlap, now=now)
    secret = await _new_secret(connection, vault, endpoint_no, now)
    await _note(connection, by, "WEBHOOK_SECRET_ROTATED", endpoint_no, now)
    return secret


async def disable(connection: AsyncConnection, by: OwnPerson, endpoint_no: int, *, now: datetime) -> None:
    """Send nothing to an endpoint for a while; what happens is kept for it. Rejects WEBHOOK_UNKNOWN, WEBHOOK_STATUS."""
    await require(connection, by.partner_id, endpoint_no, now=now)
    if (await endpoint_store.lock(connection, endpoint_no))["status"] != ACTIVE:
        raise WebhookStatus("the endpoint is disabled")
    await endpoint_store.set_status(connection, endpoint_no, DISABLED, BY_PARTNER)
    await _note(connection, by, "WEBHOOK_DISABLED", endpoint_no, now)


async def enable(connection: AsyncConnection, by: OwnPerson, endpoint_no: int, *, now: datetime) -> None:
    """Send to an endpoint again, first what was kept for it. Rejects WEBHOOK_UNKNOWN, WEBHOOK_STATUS."""
    await require(connection, by.partner_id, endpoint_no, now=now)
    if (await endpoint_store.lock(connection, endpoint_no))["status"] != DISABLED:
        raise WebhookStatus("the endpoint is enabled")
    await endpoint_store.set_status(connection, endpoint_no, ACTIVE, None)
    await _note(connection, by, "WEBHOOK_ENABLED", endpoint_no, now)


async def remove(connection: AsyncConnection, by: OwnPerson, endpoint_no: int, *, now: datetime) -> None:
    """Tell an endpoint nothing any more. Rejects WEBHOOK_UNKNOWN."""
    await require(connection, by.partner_id, endpoint_no, now=now)
    await endpoint_store.lock(connection, endpoint_no)
    await endpoint_store.set_status(connection, endpoint_no, REMOVED, None)
    await endpoint_store.end_secrets(connection, endpoint_no, newest_at=now, now=now)
    await _note(connection, by, "WEBHOOK_REMOVED", endpoint_no, now)


async def signing_secrets(
    connection: AsyncConnection, vault: Vault, endpoint_no: int, *, now: datetime
) -> tuple[bytes, ...]:
    """What a delivery to an endpoint is signed with, the newest first; for whoever sends."""
    rows = await endpoint_store.secrets(connection, [endpoint_no], now)
    return tuple(vault.open(bytes(row["sealed"]), _context(endpoint_no)) for row in rows)


async def give_up(connection: AsyncConnection, endpoint_no: int, reason: str, *, now: datetime) -> None:
    """Disable an endpoint that took nothing for days (FAILING), or said that it is gone (GONE)."""
    await endpoint_store.set_status(connection, endpoint_no, DISABLED, reason)
    await audit.write(
        connection, actor="webhooks", action="WEBHOOK_DISABLED", subject=f"webhook:{endpoint_no}",
        detail={"reason": reason}, at=now,
    )  # fmt: skip


async def forget_secrets(connection: AsyncConnection, *, now: datetime) -> int:
    """Delete secrets that ended a week ago; how many."""
    return await endpoint_store.forget_secrets(connection, now - SECRETS_KEPT)


async def rekey(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """Give the next secrets over to the newest master key; the number reached, and how many."""
    rows = await endpoint_store.sealed_secrets(connection, after, limit)
    for row in rows:
        context = _context(row["endpoint_no"])
        sealed = vault.seal(vault.open(bytes(row["sealed"]), context), context)
        await endpoint_store.write_sealed(connection, row["secret_no"], sealed)
    return (rows[-1]["secret_no"] if rows else after), len(rows)


def written(secret: bytes) -> str:
    """A secret as receivers' libraries take it."""
    return f"whsec_{b64encode(secret).decode()}"


async def _new_secret(connection: AsyncConnection, vault: Vault, endpoint_no: int, now: datetime) -> str:
    secret = random.token_bytes(SECRET_BYTES)
    await endpoint_store.insert_secret(connection, endpoint_no, vault.seal(secret, _context(endpoint_no)), now)
    return written(secret)


async def _shown(connection: AsyncConnection, rows: Sequence[RowMapping], now: datetime) -> list[Endpoint]:
    held = await endpoint_store.secrets(connection, [row["endpoint_no"] for row in rows], now)
    return [
        Endpoint(
            row["endpoint_no"], row["partner_id"], row["url"], row["description"], tuple(row["types"]), row["status"],
            row["reason"], row["failing_since"], row["rests_until"], row["created_at"],
            tuple((one["created_at"], one["ends_at"]) for one in held if one["endpoint_no"] == row["endpoint_no"]),
        )
        for row in rows
    ]  # fmt: skip


async def _note(connection: AsyncConnection, by: OwnPerson, action: str, endpoint_no: int, now: datetime) -> None:
    detail = {"partner": by.partner_id}
    await audit.write(
        connection, actor=by.actor_id, action=action, subject=f"webhook:{endpoint_no}", detail=detail, at=now
    )


def _columns(wanted: Wanted) -> dict[str, object]:
    return {"url": wanted.url, "description": wanted.description, "types": list(wanted.types)}


def _context(endpoint_no: int) -> str:
    return f"webhook-secret:{endpoint_no}"
