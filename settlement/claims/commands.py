"""`tessera reconcile claim`: claims to missing points at the operator's desk, also for members and partners."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import console
from kit.amounts import decimal_from_minor, minor_from_decimal
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from members import identification
from partners import callers
from partners.agreements import onboarding
from partners.clearing import clearing
from partners.directory import Directory, DirectoryCache
from settlement.claims import claiming, claims
from settlement.claims.claims import Claim, ClaimDraft, Purchase, Shown

app = typer.Typer(name="claim", help="Points that members say are missing.", no_args_is_help=True)

_REFUSALS = " ".join(f"{code} {what}." for code, what in claiming.REFUSALS.items())
_CONTESTS = " ".join(f"{code} {what}." for code, what in claiming.CONTESTS.items() if code != "C09")
Number = Annotated[int, typer.Argument(metavar="CLAIM", help="Number of a claim, as `list` shows it.", min=1)]
Partner = Annotated[str, typer.Option("--partner", help="Code of the partner.")]
Evidence = Annotated[
    list[Path] | None,
    typer.Option("--evidence", help="A picture or PDF; its hash is kept, not the file.", exists=True, dir_okay=False),
]
At = Annotated[
    datetime | None,
    typer.Option("--at", formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"], help="Business instant.", show_default=False),
]
Actor = Annotated[
    str | None, typer.Option("--actor", envvar="TESSERA_ACTOR", help="Who does this.", show_default=False)
]
Total = Annotated[str | None, typer.Option("--total", help="What the purchase came to.", show_default=False)]
Outlet = Annotated[str | None, typer.Option("--outlet", help="Code of the outlet.", show_default=False)]
Terminal = Annotated[str | None, typer.Option("--terminal", help="Code of the till.", show_default=False)]
Reference = Annotated[str | None, typer.Option("--reference", help="Number of the receipt.", show_default=False)]


def _limit(help: str) -> Any:
    return typer.Option(min=0, show_default=False, help=help)


EarliestDays = Annotated[int | None, _limit("Days after the purchase from which it may be claimed.")]
LatestDays = Annotated[int | None, _limit("Days after the purchase until which it may be claimed.")]
AnswerDays = Annotated[int | None, _limit("Days of business in which the partner answers.")]
ContestDays = Annotated[int | None, _limit("Days in which a member may contest a refusal.")]
DecisionDays = Annotated[int | None, _limit("Days of business in which the operator decides.")]
MostPerMonth = Annotated[int | None, _limit("Claims that one member may make in thirty days.")]
SilenceMostMinor = Annotated[int | None, _limit("The largest purchase that silence gives points for, minor units.")]


class _Case:
    """What a command works with: a transaction, who acts and when, and what is known of partners."""

    def __init__(self, connection: AsyncConnection, vault: Vault, directory: Directory, who: str, at: datetime) -> None:
        self.connection, self.vault, self.directory, self.who, self.at = connection, vault, directory, who, at

    async def partner_id(self, code: str) -> int:
        """The number of a partner. Rejects PARTNER_UNKNOWN."""
        return await onboarding.partner_id_of(self.connection, code)


Deed = Callable[[_Case], Awaitable[Claim]]


@app.command()
def file(
    card: Annotated[str, typer.Option(help="Number of the member's card.")],
    partner: Partner,
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Day of the receipt.")],
    reference: Annotated[str, typer.Option(help="Number of the receipt.")],
    total: Annotated[str, typer.Option(help="What the purchase came to.")],
    outlet: Outlet = None,
    place: Annotated[str | None, typer.Option(help="Where, in words.", show_default=False)] = None,
    terminal: Terminal = None, evidence: Evidence = None, at: At = None,
) -> None:  # fmt: skip
    """Claim the points of a purchase, on behalf of a member who shows the receipt."""

    async def go(case: _Case) -> Claim:
        member_id, _ = await identification.holder_of(case.connection, case.vault, card)
        partner_id = await case.partner_id(partner)
        currency = callers.terms_at(case.directory, partner_id, case.at).currency
        draft = ClaimDraft(
            partner_id, day.date(), reference, _minor(total, currency), currency, outlet, place,
            terminal, shown=_shown(evidence),
        )  # fmt: skip
        return await claims.file(case.connection, case.vault, case.directory, draft, member_id=member_id, at=case.at)

    _show(go, at, None)


@app.command("list")
def list_(
    partner: Annotated[str | None, typer.Option("--partner", help="Of a partner.", show_default=False)] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for somebody.")] = False,
) -> None:
    """Claims and where they stand."""
    table = Table("Claim", "Partner", "Day", "Receipt", "Total", "State", "Until", "Why", "Points")
    for one, code in console.run(_all(partner, waiting)):
        table.add_row(
            str(one.claim_id), code, one.business_date.isoformat(), one.reference,
            f"{decimal_from_minor(one.total_minor, one.currency)} {one.currency}", one.state,
            "" if one.deadline is None else f"{one.deadline:%Y-%m-%d %H:%M}", one.contest or one.refusal or "",
            "" if one.points is None else str(one.points),
        )  # fmt: skip
    console.out.print(table, markup=False)


@app.command()
def accept(
    number: Number, partner: Partner, total: Total = None, outlet: Outlet = None, terminal: Terminal = None,
    reference: Reference = None, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Accept a claim on behalf of its partner, as told or as the partner has it."""

    async def go(case: _Case) -> Claim:
        its = await claims.read(case.connection, number)
        minor = None if total is None else _minor(total, its.currency)
        return await claims.accept(
            case.connection, case.directory, number, partner_id=await case.partner_id(partner), actor=case.who,
            at=case.at, purchase=Purchase(minor, outlet, terminal, reference),
        )  # fmt: skip

    _show(go, at, actor)


@app.command()
def refuse(
    number: Number, partner: Partner, reason: Annotated[str, typer.Option(help=_REFUSALS)],
    note: Annotated[str | None, typer.Option(help="What the member is told besides.", show_default=False)] = None,
    evidence: Evidence = None, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Refuse a claim on behalf of its partner."""

    async def go(case: _Case) -> Claim:
        return await claims.refuse(
            case.connection, number, partner_id=await case.partner_id(partner), reason=reason, actor=case.who,
            at=case.at, note=note, shown=_shown(evidence),
        )  # fmt: skip

    _show(go, at, actor)


@app.command()
def contest(
    number: Number, reason: Annotated[str, typer.Option(help=_CONTESTS)], evidence: Evidence = None, at: At = None
) -> None:
    """Have the operator decide what a partner refused, on behalf of the member."""

    async def go(case: _Case) -> Claim:
        its = await claims.read(case.connection, number)
        return await claims.contest(
            case.connection, number, member_id=its.member_id, reason=reason, at=case.at, shown=_shown(evidence)
        )

    _show(go, at, None)


@app.command()
def propose(
    number: Number, uphold: Annotated[bool, typer.Option("--uphold/--dismiss", help="Whether the points are given.")],
    cause: Annotated[str, typer.Option(help="Why; the member reads it.")], at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Propose what becomes of a contested claim. Takes the role FINANCE_MAKER."""
    made: list[int] = []

    async def go(case: _Case) -> Claim:
        made.append(
            await claims.propose(case.connection, number, upheld=uphold, cause=cause, actor=case.who, at=case.at)
        )
        return await claims.read(case.connection, number)

    _show(go, at, actor)
    console.out.print(f"Next, by somebody else: tessera settle decide {made[0]}", markup=False)


@app.command()
def rule(
    partner: Annotated[str | None, typer.Argument(help="Code of a partner; none: the programme.")] = None,
    earliest_days: EarliestDays = None, latest_days: LatestDays = None, answer_days: AnswerDays = None,
    contest_days: ContestDays = None, decision_days: DecisionDays = None, most_per_month: MostPerMonth = None,
    silence_most_minor: SilenceMostMinor = None, at: At = None, actor: Actor = None,
) -> None:  # fmt: skip
    """Show how claims are taken, or change it from now on. Changing takes the role FINANCE_CHECKER."""
    said = {
        "earliest_days": earliest_days, "latest_days": latest_days, "answer_days": answer_days,
        "contest_days": contest_days, "decision_days": decision_days, "most_per_month": most_per_month,
        "silence_most_minor": silence_most_minor,
    }  # fmt: skip
    changed = {name: value for name, value in said.items() if value is not None}
    found = console.run(_rule(partner, changed, at, actor))
    for name in said:
        console.out.print(f"{name}: {getattr(found, name)}", markup=False)


def _minor(total: str, currency: str) -> int:
    try:
        return minor_from_decimal(Decimal(total), currency)
    except (InvalidOperation, ValueError):
        raise typer.BadParameter(f"'{total}' is no amount of {currency}") from None


def _shown(paths: Sequence[Path] | None) -> tuple[Shown, ...]:
    found = []
    for path in paths or ():
        media_type, _ = mimetypes.guess_type(path.name)
        if path.stat().st_size > claiming.LARGEST_EVIDENCE_BYTES:
            console.fail(f"{path.name} is larger than {claiming.LARGEST_EVIDENCE_BYTES} bytes")
        content = path.read_bytes()
        found.append(Shown(media_type or "", len(content), hashlib.sha256(content).digest()))
    return tuple(found)


def _show(deed: Deed, at: datetime | None, actor: str | None) -> None:
    its = console.run(_do(deed, at, actor))
    until = "" if its.deadline is None else f" until {its.deadline:%Y-%m-%d %H:%M}"
    console.out.print(f"Claim {its.claim_id} is {its.state}{until}.", markup=False)


async def _do(deed: Deed, at: datetime | None, actor: str | None) -> Claim:
    vault = Vault(load_master_key(settings()))
    async with console.database(settings()) as database:
        directory = await DirectoryCache(database.pool, vault).get()
        async with database.transaction() as connection:
            who, instant = actor or console.login_name(), await _instant(connection, at)
            return await deed(_Case(connection, vault, directory, who, instant))


async def _all(partner: str | None, waiting: bool) -> list[tuple[Claim, str]]:
    async with console.database(settings()) as database, database.reading() as connection:
        partner_id = None if partner is None else await onboarding.partner_id_of(connection, partner)
        states = claiming.WAITING if waiting else None
        found = await claims.page(connection, partner_id=partner_id, states=states)
        names = await clearing.names(connection)
        return [(one, names[one.partner_id].code) for one in found]


async def _rule(
    partner: str | None, changed: dict[str, int], at: datetime | None, actor: str | None
) -> claiming.ClaimRule:
    async with console.database(settings()) as database, database.transaction() as connection:
        partner_id = claims.PROGRAMME if partner is None else await onboarding.partner_id_of(connection, partner)
        found = await claims.rule_of(connection, partner_id)
        if changed:
            found = replace(found, **changed)
            instant = await _instant(connection, at)
            await claims.change_rule(connection, partner_id, found, actor=actor or console.login_name(), at=instant)
        return found


async def _instant(connection: AsyncConnection, at: datetime | None) -> datetime:
    if at is not None:
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return await console.business_instant(connection, settings())
