"""`tessera oauth`: clients that sign with keys, apps and tills that people allow, and what was allowed."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from joserfc.jwk import ECKey
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import scopes
from gateway.oauth import client_keys, clients, endings
from gateway.oauth.commands import Actor, ClientId
from kit import console
from kit.clock import wall
from kit.settings import settings
from partners.agreements import onboarding

T = TypeVar("T")

app = typer.Typer(name="oauth", help="Clients' keys, and what people allowed clients to do.", no_args_is_help=True)
key_app = typer.Typer(name="key", help="Public keys with which a client signs.", no_args_is_help=True)
app.add_typer(key_app)

KeyFile = Annotated[Path, typer.Argument(help="JSON Web Key, the public half alone.", dir_okay=False, exists=True)]
Name = Annotated[str, typer.Option(help="What it is, for instance: back office.", show_default=False)]
PartnerCode = Annotated[str | None, typer.Argument(help="Code of the partner.", show_default=False)]
Staff = Annotated[bool, typer.Option("--staff", help="Of the operator's staff, of no partner.")]
RedirectUris = Annotated[
    list[str] | None, typer.Option("--redirect-uri", help="Where people come back to. Repeat for several.")
]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="Repeat for several; by default what a till needs.")]


@app.command("make-key")
def make_key(
    file: Annotated[Path, typer.Argument(help="Where the private half goes; it must not exist.", dir_okay=False)],
) -> None:
    """Make an ES256 key: the private half into a file that only this account reads, the public half printed."""
    key = ECKey.generate_key("P-256", private=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        console.fail(f"{file} exists: a key is never written over")
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        json.dump({**key.as_dict(private=True), "kid": key.thumbprint()}, opened)
    print(json.dumps({**key.as_dict(private=False), "kid": key.thumbprint()}))


@app.command()
def register(
    key: KeyFile,
    name: Name,
    partner: PartnerCode = None,
    staff: Staff = False,
    redirect_uri: RedirectUris = None,
    bearer: Annotated[
        bool, typer.Option("--bearer", help="Let its tokens be good in anybody's hands, not only with a key.")
    ] = False,
    scope: Scopes = None,
    actor: Actor = None,
) -> None:
    """Add a client that signs with the private half of a key. Takes the role ONBOARDING."""
    _check_owner(partner, staff)
    jwk = _read(key)

    async def add(connection: AsyncConnection) -> str:
        return await clients.add_key_client(
            connection, partner_id=await _partner_id(connection, partner), name=name, jwk=jwk,
            scopes=scope or list(scopes.TILL), redirect_uris=redirect_uri or [], binds_tokens=not bearer,
            by=actor or console.login_name(), at=wall(),
        )  # fmt: skip

    console.out.print(f"client_id  {_in_transaction(add)}", markup=False, soft_wrap=True)


@app.command("register-public")
def register_public(
    name: Name,
    partner: PartnerCode = None,
    staff: Staff = False,
    redirect_uri: RedirectUris = None,
    scope: Scopes = None,
    actor: Actor = None,
) -> None:
    """Add a client without a credential: an app with a --redirect-uri, without one tills to be enrolled. Takes the role
    ONBOARDING.
    """
    _check_owner(partner, staff)

    async def add(connection: AsyncConnection) -> str:
        return await clients.add_public_client(
            connection, partner_id=await _partner_id(connection, partner), name=name,
            scopes=scope or list(scopes.TILL), redirect_uris=redirect_uri or [],
            by=actor or console.login_name(), at=wall(),
        )  # fmt: skip

    console.out.print(f"client_id  {_in_transaction(add)}", markup=False, soft_wrap=True)


@app.command("allow-secrets")
def allow_secrets(
    partner: PartnerCode = None,
    staff: Staff = False,
    no_more: Annotated[bool, typer.Option("--no-more", help="Take the exception back.")] = False,
    actor: Actor = None,
) -> None:
    """Let a partner's clients use secrets, which is an exception for systems that cannot sign. Takes ONBOARDING."""
    _check_owner(partner, staff)

    async def allow(connection: AsyncConnection) -> None:
        partner_id = await _partner_id(connection, partner)
        by = actor or console.login_name()
        await clients.allow_secrets(connection, partner_id=partner_id, allowed=not no_more, by=by, at=wall())

    _in_transaction(allow)
    console.out.print("Secrets open nothing any more." if no_more else "Secrets are allowed.", markup=False)


@key_app.command("add")
def add_key(
    client_id: ClientId,
    key: KeyFile,
    overlap_hours: Annotated[int, typer.Option(min=0, max=720, help="How long what it had stays good.")] = 24,
    actor: Actor = None,
) -> None:
    """Register a key; the client's other keys and its secrets stay good for the overlap. Takes the role ONBOARDING."""
    jwk = _read(key)

    async def add(connection: AsyncConnection) -> str:
        return await clients.add_key(
            connection, client_id, jwk, overlap=timedelta(hours=overlap_hours), by=actor or console.login_name(),
            at=wall(),
        )  # fmt: skip

    console.out.print(f"kid  {_in_transaction(add)}", markup=False, soft_wrap=True)


@key_app.command("remove")
def remove_key(
    client_id: ClientId,
    kid: Annotated[str, typer.Argument(help="Thumbprint that `key list` prints.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Refuse a key from now on, and the client's tokens within seconds. Takes the role ONBOARDING."""
    _in_transaction(
        lambda connection: clients.remove_key(connection, client_id, kid, by=actor or console.login_name(), at=wall())
    )
    console.out.print(f"{kid} opens nothing any more.", markup=False, soft_wrap=True)


@key_app.command("list")
def list_keys(client_id: ClientId) -> None:
    """A client's keys and until when each is good."""

    async def keys(connection: AsyncConnection) -> list[client_keys.ClientKey]:
        return await client_keys.of_client(connection, await clients.held(connection, client_id))

    table = Table("Key", "Algorithm", "Since", "Until")
    for key in _in_transaction(keys):
        until = "it is replaced" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}"
        table.add_row(key.kid, key.algorithm, f"{key.created_at:%Y-%m-%d %H:%M}", until)
    console.out.print(table, markup=False)


@app.command()
def grants(client_id: ClientId) -> None:
    """What people allowed a client to do, the newest first."""
    table = Table("Grant", "Given by", "Terminal", "Since", "Until", "Scopes")
    for grant in _in_transaction(lambda connection: endings.of_client(connection, client_id)):
        until = (
            f"{grant.ends_at:%Y-%m-%d}" if grant.ended_at is None else f"{grant.ended_why} {grant.ended_at:%Y-%m-%d}"
        )
        terminal = "" if grant.terminal_id is None else str(grant.terminal_id)
        since = f"{grant.created_at:%Y-%m-%d}"
        table.add_row(grant.grant_id, grant.given_by, terminal, since, until, " ".join(grant.scopes))
    console.out.print(table, markup=False)


@app.command()
def end(
    grant_id: Annotated[str, typer.Argument(help="Grant that `grants` prints.", metavar="GRANT", show_default=False)],
    actor: Actor = None,
) -> None:
    """End a grant, with every token it gave, within seconds; a till has to be enrolled again. Takes ONBOARDING."""
    _in_transaction(lambda connection: endings.end(connection, grant_id, by=actor or console.login_name(), at=wall()))
    console.out.print(f"{grant_id} has ended.", markup=False)


@app.command()
def suspend(client_id: ClientId, actor: Actor = None) -> None:
    """Let a client in no more, its tokens included, within seconds. Takes the role ONBOARDING."""
    _in_transaction(
        lambda connection: clients.suspend(connection, client_id, by=actor or console.login_name(), at=wall())
    )
    console.out.print(f"{client_id} is suspended.", markup=False)


@app.command()
def resume(client_id: ClientId, actor: Actor = None) -> None:
    """Take a suspension back; the client asks for new tokens. Takes the role ONBOARDING."""
    _in_transaction(
        lambda connection: clients.resume(connection, client_id, by=actor or console.login_name(), at=wall())
    )
    console.out.print(f"{client_id} is active again.", markup=False)


def _check_owner(partner: str | None, staff: bool) -> None:
    if (partner is None) is not staff:
        console.fail("say either the partner's code or --staff")


def _read(file: Path) -> dict[str, Any]:
    try:
        jwk = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        console.fail(f"{file} is not a JSON Web Key")
    if not isinstance(jwk, dict):
        console.fail(f"{file} is not a JSON Web Key")
    return jwk


async def _partner_id(connection: AsyncConnection, partner: str | None) -> int | None:
    return None if partner is None else await onboarding.partner_id_of(connection, partner)


def _in_transaction(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def done() -> T:
        async with console.database(settings()) as database, database.transaction() as connection:
            return await work(connection)

    return console.run(done())
