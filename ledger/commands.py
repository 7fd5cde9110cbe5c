"""`tessera ledger`: the points themselves, looked at from the outside."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from kit import console
from kit.settings import settings
from ledger import chain, notices
from ledger.chain import Verification
from ledger.notices import Waiting

app = typer.Typer(
    name="ledger", help="The points: whether they were altered, whose will expire untold.", no_args_is_help=True
)


@app.command()
def verify() -> None:
    """Recompute every hash from the first entry, and name the first that was altered; exit code 1 if there is one."""
    found = console.run(_verified())
    for each in found.breaks[:1]:
        console.out.print(f"Altered: holder {each.holder_id}, unit {each.unit}, entry {each.seq}: {each.what}.")
    if len(found.breaks) > 1:
        console.out.print(f"{len(found.breaks)} places in all.")
    for cutoff_id in found.broken_seals[:1]:
        console.out.print(f"The seal of cut-off {cutoff_id} is not what its entries say.")
    if not found.holds:
        raise SystemExit(1)
    console.out.print("Nothing was altered.")
    if found.seal:
        console.out.print(f"Seal of cut-off {found.sealed_cutoff}: {found.seal}")


@app.command("notices")
def list_notices(
    days: Annotated[int, typer.Option(help="Look so many days ahead of the business day.", min=0)] = 0,
) -> None:
    """List lots whose holders must be told, today or within some days, if they are to expire on their day."""
    waiting = console.run(_waiting(timedelta(days=days)))
    table = Table("Tell by", "Holder", "Lot", "Points", "Expires")
    for each in waiting:
        table.add_row(
            f"{each.tell_by:%Y-%m-%d %H:%M}",
            str(each.lot.holder_id),
            f"{each.lot.seq}.{each.lot.lot_no}",
            str(each.points),
            f"{each.expires_at:%Y-%m-%d %H:%M}",
        )
    console.out.print(table if waiting else "Nobody is to be told.", markup=False)


async def _waiting(ahead: timedelta) -> list[Waiting]:
    async with console.database(settings()) as database, database.reading() as connection:
        by = await console.business_instant(connection, settings()) + ahead
        found: list[Waiting] = []
        while more := await notices.waiting(connection, by=by, after=found[-1] if found else None):
            found += more
        return found


async def _verified() -> Verification:
    async with console.database(settings()) as database, database.reading() as connection:
        return await chain.verify(connection)
