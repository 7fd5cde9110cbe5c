"""Breaks that nobody resolved in time go to the next role, once a level; what is told stays, and a page shows it.

A break that has an owner is due when its owner was told; one that nobody looks after when its value asks for. Late is
counted in business days of the programme's zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from partners.agreements import programme
from settlement import calendars
from settlement.reconciliation import break_store, breaks, register
from settlement.reconciliation.register import Break

LADDER = ((1, actors.FINANCE_CHECKER), (5, actors.OPERATOR_ADMIN))
"""From how many business days late a break goes to which role, level after level."""
BREAKS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Escalation:
    """A break that went to a role because it was so many business days late."""

    break_id: int
    due_on: date
    level: int
    role: str
    owner: str | None
    days_late: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: how many notices it wrote, and behind which break to go on; None at the end."""

    escalated: int
    next_after: int | None


def due(one: Break, *, zone: str, closed: frozenset[date]) -> date:
    """PURE: by when a break is to be resolved: as its owner was told, or as its value asks from the day it was seen."""
    if one.due_on is not None:
        return one.due_on
    seen = breaks.local_day(one.seen_at, zone)
    return calendars.business_days_on(seen, breaks.days_to_resolve(one.value_micro), closed)


def levels(days_late: int) -> list[tuple[int, str]]:
    """PURE: levels that a break has reached so many business days after it was due, each with its role."""
    return [(n, role) for n, (least, role) in enumerate(LADDER, start=1) if days_late >= least]


async def escalate(connection: AsyncConnection, *, at: datetime, after: int = 0) -> Step:
    """Tell the next role of breaks behind a number that are late, some hundred at once. Who was told is not told again;
    a break that gets another day to be due on begins anew."""
    zone, closed = (await programme.read(connection)).time_zone, await register.holidays(connection)
    on = breaks.local_day(at, zone)
    found = await register.page(connection, states=register.UNRESOLVED, after=after, limit=BREAKS_AT_ONCE)
    told = 0
    for one in found:
        until = due(one, zone=zone, closed=closed)
        late = breaks.business_days_open(until, on, is_holiday=closed.__contains__)
        for level, role in levels(late):
            row = {"break_id": one.break_id, "due_on": until, "level": level, "role": role, "owner": one.owner,
                   "days_late": late, "at": at}  # fmt: skip
            if await break_store.insert_escalation(connection, row):
                told += 1
                detail = {"role": role, "level": level, "days_late": late, "owner": one.owner}
                await audit.write(
                    connection, actor=register.SYSTEM, action="BREAK_ESCALATED", subject=f"break:{one.break_id}",
                    detail=detail, at=at,
                )  # fmt: skip
    return Step(told, found[-1].break_id if len(found) == BREAKS_AT_ONCE else None)


async def of_break(connection: AsyncConnection, break_id: int) -> Sequence[Escalation]:
    """Whom a break went to, in order."""
    return [Escalation(**row._mapping) for row in await break_store.escalations(connection, break_id)]
