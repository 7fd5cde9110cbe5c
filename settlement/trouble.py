"""What does not balance and what is late, in one list: what finance looks at first in the morning.

The controls that calculate everything once more are not among what is looked at here: they take their time, and
`tessera audit` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from partners import clearing, programme
from settlement import controls, proposals, runs, states
from settlement.bank import paying
from settlement.exposure import deposits, limits
from settlement.reconciliation import breaks, disputes, register
from settlement.windows import cycle

CONTROL, WINDOW_BROKEN, WINDOW_UNREAD = "CONTROL", "WINDOW_BROKEN", "WINDOW_UNREAD"
RUN_STANDS, RUN_WAITS, PROPOSAL_WAITS = "RUN_STANDS", "RUN_WAITS", "PROPOSAL_WAITS"
BREAK_LATE, PAYMENT_LATE, DISPUTE_LATE = "BREAK_LATE", "PAYMENT_LATE", "DISPUTE_LATE"
DEPOSIT_SHORT, CAP_EXCEEDED = "DEPOSIT_SHORT", "CAP_EXCEEDED"
CODES = (
    CONTROL, WINDOW_BROKEN, WINDOW_UNREAD, RUN_STANDS, RUN_WAITS, PAYMENT_LATE, BREAK_LATE, DISPUTE_LATE,
    PROPOSAL_WAITS, DEPOSIT_SHORT, CAP_EXCEEDED,
)  # fmt: skip

PATIENCE = timedelta(days=1)
_CALCULATE_AGAIN = frozenset({"S7", "S15", "M12"})
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that somebody has to look after. subject is a name or a code; since when, where that is known; run_id
    where it is about a run."""

    code: str
    subject: str
    detail: str
    since: datetime | None = None
    run_id: int | None = None


async def found(connection: AsyncConnection, *, at: datetime) -> list[Trouble]:
    """All of it as it stands now, the gravest first; an empty list is what everybody wants to see."""
    names = {n: one.code for n, one in (await clearing.names(connection)).items()}
    on = breaks.local_day(at, (await programme.read(connection)).time_zone)
    several = [
        *await _unbalanced(connection), *await _windows(connection, at), *await _runs(connection, at),
        *await _payments(connection, names, on), *await _breaks(connection, names, on),
        *await _disputes(connection, names, at), *await _proposals(connection, at),
        *await _short(connection, names, at),
    ]  # fmt: skip
    return sorted(several, key=lambda one: (CODES.index(one.code), one.since or at, one.subject))


async def _unbalanced(connection: AsyncConnection) -> list[Trouble]:
    quick = [control for control in controls.CONTROLS if control.code not in _CALCULATE_AGAIN]
    return [
        Trouble(CONTROL, control.code, f"{control.rule}: {detail}")
        for control in quick
        for detail in await control.find(connection)
    ]


async def _windows(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    several = []
    for one in await cycle.windows(connection, states=[states.CUT, states.BROKEN]):
        if one.state == states.BROKEN:
            several.append(Trouble(WINDOW_BROKEN, one.name, "added up otherwise than counted", one.cut_at))
        elif one.cut_at is not None and one.cut_at + PATIENCE <= at:
            several.append(Trouble(WINDOW_UNREAD, one.name, "a transaction from before the cut is open", one.cut_at))
    return several


async def _runs(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    several = []
    for run in await runs.runs(connection):
        if run.state in runs.UNFINISHED and run.at + PATIENCE <= at:
            several.append(Trouble(RUN_STANDS, run.name, run.state, run.at, run.run_id))
        if run.state == states.IN_REVIEW:
            ends = [r.review_ends_at for r in await runs.reviews(connection, run.run_id) if not r.is_over(at)]
            if not ends:
                several.append(Trouble(RUN_WAITS, run.name, run.state, run.at, run.run_id))
    return several


async def _payments(connection: AsyncConnection, names: Mapping[int, str], on: date) -> list[Trouble]:
    return [
        Trouble(PAYMENT_LATE, leg.reference, f"{names[leg.partner_id]}, {leg.state}", leg.state_at, leg.run_id)
        for leg in await paying.unpaid(connection)
        if leg.due_on < on and leg.state not in paying.DONE
    ]


async def _breaks(connection: AsyncConnection, names: Mapping[int, str], on: date) -> list[Trouble]:
    several = await register.page(connection, partner_id=None, states=register.UNRESOLVED, limit=_MOST)
    return [
        Trouble(BREAK_LATE, f"{one.break_id} {one.category}", names.get(one.partner_id or 0, ""), one.seen_at)
        for one in several
        if one.due_on is not None and one.due_on < on
    ]


async def _disputes(connection: AsyncConnection, names: Mapping[int, str], at: datetime) -> list[Trouble]:
    return [
        Trouble(DISPUTE_LATE, str(one.dispute_id), f"{names[one.partner_id]}, {one.state}", one.deadline, one.run_id)
        for one in await disputes.page(connection, limit=_MOST)
        if one.deadline is not None and one.deadline <= at
    ]


async def _proposals(connection: AsyncConnection, at: datetime) -> list[Trouble]:
    return [
        Trouble(PROPOSAL_WAITS, str(one.approval_id), f"{one.kind} {one.subject}", one.made_at)
        for one in await proposals.waiting(connection)
        if one.made_at + PATIENCE <= at
    ]


async def _short(connection: AsyncConnection, names: Mapping[int, str], at: datetime) -> list[Trouble]:
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
