"""Notices before expiry: which lots' holders must be told, and that they were.

How many days before is a rule of the unit, fixed before its first lot. Whoever sends notices asks which are due, sends
them, and records what was sent; a lot that nobody was told of does not expire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from ledger import notice_store
from ledger.accounts import POINTS

MOST_DAYS = 365


class NoticeRuleFixed(Rejection):
    """There are lots already: how long before their expiry holders are told cannot change any more."""

    code = "NOTICE_RULE_FIXED"
    retryable = False


@dataclass(frozen=True, slots=True)
class LotRef:
    """A lot by its holder, its accrual's entry and its number in it."""

    holder_id: int
    seq: int
    lot_no: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A lot whose holder must be told by an instant if it is to expire on its day; points are what it has and holds."""

    lot: LotRef
    points: int
    expires_at: datetime
    tell_by: datetime


@dataclass(frozen=True, slots=True)
class Noticed:
    """A lot whose holder was told now, and the instant at which it will expire because of it."""

    lot: LotRef
    expires_at: datetime


async def require(connection: AsyncConnection, days: int, unit: int = POINTS) -> None:
    """Let lots of a unit expire only when their holders were told so many days before; 0 asks for nothing.

    Nothing happens where it is so already. Rejects NOTICE_RULE_FIXED.
    """
    if not await notice_store.require(connection, unit, days):
        raise NoticeRuleFixed("there are points already; the days of notice cannot change any more")


async def waiting(
    connection: AsyncConnection, unit: int = POINTS, *, by: datetime, after: Waiting | None = None, limit: int = 1_000
) -> list[Waiting]:
    """Lots whose holders must be told by an instant, by holder and in the order in which their lots will go.

    To go on, pass the last one as `after`. None where the unit asks for no notice.
    """
    last = None if after is None else (after.lot.holder_id, after.expires_at, after.lot.seq, after.lot.lot_no)
    rows = await notice_store.waiting(connection, unit, by, limit, last)
    return [
        Waiting(LotRef(row.holder_id, row.seq, row.lot_no), row.points, row.expires_at, row.tell_by) for row in rows
    ]


async def record(
    connection: AsyncConnection, lots: Sequence[LotRef], unit: int = POINTS, *, at: datetime
) -> list[Noticed]:
    """Record that the holders of lots were told at an instant; those told of now, by holder.

    A lot whose day is nearer than the days of notice, or past, expires when they have passed. Left out of the answer
    are lots that are used up, unknown, or were told of before.
    """
    rows = await notice_store.record(connection, unit, lots, at) if lots else []
    return [Noticed(LotRef(row.holder_id, row.seq, row.lot_no), row.expires_at) for row in rows]
