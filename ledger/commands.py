"""`tessera ledger`: the points themselves, looked at from the outside."""

from __future__ import annotations

import typer

from kit import console
from kit.settings import settings
from ledger import chain
from ledger.chain import Verification

app = typer.Typer(name="ledger", help="The points: whether what was written has been altered.", no_args_is_help=True)


@app.callback()
def _ledger() -> None:
    """Keep `verify` a command of its own name while it is alone."""


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


async def _verified() -> Verification:
    async with console.database(settings()) as database, database.reading() as connection:
        return await chain.verify(connection)
