"""`tessera audit`: whether the rules of ledger and budgets hold, for a person or a job that watches the exit code."""

from __future__ import annotations

from rich.table import Table

from kit import console
from kit.settings import settings
from ledger import audit as ledger_audit
from ledger import rollups
from ledger.audit import Violation
from partners.promotions import budgets


def audit() -> None:
    """Print every violation of the rules of the ledger and of budgets; exit code 1 if there is one."""
    found = console.run(_violations())
    if not found:
        console.out.print("No violations.")
        return
    table = Table("Rule", "Holder", "Unit", "What is wrong")
    for each in found:
        holder = "" if each.holder_id is None else str(each.holder_id)
        table.add_row(each.rule, holder, str(each.unit), each.detail)
    console.out.print(table, markup=False)
    raise SystemExit(1)


async def _violations() -> list[Violation]:
    async with console.database(settings()) as database, database.reading() as connection:
        return [
            *await ledger_audit.violations(connection),
            *await rollups.violations(connection),
            *await budgets.violations(connection),
        ]
