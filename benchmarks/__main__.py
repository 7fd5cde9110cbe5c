"""`python -m benchmarks`: how fast it is, as ratios to TPC-B of the same run on the same server."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from benchmarks import (
    closing,
    coalition,
    levels,
    long,
    overload,
    profile,
    reconciling,
    renewals,
    report,
    rules,
    scenarios,
    stage,
    statements,
)
from benchmarks.coalition import PARTNERS, Crowd
from benchmarks.figures import Figure
from benchmarks.peers import drivers
from benchmarks.stage import Plan, Stage
from kit import console, postgres

FOLDER = Path(".data/bench")
LOADS = {"levels": 20, "scenarios": 10, "peers": 5}  # what each part tells of as it goes

Seconds = Annotated[int, typer.Option(help="Length of a slice: of a load, and of TPC-B before and after it.", min=1)]
Rounds = Annotated[int, typer.Option(help="Slices of each load, each between two of TPC-B.", min=1)]
Members = Annotated[int, typer.Option(help="Members with a card, for the purchases.", min=100)]
Holders = Annotated[int, typer.Option(help="Holders of the ledger's own, for accruals.", min=1000)]
Scale = Annotated[int, typer.Option(help="Scale of TPC-B.", min=1)]
Into = Annotated[Path, typer.Option(help="Folder of the results.", file_okay=False)]
Seed = Annotated[int, typer.Option(help="Seed of every draw.")]

_DEFAULT = Plan()
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("all")
def everything(
    seconds: Seconds = _DEFAULT.seconds,
    rounds: Rounds = _DEFAULT.rounds,
    members: Members = _DEFAULT.members,
    holders: Holders = _DEFAULT.holders,
    scale: Scale = _DEFAULT.scale,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """Levels, scenarios and peers in one run: a few minutes."""
    _measure(tuple(LOADS), Plan(seconds, rounds, members, holders, scale, seed), into)


@app.command("levels")
def levels_alone(
    seconds: Seconds = _DEFAULT.seconds,
    rounds: Rounds = _DEFAULT.rounds,
    members: Members = _DEFAULT.members,
    holders: Holders = _DEFAULT.holders,
    scale: Scale = _DEFAULT.scale,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """From the bare function to a till's call over HTTP."""
    _measure(("levels",), Plan(seconds, rounds, members, holders, scale, seed), into)


@app.command("scenarios")
def scenarios_alone(
    seconds: Seconds = _DEFAULT.seconds,
    rounds: Rounds = _DEFAULT.rounds,
    holders: Holders = _DEFAULT.holders,
    scale: Scale = _DEFAULT.scale,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """S1 to S7: who comes, how often, to do what."""
    _measure(("scenarios",), Plan(seconds, rounds, _DEFAULT.members, holders, scale, seed), into)


@app.command("peers")
def peers_alone(
    seconds: Seconds = _DEFAULT.seconds,
    rounds: Rounds = _DEFAULT.rounds,
    scale: Scale = _DEFAULT.scale,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """A naive ledger on an ORM, and django-hordak in an environment of its own."""
    _measure(("peers",), Plan(seconds, rounds, _DEFAULT.members, _DEFAULT.holders, scale, seed), into)


@app.command("long")
def long_run(
    lots: Annotated[int, typer.Option(help="Lots to record first, ten for each holder.", min=1000)] = 10_000_000,
    minutes: Annotated[int, typer.Option(help="Length of the soak.", min=2)] = 30,
    scale: Scale = _DEFAULT.scale,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
    anew: Annotated[bool, typer.Option("--anew", help="Begin again though an interrupted run could go on.")] = False,
) -> None:
    """Ten million lots and a soak on them: an hour, some 15 GB of disk. Ctrl-C stops it; said again, it goes on."""
    terms = long.Terms(lots, minutes, scale, seed)

    async def go() -> None:
        with _long_bar() as bar:
            watch = _watch(bar, bar.add_task("", total=None))
            async with _stage(server, Plan(scale=scale, seed=seed), watch) as ready:
                found = await long.measure(ready, terms, into, _teller(bar), anew=anew)
                settings = await ready.settings()
                del settings["seconds"], settings["rounds"], settings["members"], settings["holders"]
        path = report.store("long", found.content(), settings, folder=into)
        long.clear_away(ready, into)
        console.out.print(f"stored in {path}")
        console.out.print(report.write_page(into).read_text().partition("## Long")[2])

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go())


@app.command("closing")
def closing_alone(
    postings: Annotated[
        list[int],
        typer.Option(help="Postings in the cut-off that is closed; say it again for the next size.", min=1000),
    ] = [100_000, 1_000_000],  # noqa: B006 - Typer reads it
    rounds: Rounds = _DEFAULT.rounds,
    holders: Annotated[int, typer.Option(help="Holders of the postings, as many at every size.", min=100)] = (
        closing.HOLDERS
    ),
    lines: Annotated[
        list[int],
        typer.Option(help="Lines of a statement whose package is written; again for the next size.", min=1000),
    ] = [100_000, 1_000_000],  # noqa: B006 - Typer reads it
    into: Into = report.RESULTS,
) -> None:
    """What closing, calculating and recomputing cost as postings grow tenfold; a statement of a million lines."""

    async def go(server: postgres.Server) -> None:
        with _bar(sum(postings) + sum(lines)) as bar:
            task = bar.add_task("", total=sum(postings) + sum(lines))
            told = {"watch": _watch(bar, task), "advance": lambda n: bar.advance(task, n)}
            found = await closing.measure(server, postings, rounds=rounds, holders=holders, **told)
            written = await statements.measure(server, lines, holders=holders, **told)
        settings = {"rounds": rounds, "holders": holders}
        content = found.content() | {"statements": [one.content() for one in written]}
        console.out.print(f"stored in {report.store('closing', content, settings, folder=into)}")
        console.out.print(report.write_page(into).read_text().partition("## Closing")[2])

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go(server))


@app.command("reconciling")
def reconciling_alone(
    lines: Annotated[
        int, typer.Option(help="Lines of the partner's file, and as many receipts.", min=1000)
    ] = 1_000_000,
    into: Into = report.RESULTS,
) -> None:
    """What a partner's file costs: taken and compared, with the memory that it needs."""

    async def go(server: postgres.Server) -> None:
        with _bar(lines) as bar:
            task = bar.add_task("", total=lines)
            found = await reconciling.measure(
                server, lines, watch=_watch(bar, task), advance=lambda n: bar.advance(task, n)
            )
        console.out.print(f"stored in {report.store('reconciling', found.content(), {'lines': lines}, folder=into)}")
        console.out.print(
            f"{found.lines:,} lines: taken in {found.take_seconds:.1f} s, compared in {found.compare_seconds:.1f} s, "
            f"{found.lines_per_second:,.0f} a second, {found.grown_mib:.0f} MiB more at the peak"
        )

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go(server))


@app.command("renewals")
def renewals_alone(
    subscriptions: Annotated[int, typer.Option(help="Subscriptions that renew in the night.", min=100)] = 100_000,
    processes: Annotated[int, typer.Option(help="Processes that renew beside each other.", min=1)] = 2,
    into: Into = report.RESULTS,
) -> None:
    """What a night of renewals takes: invoiced, charged by the simulator, paid; one process is killed in the middle."""

    async def go(server: postgres.Server) -> None:
        with _bar(subscriptions) as bar:
            task = bar.add_task("", total=subscriptions)
            found = await renewals.measure(
                server, subscriptions, processes=processes, watch=_watch(bar, task),
                advance=lambda n: bar.advance(task, n),
            )  # fmt: skip
            settings = await stage.settings_of(server)
            settings |= {"load_average": round(os.getloadavg()[1], 1)}
        console.out.print(f"stored in {report.store('renewals', found.content(), settings, folder=into)}")
        console.out.print(report.write_page(into).read_text().partition("## Renewals")[2], markup=False)

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go(server))


@app.command("rules")
def rules_alone(
    baskets: Annotated[int, typer.Option(help="Stored baskets to simulate a draft over.", min=1000)] = 100_000,
) -> None:
    """What promotions cost in processor time, without a database: decisions, hashes, a simulation."""
    with console.clear_errors(), _bar(baskets) as bar:
        rows = [(cost.name, str(cost.micros), str(cost.applied or "")) for cost in rules.measure()]
        task = bar.add_task("simulating", total=baskets)
        seconds, points = rules.simulated(baskets, lambda done: bar.update(task, completed=done))
    table = Table("one core", "µs", "rules that gave something")
    for row in rows:
        table.add_row(*row)
    console.out.print(table)
    console.out.print(f"{baskets} baskets under ten rules: {seconds:.1f} s of processor time, {points} points")


@app.command("overload")
def besiege(
    seconds: Annotated[int, typer.Option(help="Length of the flood.", min=1)] = 30,
    times: Annotated[int, typer.Option(help="How many times the capacity becomes due.", min=2)] = 10,
    connections: Annotated[int, typer.Option(help="Connections that the flood comes over.", min=100)] = 1_500,
    members: Members = _DEFAULT.members,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """Ten times as much as the gateway can do, for half a minute: what it still does, for whom, and how soon after."""

    async def go() -> None:
        async with coalition.founded(server, members=members, holders=0, partners=0) as crowd:
            await crowd.made.add_partner(overload.PARTNER, return_window_days=0)
            await coalition.stocked(server, crowd.pool, [card.member_id for card in crowd.cards], 1)
            found = await overload.measure(
                server, crowd, seconds=seconds, times=times, connections=connections, seed=seed
            )
            settings = await stage.settings_of(server)
        settings |= {"seconds": seconds, "times": times, "connections": connections, "members": members, "seed": seed}
        console.out.print(f"stored in {report.store('overload', found.content(), settings, folder=into)}")
        console.out.print(report.write_page(into).read_text().partition("## Overload")[2], markup=False)

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go())


@app.command("profile")
def profile_gateway(
    seconds: Annotated[int, typer.Option(help="Length of each load.", min=2)] = 20,
    members: Members = 5_000,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """Where the gateway's processor time goes, by samples taken inside it: results/profile.txt."""

    async def go() -> None:
        async with coalition.founded(server, members=members, holders=1_000, partners=1) as crowd:
            found = await profile.measure(server, crowd, seconds=seconds, seed=seed)
        path = profile.store(found, into)
        console.out.print(path.read_text(), markup=False, highlight=False)
        console.out.print(f"stored in {path}")

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go())


@app.command("report")
def write_report(into: Into = report.RESULTS) -> None:
    """Make results/README.md from the JSON files beside it."""
    console.out.print(f"written to {report.write_page(into)}")


def _measure(parts: Sequence[str], plan: Plan, into: Path) -> None:
    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(_run(server, parts, plan, into))


async def _run(server: postgres.Server, parts: Sequence[str], plan: Plan, into: Path) -> None:
    found: dict[str, list[Figure]] = {}
    not_measured: dict[str, dict[str, str]] = {}
    with _bar(0) as bar:
        task = bar.add_task("", total=sum(LOADS[part] for part in parts))
        async with _stage(server, plan, _watch(bar, task, advances=True)) as ready:
            settings = await ready.settings()
            if {"levels", "scenarios"} & set(parts):
                settings["audit_violations"] = await _ours(ready, parts, found)
                not_measured["levels"] = ready.not_measured
            if "peers" in parts:
                found["peers"], not_measured["peers"] = await drivers.measure(ready)
            unit = ready.unit_figure()
    for part, figures in found.items():
        why = not_measured.get(part, {})
        path = report.store(part, report.stored([unit, *figures], why), settings, folder=into)
        console.out.print(report.table(report.PARTS[part], [unit, *figures]))
        for name, reason in why.items():
            console.out.print(f"{name} was not measured: it {reason}", style="bold red")
        console.out.print(f"stored in {path}")
    console.out.print(f"tables in {report.write_page(into)}")


async def _ours(ready: Stage, parts: Sequence[str], found: dict[str, list[Figure]]) -> int:
    """Measure what is the product's own, in one database; how many violations its audit finds afterwards."""
    plan = ready.plan
    members = plan.members if "levels" in parts else 0
    partners = PARTNERS if "levels" in parts else 1  # to the ledger a partner is a number
    async with coalition.founded(ready.server, members=members, holders=plan.holders, partners=partners) as crowd:
        for part, measure in _OURS.items():
            if part in parts:
                found[part] = await measure(ready, crowd)
        violations: int = await crowd.pool.fetchval("SELECT count(*) FROM ledger.audit()", timeout=600)
    return violations


_OURS: dict[str, Callable[[Stage, Crowd], Awaitable[list[Figure]]]] = {
    "levels": levels.measure,
    "scenarios": scenarios.measure,
}


@asynccontextmanager
async def _stage(server: postgres.Server, plan: Plan, watch: Callable[[str], None]) -> AsyncIterator[Stage]:
    watch("TPC-B's tables")
    async with stage.prepared(server, plan, watch) as ready:
        yield ready


def _bar(total: int) -> Progress:
    columns = (TimeElapsedColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=console.err, transient=True, disable=not console.err.is_terminal)


def _long_bar() -> Progress:
    columns = (TimeElapsedColumn(), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
               TextColumn("{task.description}", markup=False))  # fmt: skip
    return Progress(
        *columns, console=console.err, transient=True, disable=not console.err.is_terminal, speed_estimate_period=300
    )


def _teller(bar: Progress) -> long.Teller:
    """A bar with the time left for each step; without a terminal a line now and then."""

    def step(name: str, total: float | None) -> long.Advance:
        say(name)
        for before in bar.tasks:
            bar.remove_task(before.id)
        task = bar.add_task(name, total=total)
        began, done, told = time.monotonic(), 0.0, 0

        def advance(some: float) -> None:
            nonlocal done, told
            done += some
            bar.update(task, advance=some)
            if total and not console.err.is_terminal and int(20 * done / total) > told:
                told = int(20 * done / total)
                left = timedelta(seconds=round((time.monotonic() - began) * (total - done) / done))
                console.err.print(f"{done / total:.0%} of {name}, about {left} left", markup=False)

        return advance

    def say(line: str) -> None:
        bar.console.print(line, markup=False)

    return long.Teller(step, say)


def _watch(bar: Progress, task: TaskID, *, advances: bool = False) -> Callable[[str], None]:
    def say(name: str) -> None:
        if not console.err.is_terminal:
            console.err.print(name, markup=False)
        bar.update(task, description=name, advance=1 if advances else 0)

    return say


if __name__ == "__main__":
    app()
