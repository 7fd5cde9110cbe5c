"""The obligation at a past instant, from lots and agreements alone, is what the runs carried forward then."""

from __future__ import annotations

from datetime import datetime

from kit.database import Database
from settlement import archive, liability
from settlement.archive import Obligation
from tests.settlement.conftest import DAY, Coalition


async def obligation_at(database: Database, at: datetime) -> list[Obligation]:
    async with database.reading() as connection:
        return await liability.obligation_at(connection, at=at)


async def carried(database: Database) -> list[Obligation]:
    async with database.reading() as connection:
        return sorted(
            (o for o in await archive.obligation(connection) if o.points), key=lambda o: (o.funder_id, o.terms_id)
        )


async def test_at_each_cut_of_the_past_it_is_what_the_runs_carried_forward_then(
    coalition: Coalition, database: Database
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b", fund_price_micro=7_000)
    member, other = await coalition.member(), await coalition.member()
    seen: list[tuple[datetime, list[Obligation]]] = []
    accrual = await coalition.earn(member, "a", a, 1000, pending_for=2 * DAY)
    for day in range(6):
        await coalition.earn(other, "b", b, 100 + day)
        if day == 3:
            await coalition.spend(member, "b", b, 600)
            await coalition.give_back(member, accrual, 300, "a")
        await coalition.settle()
        seen.append((coalition.at, await carried(database)))
        coalition.at += DAY
    assert len({str(carried_then) for _, carried_then in seen}) == len(seen)
    for at, carried_then in seen:
        assert await obligation_at(database, at) == carried_then


async def test_before_anything_happened_nothing_is_owed(coalition: Coalition, database: Database) -> None:
    await coalition.partner("a")
    assert await obligation_at(database, coalition.at - DAY) == []
