"""`tessera settle`: close cut-offs, settle them, show what came of it and write it as CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.table import Column, Table

from kit import console
from kit.amounts import decimal_from_minor
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from ledger.cutoffs import Cutoff
from partners import directory
from partners.clearing import clearing
from partners.clearing.clearing import PartnerName
from partners.terms import Terms
from settlement import archive, desk_commands, liability, runs, statements
from settlement import what_if as drafts
from settlement.archive import Obligation, Run, RunHead, Statement
from settlement.packages import building
from settlement.rating import OPERATOR
from settlement.what_if import Difference
from settlement.windows import cycle, standing
from settlement.windows import positions as position_batches
from settlement.windows.cycle import Window
from settlement.windows.standing import Position

app = typer.Typer(name="settle", help="What partners owe each other: cut-offs, runs, statements.", no_args_is_help=True)

At = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"],
        help="Business instant, UTC where it says no offset; by default the business clock's.",
        show_default=False,
    ),
]
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]

app.add_typer(desk_commands.app)


@app.command()
def close(at: At = None, actor: Actor = None) -> None:
    """Close the open cut-off: what is recorded from now on belongs to the next. Takes the role FINANCE_MAKER."""
    closed = console.run(_close(at, actor))
    _say(
        f"Cut-off {closed.cutoff_id} is closed: {closed.journal_count} entries, {closed.posting_count} postings, "
        f"{closed.posting_points} points moved. Next: tessera settle run"
    )


RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="Number of a run, as `show` lists it.", min=1)]


@app.command()
def run(at: At = None, actor: Actor = None) -> None:
    """Claim every window that is balanced and calculate it, a run for each currency. Takes the role FINANCE_MAKER.

    What was begun before and broken off goes on from where it stands.
    """
    done, names = console.run(_run(at, actor))
    for one in done:
        _show_run(one, names)
    for one in done:
        _say(f"Next: tessera settle control {one.head.run_id}")


@app.command()
def control(run_id: RunNumber, at: At = None, actor: Actor = None) -> None:
    """Hold a calculated run against every control. Takes the role FINANCE_MAKER."""
    done = console.run(_step(run_id, runs.control, "Looking for violations", at, actor))
    _say(f"Run {run_id} is {done.state}: every control holds. Next: tessera settle issue {run_id}")


@app.command()
def issue(run_id: RunNumber, at: At = None, actor: Actor = None) -> None:
    """Issue statements and documents of a controlled run and open its review. Takes the role FINANCE_MAKER."""
    done = console.run(_step(run_id, runs.issue, "Issuing statements and documents", at, actor))
    _say(f"Run {run_id} is {done.state}. When nobody may object any more: tessera settle approve {run_id}")


@app.command()
def approve(run_id: RunNumber, at: At = None, actor: Actor = None) -> None:
    """Approve a run after its review. Takes the role FINANCE_CHECKER, and somebody else than who made it."""
    done = console.run(_step(run_id, runs.approve, "Approving", at, actor))
    _say(f"Run {run_id} is {done.state}.")


@app.command()
def abort(
    run_id: RunNumber,
    reason: Annotated[str, typer.Option(help="Why; it stays with the run for ever.")],
    at: At = None,
    actor: Actor = None,
) -> None:
    """End a run before anything of it is paid; its windows are free again.

    Takes the role FINANCE_MAKER; once statements are issued FINANCE_CHECKER, and somebody else than who made it.
    """
    done = console.run(_step(run_id, partial(runs.abort, reason=reason), "Taking it back", at, actor))
    _say(f"Run {run_id} is {done.state}. Its windows can be settled again: tessera settle run")


@app.command()
def windows(
    currency: Annotated[str | None, typer.Option(help="Of one currency.", show_default=False)] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Of one state: OPEN, CUT, BALANCED, CLAIMED, SETTLED, BROKEN.", show_default=False),
    ] = None,
) -> None:
    """List windows, the latest first: a cut-off in one currency, or what came late in it for an earlier one."""
    _show_windows(console.run(_windows(currency, state)))


@app.command()
def positions(at: At = None) -> None:
    """Show what every partner would receive or pay now for what no run has settled, or would have at an instant."""
    instant, found, names = console.run(_positions(at))
    if not found:
        _say(f"At {_time(instant)} nothing is unsettled.")
        return
    table = Table("Partner", "Currency")
    for column in ("Carried", "Moved since", "Receives (+) or pays (-)"):
        table.add_column(column, justify="right")
    for one in found:
        amounts = (one.carried_micro, one.moved_micro, one.carried_micro + one.moved_micro)
        shown = [f"{statements.decimal_from_micro(amount):+,f}" for amount in amounts]
        table.add_row(names[one.partner_id].code, one.currency, *shown)
    _say(f"At {_time(instant)}:")
    console.out.print(table, markup=False)


@app.command()
def show(
    run_id: Annotated[
        int | None, typer.Argument(metavar="RUN", help="Number of a run; by default the list of all.", min=1)
    ] = None,
    partner: Annotated[
        str | None, typer.Option(help="Code of a partner, or `operator`: its statement.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the partner's statement to this file.", show_default=False)
    ] = None,
    detail: Annotated[
        Path | None,
        typer.Option("--detail", help="Write every posting behind the statement to this file.", show_default=False),
    ] = None,
) -> None:
    """Show the runs, one run, or a partner's statement in it."""
    if run_id is None:
        _refuse_without(run_id, {"--partner": partner, "--csv": csv, "--detail": detail}, "RUN")
        _show_runs(console.run(_runs()))
        return
    if partner is None:
        _refuse_without(partner, {"--csv": csv, "--detail": detail}, "--partner")
        _show_run(*console.run(_one_run(run_id)))
        return
    found, agreements = console.run(_statements(run_id, partner, csv, detail))
    for statement in found:
        _show_statement(statement, partner, agreements)
    for written in (csv, detail):
        if written is not None:
            _say(f"Written: {written}")


@app.command()
def obligation(at: At = None) -> None:
    """Show what the operator owes members at face, now or at a past instant: spendable points times their fund part."""
    instant, found, names, agreements = console.run(_obligation(at))
    if not found:
        _say(f"At {_time(instant)} nothing was owed.")
        return
    table = Table("Funder", "Agreement", "Currency")
    for column in ("Points", "At face"):
        table.add_column(column, justify="right")
    for one in found:
        funder = "the operator" if one.funder_id == OPERATOR else names[one.funder_id].code
        face = str(Decimal(one.amount_micro).scaleb(-6))
        table.add_row(funder, agreements[one.terms_id], one.currency, str(one.points), face)
    _say(f"At {_time(instant)}:")
    console.out.print(table, markup=False)


@app.command()
def package(
    run_id: RunNumber,
    partner: Annotated[str, typer.Argument(metavar="PARTNER", help="Code of a partner.")],
    out: Annotated[Path, typer.Option("--out", help="The zip file to write.", show_default=False)],
    at: At = None,
) -> None:
    """Write the signed package of a partner's statement, with which it recomputes every line without us."""
    console.run(_package(run_id, partner, at, out))
    _say(f"Written: {out}. The partner unpacks verify.py and says: python3 verify.py {out.name} --key KEYS.json")


@app.command("what-if")
def what_if(
    run_id: RunNumber,
    partner: Annotated[str, typer.Argument(metavar="PARTNER", help="Code of a partner.")],
    change: Annotated[list[str], typer.Option("--set", help="A price as NAME=INTEGER, as service_price_micro=1200.")],
) -> None:
    """Show what other prices would have made of a run that is over. Writes nothing."""
    found = console.run(_what_if(run_id, partner, change))
    table = Table("Kind")
    for column in ("As it was", "As it would have been", "Difference"):
        table.add_column(column, justify="right")
    for one in found:
        shown = (one.base_micro, one.scenario_micro, one.delta_micro)
        table.add_row(one.kind, *(f"{statements.decimal_from_micro(amount):+f}" for amount in shown))
    console.out.print(table, markup=False)


# --- What is done -------------------------------------------------------------------------------------------


async def _close(at: datetime | None, actor: str | None) -> Cutoff:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        with console.progress("Applying what is due") as advance:
            return await runs.close_cutoff(database, actor=actor or console.login_name(), at=instant, progress=advance)


async def _run(at: datetime | None, actor: str | None) -> tuple[list[Run], dict[int, PartnerName]]:
    """Each step a transaction of its own, so that what was done stays done whatever happens then."""
    who = actor or console.login_name()
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        with console.progress("Reading what was recorded") as advance:
            await position_batches.catch_up(database, at=instant, advance=advance)
        async with database.transaction() as connection:
            begun = await runs.begin(connection, actor=who, at=instant)
        with console.progress("Calculating", total=len(begun)) as advance:
            for run_id in begun:
                async with database.transaction() as connection:
                    await runs.calculate(connection, run_id, actor=who, at=instant)
                advance(1)
        async with database.reading() as connection:
            return [await archive.run(connection, n) for n in begun], await clearing.names(connection)


async def _step(
    run_id: int, step: Callable[..., Awaitable[RunHead]], doing: str, at: datetime | None, actor: str | None
) -> RunHead:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        with console.progress(doing, total=1) as advance:
            async with database.transaction() as connection:
                done = await step(connection, run_id, actor=actor or console.login_name(), at=instant)
            advance(1)
            return done


async def _package(run_id: int, code: str, at: datetime | None, out: Path) -> None:
    async with console.database(settings()) as database:
        vault = Vault(load_master_key(settings()))
        instant = await _instant(database, at)
        async with database.reading() as connection:
            party_id = _party(code, await clearing.names(connection))
        signed = (await directory.DirectoryCache(database.pool, vault).get()).partner(party_id)
        if signed is None:
            console.fail("the operator has no package: it is the other side of everybody's")
        with console.progress("Sealing and signing", total=1) as advance:
            with _whole(out) as file:
                async with database.transaction() as connection:
                    await building.write(connection, vault, run_id, party_id, file, id_key=signed.id_key, at=instant)
            advance(1)


@contextmanager
def _whole(out: Path) -> Iterator[BinaryIO]:
    """A file that is there when all of it is written, and not before."""
    beginning = out.with_name(f".{out.name}.part")
    try:
        with beginning.open("w+b") as file:
            yield file
        beginning.replace(out)
    finally:
        beginning.unlink(missing_ok=True)


async def _what_if(run_id: int, code: str, said: list[str]) -> list[Difference]:
    changes = {}
    for one in said:
        name, _, value = one.partition("=")
        if not value.isdecimal():
            console.fail(f"not a price as NAME=INTEGER: {one}")
        changes[name] = int(value)
    async with console.database(settings()) as database, database.reading() as connection:
        party_id = _party(code, await clearing.names(connection))
        return await drafts.compare(connection, run_id, party_id, changes)


async def _windows(currency: str | None, state: str | None) -> list[Window]:
    async with console.database(settings()) as database, database.reading() as connection:
        found = await cycle.windows(connection, currency=currency, states=None if state is None else [state])
    return found[::-1]


async def _positions(at: datetime | None) -> tuple[datetime, list[Position], dict[int, PartnerName]]:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        if at is None:
            with console.progress("Reading what was recorded") as advance:
                await position_batches.catch_up(database, at=instant, advance=advance)
        async with database.reading() as connection:
            found = await standing.now(connection) if at is None else await standing.as_of(connection, at=instant)
            return instant, found, await clearing.names(connection)


async def _obligation(
    at: datetime | None,
) -> tuple[datetime, list[Obligation], dict[int, PartnerName], dict[int, str]]:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        async with database.reading() as connection:
            found = await liability.obligation_at(connection, at=instant)
            names = await clearing.names(connection)
            signed = await clearing.agreed_terms(connection, {one.terms_id for one in found})
    return instant, found, names, {n: _agreement(terms, OPERATOR, names) for n, terms in signed.items()}


async def _runs() -> list[RunHead]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await archive.runs(connection)


async def _one_run(run_id: int) -> tuple[Run, dict[int, PartnerName]]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await archive.run(connection, run_id), await clearing.names(connection)


async def _statements(
    run_id: int, code: str, csv: Path | None, detail: Path | None
) -> tuple[list[Statement], dict[int, str]]:
    async with console.database(settings()) as database:
        async with database.reading() as connection:
            names = await clearing.names(connection)
            party_id = _party(code, names)
            found = [s for s in (await archive.run(connection, run_id)).statements if s.partner_id == party_id]
            terms = await clearing.agreed_terms(
                connection, {n.terms_id for s in found for n in s.lines if n.terms_id is not None}
            )
        if detail is not None and party_id == OPERATOR:
            console.fail("the operator's own detail is every partner's: ask for theirs, one by one")
        if not found:
            console.fail(f"{code} has no statement in run {run_id}: nothing moved that it pays or is paid for")
        agreements = {n: _agreement(signed, party_id, names) for n, signed in terms.items()}
        if csv is not None:
            _write(csv, [_csv(s, code, agreements) for s in found])
        if detail is not None:
            await _write_detail(database, found, detail)
        return found, agreements


def _csv(statement: Statement, code: str, agreements: Mapping[int, str]) -> str:
    return statements.statement_csv(
        statement.draft(), statement_id=statement.statement_id, partner=code, agreements=agreements
    )


async def _write_detail(database: Database, found: list[Statement], path: Path) -> None:
    """All postings behind a partner's statements, streamed: they may be many."""
    party_id = found[0].partner_id
    vault = Vault(load_master_key(settings()))
    signed = (await directory.DirectoryCache(database.pool, vault).get()).partner(party_id)
    assert signed is not None
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(statements.csv_row(statements.DETAIL_HEADER))
        for statement in found:
            async for row in _rows(database, statement, signed.id_key):
                file.write(row)


async def _rows(database: Database, statement: Statement, id_key: bytes) -> AsyncIterator[str]:
    async with database.transaction() as connection:
        async for posting in archive.detail(connection, statement, id_key=id_key):
            yield statements.detail_csv_row(posting, statement_id=statement.statement_id, currency=statement.currency)


def _write(path: Path, texts: list[str]) -> None:
    header, *_ = texts[0].splitlines(keepends=True)
    rest = [text.removeprefix(header) for text in texts]
    path.write_text("".join([header, *rest]), encoding="utf-8", newline="")


async def _instant(database: Database, at: datetime | None) -> datetime:
    if at is not None:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    async with database.reading() as connection:
        return await console.business_instant(connection, settings())


def _agreement(signed: Terms, party_id: int, names: Mapping[int, PartnerName]) -> str:
    """The version as the party knows it; the operator has one with everybody."""
    version = f"version {signed.version}"
    return version if party_id == signed.partner_id else f"{names[signed.partner_id].code}, {version}"


def _party(code: str, names: Mapping[int, PartnerName]) -> int:
    if code == "operator":
        return OPERATOR
    party_id = next((name.partner_id for name in names.values() if name.code == code), None)
    if party_id is None:
        console.fail(f"there is no partner {code}: `tessera partner list` shows them")
    return party_id


# --- What is shown ------------------------------------------------------------------------------------------


def _show_runs(heads: list[RunHead]) -> None:
    if not heads:
        _say("Nothing is settled yet: tessera settle close, then tessera settle run")
        return
    name = Column("Name", no_wrap=True)  # runs differ by its end
    table = Table("Run", name, "State", "At", "By", "From", "To", "Through cut-off")
    for head in heads:
        begin = "the beginning" if head.opened_at is None else _time(head.opened_at)
        table.add_row(
            str(head.run_id), head.name, head.state, _time(head.at), head.actor, begin, _time(head.cut_at),
            str(head.through_cutoff),
        )  # fmt: skip
    console.out.print(table, markup=False)


def _show_windows(found: list[Window]) -> None:
    if not found:
        _say("There is no such window.")
        return
    table = Table("Window", "Cut-off", "State", "Came late for")
    for column in ("Postings", "Points"):
        table.add_column(column, justify="right")
    for one in found:
        counts = ["" if n is None else f"{n:,}" for n in (one.postings, one.points)]
        late = f"cut-off {one.origin_cutoff}" if one.is_late else ""
        table.add_row(one.name, str(one.cutoff_id), one.state, late, *counts)
    console.out.print(table, markup=False)


def _show_run(done: Run, names: Mapping[int, PartnerName]) -> None:
    cutoffs = ", ".join(str(n) for n in done.cutoff_ids)
    head = done.head
    _say(f"Run {head.run_id} {head.name} at {_time(head.at)} by {head.actor}, cut-offs {cutoffs}: {head.state}")
    if not done.statements:
        _say("No money moved in it.")
        return
    table = Table("Party", "Currency", "Statement")
    for column in ("Lines", "Receives (+) or pays (-)"):
        table.add_column(column, justify="right")
    table.add_column("Payment")
    payments = {(p.partner_id, p.currency): p.direction for p in done.instructions}
    for s in done.statements:
        name = "the operator" if s.partner_id == OPERATOR else names[s.partner_id].name
        direction = payments.get((s.partner_id, s.currency), "")
        table.add_row(name, s.currency, str(s.statement_id), str(len(s.lines)), _signed(s.net_minor, s), direction)
    console.out.print(table, markup=False)
    for currency in sorted({s.currency for s in done.statements}):
        total = sum(s.net_minor for s in done.statements if s.currency == currency)
        _say(f"Sum of all nets in {currency}: {decimal_from_minor(total, currency):f}")


def _show_statement(statement: Statement, code: str, agreements: Mapping[int, str]) -> None:
    title = f"Statement {statement.statement_id} of {code}, run {statement.run_id}, {statement.currency}"
    table = Table("Line", "Kind", "Agreement", title=title)
    for column in ("Points", "Postings", "Price per point", "Exact", "Receives (+) or pays (-)"):
        table.add_column(column, justify="right")
    for line in statement.lines:
        priced = line.terms_id is not None
        table.add_row(
            str(line.line_no),
            line.kind,
            agreements[line.terms_id] if line.terms_id is not None else "",
            f"{line.points:,}" if priced else "",
            f"{line.postings:,}" if priced else "",
            f"{statements.decimal_from_micro(line.unit_price_micro):f}" if priced else "",
            f"{statements.decimal_from_micro(line.amount_micro):+f}",
            _signed(line.amount_minor, statement),
        )
    table.add_section()
    exact = f"{statements.decimal_from_micro(statement.net_micro):+f}"
    table.add_row("", "NET", "", "", "", "", exact, _signed(statement.net_minor, statement))
    console.out.print(table, markup=False)


def _signed(amount_minor: int, statement: Statement) -> str:
    return f"{decimal_from_minor(amount_minor, statement.currency):+,f}"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _refuse_without(needed: object, options: Mapping[str, object], name: str) -> None:
    given = [option for option, value in options.items() if value is not None]
    if needed is None and given:
        console.fail(f"{', '.join(given)} needs {name} too")


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
