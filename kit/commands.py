"""`tessera actor`: who may act on the programme's side."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from kit import actors, console, role_changes
from kit.approvals import Approval
from kit.settings import settings

app = typer.Typer(name="actor", help="Who may act on the programme's side, and in which roles.", no_args_is_help=True)

_ROLES = " ".join(f"{role} {what}." for role, what in actors.ROLES.items())
Name = Annotated[str, typer.Argument(help="Name of the actor, for instance a login name.", show_default=False)]
Roles = Annotated[list[str], typer.Option("--role", help=f"Repeat for several. {_ROLES}", show_default=False)]
Number = Annotated[int, typer.Argument(help="Number of the proposal.", show_default=False)]
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor",
        envvar="TESSERA_ACTOR",
        help="Who does this; by default your login name.",
        show_default=False,
    ),
]


@app.command()
def add(name: Name, role: Roles, actor: Actor = None) -> None:
    """Add an actor, or give one more roles. Takes OPERATOR_ADMIN, except for the very first.

    Where there is another OPERATOR_ADMIN it is proposed, and that one decides.
    """
    proposal = console.run(_add(name, role, actor or console.login_name()))
    if proposal is None:
        console.out.print(f"{name} now holds {', '.join(role)}.", markup=False)
    else:
        _say_proposed(proposal)


@app.command("take-back")
def take_back(name: Name, role: Roles, actor: Actor = None) -> None:
    """Take roles from an actor. Takes OPERATOR_ADMIN, and one of those always remains."""
    proposal = console.run(_take_back(name, role, actor or console.login_name()))
    if proposal is None:
        console.out.print(f"{name} no longer holds {', '.join(role)}.", markup=False)
    else:
        _say_proposed(proposal)


@app.command()
def approve(number: Number, actor: Actor = None) -> None:
    """Approve a change of roles that another proposed. Takes OPERATOR_ADMIN."""
    found = console.run(_decide(number, actor or console.login_name(), approved=True))
    console.out.print(f"Done: {_described(found)}.", markup=False)


@app.command()
def decline(number: Number, actor: Actor = None) -> None:
    """Decline a change of roles that another proposed. Takes OPERATOR_ADMIN."""
    found = console.run(_decide(number, actor or console.login_name(), approved=False))
    console.out.print(f"Declined: {_described(found)}.", markup=False)


@app.command()
def proposals() -> None:
    """Changes of roles that wait for another OPERATOR_ADMIN."""
    found, names = console.run(_waiting())
    if not found:
        console.out.print("Nothing waits.")
        return
    table = Table("Number", "Change", "Proposed by")
    for each in found:
        table.add_row(str(each.approval_id), _described(each), names[each.maker_id])
    console.out.print(table, markup=False)


@app.command("list")
def show() -> None:
    """Everybody and their roles."""
    found = console.run(_everybody())
    if not found:
        console.out.print("Nobody acts here yet: tessera actor add NAME --role OPERATOR_ADMIN")
        return
    table = Table("Actor", "Roles")
    for name, roles in found:
        table.add_row(name, ", ".join(roles) or "none")
    console.out.print(table)


def _say_proposed(number: int) -> None:
    console.out.print(
        f"Proposed as number {number}: another OPERATOR_ADMIN says tessera actor approve {number}", markup=False
    )


def _described(found: Approval) -> str:
    verb = "give" if found.kind == role_changes.GRANT else "take back"
    return f"{verb} {found.detail['name']}: {', '.join(found.detail['roles'])}"


async def _add(name: str, roles: list[str], by: str) -> int | None:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        return await role_changes.grant(connection, name=name, roles=roles, by=by, at=at)


async def _decide(number: int, by: str, *, approved: bool) -> Approval:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        return await role_changes.decide(connection, number, by=by, approved=approved, at=at)


async def _waiting() -> tuple[list[Approval], dict[int, str]]:
    async with console.database(settings()) as database, database.reading() as connection:
        found = await role_changes.waiting(connection)
        return found, await actors.names_of(connection, [each.maker_id for each in found])


async def _take_back(name: str, roles: list[str], by: str) -> int | None:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        return await role_changes.take_back(connection, name=name, roles=roles, by=by, at=at)


async def _everybody() -> list[tuple[str, list[str]]]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await actors.everybody(connection)
