"""`tessera programme`: the coalition's own rules, founded once."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.table import Table

from kit import actors, audit, console
from kit.amounts import MICRO_PER_UNIT
from kit.settings import settings
from members.sharing import SharingRules
from partners.agreements import programme, sharing
from partners.terms import Programme

app = typer.Typer(name="programme", help="The coalition's own rules, founded once per database.", no_args_is_help=True)


@app.command()
def found(
    name: Annotated[str, typer.Option(help="Name of the coalition.", show_default=False)],
    point_value: Annotated[
        list[str],
        typer.Option(help="What a point is worth at the till: EUR=0.01. Repeat per currency.", show_default=False),
    ],
    base_currency: Annotated[
        str | None, typer.Option(help="Currency of the programme's own figures; default: the first point value's.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Time zone of its calendar days.")] = "UTC",
    language: Annotated[list[str] | None, typer.Option(help="Repeat for several; default en, ru, ro.")] = None,
    bill_ceiling_bp: Annotated[int, typer.Option(help="Share of a bill that points may pay, basis points.")] = 10_000,
    refund_grace_days: Annotated[int, typer.Option(help="Days that refunded points of an expired lot are good.")] = 30,
    notice_days: Annotated[
        int, typer.Option(help="Days before points expire by which their holder must have been told; 0 asks for none.")
    ] = 0,
    actor: Annotated[
        str | None, typer.Option("--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.")
    ] = None,
) -> None:
    """Found the programme; the same values again change nothing. Takes the role OPERATOR_ADMIN."""
    values = dict(_value(written) for written in point_value)
    rules = Programme(
        name=name,
        time_zone=time_zone,
        base_currency=base_currency or next(iter(values)),
        languages=tuple(language or ("en", "ru", "ro")),
        bill_ceiling_bp=bill_ceiling_bp,
        refund_grace_days=refund_grace_days,
        point_value_micro=values,
        notice_days=notice_days,
    )
    console.run(_found(rules, actor))
    console.out.print(f"{name} is founded. Next: tessera partner add --help", markup=False)


@app.command()
def show() -> None:
    """Print the rules."""
    rules = console.run(_read())
    table = Table(show_header=False)
    for label, value in (
        ("Name", rules.name),
        ("Time zone", rules.time_zone),
        ("Base currency", rules.base_currency),
        ("A point is worth", ", ".join(f"{_decimal(micro)} {code}" for code, micro in rules.point_value_micro.items())),
        ("Points may pay", f"{rules.bill_ceiling_bp} basis points of a bill"),
        ("Languages", ", ".join(rules.languages)),
        ("Grace for refunds", f"{rules.refund_grace_days} days"),
        ("Notice before expiry", f"{rules.notice_days} days"),
    ):
        table.add_row(label, value)
    console.out.print(table, markup=False)


@app.command("sharing")
def change_sharing(
    transfers: Annotated[
        bool | None, typer.Option("--transfers/--no-transfers", help="Whether points go from member to member.")
    ] = None,
    household_size: Annotated[int | None, typer.Option(help="Members that a household has at most.")] = None,
    cooling_days: Annotated[
        int | None, typer.Option(help="Days after leaving a household in which a member may join none.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.")
    ] = None,
) -> None:
    """Say whether members may give each other points and form households. Takes the role OPERATOR_ADMIN."""
    rules = console.run(_change_sharing(transfers, household_size, cooling_days, actor))
    allowed = "may" if rules.is_enabled else "may not"
    console.out.print(
        f"Members {allowed} transfer points; a household has at most {rules.household_size} members, and who left one "
        f"joins none for {rules.household_cooling.days} days.", markup=False, soft_wrap=True,
    )  # fmt: skip


def _value(written: str) -> tuple[str, int]:
    code, _, amount = written.partition("=")
    try:
        micro = Decimal(amount) * MICRO_PER_UNIT
    except InvalidOperation:
        console.fail(f"'{written}' is no point value; write it as EUR=0.01")
    if micro != micro.to_integral_value() or micro <= 0:
        console.fail(f"'{written}' is no point value; write it as EUR=0.01, with at most six decimals")
    return code, int(micro)


def _decimal(value_micro: int) -> Decimal:
    return Decimal(value_micro).scaleb(-6).normalize()


async def _found(rules: Programme, actor: str | None) -> None:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        actor_id = await actors.by_name(connection, actor or console.login_name())
        await actors.require_role(connection, actor_id, actors.OPERATOR_ADMIN)
        await programme.found(connection, rules)
        await audit.write(
            connection,
            actor=actor_id,
            action="PROGRAMME_FOUNDED",
            subject="programme",
            detail={"name": rules.name},
            at=at,
        )


async def _change_sharing(
    transfers: bool | None, household_size: int | None, cooling_days: int | None, actor: str | None
) -> SharingRules:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        actor_id = await actors.by_name(connection, actor or console.login_name())
        return await sharing.change_rules(
            connection, is_enabled=transfers, household_size=household_size, cooling_days=cooling_days, actor=actor_id,
            at=at,
        )  # fmt: skip


async def _read() -> Programme:
    async with console.database(settings()) as database, database.reading() as connection:
        return await programme.read(connection)
