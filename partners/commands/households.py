"""`tessera household`: members who spend from one pool, at the operator's own desk."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer
from rich.table import Table

from kit import actors, audit, console
from ledger import accounts, transfers
from members import households
from members.cards import IssuedCard
from members.commands import Actor, CardNumber
from partners.agreements import sharing
from partners.commands.members import Desk, desk

app = typer.Typer(name="household", help="Members who spend from one pool.", no_args_is_help=True)
HouseholdCard = Annotated[
    str,
    typer.Argument(help="The 16 digits on a card of the household.", metavar="HOUSEHOLD_CARD", show_default=False),
]


@app.command()
def found(card: CardNumber, actor: Actor = None) -> None:
    """Found a household with its first member. Takes the role ONBOARDING."""
    console.out.print(f"Founded. The member's card of the household: {console.run(_found(card, actor)).number}")


@app.command()
def join(household: HouseholdCard, card: CardNumber, actor: Actor = None) -> None:
    """Let a member join. Takes the role ONBOARDING."""
    console.out.print(
        f"Joined. The member's card of the household: {console.run(_join(household, card, actor)).number}"
    )


@app.command()
def contribute(
    card: CardNumber,
    points: Annotated[int | None, typer.Option(help="How many; all by default.", show_default=False)] = None,
    key: Annotated[str | None, typer.Option(help="Name of this contribution: the same again gives no more.")] = None,
    actor: Actor = None,
) -> None:
    """Put points of a member into the pool of their household. Takes the role ONBOARDING."""
    given = console.run(_contribute(card, points, key or str(uuid4()), actor))
    console.out.print(f"{given} points put into the pool.")


@app.command()
def leave(card: CardNumber, actor: Actor = None) -> None:
    """Let a member leave, with what they put in and have not spent. Takes the role ONBOARDING."""
    console.out.print(f"Left, with {console.run(_leave(card, actor))} points. Their card of the household is blocked.")


@app.command()
def show(household: HouseholdCard, actor: Actor = None) -> None:
    """Who is in a household, and whose points are in the pool. Takes the role ONBOARDING."""
    table, available = console.run(_show(household, actor))
    console.out.print(table)
    console.out.print(f"{available} points are available.")


async def _found(card: str, actor: str | None) -> IssuedCard:
    async with desk(actor, actors.ONBOARDING) as opened:
        rules = await sharing.rules(opened.connection)
        member_id = await opened.member_of(card)
        issued = await households.found(opened.connection, opened.vault, rules, member_id=member_id, at=opened.at)
        await _note(opened, "HOUSEHOLD_FOUNDED", issued.member_id, member_id)
        return issued


async def _join(household: str, card: str, actor: str | None) -> IssuedCard:
    async with desk(actor, actors.ONBOARDING) as opened:
        rules = await sharing.rules(opened.connection)
        household_id, member_id = await opened.member_of(household), await opened.member_of(card)
        issued = await households.join(
            opened.connection, opened.vault, rules, household_id=household_id, member_id=member_id, at=opened.at
        )
        await _note(opened, "HOUSEHOLD_JOINED", household_id, member_id)
        return issued


async def _contribute(card: str, points: int | None, key: str, actor: str | None) -> int:
    async with desk(actor, actors.ONBOARDING) as opened:
        sent = await households.contribute(
            opened.connection, await sharing.rules(opened.connection), member_id=await opened.member_of(card),
            points=points, key=key, at=opened.at, day=await sharing.day_of(opened.connection, opened.at),
        )  # fmt: skip
        opened.sent.append(sent)
        return sent.points


async def _leave(card: str, actor: str | None) -> int:
    async with desk(actor, actors.ONBOARDING) as opened:
        member_id = await opened.member_of(card)
        place = await households.place_of(opened.connection, member_id)
        sent = await sharing.leave_household(opened.connection, member_id=member_id, at=opened.at)
        await _note(opened, "HOUSEHOLD_LEFT", place.household_id, place.member_id)
        opened.sent.extend(sent)
        return sum(one.points for one in sent)


async def _show(household: str, actor: str | None) -> tuple[Table, int]:
    async with desk(actor, actors.ONBOARDING) as opened:
        household_id = await opened.member_of(household)
        points = await transfers.contributed(opened.connection, household_id, at=opened.at)
        table = Table("Member", "Since", "Points of theirs in the pool")
        for place in await households.members_of(opened.connection, household_id):
            theirs = points.get(place.member_id, 0)
            table.add_row(str(place.member_id), f"{place.since:%Y-%m-%d}", str(theirs))
        balance = await accounts.balance(opened.connection, household_id, at=opened.at)
        return table, balance.available if balance else 0


async def _note(opened: Desk, action: str, household_id: int, member_id: int) -> None:
    await audit.write(
        opened.connection, actor=opened.actor_id, action=action, subject=f"household:{household_id}",
        detail={"member": member_id}, at=opened.at,
    )  # fmt: skip
