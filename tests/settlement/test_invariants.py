"""Invariants of a clearing house that no other test is about: order, expiry once, and what every step says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from ledger import cutoffs
from settlement import archive, runs, states

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported


async def test_another_order_takes_other_lots_and_leaves_every_total_as_it_was(coalition: Coalition) -> None:
    a, b, c = [await coalition.partner(code, **price) for code, price in (("a", {}), ("b", {"fund": 9_001}), ("c", {}))]
    totals, used, nets = set(), set(), set()
    for seed in range(6):
        member = await coalition.member()
        await coalition.earn(member, "a", a, 1_000, lasts=300 * DAY)
        await _shuffled(coalition, member, (a, b, c), seed)
        done = await coalition.settle()
        async with coalition.database.reading() as connection:
            moved = await cutoffs.turnover(connection, done.cutoff_ids)
        by_accounts: Counter[tuple[int, int]] = Counter()
        by_funder: Counter[int] = Counter()
        for one in moved:
            by_accounts[one.debit, one.credit] += one.points
            by_funder[one.funder_id] += one.points if one.credit == 11 else 0
        totals.add(tuple(sorted(by_accounts.items())))
        used.add(tuple(sorted(by_funder.items())))
        nets.add(tuple(coalition.of(done, code).net_micro for code in ("a", "b", "c")))
        assert sum(one.net_micro for one in done.statements) == 0
        coalition.at += DAY
    assert len(totals) == 1
    assert len(nets) == 1  # what is paid at issue is the same whichever lot is used
    assert len(used) > 1  # the test bites: the order decided whose points were used
    assert await coalition.violations() == []


async def _shuffled(coalition: Coalition, member: int, terms: tuple[int, int, int], seed: int) -> None:
    a, b, c = terms
    doing: list[Callable[[], Awaitable[object]]] = [
        lambda: coalition.earn(member, "b", b, 120, lasts=30 * DAY),
        lambda: coalition.earn(member, "c", c, 70, lasts=20 * DAY),
        lambda: coalition.earn(member, "a", a, 50, lasts=10 * DAY),
        lambda: coalition.spend(member, "b", b, 90),
        lambda: coalition.spend(member, "c", c, 110),
        lambda: coalition.spend(member, "a", a, 40),
    ]
    random.Random(seed).shuffle(doing)
    for step in doing:
        assert await step() is not None


async def test_what_has_expired_expires_once_however_often_it_is_looked_for(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    members = [await coalition.member() for _ in range(5)]
    for member in members:
        await coalition.earn(member, "a", a, 100, lasts=10 * DAY)
        await coalition.earn(member, "a", a, 30, lasts=90 * DAY)
    await coalition.spend(members[0], "a", a, 100)  # a lot of which nothing is left
    coalition.at += 20 * DAY

    async def sweep() -> int:
        async with coalition.database.transaction() as connection:
            return await cutoffs.sweep(connection, at=coalition.at, limit=2)

    for _ in range(3):
        await asyncio.gather(*(sweep() for _ in range(6)))
    assert await sweep() == 0
    expired = await coalition.database.pool.fetch("SELECT holder_id, amount FROM ledger.posting WHERE credit = 12")
    assert {row["holder_id"]: row["amount"] for row in expired} == dict.fromkeys(members[1:], 100)
    assert len(expired) == 4
    assert await coalition.violations() == []


async def test_every_step_says_who_and_why_and_what_speaks_for_it(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 100)
    [first] = (await coalition.settle()).runs
    coalition.at += 30 * DAY
    await coalition.step(runs.approve, first.head.run_id, by="checker")
    await coalition.earn(member, "a", a, 100)
    await coalition.close()
    [second] = await coalition.step(runs.begin)
    await coalition.step(runs.abort, second, reason="a price was wrong")
    async with coalition.database.reading() as connection:
        steps = [step for n in (first.head.run_id, second) for step in await archive.trail(connection, n)]
    assert [step.to_state for step in steps] == [
        states.DRAFT, states.CALCULATED, states.CONTROLLED, states.STATEMENTS_ISSUED, states.IN_REVIEW, states.APPROVED,
        states.DRAFT, states.ABORTED,
    ]  # fmt: skip
    assert all(step.actor and step.reason and step.at for step in steps)
    by_state = {step.to_state: step for step in steps}
    assert by_state[states.APPROVED].actor == "checker"
    assert by_state[states.ABORTED].reason == "a price was wrong"
    calculated, controlled = by_state[states.CALCULATED], by_state[states.CONTROLLED]
    assert calculated.input_hash
    assert calculated.output_hash
    assert calculated.evidence["windows"]
    assert controlled.evidence["certificate"]["holds"]
    assert {"approval_id", "silent"} <= by_state[states.APPROVED].evidence.keys()
