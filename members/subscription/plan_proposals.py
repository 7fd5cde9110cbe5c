"""Plans and prices that one person drafts and another approves. What is approved counts as it was drafted; a price from
the day that it says, for whoever subscribes from then on: who has a price keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval, ProposalUnknown
from members.subscription import plan_store, plans
from members.subscription.periods import Interval
from members.subscription.plans import PlanDraft, PriceDraft

PLAN, PRICE = "PLAN", "PLAN_PRICE"
KINDS = (PLAN, PRICE)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What waits for a second person: a plan, or a version of a price."""

    number: int
    maker: str
    made_at: datetime
    draft: PlanDraft | PriceDraft


@dataclass(frozen=True, slots=True)
class PricePreview:
    """What a version of a price would do: what of it is tax, what holds until then (None: nothing), how many
    subscriptions that have not ended are at an earlier version and keep it, minor units."""

    net_minor: int
    tax_minor: int
    before_minor: int | None
    keep: int


async def propose_plan(connection: AsyncConnection, draft: PlanDraft, *, actor: str, at: datetime) -> int:
    """Draft a plan on behalf of a PROMOTION_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_INVALID.
    """
    maker = await plans.permit(connection, actor)
    await plans.check_plan(connection, draft)
    detail = {**asdict(draft), "names": dict(draft.names), "benefits": list(draft.benefits)}
    return await approvals.propose(
        connection, kind=PLAN, subject=f"plan:{draft.code}", detail=detail, maker=maker, at=at
    )


async def propose_price(connection: AsyncConnection, draft: PriceDraft, *, actor: str, at: datetime) -> int:
    """Draft the next version of a price on behalf of a PROMOTION_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_UNKNOWN, PLAN_INVALID.
    """
    maker = await plans.permit(connection, actor)
    await plans.check_price(connection, draft, at=at)
    detail = {**asdict(draft), "valid_from": draft.valid_from.isoformat()}
    return await approvals.propose(
        connection, kind=PRICE, subject=f"plan:{draft.plan}", detail=detail, maker=maker, at=at
    )


async def preview_price(connection: AsyncConnection, draft: PriceDraft, *, at: datetime) -> PricePreview:
    """What a version of a price would do; writes nothing. Rejects PLAN_UNKNOWN, PLAN_INVALID."""
    its = await plans.check_price(connection, draft, at=at)
    tax = await plans.tax(connection, draft.tax_code, at=draft.valid_from)
    tax_minor = tax.within(draft.amount_minor)
    held = [
        row.amount_minor
        for row in await plan_store.prices_at(connection, draft.valid_from)
        if (row.plan_id, row.currency, row.interval) == (its.plan_id, draft.currency, draft.interval)
    ]
    keep = await plan_store.count_at_price(connection, its.plan_id, draft.currency, draft.interval)
    return PricePreview(draft.amount_minor - tax_minor, tax_minor, held[0] if held else None, keep)


async def waiting(connection: AsyncConnection) -> list[Proposal]:
    """What waits for a second person, the oldest first."""
    found = await approvals.waiting(connection, KINDS)
    names = await actors.names_of(connection, [one.maker_id for one in found])
    return [Proposal(one.approval_id, names[one.maker_id], one.made_at, _draft(one.kind, one.detail)) for one in found]


async def decide(connection: AsyncConnection, number: int, *, approved: bool, actor: str, at: datetime) -> Approval:
    """Approve what another drafted, which counts then, or decline it; on behalf of a PROMOTION_CHECKER.

    Rejects PROPOSAL_UNKNOWN, what kit.approvals.decide rejects, and PLAN_INVALID where it can no longer be: the code is
    taken meanwhile, or the price's day is past.
    """
    checker = await actors.by_name(connection, actor)
    found = await approvals.examine(connection, number, checker=checker, role=actors.PROMOTION_CHECKER)
    if found.kind not in KINDS:
        raise ProposalUnknown(f"proposal {number} is no plan and no price")
    await approvals.decide(connection, number, checker=checker, role=actors.PROMOTION_CHECKER, approved=approved, at=at)
    if not approved:
        await audit.write(
            connection, actor=actor, action=f"{found.kind}_DECLINED", subject=found.subject, detail={}, at=at
        )
        return found
    draft = _draft(found.kind, found.detail)
    if isinstance(draft, PlanDraft):
        await plans.write_plan(connection, draft, actor=actor, at=at)
    else:
        await plans.write_price(connection, draft, actor=actor, at=at)
    return found


def _draft(kind: str, said: Mapping[str, Any]) -> PlanDraft | PriceDraft:
    if kind == PLAN:
        return PlanDraft(**{**said, "benefits": tuple(said["benefits"])})
    valid_from = datetime.fromisoformat(said["valid_from"])
    return PriceDraft(**{**said, "interval": cast(Interval, said["interval"]), "valid_from": valid_from})
