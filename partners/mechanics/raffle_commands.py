"""`tessera raffles`: open, close, draw, publish, and check what was published."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from kit import console
from kit.settings import settings
from members.commands import Actor
from partners.commands.members import desk
from partners.mechanics import drawing, raffles
from partners.mechanics.raffles import Draft, Raffle

app = typer.Typer(name="raffles", help="Raffles that anybody can draw again.", no_args_is_help=True)

Code = Annotated[str, typer.Argument(help="The raffle's code.", show_default=False)]


@app.command("open")
def begin(
    code: Code,
    prizes: Annotated[int, typer.Option(help="How many there are.", show_default=False)],
    closes: Annotated[datetime, typer.Option(help="When it ends, UTC.", show_default=False)],
    en: Annotated[str, typer.Option(help="Its name in English.", show_default=False)],
    ru: Annotated[str, typer.Option(help="In Russian.", show_default=False)],
    ro: Annotated[str, typer.Option(help="In Romanian.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Open a raffle and commit to its seed. Takes the role PROMOTION_MAKER."""
    draft = Draft(code, {"en": en, "ru": ru, "ro": ro}, prizes, closes.replace(tzinfo=UTC))
    opened = console.run(_begin(draft, actor))
    console.out.print(f"Raffle {code} is open. Publish its commitment now: {opened.commitment}", markup=False)


@app.command()
def close(code: Code, actor: Actor = None) -> None:
    """Write the list of tickets down and tell its hash. Takes PROMOTION_CHECKER, and another than who opened."""
    closed = console.run(_close(code, actor))
    console.out.print(
        f"{closed.tickets} tickets. Publish the hash of their list now: {closed.list_sha256}", markup=False
    )


@app.command()
def draw(code: Code, actor: Actor = None) -> None:
    """Open the seed and draw. Takes PROMOTION_CHECKER, and another than who opened."""
    won = console.run(_draw(code, actor))
    table = Table("Prize", "Ticket", "Member")
    for number, (ticket, member_id) in enumerate(won, start=1):
        table.add_row(str(number), str(ticket), str(member_id))
    console.out.print(table)


@app.command()
def publish(code: Code) -> None:
    """Print all that everybody may know of a raffle by now, as JSON."""
    print(json.dumps(console.run(_published(code)), indent=2, ensure_ascii=False))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What was published.", exists=True, dir_okay=False, show_default=False)],
) -> None:
    """Draw a published raffle again. Needs no database and trusts nobody; ends with 1 where it comes out otherwise."""
    try:
        found = drawing.problems(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        found = [f"this is no raffle that was drawn: {error}"]
    for problem in found:
        console.out.print(f"No: {problem}.", markup=False)
    if found:
        raise typer.Exit(1)
    console.out.print("Seed, list and winners belong together.")


async def _begin(draft: Draft, actor: str | None) -> Raffle:
    async with desk(actor) as opened:
        return await raffles.begin(opened.connection, opened.vault, draft, actor=opened.actor_id, at=opened.at)


async def _close(code: str, actor: str | None) -> Raffle:
    async with desk(actor) as opened:
        return await raffles.close(opened.connection, code, actor=opened.actor_id, at=opened.at)


async def _draw(code: str, actor: str | None) -> list[tuple[UUID, int]]:
    async with desk(actor) as opened:
        await raffles.draw(opened.connection, opened.vault, code, actor=opened.actor_id, at=opened.at)
        return await raffles.winners(opened.connection, code, actor=opened.actor_id)


async def _published(code: str) -> dict[str, Any]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await raffles.published(connection, code)
