"""`tessera settle`: close cut-offs, settle them, show what came of it and write it as CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kit import console
from kit.amounts import decimal_from_minor
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from ledger.cutoffs import Cutoff
from partners import clearing, directory
from partners.clearing import PartnerName
from partners.terms import Terms
from settlement import liability, runs, statements
from settlement.rating import OPERATOR
from settlement.runs import Obligation, Run, RunHead, Statement

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


@app.command()
def close(at: At = None, actor: Actor = None) -> None:
    """Close the open cut-off: what is recorded from now on belongs to the next. Takes the role FINANCE_MAKER."""
    closed = console.run(_close(at, actor))
    _say(
        f"Cut-off {closed.cutoff_id} is closed: {closed.journal_count} entries, {closed.posting_count} postings, "
        f"{closed.posting_points} points moved. Next: tessera settle run"
    )


@app.command()
def run(at: At = None, actor: Actor = None) -> None:
    """Settle every closed cut-off that is not settled. Takes the role FINANCE_MAKER."""
    done, names = console.run(_run(at, actor))
    _show_run(done, names)


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


# --- What is done -------------------------------------------------------------------------------------------


async def _close(at: datetime | None, actor: str | None) -> Cutoff:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        with console.progress("Applying what is due") as advance:
            return await runs.close_cutoff(database, actor=actor or console.login_name(), at=instant, progress=advance)


async def _run(at: datetime | None, actor: str | None) -> tuple[Run, dict[int, PartnerName]]:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        async with database.transaction() as connection:
            done = await runs.settle(connection, actor=actor or console.login_name(), at=instant)
            return done, await clearing.names(connection)


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
        return await runs.runs(connection)


async def _one_run(run_id: int) -> tuple[Run, dict[int, PartnerName]]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await runs.run(connection, run_id), await clearing.names(connection)


async def _statements(
    run_id: int, code: str, csv: Path | None, detail: Path | None
) -> tuple[list[Statement], dict[int, str]]:
    async with console.database(settings()) as database:
        async with database.reading() as connection:
            names = await clearing.names(connection)
            party_id = _party(code, names)
            found = [s for s in (await runs.run(connection, run_id)).statements if s.partner_id == party_id]
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
        async for posting in runs.detail(connection, statement, id_key=id_key):
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
    table = Table("Run", "At", "By", "From", "To", "Through cut-off")
    for head in heads:
        begin = "the beginning" if head.opened_at is None else _time(head.opened_at)
        table.add_row(str(head.run_id), _time(head.at), head.actor, begin, _time(head.cut_at), str(head.through_cutoff))
    console.out.print(table, markup=False)


def _show_run(done: Run, names: Mapping[int, PartnerName]) -> None:
    cutoffs = ", ".join(str(n) for n in done.cutoff_ids)
    _say(f"Run {done.head.run_id} at {_time(done.head.at)} by {done.head.actor}, cut-offs {cutoffs}")
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
