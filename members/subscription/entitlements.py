"""Who may have which benefit here and now, and what was used of it: grants less blocks, never a flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import fingerprint
from members.subscription import entitlement_store

LATEST = timedelta(days=28)
"""How late a use may be told; a till that was offline for longer has lost it."""


class NotEntitled(Rejection):
    """No subscription gives this member the benefit at that time."""

    code = "NOT_ENTITLED"
    retryable = True


class UseInvalid(Rejection):
    """A use of no units, of the future, or of more than four weeks ago."""

    code = "USE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one subscription gives a member at an instant; owner_id is whose subscription it is."""

    owner_id: int
    subscription_no: int
    plan: str
    benefits: tuple[str, ...]
    is_trial: bool
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class Use:
    """That a member used so many units of a benefit at a partner, as the partner tells it."""

    member_id: int
    benefit: str
    units: int
    used_at: datetime
    partner_id: int
    client_id: int | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """Units of a benefit that a subscription's people used at a partner, summed."""

    benefit: str
    partner_id: int
    units: int


async def entitled(connection: AsyncConnection, member_id: int, *, at: datetime) -> list[Entitlement]:
    """What a member is entitled to at an instant, by subscription, their own and those in which they have a seat."""
    rows = await entitlement_store.entitled(connection, member_id, at)
    return [Entitlement(**{**row._mapping, "benefits": tuple(row.benefits)}) for row in rows]


async def used(connection: AsyncConnection, owner_id: int, subscription_no: int, *, since: datetime) -> list[Used]:
    """What was used of a subscription since an instant, by benefit and partner."""
    rows = await entitlement_store.used_since(connection, owner_id, subscription_no, since)
    return [Used(**row._mapping) for row in rows]


def benefits(found: Sequence[Entitlement]) -> tuple[str, ...]:
    """The benefits of some entitlements together, in order."""
    return tuple(sorted({benefit for one in found for benefit in one.benefits}))


async def report_use(connection: AsyncConnection, use: Use, *, key: UUID, at: datetime) -> bool | None:
    """Write that a benefit was used, once under a key; whether it was written now, None where another use was told
    under the key. It counts for the month in which it is told.

    Rejects NOT_ENTITLED, USE_INVALID.
    """
    content = fingerprint(
        "use", str(use.member_id), use.benefit, str(use.units), use.used_at.isoformat(), str(use.partner_id)
    )
    earlier = await entitlement_store.use_by_key(connection, key)
    if earlier is None:
        if use.units <= 0 or not at - LATEST <= use.used_at <= at + timedelta(minutes=5):
            raise UseInvalid(f"a use is of one unit or more, and at most {LATEST.days} days old")
        found = await entitled(connection, use.member_id, at=use.used_at)
        giving = next((one for one in found if use.benefit in one.benefits), None)
        if giving is None:
            raise NotEntitled(f"nothing gave the member {use.benefit} then")
        earlier = await entitlement_store.insert_use(
            connection,
            {
                "holder_id": giving.owner_id, "subscription_no": giving.subscription_no, "member_id": use.member_id,
                "benefit": use.benefit, "partner_id": use.partner_id, "client_id": use.client_id, "units": use.units,
                "is_trial": giving.is_trial, "used_at": use.used_at, "at": at, "idem_key": key, "fingerprint": content,
            },
        )  # fmt: skip
        if earlier.fingerprint == content:
            return True
    return False if earlier.fingerprint == content else None
