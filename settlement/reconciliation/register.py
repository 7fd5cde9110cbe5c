"""The register of breaks: each found once, with its way from open to verified, its owner, and how long it is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import micro_per_minor
from kit.errors import Rejection
from settlement import calendars, store
from settlement.reconciliation import break_store, breaks
from settlement.reconciliation.breaks import Category

OPEN, ASSIGNED, EXPLAINED, RESOLVED, VERIFIED = "OPEN", "ASSIGNED", "EXPLAINED", "RESOLVED", "VERIFIED"
UNRESOLVED = (OPEN, ASSIGNED, EXPLAINED)
POST, ACCEPT, WRITE_OFF, DISPUTE = "POST", "ACCEPT", "WRITE_OFF", "DISPUTE"
ARRIVED, MATCHED = "ARRIVED", "MATCHED"
SYSTEM = "reconciliation"
LONGEST_NOTE = 2_000


class BreakUnknown(Rejection):
    """There is no such break."""

    code = "BREAK_UNKNOWN"
    retryable = False


class BreakState(Rejection):
    """The break is where this cannot be done to it: resolved already, or not yet."""

    code = "BREAK_STATE"
    retryable = True


class CauseMissing(Rejection):
    """Whoever explains or resolves a break says why."""

    code = "CAUSE_MISSING"
    retryable = False


class NoteInvalid(Rejection):
    """A note says something, in 2,000 characters at most."""

    code = "NOTE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Side:
    """A line that a break is about: a record of a file, or one of ours by its entry in the ledger."""

    side: str
    file_id: int | None = None
    line_no: int | None = None
    holder_id: int | None = None
    unit: int | None = None
    seq: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class NewBreak:
    """A break to be opened. source names what it is of, so that it is opened once.

    points and amount_minor are ours less theirs; value_micro is what it is about in money between the partner and us,
    above zero where the partner would pay us.
    """

    source: str
    leg: str
    category: Category
    partner_id: int | None = None
    currency: str | None = None
    points: int = 0
    amount_minor: int = 0
    value_micro: int = 0
    file_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[Side, ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """A break and where it stands: state since state_at, with the owner who was named last and until when, and the role
    that was told last because nobody resolved it in time."""

    break_id: int
    source: str
    leg: str
    category: str
    partner_id: int | None
    currency: str | None
    points: int
    amount_minor: int
    value_micro: int
    file_id: int | None
    detail: Mapping[str, Any]
    seen_at: datetime
    state: str
    step_no: int
    resolution: str | None
    reason: str
    state_at: datetime
    owner: str | None
    due_on: date | None
    escalated_to: str | None = None

    @property
    def is_unresolved(self) -> bool:
        """Whether something is still to be done about it."""
        return self.state in UNRESOLVED


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a break's way; value_micro is what a resolution gave the partner."""

    step_no: int
    from_state: str | None
    to_state: str
    resolution: str | None
    owner: str | None
    due_on: date | None
    actor: str
    reason: str
    approval_id: int | None
    value_micro: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody said about a break."""

    note_no: int
    note: str
    actor: str
    at: datetime


# --- Found ----------------------------------------------------------------------------------------------------


async def open_breaks(connection: AsyncConnection, found: Sequence[NewBreak], *, at: datetime) -> list[int]:
    """Open breaks that are not known yet; their numbers."""
    opened = []
    for new in found:
        row = {
            "source": new.source, "leg": new.leg, "category": str(new.category), "partner_id": new.partner_id,
            "currency": new.currency, "points": new.points, "amount_minor": new.amount_minor,
            "value_micro": new.value_micro, "file_id": new.file_id, "detail": dict(new.detail), "at": at,
        }  # fmt: skip
        break_id = await break_store.insert_break(connection, row)
        if break_id is not None:
            opened.append(break_id)
            await break_store.insert_sides(connection, [_side(break_id, n, s) for n, s in enumerate(new.sides, 1)])
    return opened


async def close(
    connection: AsyncConnection, break_id: int, resolution: str, *, reason: str, at: datetime, actor: str = SYSTEM,
    approval_id: int | None = None, value_micro: int = 0,
) -> None:  # fmt: skip
    """Resolve a break; what it takes to and what it does to money is the caller's. Rejects BREAK_STATE."""
    its = await locked(connection, break_id)
    if not its.is_unresolved:
        raise BreakState(f"break {break_id} is {its.state}")
    await _step(
        connection, its, RESOLVED, actor=actor, reason=reason, at=at, resolution=resolution, approval_id=approval_id,
        value_micro=value_micro,
    )  # fmt: skip
    detail = {"resolution": resolution, "value_micro": value_micro}
    await audit.write(connection, actor=actor, action="BREAK_RESOLVED", subject=f"break:{break_id}", detail=detail,
                      at=at)  # fmt: skip


async def close_missing(
    connection: AsyncConnection, side: Side, *, category: Category, reason: str, at: datetime
) -> None:
    """Resolve what only said that the other side of a line of ours was missing: it arrived."""
    for break_id in await break_store.open_of_line(
        connection, holder_id=side.holder_id or 0, unit=side.unit or 0, seq=side.seq or 0, kind=side.kind or "",
        category=str(category),
    ):  # fmt: skip
        await close(connection, break_id, ARRIVED, reason=reason, at=at)


async def close_file_breaks(
    connection: AsyncConnection, partner_id: int, *, sequence: int, file_id: int, at: datetime
) -> None:
    """Resolve what was wrong with a file of a number: it came as it should."""
    for break_id in await break_store.open_file_breaks(connection, partner_id, sequence):
        await close(connection, break_id, ARRIVED, reason=f"taken as file {file_id}", at=at)


async def of_source(connection: AsyncConnection, source: str) -> list[int]:
    """Breaks of a source that are not resolved; where it ends with a slash, of all that begin with it."""
    return await break_store.open_of_source(connection, source)


async def close_source(connection: AsyncConnection, source: str, *, reason: str, at: datetime) -> None:
    """Resolve breaks of a source, or where it ends with a slash of all that begin with it: what was missing came."""
    for break_id in await of_source(connection, source):
        await close(connection, break_id, ARRIVED, reason=reason, at=at)


# --- What people do -------------------------------------------------------------------------------------------


async def assign(
    connection: AsyncConnection, break_id: int, *, owner: str, actor: str, at: datetime, on: date,
    due_on: date | None = None,
) -> Break:  # fmt: skip
    """Give a break to somebody who acts here, on behalf of a FINANCE_MAKER; by when follows from what it is about.

    on is the business day. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE.
    """
    await permit(connection, actor, actors.FINANCE_MAKER)
    await actors.by_name(connection, owner)
    its = await locked(connection, break_id)
    if not its.is_unresolved:
        raise BreakState(f"break {break_id} is {its.state}")
    until = due_on or calendars.business_days_on(
        on, breaks.days_to_resolve(its.value_micro), await holidays(connection)
    )
    await _step(connection, its, ASSIGNED, actor=actor, reason="assigned", at=at, owner=owner, due_on=until)
    return await read(connection, break_id)


async def explain(connection: AsyncConnection, break_id: int, *, cause: str, actor: str, at: datetime) -> Break:
    """Say where a break comes from, on behalf of a FINANCE_MAKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING.
    """
    await permit(connection, actor, actors.FINANCE_MAKER)
    check_cause(cause)
    its = await locked(connection, break_id)
    if its.state not in (OPEN, ASSIGNED):
        raise BreakState(f"break {break_id} is {its.state}")
    await _step(connection, its, EXPLAINED, actor=actor, reason=cause, at=at)
    return await read(connection, break_id)


async def verify(connection: AsyncConnection, break_id: int, *, actor: str, at: datetime) -> Break:
    """See that a resolved break is really over, on behalf of a FINANCE_CHECKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE.
    """
    await permit(connection, actor, actors.FINANCE_CHECKER)
    its = await locked(connection, break_id)
    if its.state != RESOLVED:
        raise BreakState(f"break {break_id} is {its.state}")
    await _step(connection, its, VERIFIED, actor=actor, reason="verified", at=at)
    return await read(connection, break_id)


async def note(connection: AsyncConnection, break_id: int, *, text: str, actor: str, at: datetime) -> int:
    """Say something about a break that moves it nowhere, on behalf of whoever of finance makes or decides; the note's
    number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, NOTE_INVALID.
    """
    actor_id = await actors.by_name(connection, actor)
    _, roles = await actors.standing(connection, actor_id)
    if actors.FINANCE_CHECKER not in roles:
        await actors.require_role(connection, actor_id, actors.FINANCE_MAKER)
    if not 0 < len(text.strip()) <= LONGEST_NOTE:
        raise NoteInvalid(f"a note has 1 to {LONGEST_NOTE} characters")
    await locked(connection, break_id)
    return await break_store.insert_note(
        connection, {"break_id": break_id, "note": text.strip(), "actor": actor, "at": at}
    )


async def reopen(connection: AsyncConnection, break_id: int, *, cause: str, actor: str, at: datetime) -> Break:
    """Open a break again that was resolved by no money, on behalf of a FINANCE_CHECKER: what gave money stays given.
    What was matched by hand is opened by taking the match back.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING.
    """
    await permit(connection, actor, actors.FINANCE_CHECKER)
    check_cause(cause)
    if await break_store.is_disputed(connection, break_id):
        raise BreakState(f"break {break_id} is decided by a dispute")
    its = await locked(connection, break_id)
    steps = await trail(connection, break_id)
    if its.is_unresolved or any(step.value_micro for step in steps):
        raise BreakState(f"break {break_id} is {its.state}, or money was given for it")
    if its.leg == "FILE" and [s.resolution for s in steps if s.resolution][-1:] == [MATCHED]:
        raise BreakState(f"break {break_id} was matched by hand: take the match back")
    return await open_again(connection, its, cause=cause, actor=actor, at=at)


async def open_again(connection: AsyncConnection, its: Break, *, cause: str, actor: str, at: datetime) -> Break:
    """Open a resolved break again; whether that may be is the caller's rule."""
    await _step(connection, its, OPEN, actor=actor, reason=cause, at=at)
    return await read(connection, its.break_id)


# --- Read -----------------------------------------------------------------------------------------------------


async def read(connection: AsyncConnection, break_id: int) -> Break:
    """One break. Rejects BREAK_UNKNOWN."""
    row = await break_store.one(connection, break_id)
    if row is None:
        raise BreakUnknown(f"there is no break {break_id}")
    return Break(**row._mapping)


async def locked(connection: AsyncConnection, break_id: int) -> Break:
    """One break, which nobody else moves until the transaction ends. Rejects BREAK_UNKNOWN."""
    await break_store.lock_break(connection, break_id)
    return await read(connection, break_id)


async def page(
    connection: AsyncConnection, *, partner_id: int | None = None, states: Sequence[str] | None = None,
    category: str | None = None, after: int = 0, limit: int = 50,
) -> list[Break]:  # fmt: skip
    """Breaks behind a number, in order: of a partner, in some states, of a category, as asked for."""
    rows = await break_store.page(
        connection, partner_id=partner_id, states=states, category=category, after=after, limit=limit
    )
    return [Break(**row._mapping) for row in rows]


async def trail(connection: AsyncConnection, break_id: int) -> list[Step]:
    """How a break got where it is."""
    return [Step(**row._mapping) for row in await break_store.steps(connection, break_id)]


async def notes(connection: AsyncConnection, break_id: int, *, after: int = 0, limit: int = 50) -> list[Note]:
    """What was said about a break, in order, behind a number."""
    return [Note(**row._mapping) for row in await break_store.notes(connection, break_id, after=after, limit=limit)]


async def sides(connection: AsyncConnection, break_id: int) -> list[Side]:
    """The lines that a break is about."""
    return [Side(**row._mapping) for row in await break_store.sides(connection, break_id)]


async def late(connection: AsyncConnection, *, on: date) -> list[Break]:
    """Breaks that should have been resolved before a day."""
    return [Break(**row._mapping) for row in await break_store.late(connection, on)]


async def days_open(connection: AsyncConnection, found: Sequence[Break], *, on: date, zone: str) -> dict[int, int]:
    """How many business days each break was open by a day, in the programme's zone, or until it was resolved."""
    closed = await holidays(connection)
    return {
        one.break_id: breaks.business_days_open(
            breaks.local_day(one.seen_at, zone),
            on if one.is_unresolved else min(on, breaks.local_day(one.state_at, zone)),
            is_holiday=closed.__contains__,
        )
        for one in found
    }


async def written_off(connection: AsyncConnection, partner_id: int, *, since: datetime, until: datetime) -> int:
    """What one person alone wrote off of a partner's breaks and payments in a time, micro-units, both signs counted
    alike."""
    of_payments = await break_store.relieved(connection, partner_id, since, until)
    found = await break_store.written_off(connection, partner_id, since, until)
    return found + sum(int(row.amount_minor) * micro_per_minor(row.currency) for row in of_payments)


async def holidays(connection: AsyncConnection) -> frozenset[date]:
    """Days on which nobody works."""
    return frozenset(row.day for row in await store.holidays(connection))


async def permit(connection: AsyncConnection, actor: str, role: str) -> int:
    """The number of an actor who holds a role. Rejects ACTOR_UNKNOWN, NOT_PERMITTED."""
    actor_id = await actors.by_name(connection, actor)
    await actors.require_role(connection, actor_id, role)
    return actor_id


def check_cause(cause: str) -> None:
    """Nothing where something was said. Rejects CAUSE_MISSING."""
    if not cause.strip():
        raise CauseMissing("say why")


async def _step(connection: AsyncConnection, its: Break, wanted: str, **more: Any) -> None:
    row = {"break_id": its.break_id, "from_state": its.state, "to_state": wanted, **more}
    await break_store.insert_step(connection, row)


def _side(break_id: int, side_no: int, side: Side) -> dict[str, Any]:
    return {
        "break_id": break_id, "side_no": side_no, "side": side.side, "file_id": side.file_id, "line_no": side.line_no,
        "holder_id": side.holder_id, "unit": side.unit, "seq": side.seq, "kind": side.kind,
    }  # fmt: skip
