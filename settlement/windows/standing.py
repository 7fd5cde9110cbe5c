"""Where partners stand: what each would receive or pay if everything that is not settled were settled now, or had been
at an instant in the past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.clearing import clearing
from settlement import rating
from settlement.money import stock
from settlement.windows import positions, shares, store
from settlement.windows.shares import Moved


@dataclass(frozen=True, slots=True)
class Position:
    """What a partner receives (positive) or pays (negative) in a currency for what no run has settled, micro-units.

    carried_micro was carried over by its last run, moved_micro has moved since.
    """

    partner_id: int
    currency: str
    carried_micro: int
    moved_micro: int


async def now(connection: AsyncConnection) -> list[Position]:
    """Every partner's position, as far as what was recorded is added up. Reads sums, no postings."""
    unsettled = {currency: await store.unsettled_cutoffs(connection, currency) for currency in await _known(connection)}
    moved = await positions.moved(connection, sorted({n for numbers in unsettled.values() for n in numbers}))
    return await _positions(connection, moved, unsettled, None)


async def as_of(connection: AsyncConnection, *, at: datetime) -> list[Position]:
    """Every partner's position at a past instant, as it was known then: nothing that was recorded later changes it.

    Cut-offs that were cut by then count whole, of the one that was open what was recorded by then. Reads every posting
    that was unsettled.
    """
    unsettled = {
        currency: await store.unsettled_cutoffs_at(connection, currency, at) for currency in await _known(connection)
    }
    numbers = sorted({n for found in unsettled.values() for n in found})
    return await _positions(connection, await positions.recounted(connection, numbers, at=at), unsettled, at)


async def _known(connection: AsyncConnection) -> list[str]:
    return await clearing.currencies(connection)


async def _positions(
    connection: AsyncConnection, moved: Sequence[Moved], unsettled: Mapping[str, Iterable[int]], at: datetime | None
) -> list[Position]:
    terms = await clearing.agreed_terms(connection, shares.terms_ids(moved))
    sums: dict[tuple[int, str], int] = defaultdict(int)
    for cutoff_id in sorted({one.cutoff_id for one in moved}):
        groups = shares.groups(one for one in moved if one.cutoff_id == cutoff_id)
        for line in rating.rate(groups, terms, await stock.as_of(connection, cutoff_id)):
            if cutoff_id in unsettled.get(line.currency, ()):
                sums[line.party_id, line.currency] += line.amount_micro
    carried = {(row.partner_id, row.currency): row.carried_micro for row in await store.carried_at(connection, at)}
    return [
        Position(party, currency, carried.get((party, currency), 0), sums.get((party, currency), 0))
        for party, currency in sorted(sums.keys() | carried.keys())
        if carried.get((party, currency)) or sums.get((party, currency))
    ]
