"""`tessera rules`: rules are checked, rehearsed, submitted by one person, published by another, and suspended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kit import actors, console
from kit.database import Database
from kit.errors import FieldProblem
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from members.commands import Actor
from partners.commands.members import desk
from partners.directory import Directory, DirectoryCache
from partners.promotions import budgets, drafts, launching, publishing, rehearsals
from partners.promotions.budgets import Budget, Usage
from partners.promotions.drafts import Draft
from partners.promotions.launching import Aim, Expectation, Objective
from partners.promotions.publishing import Launch, RuleInvalid
from partners.promotions.releases import Release, pinned
from partners.promotions.simulation import Change, Simulation
from partners.promotions.simulations import SimulationDiffers

app = typer.Typer(name="rules", help="Rules of promotions: check, simulate, publish, suspend.", no_args_is_help=True)

SHOWN = 5
File = Annotated[
    Path,
    typer.Argument(
        help="JSON: a rule, a list of rules, or promotions, budgets, rules, groups, without.",
        exists=True, dir_okay=False, show_default=False,
    ),
]  # fmt: skip
Days = Annotated[int, typer.Option(min=1, max=3660, help="How many days of purchases to rehearse on.")]
Number = Annotated[int, typer.Argument(help="The release's number.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A simulation, the hash of the release that it is about, and whom its numbers are about."""

    simulation: Simulation
    content_sha256: str
    names: Mapping[int, str]
    currency: str


@app.command()
def check(file: File) -> None:
    """Tell every problem of rules: where it is, in which column of a condition, and what was expected."""
    with console.clear_errors():
        found = drafts.problems(drafts.of(_json(file)))
    if not found:
        console.out.print("Nothing is wrong with these rules.")
        return
    table = Table("Where", "Column", "Problem")
    for problem in found:
        table.add_row(*_row(problem))
    console.out.print(table)
    raise typer.Exit(1)


@app.command()
def simulate(file: File, days: Days = 30, actor: Actor = None) -> None:
    """Rehearse a draft over the last days of purchases, as if its rules had been in force; nothing is written.

    Takes the role PROMOTION_MAKER.
    """
    _print(console.run(_simulate(drafts_in(file), days, actor)))


@app.command()
def publish(
    file: File,
    effective_from: Annotated[datetime, typer.Option("--from", prompt="From when, UTC", help="When it begins, UTC.")],
    metric: Annotated[str, typer.Option(prompt="Objective: what is measured", help="What the release is for.")],
    target: Annotated[int, typer.Option(prompt="Objective: the figure to reach", help="The figure to reach.")],
    due: Annotated[datetime, typer.Option(prompt="Objective: by which day", formats=["%Y-%m-%d"], help="By when.")],
    added_sales: Annotated[
        int, typer.Option(min=0, prompt="Sales it will add, minor units", help="Sales it adds, minor units.")
    ],
    margin_bp: Annotated[
        int, typer.Option(prompt="Margin of these, basis points", help="Contribution margin, basis points.")
    ],
    cover: Annotated[
        int,
        typer.Option(
            min=0, prompt="Cover for obligations, minor units", help="What stands for obligations, minor units."
        ),
    ],
    standing: Annotated[int, typer.Option(min=0, help="What is owed already, minor units.")] = 0,
    days: Days = 30,
    actor: Actor = None,
) -> None:
    """Draft the rules of a file and submit a release of them, with its objective, for another to approve.

    What it costs and adds to obligations is found by rehearsing it over the last days; sales are expected for as long.
    Takes the role PROMOTION_MAKER.
    """
    aim = Aim(Objective(metric, target, due.date()), added_sales, margin_bp, standing, cover)
    rehearsed, release_id, against = console.run(
        _publish(drafts_in(file), effective_from.replace(tzinfo=UTC), aim, days, actor)
    )
    _print(rehearsed)
    even = launching.break_even_sales(expectation(aim, rehearsed.simulation))
    if even is not None:
        console.out.print(f"It pays for itself from {even:,} minor units of added sales on.", markup=False)
    for message in against:
        console.out.print(f"Against it: {message}", markup=False)
    console.out.print(f"Release {release_id}: another publishes it with `tessera rules approve {release_id}`.")


@app.command()
def approve(
    release: Number,
    in_spite: Annotated[bool, typer.Option("--in-spite", help="Also where its launch did not pass the gate.")] = False,
    actor: Actor = None,
) -> None:
    """Publish what another submitted. Takes the role PROMOTION_CHECKER."""
    console.run(_decide(release, actor, approved=True, in_spite=in_spite))
    console.out.print(f"Release {release} is published.")


@app.command()
def decline(release: Number, actor: Actor = None) -> None:
    """Refuse what another submitted; it never decides anything. Takes the role PROMOTION_CHECKER."""
    console.run(_decide(release, actor, approved=False))
    console.out.print(f"Release {release} is declined.")


@app.command()
def suspend(
    codes: Annotated[list[str], typer.Argument(help="Codes of rules.", show_default=False)], actor: Actor = None
) -> None:
    """Take rules out of force at once. Takes the role PROMOTION_MAKER or PROMOTION_CHECKER, one person's."""
    made = console.run(_suspend(codes, actor))
    console.out.print(f"Suspended, by release {', '.join(map(str, made))}.")


@app.command("list")
def list_everything() -> None:
    """Every release with what became of it, and the rules that are in force now."""
    entries, now = console.run(_everything())
    table = Table("Release", "State", "From", "Rules", "By", "Decided by", "Against it")
    for entry in entries:
        table.add_row(
            str(entry.release_id), entry.state, f"{entry.effective_from:%Y-%m-%d %H:%M}", str(entry.rules),
            entry.author, entry.approver or "", "; ".join(entry.against),
        )  # fmt: skip
    console.out.print(table)
    rules = Table("Rule", "Version", "Promotion", "Trigger", "Effect", "Until", title=f"In force: {now.release_id}")
    for rule in now.rules:
        until = "" if rule.valid_until is None else f"{rule.valid_until:%Y-%m-%d %H:%M}"
        rules.add_row(rule.code, str(rule.version), rule.promotion, rule.trigger, rule.effect.type, until)
    console.out.print(rules)


@app.command("budgets")
def list_budgets() -> None:
    """Every budget, how much it allows, and what is used of the counter that is used most in its latest period.

    Of a budget that counts for more than a thousand members, cards or outlets the first thousand are looked at.
    """
    table = Table("Budget", "Unit", "Whose", "Period", "Limit", "Used", "Where that is full")
    for one, most in console.run(_budgets()):
        document = one.document
        table.add_row(
            document.code, one.currency or document.unit, ", ".join(document.scopes) or "all", document.period,
            f"{one.ceiling:,}", "" if most is None else f"{most.used:,} in {most.period_key or 'all'}",
            document.on_exceed,
        )  # fmt: skip
    console.out.print(table, markup=False)


@app.command()
def show(
    code: Annotated[str, typer.Argument(help="A rule's code.", show_default=False)],
    version: Annotated[int | None, typer.Option(help="Which; by default the latest.")] = None,
) -> None:
    """Print a rule's document as it was drafted."""
    print(json.dumps(console.run(_document(code, version)), indent=2, ensure_ascii=False))


def drafts_in(file: Path) -> Draft:
    """The draft of a file; ends the command with a sentence where it is none."""
    with console.clear_errors():
        return drafts.of(_json(file))


def _json(file: Path) -> Any:
    try:
        return drafts.plain_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        problem = FieldProblem(("file",), "INVALID", str(error))
        raise RuleInvalid(f"{file.name} is no JSON", problems=[problem]) from error


def _row(problem: FieldProblem) -> tuple[str, str, str]:
    column, expected = drafts.placed(problem)
    return ".".join(problem.path), "" if column is None else str(column), expected


# --- What the commands do -------------------------------------------------------------------------------------


async def _simulate(draft: Draft, days: int, actor: str | None) -> Rehearsed:
    async with console.database(settings()) as database:
        return await _rehearsed(database, draft, days, actor)


async def _rehearsed(database: Database, draft: Draft, days: int, actor: str | None) -> Rehearsed:
    """The draft over the last days. It is composed in a transaction that is taken back."""
    async with database.transaction() as connection:
        author = await actors.by_name(connection, actor or console.login_name())
        at = await console.business_instant(connection, settings())
        unkept = await connection.begin_nested()
        change = await drafts.keep(connection, draft, author=author, at=at)
        parent = await publishing.latest(connection)
        release = await publishing.compose(connection, parent, change, effective_from=max(at, parent.effective_from))
        await unkept.rollback()
    since = at - timedelta(days=days)
    directory = await DirectoryCache(database.pool, Vault(load_master_key(settings()))).get()
    count = await rehearsals.baskets(database.pool, since=since, until=at)
    with console.progress(f"Rehearsing {count:,} purchases of {days} days", total=count) as advance:
        found = await rehearsals.simulate(
            database.pool, directory, drafts.in_force_since(release, list(change.rules), since),
            since=since, until=at, progress=_steps(advance),
        )  # fmt: skip
    return Rehearsed(found, release.content_sha256, _names(directory), directory.programme.base_currency)


async def _publish(
    draft: Draft, effective_from: datetime, aim: Aim, days: int, actor: str | None
) -> tuple[Rehearsed, int, Sequence[str]]:
    async with console.database(settings()) as database:
        rehearsed = await _rehearsed(database, draft, days, actor)
    launch = Launch(aim.objective, expectation(aim, rehearsed.simulation))
    async with desk(actor) as opened:
        change = await drafts.keep(opened.connection, draft, author=opened.actor_id, at=opened.at)
        release_id = await publishing.submit(
            opened.connection, change, effective_from=effective_from, maker=opened.actor_id, at=opened.at, launch=launch
        )  # fmt: skip
        if (await publishing.read(opened.connection, release_id)).content_sha256 != rehearsed.content_sha256:
            raise SimulationDiffers("rules or budgets were changed while it was rehearsed: begin again")
        entry = (await publishing.register(opened.connection))[0]
    return rehearsed, release_id, entry.against


def expectation(aim: Aim, found: Simulation) -> Expectation:
    """What is expected of a launch: cost and obligation are what the rehearsal gave more than was given."""
    return launching.expectation(
        aim,
        points_minor=found.draft.worth_minor - found.was.worth_minor,
        off_minor=found.draft.discount_minor - found.was.discount_minor,
        rehearsed=found.baskets,
    )


async def _decide(release_id: int, actor: str | None, *, approved: bool, in_spite: bool = False) -> None:
    async with desk(actor) as opened:
        if approved:
            await publishing.approve(
                opened.connection, release_id, checker=opened.actor_id, at=opened.at, in_spite=in_spite
            )
        else:
            await publishing.decline(opened.connection, release_id, checker=opened.actor_id, at=opened.at)


async def _suspend(codes: Sequence[str], actor: str | None) -> list[int]:
    async with desk(actor) as opened:
        return await publishing.suspend(opened.connection, codes, actor=opened.actor_id, at=opened.at)


async def _everything() -> tuple[list[publishing.Entry], Release]:
    async with console.database(settings()) as database, database.reading() as connection:
        at = await console.business_instant(connection, settings())
        known = await publishing.binding(connection)
        return await publishing.register(connection), pinned(known, occurred_at=at, received_at=at)


async def _budgets() -> list[tuple[Budget, Usage | None]]:
    async with console.database(settings()) as database, database.reading() as connection:
        found = await budgets.everything(connection)
        most = [await budgets.usage(connection, one.document.code, limit=1) for one in found]
        return [(one, used[0] if used else None) for one, used in zip(found, most, strict=True)]


async def _document(code: str, version: int | None) -> dict[str, Any]:
    async with console.database(settings()) as database, database.reading() as connection:
        drafted = await publishing.versions(connection, code)
    chosen = drafted[-1] if version is None else next((one for one in drafted if one.version == version), None)
    if chosen is None:
        raise publishing.RuleUnknown(f"rule {code} has versions 1 to {drafted[-1].version}")
    return chosen.source


# --- What they print ------------------------------------------------------------------------------------------


def _steps(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Turns how many are done into how many more."""
    done = 0

    def told(count: int) -> None:
        nonlocal done
        advance(count - done)
        done = count

    return told


def _names(directory: Directory) -> dict[int, str]:
    return {0: directory.programme.name} | {one.partner_id: one.code for one in directory.partners()}


def _print(rehearsed: Rehearsed) -> None:
    found, was, draft = rehearsed.simulation, rehearsed.simulation.was, rehearsed.simulation.draft
    table = Table("", "As it was", "With the draft", title=f"{found.baskets:,} purchases; money in minor units of "
                  f"{rehearsed.currency}")  # fmt: skip
    for name, before, after in (
        ("Points", was.points, draft.points),
        ("  worth", was.worth_minor, draft.worth_minor),
        ("Discounts", was.discount_minor, draft.discount_minor),
        ("Liability, points more", 0, found.obligation_points),
    ):
        table.add_row(name, f"{before:,}", f"{after:,}")
    for column in table.columns[1:]:
        column.justify = "right"
    console.out.print(table)
    console.out.print(_costs(rehearsed))
    console.out.print(_by_rule(found))
    console.out.print(f"Winners {found.winners:,}, losers {found.losers:,}, unchanged {found.unchanged:,}.")
    _most("gained", found.most_gained)
    _most("lost", found.most_lost)
    for budget, count in found.exhausted.items():
        console.out.print(f"Budget {budget} bound {count:,} times.", markup=False)


def _costs(rehearsed: Rehearsed) -> Table:
    was, draft = rehearsed.simulation.was, rehearsed.simulation.draft
    table = Table("Funder", "Points", "more", "Discounts", "more")
    parties = {*was.points_by_funder, *draft.points_by_funder, *was.discount_by_funder, *draft.discount_by_funder}
    for party in sorted(parties):
        row = [rehearsed.names.get(party, str(party))]
        for before, after in ((was.points_by_funder, draft.points_by_funder),
                              (was.discount_by_funder, draft.discount_by_funder)):  # fmt: skip
            row += [f"{after.get(party, 0):,}", f"{after.get(party, 0) - before.get(party, 0):+,}"]
        table.add_row(*row)
    return table


def _by_rule(found: Simulation) -> Table:
    table = Table("Rule", "Applied", "Points", "Discounts")
    draft = found.draft
    for rule, count in draft.applied_by_rule.items():
        table.add_row(
            rule, f"{count:,}", f"{draft.points_by_rule.get(rule, 0):,}", f"{draft.discount_by_rule.get(rule, 0):,}"
        )
    return table


def _most(word: str, changes: Iterable[Change]) -> None:
    shown = [f"member {one.member}: {one.worth_minor:+,}" for one in changes][:SHOWN]
    if shown:
        console.out.print(f"Who {word} most: {'; '.join(shown)}", markup=False)
