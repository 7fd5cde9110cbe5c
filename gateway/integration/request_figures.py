"""How partners' programs do: every request counted by client and hour, with what it cost and how long it took.

The log keeps a part of what a busy client asks; this counts all of it. A request adds to numbers in memory, and every
few seconds the numbers are added to rows. What a process has counted and not written when it is killed is lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.context import Viewer
from gateway.gate import allowance_store
from gateway.gate.allowances import COST, MICRO, Allowance
from gateway.integration import request_figure_store

BOUNDS_MS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000, 10_000)
"""Within how many milliseconds answers are counted as ready; behind the last there is one more place for the rest."""
KEPT = timedelta(days=14)
FORGOTTEN_AT_ONCE = 5_000

Key = tuple[int, int, datetime]  # partner, client, hour


@dataclass(slots=True)
class Counted:
    """What was counted of a client in an hour. away: answered 5xx; cost: points of cost; took: by BOUNDS_MS."""

    requests: int
    refused: int
    away: int
    replayed: int
    cost: int
    took: list[int]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted of a client within some hours. busiest_cost: of the hour in which it asked for most."""

    client_no: int
    requests: int
    refused: int
    away: int
    replayed: int
    cost: int
    busiest_cost: int
    took: Sequence[int]

    def within_ms(self, per_thousand: int) -> int | None:
        """Within how many milliseconds so many of a thousand answers were ready; None behind the last bound, and where
        nothing was asked."""
        wanted, seen = -(-self.requests * per_thousand // 1_000), 0
        for bound, count in zip(BOUNDS_MS, self.took, strict=False):
            seen += count
            if seen >= wanted > 0:
                return bound
        return None

    def refused_bp(self) -> int:
        """Refused of ten thousand requests, rounded down."""
        return self.refused * 10_000 // self.requests if self.requests else 0


class RequestFigures:
    """One process's counts since they were written last."""

    def __init__(self) -> None:
        self._counts: dict[Key, Counted] = {}

    def count(
        self, viewer: Viewer, at: datetime, *, status: int, code: str | None, cost: int, took_ms: int, replayed: bool
    ) -> None:
        """One more request of a partner's program or till."""
        assert viewer.partner_id is not None
        key = (viewer.partner_id, viewer.client_no, at.replace(minute=0, second=0, microsecond=0))
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = Counted(0, 0, 0, 0, 0, [0] * (len(BOUNDS_MS) + 1))
        found.requests += 1
        found.refused += code is not None
        found.away += code is not None and status >= 500
        found.replayed += replayed
        found.cost += cost
        found.took[bisect_left(BOUNDS_MS, took_ms)] += 1

    def taken(self) -> dict[Key, Counted]:
        """What was counted since; from now on it is counted anew."""
        taken, self._counts = self._counts, {}
        return taken

    def put_back(self, taken: Mapping[Key, Counted]) -> None:
        """Count again what could not be written."""
        for key, back in taken.items():
            found = self._counts.get(key)
            if found is None:
                self._counts[key] = back
                continue
            for name in ("requests", "refused", "away", "replayed", "cost"):
                setattr(found, name, getattr(found, name) + getattr(back, name))
            found.took = [mine + other for mine, other in zip(found.took, back.took, strict=True)]


async def write(connection: AsyncConnection, taken: Mapping[Key, Counted]) -> None:
    """Add counts to the rows of their hours."""
    keys = sorted(taken)  # in one order, so that two processes do not wait for each other in a circle
    rows = [
        {
            "partner_id": key[0], "client_no": key[1], "hour": key[2], "requests": one.requests, "refused": one.refused,
            "away": one.away, "replayed": one.replayed, "cost": one.cost, "took": one.took,
        }
        for key in keys for one in (taken[key],)
    ]  # fmt: skip
    if rows:
        await request_figure_store.add(connection, rows)


async def of_partner(connection: AsyncConnection, partner_id: int, *, since: datetime) -> dict[int, Figures]:
    """What each client of a partner's asked since an hour, by its number."""
    found = [Figures(**row) for row in await request_figure_store.sums(connection, partner_id, since)]
    return {one.client_no: one for one in found}


async def headroom(connection: AsyncConnection, allowances: Mapping[int, Allowance], *, at: datetime) -> dict[int, int]:
    """How many points of cost each client may ask for at once, at least: what processes hold in hand is not in it."""
    levels = await allowance_store.levels(connection, sorted(allowances), COST)
    found: dict[int, int] = {}
    for client_no, allowance in allowances.items():
        level, filled_at = levels.get(client_no, (allowance.burst * MICRO, at))
        seconds = max(0, int((at - filled_at).total_seconds()))
        found[client_no] = min(allowance.burst, level // MICRO + seconds * allowance.restore_per_second)
    return found


async def forget(connection: AsyncConnection, *, at: datetime) -> int:
    """Delete some of what is older than it is kept, by the wall's instant; how many rows, 0 when none is left."""
    return await request_figure_store.delete_before(connection, at - KEPT, FORGOTTEN_AT_ONCE)
