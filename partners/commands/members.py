"""`tessera member`, with what needs to know the programme and its partners: gifts, merges, adjustments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import uuid4

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, console
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from ledger import transfers
from ledger.transfers import Sent
from members import identification, merging
from members import sharing as giving
from members.commands import Actor, CardNumber, app
from partners.adjustments import adjustments
from partners.adjustments.adjustments import REASONS, AdjustmentDraft
from partners.agreements import sharing

__all__ = ["app"]

OTHER_CARD = typer.Argument(help="The 16 digits on the other member's card.", metavar="OTHER_CARD", show_default=False)
Reason = Annotated[str, typer.Option(help="Why, for the checker and the trail; no names.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Desk:
    """A transaction, who acts, and when; what is sent in it is completed after it."""

    connection: AsyncConnection
    vault: Vault
    actor_id: int
    at: datetime
    sent: list[Sent]

    async def member_of(self, card: str) -> int:
        """The member whom a card stands for. Rejects CARD_UNKNOWN."""
        member_id, _ = await identification.holder_of(self.connection, self.vault, card)
        return member_id


@asynccontextmanager
async def desk(actor: str | None, role: str | None = None) -> AsyncIterator[Desk]:
    """A desk for one command, of an actor who holds a role where one is named; use cases ask for others themselves."""
    async with console.database(settings()) as database:
        async with database.transaction() as connection:
            actor_id = await actors.by_name(connection, actor or console.login_name())
            if role is not None:
                await actors.require_role(connection, actor_id, role)
            at = await console.business_instant(connection, settings())
            opened = Desk(connection, Vault(load_master_key(settings())), actor_id, at, [])
            yield opened
        await _complete(database, opened)


async def _complete(database: Database, opened: Desk) -> None:
    await transfers.complete_all(database, opened.sent, at=opened.at)


@app.command()
def give(
    card: CardNumber,
    other: Annotated[str, OTHER_CARD],
    points: Annotated[int, typer.Option(help="How many.", show_default=False)],
    key: Annotated[str | None, typer.Option(help="Name of this gift: the same one again gives nothing more.")] = None,
    actor: Actor = None,
) -> None:
    """Give points of one member to another, where the programme allows it. Takes the role ONBOARDING."""
    left = console.run(_give(card, other, points, key or str(uuid4()), actor))
    console.out.print(f"Given. The giver has {left} points left.", markup=False)


@app.command()
def merge(card: CardNumber, other: Annotated[str, OTHER_CARD], reason: Reason, actor: Actor = None) -> None:
    """Propose that this member become the other one, cards, points and all. Takes the role MEMBER_CARE_MAKER."""
    _proposed(console.run(_merge(card, other, reason, actor)))


@app.command()
def unmerge(
    merge: Annotated[int, typer.Argument(help="Number of the merge's approval.", metavar="APPROVAL")],
    reason: Reason,
    actor: Actor = None,
) -> None:
    """Propose that a merge end. Takes the role MEMBER_CARE_MAKER."""
    _proposed(console.run(_unmerge(merge, reason, actor)))


@app.command()
def adjust(
    card: CardNumber,
    points: Annotated[int, typer.Option(help="Above zero to give, below to take.", show_default=False)],
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(REASONS)}.", show_default=False)],
    issuer: Annotated[
        str | None, typer.Option(help="Partner under whose agreement points are given.", show_default=False)
    ] = None,
    funder: Annotated[
        str, typer.Option(help="Who pays for points given: operator, or issuer for that partner.")
    ] = "operator",
    actor: Actor = None,
) -> None:
    """Propose to give a member points, or to take some. Takes the role MEMBER_CARE_MAKER."""
    if funder not in ("operator", "issuer"):
        console.fail("--funder is operator or issuer")
    _proposed(console.run(_adjust(card, points, reason, issuer, funder, actor)))


def _proposed(approval_id: int) -> None:
    console.out.print(
        f"Proposed as {approval_id}. Somebody else now says: tessera approvals approve {approval_id}", markup=False
    )


async def _give(card: str, other: str, points: int, key: str, actor: str | None) -> int:
    async with desk(actor, actors.ONBOARDING) as opened:
        sent = await giving.give(
            opened.connection, await sharing.rules(opened.connection), sender_id=await opened.member_of(card),
            receiver_id=await opened.member_of(other), points=points, key=key, at=opened.at,
            day=await sharing.day_of(opened.connection, opened.at),
        )  # fmt: skip
        opened.sent.append(sent)
        return sent.available


async def _merge(card: str, other: str, reason: str, actor: str | None) -> int:
    async with desk(actor) as opened:
        member_id, survivor_id = await opened.member_of(card), await opened.member_of(other)
        return await merging.propose(
            opened.connection, member_id=member_id, survivor_id=survivor_id, reason=reason, maker=opened.actor_id,
            at=opened.at,
        )  # fmt: skip


async def _unmerge(merge: int, reason: str, actor: str | None) -> int:
    async with desk(actor) as opened:
        return await merging.propose_end(
            opened.connection, merge=merge, reason=reason, maker=opened.actor_id, at=opened.at
        )


async def _adjust(card: str, points: int, reason: str, issuer: str | None, funder: str, actor: str | None) -> int:
    async with desk(actor) as opened:
        draft = AdjustmentDraft(await opened.member_of(card), points, reason, issuer, funder == "issuer")
        return await adjustments.propose(opened.connection, draft, maker=opened.actor_id, at=opened.at)
