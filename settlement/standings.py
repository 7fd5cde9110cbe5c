"""What is owed to members as the books had it at each run: for looking at how it grows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.clearing import clearing
from settlement import archive, states
from settlement.reports import store


@dataclass(frozen=True, slots=True)
class Liability:
    """The obligation at face when a run was made, what of it is expected never to be used, and the service part that
    is deferred; micro-units of the run's currency."""

    run_id: int
    name: str
    at: datetime
    face_micro: int
    breakage_micro: int
    service_micro: int

    @property
    def expected_micro(self) -> int:
        """What is expected to be spent, and what serving it will take."""
        return self.face_micro - self.breakage_micro + self.service_micro


async def liability(connection: AsyncConnection, *, currency: str, most: int) -> list[Liability]:
    """The latest runs of a currency with what the books said at each, the earliest first, at most so many."""
    own = [run for run in await archive.runs(connection, currency=currency) if run.state in states.ISSUED][:most]
    found = []
    for run in reversed(own):
        sums: dict[str, int] = defaultdict(int)
        for row in await store.balances_at(connection, currency=currency, at=run.at):
            sums[row.account] += row.amount_micro
        found.append(Liability(run.run_id, run.name, run.at, -sums["2100"], sums["2105"], -sums["2110"]))
    return found


async def currencies(connection: AsyncConnection) -> list[str]:
    """The currencies that partners settle in, and the programme's own first."""
    own = await clearing.base_currency(connection)
    return [own, *(one for one in await clearing.currencies(connection) if one != own)]
