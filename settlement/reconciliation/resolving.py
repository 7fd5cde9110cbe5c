"""How a break ends: accepted as it is, posted as a correction, written off, or said to be the same line after all.

What gives money takes two people, but for what one may write off in a month. The money goes by the partner's next
statement, never by one that was issued.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals
from kit.amounts import micro_per_minor
from kit.approvals import Approval
from kit.errors import Rejection
from kit.instants import add_months
from partners.agreements import programme
from settlement.reconciliation import corrections, file_store, intake, register
from settlement.reconciliation.matching import RULES_VERSION
from settlement.reconciliation.register import Break, BreakState, Side

APPROVAL = "BREAK"
_MOVING = (register.POST, register.WRITE_OFF)
MOST_TOGETHER = 12  # breaks that are said to be one thing


class NothingToGive(Rejection):
    """The break is about no money between the partner and us: accept it, or correct what is behind it."""

    code = "NOTHING_TO_GIVE"
    retryable = False


class NoCounterpart(Rejection):
    """What was named has not one line on one side and some on the other, so they cannot be said to be the same."""

    code = "NO_COUNTERPART"
    retryable = False


async def accept(connection: AsyncConnection, break_id: int, *, cause: str, actor: str, at: datetime) -> Break:
    """Leave a break as it is, on behalf of a FINANCE_MAKER: nothing moves.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    register.check_cause(cause)
    await register.close(connection, break_id, register.ACCEPT, reason=cause, actor=actor, at=at)
    return await register.read(connection, break_id)


async def match(
    connection: AsyncConnection, break_ids: Sequence[int], *, cause: str, actor: str, at: datetime
) -> list[Break]:
    """Say that the lines of one break, or of several, are the same thing, on behalf of a FINANCE_MAKER: one line on a
    side and one or more on the other, whose points sum to it. They are matched by hand.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING, NO_COUNTERPART.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    register.check_cause(cause)
    found = [await register.locked(connection, one) for one in sorted(set(break_ids))]
    sides = [side for its in found for side in await register.sides(connection, its.break_id)]
    ours, theirs = [[s for s in sides if s.side == name] for name in ("OURS", "THEIRS")]
    if not ours or not theirs or min(len(ours), len(theirs)) > 1 or len(found) > MOST_TOGETHER:
        raise NoCounterpart(f"there are {len(ours)} lines of ours and {len(theirs)} of theirs")
    if len({(its.partner_id, its.currency) for its in found}) > 1 or len({side.file_id for side in theirs}) > 1:
        raise NoCounterpart("they are of different partners, currencies or files")
    if sum(its.points for its in found):
        raise NoCounterpart("points have no tolerance: lines with different points are not the same")
    for its in found:
        await register.close(connection, its.break_id, register.MATCHED, reason=cause, actor=actor, at=at)
    said = {"stage": "MANUAL", "rules_version": RULES_VERSION, "actor": actor, "at": at}
    await file_store.insert_matches(connection, [{**row, **said} for row in _together(ours, theirs)])
    return [await register.read(connection, its.break_id) for its in found]


async def undo_match(
    connection: AsyncConnection, break_id: int, *, cause: str, actor: str, at: datetime
) -> list[Break]:
    """Take back that the lines of a break are the same thing, on behalf of a FINANCE_CHECKER who did not say so: every
    break of that match is open again.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING, FOUR_EYES_REQUIRED.
    """
    await register.permit(connection, actor, actors.FINANCE_CHECKER)
    register.check_cause(cause)
    its = await register.locked(connection, break_id)
    steps = await register.trail(connection, break_id)
    said = next((step for step in reversed(steps) if step.to_state == register.RESOLVED), None)
    if its.is_unresolved or said is None or said.resolution != register.MATCHED or its.leg != "FILE":
        raise BreakState(f"break {break_id} was not matched by hand")
    if said.actor == actor:
        raise approvals.FourEyesRequired("who said that they are the same does not take it back")
    of = await file_store.undo_matches(connection, break_id, actor=actor, cause=cause, at=at)
    opened = []
    for one in of:
        about = await register.locked(connection, one)
        ends = [step.resolution for step in await register.trail(connection, one) if step.resolution]
        # A line may have been missing before, and money given for that: what ended otherwise stays ended.
        if not about.is_unresolved and ends[-1] == register.MATCHED:
            opened.append(await register.open_again(connection, about, cause=cause, actor=actor, at=at))
    return opened


async def post(connection: AsyncConnection, break_id: int, *, cause: str, actor: str, at: datetime) -> int:
    """Propose to correct what a break is about in the partner's next statement, on behalf of a FINANCE_MAKER; the
    proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING, NOTHING_TO_GIVE.
    """
    maker = await register.permit(connection, actor, actors.FINANCE_MAKER)
    its = await _about_money(connection, break_id, cause)
    return await _propose(connection, its, register.POST, cause, maker, at)


async def write_off(connection: AsyncConnection, break_id: int, *, cause: str, actor: str, at: datetime) -> int | None:
    """Give up what a break is about, on behalf of a FINANCE_MAKER: at once where the month's budget for the partner
    has room (None), otherwise a second person decides and this is the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BREAK_UNKNOWN, BREAK_STATE, CAUSE_MISSING, NOTHING_TO_GIVE.
    """
    maker = await register.permit(connection, actor, actors.FINANCE_MAKER)
    its = await _about_money(connection, break_id, cause)
    if not await has_room(connection, its.partner_id or 0, its.currency or "", its.value_micro, at=at):
        return await _propose(connection, its, register.WRITE_OFF, cause, maker, at)
    await _give(connection, its, register.WRITE_OFF, cause, actor, at, None)
    return None


async def decide(connection: AsyncConnection, approval_id: int, *, approved: bool, actor: str, at: datetime) -> Break:
    """Decide what another proposed about a break, on behalf of a FINANCE_CHECKER.

    Rejects what kit.approvals.decide rejects, ACTOR_UNKNOWN, BREAK_STATE.
    """
    checker = await actors.by_name(connection, actor)
    proposal = await approvals.examine(connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER)
    if proposal.kind != APPROVAL:
        raise approvals.ProposalUnknown(f"proposal {approval_id} is about something else: {proposal.subject}")
    await approvals.decide(
        connection, approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    its = await register.locked(connection, proposal.detail["break"])
    if approved:
        if not its.is_unresolved:
            raise BreakState(f"break {its.break_id} is {its.state}")
        said: dict[str, Any] = dict(proposal.detail)
        await _give(connection, its, said["resolution"], said["cause"], actor, at, approval_id)
    return await register.read(connection, its.break_id)


async def waiting(connection: AsyncConnection) -> list[Approval]:
    """What was proposed about breaks and is not decided."""
    return await approvals.waiting(connection, [APPROVAL])


async def has_room(
    connection: AsyncConnection, partner_id: int, currency: str, value_micro: int, *, at: datetime
) -> bool:
    """Whether one person may write a value off of a partner in the month of an instant, in the programme's zone; both
    signs count. Writers of one partner wait for each other."""
    await file_store.lock_partner(connection, partner_id)
    rule = await intake.rule_of(connection, partner_id)
    zone = ZoneInfo((await programme.read(connection)).time_zone)
    since = at.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    used = await register.written_off(connection, partner_id, since=since, until=add_months(since, 1))
    return used + abs(value_micro) <= rule.write_off_minor * micro_per_minor(currency)


def _together(ours: Sequence[Side], theirs: Sequence[Side]) -> list[dict[str, Any]]:
    """Rows of one match. Each line stands once; where there are several they share the first one's number."""
    group = min(side.line_no or 0 for side in theirs) if len(ours) + len(theirs) > 2 else None
    rows = []
    for n in range(max(len(ours), len(theirs))):
        mine, yours = ours[n] if n < len(ours) else None, theirs[n] if n < len(theirs) else None
        row: dict[str, Any] = {"file_id": theirs[0].file_id, "line_no": yours.line_no if yours else None}
        row |= {name: getattr(mine, name) if mine else None for name in ("holder_id", "unit", "seq", "kind")}
        rows.append(row | {"group_line": group})
    return rows


async def _about_money(connection: AsyncConnection, break_id: int, cause: str) -> Break:
    register.check_cause(cause)
    its = await register.locked(connection, break_id)
    if not its.is_unresolved:
        raise BreakState(f"break {break_id} is {its.state}")
    if its.leg != "FILE" or not its.value_micro or its.partner_id is None:
        raise NothingToGive(f"break {break_id} is about no money of a statement")
    return its


async def _propose(
    connection: AsyncConnection, its: Break, resolution: str, cause: str, maker: int, at: datetime
) -> int:
    detail = {"break": its.break_id, "resolution": resolution, "value_micro": its.value_micro, "cause": cause}
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"break:{its.break_id}", detail=detail, maker=maker, at=at
    )


async def _give(
    connection: AsyncConnection, its: Break, resolution: str, cause: str, actor: str, at: datetime,
    approval_id: int | None,
) -> None:  # fmt: skip
    """Resolve a break by giving the partner what it is about: the other side of what we say more than they do."""
    assert resolution in _MOVING
    assert its.partner_id is not None
    await register.close(
        connection, its.break_id, resolution, reason=cause, actor=actor, at=at, approval_id=approval_id,
        value_micro=-its.value_micro,
    )  # fmt: skip
    await corrections.tell(
        connection, source=f"break:{its.break_id}", kind=corrections.PRICE_ADJUSTMENT, partner_id=its.partner_id,
        currency=its.currency or "", amount_micro=-its.value_micro, reason=cause, actor=actor, at=at,
    )  # fmt: skip
