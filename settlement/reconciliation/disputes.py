"""Disputes: a partner says what is wrong with a line of its statement, and both sides have their time to answer.

Before its run is paid what is disputed is withheld, where the partner pays and it is worth it; afterwards it is paid
first and given back by a later statement. The statement itself never changes. Silence decides on the business clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import micro_per_minor
from kit.approvals import FourEyesRequired
from kit.errors import Rejection
from partners.agreements import programme
from partners.clearing import clearing
from partners.receipts.receipts import LONGEST_REFERENCE
from settlement import archive, calendars, states, store
from settlement.archive import Statement
from settlement.money import entries, journal
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.reconciliation import corrections, dispute_store, disputing, register
from settlement.reconciliation.disputing import PAY_FIRST, WITHHELD
from settlement.statements import Line

SYSTEM = "reconciliation"
PARTNER, OPERATORS, SILENCE = disputing.PARTNER, disputing.OPERATOR, "SILENCE"
_UNPAID = (states.STATEMENTS_ISSUED, states.IN_REVIEW, states.APPROVED)


class DisputeInvalid(Rejection):
    """No such line of the partner's, a reason that there is not, less than is worth it, or more than the line is."""

    code = "DISPUTE_INVALID"
    retryable = False


class DisputeTooLate(Rejection):
    """The time to dispute the statement is over."""

    code = "DISPUTE_TOO_LATE"
    retryable = False


class DisputeUnknown(Rejection):
    """There is no such dispute, or it is another partner's."""

    code = "DISPUTE_UNKNOWN"
    retryable = False


class DisputeState(Rejection):
    """The dispute is where this cannot be done: it is the other side's turn, its time or itself is over, or its run
    is not paid yet."""

    code = "DISPUTE_STATE"
    retryable = True


@dataclass(frozen=True, slots=True)
class Dispute:
    """What a partner disputes of a line (minor units, in its favour), and where that stands. awarded_minor is what is
    offered, or was given; deadline until when somebody has to say something, None where it is over."""

    dispute_id: int
    statement_id: int
    line_no: int
    run_id: int
    partner_id: int
    currency: str
    reason: str
    amount_minor: int
    mode: str
    reference: str | None
    at: datetime
    state: str
    deadline: datetime | None
    awarded_minor: int | None
    state_at: datetime
    run_state: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A file that speaks for a side, which keeps it: its name, what it is, its size, its SHA-256. Of what was shown
    before that was asked, neither kind nor size is known."""

    name: str
    media_type: str | None
    size_bytes: int | None
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a dispute: where it led, whose it was (SILENCE where nobody's), what was said, what is offered."""

    state: str
    side: str
    note: str
    awarded_minor: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """What a side said beside its steps."""

    side: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a side showed."""

    side: str
    shown: Shown
    at: datetime


@dataclass(frozen=True, slots=True)
class Trail:
    """What happened in a dispute."""

    steps: list[Step]
    notes: list[Said]
    evidence: list[Evidence]


# --- What the partner does ------------------------------------------------------------------------------------


async def dispute(
    connection: AsyncConnection, statement_id: int, line_no: int, *, partner_id: int, reason: str, amount_minor: int,
    note: str, actor: str, at: datetime, reference: str | None = None,
) -> Dispute:  # fmt: skip
    """Dispute so much of a line, on behalf of its partner; actor is who says so for it.

    Rejects DISPUTE_INVALID, DISPUTE_TOO_LATE, CAUSE_MISSING, PERIOD_LOCKED.
    """
    _check_note(note)
    if reference is not None and not 1 <= len(reference) <= LONGEST_REFERENCE:
        raise DisputeInvalid(f"a receipt's number has 1 to {LONGEST_REFERENCE} characters")
    await store.lock_runs(connection)
    statement = await archive.statement(connection, statement_id, partner_id=partner_id)
    line = None if statement is None else next((n for n in statement.lines if n.line_no == line_no), None)
    if statement is None or line is None or reason not in disputing.REASONS or partner_id == OPERATOR:
        raise DisputeInvalid("there is no such line of this partner, or no such reason")
    await _check_amount(connection, statement, line, amount_minor, at)
    mode = await _mode(connection, statement, amount_minor, at)
    row = {
        "statement_id": statement_id, "line_no": line_no, "run_id": statement.run_id, "partner_id": partner_id,
        "currency": statement.currency, "reason": reason, "amount_minor": amount_minor, "mode": mode,
        "reference": reference, "actor": actor, "at": at, "note": note,
        "deadline": await _deadline(connection, disputing.OPENED, at),
    }  # fmt: skip
    dispute_id = await dispute_store.insert(connection, row)
    if mode == WITHHELD:
        await _book(connection, f"dispute:{dispute_id}/withheld", "DISPUTE_WITHHELD", row, amount_minor, actor, at)
    detail = {"statement": statement_id, "line": line_no, "reason": reason, "amount_minor": amount_minor, "mode": mode}
    await audit.write(
        connection, actor=actor, action="DISPUTE_OPENED", subject=f"dispute:{dispute_id}", detail=detail, at=at
    )
    return await read(connection, dispute_id)


async def tell(
    connection: AsyncConnection, dispute_id: int, *, partner_id: int, note: str, actor: str, at: datetime
) -> Dispute:
    """Answer what was asked. Rejects DISPUTE_UNKNOWN, DISPUTE_STATE, CAUSE_MISSING."""
    its = await _its(connection, dispute_id, (disputing.INFO_REQUESTED,), note, at, partner_id=partner_id)
    return await _move(connection, its, disputing.ACKNOWLEDGED, note, actor, at)


async def agree(connection: AsyncConnection, dispute_id: int, *, partner_id: int, actor: str, at: datetime) -> Dispute:
    """Take what is offered. Rejects DISPUTE_UNKNOWN, DISPUTE_STATE, PERIOD_LOCKED."""
    its = await _its(connection, dispute_id, (disputing.PROPOSED,), "agreed", at, partner_id=partner_id)
    return await _conclude(connection, its, disputing.ACCEPTED, its.awarded_minor or 0, "agreed", actor, at)


async def escalate(
    connection: AsyncConnection, dispute_id: int, *, partner_id: int, note: str, actor: str, at: datetime
) -> Dispute:
    """Have somebody else decide. Rejects DISPUTE_UNKNOWN, DISPUTE_STATE, CAUSE_MISSING."""
    wanted = (disputing.PROPOSED, disputing.REJECTED)
    its = await _its(connection, dispute_id, wanted, note, at, partner_id=partner_id)
    return await _move(connection, its, disputing.ESCALATED, note, actor, at)


async def withdraw(
    connection: AsyncConnection, dispute_id: int, *, partner_id: int, note: str, actor: str, at: datetime
) -> Dispute:
    """Take a dispute back: the line stands, and what was withheld of it is charged by the next statement.

    Rejects DISPUTE_UNKNOWN, DISPUTE_STATE, CAUSE_MISSING, PERIOD_LOCKED.
    """
    wanted = tuple(disputing.DAYS)
    its = await _its(connection, dispute_id, wanted, note, at, partner_id=partner_id)
    return await _conclude(connection, its, disputing.CLOSED, 0, note, actor, at)


# --- What the operator does -----------------------------------------------------------------------------------


async def acknowledge(connection: AsyncConnection, dispute_id: int, *, actor: str, at: datetime) -> Dispute:
    """Take a dispute up, on behalf of a FINANCE_MAKER. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, DISPUTE_UNKNOWN,
    DISPUTE_STATE."""
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    its = await _its(connection, dispute_id, (disputing.OPENED,), "taken up", at)
    return await _move(connection, its, disputing.ACKNOWLEDGED, "taken up", actor, at)


async def ask(connection: AsyncConnection, dispute_id: int, *, note: str, actor: str, at: datetime) -> Dispute:
    """Ask the partner for more, on behalf of a FINANCE_MAKER. Rejects as `acknowledge`, CAUSE_MISSING."""
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    its = await _its(connection, dispute_id, (disputing.ACKNOWLEDGED,), note, at)
    return await _move(connection, its, disputing.INFO_REQUESTED, note, actor, at)


async def answer(
    connection: AsyncConnection, dispute_id: int, *, awarded_minor: int, note: str, actor: str, at: datetime
) -> Dispute:
    """Offer an amount, 0 to reject, on behalf of a FINANCE_CHECKER who had nothing to do with the dispute before; what
    was escalated is decided by it.

    Rejects as `acknowledge`, CAUSE_MISSING, DISPUTE_INVALID, FOUR_EYES_REQUIRED, PERIOD_LOCKED.
    """
    await register.permit(connection, actor, actors.FINANCE_CHECKER)
    its = await _its(connection, dispute_id, (disputing.ACKNOWLEDGED, disputing.ESCALATED), note, at)
    if actor in await dispute_store.actors_of(connection, dispute_id):
        raise FourEyesRequired("whoever took a step of the dispute, or spoke in it, before does not decide it")
    if not 0 <= awarded_minor <= its.amount_minor:
        raise DisputeInvalid(f"from nothing to {its.amount_minor} minor units can be given")
    if its.state == disputing.ESCALATED:
        return await _conclude(connection, its, disputing.ARBITRATED, awarded_minor, note, actor, at)
    if not awarded_minor:
        return await _move(connection, its, disputing.REJECTED, note, actor, at)
    return await _move(connection, its, disputing.PROPOSED, note, actor, at, awarded_minor=awarded_minor)


async def follow_up(connection: AsyncConnection, *, actor: str, at: datetime) -> list[Dispute]:
    """Let silence decide what it decides, on behalf of a FINANCE_MAKER: disputes that ended by it. What is withheld of
    a run that is not paid yet waits for it. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PERIOD_LOCKED."""
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    ended = [await let_silence_decide(connection, one, at=at) for one in await overdue(connection, at=at)]
    return [one for one in ended if one is not None]


async def overdue(connection: AsyncConnection, *, at: datetime) -> list[int]:
    """Numbers of disputes in which somebody was silent for too long by an instant, in order."""
    return [row.dispute_id for row in await dispute_store.overdue(connection, at)]


async def let_silence_decide(connection: AsyncConnection, dispute_id: int, *, at: datetime) -> Dispute | None:
    """What the silence in a dispute means; None where nobody was silent, or what is withheld waits for its run to be
    paid. Rejects DISPUTE_UNKNOWN, PERIOD_LOCKED."""
    await store.lock_runs(connection)
    its = await read(connection, dispute_id)
    if its.deadline is None or at < its.deadline or (its.mode == WITHHELD and its.run_state in _UNPAID):
        return None
    said = disputing.on_silence(its.state, amount_minor=its.amount_minor, offered_minor=its.awarded_minor)
    note = f"{said.silent.lower()} was silent"
    return await _conclude(connection, its, said.state, said.awarded_minor, note, SYSTEM, at, side=SILENCE)


async def drop(connection: AsyncConnection, run_id: int, *, actor: str, at: datetime) -> None:
    """Close what is disputed of a run that ends before anything is paid: its statements say nothing any more."""
    for its in await undecided(connection, run_id=run_id):
        if its.mode == WITHHELD:
            row = {"partner_id": its.partner_id, "currency": its.currency}
            source = f"dispute:{its.dispute_id}/dropped"
            await _book(connection, source, "DISPUTE_WITHHELD", row, -its.amount_minor, actor, at)
        why = "the run was taken back"
        await _move(connection, its, disputing.CLOSED, why, actor, at, awarded_minor=0, side=OPERATORS)


# --- Both -----------------------------------------------------------------------------------------------------


async def add_evidence(
    connection: AsyncConnection, dispute_id: int, *, partner_id: int | None, shown: Shown, actor: str, at: datetime
) -> None:
    """Note what speaks for a side: a file by its SHA-256, which stays with that side. partner_id is whose side it is,
    None the operator's, who then is a FINANCE_MAKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, DISPUTE_UNKNOWN, DISPUTE_STATE, DISPUTE_INVALID.
    """
    side = await _speaks(connection, dispute_id, partner_id, actor)
    if not 1 <= len(shown.name) <= disputing.LONGEST_NAME or len(shown.sha256) != 32:
        raise DisputeInvalid(f"evidence has a name of {disputing.LONGEST_NAME} characters at most and a SHA-256")
    if shown.media_type not in disputing.MEDIA_TYPES:
        raise DisputeInvalid(f"evidence is one of {', '.join(disputing.MEDIA_TYPES)}")
    if shown.size_bytes is None or not 1 <= shown.size_bytes <= disputing.LARGEST_EVIDENCE_BYTES:
        raise DisputeInvalid(f"evidence has 1 to {disputing.LARGEST_EVIDENCE_BYTES} bytes")
    had = [one for one in await dispute_store.evidence_of(connection, [dispute_id]) if one.side == side]
    if len(had) >= disputing.MOST_EVIDENCE:
        raise DisputeInvalid(f"a side has {disputing.MOST_EVIDENCE} pieces of evidence at most")
    row = {"dispute_id": dispute_id, "side": side, "actor": actor, "at": at, **asdict(shown)}
    await dispute_store.insert_evidence(connection, row)


async def say(
    connection: AsyncConnection, dispute_id: int, *, partner_id: int | None, note: str, actor: str, at: datetime
) -> None:
    """Say something that moves a dispute nowhere, for a side as in `add_evidence`. Rejects as that, CAUSE_MISSING."""
    register.check_cause(note)
    side = await _speaks(connection, dispute_id, partner_id, actor)
    said = [one for one in await dispute_store.notes_of(connection, [dispute_id]) if one.side == side]
    if len(note) > disputing.LONGEST_NOTE or len(said) >= disputing.MOST_NOTES:
        raise DisputeInvalid(f"{disputing.LONGEST_NOTE} characters at most, and {disputing.MOST_NOTES} times a side")
    row = {"dispute_id": dispute_id, "side": side, "note": note, "actor": actor, "at": at}
    await dispute_store.insert_note(connection, row)


async def _speaks(connection: AsyncConnection, dispute_id: int, partner_id: int | None, actor: str) -> str:
    """Which side speaks, of a dispute that is not over."""
    if partner_id is None:
        await register.permit(connection, actor, actors.FINANCE_MAKER)
    await store.lock_runs(connection)
    its = await read(connection, dispute_id, partner_id=partner_id)
    if its.deadline is None:
        raise DisputeState(f"dispute {dispute_id} is {its.state}")
    return OPERATORS if partner_id is None else PARTNER


async def currency_of(connection: AsyncConnection, statement_id: int, *, partner_id: int) -> str:
    """The currency of a partner's statement. Rejects DISPUTE_INVALID."""
    statement = await archive.statement(connection, statement_id, partner_id=partner_id)
    if statement is None:
        raise DisputeInvalid("there is no such line of this partner, or no such reason")
    return statement.currency


async def trail(connection: AsyncConnection, dispute_ids: Sequence[int]) -> dict[int, Trail]:
    """What sides did, said and showed in disputes, by dispute, each in order."""
    found = {number: Trail([], [], []) for number in dispute_ids}
    for row in await dispute_store.steps_of(connection, dispute_ids):
        side = row.side or disputing.side_of(row.from_state, row.to_state)
        found[row.dispute_id].steps.append(Step(row.to_state, side, row.note, row.awarded_minor, row.at))
    for row in await dispute_store.notes_of(connection, dispute_ids):
        found[row.dispute_id].notes.append(Said(row.side, row.note, row.at))
    for row in await dispute_store.evidence_of(connection, dispute_ids):
        shown = Shown(row.name, row.media_type, row.size_bytes, bytes(row.sha256))
        found[row.dispute_id].evidence.append(Evidence(row.side, shown, row.at))
    return found


async def read(connection: AsyncConnection, dispute_id: int, *, partner_id: int | None = None) -> Dispute:
    """One dispute; partner_id is whose it has to be, None may see every one. Rejects DISPUTE_UNKNOWN."""
    row = await dispute_store.one(connection, dispute_id)
    if row is None or partner_id not in (None, row.partner_id):
        raise DisputeUnknown("there is no such dispute")
    return Dispute(**row._mapping)


async def page(
    connection: AsyncConnection, *, partner_id: int | None = None, run_id: int | None = None,
    states: Sequence[str] | None = None, after: int = 0, limit: int = 1_000,
) -> list[Dispute]:  # fmt: skip
    """Disputes behind a number, in order: of a partner, of a run, in some states, as asked for."""
    rows = await dispute_store.page(
        connection, partner_id=partner_id, run_id=run_id, states=states, after=after, limit=limit
    )
    return [Dispute(**row._mapping) for row in rows]


async def undecided(
    connection: AsyncConnection, *, partner_id: int | None = None, run_id: int | None = None
) -> list[Dispute]:
    """Disputes in which somebody has something to say, in order: all of them, of a partner or of a run."""
    rows = await dispute_store.page(
        connection, partner_id=partner_id, run_id=run_id, states=[*disputing.DAYS], after=0, limit=None
    )
    return [Dispute(**row._mapping) for row in rows]


# --- What it is made of ---------------------------------------------------------------------------------------


async def _check_amount(
    connection: AsyncConnection, statement: Statement, line: Line, amount_minor: int, at: datetime
) -> None:
    terms = (await clearing.settlement_terms_at(connection, at=at)).get(statement.partner_id)
    issued = next((r for r in await store.reviews(connection, statement.run_id)
                   if r.statement_id == statement.statement_id), None)  # fmt: skip
    if terms is None or issued is None or issued.issued_at is None:
        raise DisputeInvalid("the statement was not issued")
    if at > issued.issued_at + timedelta(days=terms.dispute_days):
        raise DisputeTooLate(f"it could be disputed for {terms.dispute_days} days")
    already = await dispute_store.disputed(connection, statement.statement_id, line.line_no)
    if not max(1, terms.dispute_minimum_minor) <= amount_minor <= abs(line.amount_minor) - already:
        left = abs(line.amount_minor) - already
        raise DisputeInvalid(f"from {max(1, terms.dispute_minimum_minor)} to {left} minor units can be disputed")


async def _mode(connection: AsyncConnection, statement: Statement, amount_minor: int, at: datetime) -> str:
    """Withheld while the partner may still object and pays at least that much; otherwise paid first."""
    head = await archive.head(connection, statement.run_id)
    review = next(r for r in await store.reviews(connection, statement.run_id)
                  if r.statement_id == statement.statement_id)  # fmt: skip
    is_open = head.state == states.IN_REVIEW and review.accepted_at is None and at < review.review_ends_at
    held = await dispute_store.withheld(connection, statement.run_id, statement.partner_id)
    return WITHHELD if is_open and -statement.net_minor >= held + amount_minor else PAY_FIRST


async def _its(
    connection: AsyncConnection, dispute_id: int, wanted: tuple[str, ...], note: str, at: datetime, *,
    partner_id: int | None = None,
) -> Dispute:  # fmt: skip
    _check_note(note)
    await store.lock_runs(connection)
    its = await read(connection, dispute_id, partner_id=partner_id)
    if its.state not in wanted:
        raise DisputeState(f"dispute {dispute_id} is {its.state}")
    if its.deadline is not None and at >= its.deadline:
        raise DisputeState("its time is over: silence decides")
    return its


def _check_note(note: str) -> None:
    """Nothing where something was said, and not too much. Rejects CAUSE_MISSING, DISPUTE_INVALID."""
    register.check_cause(note)
    if len(note) > disputing.LONGEST_NOTE:
        raise DisputeInvalid(f"{disputing.LONGEST_NOTE} characters are said at most")


async def _move(
    connection: AsyncConnection, its: Dispute, wanted: str, note: str, actor: str, at: datetime, *,
    awarded_minor: int | None = None, side: str | None = None,
) -> Dispute:  # fmt: skip
    deadline = None if wanted in disputing.ENDS else await _deadline(connection, wanted, at)
    row = {
        "dispute_id": its.dispute_id, "from_state": its.state, "to_state": wanted, "deadline": deadline,
        "awarded_minor": awarded_minor, "actor": actor, "note": note, "at": at,
        "side": side or disputing.side_of(its.state, wanted),
    }  # fmt: skip
    await dispute_store.insert_step(connection, row)
    detail = {"was": its.state, "awarded_minor": awarded_minor}
    await audit.write(
        connection, actor=actor, action=f"DISPUTE_{wanted}", subject=f"dispute:{its.dispute_id}", detail=detail, at=at
    )
    return await read(connection, its.dispute_id)


async def _conclude(
    connection: AsyncConnection, its: Dispute, wanted: str, awarded_minor: int, note: str, actor: str, at: datetime,
    *, side: str | None = None,
) -> Dispute:  # fmt: skip
    """End a dispute: what is given was withheld and is borne, or is credited by the next statement; what was withheld
    and stands is charged by it."""
    if its.mode == WITHHELD and its.run_state in _UNPAID:
        raise DisputeState("what is withheld is decided once its run is paid")
    row = {"partner_id": its.partner_id, "currency": its.currency}
    stands = its.amount_minor - awarded_minor
    if its.mode == WITHHELD and awarded_minor:
        source = f"dispute:{its.dispute_id}/conceded"
        await _book(connection, source, "DISPUTE_CONCEDED", row, awarded_minor, actor, at)
    if its.mode == WITHHELD and stands:
        await _state(connection, its, corrections.DISPUTE_UPHELD, stands, note, actor, at)
    if its.mode == PAY_FIRST and awarded_minor:
        await _state(connection, its, corrections.PRICE_ADJUSTMENT, -awarded_minor, note, actor, at)
    return await _move(connection, its, wanted, note, actor, at, awarded_minor=awarded_minor, side=side)


async def _state(
    connection: AsyncConnection, its: Dispute, kind: str, amount_minor: int, note: str, actor: str, at: datetime
) -> None:
    await corrections.tell(
        connection, source=f"dispute:{its.dispute_id}", kind=kind, partner_id=its.partner_id, currency=its.currency,
        amount_micro=amount_minor * micro_per_minor(its.currency), reason=note, actor=actor, at=at,
    )  # fmt: skip


async def _book(
    connection: AsyncConnection, source: str, kind: str, row: dict[str, object], amount_minor: int, actor: str,
    at: datetime,
) -> None:  # fmt: skip
    currency, partner_id = str(row["currency"]), row["partner_id"]
    assert isinstance(partner_id, int)
    event = MoneyEvent(kind, partner_id, OPERATOR, currency, amount_minor * micro_per_minor(currency))
    await journal.post(connection, source=source, entries=entries.of_events([event]), at=at, actor=actor)


async def _deadline(connection: AsyncConnection, state: str, at: datetime) -> datetime:
    zone = (await programme.read(connection)).time_zone
    holidays = await register.holidays(connection)
    return calendars.review_end(at, disputing.DAYS[state], zone=zone, holidays=holidays)


async def withheld(connection: AsyncConnection, run_id: int, partner_id: int) -> int:
    """What a partner need not pay of a run because it disputes it; minor units."""
    return await dispute_store.withheld(connection, run_id, partner_id)
