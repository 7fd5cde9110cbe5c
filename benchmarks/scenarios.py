"""S1 to S7: who comes, how often, and to do what, at the level of the ledger."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from uuid import uuid4

from benchmarks import callers, coalition, draws, pgbench, storage
from benchmarks.coalition import DATABASE, PARTNERS, Crowd
from benchmarks.figures import Figure
from benchmarks.levels import ONE_ENTRY, accruing
from benchmarks.stage import Stage
from kit.database import APPLICATION_ROLE
from ledger import accruals
from ledger.accruals import RECORDED, REPLAYED, Accrual, Accrued, Lot
from tests.builders import DAY, NOON

CALLERS = 64
LOTS = 5  # open lots of each member of the mix
OF_THE_MIX = 20_000  # holders that get them

# Weights in per cent. A return finds its accrual first, as a till's return reads before it is decided.
MIX = {
    """
\\set holder random({first}, {last})
\\set partner random(1, {partners})
SELECT * FROM ledger.accrue(:holder, 1::smallint, :partner, gen_random_uuid(), gen_random_uuid(), '2026-03-02T13:00Z',
  ARRAY[:partner::int], ARRAY[:partner::int], ARRAY[:partner::int], ARRAY[100::bigint],
  ARRAY['2026-03-02T13:00Z'::timestamptz], ARRAY['2027-06-02'::timestamptz]);
""": 70,
    """
\\set holder random({first}, {last})
\\set partner random(1, {partners})
SELECT * FROM ledger.redeem(:holder, 1::smallint, 40, :partner, :partner, gen_random_uuid(), gen_random_uuid(),
  '2026-03-02T13:00Z', '2026-03-02');
""": 20,
    """
\\set holder random({first}, {last})
\\set partner random(1, {partners})
SELECT seq AS placed FROM ledger.place_hold(:holder, 1::smallint, 40, '2026-03-03T13:00Z', :partner, :partner,
  gen_random_uuid(), gen_random_uuid(), '2026-03-02T13:00Z', '2026-03-02') \\gset
SELECT * FROM ledger.resolve_hold(5::smallint, :holder, 1::smallint, :placed, 40, :partner, :partner, gen_random_uuid(),
  gen_random_uuid(), '2026-03-02T13:00Z');
""": 8,
    """
\\set holder random({first}, {last})
SELECT coalesce((SELECT seq FROM ledger.lot WHERE holder_id = :holder AND unit = 1 AND open
                 ORDER BY expires_at DESC LIMIT 1), 1) AS earned \\gset
SELECT * FROM ledger.return_accrual(:holder, 1::smallint, :earned, ARRAY[1::smallint], ARRAY[1::bigint], 1,
  gen_random_uuid(), gen_random_uuid(), '2026-03-02T13:00Z');
""": 2,
}


async def measure(stage: Stage, crowd: Crowd) -> list[Figure]:
    """Every scenario, in turn with TPC-B; S4 in turn with the same load spread over all partners."""
    lane = accruals.open_lane(crowd.pool)
    try:
        return [
            await _accrue(stage, crowd, "S1 uniform", accruing(lane.submit, _uniform(stage, crowd))),
            await _accrue(
                stage, crowd, "S2 Zipf 1.0", accruing(lane.submit, draws.zipf(crowd.holders, stage.plan.seed))
            ),
            await _mixed(stage, crowd),
            await _one_partner(stage, crowd, lane.submit),
            await _accrue(stage, crowd, "S5 one hot member", accruing(lane.submit, lambda: crowd.holders[-1])),
            *[await _batches(stage, crowd, size) for size in (10, 100, 500)],
            await _replays(stage, crowd, lane.submit),
        ]
    finally:
        await lane.close()


def mix_scripts(first: int, last: int, partners: int) -> dict[str, int]:
    """S3 for pgbench, for a range of holders: 70 % accrue, 20 % redeem, 8 % hold and capture, 2 % return."""
    return {script.format(first=first, last=last, partners=partners): weight for script, weight in MIX.items()}


def _uniform(stage: Stage, crowd: Crowd) -> Callable[[], int]:
    return draws.uniform(crowd.holders, stage.plan.seed)


async def _accrue(stage: Stage, crowd: Crowd, name: str, call: Callable[[int], Awaitable[int]]) -> Figure:
    load = callers.load(CALLERS, call)
    return await stage.measure(name, load, database=DATABASE, entries=ONE_ENTRY, reports=crowd.report)


async def _mixed(stage: Stage, crowd: Crowd) -> Figure:
    some = crowd.holders[:OF_THE_MIX]
    stage.watch(f"{LOTS} open lots for each of {len(some):,} holders")
    made = await coalition.stocked(stage.server, crowd.pool, some, LOTS)
    stored = "; ".join(
        f"{table} {made.bytes_stored[table]['heap']:.0f} + {made.bytes_stored[table]['indexes']:.0f}"
        for table in storage.LEDGER
    )
    scripts = mix_scripts(some[0], some[-1], PARTNERS)
    load = pgbench.load(stage.server, DATABASE, APPLICATION_ROLE, scripts, seed=stage.plan.seed)
    # A hold and its capture are two entries; a return of what is spent already is none.
    return await stage.measure(
        "S3 mix 70/20/8/2", load, database=DATABASE, entries=(0.95, 1.3),
        note="pgbench; a hold with its capture is one operation of two calls. "
        f"Before it, {made.lots:,} accruals in batches stored {made.bytes_of_ledger:.0f} bytes each ({stored})",
    )  # fmt: skip


async def _one_partner(stage: Stage, crowd: Crowd, submit: Callable[[Accrual], Awaitable[Accrued]]) -> Figure:
    drawn = random.Random(stage.plan.seed)
    holder = _uniform(stage, crowd)
    spread = accruing(submit, holder, partner=lambda: drawn.randint(1, PARTNERS))
    return await stage.measure(
        "S4 one hot partner ÷ spread over fifty", callers.load(CALLERS, accruing(submit, holder)), database=DATABASE,
        against=("spread over fifty", callers.load(CALLERS, spread)), reports=crowd.report,
    )  # fmt: skip


async def _batches(stage: Stage, crowd: Crowd, size: int) -> Figure:
    drawn = random.Random(stage.plan.seed)

    async def call(_: int) -> int:
        told = await accruals.accrue_many(crowd.pool, [_accrual(one) for one in drawn.sample(crowd.holders, size)])
        return sum(one.status == RECORDED for one in told)

    return await stage.measure(
        f"S6 batches of {size}", callers.load(4, call), database=DATABASE, entries=ONE_ENTRY, reports=crowd.report,
        note="4 callers; latency is a batch's",
    )  # fmt: skip


async def _replays(stage: Stage, crowd: Crowd, submit: Callable[[Accrual], Awaitable[Accrued]]) -> Figure:
    drawn = random.Random(stage.plan.seed)
    holder = _uniform(stage, crowd)
    recent: list[Accrual] = []

    async def call(_: int) -> int:
        is_retry = bool(recent) and drawn.random() < 0.2
        item = drawn.choice(recent) if is_retry else _accrual(holder())
        told = await submit(item)
        if told.status != (REPLAYED if is_retry else RECORDED):
            raise RuntimeError(f"a {'retry' if is_retry else 'call'} was answered {told}")
        if not is_retry:
            recent.append(item)
            del recent[:-1_000]
        return 1

    return await stage.measure(
        "S7 one in five a replay", callers.load(CALLERS, call), database=DATABASE, entries=(0.6, 1.0),
        reports=crowd.report,
    )  # fmt: skip


def _accrual(holder_id: int) -> Accrual:
    lot = Lot(1, 1, 1, 10, NOON + 14 * DAY, NOON + 365 * DAY)
    return Accrual(holder_id, 1, uuid4(), uuid4(), (lot,), NOON)
