"""What does not balance and what is late in all of settlement, in one list: what finance looks at in the morning.

What concerns banks, breaks and disputes is `reconciliation.standing`'s; runs, windows, proposals and cover are added
here. The controls that calculate everything once more are not asked: the control of each run asks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.clearing import clearing
from settlement import archive, controls, proposals, runs, states
from settlement.exposure import deposits, limits
from settlement.reconciliation import standing
from settlement.windows import cycle

CONTROL, WINDOW_BROKEN, WINDOW_UNREAD = "CONTROL", "WINDOW_BROKEN", "WINDOW_UNREAD"
RUN_STANDS, RUN_WAITS, PROPOSAL_WAITS = "RUN_STANDS", "RUN_WAITS", "PROPOSAL_WAITS"
DEPOSIT_SHORT, CAP_EXCEEDED = "DEPOSIT_SHORT", "CAP_EXCEEDED"
OF_RECONCILIATION = ("BALANCE", "PAYMENT", "BREAK", "DISPUTE", "SUSPENSE", "FILE")
CODES = (
    CONTROL, *OF_RECONCILIATION[:1], WINDOW_BROKEN, WINDOW_UNREAD, RUN_STANDS, RUN_WAITS, *OF_RECONCILIATION[1:],
    PROPOSAL_WAITS, DEPOSIT_SHORT, CAP_EXCEEDED,
)  # fmt: skip
"""The gravest first."""

PATIENCE = timedelta(days=1)
_CALCULATE_AGAIN = frozenset({"S7", "S15", "M12"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that somebody has to look after. subject is a name or a code; since when, where that is known; run_id
    where it is about a run."""

    code: str
    subject: str
    detail: str
    since: date | None = None
    run_id: int | None = None


async def found(connection: AsyncConnection, *, at: datetime) -> list[Trouble]:
    """All of it as it stands at an instant, the gravest first; an empty list is what everybody wants to see."""
    several = [
        *await _unbalanced(connection), *await _late(connection, at), *await _windows(connection, at),
        *await _runs(connection, at), *await _proposals(connection, at), *await _short(connection, at),
    ]  # fmt: skip
    return sorted(several, key=lambda one: (CODES.index(one.code), one.since or at.date(), one.subject))


async def _unbalanced(connection: AsyncConnection) -> list[Trouble]:
    quick = [control for control in controls.CONTROLS if control.code not in _CALCULATE_AGAIN]
    return [
        Trouble(CONTROL, control.code, f"{control.rule}: {detail}")
        for control in quick
        for detail in await control.find(connection)
    ]


async def _late(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    return [
        Trouble(one.kind, one.subject, one.detail, date.fromisoformat(one.since))
        for one in await standing.late(connection, at=at)
    ]


async def _windows(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    several = []
    for one in await cycle.windows(connection, states=[states.CUT, states.BROKEN]):
        cut_on = None if one.cut_at is None else one.cut_at.date()
        if one.state == states.BROKEN:
            several.append(Trouble(WINDOW_BROKEN, one.name, "added up otherwise than counted", cut_on))
        elif one.cut_at is not None and one.cut_at + PATIENCE <= at:
            several.append(Trouble(WINDOW_UNREAD, one.name, "a transaction from before the cut is open", cut_on))
    return several


async def _runs(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    several = []
    for run in await archive.runs(connection):
        if run.state in runs.UNFINISHED and run.at + PATIENCE <= at:
            several.append(Trouble(RUN_STANDS, run.name, run.state, run.at.date(), run.run_id))
        if run.state == states.IN_REVIEW:
            reviews = await runs.reviews(connection, run.run_id)
            if all(review.is_over(at) for review in reviews):
                several.append(Trouble(RUN_WAITS, run.name, run.state, run.at.date(), run.run_id))
    return several


async def _proposals(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    return [
        Trouble(PROPOSAL_WAITS, str(one.approval_id), f"{one.kind} {one.subject}", one.made_at.date())
        for one in await proposals.waiting(connection)
        if one.made_at + PATIENCE <= at
    ]


async def _short(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    names = {n: one.code for n, one in (await clearing.names(connection)).items()}
    short = [
        Trouble(DEPOSIT_SHORT, names[one.partner_id], one.currency)
        for one in await deposits.standings(connection, at=at)
        if one.missing_micro > 0
    ]
    over = [
        Trouble(CAP_EXCEEDED, names[one.partner_id], one.currency)
        for one in await limits.last(connection)
        if one.exposure_micro > one.cap_micro
    ]
    return short + over
