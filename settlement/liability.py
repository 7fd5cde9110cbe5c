"""What the operator owes members at face, at any past instant: told from lots and agreements, not from runs."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import cutoffs, history
from partners.clearing import clearing
from settlement import rating
from settlement.archive import Obligation
from settlement.money import stock


async def obligation_at(connection: AsyncConnection, *, at: datetime) -> list[Obligation]:
    """The obligation at face at an instant (UTC), per funder and agreement version: points that members could spend or
    had set aside, times what of their fund part was billed by then, in micro-units.

    Pending points are not in it; points that are paid for at use are, at nothing. Where the instant is that of a cut,
    and all is settled, it is what the runs carry forward. Reads every posting up to then. Raises Unrated for an
    agreement version that is missing.
    """
    owned: defaultdict[tuple[int, int], int] = defaultdict(int)
    for one in await history.outstanding_at(connection, at=at):
        if one.active and not rating.is_unpriced(one.funder_id, one.terms_id):
            owned[one.funder_id, one.terms_id] += one.active
    terms = await clearing.agreed_terms(connection, {terms_id for _, terms_id in owned})
    begun = [c.cutoff_id for c in await cutoffs.cutoffs(connection) if c.opened_at is None or c.opened_at < at]
    stocks = await stock.as_of(connection, max(begun, default=0))
    return [
        Obligation(funder_id, terms_id, terms[terms_id].currency, points, points * price)
        for (funder_id, terms_id), points in sorted(owned.items())
        for price in [rating.billed_fund_micro(funder_id, terms_id, terms, stocks)]
    ]
