"""`tessera staff`: who may sign in to the console."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from gateway.messages import notices
from gateway.sessions import staff
from gateway.sessions.invitations import INVITATION_LIFE
from gateway.sessions.staff import Colleague
from kit import console
from kit.clock import wall
from kit.secrets import Vault, load_master_key
from kit.settings import settings

app = typer.Typer(name="staff", help="Which actors may sign in to the console.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the actor, as `tessera actor add` was told.", show_default=False)]
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]


@app.command()
def invite(
    name: Name,
    email: Annotated[str, typer.Option(help="Where sign-in codes go.", show_default=False)],
    language: Annotated[str, typer.Option(help="Language to write in: en, ru, ro.")] = "en",
    actor: Actor = None,
) -> None:
    """Let an actor sign in, and print an invitation to do so once without a code. Takes the role OPERATOR_ADMIN."""
    invitation = console.run(_invite(name, email, language, actor))
    site = settings().issuer.rstrip("/")
    console.out.print(f"sign in at  {site}/staff/sign-in", markup=False, soft_wrap=True)
    console.out.print(f"invitation  {invitation}", markup=False, soft_wrap=True)
    days = INVITATION_LIFE.days
    console.err.print(f"Good once, for {days} days, where the code is asked for; it is not shown again.", markup=False)


@app.command()
def remove(name: Name, actor: Actor = None) -> None:
    """Let an actor sign in no more and end their sessions. Takes the role OPERATOR_ADMIN."""
    console.run(_remove(name, actor))
    console.out.print(f"{name} can no longer sign in.", markup=False)


@app.command("list")
def show() -> None:
    """Everybody who may sign in; addresses are not shown."""
    found = console.run(_everybody())
    if not found:
        console.out.print("Nobody may sign in yet: tessera staff invite NAME --email ADDRESS")
        return
    table = Table("Actor", "Roles", "Invitation")
    for each in found:
        table.add_row(each.name, ", ".join(sorted(each.roles)) or "none", "open" if each.is_invited else "")
    console.out.print(table, markup=False)


async def _invite(name: str, email: str, language: str, actor: str | None) -> str:
    vault = Vault(load_master_key(settings()))
    async with console.database(settings()) as database, database.transaction() as connection:
        sender = await notices.sender_of(connection, settings().issuer)
        return await staff.invite(
            connection, vault, sender, name=name, email=email, language=language,
            by=actor or console.login_name(), now=wall(),
        )  # fmt: skip


async def _remove(name: str, actor: str | None) -> None:
    async with console.database(settings()) as database, database.transaction() as connection:
        await staff.remove(connection, name=name, by=actor or console.login_name(), now=wall())


async def _everybody() -> list[Colleague]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await staff.everybody(connection, now=wall())
