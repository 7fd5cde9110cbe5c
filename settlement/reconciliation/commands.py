"""`tessera reconcile`: partners' files, the bank's statements, payments, and what does not balance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import console
from kit.amounts import decimal_from_minor
from kit.database import Database
from kit.errors import Rejection
from kit.settings import settings
from partners.agreements import programme
from partners.clearing import clearing
from settlement.bank import accounts, bank_files, details, paying, suspense
from settlement.bank.accounts import BankAccount
from settlement.bank.bank_files import Taken
from settlement.bank.notices import Noticed
from settlement.bank.orders import Mandate
from settlement.bank.paying import PaymentOrder
from settlement.bank.reporting import Reported
from settlement.claims import commands as claim_commands
from settlement.rating import OPERATOR
from settlement.reconciliation import breaks, comparing, dispute_commands, intake, register, resolving, standing
from settlement.reconciliation.comparing import Comparison
from settlement.reconciliation.files import Format
from settlement.reconciliation.intake import Acknowledgement, FileRule
from settlement.reconciliation.register import Break
from settlement.statements import decimal_from_micro

app = typer.Typer(
    name="reconcile", help="Partners' files, the bank's statements, payments, and what differs.", no_args_is_help=True
)
app.add_typer(dispute_commands.app)
app.add_typer(claim_commands.app)
T = TypeVar("T")

At = Annotated[
    datetime | None,
    typer.Option(
        "--at", formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"],
        help="Business instant, UTC where it says no offset; by default the business clock's.", show_default=False,
    ),
]  # fmt: skip
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]
Partner = Annotated[str, typer.Argument(metavar="PARTNER", help="Code of a partner.")]
Path_ = Annotated[Path, typer.Argument(metavar="FILE", help="The file.", exists=True, dir_okay=False)]
BreakNumber = Annotated[int, typer.Argument(metavar="BREAK", help="Number of a break, as `breaks` lists it.", min=1)]
OrderNumber = Annotated[int, typer.Argument(metavar="ORDER", help="Number of a payment file.", min=1)]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="Number of a settlement run.", min=1)]
Number = Annotated[int, typer.Argument(metavar="PROPOSAL", help="Number of a proposal.", min=1)]
Cause = Annotated[str, typer.Option("--cause", help="Why; it stays for ever.")]


# --- Partners' files ------------------------------------------------------------------------------------------


@app.command()
def take(partner: Partner, path: Path_, at: At = None, actor: Actor = None) -> None:
    """Take a partner's file (.csv or .jsonl): all of it, or what is right in it, as agreed; and say what became of it.

    Takes the role FINANCE_MAKER.
    """
    made = console.run(_take(partner, path, at, actor))
    _show_acknowledgement(made)
    if made.state == intake.REFUSED:
        raise typer.Exit(1)
    _say(f"Next: tessera reconcile compare {made.file_id}")


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder with a folder for each partner's code.", file_okay=False)],
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Take every file that lies in FOLDER/PARTNER/, in the order of names, and move it to `taken` or `refused` beside
    it, with its acknowledgement. Takes the role FINANCE_MAKER; say it again for what comes later."""
    found = console.run(_watch(folder, at, actor))
    for made in found:
        _show_acknowledgement(made)
    _say(f"{len(found)} files came.")


@app.command()
def compare(
    file_id: Annotated[int | None, typer.Argument(metavar="FILE", help="Number of a file; by default all that wait.")]
    = None, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Compare partners' files with our receipts, each once, and look again after what was missing. Takes
    FINANCE_MAKER."""
    found, arrived, due = console.run(_compare(file_id, at, actor))
    for one in found:
        _say(f"File {one.file_id}: {one.matched:,} of {one.records:,} records are matched, {one.breaks:,} breaks.")
    _say(f"{arrived} lines of ours arrived since, {due} of theirs are missing by now.")


@app.command()
def result(
    file_id: Annotated[int, typer.Argument(metavar="FILE", help="Number of a file.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, JSON lines.")],
) -> None:
    """Write the result file: what came of each line of a file."""
    _say(f"Written: {out}, {console.run(_result(file_id, out)):,} lines")


@app.command()
def rule(
    partner: Partner,
    mode: Annotated[str, typer.Option(help="WHOLE: all of a file or nothing. RECORDS: what is right in it.")] = "WHOLE",
    write_off: Annotated[int, typer.Option(help="What one person may write off in a month, minor units.", min=0)] = 0,
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Say how a partner's files are taken from now on. Takes the role FINANCE_CHECKER."""

    async def change(connection: AsyncConnection, who: str, instant: datetime) -> None:
        await intake.change_rule(
            connection, await _partner_id(connection, partner), FileRule(mode, write_off), actor=who, at=instant
        )

    console.run(_do(change, at, actor))
    _say(f"Files of {partner} are taken by {mode}; {write_off} minor units a month may be written off by one person.")


# --- Breaks ---------------------------------------------------------------------------------------------------


@app.command("breaks")
def show_breaks(
    partner: Annotated[str | None, typer.Option(help="Code of a partner.", show_default=False)] = None,
    all_states: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    at: At = None,
) -> None:
    """List breaks with their age in business days."""
    found, days = console.run(_breaks(partner, all_states, at))
    table = Table("Break", "What", "Partner", "State", "Days", "Owner", "Due", "About")
    for one in found:
        age = days[one.break_id]
        table.add_row(
            str(one.break_id), one.category, str(one.partner_id or ""), one.state, f"{age} ({breaks.bucket(age)})",
            one.owner or "", str(one.due_on or ""), f"{decimal_from_micro(one.value_micro):+f} {one.currency or ''}",
        )  # fmt: skip
    console.out.print(table, markup=False)


@app.command()
def assign(break_id: BreakNumber, owner: Annotated[str, typer.Option(help="Who looks after it.")], at: At = None,
           actor: Actor = None) -> None:  # fmt: skip
    """Give a break to somebody. Takes the role FINANCE_MAKER."""

    async def give(connection: AsyncConnection, who: str, instant: datetime) -> Break:
        day = breaks.local_day(instant, (await programme.read(connection)).time_zone)
        return await register.assign(connection, break_id, owner=owner, actor=who, at=instant, on=day)

    _show_break(console.run(_do(give, at, actor)))


@app.command()
def explain(break_id: BreakNumber, cause: Cause, at: At = None, actor: Actor = None) -> None:
    """Say where a break comes from. Takes the role FINANCE_MAKER."""
    _show_break(console.run(_do(_on_break(register.explain, break_id, cause), at, actor)))


@app.command()
def accept(break_id: BreakNumber, cause: Cause, at: At = None, actor: Actor = None) -> None:
    """Leave a break as it is: nothing moves. Takes the role FINANCE_MAKER."""
    _show_break(console.run(_do(_on_break(resolving.accept, break_id, cause), at, actor)))


@app.command("match")
def match_(
    numbers: Annotated[list[int], typer.Argument(metavar="BREAK...", help="A break, or several that are one thing.")],
    cause: Cause, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Say that the lines of a break, or of several, are the same receipt. Takes the role FINANCE_MAKER."""

    async def same(connection: AsyncConnection, who: str, instant: datetime) -> list[Break]:
        return await resolving.match(connection, numbers, cause=cause, actor=who, at=instant)

    for its in console.run(_do(same, at, actor)):
        _show_break(its)


@app.command()
def unmatch(break_id: BreakNumber, cause: Cause, at: At = None, actor: Actor = None) -> None:
    """Take back what another matched by hand: its breaks are open again. Takes the role FINANCE_CHECKER."""
    for its in console.run(_do(_on_break(resolving.undo_match, break_id, cause), at, actor)):
        _show_break(its)


@app.command()
def note(break_id: BreakNumber, text: Annotated[str, typer.Option(help="What to say.")], at: At = None,
         actor: Actor = None) -> None:  # fmt: skip
    """Say something about a break that moves it nowhere. Takes FINANCE_MAKER or FINANCE_CHECKER."""

    async def say(connection: AsyncConnection, who: str, instant: datetime) -> int:
        return await register.note(connection, break_id, text=text, actor=who, at=instant)

    _say(f"Note {console.run(_do(say, at, actor))} of break {break_id}.")


@app.command()
def post(break_id: BreakNumber, cause: Cause, at: At = None, actor: Actor = None) -> None:
    """Propose to correct what a break is about in the partner's next statement. Takes the role FINANCE_MAKER."""
    _show_proposal(console.run(_do(_on_break(resolving.post, break_id, cause), at, actor)))


@app.command("write-off")
def write_off(break_id: BreakNumber, cause: Cause, at: At = None, actor: Actor = None) -> None:
    """Give up what a break is about; above the month's budget another person decides. Takes FINANCE_MAKER."""

    async def give_up(connection: AsyncConnection, who: str, instant: datetime) -> int | None:
        its = await register.read(connection, break_id)
        if its.leg == "BANK" and "leg" in its.detail:
            return await suspense.write_off(connection, its.detail["leg"], cause=cause, actor=who, at=instant)
        return await resolving.write_off(connection, break_id, cause=cause, actor=who, at=instant)

    _show_proposal(console.run(_do(give_up, at, actor)))


@app.command()
def verify(break_id: BreakNumber, at: At = None, actor: Actor = None) -> None:
    """See that a resolved break is really over. Takes the role FINANCE_CHECKER."""

    async def look(connection: AsyncConnection, who: str, instant: datetime) -> Break:
        return await register.verify(connection, break_id, actor=who, at=instant)

    _show_break(console.run(_do(look, at, actor)))


@app.command()
def proposals() -> None:
    """What was proposed about breaks, suspense and bank accounts and waits for another person."""
    table = Table("Proposal", "About", "Detail")
    for one in console.run(_proposals()):
        table.add_row(str(one.approval_id), one.subject, str(dict(one.detail)))
    console.out.print(table, markup=False)


@app.command()
def decide(
    number: Number, decline: Annotated[bool, typer.Option("--decline", help="Say no.")] = False, at: At = None,
    actor: Actor = None,
) -> None:  # fmt: skip
    """Approve (or decline) what another proposed. Takes the role FINANCE_CHECKER."""

    async def say(connection: AsyncConnection, who: str, instant: datetime) -> None:
        kinds = {one.approval_id: one.kind for one in await _waiting(connection)}
        if kinds.get(number) == details.APPROVAL:
            await details.decide(connection, number, approved=not decline, checker=who, at=instant)
        elif kinds.get(number) == suspense.APPROVAL:
            await suspense.decide(connection, number, approved=not decline, actor=who, at=instant)
        else:
            await resolving.decide(connection, number, approved=not decline, actor=who, at=instant)

    console.run(_do(say, at, actor))
    _say(f"Proposal {number} is {'declined' if decline else 'approved'}.")


# --- The bank -------------------------------------------------------------------------------------------------


@app.command()
def account(
    party: Annotated[str, typer.Argument(help="Code of a partner, or `operator`.")],
    iban: Annotated[str, typer.Argument(help="The account's number.")],
    holder: Annotated[str, typer.Option(help="Whose account it is.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")],
    bic: Annotated[str | None, typer.Option(help="The bank's code.", show_default=False)] = None,
    mandate: Annotated[str | None, typer.Option(help="A mandate, as NUMBER:DATE.", show_default=False)] = None,
    creditor_id: Annotated[str | None, typer.Option(help="The operator's, to collect.", show_default=False)] = None,
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Propose where a party is paid from now on; another person approves with `decide`. Takes FINANCE_MAKER."""
    checked = _checked(holder, iban, bic)
    signed = None if mandate is None else _mandate(mandate)

    async def suggest(connection: AsyncConnection, who: str, instant: datetime) -> int:
        party_id = OPERATOR if party == "operator" else await _partner_id(connection, party)
        return await details.propose(
            connection, party_id, checked, currency=currency, maker=who, at=instant, mandate=signed,
            creditor_id=creditor_id,
        )  # fmt: skip

    _show_proposal(console.run(_do(suggest, at, actor)))


@app.command()
def instruct(run_id: RunNumber, at: At = None, actor: Actor = None) -> None:
    """Make the payment files of an approved run (pain.001, pain.008). Takes the role FINANCE_MAKER."""

    async def write(connection: AsyncConnection, who: str, instant: datetime) -> list[PaymentOrder]:
        return await paying.instruct(connection, run_id, actor=who, at=instant)

    for one in console.run(_do(write, at, actor)):
        total = decimal_from_minor(one.total_minor, one.currency)
        _say(f"Payment file {one.order_id}, {one.message_id}: {one.legs} payments, {total} {one.currency}")
        if one.released_by is None:
            _say(f"Next: another person says tessera reconcile release {one.order_id}")


@app.command()
def release(order_id: OrderNumber, at: At = None, actor: Actor = None) -> None:
    """Let a payment file go to the bank; somebody else than who made it. Takes the role FINANCE_CHECKER."""

    async def let_go(connection: AsyncConnection, who: str, instant: datetime) -> PaymentOrder:
        return await paying.release(connection, order_id, actor=who, at=instant)

    one = console.run(_do(let_go, at, actor))
    _say(f"Payment file {one.order_id} may go. Next: tessera reconcile export {one.run_id} --out FOLDER")


@app.command()
def export(
    run_id: RunNumber,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.", file_okay=False)],
) -> None:
    """Write the payment files of a run that were let go, as they go to the bank."""
    for path in console.run(_export(run_id, out)):
        _say(f"Written: {path}")
    _say(f"Next: tessera reconcile payments {run_id}")


@app.command()
def acknowledge(
    order_id: OrderNumber,
    rejected: Annotated[list[str] | None, typer.Option(help="End-to-end id that the bank rejected; repeat.")] = None,
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Note what the bank said to a payment file: taken, but for what is named. Takes the role FINANCE_MAKER."""

    async def note(connection: AsyncConnection, who: str, instant: datetime) -> int:
        told = await paying.acknowledge(connection, order_id, rejected=rejected or (), actor=who, at=instant)
        return sum(leg.state == paying.REJECTED for leg in told)

    _say(f"Noted: {console.run(_do(note, at, actor))} payments are rejected.")


@app.command()
def payments(run_id: RunNumber) -> None:
    """Show what has to be paid for a run, and where each payment stands."""
    table = Table("Payment", "Partner", "Direction", "Amount", "Left", "Due", "Reference", "State")
    for leg in console.run(_payments(run_id)):
        amount, left = (decimal_from_minor(n, leg.currency) for n in (leg.amount_minor, leg.left_minor))
        table.add_row(
            str(leg.leg_id), str(leg.partner_id), leg.direction, f"{amount} {leg.currency}", str(left), str(leg.due_on),
            leg.reference, leg.state,
        )  # fmt: skip
    console.out.print(table, markup=False)


@app.command()
def bank(path: Path_, at: At = None, actor: Actor = None) -> None:
    """Take what the bank sent, all of a file or nothing: statements (camt.053), notices (camt.054), or a report on
    payments (pain.002). Takes the role FINANCE_MAKER."""
    for one in console.run(_bank(path, at, actor)):
        if isinstance(one, Noticed):
            _say(f"Notice {one.notice_ref}: {one.entries} entries; it moves no money.")
        elif isinstance(one, Reported):
            _say(f"Report {one.report_ref} on file {one.order_id}: {one.taken} taken, {one.rejected} rejected.")
        elif one.is_replayed:
            _say(f"Statement {one.statement_ref} was taken before.")
        else:
            _say(f"Statement {one.statement_ref}: {one.payments} payments, {one.left_over} for nothing that is known.")


@app.command()
def items() -> None:
    """Money in suspense."""
    table = Table("Item", "Since", "Amount", "Partner")
    for item in console.run(_items()):
        amount = decimal_from_minor(item.amount_minor, item.currency)
        table.add_row(str(item.item_id), f"{item.at:%Y-%m-%d}", f"{amount} {item.currency}", str(item.partner_id or ""))
    console.out.print(table, markup=False)


@app.command()
def identify(
    item_id: Annotated[int, typer.Argument(metavar="ITEM", help="Number of money in suspense.")],
    leg: Annotated[int | None, typer.Option("--payment", help="The payment it is for.", show_default=False)] = None,
    partner: Annotated[str | None, typer.Option(help="Or whose next statement it goes to.", show_default=False)] = None,
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Say what money in suspense is for. Takes the role FINANCE_MAKER."""
    if (leg is None) == (partner is None):
        console.fail("say either --payment or --partner")

    async def say(connection: AsyncConnection, who: str, instant: datetime) -> None:
        if leg is not None:
            await suspense.identify(connection, item_id, leg, actor=who, at=instant)
        else:
            party_id = await _partner_id(connection, partner or "")
            await suspense.credit(connection, item_id, party_id, actor=who, at=instant)

    console.run(_do(say, at, actor))
    _say(f"Item {item_id} is out of suspense.")


@app.command()
def keep(
    item_id: Annotated[int, typer.Argument(metavar="ITEM", help="Number of money in suspense.")], cause: Cause,
    at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Propose to keep money that is nobody's, or to bear what went out. Takes the role FINANCE_MAKER."""

    async def suggest(connection: AsyncConnection, who: str, instant: datetime) -> int:
        return await suspense.propose_keep(connection, item_id, cause=cause, actor=who, at=instant)

    _show_proposal(console.run(_do(suggest, at, actor)))


@app.command()
def overdue(at: At = None, actor: Actor = None) -> None:
    """Say of payments that should have come that they are overdue. Takes the role FINANCE_MAKER."""

    async def look(connection: AsyncConnection, who: str, instant: datetime) -> int:
        return len(await paying.follow_up(connection, actor=who, at=instant))

    _say(f"{console.run(_do(look, at, actor))} payments are overdue.")


@app.command()
def seal(run_id: RunNumber, at: At = None, actor: Actor = None) -> None:
    """Seal a run of which every payment is done. Takes the role FINANCE_CHECKER."""

    async def close(connection: AsyncConnection, who: str, instant: datetime) -> str:
        return (await paying.seal(connection, run_id, actor=who, at=instant)).state

    _say(f"Run {run_id} is {console.run(_do(close, at, actor))}.")


@app.command()
def late(at: At = None) -> None:
    """Everything that does not balance or is late."""
    found = console.run(_late(at))
    if not found:
        _say("Everything balances, and nothing is late.")
        return
    table = Table("What", "Which", "Since or due", "About")
    for one in found:
        table.add_row(one.kind, one.subject, one.since, one.detail)
    console.out.print(table, markup=False)


# --- What is done -------------------------------------------------------------------------------------------


async def _do(
    use_case: Callable[[AsyncConnection, str, datetime], Awaitable[T]], at: datetime | None, actor: str | None
) -> T:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        async with database.transaction() as connection:
            return await use_case(connection, actor or console.login_name(), instant)


def _on_break(
    use_case: Callable[..., Coroutine[Any, Any, T]], break_id: int, cause: str
) -> Callable[[AsyncConnection, str, datetime], Awaitable[T]]:
    async def run(connection: AsyncConnection, who: str, instant: datetime) -> T:
        return await use_case(connection, break_id, cause=cause, actor=who, at=instant)

    return run


async def _take(code: str, path: Path, at: datetime | None, actor: str | None) -> Acknowledgement:
    async with console.database(settings()) as database:
        return await _take_one(database, code, path, await _instant(database, at), actor or console.login_name())


async def _take_one(database: Database, code: str, path: Path, at: datetime, actor: str) -> Acknowledgement:
    async with database.reading() as connection:
        await register.permit(connection, actor, "FINANCE_MAKER")
        partner_id = await _partner_id(connection, code)
    with console.progress(f"Reading {path.name}") as advance, path.open("rb") as source:
        return await intake.receive(
            database, source, format_of(path), partner_id=partner_id, actor=actor, at=at, progress=advance
        )


async def _watch(folder: Path, at: datetime | None, actor: str | None) -> list[Acknowledgement]:
    found = []
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        for path in sorted(folder.glob("*/*")):  # noqa: ASYNC240 - a folder of a few files, and nobody else waits
            if path.is_file() and path.suffix in _FORMATS:
                made = await _take_one(database, path.parent.name, path, instant, actor or console.login_name())
                beside = path.parent / made.state.lower()
                beside.mkdir(exist_ok=True)
                path.replace(beside / path.name)
                (beside / f"{path.name}.ack").write_text(acknowledged(made), encoding="utf-8")
                found.append(made)
    return found


async def _compare(file_id: int | None, at: datetime | None, actor: str | None) -> tuple[list[Comparison], int, int]:
    who, made = actor or console.login_name(), []
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        async with database.reading() as connection:
            waiting = [file_id] if file_id is not None else await comparing.waiting(connection)
        with console.progress("Comparing files", total=len(waiting)) as advance:
            for number in waiting:
                async with database.transaction() as connection:
                    made.append(await comparing.compare(connection, number, actor=who, at=instant))
                advance(1)
        async with database.transaction() as connection:
            arrived, due = await comparing.look_again(connection, actor=who, at=instant)
    return made, arrived, due


async def _result(file_id: int, out: Path) -> int:
    lines = 0
    async with console.database(settings()) as database, database.transaction() as connection:
        with out.open("w", encoding="utf-8") as file:
            async for line in intake.result_lines(connection, file_id):
                file.write(line)
                lines += 1
    return lines


async def _breaks(code: str | None, all_states: bool, at: datetime | None) -> tuple[list[Break], dict[int, int]]:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        async with database.reading() as connection:
            partner_id = None if code is None else await _partner_id(connection, code)
            zone = (await programme.read(connection)).time_zone
            found = await register.page(
                connection, partner_id=partner_id, states=None if all_states else register.UNRESOLVED, limit=1_000
            )
            days = await register.days_open(connection, found, on=breaks.local_day(instant, zone), zone=zone)
    return found, days


async def _proposals() -> list[Any]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await _waiting(connection)


async def _waiting(connection: AsyncConnection) -> list[Any]:
    found = [*await resolving.waiting(connection), *await suspense.waiting(connection)]
    return [*found, *await details.waiting(connection)]


async def _export(run_id: int, out: Path) -> list[Path]:
    async with console.database(settings()) as database:
        out.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - one folder of a command
        written = []
        async with database.reading() as connection:
            for one in await paying.orders_of(connection, run_id):
                if one.released_by is None:
                    continue
                path = out / f"{one.message_id}.xml"
                path.write_bytes(await paying.content(connection, one.order_id))
                written.append(path)
    return written


async def _payments(run_id: int) -> list[paying.PaymentLeg]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await paying.of_run(connection, run_id)


async def _bank(path: Path, at: datetime | None, actor: str | None) -> Sequence[Taken]:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        with console.progress(f"Reading {path.name}") as advance, path.open("rb") as source:
            return await bank_files.receive(
                database, source, actor=actor or console.login_name(), at=instant, progress=advance
            )


async def _items() -> list[suspense.Item]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await suspense.items(connection)


async def _late(at: datetime | None) -> list[standing.Late]:
    async with console.database(settings()) as database:
        instant = await _instant(database, at)
        async with database.reading() as connection:
            return await standing.late(connection, at=instant)


async def _instant(database: Database, at: datetime | None) -> datetime:
    if at is not None:
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    async with database.reading() as connection:
        return await console.business_instant(connection, settings())


async def _partner_id(connection: AsyncConnection, code: str) -> int:
    found = next((one.partner_id for one in (await clearing.names(connection)).values() if one.code == code), None)
    if found is None:
        console.fail(f"there is no partner {code}: `tessera partner list` shows them")
    return found


_FORMATS: dict[str, Format] = {".csv": "CSV", ".jsonl": "JSONL"}


def format_of(path: Path) -> Format:
    """The format of a partner's file by its name."""
    found = _FORMATS.get(path.suffix)
    if found is None:
        console.fail("a partner's file is .csv or .jsonl")
    return found


def acknowledged(made: Acknowledgement) -> str:
    """An acknowledgement as the text that goes back to whoever sent the file."""
    told = f"{made.code}: {made.message}" if made.code else f"{made.records} records, {made.refused} refused"
    return f"file {made.file_id}\nsequence {made.sequence}\n{made.state}\n{told}\n"


def _checked(holder: str, iban: str, bic: str | None) -> BankAccount:
    try:
        return accounts.account(holder, iban, bic)
    except Rejection as no:
        console.fail(f"{no.message} ({no.code})")


def _mandate(text: str) -> Mandate:
    number, _, day = text.rpartition(":")
    try:
        return Mandate(number, date.fromisoformat(day))
    except ValueError:
        console.fail("a mandate is NUMBER:DATE")


def _show_acknowledgement(made: Acknowledgement) -> None:
    told = f"{made.code}: {made.message}" if made.code else f"{made.records:,} records, {made.refused:,} refused"
    _say(f"File {made.file_id}, number {made.sequence}: {made.state}. {told}")


def _show_break(its: Break) -> None:
    _say(f"Break {its.break_id} ({its.category}) is {its.state}.")


def _show_proposal(number: int | None) -> None:
    _say("Done." if number is None else f"Proposed: another person says tessera reconcile decide {number}")


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
