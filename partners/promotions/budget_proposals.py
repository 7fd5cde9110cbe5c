"""More of a budget that a published release counts against: one person proposes it, it counts when another approves.

Without this whoever passed the gate before a launch could let more be given than was judged there. So a raise passes
the gate again: what may be owed at most with it has to be within cover. One that was proposed on a limit that was
changed since is proposed anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals
from kit.approvals import Approval, ProposalUnknown
from kit.errors import FieldProblem, Rejection
from partners.agreements import programme
from partners.promotions import budgets, launching, publishing, store
from partners.promotions.budgets import BudgetInForce, BudgetInvalid, FundingReused
from partners.promotions.launching import Cover
from partners.promotions.publishing import LaunchRefused

LIMIT, FUNDING = "BUDGET_LIMIT", "BUDGET_FUNDING"
KINDS = (LIMIT, FUNDING)


class RaiseOutdated(Rejection):
    """The budget's limit was changed since it was proposed to raise it: propose it again, on the limit of now."""

    code = "RAISE_OUTDATED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate finds of a raise, in minor units of the base currency: what covers obligations, as its maker says,
    what would be owed at most, and what stands against it."""

    cover_minor: int | None
    obligation_after_minor: int
    against: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """More of a budget, and what became of it: WAITING, APPROVED, DECLINED, WITHDRAWN.

    before and after are the ceiling as it was proposed on, and as it would be then, in the budget's unit. Of a payment
    there are payer_id and reference. What the gate finds of one that waits is asked for by its number (`gate`).
    """

    number: int
    kind: str
    code: str
    unit: str
    currency: str | None
    before: int
    after: int
    payer_id: int | None
    reference: str | None
    maker: str
    made_at: datetime
    state: str
    checker: str | None
    ended_at: datetime | None
    reason: str | None


async def set_limit(
    connection: AsyncConnection, code: str, ceiling: int, *, cover: Cover | None = None, actor: int, at: datetime
) -> int | None:
    """Change a budget's limit on behalf of a PROMOTION_MAKER: at once, None; where more would be used under a published
    release when another approves, the proposal's number. cover is what the gate asks of a raise of points.

    Rejects what `budgets.set_limit` rejects but BUDGET_IN_FORCE.
    """
    if cover is not None and min(cover.standing_minor, cover.cover_minor) < 0:
        raise BudgetInvalid("what is owed and what covers it are not negative")
    try:
        await budgets.set_limit(connection, code, ceiling, actor=actor, at=at)
        return None
    except BudgetInForce:
        row = await budgets.held(connection, code)
    detail = {
        "from": row["ceiling"], "to": ceiling, "change": await store.last_limit_no(connection, row["budget_id"]),
        "standing_minor": cover and cover.standing_minor, "cover_minor": cover and cover.cover_minor,
    }  # fmt: skip
    return await _propose(connection, LIMIT, code, detail, actor, at)


async def fund(
    connection: AsyncConnection,
    code: str,
    amount_minor: int,
    *,
    payer_id: int,
    reference: str,
    actor: int,
    at: datetime,
) -> int | None:
    """Record a payment into a budget of money, likewise. A reference that waits already is used.

    Rejects what `budgets.fund` rejects but BUDGET_IN_FORCE.
    """
    paid: dict[str, Any] = {"payer_id": payer_id, "reference": reference}
    try:
        await budgets.fund(connection, code, amount_minor, **paid, actor=actor, at=at)
        return None
    except BudgetInForce:
        row = await budgets.held(connection, code)
    for one in await approvals.waiting(connection, [FUNDING]):
        if (one.subject, one.detail["reference"]) == (budgets.subject_of(code), reference):
            raise FundingReused(f"proposal {one.approval_id} with this reference waits for a second person")
    detail = {"from": row["ceiling"], "to": row["ceiling"] + amount_minor, "amount": amount_minor, **paid}
    return await _propose(connection, FUNDING, code, detail, actor, at)


async def approve(
    connection: AsyncConnection,
    number: int,
    *,
    checker: int,
    at: datetime,
    in_spite: bool = False,
    reason: str | None = None,
) -> None:
    """Let what another proposed count from now on, on behalf of a PROMOTION_CHECKER.

    in_spite: also where its gate finds something against it now; the trail says so. Rejects BUDGET_INVALID for a reason
    that is too long, what `approvals.examine` rejects, PROPOSAL_UNKNOWN for another kind, RAISE_OUTDATED,
    LAUNCH_REFUSED.
    """
    found = await _examined(connection, number, checker, reason)
    row = await budgets.held(connection, _code(found))
    against = await _against(connection, found, row)
    if against and not in_spite:
        raise LaunchRefused("more of this budget does not pass the gate before a launch", problems=against)
    await _decide(connection, number, checker, at, approved=True, reason=reason)
    trace: dict[str, Any] = {"actor": checker, "at": at, "approval_id": number}
    said = found.detail
    if found.kind == LIMIT:
        await budgets.write_limit(connection, row, said["to"], **trace, in_spite=bool(against))
    else:
        await budgets.write_funding(
            connection, row, said["amount"], payer_id=said["payer_id"], reference=said["reference"], **trace
        )


async def decline(
    connection: AsyncConnection, number: int, *, checker: int, at: datetime, reason: str | None = None
) -> None:
    """Refuse what another proposed, on behalf of a PROMOTION_CHECKER; the budget stays as it is.

    Rejects BUDGET_INVALID for a reason that is too long, what `approvals.examine` rejects, PROPOSAL_UNKNOWN.
    """
    found = await _examined(connection, number, checker, reason)
    await _decide(connection, number, checker, at, approved=False, reason=reason)
    await budgets.note(connection, f"{found.kind}_DECLINED", _code(found), checker, at, {"proposal": number})


async def withdraw(connection: AsyncConnection, number: int, *, maker: int, at: datetime) -> None:
    """Take a proposal of one's own back. Rejects what `approvals.withdraw` rejects."""
    await _read(connection, number)
    found = await approvals.withdraw(connection, number, maker=maker, at=at)
    await budgets.note(connection, f"{found.kind}_WITHDRAWN", _code(found), maker, at, {"proposal": number})


async def read(connection: AsyncConnection, number: int) -> Proposal:
    """A proposal, whatever became of it. Rejects PROPOSAL_UNKNOWN."""
    return (await _proposals(connection, [await _read(connection, number)]))[0]


async def gate(connection: AsyncConnection, number: int) -> Gate | None:
    """What the gate finds now of a raise of points that waits; None of anything else. Rejects PROPOSAL_UNKNOWN.

    It counts for how many something of the budget was used, which takes long where they are millions: it is asked of
    one that somebody looks at, never of a list.
    """
    found = await _read(connection, number)
    if found.state != approvals.WAITING:
        return None
    (row,) = await store.budgets(connection, [_code(found)])
    return await _gate(connection, found, row)


async def waiting(connection: AsyncConnection) -> list[Proposal]:
    """What waits for a second person, the oldest first."""
    return await _proposals(connection, await approvals.waiting(connection, KINDS))


async def about(
    connection: AsyncConnection, code: str, *, limit: int, behind: tuple[bool, int] | None = None
) -> list[Proposal]:
    """What was proposed about a budget: what waits, then what was decided or withdrawn, the latest first.

    behind: only what comes after one of them, whether it waited and its number.
    """
    found = await approvals.about(connection, KINDS, budgets.subject_of(code), limit=limit, behind=behind)
    return await _proposals(connection, found)


async def _propose(
    connection: AsyncConnection, kind: str, code: str, detail: Mapping[str, Any], maker: int, at: datetime
) -> int:
    subject = budgets.subject_of(code)
    number = await approvals.propose(connection, kind=kind, subject=subject, detail=detail, maker=maker, at=at)
    await budgets.note(connection, f"{kind}_PROPOSED", code, maker, at, {"proposal": number, **detail})
    return number


async def _read(connection: AsyncConnection, number: int) -> Approval:
    found = await approvals.read(connection, number)
    if found.kind not in KINDS:
        raise ProposalUnknown(f"proposal {number} is about no budget")
    return found


async def _examined(connection: AsyncConnection, number: int, checker: int, reason: str | None) -> Approval:
    """The proposal, which this checker may decide, held with what is published."""
    if reason is not None and not 1 <= len(reason) <= approvals.LONGEST_REASON:
        raise BudgetInvalid(f"a reason has 1 to {approvals.LONGEST_REASON} characters")
    await _read(connection, number)
    await publishing.hold(connection)
    return await approvals.examine(connection, number, checker=checker, role=actors.PROMOTION_CHECKER)


async def _decide(
    connection: AsyncConnection, number: int, checker: int, at: datetime, *, approved: bool, reason: str | None
) -> None:
    await approvals.decide(
        connection, number, checker=checker, role=actors.PROMOTION_CHECKER, approved=approved, at=at, reason=reason
    )


async def _against(connection: AsyncConnection, found: Approval, row: RowMapping) -> tuple[FieldProblem, ...]:
    """What stands against a proposal about a budget that is held. Rejects RAISE_OUTDATED."""
    if found.kind == FUNDING:
        return ()
    if await store.last_limit_no(connection, row["budget_id"]) != found.detail["change"]:
        raise RaiseOutdated(f"it was {found.detail['from']} when a raise was proposed; since then it was changed")
    gate = await _gate(connection, found, row)
    return () if gate is None else gate.against


async def _gate(connection: AsyncConnection, found: Approval, row: RowMapping) -> Gate | None:
    """What the gate finds of a raise of points: so much more in one period, for as many as used something of it.

    A payment is owed by nobody, and what one time gives is not the budget's to know.
    """
    if found.kind == FUNDING or row["unit"] != "points":
        return None
    said, rules = found.detail, await programme.read(connection)
    points = (said["to"] - said["from"]) * max(await store.count_scopes(connection, row["budget_id"]), 1)
    more = launching.worth_minor(points, rules.point_value_micro[rules.base_currency], rules.base_currency)
    cover = None if said["cover_minor"] is None else Cover(said["standing_minor"], said["cover_minor"])
    return Gate(said["cover_minor"], *launching.examine_raise(more, cover))


async def _proposals(connection: AsyncConnection, found: list[Approval]) -> list[Proposal]:
    names = await actors.names_of(
        connection, [one.maker_id for one in found] + [one.checker_id for one in found if one.checker_id]
    )
    rows = {row["code"]: row for row in await store.budgets(connection, [_code(one) for one in found])}
    return [_proposal(one, rows[_code(one)], names) for one in found]


def _proposal(found: Approval, row: RowMapping, names: Mapping[int, str]) -> Proposal:
    said = found.detail
    return Proposal(
        found.approval_id, found.kind, row["code"], row["unit"], row["currency"], said["from"], said["to"],
        said.get("payer_id"), said.get("reference"), names[found.maker_id], found.made_at, found.state,
        None if found.checker_id is None else names[found.checker_id], found.ended_at, found.reason,
    )  # fmt: skip


def _code(found: Approval) -> str:
    return found.subject.removeprefix("budget:")
