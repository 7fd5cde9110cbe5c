"""Adjustments: points given or taken because two people decided so. Who decides, and who pays, is told elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from ledger import transfer_store as store
from ledger.accounts import POINTS


class AdjustmentExceedsBalance(Rejection):
    """Fewer points are there than are to be taken; `available_points` tells how many."""

    code = "ADJUSTMENT_EXCEEDS_BALANCE"
    retryable = True


@dataclass(frozen=True, slots=True)
class Grant:
    """What points that are given are: who issued them, who pays for them, under which terms, and when they expire."""

    issuer_id: int
    funder_id: int
    terms_id: int
    expires_at: datetime


async def give(
    connection: AsyncConnection,
    holder_id: int,
    points: int,
    grant: Grant,
    *,
    key: UUID,
    unit: int = POINTS,
    at: datetime,
) -> int:
    """Give points, spendable at once; returns the entry's number, the same one for the same key.

    Raises LookupError for a holder without an account.
    """
    return await _adjust(connection, holder_id, points, grant, key, unit, at)


async def take(
    connection: AsyncConnection, holder_id: int, points: int, *, key: UUID, unit: int = POINTS, at: datetime,
    of: UUID | None = None,
) -> int:  # fmt: skip
    """Take points, those that expire first, or with `of` those that the entry of that key gave and that are left in the
    same account; returns the entry's number, the same one for the same key.

    Rejects ADJUSTMENT_EXCEEDS_BALANCE. Raises LookupError for a holder without an account.
    """
    return await _adjust(connection, holder_id, -points, None, key, unit, at, of)


async def _adjust(
    connection: AsyncConnection, holder_id: int, points: int, grant: Grant | None, key: UUID, unit: int, at: datetime,
    of: UUID | None = None,
) -> int:  # fmt: skip
    given = {"holder_id": holder_id, "unit": unit, "points": points, "key": key, "at": at, "of": of}
    for name in ("issuer_id", "funder_id", "terms_id", "expires_at"):
        given[name] = getattr(grant, name) if grant else None
    row = await store.adjust(connection, given)
    if row.status == 3:
        raise AdjustmentExceedsBalance("fewer points are there than are to be taken", available_points=row.available)
    if row.status not in (0, 1):
        raise LookupError(f"holder {holder_id} cannot be adjusted: status {row.status}")
    return int(row.seq)
