"""Budgets near their end, for those who pay for them: of those that count in all, what is used of the present period.

What is read here may be a moment old: it warns, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.amounts import BASIS
from kit.database import Database
from partners.promotions import counter_store, store
from partners.promotions.budgets import Budget, budget_of
from partners.promotions.evaluation import period_of

NEAR_BP = (8_000, 10_000)
"""How much of a budget is used when its sponsor is told, in basis points."""


@dataclass(frozen=True, slots=True)
class BudgetEnd:
    """A budget of which so much is used as a threshold says; used and ceiling in its unit (points, times, minor units).
    period is empty where it counts for ever, and `rolling:30` of one that counts over any days in a row."""

    code: str
    sponsor_id: int
    unit: str
    currency: str | None
    period: str
    used: int
    ceiling: int
    threshold_bp: int


async def near(database: Database, sponsor_ids: Collection[int], *, at: datetime) -> list[BudgetEnd]:
    """Budgets of some sponsors near their end at a business instant, by code; the highest threshold of each."""
    async with database.reading() as connection:
        found = {budget.document.code: budget for budget in await _common(connection, sponsor_ids)}
    keys = [(code, "", _period(budget, at)) for code, budget in found.items()]
    ends = []
    for row in await counter_store.remaining(database.pool, keys):
        budget = found[row["code"]]
        used = budget.ceiling - row["remaining"]
        reached = [bp for bp in NEAR_BP if used * BASIS >= budget.ceiling * bp]
        if reached:
            period = budget.document.period if budget.document.rolling_days else row["period"]
            ends.append(
                BudgetEnd(
                    row["code"],
                    budget.sponsor_id,
                    budget.document.unit,
                    budget.currency,
                    period,
                    used,
                    budget.ceiling,
                    reached[-1],
                )
            )
    return ends


async def _common(connection: AsyncConnection, sponsor_ids: Collection[int]) -> list[Budget]:
    every = [budget_of(row) for row in await store.budgets(connection)]
    return [
        budget for budget in every if budget.sponsor_id in sponsor_ids and budget.ceiling and not budget.document.scopes
    ]


def _period(budget: Budget, at: datetime) -> str:
    return period_of(budget.document, at.astimezone(ZoneInfo(budget.document.zone)).date().isoformat())
