"""What a partner's next statement is likely to say: when its cut-off closes by the schedule, where it stands now."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.agreements import programme
from partners.clearing import clearing
from settlement import cycles
from settlement.windows import standing


@dataclass(frozen=True, slots=True)
class Outlook:
    """A partner in a currency. closes_at: when what moves until then is cut, if a person does not close it before;
    carried_micro was carried over by its last run, moved_micro has moved since and no run has settled it. Positive is
    received, negative paid: an estimate, for fees and taxes of a run are reckoned with the run."""

    currency: str
    closes_at: datetime
    carried_micro: int
    moved_micro: int

    @property
    def expected_micro(self) -> int:
        """What it would be if everything closed now, micro-units."""
        return self.carried_micro + self.moved_micro


async def of_partner(connection: AsyncConnection, partner_id: int, *, at: datetime) -> list[Outlook]:
    """What a partner with an agreement in force may expect, by currency; nothing for one without.

    Of one currency everybody is settled together, by the shortest cycle among its agreements. Reads sums, as far as
    what was recorded is added up.
    """
    agreed = await clearing.settlement_terms_at(connection, at=at)
    own = agreed.get(partner_id)
    positions = [one for one in await standing.now(connection) if one.partner_id == partner_id]
    by_currency: dict[str, set[str]] = defaultdict(set)
    for terms in agreed.values():
        by_currency[terms.currency].add(terms.cycle)
    zone = (await programme.read(connection)).time_zone
    wanted = {one.currency for one in positions} | ({own.currency} if own is not None else set())
    found = {one.currency: one for one in positions}
    return [
        Outlook(
            currency, min(cycles.next_end(each, at, zone=zone) for each in by_currency[currency]),
            found[currency].carried_micro if currency in found else 0,
            found[currency].moved_micro if currency in found else 0,
        )
        for currency in sorted(wanted) if by_currency[currency]
    ]  # fmt: skip
