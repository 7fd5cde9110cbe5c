"""`tessera schema`: who uses what of the schema, and what changed since it was released."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from graphql import GraphQLInterfaceType, GraphQLObjectType
from rich.table import Table

from gateway import usage as uses
from gateway.schema import schema
from gateway.schema_changes import RELEASED, unwaived
from gateway.usage import FieldUse
from kit import console
from kit.clock import wall
from kit.settings import settings

_PAGE = Path(__file__).parent.parent / "docs" / "schema-changes.md"


def usage(*, days: int, only_deprecated: bool) -> None:
    """Print who used which field within some days; of deprecated fields alone if so wanted."""
    fields = _deprecated() if only_deprecated else None
    table = Table("Field", "Client", "Requests", "Last on")
    for use in console.run(_used(days, fields)):
        table.add_row(use.field, use.client_id, str(use.uses), use.last_on.isoformat())
    console.out.print(table, markup=False)


def changes() -> None:
    """Print what is neither released nor waived; exit code 1 if there is anything."""
    page = _PAGE.read_text(encoding="utf-8") if _PAGE.exists() else ""
    found = unwaived(RELEASED.read_text(encoding="utf-8"), schema.sdl(), page)
    for change in found:
        console.out.print(f"{'breaking' if change.is_breaking else 'dangerous'}  {change}", markup=False)
    if found:
        raise SystemExit(1)
    console.out.print("Nothing that a caller could notice.")


def _deprecated() -> list[str]:
    return [
        f"{kind.name}.{name}"
        for kind in schema.graphql.type_map.values()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
        for name, field in kind.fields.items()
        if field.deprecation_reason is not None
    ]


async def _used(days: int, fields: list[str] | None) -> list[FieldUse]:
    since = (wall() - timedelta(days=days)).date()
    async with console.database(settings()) as database, database.reading() as connection:
        return await uses.used(connection, since=since, fields=fields)
