"""`python -m benchmarks`: how fast it is, as ratios to TPC-B of the same run on the same server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import closing, coalition, levels, long, report, scenarios, stage
from benchmarks.coalition import PARTNERS, Crowd
from benchmarks.figures import Figure
from benchmarks.peers import drivers
from benchmarks.stage import Plan, Stage
from kit import console, postgres

FOLDER = Path(".data/bench")
LOADS = {"levels": 9, "scenarios": 10, "peers": 5}  # what each part tells of as it goes

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
    window: Annotated[int, typer.Option(help="Seconds of which a rate is taken.", min=1)] = 60,
    scale: Scale = _DEFAULT.scale,
    seed: Seed = _DEFAULT.seed,
    into: Into = report.RESULTS,
) -> None:
    """Ten million lots and a soak on them: half an hour and more, and some 15 GB of disk."""
    plan = Plan(seconds=10, scale=scale, seed=seed)

    async def go() -> None:
        with _bar(lots) as bar:
            task = bar.add_task("", total=lots)
            watch = _watch(bar, task)
            async with _stage(server, plan, watch) as ready:
                found = await long.measure(
                    ready, lots=lots, minutes=minutes, window_seconds=window, advance=lambda n: bar.advance(task, n)
                )
                settings = await ready.settings()
        settings["minutes"] = minutes
        console.out.print(f"stored in {report.store('long', found.content(), settings, folder=into)}")
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
    into: Into = report.RESULTS,
) -> None:
    """What closing a cut-off and calculating its run costs as postings grow tenfold."""

    async def go(server: postgres.Server) -> None:
        with _bar(sum(postings)) as bar:
            task = bar.add_task("", total=sum(postings))
            found = await closing.measure(
                server, postings, rounds=rounds, holders=holders, watch=_watch(bar, task),
                advance=lambda n: bar.advance(task, n),
            )  # fmt: skip
        settings = {"rounds": rounds, "holders": holders}
        console.out.print(f"stored in {report.store('closing', found.content(), settings, folder=into)}")
        console.out.print(report.write_page(into).read_text().partition("## Closing")[2])

    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(go(server))


@app.command("report")
def write_report(into: Into = report.RESULTS) -> None:
    """Make results/README.md from the JSON files beside it."""
    console.out.print(f"written to {report.write_page(into)}")


def _measure(parts: Sequence[str], plan: Plan, into: Path) -> None:
    with console.clear_errors(), postgres.running(FOLDER, durable=True) as server:
        console.run(_run(server, parts, plan, into))


async def _run(server: postgres.Server, parts: Sequence[str], plan: Plan, into: Path) -> None:
    found: dict[str, list[Figure]] = {}
    not_measured: dict[str, str] = {}
    with _bar(0) as bar:
        task = bar.add_task("", total=sum(LOADS[part] for part in parts))
        async with _stage(server, plan, _watch(bar, task, advances=True)) as ready:
            settings = await ready.settings()
            if {"levels", "scenarios"} & set(parts):
                settings["audit_violations"] = await _ours(ready, parts, found)
            if "peers" in parts:
                found["peers"], not_measured = await drivers.measure(ready)
            unit = ready.unit_figure()
    for part, figures in found.items():
        why = not_measured if part == "peers" else {}
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


def _watch(bar: Progress, task: TaskID, *, advances: bool = False) -> Callable[[str], None]:
    def say(name: str) -> None:
        if not console.err.is_terminal:
            console.err.print(name, markup=False)
        bar.update(task, description=name, advance=1 if advances else 0)

    return say


if __name__ == "__main__":
    app()
