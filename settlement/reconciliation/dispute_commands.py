"""`tessera reconcile dispute`: what partners dispute, answered at the operator's desk, also on their behalf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import console
from kit.amounts import decimal_from_minor
from kit.settings import settings
from settlement.reconciliation import disputes, disputing
from settlement.reconciliation.disputes import Dispute

app = typer.Typer(
    name="dispute", help="What partners say is wrong with lines of their statements.", no_args_is_help=True
)

_REASONS = " ".join(f"{code} {what}." for code, what in disputing.REASONS.items())
Number = Annotated[int, typer.Argument(metavar="DISPUTE", help="Number of a dispute, as `list` shows it.", min=1)]
Note = Annotated[str, typer.Option("--note", help="What is said; it stays for ever.")]
At = Annotated[
    datetime | None,
    typer.Option("--at", formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"], help="Business instant.", show_default=False),
]
Actor = Annotated[
    str | None, typer.Option("--actor", envvar="TESSERA_ACTOR", help="Who does this.", show_default=False)
]
UseCase = Callable[[AsyncConnection, str, datetime], Awaitable[Dispute]]


@app.command("open")
def open_(
    statement_id: Annotated[int, typer.Argument(metavar="STATEMENT", min=1)],
    line_no: Annotated[int, typer.Argument(metavar="LINE", min=1)],
    partner_id: Annotated[int, typer.Option("--partner", help="Number of the partner that disputes.", min=1)],
    amount: Annotated[int, typer.Option(help="Minor units, in the partner's favour.", min=1)],
    reason: Annotated[str, typer.Option(help=_REASONS)],
    note: Note, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Dispute so much of a line, on behalf of the partner that told so."""

    async def go(connection: AsyncConnection, who: str, instant: datetime) -> Dispute:
        return await disputes.dispute(
            connection, statement_id, line_no, partner_id=partner_id, reason=reason, amount_minor=amount, note=note,
            actor=who, at=instant,
        )  # fmt: skip

    _show(go, at, actor)


@app.command("list")
def list_(
    partner_id: Annotated[int | None, typer.Option("--partner", help="Of a partner.", show_default=False)] = None,
) -> None:
    """Disputes and where they stand."""
    table = Table("Dispute", "Statement", "Line", "Partner", "Reason", "Disputed", "How", "State", "Until", "Given")
    for one in console.run(_all(partner_id)):
        amounts = (one.amount_minor, one.awarded_minor)
        disputed, given = ("" if n is None else str(decimal_from_minor(n, one.currency)) for n in amounts)
        table.add_row(
            str(one.dispute_id), str(one.statement_id), str(one.line_no), str(one.partner_id), one.reason,
            f"{disputed} {one.currency}", one.mode, one.state,
            "" if one.deadline is None else f"{one.deadline:%Y-%m-%d %H:%M}", given,
        )  # fmt: skip
    console.out.print(table, markup=False)


@app.command()
def acknowledge(number: Number, at: At = None, actor: Actor = None) -> None:
    """Take a dispute up. Takes the role FINANCE_MAKER."""
    _show(lambda c, who, instant: disputes.acknowledge(c, number, actor=who, at=instant), at, actor)


@app.command()
def ask(number: Number, note: Note, at: At = None, actor: Actor = None) -> None:
    """Ask the partner for more. Takes the role FINANCE_MAKER."""
    _show(lambda c, who, instant: disputes.ask(c, number, note=note, actor=who, at=instant), at, actor)


@app.command()
def answer(
    number: Number, amount: Annotated[int, typer.Option(help="Minor units to give; 0 rejects.", min=0)], note: Note,
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Offer an amount, or decide what was escalated. Takes FINANCE_CHECKER, and somebody new to the dispute."""
    _show(
        lambda c, who, instant: disputes.answer(c, number, awarded_minor=amount, note=note, actor=who, at=instant),
        at, actor,
    )  # fmt: skip


@app.command()
def silence(at: At = None, actor: Actor = None) -> None:
    """Let silence decide where a time is over. Takes the role FINANCE_MAKER."""
    for one in console.run(_silence(at, actor)):
        _say(one)


def _show(use_case: UseCase, at: datetime | None, actor: str | None) -> None:
    _say(console.run(_do(use_case, at, actor)))


def _say(one: Dispute) -> None:
    console.out.print(f"Dispute {one.dispute_id} is {one.state} ({one.mode}).", markup=False)


async def _do(use_case: UseCase, at: datetime | None, actor: str | None) -> Dispute:
    async with console.database(settings()) as database, database.transaction() as connection:
        return await use_case(connection, actor or console.login_name(), await _instant(connection, at))


async def _silence(at: datetime | None, actor: str | None) -> list[Dispute]:
    async with console.database(settings()) as database, database.transaction() as connection:
        instant = await _instant(connection, at)
        return await disputes.follow_up(connection, actor=actor or console.login_name(), at=instant)


async def _all(partner_id: int | None) -> list[Dispute]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await disputes.page(connection, partner_id=partner_id)


async def _instant(connection: AsyncConnection, at: datetime | None) -> datetime:
    if at is not None:
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return await console.business_instant(connection, settings())
