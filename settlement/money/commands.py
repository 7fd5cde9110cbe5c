"""`tessera books`: the operator's books: what is booked, what accounts come to, and what takes two people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, console
from kit.approvals import Approval
from kit.settings import settings
from partners.agreements import onboarding, programme
from partners.clearing import clearing
from settlement import breakage
from settlement.breakage import BreakageRun
from settlement.money import accounts, cutoffs, exchange, journal, locks, openings, stock
from settlement.money.conversion import Fixing
from settlement.money.journal import Balance, Booking
from settlement.money.stock import Handover, Opening
from settlement.rating import OPERATOR

app = typer.Typer(name="books", help="The operator's books: bookings, balances, periods, stock.", no_args_is_help=True)
KINDS = (locks.KIND, openings.KIND, *stock.KINDS)

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
Number = Annotated[int, typer.Argument(help="Number that the proposal printed.", metavar="APPROVAL")]
Partner = Annotated[str, typer.Argument(help="Code of the partner.", metavar="PARTNER", show_default=False)]
Day = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The day, as 2026-01-31.", show_default=False)]


@app.command()
def book(actor: Actor = None) -> None:
    """Book every closed cut-off that is not booked. Takes the role FINANCE_MAKER."""
    made = console.run(_book(actor))
    _say(f"Booked: {', '.join(one.source for one in made)}" if made else "Every closed cut-off is booked already.")


@app.command()
def balance(
    at: At = None,
    account: Annotated[str | None, typer.Option(help="Only this account.", show_default=False)] = None,
) -> None:
    """What every account comes to, now or at a past instant: Dr positive, Cr negative."""
    found, names = console.run(_balance(at, account))
    if not found:
        _say("Nothing is booked.")
        return
    table = Table("Account", "", "Whose", "Terms", "Currency")
    table.add_column("Dr (+) or Cr (-)", justify="right")
    for one in found:
        chart = accounts.CHART[one.account]
        whose = names.get(one.party_id, "the operator") if chart.by_party else ""
        cohort = str(one.cohort_id) if one.cohort_id else ""
        table.add_row(one.account, chart.name, whose, cohort, one.currency, _signed(one.amount_micro))
    console.out.print(table, markup=False)
    for currency in sorted({one.currency for one in found}) if account is None else ():
        total = sum(one.amount_micro for one in found if one.currency == currency)
        _say(f"Sum of all accounts in {currency}: {_signed(total)}")


@app.command()
def lock(through: Day, actor: Actor = None) -> None:
    """Propose to close the books up to the beginning of a day, UTC. Takes the role FINANCE_MAKER."""
    number = console.run(_lock(through.replace(tzinfo=UTC), actor))
    _say(f"Proposal {number} waits for somebody else: tessera books approve {number}")


@app.command("buy-out")
def buy_out(
    partner: Partner,
    terms: Annotated[int, typer.Argument(help="Number of the version that the points were issued under.")],
    billed: Annotated[int, typer.Option(help="What of the fund part is billed from then on, micro-units per point.")],
    reason: Annotated[str, typer.Option(help="A sentence for whoever decides.", show_default=False)],
    paid: Annotated[
        str | None, typer.Option(help="What the partner pays in all; by default the difference at face.")
    ] = None,
    actor: Actor = None,
) -> None:
    """Propose that points already out there are funded otherwise. Takes the role FINANCE_MAKER."""
    number = console.run(_buy_out(partner, terms, billed, _micro(paid), reason, actor))
    _say(f"Proposal {number} waits for somebody else: tessera books approve {number}")


@app.command("exit")
def leave(
    partner: Partner,
    reason: Annotated[str, typer.Option(help="A sentence for whoever decides.", show_default=False)],
    carrier: Annotated[str, typer.Option(help="Who carries the points from then on: a partner's code.")] = "operator",
    actor: Actor = None,
) -> None:
    """Propose that somebody else carries all points of a partner that issues no more. Takes the role FINANCE_MAKER.

    First sign a version of its agreement with the role RUN_OFF.
    """
    number = console.run(_leave(partner, carrier, reason, actor))
    _say(f"Proposal {number} waits for somebody else: tessera books approve {number}")


@app.command()
def opening(
    partner: Partner,
    terms: Annotated[int, typer.Argument(help="Number of the version with the prices that were billed then.")],
    points: Annotated[int, typer.Argument(help="How many points there are.")],
    actor: Actor = None,
) -> None:
    """Propose to bring in points issued and billed before the programme came here. Takes the role FINANCE_MAKER."""
    number = console.run(_opening(partner, terms, points, actor))
    _say(f"Proposal {number} waits for somebody else: tessera books approve {number}")


@app.command()
def approve(approval: Number, actor: Actor = None) -> None:
    """Approve what somebody else proposed, and do it. Takes the role FINANCE_CHECKER."""
    console.run(_decide(approval, actor, approved=True))
    _say(f"Proposal {approval} is approved and done.")


@app.command()
def decline(approval: Number, actor: Actor = None) -> None:
    """Decline what somebody else proposed. Takes the role FINANCE_CHECKER."""
    console.run(_decide(approval, actor, approved=False))
    _say(f"Proposal {approval} is declined.")


@app.command()
def fix(
    day: Day,
    currency: Annotated[str, typer.Argument(help="The currency, as USD.")],
    rate: Annotated[str, typer.Argument(help="What one unit of it is worth in the programme's base currency.")],
    source: Annotated[str, typer.Option(help="Who says so, such as BNM.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Record a day's rate of a currency. Takes the role FINANCE_MAKER."""
    console.run(_fix(day.date(), currency, rate, source, actor))
    _say(f"{currency} is fixed at {rate} on {day:%Y-%m-%d}.")


@app.command()
def sweep(day: Day, actor: Actor = None) -> None:
    """Bring exchange clearing to zero at a day's rates. Takes the role FINANCE_MAKER."""
    made = console.run(_sweep(day.date(), actor))
    _say("Exchange clearing is at zero already." if made is None else f"Booked: {made.source}")


@app.command("breakage")
def estimate(at: At = None, actor: Actor = None) -> None:
    """Estimate how many points nobody will redeem, and book the difference. Takes the role FINANCE_MAKER."""
    run, names = console.run(_estimate(at, actor))
    table = Table("Funder", "Terms", "Month", title=f"Run {run.breakage_run_id} of {run.model}")
    for column in ("Issued", "Redeemed", "Expired", "Redeemed in the end", "Expected in 2105"):
        table.add_column(column, justify="right")
    for one in run.estimates:
        c = one.cohort
        table.add_row(
            names.get(c.funder_id, "the operator"), str(c.terms_id), f"{c.month:%Y-%m}", f"{c.issued:,}",
            f"{c.used:,}", f"{c.expired:,}", f"{Decimal(one.urr_ppm).scaleb(-4):f} %", _signed(one.estimate_micro),
        )  # fmt: skip
    console.out.print(table, markup=False)


# --- What is done -------------------------------------------------------------------------------------------------


async def _book(actor: str | None) -> list[Booking]:
    async with _acting(actor) as (connection, name, _):
        return await cutoffs.book_due(connection, actor=name)


async def _balance(at: datetime | None, account: str | None) -> tuple[list[Balance], dict[int, str]]:
    async with console.database(settings()) as database, database.reading() as connection:
        until = at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
        found = await journal.trial_balance(connection, at=until)
        return [one for one in found if account in (None, one.account)], await _codes(connection)


async def _lock(through: datetime, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        return await locks.propose(connection, through=through, maker=await actors.by_name(connection, name), at=at)


async def _buy_out(partner: str, terms_id: int, billed: int, paid: int | None, reason: str, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        maker = await actors.by_name(connection, name)
        handover = Handover(partner_id, terms_id, partner_id, billed, paid)
        return await stock.propose_transfer(connection, [handover], reason=reason, maker=maker, at=at)


async def _leave(partner: str, carrier: str, reason: str, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        carrier_id = OPERATOR if carrier == "operator" else await onboarding.partner_id_of(connection, carrier)
        handovers = await stock.exit_handovers(connection, partner_id, carrier_id=carrier_id, paid_micro={})
        maker = await actors.by_name(connection, name)
        return await stock.propose_transfer(connection, handovers, reason=reason, maker=maker, at=at)


async def _opening(partner: str, terms_id: int, points: int, actor: str | None) -> int:
    async with _acting(actor) as (connection, name, at):
        found = Opening(await onboarding.partner_id_of(connection, partner), terms_id, points)
        return await stock.propose_opening(connection, [found], maker=await actors.by_name(connection, name), at=at)


async def _decide(approval_id: int, actor: str | None, *, approved: bool) -> None:
    async with _acting(actor) as (connection, name, at):
        found: Approval = await approvals.read(connection, approval_id)
        if found.kind not in KINDS:
            raise approvals.ProposalUnknown(f"proposal {approval_id} is decided elsewhere")
        decide = {locks.KIND: locks.decide, openings.KIND: openings.decide}.get(found.kind, stock.decide)
        checker = await actors.by_name(connection, name)
        await decide(connection, found, checker=checker, approved=approved, at=at)


async def _fix(day: date, currency: str, rate: str, source: str, actor: str | None) -> None:
    async with _acting(actor) as (connection, name, at):
        base = (await programme.read(connection)).base_currency
        fixing = Fixing(day, currency, base, exchange.rate_of(rate), source)
        await exchange.fix(connection, fixing, actor=name, at=at)


async def _sweep(day: date, actor: str | None) -> Booking | None:
    async with _acting(actor) as (connection, name, at):
        base = (await programme.read(connection)).base_currency
        return await exchange.sweep(connection, day=day, base_currency=base, actor=name, at=at)


async def _estimate(at: datetime | None, actor: str | None) -> tuple[BreakageRun, dict[int, str]]:
    async with _acting(actor) as (connection, name, now):
        as_of = now if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
        run = await breakage.estimate(connection, as_of=as_of, actor=name, at=now)
        return run, await _codes(connection)


@asynccontextmanager
async def _acting(actor: str | None) -> AsyncIterator[tuple[AsyncConnection, str, datetime]]:
    """A transaction, the name of whoever acts, and the business instant."""
    async with console.database(settings()) as database, database.transaction() as connection:
        yield connection, actor or console.login_name(), await console.business_instant(connection, settings())


async def _codes(connection: AsyncConnection) -> dict[int, str]:
    return {partner_id: name.code for partner_id, name in (await clearing.names(connection)).items()}


def _micro(written: str | None) -> int | None:
    return None if written is None else micro(written)


def micro(written: str) -> int:
    """An amount as people write it, in micro-units; what is none ends the command."""
    try:
        scaled = Decimal(written).scaleb(6)
        whole = int(scaled)
    except ArithmeticError:
        console.fail(f"'{written}' is not an amount such as 12.50")
    if scaled != whole:
        console.fail(f"'{written}' has more than six decimals")
    return whole


def _signed(amount_micro: int) -> str:
    return f"{Decimal(amount_micro).scaleb(-6):+,f}"


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
