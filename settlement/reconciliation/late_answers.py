"""Answers that the operator owes partners and members: before one is late it goes to the next role, which is kept.

A dispute that nobody answers is decided for the partner, so that whoever could still answer hears of it while there is
time; a contested claim waits for ever, so that somebody hears of it at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from settlement.reconciliation import late_answer_store

AHEAD = timedelta(days=2)
LEVELS = ((1, actors.FINANCE_CHECKER, AHEAD), (2, actors.OPERATOR_ADMIN, timedelta(0)))
"""Which role hears of it at each level, and how long before the deadline."""
_ACTOR = "reconciliation"


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """An answer that is owed (kind DISPUTE or CLAIM), by which deadline, who of the operator took the last step, and
    the role that it went to at an instant."""

    kind: str
    subject_id: int
    step_no: int
    level: int
    role: str
    owner: str | None
    deadline: datetime
    at: datetime


async def escalate(connection: AsyncConnection, *, at: datetime) -> list[LateAnswer]:
    """Give answers that are due soon, or late, to the next role; those that went on now. Each goes once to each level
    of the state it is in."""
    gone = []
    for row in await late_answer_store.owed(connection, by=at + AHEAD):
        for level, role, ahead in LEVELS:
            if row.deadline - ahead > at:
                continue
            one = LateAnswer(row.kind, row.subject_id, row.step_no, level, role, row.owner, row.deadline, at)
            if await late_answer_store.insert(connection, asdict(one)):
                subject = f"{one.kind.lower()}:{one.subject_id}"
                detail = {"level": level, "role": role, "owner": one.owner, "deadline": one.deadline.isoformat()}
                await audit.write(
                    connection, actor=_ACTOR, action="ANSWER_ESCALATED", subject=subject, detail=detail, at=at
                )
                gone.append(one)
    return gone


async def standing(connection: AsyncConnection) -> list[LateAnswer]:
    """Answers that are owed and went to another role, each at its highest level, the earliest deadline first."""
    return [LateAnswer(**row._mapping) for row in await late_answer_store.standing(connection)]
