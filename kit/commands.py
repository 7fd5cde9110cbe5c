"""`tessera actor`: who may act on the programme's side."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from kit import actors, console
from kit.settings import settings

app = typer.Typer(name="actor", help="Who may act on the programme's side, and in which roles.", no_args_is_help=True)

_ROLES = " ".join(f"{role} {what}." for role, what in actors.ROLES.items())
Name = Annotated[str, typer.Argument(help="Name of the actor, for instance a login name.", show_default=False)]
Roles = Annotated[list[str], typer.Option("--role", help=f"Repeat for several. {_ROLES}", show_default=False)]
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
    """Add an actor, or give one more roles. Takes OPERATOR_ADMIN, except for the very first."""
    console.run(_add(name, role, actor or console.login_name()))
    console.out.print(f"{name} now holds {', '.join(role)}.", markup=False)


@app.command("take-back")
def take_back(name: Name, role: Roles, actor: Actor = None) -> None:
    """Take roles from an actor. Takes OPERATOR_ADMIN, and one of those always remains."""
    console.run(_take_back(name, role, actor or console.login_name()))
    console.out.print(f"{name} no longer holds {', '.join(role)}.", markup=False)


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


async def _add(name: str, roles: list[str], by: str) -> None:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        await actors.add(connection, name=name, roles=roles, by=by, at=at)


async def _take_back(name: str, roles: list[str], by: str) -> None:
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        await actors.take_back(connection, name=name, roles=roles, by=by, at=at)


async def _everybody() -> list[tuple[str, list[str]]]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await actors.everybody(connection)
