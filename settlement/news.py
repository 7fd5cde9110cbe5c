"""News of settlement for partners: statements that were issued, disputes that were answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement import news_store
from settlement.reconciliation import disputing


@dataclass(frozen=True, slots=True)
class Issued:
    """A partner's statement that went out: its net in minor units, and until when the partner may object."""

    statement_id: int
    run_id: int
    partner_id: int
    currency: str
    net_minor: int
    issued_at: datetime
    review_ends_at: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """A step of a dispute that the partner did not take: the operator did, or silence (side). awarded_minor is what is
    offered or given; deadline is until when the partner may say something, None where the dispute is over."""

    dispute_id: int
    step_no: int
    statement_id: int
    line_no: int
    partner_id: int
    currency: str
    state: str
    side: str
    awarded_minor: int | None
    deadline: datetime | None
    at: datetime


async def issued(connection: AsyncConnection, *, since: datetime) -> list[Issued]:
    """Statements that were issued to partners since a business instant."""
    return [Issued(**row._mapping) for row in await news_store.issued(connection, since)]


async def answered(connection: AsyncConnection, *, since: datetime) -> list[Answered]:
    """What partners were answered in disputes since a business instant."""
    found = []
    for row in await news_store.dispute_steps(connection, since):
        side = row.side or disputing.side_of(row.from_state, row.to_state)
        if side != disputing.PARTNER:
            found.append(
                Answered(
                    row.dispute_id,
                    row.step_no,
                    row.statement_id,
                    row.line_no,
                    row.partner_id,
                    row.currency,
                    row.to_state,
                    side,
                    row.awarded_minor,
                    row.deadline,
                    row.at,
                )
            )
    return found
