"""A partner that does not pay: what covers it is taken in the order of the rules, each step an entry of the books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import micro_per_minor
from kit.errors import Rejection
from partners.clearing import clearing
from settlement import archive, states
from settlement.exposure import caps, limits, store
from settlement.exposure.caps import COLLATERAL, HOLDBACK, OPERATORS, PREFUNDING, Draw
from settlement.money import entries, journal
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR

APPROVAL = "PARTNER_DEFAULT"
_EVENTS = {
    PREFUNDING: "DEPOSIT_USED", COLLATERAL: "DEPOSIT_USED", HOLDBACK: "HOLDBACK_USED", OPERATORS: "DEFAULT_LOSS",
}  # fmt: skip
_OWES = (states.APPROVED, states.INSTRUCTED, states.SETTLING)


class NothingOwed(Rejection):
    """The partner owes nothing for this run, or all that it owed was covered."""

    code = "NOTHING_OWED"
    retryable = True


class DefaultTooEarly(Rejection):
    """What is taken for a default comes after the latest run of the currency, so that no statement changes by it."""

    code = "DEFAULT_TOO_EARLY"
    retryable = True


@dataclass(frozen=True, slots=True)
class Step:
    """What one source gave for a partner that did not pay; minor units."""

    partner_id: int
    currency: str
    step_no: int
    source: str
    amount_minor: int
    actor: str
    at: datetime


async def propose(connection: AsyncConnection, run_id: int, partner_id: int, *, maker: str, at: datetime) -> int:
    """Propose to cover what a partner did not pay for a run, on behalf of a FINANCE_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, RUN_UNKNOWN, RUN_STATE, NOTHING_OWED.
    """
    maker_id = await actors.by_name(connection, maker)
    await actors.require_role(connection, maker_id, actors.FINANCE_MAKER)
    owed = await _owed(connection, run_id, partner_id)
    detail = {"run": run_id, "partner": partner_id, "owed_minor": owed}
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"run:{run_id} partner:{partner_id}", detail=detail, maker=maker_id, at=at
    )


async def cover(connection: AsyncConnection, approval_id: int, *, checker: str, at: datetime) -> list[Step]:
    """Cover what was proposed, on behalf of a FINANCE_CHECKER who did not propose it: prefunding, holdback, collateral,
    the operator's own money. Each step is an entry.

    Rejects what kit.approvals.decide rejects, RUN_STATE, NOTHING_OWED, DEFAULT_TOO_EARLY, PERIOD_LOCKED.
    """
    checker_id = await actors.by_name(connection, checker)
    proposal = await approvals.examine(connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER)
    if proposal.kind != APPROVAL:
        raise approvals.ProposalUnknown(f"proposal {approval_id} is about something else: {proposal.subject}")
    run_id, partner_id = proposal.detail["run"], proposal.detail["partner"]
    owed = await _owed(connection, run_id, partner_id)
    head = await archive.head(connection, run_id)
    latest = await store.latest_calculated_at(connection, head.currency)
    if latest is not None and at < latest:
        raise DefaultTooEarly(f"the latest run in {head.currency} is of {latest.isoformat()}")
    await approvals.decide(
        connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER, approved=True, at=at
    )
    draws = await _draws(connection, partner_id, head.currency, owed, at)
    await _book(connection, head, partner_id, draws, actor=checker, approval_id=approval_id, at=at)
    return [s for s in await steps(connection, run_id) if s.partner_id == partner_id]


async def steps(connection: AsyncConnection, run_id: int) -> list[Step]:
    """What was taken for partners that did not pay for a run."""
    return [Step(**row._mapping) for row in await store.default_steps(connection, run_id)]


async def _owed(connection: AsyncConnection, run_id: int, partner_id: int) -> int:
    head = await archive.head(connection, run_id)
    if head.state not in _OWES:
        raise states.RunState(f"run {head.name} is {head.state}: nobody has to have paid for it")
    owed = await store.pay_in(connection, run_id, partner_id)
    if owed <= 0:
        raise NothingOwed(f"partner {partner_id} owes nothing for run {head.name}")
    return owed


async def _draws(
    connection: AsyncConnection, partner_id: int, currency: str, owed_minor: int, at: datetime
) -> list[Draw]:
    per_minor = micro_per_minor(currency)
    deposited, retained = await limits.cover_of(connection, partner_id, currency)
    signed = (await clearing.settlement_terms_at(connection, at=at)).get(partner_id)
    prefunding = min(deposited, signed.prefunding_micro) if signed is not None else 0
    return caps.waterfall(
        owed_minor,
        prefunding_minor=max(0, prefunding // per_minor),
        holdback_minor=max(0, retained // per_minor),
        collateral_minor=max(0, (deposited - prefunding) // per_minor),
    )


async def _book(
    connection: AsyncConnection, head: archive.RunHead, partner_id: int, draws: Sequence[Draw], *,
    actor: str, approval_id: int, at: datetime,
) -> None:  # fmt: skip
    per_minor = micro_per_minor(head.currency)
    booked = [
        MoneyEvent(_EVENTS[d.source], partner_id, OPERATOR, head.currency, d.amount_minor * per_minor) for d in draws
    ]
    await journal.post(
        connection, source=f"default:{head.run_id}/{partner_id}", entries=entries.of_events(booked), at=at,
        actor=actor, run_id=head.run_id,
    )  # fmt: skip
    rows = [
        {"run_id": head.run_id, "partner_id": partner_id, "currency": head.currency, "step_no": n, "source": d.source,
         "amount_minor": d.amount_minor, "actor": actor, "approval_id": approval_id, "at": at}
        for n, d in enumerate(draws, start=1)
    ]  # fmt: skip
    await store.insert_default_steps(connection, rows)
    detail = {"partner": partner_id, "steps": [[d.source, d.amount_minor] for d in draws]}
    await audit.write(
        connection, actor=actor, action="DEFAULT_COVERED", subject=f"run:{head.run_id}", detail=detail, at=at
    )
