"""`tessera reconcile dispute`: what partners dispute, answered at the operator's desk, also on their behalf."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import console
from kit.amounts import decimal_from_minor
from kit.settings import settings
from settlement.reconciliation import disputed_breaks, disputes, disputing
from settlement.reconciliation.disputes import Dispute, Shown, Trail

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
PartnerId = Annotated[int, typer.Option("--partner", help="Number of the partner.", min=1)]
Side = Annotated[
    int | None,
    typer.Option("--partner", help="Number of the partner whose side it is; none: the operator's.", show_default=False),
]
UseCase = Callable[[AsyncConnection, str, datetime], Awaitable[Dispute]]


@app.command("open")
def open_(
    statement_id: Annotated[int, typer.Argument(metavar="STATEMENT", min=1, help="Number of the statement.")],
    line_no: Annotated[int, typer.Argument(metavar="LINE", min=1, help="Number of its line.")],
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


@app.command("break")
def break_(
    break_id: Annotated[int, typer.Argument(metavar="BREAK", min=1, help="Number of the break.")],
    statement_id: Annotated[int, typer.Argument(metavar="STATEMENT", min=1, help="Number of the statement.")],
    line_no: Annotated[int, typer.Argument(metavar="LINE", min=1, help="Number of its line.")],
    reason: Annotated[str, typer.Option(help=_REASONS)],
    note: Note, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Resolve a break by a dispute of the line that it is about. Takes the role FINANCE_MAKER."""

    async def go(connection: AsyncConnection, who: str, instant: datetime) -> Dispute:
        return await disputed_breaks.dispute(
            connection, break_id, statement_id=statement_id, line_no=line_no, reason=reason, cause=note, actor=who,
            at=instant,
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
def tell(number: Number, partner_id: PartnerId, note: Note, at: At = None, actor: Actor = None) -> None:
    """Answer what the operator asked, on behalf of the partner."""
    _show(_of_partner(disputes.tell, number, partner_id, note=note), at, actor)


@app.command()
def agree(number: Number, partner_id: PartnerId, at: At = None, actor: Actor = None) -> None:
    """Take what is offered, on behalf of the partner."""
    _show(_of_partner(disputes.agree, number, partner_id), at, actor)


@app.command()
def escalate(number: Number, partner_id: PartnerId, note: Note, at: At = None, actor: Actor = None) -> None:
    """Have somebody else decide, on behalf of the partner."""
    _show(_of_partner(disputes.escalate, number, partner_id, note=note), at, actor)


@app.command()
def withdraw(number: Number, partner_id: PartnerId, note: Note, at: At = None, actor: Actor = None) -> None:
    """Take a dispute back, on behalf of the partner: the line stands."""
    _show(_of_partner(disputes.withdraw, number, partner_id, note=note), at, actor)


@app.command()
def evidence(
    number: Number,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Its hash is kept.", exists=True, dir_okay=False)],
    partner_id: Side = None, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Show a file, for the partner named or for the operator, which takes the role FINANCE_MAKER."""
    media_type, _ = mimetypes.guess_type(path.name)
    if path.stat().st_size > disputing.LARGEST_EVIDENCE_BYTES:
        console.fail(f"{path.name} is larger than {disputing.LARGEST_EVIDENCE_BYTES} bytes")
    content = path.read_bytes()
    shown = Shown(path.name, media_type, len(content), hashlib.sha256(content).digest())

    async def go(connection: AsyncConnection, who: str, instant: datetime) -> Dispute:
        await disputes.add_evidence(connection, number, partner_id=partner_id, shown=shown, actor=who, at=instant)
        return await disputes.read(connection, number)

    _show(go, at, actor)


@app.command()
def say(number: Number, note: Note, partner_id: Side = None, at: At = None, actor: Actor = None) -> None:
    """Say something that moves nothing, for the partner named or for the operator, which takes FINANCE_MAKER."""

    async def go(connection: AsyncConnection, who: str, instant: datetime) -> Dispute:
        await disputes.say(connection, number, partner_id=partner_id, note=note, actor=who, at=instant)
        return await disputes.read(connection, number)

    _show(go, at, actor)


@app.command()
def show(number: Number) -> None:
    """All that happened in a dispute: steps, words, evidence."""
    its, trail, of_break = console.run(_trail(number))
    _say(its)
    if of_break is not None:
        console.out.print(f"It resolved break {of_break}.", markup=False)
    waits = disputing.waits_for(its.state)
    if waits is not None and its.deadline is not None:
        console.out.print(f"The {waits.lower()} has until {its.deadline:%Y-%m-%d %H:%M}.", markup=False)
    lines = [(step.at, step.side, f"{step.state}: {step.note}") for step in trail.steps]
    lines += [(said.at, said.side, said.note) for said in trail.notes]
    lines += [
        (one.at, one.side, f"{one.shown.name} ({one.shown.size_bytes} bytes) {one.shown.sha256.hex()}")
        for one in trail.evidence
    ]
    for instant, side, sentence in sorted(lines, key=lambda line: line[0]):
        console.out.print(f"{instant:%Y-%m-%d %H:%M} {side} {sentence}", markup=False)


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


def _of_partner(use_case: Callable[..., Awaitable[Dispute]], number: int, partner_id: int, **more: str) -> UseCase:
    return lambda connection, who, instant: use_case(
        connection, number, partner_id=partner_id, actor=who, at=instant, **more
    )


async def _trail(number: int) -> tuple[Dispute, Trail, int | None]:
    async with console.database(settings()) as database, database.reading() as connection:
        its = await disputes.read(connection, number)
        trail = (await disputes.trail(connection, [number]))[number]
        return its, trail, await disputed_breaks.break_of(connection, number)


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
