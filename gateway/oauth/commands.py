"""`tessera partner client`: what lets a partner's systems in, beside the partner's own commands."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from gateway import scopes
from gateway.oauth import clients, keys
from gateway.oauth.clients import Client
from kit import console
from kit.clock import wall
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from partners.agreements import onboarding
from partners.commands.partners import app

client_app = typer.Typer(name="client", help="OAuth clients of partners and of the staff.", no_args_is_help=True)
app.add_typer(client_app)

_SCOPES = " ".join(f"{scope}: {what}." for scope, what in scopes.SCOPES.items())
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]
ClientId = Annotated[str, typer.Argument(help="Id that `client add` printed.", metavar="CLIENT", show_default=False)]


@client_app.command()
def add(
    name: Annotated[str, typer.Option(help="What it is, for instance: tills.", show_default=False)],
    partner: Annotated[str | None, typer.Argument(help="Code of the partner.", show_default=False)] = None,
    staff: Annotated[bool, typer.Option("--staff", help="Of the operator's staff, of no partner.")] = False,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"Repeat for several; by default what a till needs. {_SCOPES}")
    ] = None,
    actor: Actor = None,
) -> None:
    """Add a client and show its secret, once. Takes the role ONBOARDING."""
    if (partner is None) is not staff:
        console.fail("say either the partner's code or --staff")
    client_id, secret = console.run(_add(partner, name, scope or list(scopes.TILL), actor))
    _show_secret(client_id, secret)


@app.command()
@client_app.command()
def rotate(
    client_id: ClientId,
    overlap_hours: Annotated[int, typer.Option(min=0, max=720, help="How long the last secret stays good.")] = 24,
    actor: Actor = None,
) -> None:
    """Give a client a new secret and show it, once. Takes the role ONBOARDING."""
    secret = console.run(_rotate(client_id, timedelta(hours=overlap_hours), actor))
    _show_secret(client_id, secret)


@client_app.command()
def suspend(client_id: ClientId, actor: Actor = None) -> None:
    """Let a client in no more, its tokens included, within seconds. Takes the role ONBOARDING."""
    console.run(_set_status(client_id, actor, active=False))
    console.out.print(f"{client_id} is suspended.", markup=False)


@client_app.command()
def resume(client_id: ClientId, actor: Actor = None) -> None:
    """Take a suspension back; the client asks for new tokens. Takes the role ONBOARDING."""
    console.run(_set_status(client_id, actor, active=True))
    console.out.print(f"{client_id} is active again.", markup=False)


@client_app.command("list")
def show() -> None:
    """Every client with its standing and scopes; secrets are not kept."""
    table = Table("Client", "Partner", "Name", "Status", "Scopes")
    for client in console.run(_all()):
        of = "staff" if client.partner_id is None else str(client.partner_id)
        status = "ACTIVE" if client.active else "SUSPENDED"
        table.add_row(client.client_id, of, client.name, status, " ".join(sorted(client.scopes)))
    console.out.print(table, markup=False)


def rotate_signing_key(*, actor: str | None, emergency: bool) -> None:
    """Add a signing key and say so."""
    kid = console.run(_rotate_signing_key(actor, emergency=emergency))
    console.out.print(f"Signing key {kid} added.", markup=False)


async def _add(partner: str | None, name: str, wanted: list[str], actor: str | None) -> tuple[str, str]:
    async with console.database(settings()) as database, database.transaction() as connection:
        partner_id = await onboarding.partner_id_of(connection, partner) if partner is not None else None
        return await clients.add_client(
            connection, partner_id=partner_id, name=name, scopes=wanted, by=actor or console.login_name(), at=wall()
        )


async def _rotate(client_id: str, overlap: timedelta, actor: str | None) -> str:
    async with console.database(settings()) as database, database.transaction() as connection:
        by = actor or console.login_name()
        return await clients.rotate(connection, client_id, overlap=overlap, by=by, at=wall())


async def _set_status(client_id: str, actor: str | None, *, active: bool) -> None:
    change = clients.resume if active else clients.suspend
    async with console.database(settings()) as database, database.transaction() as connection:
        await change(connection, client_id, by=actor or console.login_name(), at=wall())


async def _all() -> list[Client]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await clients.all_clients(connection)


async def _rotate_signing_key(actor: str | None, *, emergency: bool) -> str:
    vault = Vault(load_master_key(settings()))
    async with console.database(settings()) as database, database.transaction() as connection:
        return await keys.rotate_key(
            connection, vault, by=actor or console.login_name(), at=wall(), emergency=emergency
        )


def _show_secret(client_id: str, secret: str) -> None:
    console.out.print(f"client_id      {client_id}", markup=False, soft_wrap=True)
    console.out.print(f"client_secret  {secret}", markup=False, soft_wrap=True)
    console.err.print("The secret is not shown again.", markup=False)
