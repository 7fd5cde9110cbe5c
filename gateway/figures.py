"""The coalition's state in sums, for whoever may look from outside: no person and no single receipt is in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import figure_store


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts, and the points that members own: what can be spent, what still waits, what is held."""

    name: str
    base_currency: str
    partners: int
    members: int
    receipts: int
    last_business_date: date | None
    available: int
    pending: int
    held: int


async def figures(connection: AsyncConnection) -> Figures | None:
    """The coalition as it stands; None before a programme is founded."""
    row = await figure_store.coalition_figures(connection)
    return None if row is None else Figures(**row._mapping)
