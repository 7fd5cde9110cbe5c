"""`tessera report`: the catalogue of reports, and each of them as a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kit import console
from kit.database import Database
from kit.reports.tables import in_language
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from partners import directory
from partners.clearing import clearing
from settlement.reports import catalogue
from settlement.reports.catalogue import Wanted


def report(
    code: Annotated[str, typer.Argument(help="R1 to R25, or `list` for all there are.")],
    run: Annotated[int | None, typer.Option("--run", help="Number of a settlement run.", min=1)] = None,
    partner: Annotated[str | None, typer.Option(help="Code of a partner: its statement.")] = None,
    format: Annotated[str, typer.Option("--format", help="csv, xlsx or pdf.")] = "csv",
    language: Annotated[str, typer.Option(help="en, ru or ro.")] = "en",
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at",
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"],
            help="R12 as it was at a past instant, UTC where it says no offset.",
            show_default=False,
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", help="R23 alone: a price as NAME=VALUE, micro-units; repeat.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write.", show_default=False)] = None,
) -> None:
    """Write a report of the catalogue to a file, or list the catalogue."""
    if code == "list":
        table = Table("Report", "What it is", "Of a run", "Partners have their own")
        for entry in catalogue.CATALOGUE.values():
            marks = ("yes" if flag else "" for flag in (entry.needs_run, entry.is_of_partner))
            table.add_row(entry.code, in_language(entry.title, language), *marks)
        console.out.print(table, markup=False)
        return
    if out is None:
        console.fail("say where to write it: --out FILE")
    as_of = at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
    rows = console.run(_write(code, run, partner, format, language, out, as_of, _prices(price or [])))
    console.out.print(f"Written: {out}" + (f", {rows:,} rows" if rows else ""), markup=False, soft_wrap=True)


async def _write(
    code: str, run_id: int | None, partner: str | None, format: str, language: str, out: Path, as_of: datetime | None,
    changes: dict[str, int],
) -> int:  # fmt: skip
    async with console.database(settings()) as database:
        partner_id, id_key = await _partner(database, partner)
        with console.progress(f"Making {code}", total=1) as advance:
            async with database.transaction() as connection:
                at = (await console.business_instant(connection, settings())).astimezone(UTC)
                wanted = Wanted(run_id, partner_id, at, id_key, as_of, changes)
                made = await catalogue.make(connection, code, wanted)
                rows = await catalogue.write(made, out, format=format, language=language)
            advance(1)
    return rows


def _prices(said: list[str]) -> dict[str, int]:
    found = {}
    for one in said:
        name, _, value = one.partition("=")
        if not (value.isascii() and value.isdecimal() and len(value) <= 18):
            console.fail("a price is NAME=VALUE, micro-units: service_price_micro=2500")
        found[name] = int(value)
    return found


async def _partner(database: Database, code: str | None) -> tuple[int | None, bytes | None]:
    if code is None:
        return None, None
    async with database.reading() as connection:
        named = await clearing.names(connection)
    found = next((name.partner_id for name in named.values() if name.code == code), None)
    if found is None:
        console.fail(f"there is no partner {code}: `tessera partner list` shows them")
    vault = Vault(load_master_key(settings()))
    signed = (await directory.DirectoryCache(database.pool, vault).get()).partner(found)
    return found, None if signed is None else signed.id_key
