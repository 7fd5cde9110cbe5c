"""`tessera approvals`: what one person proposed about members, for another one to decide."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from kit import actors, approvals, console
from kit.approvals import Approval
from kit.settings import settings
from members import merging
from members.commands import Actor
from partners.adjustments import adjustments
from partners.agreements import sharing
from partners.commands.members import desk
from partners.mechanics import registry

app = typer.Typer(name="approvals", help="What somebody proposed about members, to be decided by another.",
                  no_args_is_help=True)  # fmt: skip
KINDS = (adjustments.KIND, merging.MERGE, merging.UNMERGE, registry.KIND)
Number = Annotated[int, typer.Argument(help="Number that the proposal printed.", metavar="APPROVAL")]


@app.command("list")
def show() -> None:
    """What waits for its decision."""
    waiting, makers = console.run(_waiting())
    if not waiting:
        console.out.print("Nothing waits for a decision.")
        return
    table = Table("Number", "What", "About", "Proposed by", "At", "Detail")
    for one in waiting:
        detail = ", ".join(f"{name} {value}" for name, value in one.detail.items() if value is not None)
        table.add_row(
            str(one.approval_id), one.kind, one.subject, makers[one.maker_id], f"{one.made_at:%Y-%m-%d %H:%M}", detail
        )
    console.out.print(table, markup=False)


@app.command()
def approve(approval: Number, actor: Actor = None) -> None:
    """Approve what somebody else proposed, and do it.

    Takes the role MEMBER_CARE_CHECKER, for a large adjustment FINANCE_CHECKER, for a mechanic PROMOTION_CHECKER.
    """
    console.run(_decide(approval, actor, approved=True))
    console.out.print(f"Proposal {approval} is approved and done.", markup=False)


@app.command()
def decline(approval: Number, actor: Actor = None) -> None:
    """Decline what somebody else proposed. Takes the same roles."""
    console.run(_decide(approval, actor, approved=False))
    console.out.print(f"Proposal {approval} is declined.", markup=False)


async def _waiting() -> tuple[list[Approval], dict[int, str]]:
    async with console.database(settings()) as database, database.reading() as connection:
        waiting = await approvals.waiting(connection, KINDS)
        return waiting, await actors.names_of(connection, [one.maker_id for one in waiting])


async def _decide(approval_id: int, actor: str | None, *, approved: bool) -> None:
    async with desk(actor) as opened:
        found = await approvals.read(opened.connection, approval_id)
        if found.kind == adjustments.KIND:
            await adjustments.decide(opened.connection, found, checker=opened.actor_id, approved=approved, at=opened.at)
        elif found.kind == registry.KIND:
            await registry.decide(opened.connection, found, checker=opened.actor_id, approved=approved, at=opened.at)
        elif found.kind in KINDS:
            day = await sharing.day_of(opened.connection, opened.at)
            opened.sent.extend(
                await merging.decide(
                    opened.connection, found, checker=opened.actor_id, approved=approved, at=opened.at, day=day
                )
            )
        else:
            raise approvals.ProposalUnknown(f"proposal {approval_id} is decided elsewhere")
