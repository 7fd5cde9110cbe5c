"""What goes out with a run: statements with their time to object, numbered documents, and its own bookings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.agreements import programme
from settlement import calendars, charges, statements, store
from settlement.archive import RunHead
from settlement.calculation import Decision, Material
from settlement.charges import Brought
from settlement.documents import drawing, register
from settlement.money import entries, journal
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.statements import Draft, Line


async def issue(
    connection: AsyncConnection, its: RunHead, material: Material, decision: Decision, *, actor: str, at: datetime
) -> None:
    """Write what goes out with a run that is controlled. Rejects PERIOD_LOCKED."""
    await _statements(connection, its, decision.drafts, material.windows, material.brought, at)
    for draft in decision.drafts:
        if draft.party_id != OPERATOR:
            await _documents(connection, its, draft, material.brought.get(draft.party_id, charges.NOTHING), at)
    if booked := entries.of_events([*_unbooked(material), *_events(decision.drafts)]):
        await journal.post(
            connection, source=f"run:{its.run_id}", entries=booked, at=at, actor=actor, run_id=its.run_id
        )


async def take_back(connection: AsyncConnection, its: RunHead, *, actor: str, at: datetime) -> None:
    """Take back what went out with a run that ends: each document by another, its bookings by others.

    Rejects PERIOD_LOCKED.
    """
    await register.take_back(connection, its.run_id, at=at)
    booked = await journal.booking_of(connection, f"run:{its.run_id}")
    if booked is not None:
        back = [entries.reversed_of(e) for e in await journal.entries_of(connection, booked.booking_id)]
        await journal.post(
            connection, source=f"run:{its.run_id}/aborted", entries=back, at=at, actor=actor, run_id=its.run_id
        )


async def _statements(
    connection: AsyncConnection, its: RunHead, drafts: Sequence[Draft], windows: Sequence[str],
    brought: Mapping[int, Brought], at: datetime,
) -> None:  # fmt: skip
    numbers = await store.statement_ids(connection, its.run_id)
    zone = (await programme.read(connection)).time_zone
    holidays = frozenset(row.day for row in await store.holidays(connection))
    rows = []
    for draft in drafts:
        days = brought.get(draft.party_id, charges.NOTHING).conditions.review_days if draft.party_id else 0
        rows.append(
            {
                "statement_id": numbers[draft.party_id],
                "issued_at": at,
                "review_ends_at": calendars.review_end(at, days, zone=zone, holidays=holidays),
                "content_hash": statements.content_hash(draft, windows),
            }
        )
    await store.insert_issued(connection, rows)


async def _documents(connection: AsyncConnection, its: RunHead, draft: Draft, brought: Brought, at: datetime) -> None:
    supplies = (statements.supply(line) for line in draft.lines)
    drawn = drawing.draw(draft.party_id, supplies, brought.conditions.tax)
    await register.issue(
        connection, run_id=its.run_id, partner_id=draft.party_id, currency=its.currency, drafts=drawn,
        is_netted=brought.conditions.is_netted, at=at,
    )  # fmt: skip


def _unbooked(material: Material) -> list[MoneyEvent]:
    """Money events that nobody has booked: what a cut-off is booked with, the run only states."""
    return [event for event in material.events if event.cutoff_id is None]


def _events(drafts: Sequence[Draft]) -> list[MoneyEvent]:
    """What the run alone decided, as money events: rounding, tax, what is retained and let go."""
    return [
        event
        for draft in drafts
        if draft.party_id != OPERATOR
        for line in draft.lines
        if (event := _run_event(draft, line)) is not None
    ]


def _run_event(draft: Draft, line: Line) -> MoneyEvent | None:
    if line.kind in (charges.OUTPUT_TAX, charges.HOLDBACK):  # said from the side of who pays
        payer, payee = (draft.party_id, OPERATOR) if line.kind == charges.OUTPUT_TAX else (OPERATOR, draft.party_id)
        return MoneyEvent(line.kind, payer, payee, draft.currency, -line.amount_micro)
    if line.kind in (charges.INPUT_TAX, charges.HOLDBACK_RELEASED, charges.ROUNDING) and line.amount_micro:
        return MoneyEvent(line.kind, OPERATOR, draft.party_id, draft.currency, line.amount_micro)
    return None
