"""Corrections: money that a later run states and books, because of something that was wrong before.

Nothing that was issued is edited. A correction is told once, stated by one run, and stated by another where that run
ends before anything is paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.reconciliation import correction_store

PRICE_ADJUSTMENT, DISPUTE_UPHELD, RECEIPT_CREDITED = "PRICE_ADJUSTMENT", "DISPUTE_UPHELD", "RECEIPT_CREDITED"


@dataclass(frozen=True, slots=True)
class Correction:
    """Money that no run states yet; above zero the partner pays, micro-units."""

    correction_id: int
    source: str
    kind: str
    partner_id: int
    currency: str
    amount_micro: int
    reason: str
    at: datetime


async def tell(
    connection: AsyncConnection, *, source: str, kind: str, partner_id: int, currency: str, amount_micro: int,
    reason: str, actor: str, at: datetime,
) -> bool:  # fmt: skip
    """Have the next run of a currency state an amount; False where it was told before. Who may is the caller's rule.

    amount_micro is not zero, and above zero where the partner pays.
    """
    row = {
        "source": source, "kind": kind, "partner_id": partner_id, "currency": currency, "amount_micro": amount_micro,
        "reason": reason, "actor": actor, "at": at,
    }  # fmt: skip
    return await correction_store.insert(connection, row) is not None


async def stated_by(connection: AsyncConnection, run_id: int, currency: str) -> list[MoneyEvent]:
    """What a run that is being calculated states of corrections, from now on its own: summed by partner and kind."""
    await correction_store.claim(connection, run_id, currency)
    return [
        MoneyEvent(row.kind, row.partner_id, OPERATOR, row.currency, row.amount_micro, count=row.facts)
        for row in await correction_store.of_run(connection, run_id)
        if row.amount_micro
    ]


async def unstated(connection: AsyncConnection) -> list[Correction]:
    """Corrections that no run states yet."""
    return [Correction(**row._mapping) for row in await correction_store.unstated(connection)]
