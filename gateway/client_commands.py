"""`tessera partner client limit` and `document`: how much a client may ask for, and which documents it registers.

`tessera partner` is put together here: what other modules add to it is imported by this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway import scopes
from gateway.gate import client_rules
from gateway.gate.allowances import LARGE, STANDARD, Allowance
from gateway.gate.client_rules import ClientRule, DocumentInvalid
from gateway.oauth.commands import Actor, ClientId, client_app
from gateway.sessions import colleague_commands as colleague_commands
from kit import console
from kit.clock import wall
from kit.settings import settings
from partners.commands.partners import app as app

document_app = typer.Typer(
    name="document", help="Documents that a client registers, to be run by their hash.", no_args_is_help=True
)
client_app.add_typer(document_app)

_GRADES = {"standard": STANDARD, "large": LARGE}
Hash = Annotated[
    str, typer.Argument(help="SHA-256 of the document, in hexadecimal.", metavar="HASH", show_default=False)
]


@client_app.command("limit")
def limit(
    client_id: ClientId,
    grade: Annotated[str | None, typer.Option(help="standard or large.", show_default=False)] = None,
    burst: Annotated[int | None, typer.Option(help="Points of cost at once.", show_default=False)] = None,
    restore: Annotated[int | None, typer.Option(help="Points that come back in a second.", show_default=False)] = None,
    trusted_only: Annotated[
        bool | None,
        typer.Option(
            "--trusted-only/--any-document", help="Whether it runs registered documents alone.", show_default=False
        ),
    ] = None,
    actor: Actor = None,
) -> None:
    """Show how much a client may ask for, or change it. A change takes the role ONBOARDING, and acts in seconds."""
    if grade is not None and grade not in _GRADES:
        console.fail("a grade is standard or large")
    if (burst is None) is not (restore is None) or (grade is not None and burst is not None):
        console.fail("say either a grade, or both --burst and --restore")
    allowance = _GRADES[grade] if grade else Allowance(burst, restore) if burst and restore else None
    rule = console.run(_limit(client_id, allowance, trusted_only, actor))
    console.out.print(
        f"{client_id}: {rule.allowance.burst} points at once, {rule.allowance.restore_per_second} a second, "
        f"{'registered documents alone' if rule.trusted_only else 'any document'}",
        markup=False,
        soft_wrap=True,
    )


@document_app.command("add")
def add(
    client_id: ClientId,
    files: Annotated[list[Path], typer.Argument(help="Files with a document each.", exists=True, dir_okay=False)],
    actor: Actor = None,
) -> None:
    """Register documents, each file one, and print their hashes. Takes the role ONBOARDING."""
    with console.clear_errors():
        texts = [_text(file) for file in files]
    for file, name in zip(files, console.run(_register(client_id, texts, actor)), strict=True):
        console.out.print(f"{name.hex()}  {file}", markup=False, soft_wrap=True)


@document_app.command("forget")
def forget(client_id: ClientId, document_hash: Hash, actor: Actor = None) -> None:
    """Take a registration back. Takes the role ONBOARDING."""
    try:
        name = bytes.fromhex(document_hash.removeprefix("sha256:"))
    except ValueError:
        console.fail("a hash is of 64 hexadecimal digits")
    console.run(_forget(client_id, name, actor))
    console.out.print("Forgotten.")


@document_app.command("list")
def show(client_id: ClientId) -> None:
    """The documents that a client registered."""
    table = Table("Hash", "Document")
    for name, body in console.run(_registered(client_id)):
        table.add_row(name.hex(), " ".join(body.split())[:60])
    console.out.print(table, markup=False)


def _text(file: Path) -> str:
    """The document of a file, if the gate would let it in. Raises DocumentInvalid."""
    from gateway.gate.prepared import Unacceptable
    from gateway.schema import schema

    try:
        text = file.read_text(encoding="utf-8")
        schema.documents.prepare(text, introspection=scopes.SCHEMA_READ in scopes.SCOPES)
    except Unacceptable as no:
        raise DocumentInvalid(f"{file}: {no.errors[0].message}") from no
    except UnicodeDecodeError as no:
        raise DocumentInvalid(f"{file} is not text in UTF-8") from no
    return text


async def _limit(
    client_id: str, allowance: Allowance | None, trusted_only: bool | None, actor: str | None
) -> ClientRule:
    async with console.database(settings()) as database, database.transaction() as connection:
        if allowance is None and trusted_only is None:
            return await client_rules.rule_of(connection, client_id)
        by = actor or console.login_name()
        return await client_rules.change(
            connection, client_id, by=by, at=wall(), allowance=allowance, trusted_only=trusted_only
        )


async def _register(client_id: str, texts: list[str], actor: str | None) -> list[bytes]:
    by = actor or console.login_name()
    async with console.database(settings()) as database, database.transaction() as connection:
        return [await client_rules.register(connection, client_id, text, by=by, at=wall()) for text in texts]


async def _forget(client_id: str, name: bytes, actor: str | None) -> None:
    async with console.database(settings()) as database, database.transaction() as connection:
        await client_rules.forget(connection, client_id, name, by=actor or console.login_name(), at=wall())


async def _registered(client_id: str) -> list[tuple[bytes, str]]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await client_rules.registered(connection, client_id)
