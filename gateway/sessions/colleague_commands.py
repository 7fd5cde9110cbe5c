"""`tessera partner colleague`: who signs in to the portal for a partner. Staff invite its first manager."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.messages import notices
from gateway.sessions import colleagues
from gateway.sessions.colleagues import Colleague
from gateway.sessions.commands import Actor
from gateway.sessions.invitations import INVITATION_LIFE
from kit import actors, console
from kit.clock import wall
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from partners.agreements.onboarding import PartnerUnknown
from partners.commands.partners import app as partner_app
from partners.directory import DirectoryCache, Partner

app = typer.Typer(name="colleague", help="Who signs in to the portal for a partner.", no_args_is_help=True)
partner_app.add_typer(app)

Code = Annotated[str, typer.Argument(help="The partner's code.", metavar="PARTNER", show_default=False)]
Name = Annotated[str, typer.Argument(help="What the portal calls them.", show_default=False)]


@app.command()
def invite(
    partner: Code,
    name: Name,
    email: Annotated[str, typer.Option(help="Where sign-in codes go.", show_default=False)],
    role: Annotated[
        list[str],
        typer.Option("--role", help="MANAGER, DEVELOPER, FINANCE or CASHIER; repeat for several.", show_default=False),
    ],
    language: Annotated[str, typer.Option(help="Language to write in: en, ru, ro.")] = "en",
    actor: Actor = None,
) -> None:
    """Let somebody sign in for a partner, and print an invitation to do so once without a code. Takes ONBOARDING."""
    invitation = console.run(_invite(partner, name, role, email, language, actor))
    site = settings().issuer.rstrip("/")
    console.out.print(f"sign in at  {site}/portal/sign-in", markup=False, soft_wrap=True)
    console.out.print(f"invitation  {invitation}", markup=False, soft_wrap=True)
    days = INVITATION_LIFE.days
    console.err.print(f"Good once, for {days} days, where the code is asked for; it is not shown again.", markup=False)


@app.command()
def remove(partner: Code, name: Name, actor: Actor = None) -> None:
    """Let somebody sign in no more and end their sessions. Takes the role ONBOARDING."""
    console.run(_remove(partner, name, actor))
    console.out.print(f"{name} can no longer sign in for {partner}.", markup=False)


@app.command("list")
def show(partner: Code) -> None:
    """Everybody who may sign in for a partner; addresses are not shown."""
    found = console.run(_everybody(partner))
    if not found:
        console.out.print(f"Nobody may sign in yet: tessera partner colleague invite {partner} NAME --role MANAGER")
        return
    table = Table("Name", "Roles", "Invitation")
    for each in found:
        table.add_row(each.name, ", ".join(sorted(each.roles)), "open" if each.is_invited else "")
    console.out.print(table, markup=False)


async def _invite(code: str, name: str, roles: list[str], email: str, language: str, actor: str | None) -> str:
    vault = Vault(load_master_key(settings()))
    async with console.database(settings()) as database:
        partner = await _partner(database, vault, code)
        async with database.transaction() as connection:
            sender = await notices.sender_of(connection, settings().issuer)
            return await colleagues.invite(
                connection, vault, sender, partner, name=name, roles=roles, email=email, language=language,
                by=await _acting(connection, actor), now=wall(),
            )  # fmt: skip


async def _remove(code: str, name: str, actor: str | None) -> None:
    vault = Vault(load_master_key(settings()))
    async with console.database(settings()) as database:
        partner = await _partner(database, vault, code)
        async with database.transaction() as connection:
            await colleagues.remove(connection, partner, name=name, by=await _acting(connection, actor), now=wall())


async def _everybody(code: str) -> list[Colleague]:
    vault = Vault(load_master_key(settings()))
    async with console.database(settings()) as database:
        partner = await _partner(database, vault, code)
        async with database.reading() as connection:
            return await colleagues.everybody(connection, partner.partner_id, now=wall())


async def _acting(connection: AsyncConnection, actor: str | None) -> int:
    return await actors.by_name(connection, actor or console.login_name())


async def _partner(database: Database, vault: Vault, code: str) -> Partner:
    partner = (await DirectoryCache(database.pool, vault).get()).partner_by_code(code)
    if partner is None:
        raise PartnerUnknown(f"there is no partner '{code}'")
    return partner
