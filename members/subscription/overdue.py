"""What is owed and not paid yet, as finance looks at it: since when it is in which step, what it waits for, when it is
tried again and when it is over, and which letters were written about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription import overdue_store
from members.subscription.providers import MANUAL
from members.subscription.subscriptions import ARREARS

Step = Literal["FIRST_PAYMENT", "CHANGE", "PRESENT", "GRACE", "ON_HOLD"]
WaitsFor = Literal["CHARGE", "PROVIDER", "MEANS", "MONEY"]
STEPS: tuple[Step, ...] = ("FIRST_PAYMENT", "CHANGE", "PRESENT", "GRACE", "ON_HOLD")


@dataclass(frozen=True, slots=True)
class Overdue:
    """An open invoice, minor units. It waits for its next CHARGE, for what the PROVIDER says of an order, for another
    MEANS of payment, or for MONEY that somebody sends; tries are the charges that were ordered."""

    holder_id: int
    subscription_no: int
    invoice_no: int
    reference: str
    plan: str
    currency: str
    gross_minor: int
    provider: str
    is_test: bool
    due_at: datetime
    step: Step
    since: datetime
    waits_for: WaitsFor
    tries: int
    last_outcome: str | None
    next_try_at: datetime | None
    over_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """A letter about an invoice: RENEWAL before it was issued, then UNPAID, ON_HOLD, ENDED. accepted_at is the proof
    that it was given to be sent; outcome what became of that (None: it is still tried) by the wall's clock. message_id
    None: the member told no address, or wants no letters."""

    invoice_no: int
    kind: str
    message_id: UUID | None
    at: datetime
    outcome: str | None
    outcome_at: datetime | None


async def page(
    connection: AsyncConnection,
    *,
    step: Step | None,
    currency: str | None,
    after: int,
    limit: int,
    at: datetime,
) -> list[Overdue]:
    """What is owed at an instant, the oldest invoice first, behind a number; of a step and a currency where they are
    named."""
    held_since = at - timedelta(days=ARREARS.grace_days)
    rows = await overdue_store.page(
        connection,
        {"step": step, "currency": currency, "after": after, "limit": limit, "at": at, "held_since": held_since},
    )
    return [_overdue(row, at) for row in rows]


async def sums(connection: AsyncConnection, *, at: datetime) -> list[tuple[str, str, int, int]]:
    """What is at stake at an instant: currency, step, how many invoices, minor units."""
    held_since = at - timedelta(days=ARREARS.grace_days)
    rows = await overdue_store.sums(connection, {"at": at, "held_since": held_since})
    return [(row.currency, row.step, row.invoices, row.gross_minor) for row in rows]


async def notices(connection: AsyncConnection, invoice_nos: Sequence[int]) -> dict[int, list[Notice]]:
    """The letters that were written about invoices, the earliest first, by invoice."""
    found: dict[int, list[Notice]] = defaultdict(list)
    for row in await overdue_store.notices(connection, invoice_nos) if invoice_nos else ():
        found[row.invoice_no].append(Notice(**row._mapping))
    return found


def _overdue(row: Row[tuple[object, ...]], at: datetime) -> Overdue:
    since = row.due_at + timedelta(days=ARREARS.grace_days) if row.step == "ON_HOLD" else row.due_at
    return Overdue(
        row.holder_id, row.subscription_no, row.invoice_no, row.reference, row.plan, row.currency, row.gross_minor,
        row.provider, row.is_test, row.due_at, row.step, since, _waits_for(row), row.tries, row.last_outcome,
        row.ask_at or row.charge_at, row.over_at,
    )  # fmt: skip


def _waits_for(row: Row[tuple[object, ...]]) -> WaitsFor:
    if row.ask_at is not None or (row.tries and row.last_outcome is None):
        return "PROVIDER"
    if row.charge_at is not None:
        return "CHARGE"
    return "MEANS" if row.provider != MANUAL.name else "MONEY"
