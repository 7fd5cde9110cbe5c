"""Holds: points set aside, until they are captured, released, or lapse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ledger import hold_store

OPEN, CAPTURED, RELEASED, LAPSED = range(4)


@dataclass(frozen=True, slots=True)
class Hold:
    """Points set aside by a partner: how many, how many of them were captured, and what became of it.

    state is OPEN, CAPTURED, RELEASED or LAPSED; points that were held and not captured went back to their lots.
    """

    holder_id: int
    seq: int
    points: int
    captured_points: int
    lapses_at: datetime
    partner_id: int
    state: int


async def hold(pool: asyncpg.Pool, holder_id: int, seq: int, *, unit: int, at: datetime) -> Hold | None:
    """The hold that an entry placed, as it is at an instant: one that is due counts as lapsed."""
    row = await hold_store.hold(pool, holder_id, unit, seq)
    if row is None:
        return None
    is_due = row["state"] == OPEN and row["lapses_at"] <= at
    return Hold(
        holder_id=holder_id,
        seq=seq,
        points=row["amount"],
        captured_points=row["captured"],
        lapses_at=row["lapses_at"],
        partner_id=row["partner_id"],
        state=LAPSED if is_due else row["state"],
    )


async def held(pool: asyncpg.Pool, holder_id: int, *, unit: int) -> int:
    """Points of an account that are set aside; 0 where there is none."""
    return await hold_store.held(pool, holder_id, unit) or 0
