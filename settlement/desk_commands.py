"""`tessera settle …` for the desk of finance: what two people decide, calendars, taxes, caps, deposits, defaults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import console
from kit.approvals import Approval
from kit.database import Database
from kit.settings import settings
from ledger import cutoffs
from ledger.cutoffs import Cutoff
from partners.agreements import onboarding
from partners.clearing import clearing
from settlement import archive, calendars, proposals, runs, scheduling
from settlement.archive import RunHead, Step
from settlement.documents import taxes
from settlement.documents.drawing import TaxRule
from settlement.exposure import defaults, deposits, limits
from settlement.exposure.caps import Exposure
from settlement.exposure.deposits import Deposited
from settlement.exposure.tills import TillLimits
from settlement.money import commands as books
from settlement.money import openings
from settlement.statements import decimal_from_micro

app = typer.Typer()

Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="Number of a run, as `runs` lists it.", min=1)]
Partner = Annotated[str, typer.Argument(metavar="PARTNER", help="Code of a partner.", show_default=False)]
Currency = Annotated[str, typer.Option("--currency", help="The currency, as EUR.", show_default=False)]
Amount = Annotated[str, typer.Argument(help="An amount above zero, as 1500.00.", show_default=False)]
Reference = Annotated[str, typer.Option("--reference", help="The other side's own number.", show_default=False)]
Day = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The day, as 2026-05-09.", show_default=False)]


# --- Runs and cut-offs ----------------------------------------------------------------------------------------


@app.command("runs")
def show_runs(
    state: Annotated[str | None, typer.Option(help="Of one state, as IN_REVIEW.", show_default=False)] = None,
    currency: Annotated[str | None, typer.Option(help="Of one currency.", show_default=False)] = None,
) -> None:
    """List runs with their state and their certificate, the latest first; and which currencies are due."""
    found, due = console.run(_runs(state, currency))
    table = Table("Run", "Name", "State", "Cut", "By", "Certificate")
    for head, certificate in found:
        table.add_row(str(head.run_id), head.name, head.state, _time(head.cut_at), head.actor, certificate)
    console.out.print(table, markup=False)
    if due:
        _say(f"A cycle has ended and nothing covers it yet: {', '.join(due)}")


@app.command("certificate")
def show_certificate(run_id: RunNumber) -> None:
    """Show what the second engine said of a run, check by check."""
    step = console.run(_certificate(run_id))
    if step is None:
        _say(f"Run {run_id} is not controlled yet: tessera settle control {run_id}")
        raise typer.Exit(1)
    kept = step.evidence["certificate"]
    table = Table("Check", "Checked", "First engine", "Second engine", "Differences")
    for check in kept["checks"]:
        amounts = (f"{decimal_from_micro(check[name]):+f}" for name in ("expected_micro", "actual_micro"))
        table.add_row(check["code"], str(check["population"]), *amounts, "; ".join(check["differences"]) or "none")
    console.out.print(table, markup=False)
    _say(f"SHA-256 {kept['sha256']}, at {_time(step.at)} by {step.actor}")


@app.command("cutoffs")
def show_cutoffs() -> None:
    """List cut-offs, the latest first, with what was counted when each was cut."""
    table = Table("Cut-off", "State", "Opened", "Cut")
    for column in ("Entries", "Postings", "Points"):
        table.add_column(column, justify="right")
    for one in console.run(_cutoffs())[::-1]:
        opened = "the beginning" if one.opened_at is None else _time(one.opened_at)
        counts = ("" if n is None else f"{n:,}" for n in (one.journal_count, one.posting_count, one.posting_points))
        table.add_row(str(one.cutoff_id), one.state, opened, "" if one.cut_at is None else _time(one.cut_at), *counts)
    console.out.print(table, markup=False)


@app.command()
def supersede(
    run_id: RunNumber,
    reason: Annotated[str, typer.Option(help="Why; it stays with the run for ever.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Draft a new version of a run whose statements nobody has seen. Takes the role FINANCE_MAKER."""
    number = console.run(_supersede(run_id, reason, actor))
    _say(f"Run {number} takes the place of {run_id}. Next: tessera settle run")


@app.command()
def accept(
    statement_id: Annotated[int, typer.Argument(metavar="STATEMENT", help="Number of a statement.", min=1)],
    partner: Annotated[str, typer.Option(help="Whose statement it is.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Note that a partner accepts its statement before its time to object is over."""
    console.run(_accept(statement_id, partner, actor))
    _say(f"Statement {statement_id} is accepted.")


@app.command("cycle")
def advance(actor: Actor = None) -> None:
    """Do now what the worker does: close a cut-off whose cycle has ended, and make its runs ready to be issued."""
    done = console.run(_advance(actor))
    closed = "No cycle has ended" if done.cutoff_id is None else f"Cut-off {done.cutoff_id} is closed"
    _say(f"{closed}; controlled: {', '.join(map(str, done.run_ids)) or 'no run'}.")


# --- Calendars and taxes ----------------------------------------------------------------------------------------


@app.command("holidays")
def show_holidays() -> None:
    """List the days on which nobody works: reviews do not count them."""
    table = Table("Day", "Name")
    for day, name in console.run(_holidays()):
        table.add_row(day.isoformat(), name)
    console.out.print(table, markup=False)


@app.command("holiday")
def declare(day: Day, name: Annotated[str, typer.Argument(help="What it is called.")], actor: Actor = None) -> None:
    """Declare a day on which nobody works. Takes the role FINANCE_MAKER. Reviews that were opened keep their end."""
    console.run(_declare(day.date(), name, actor))
    _say(f"{day:%Y-%m-%d} is a holiday.")


@app.command("tax-rules")
def show_taxes() -> None:
    """List the version of every tax rule that holds now."""
    table = Table("Rule", "Version", "Rate", "Rounded per", "Tax code")
    for rule in console.run(_taxes()):
        table.add_row(
            rule.code, str(rule.version), f"{Decimal(rule.rate_bp).scaleb(-2):f} %", rule.rounding, rule.tax_code
        )
    console.out.print(table, markup=False)


@app.command("tax-rule")
def propose_tax(
    code: Annotated[str, typer.Argument(help="Its name in capitals, as agreements have it.")],
    rate_bp: Annotated[int, typer.Argument(help="The rate in basis points: 2000 is 20 %.")],
    valid_from: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"], help="From when it holds.")
    ],
    tax_code: Annotated[str, typer.Option(help="What documents call it.")],
    rounding: Annotated[str, typer.Option(help="LINE or DOCUMENT.")] = "LINE",
    actor: Actor = None,
) -> None:
    """Propose a version of a tax rule. Takes the role FINANCE_MAKER."""
    rule = TaxRule(code=code, version=0, rate_bp=rate_bp, rounding=rounding, tax_code=tax_code)
    begins = valid_from if valid_from.tzinfo else valid_from.replace(tzinfo=UTC)
    _waits(console.run(_propose_tax(rule, begins, actor)))


# --- Caps, deposits, defaults -----------------------------------------------------------------------------------


@app.command("exposure")
def show_exposure(
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Measure now, set the tills' limits, let go what there is room for.")
    ] = False,
) -> None:
    """Show where partners with a cap stand: what they owe and may come to owe, what covers it, what waits."""
    found, names = console.run(_exposure(enforce))
    table = Table("Partner", "Currency")
    for column in ("Owes", "May come", "Waits", "Cover", "Exposure", "Cap"):
        table.add_column(column, justify="right")
    table.add_column("At the cap")
    table.add_column("May still issue", justify="right")
    for one in found:
        owed = (one.debit_micro, one.pending_micro, one.withheld_micro)
        micro = (*owed, one.cover_micro, one.exposure_micro, one.cap_micro)
        shown = (f"{decimal_from_micro(amount):,f}" for amount in micro)
        points = "" if one.limit_points is None else f"{one.limit_points:,}"
        table.add_row(names[one.partner_id], one.currency, *shown, one.policy, points)
    console.out.print(table, markup=False)


@app.command("deposits")
def show_deposits() -> None:
    """Show what partners have to have deposited by their agreements, and what they have."""
    found, names = console.run(_deposits())
    table = Table("Partner", "Currency")
    for column in ("Prefunding", "Collateral", "Deposited", "Missing", "Retained"):
        table.add_column(column, justify="right")
    for one in found:
        micro = (one.prefunding_micro, one.collateral_micro, one.deposited_micro, one.missing_micro, one.retained_micro)
        table.add_row(names[one.partner_id], one.currency, *(f"{decimal_from_micro(amount):,f}" for amount in micro))
    console.out.print(table, markup=False)


@app.command()
def deposit(partner: Partner, amount: Amount, currency: Currency, reference: Reference, actor: Actor = None) -> None:
    """Record what a partner deposited as prefunding or collateral. Takes the role FINANCE_MAKER."""
    console.run(_deposit(partner, books.micro(amount), currency, reference, actor))
    _say(f"{partner} deposited {amount} {currency}.")


@app.command("return-deposit")
def return_deposit(
    partner: Partner, amount: Amount, currency: Currency, reference: Reference, actor: Actor = None
) -> None:
    """Propose to give a part of a deposit back. Takes the role FINANCE_MAKER."""
    _waits(console.run(_return_deposit(partner, books.micro(amount), currency, reference, actor)))


@app.command("cover")
def propose_cover(run_id: RunNumber, partner: Partner, actor: Actor = None) -> None:
    """Propose to cover what a partner did not pay for a run: from prefunding, holdback, collateral, the operator's own.

    Takes the role FINANCE_MAKER.
    """
    _waits(console.run(_propose_cover(run_id, partner, actor)))


@app.command("defaults")
def show_defaults(run_id: RunNumber) -> None:
    """Show what was taken for partners that did not pay for a run, in the order in which it was."""
    found, names = console.run(_defaults(run_id))
    table = Table("Partner", "Step", "From", "Minor units", "By", "At")
    for one in found:
        table.add_row(
            names[one.partner_id], str(one.step_no), one.source, f"{one.amount_minor:,}", one.actor, _time(one.at)
        )
    console.out.print(table, markup=False)


# --- What two people decide --------------------------------------------------------------------------------------


@app.command("import-opening-balances")
def import_openings(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, or JSON lines where it ends in .jsonl.")],
    actor: Actor = None,
) -> None:
    """Propose a file of points and money of before the programme came here, by funder and cohort: whole or not at all.

    The same file again changes nothing. Takes the role FINANCE_MAKER.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        console.fail(f"{path} cannot be read: {error.strerror}")
    _waits(console.run(_import(content, path.suffix == ".jsonl", actor)))


@app.command("proposals")
def show_proposals() -> None:
    """List what finance proposed and nobody has decided."""
    table = Table("Proposal", "Kind", "About", "By", "Since")
    for one, maker in console.run(_proposals()):
        table.add_row(str(one.approval_id), one.kind, one.subject, maker, _time(one.made_at))
    console.out.print(table, markup=False)


@app.command()
def decide(
    approval: Annotated[int, typer.Argument(metavar="PROPOSAL", help="Its number, as `proposals` lists it.")],
    decline: Annotated[bool, typer.Option("--decline", help="Decline it instead.")] = False,
    actor: Actor = None,
) -> None:
    """Approve what somebody else proposed and do it, or decline it. Takes the role FINANCE_CHECKER."""
    found = console.run(_decide(approval, actor, approved=not decline))
    _say(f"Proposal {approval}, {found.subject}: {'declined' if decline else 'approved and done'}.")


app.command("buy-out")(books.buy_out)
app.command("exit")(books.leave)


# --- What is done -------------------------------------------------------------------------------------------------


async def _runs(state: str | None, currency: str | None) -> tuple[list[tuple[RunHead, str]], list[str]]:
    async with _reading() as (connection, at):
        found = [r for r in await archive.runs(connection, currency=currency) if state in (None, r.state)]
        due = await scheduling.due(connection, at=at)
        return [(head, await _status(connection, head.run_id)) for head in found], due


async def _status(connection: AsyncConnection, run_id: int) -> str:
    return runs.certificate_status(await archive.trail(connection, run_id))


async def _certificate(run_id: int) -> Step | None:
    async with _reading() as (connection, _):
        await archive.head(connection, run_id)
        return runs.certified(await archive.trail(connection, run_id))


async def _cutoffs() -> list[Cutoff]:
    async with _reading() as (connection, _):
        return await cutoffs.cutoffs(connection)


async def _supersede(run_id: int, reason: str, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        return await runs.supersede(connection, run_id, actor=name, reason=reason, at=at)


async def _accept(statement_id: int, partner: str, actor: str | None) -> None:
    async with _acting(actor) as (connection, name, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        await runs.accept(connection, statement_id, partner_id=partner_id, actor=name, at=at)


async def _advance(actor: str | None) -> scheduling.Done:
    async with console.database(settings()) as database:
        async with database.transaction() as connection:
            await runs.require_maker(connection, actor or console.login_name())
        return await scheduling.advance(database, at=await _now(database))


async def _holidays() -> list[tuple[date, str]]:
    async with _reading() as (connection, _):
        return await runs.holidays(connection)


async def _declare(day: date, name: str, actor: str | None) -> None:
    if not calendars.is_business_day(day, ()):
        console.fail(f"{day} is a Saturday or Sunday: nobody works then anyway")
    async with _acting(actor) as (connection, who, at):
        await runs.declare_holiday(connection, day=day, name=name, actor=who, at=at)


async def _taxes() -> list[TaxRule]:
    async with _reading() as (connection, at):
        return list((await taxes.in_force(connection, at=at)).values())


async def _propose_tax(rule: TaxRule, valid_from: datetime, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        return await taxes.propose(connection, rule=rule, valid_from=valid_from, maker=name, at=at)


async def _exposure(enforce: bool) -> tuple[list[Exposure], dict[int, str]]:
    async with console.database(settings()) as database:
        at = await _now(database)
        if enforce:
            await limits.enforce(database, TillLimits(), at=at)
        async with database.reading() as connection:
            return await limits.measure(connection, at=at), await _codes(connection)


async def _deposits() -> tuple[list[Deposited], dict[int, str]]:
    async with _reading() as (connection, at):
        return await deposits.standings(connection, at=at), await _codes(connection)


async def _deposit(partner: str, amount: int, currency: str, reference: str, actor: str | None) -> None:
    async with _acting(actor) as (connection, name, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        await deposits.record(
            connection, partner_id, currency=currency, amount_micro=amount, reference=reference, actor=name, at=at
        )


async def _return_deposit(partner: str, amount: int, currency: str, reference: str, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        return await deposits.propose_return(
            connection, partner_id, currency=currency, amount_micro=amount, reference=reference, maker=name, at=at
        )


async def _propose_cover(run_id: int, partner: str, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        return await defaults.propose(connection, run_id, partner_id, maker=name, at=at)


async def _defaults(run_id: int) -> tuple[list[defaults.Step], dict[int, str]]:
    async with _reading() as (connection, _):
        await archive.head(connection, run_id)
        return await defaults.steps(connection, run_id), await _codes(connection)


async def _import(content: bytes, is_json: bool, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        return await openings.propose(connection, content, is_json=is_json, maker=name, at=at)


async def _proposals() -> list[tuple[Approval, str]]:
    async with _reading() as (connection, _):
        found = await proposals.waiting(connection)
        return list(zip(found, await proposals.makers(connection, found), strict=True))


async def _decide(approval_id: int, actor: str | None, *, approved: bool) -> Approval:
    async with _acting(actor) as (connection, name, at):
        return await proposals.decide(connection, approval_id, checker=name, approved=approved, at=at)


@asynccontextmanager
async def _acting(actor: str | None) -> AsyncIterator[tuple[AsyncConnection, str, datetime]]:
    """A transaction, the name of whoever acts, and the business instant."""
    async with console.database(settings()) as database, database.transaction() as connection:
        yield connection, actor or console.login_name(), await console.business_instant(connection, settings())


@asynccontextmanager
async def _reading() -> AsyncIterator[tuple[AsyncConnection, datetime]]:
    async with console.database(settings()) as database, database.reading() as connection:
        yield connection, await console.business_instant(connection, settings())


async def _now(database: Database) -> datetime:
    async with database.reading() as connection:
        return await console.business_instant(connection, settings())


async def _codes(connection: AsyncConnection) -> dict[int, str]:
    return {partner_id: name.code for partner_id, name in (await clearing.names(connection)).items()}


# --- What is shown ------------------------------------------------------------------------------------------------


def _waits(number: int) -> None:
    _say(f"Proposal {number} waits for somebody else: tessera settle decide {number}")


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
