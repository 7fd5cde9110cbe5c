"""Accounts: who owns how much of what. A holder is a number; who that is, is told elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store

POINTS = 1
"""The unit of the coalition's shared currency."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a holder owns of one unit, in points of it, as of entry number `seq`.

    debt is what returns left owed: nothing is available while it lasts, and what becomes available repays it first.
    daily_cap is the most that may be spent in one day of the programme, None for no cap.
    """

    holder_id: int
    unit: int
    available: int
    pending: int
    held: int
    debt: int
    seq: int
    spend_locked: bool
    daily_cap: int | None
    last_at: datetime


async def open_accounts(connection: AsyncConnection, count: int, unit: int = POINTS) -> list[int]:
    """Open empty accounts of as many new holders; returns their numbers."""
    return await store.new_holder_ids(connection, count, unit) if count else []


async def balance(connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, at: datetime) -> Balance | None:
    """What a holder owns at an instant not before the last entry; None where there is no such account.

    What is due by then, an activation, a lapse or an expiry, counts as done although the next writer only will record
    it, and so does the repayment that follows.
    """
    row = await store.account(connection, holder_id, unit, at)
    if row is None:
        return None
    return Balance(
        holder_id=holder_id,
        unit=unit,
        available=row.available,
        pending=row.pending,
        held=row.held,
        debt=row.debt,
        seq=row.seq,
        spend_locked=row.spend_locked,
        daily_cap=row.daily_cap,
        last_at=row.last_at,
    )


async def lock_spending(connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, locked: bool) -> bool:
    """Let nothing be spent from an account, or let it again; False where there is no such account."""
    return await store.lock_spending(connection, holder_id, unit, locked)


async def set_daily_cap(connection: AsyncConnection, holder_id: int, unit: int = POINTS, *, points: int | None) -> bool:
    """Let at most so many points be spent in one day of the programme (None: any); False where there is no account.

    What was spent today counts already. Raises ValueError for fewer than none.
    """
    if points is not None and points < 0:
        raise ValueError("a cap is not negative")
    return await store.set_daily_cap(connection, holder_id, unit, points)


async def qualifying(
    connection: AsyncConnection, holder_ids: Sequence[int], unit: int, since: datetime, until: datetime
) -> dict[int, int]:
    """Points accrued less points asked back by returns, per holder, in [since, until); spending does not lower it.

    Points that a return found spent count as asked back where the holder owes them or they were forgiven.

    A holder whose purchases were made before and returned within may have less than none. Zero is stated too.
    """
    found = await store.accrued_less_returned(connection, holder_ids, unit, since, until)
    return {holder_id: found.get(holder_id, 0) for holder_id in holder_ids}
