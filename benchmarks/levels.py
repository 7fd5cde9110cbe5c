"""The levels that the product promises, from the bare function to a till's call over HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import orjson

from benchmarks import callers, draws, offers, pgbench, web
from benchmarks.coalition import DATABASE, Crowd
from benchmarks.figures import Figure
from benchmarks.peers import postgraphile
from benchmarks.peers.environment import EnvironmentMissing
from benchmarks.stage import Load, Stage
from kit.database import APPLICATION_ROLE
from kit.errors import Rejection
from ledger import accruals
from ledger.accruals import RECORDED, Accrual, Lot
from partners.decisions import deciding
from partners.mechanics import facts
from partners.purchases import purchases
from tests.builders import DAY, NOON, a_receipt, identified

ACCRUE = """
\\set holder random({first}, {last})
SELECT ledger.accrue_lot(:holder, 1::smallint, {partner}, gen_random_uuid(), gen_random_uuid(), '2026-03-02',
  1, 1, 1, 100::bigint, '2026-03-16'::timestamptz, '2027-03-02'::timestamptz);
"""
PURCHASE = """
\\set holder random({first}, {last})
SELECT partners.record_purchase(1::smallint, '2026-03-02', :holder, gen_random_uuid(), gen_random_uuid(),
  gen_random_uuid(), 1, 1, 1, 1, 1, 1, 'R1', '2026-03-02', '2026-03-02', 'EUR', 1000, 10, '{detail}', '{decision}',
  ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[10::bigint], ARRAY['2026-03-16'::timestamptz],
  ARRAY['2027-03-02'::timestamptz]);
"""
ONE_ENTRY = (1.0, 1.0)
NEAR_ITS_BAR = 4  # times as many slices for what a few hundredths decide
_LOT = (10, NOON + 14 * DAY, NOON + 365 * DAY)
_OF_IT = """
    SELECT avg(pg_column_size(decision))::float8 AS decision, coalesce(avg(pg_column_size(detail)), 0)::float8 AS detail
    FROM (SELECT decision, detail FROM partners.receipt ORDER BY seq DESC LIMIT 2000) r
"""
_references = count(1)


async def measure(stage: Stage, crowd: Crowd) -> list[Figure]:
    """Every level, in turn with TPC-B. The gateway lives by the wall's clock, by which what the other levels leave
    pending is due: it has members of its own, or their activations would be measured too."""
    half = len(crowd.cards) // 2
    at_noon, on_the_wall = replace(crowd, cards=crowd.cards[:half]), replace(crowd, cards=crowd.cards[half:])
    return [*await _calls(stage, at_noon), *await _library(stage, at_noon), *await _over_http(stage, on_the_wall)]


async def _calls(stage: Stage, crowd: Crowd) -> list[Figure]:
    """One call per operation, driven by pgbench as TPC-B is."""
    members = {"first": crowd.cards[0].member_id, "last": crowd.cards[-1].member_id}

    def load(script: str) -> Load:
        return pgbench.load(stage.server, DATABASE, APPLICATION_ROLE, {script: 1}, seed=stage.plan.seed)

    accrue = load(ACCRUE.format(partner=1, **members))
    purchase = load(PURCHASE.format(detail=four_lines(), decision=decision(), **members))
    figures = [
        await stage.measure("ledger.accrue, one per call", accrue, database=DATABASE, entries=ONE_ENTRY),
        await stage.measure("purchase of four lines as one call", purchase, database=DATABASE, entries=ONE_ENTRY),
    ]
    of_it = await crowd.pool.fetchrow(_OF_IT)
    stored = f"decision {of_it['decision']:.0f} B and lines {of_it['detail']:.0f} B of the receipt"
    return [figures[0], replace(figures[1], note=stored)]


async def _library(stage: Stage, crowd: Crowd) -> list[Figure]:
    """Lanes in this process."""
    figures = []
    for number in (64, 256):
        lane = accruals.open_lane(crowd.pool)
        load = callers.load(number, accruing(lane.submit, draws.uniform(crowd.holders, stage.plan.seed)))
        figures.append(
            await stage.measure(
                f"library: the ledger's lane, {number} callers", load, database=DATABASE, entries=ONE_ENTRY,
                reports=crowd.report,
            )
        )  # fmt: skip
        await lane.close()
    partners = list(crowd.made.callers)
    third = len(partners) // 3
    await offers.publish(crowd, partners[third : 2 * third], partners[2 * third :])
    spread = await _buying(stage, crowd, partners[:third])
    one = await _buying(stage, crowd, list(crowd.made.callers)[:1])
    name = "library: the desk's lane, 64 callers"
    figures.append(await stage.measure(name, spread, database=DATABASE, entries=ONE_ENTRY, reports=crowd.report))
    figures.append(
        await stage.measure(
            "desk's lane: all on one partner ÷ spread over many", one, database=DATABASE, entries=None,
            against=(name, spread), reports=crowd.report,
        )
    )  # fmt: skip
    for what, at_partners in (
        ("that read nothing", partners[third : 2 * third]), ("that count and read", partners[2 * third :]),
    ):  # fmt: skip
        ruled = await _buying(stage, crowd, at_partners)
        figures.append(
            await stage.measure(
                f"desk's lane: three candidate rules {what} ÷ no rules", ruled, database=DATABASE, entries=None,
                against=(name, spread), reports=crowd.report,
            )
        )  # fmt: skip
    return figures


def accruing(
    submit: Callable[[Accrual], Awaitable[accruals.Accrued]],
    holder: Callable[[], int],
    *,
    partner: Callable[[], int] = lambda: 1,
) -> Callable[[int], Awaitable[int]]:
    """A caller that accrues one lot for whoever is drawn, at a partner that is drawn; RuntimeError on a "no"."""
    points, activates_at, expires_at = _LOT

    async def call(_: int) -> int:
        of = partner()
        lot = Lot(of, of, of, points, activates_at, expires_at)
        told = await submit(Accrual(holder(), of, uuid4(), uuid4(), (lot,), NOON))
        if told.status != RECORDED:
            raise RuntimeError(f"an accrual was answered {told}")
        return 1

    return call


async def _buying(stage: Stage, crowd: Crowd, partners: Sequence[str]) -> Load:
    """64 callers at the desk with total-only receipts: decided in Python, recorded in batches."""
    directory = await crowd.made.desk.directory.get()
    drawn = random.Random(stage.plan.seed)

    async def call(number: int) -> int:
        caller = crowd.made.callers[partners[number % len(partners)]]
        receipt = a_receipt(1_000, reference=f"L{next(_references)}")
        member = identified(drawn.choice(crowd.cards))
        desk = crowd.made.desk
        while True:
            try:
                prepared = await deciding.decide(desk, directory, caller, member, receipt, at=NOON, idem_key=None)
                await purchases.accrue(desk, prepared)
                return 1
            except Rejection as no:
                if no.code != "STALE":  # few members, each buying several times at once; a till asks again
                    raise

    return callers.load(64, call)


async def _over_http(stage: Stage, crowd: Crowd) -> list[Figure]:
    """The real gateway with a bearer token; driver and server share the machine."""
    figures = []
    async with web.gateway(stage.server) as served:
        partners = list(crowd.made.callers)
        token = await web.token_of(crowd.made, partners[0], served.port)
        for name, connections, items, lines in (
            ("accruePoints over HTTP, 64 connections", 64, 0, 0),
            ("accrueMany, 100 total-only receipts", 4, 100, 0),
            ("accrueMany, 100 receipts of four lines", 4, 100, 4),
        ):
            load = web.tills(
                served.port, token, crowd.cards, connections=connections, items=items, lines=lines, seed=stage.plan.seed
            )
            figures.append(await _over(stage, served, name, load, ONE_ENTRY))
        figures += await _beside_postgraphile(stage, crowd, served, token)
        figures += await _other_calls(stage, crowd, served, token)
        figures += await _over_http_under_rules(stage, crowd, served, token)
    return figures


async def _beside_postgraphile(stage: Stage, crowd: Crowd, served: web.Gateway, token: str) -> list[Figure]:
    """PostGraphile with an equal function, and accruePoints against it, in turn."""
    stage.watch(f"the environment of {postgraphile.NAME}")
    try:
        folder = await asyncio.to_thread(postgraphile.install)
    except EnvironmentMissing as reason:
        stage.not_measured[postgraphile.NAME] = f"could not be installed: {reason}"
        return []
    seed = stage.plan.seed
    async with (
        postgraphile.serving(stage.server, folder) as port,
        postgraphile.tills(port, crowd.cards, connections=64, seed=seed) as theirs,
        web.tills(served.port, token, crowd.cards, connections=64, items=0, lines=0, seed=seed) as ours,
    ):
        return [
            await stage.measure(
                f"{postgraphile.NAME}, an equal function without token or rules, 64 connections", theirs,
                database=DATABASE, entries=ONE_ENTRY, counts_fsyncs=False,
            ),
            await stage.measure(
                f"accruePoints over HTTP ÷ {postgraphile.NAME}", ours, database=DATABASE, entries=None,
                against=(postgraphile.NAME, theirs), gateway=served.pid, counts_fsyncs=False,
            ),
        ]  # fmt: skip


async def _over_http_under_rules(stage: Stage, crowd: Crowd, served: web.Gateway, token: str) -> list[Figure]:
    """accruePoints at partners with three candidate rules, against one without, in turn."""
    partners = list(crowd.made.callers)
    third = len(partners) // 3
    figures = []
    for what, code in (("that read nothing", partners[third]), ("that count and read", partners[2 * third])):
        ruled = await web.token_of(crowd.made, code, served.port)
        given: dict[str, Any] = {"connections": 64, "items": 0, "lines": 0, "seed": stage.plan.seed}
        async with (
            web.tills(served.port, token, crowd.cards, **given) as without,
            web.tills(served.port, ruled, crowd.cards, **given) as load,
        ):
            figures.append(
                await stage.measure(
                    f"accruePoints over HTTP: three candidate rules {what} ÷ no rules", load, database=DATABASE,
                    against=("without rules", without), gateway=served.pid, entries=None, counts_fsyncs=False,
                    reports=partial(_add_up, crowd), rounds=NEAR_ITS_BAR * stage.plan.rounds,
                )
            )  # fmt: skip
    return figures


async def _add_up(crowd: Crowd) -> None:
    """Add up what members bought so far, between slices: the worker does it soon after each purchase, and there is none
    in a benchmark. A decision would read all receipts of all loads before."""
    rules = (await crowd.made.desk.directory.get()).programme
    after: int | None = 0
    while after is not None:
        async with crowd.made.database.transaction() as connection:
            after = (await facts.fold(connection, rules, after=after)).next_after


async def _other_calls(stage: Stage, crowd: Crowd, served: web.Gateway, token: str) -> list[Figure]:
    """What is reported beside the bars: a token bound to a key, a read, and the issue of tokens."""
    code, seed = next(iter(crowd.made.callers)), stage.plan.seed
    bound = await web.signing_client(crowd.made, code, served.port, binds_tokens=True)
    free = await web.signing_client(crowd.made, code, served.port, binds_tokens=False)
    return [
        await _over(
            stage, served, "accruePoints with a DPoP proof, 64 connections",
            web.bound_tills(bound, crowd.cards, connections=64, seed=seed), ONE_ENTRY,
            note="proofs and assertions are signed before each slice; the driver's time has them in it",
        ),
        await _over(
            stage, served, "member { balance } over HTTP, 64 connections",
            web.readers(served.port, token, crowd.cards, connections=64, seed=seed), None,
        ),
        await _over(
            stage, served, "token by private_key_jwt, 16 connections", web.askers(free, connections=16), None
        ),
    ]  # fmt: skip


async def _over(
    stage: Stage,
    served: web.Gateway,
    name: str,
    opening: AbstractAsyncContextManager[Load],
    entries: tuple[float, float] | None,
    *,
    note: str = "",
) -> Figure:
    async with opening as load:
        return await stage.measure(
            name, load, database=DATABASE, gateway=served.pid, entries=entries, counts_fsyncs=False, note=note
        )


def four_lines() -> str:
    """The stored lines of a receipt of four."""
    lines = [{"id": str(number), "kind": "GOODS", "amount": 250, "sku": "1004906"} for number in range(4)]
    return orjson.dumps({"lines": lines}).decode()


def decision() -> str:
    """The stored decision on them."""
    lines = {str(number): points for number, points in enumerate((3, 3, 2, 2))}
    decided = {"tier": "BASE", "level": "NUMBER", "lines": lines, "reasons": [["BASE", 10, {}]], "lots": {"1": 10}}
    return orjson.dumps(decided).decode()
