"""Settlement runs: windows that are balanced and not yet settled become statements, payments and obligation, once.

A run is of one currency and goes its way in steps, each a transaction of its caller's: drafted (its windows are
claimed), calculated, controlled, issued and in review, approved. A step is done wholly or not at all, and doing it
again after it was done changes nothing. Nothing is edited: a run that is wrong is aborted before anything is paid, and
what was wrong otherwise is put right by postings in a later cut-off.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.database import Database
from kit.errors import Rejection
from ledger import cutoffs
from ledger.cutoffs import Cutoff
from settlement import agreed, archive, calculation, certificate, controls, issuing, statements, states, store
from settlement.archive import Run, RunHead, Step
from settlement.calculation import Decision
from settlement.money import cutoffs as money_cutoffs
from settlement.rating import OPERATOR
from settlement.reconciliation import disputes
from settlement.statements import Draft
from settlement.states import APPROVED, CALCULATED, CONTROLLED, DRAFT, IN_REVIEW, STATEMENTS_ISSUED, RunState
from settlement.windows import cycle, positions, shares
from settlement.windows.cycle import Window, WindowBroken, WindowUnread

APPROVAL = "SETTLEMENT_RUN"


class _Schedule(str):
    """The clock as an actor. It is told apart from a person of the same name by what it is, not by its name."""

    __slots__ = ()


SCHEDULE = _Schedule(cycle.SYSTEM)
"""Who closes cut-offs and makes runs when their time has come; it neither issues nor approves."""
_DAY = timedelta(days=1)


class NothingToSettle(Rejection):
    """Every closed cut-off is settled already."""

    code = "NOTHING_TO_SETTLE"
    retryable = True


class ControlFailed(Rejection):
    """A control found something: the run stays calculated until it is aborted or what is wrong is put right."""

    code = "CONTROL_FAILED"
    retryable = True


class ReviewOpen(Rejection):
    """A partner may still object to its statement, and has not accepted it."""

    code = "REVIEW_OPEN"
    retryable = True


class RunHasSuccessor(Rejection):
    """A later run of the currency begins where this one ended: that one has to go first."""

    code = "RUN_HAS_SUCCESSOR"
    retryable = True


class ReasonMissing(Rejection):
    """What is taken back says why."""

    code = "REASON_MISSING"
    retryable = False


class StatementUnknown(Rejection):
    """There is no such statement, it was not issued, or it is another partner's."""

    code = "STATEMENT_UNKNOWN"
    retryable = False


@dataclass(frozen=True, slots=True)
class Review:
    """A partner's time to object to a statement: until when, and when it accepted it, if it did."""

    statement_id: int
    partner_id: int
    issued_at: datetime | None
    review_ends_at: datetime | None
    content_hash: bytes | None
    accepted_at: datetime | None

    def is_over(self, at: datetime) -> bool:
        """Whether nothing is to be waited for at an instant: silence until the end is acceptance."""
        return self.accepted_at is not None or self.review_ends_at is None or self.review_ends_at <= at


# --- A run from its windows to its approval -------------------------------------------------------------------


async def close_cutoff(
    database: Database, *, actor: str, at: datetime, progress: Callable[[int], None] | None = None
) -> Cutoff:
    """Close the open cut-off on behalf of a FINANCE_MAKER, see ledger.cutoffs.close, and balance its windows.

    Takes the database, because closing takes several transactions. Where somebody's old transaction keeps what was
    recorded from being read, the windows stay CUT, and whoever settles balances them. Rejects: ACTOR_UNKNOWN,
    NOT_PERMITTED, CUTOFF_OUT_OF_ORDER.
    """
    async with database.transaction() as connection:
        await _permit(connection, actor, actors.FINANCE_MAKER)
    closed = await cutoffs.close(database, at=at, progress=progress)
    await cycle.wait_until_read(database, closed.cutoff_id, at=at, actor=actor)
    async with database.transaction() as connection:
        await book_cutoffs(connection, actor=actor)
        await _trail(
            connection, actor, "CUTOFF_CLOSED", f"cutoff:{closed.cutoff_id}", {"postings": closed.posting_count}, at
        )
    return closed


async def settle(
    connection: AsyncConnection, *, actor: str, at: datetime, through_cutoff: int | None = None
) -> list[Run]:
    """Settle every closed cut-off that no run has settled, up to one if named, on behalf of a FINANCE_MAKER.

    One run for each currency, by name, from its draft to the review of its statements, in the caller's transaction;
    one that was begun before goes on from where it stands. Of two at once one settles and the other finds nothing.
    Raises statements.Imbalance or rating.Unrated where something is wrong with the programme itself. Rejects:
    ACTOR_UNKNOWN, NOT_PERMITTED, NOTHING_TO_SETTLE, WINDOW_UNREAD, WINDOW_BROKEN, CONTROL_FAILED.
    """
    begun = await begin(connection, actor=actor, at=at, through_cutoff=through_cutoff)
    for run_id in begun:
        for step in (calculate, control, issue):
            await step(connection, run_id, actor=actor, at=at)
    return [await archive.run(connection, run_id) for run_id in begun]


async def begin(
    connection: AsyncConnection, *, actor: str, at: datetime, through_cutoff: int | None = None,
    currencies: Collection[str] | None = None,
) -> list[int]:  # fmt: skip
    """Draft a run for every currency, or for those named, with windows that are balanced and not claimed; numbers of
    the runs.

    Where a run of the currency has been begun and is not issued yet, it is that one. Rejects: ACTOR_UNKNOWN,
    NOT_PERMITTED, NOTHING_TO_SETTLE, WINDOW_UNREAD, WINDOW_BROKEN.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    await store.lock_runs(connection)
    await cycle.bring_to_date(connection, at=at, actor=actor)
    await book_cutoffs(connection, actor=actor)
    wanted = (await _free_windows(connection, through_cutoff)).items()
    free = {currency: own for currency, own in wanted if currencies is None or currency in currencies}
    begun = {
        r.currency: r.run_id
        for r in await archive.runs(connection)
        if r.state in UNFINISHED and (currencies is None or r.currency in currencies)
    }
    for currency in sorted(free.keys() - begun.keys()):
        begun[currency] = await _draft(connection, free[currency], actor=actor, at=at)
    if not begun:
        raise NothingToSettle("every closed cut-off is settled already; close one first")
    return [begun[currency] for currency in sorted(begun)]


async def book_cutoffs(connection: AsyncConnection, *, actor: str) -> int:
    """Book every cut-off that is balanced and not booked, in order, from what was added up of it; how many.

    Rejects PERIOD_LOCKED. Raises rating.Unrated.
    """
    due = await store.unbooked_cutoff_ids(connection)
    for cutoff_id in due:
        groups = shares.groups(await positions.moved(connection, [cutoff_id]))
        await money_cutoffs.book(connection, cutoff_id, actor=actor, groups=groups)
    return len(due)


async def calculate(connection: AsyncConnection, run_id: int, *, actor: str, at: datetime) -> RunHead:
    """Rate, draw and net what is in the windows of a drafted run, on behalf of a FINANCE_MAKER.

    Said again of a run that was calculated it writes nothing. Raises as `settle`. Rejects: ACTOR_UNKNOWN,
    NOT_PERMITTED, RUN_UNKNOWN, RUN_STATE.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    its = await _locked(connection, run_id)
    if its.state != DRAFT:
        return _done(its, CALCULATED)
    own = await cycle.windows(connection, run_id=run_id)
    found = await agreed.of_run(connection, its, own)
    material = await archive.material_of(connection, own, found)
    decision = calculation.decide(material)
    await _write(connection, run_id, decision)
    await _step(
        connection, its, CALCULATED, actor=actor, reason="calculated", at=at,
        input_hash=calculation.input_hash(material), output_hash=calculation.output_hash(decision),
        evidence={**calculation.frozen(found), "windows": list(material.windows)},
    )  # fmt: skip
    return await archive.head(connection, run_id)


async def control(
    connection: AsyncConnection, run_id: int, *, actor: str, at: datetime, evidence: Mapping[str, Any] | None = None
) -> RunHead:
    """Hold a calculated run against every control and a second engine, on behalf of a FINANCE_MAKER.

    The certificate of the second engine and evidence, what else speaks for the run, are kept with the step. Rejects:
    ACTOR_UNKNOWN, NOT_PERMITTED, RUN_UNKNOWN, RUN_STATE, CONTROL_FAILED.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    its = await _locked(connection, run_id)
    if its.state != CALCULATED:
        return _done(its, CONTROLLED)
    if found := await controls.run(connection):
        first = "; ".join(f"{v.code} {v.detail}" for v in found[:3])
        raise ControlFailed(f"{len(found)} violations, of which: {first}")
    certified = await certificate.certify(connection, run_id)
    if not certified.holds:
        first = "; ".join(certified.differences[:3])
        raise ControlFailed(f"the second engine finds {len(certified.differences)} differences, of which: {first}")
    said = {
        "controls": [c.code for c in controls.CONTROLS], **(evidence or {}), "certificate": certified.evidence(),
    }  # fmt: skip
    await _step(connection, its, CONTROLLED, actor=actor, reason="every control holds", at=at, evidence=said)
    return await archive.head(connection, run_id)


async def issue(connection: AsyncConnection, run_id: int, *, actor: str, at: datetime) -> RunHead:
    """Issue the statements and documents of a controlled run, book what only the run decided, and open the review.

    On behalf of a FINANCE_MAKER, who thereby proposes the run: somebody else has to approve it. What is issued is what
    was calculated, or nothing is. Raises statements.Imbalance where it is not. Rejects: ACTOR_UNKNOWN, NOT_PERMITTED,
    RUN_UNKNOWN, RUN_STATE, PERIOD_LOCKED.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    its = await _locked(connection, run_id)
    if its.state != CONTROLLED:
        return _done(its, STATEMENTS_ISSUED)
    material = await archive.material(connection, run_id)
    assert material is not None, "only runs that were settled before runs had steps kept no material"
    decision = calculation.decide(material)
    await _check_same(connection, its, decision)
    await issuing.issue(connection, its, material, decision, actor=actor, at=at)
    await _step(connection, its, STATEMENTS_ISSUED, actor=actor, reason="statements and documents issued", at=at)
    await _trail(connection, actor, STATEMENTS_ISSUED, f"run:{run_id}", {"statements": len(decision.drafts)}, at)
    proposal = await _propose(connection, its, actor, at)
    its = await archive.head(connection, run_id)
    await _step(
        connection, its, IN_REVIEW, actor=actor, reason="partners may object", at=at, evidence={"approval_id": proposal}
    )
    return await archive.head(connection, run_id)


async def accept(connection: AsyncConnection, statement_id: int, *, partner_id: int, actor: str, at: datetime) -> None:
    """Note that a partner accepts its statement before its time to object is over. Again changes nothing.

    actor is who says so for the partner. Rejects: STATEMENT_UNKNOWN.
    """
    found = await archive.statement(connection, statement_id, partner_id=partner_id)
    if found is None or found.partner_id == OPERATOR:
        raise StatementUnknown(f"there is no statement {statement_id} of this partner")
    if await store.insert_acceptance(connection, statement_id=statement_id, actor=actor, at=at):
        await _trail(connection, actor, "STATEMENT_ACCEPTED", f"statement:{statement_id}", {}, at)


async def reviews(connection: AsyncConnection, run_id: int) -> list[Review]:
    """Where the review of a run stands, by partner."""
    return [Review(**row._mapping) for row in await store.reviews(connection, run_id)]


async def approve(connection: AsyncConnection, run_id: int, *, actor: str, at: datetime) -> RunHead:
    """Approve a run whose partners have accepted or kept silent, on behalf of a FINANCE_CHECKER who did not make it.

    Rejects: ACTOR_UNKNOWN, NOT_PERMITTED, RUN_UNKNOWN, RUN_STATE, REVIEW_OPEN, FOUR_EYES_REQUIRED, ROLE_SELF_GRANTED.
    """
    checker = await _permit(connection, actor, actors.FINANCE_CHECKER)
    its = await _locked(connection, run_id)
    states.check_run(its.name, its.state, APPROVED)
    found = await reviews(connection, run_id)
    if waiting := [r for r in found if not r.is_over(at)]:
        until = max(r.review_ends_at for r in waiting if r.review_ends_at is not None)
        raise ReviewOpen(f"{len(waiting)} partners may object until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    approval_id = await _proposal(connection, its, at)
    await approvals.decide(connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=True, at=at)
    silent = [r.partner_id for r in found if r.accepted_at is None]
    said = {"approval_id": approval_id, "silent": silent}
    await _step(connection, its, APPROVED, actor=actor, reason="approved by a second person", at=at, evidence=said)
    await _trail(connection, actor, "RUN_APPROVED", f"run:{run_id}", said, at)
    return await archive.head(connection, run_id)


async def abort(connection: AsyncConnection, run_id: int, *, actor: str, reason: str, at: datetime) -> RunHead:
    """End a run before anything of it is paid; its windows may be settled by another.

    Before its statements are issued by any FINANCE_MAKER; afterwards by a FINANCE_CHECKER who did not make it, and then
    its documents are taken back by others and its bookings reversed. Rejects: ACTOR_UNKNOWN, NOT_PERMITTED,
    RUN_UNKNOWN, RUN_STATE, RUN_HAS_SUCCESSOR, REASON_MISSING, FOUR_EYES_REQUIRED, ROLE_SELF_GRANTED, PERIOD_LOCKED.
    """
    return await _end(connection, run_id, states.ABORTED, actor=actor, reason=reason, at=at)


async def supersede(connection: AsyncConnection, run_id: int, *, actor: str, reason: str, at: datetime) -> int:
    """Draft a new version of a run whose statements nobody has seen, on behalf of a FINANCE_MAKER; its number.

    Rejects: as `abort`; RUN_STATE once the statements are issued.
    """
    its = await _end(connection, run_id, states.SUPERSEDED, actor=actor, reason=reason, at=at)
    own = await cycle.windows(connection, run_id=run_id)
    return await _draft(connection, own, actor=actor, at=at, version_of=its)


async def declare_holiday(connection: AsyncConnection, *, day: date, name: str, actor: str, at: datetime) -> None:
    """Declare a day on which nobody works, on behalf of a FINANCE_MAKER; reviews that were opened keep their end.

    Rejects: ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    await _permit(connection, actor, actors.FINANCE_MAKER)
    if await store.insert_holiday(connection, day=day, name=name, actor=actor, at=at):
        await _trail(connection, actor, "HOLIDAY_DECLARED", f"day:{day}", {"name": name}, at)


async def holidays(connection: AsyncConnection) -> list[tuple[date, str]]:
    """The days that were declared, in order, and what each is called."""
    return [(row.day, row.name) for row in await store.holidays(connection)]


async def require_maker(connection: AsyncConnection, actor: str) -> None:
    """Nothing where somebody is a FINANCE_MAKER. Rejects ACTOR_UNKNOWN, NOT_PERMITTED."""
    await _permit(connection, actor, actors.FINANCE_MAKER)


def certified(steps: Sequence[Step]) -> Step | None:
    """The step of a run at which the second engine agreed, with its certificate; None before."""
    found = (s for s in steps if s.to_state == CONTROLLED and "certificate" in s.evidence)
    return next(found, None)


def certificate_status(steps: Sequence[Step]) -> str:
    """Where a run's certificate stands: NONE, or CLEAN where two engines agreed. One that differs is never kept: the
    run stays calculated."""
    return "NONE" if certified(steps) is None else "CLEAN"


# --- What the steps are made of -------------------------------------------------------------------------------

UNFINISHED = (DRAFT, CALCULATED, CONTROLLED)


async def _permit(connection: AsyncConnection, actor: str, role: str) -> int:
    if isinstance(actor, _Schedule) and role == actors.FINANCE_MAKER:
        return 0
    actor_id = await actors.by_name(connection, actor)
    await actors.require_role(connection, actor_id, role)
    return actor_id


async def _trail(
    connection: AsyncConnection, actor: str, action: str, subject: str, detail: Mapping[str, Any], at: datetime
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=subject, detail=detail, at=at)


async def _locked(connection: AsyncConnection, run_id: int) -> RunHead:
    await store.lock_runs(connection)
    return await archive.head(connection, run_id)


def _done(its: RunHead, wanted: str) -> RunHead:
    """The run where the step was done before. Rejects RUN_STATE where it is not on its way beyond it."""
    passed = (DRAFT, CALCULATED, CONTROLLED, STATEMENTS_ISSUED, IN_REVIEW, *sorted(states.ISSUED))
    if its.state in states.GONE or passed.index(its.state) < passed.index(wanted):
        raise RunState(f"run {its.name} is {its.state}: it cannot become {wanted} from there")
    return its


async def _step(
    connection: AsyncConnection, its: RunHead, wanted: str, *, actor: str, reason: str, at: datetime,
    input_hash: bytes | None = None, output_hash: bytes | None = None, evidence: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    states.check_run(its.name, its.state, wanted)
    row = {
        "run_id": its.run_id, "from_state": its.state, "to_state": wanted, "actor": actor, "reason": reason, "at": at,
        "input_hash": input_hash, "output_hash": output_hash, "evidence": json.dumps(evidence or {}),
    }  # fmt: skip
    await store.insert_run_step(connection, row)


async def _free_windows(connection: AsyncConnection, through_cutoff: int | None) -> dict[str, list[Window]]:
    """Windows that a run may claim, by currency. Rejects WINDOW_UNREAD, WINDOW_BROKEN where one stands in the way."""
    wanted = [states.CUT, states.BROKEN, states.BALANCED]
    found: dict[str, list[Window]] = defaultdict(list)
    for window in await cycle.windows(connection, states=wanted):
        if through_cutoff is not None and window.cutoff_id > through_cutoff:
            continue
        if window.state == states.BROKEN:
            raise WindowBroken(f"window {window.name} is broken: what was added up is not what was counted at the cut")
        if window.state == states.CUT:
            raise WindowUnread(f"a transaction from before the cut keeps window {window.name} from being read")
        found[window.currency].append(window)
    return dict(found)


async def _draft(
    connection: AsyncConnection, own: Sequence[Window], *, actor: str, at: datetime, version_of: RunHead | None = None
) -> int:
    last = max(own, key=lambda w: (w.cutoff_id, w.origin_cutoff))
    before = [r for r in await archive.runs(connection, currency=last.currency) if r.state not in states.GONE]
    row = {
        "actor": actor, "at": at, "model": last.model, "currency": last.currency, "through_cutoff": last.cutoff_id,
        "opened_at": own[0].opened_at, "cut_at": last.cut_at, "window": last.name,
        "previous_run_id": before[0].run_id if before else None,
    }  # fmt: skip
    run_id = await store.insert_run(connection, row)
    await store.insert_run_windows(connection, run_id, [w.window_id for w in own])
    reason = "drafted" if version_of is None else f"drafted in place of {version_of.name}"
    step = {"run_id": run_id, "from_state": None, "to_state": DRAFT, "actor": actor, "reason": reason, "at": at}
    await store.insert_run_step(connection, step | {"input_hash": None, "output_hash": None, "evidence": "{}"})
    await cycle.claim(connection, own, run_id=run_id, actor=actor, at=at)
    detail = {"through_cutoff": last.cutoff_id, "windows": len(own)}
    await _trail(connection, actor, "RUN_DRAFTED", f"run:{run_id}", detail, at)
    return run_id


async def _write(connection: AsyncConnection, run_id: int, decision: Decision) -> None:
    await store.insert_clearing_groups(connection, [{"run_id": run_id, **asdict(g)} for g in decision.groups])
    for draft in decision.drafts:
        await _write_statement(connection, run_id, draft)
    await store.insert_instructions(connection, [{"run_id": run_id, **asdict(p)} for p in decision.payments])
    await store.insert_movements(connection, [{"run_id": run_id, **asdict(m)} for m in decision.movements])


async def _write_statement(connection: AsyncConnection, run_id: int, draft: Draft) -> None:
    row = {
        "run_id": run_id,
        "partner_id": draft.party_id,
        "currency": draft.currency,
        "opening_micro": draft.opening_micro,
        "opening_minor": draft.opening_minor,
        "net_micro": draft.net_micro,
        "net_minor": draft.net_minor,
    }
    statement_id = await store.insert_statement(connection, row)
    await store.insert_lines(connection, [{"statement_id": statement_id, **asdict(n)} for n in draft.lines])


async def _check_same(connection: AsyncConnection, its: RunHead, decision: Decision) -> None:
    [calculated] = [s for s in await archive.trail(connection, its.run_id) if s.to_state == CALCULATED]
    written = tuple(s.draft() for s in (await archive.run(connection, its.run_id)).statements)
    if calculation.output_hash(decision) != calculated.output_hash or written != decision.drafts:
        raise statements.Imbalance(f"run {its.name} comes to something else than it was calculated with")


async def _propose(connection: AsyncConnection, its: RunHead, actor: str, at: datetime) -> int:
    maker = await actors.by_name(connection, actor)
    detail = {"run": its.name, "currency": its.currency}
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"run:{its.run_id}", detail=detail, maker=maker, at=at
    )


async def _proposal(connection: AsyncConnection, its: RunHead, at: datetime) -> int:
    """The number of what the run's maker proposed; what was settled before runs were approved is proposed now."""
    for step in await archive.trail(connection, its.run_id):
        if step.to_state == IN_REVIEW and "approval_id" in step.evidence:
            return int(step.evidence["approval_id"])
    return await _propose(connection, its, its.actor, at)


async def _end(
    connection: AsyncConnection, run_id: int, wanted: str, *, actor: str, reason: str, at: datetime
) -> RunHead:
    its = await archive.head(connection, run_id)
    is_issued = its.state in states.ISSUED
    acting = await _permit(connection, actor, actors.FINANCE_CHECKER if is_issued else actors.FINANCE_MAKER)
    its = await _locked(connection, run_id)
    if (its.state in states.ISSUED) != is_issued:
        raise RunState(f"run {its.name} has just become {its.state}")
    states.check_run(its.name, its.state, wanted)
    if not reason.strip():
        raise ReasonMissing("say why the run is to end")
    later = [r for r in await archive.runs(connection, currency=its.currency) if r.previous_run_id == run_id]
    if any(r.state not in states.GONE for r in later):
        raise RunHasSuccessor(f"run {later[0].name} begins where {its.name} ended")
    if is_issued:
        await _take_back(connection, its, checker=acting, actor=actor, at=at)
        await disputes.drop(connection, run_id, actor=actor, at=at)
    await _step(connection, its, wanted, actor=actor, reason=reason, at=at)
    await cycle.release(connection, run_id, actor=actor, reason=reason, at=at)
    await _trail(connection, actor, f"RUN_{wanted}", f"run:{run_id}", {"reason": reason, "was": its.state}, at)
    return await archive.head(connection, run_id)


async def _take_back(connection: AsyncConnection, its: RunHead, *, checker: int, actor: str, at: datetime) -> None:
    if its.state == APPROVED:  # what was approved is proposed once more, to be declined
        approval_id = await _propose(connection, its, await _maker(connection, its), at)
    else:
        approval_id = await _proposal(connection, its, at)
    await approvals.decide(connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=False, at=at)
    await issuing.take_back(connection, its, actor=actor, at=at)


async def _maker(connection: AsyncConnection, its: RunHead) -> str:
    return next(
        (s.actor for s in await archive.trail(connection, its.run_id) if s.to_state == STATEMENTS_ISSUED), its.actor
    )
