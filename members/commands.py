"""`tessera member`: enrolment and cards at the operator's own desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit, console
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from members import birthdays, cards, enrolment, erasure, identification, proofs
from members.cards import IssuedCard
from members.consents import ConsentGiven
from members.enrolment import Personal

OPERATOR = 0
CHANNEL = "OPERATOR_DESK"

app = typer.Typer(name="member", help="Members and their cards, at the operator's own desk.", no_args_is_help=True)
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]
CardNumber = Annotated[str, typer.Argument(help="The 16 digits on the card.", metavar="CARD", show_default=False)]


@dataclass(frozen=True, slots=True)
class _Desk:
    connection: AsyncConnection
    vault: Vault
    actor_id: int
    at: datetime


@app.command()
def enrol(
    consent_text: Annotated[
        str, typer.Option(help="Version of the programme's terms that the person agreed to.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="The person's name.")] = None,
    phone: Annotated[str | None, typer.Option(help="With its country code.")] = None,
    email: Annotated[str | None, typer.Option(help="E-mail address.")] = None,
    language: Annotated[str, typer.Option(help="Language to write in.")] = "en",
    card: Annotated[str | None, typer.Option(help="Number of a printed card that the person holds.")] = None,
    actor: Actor = None,
) -> None:
    """Enrol a member and print the card's number. Takes the role ONBOARDING."""
    personal = Personal(name=name, phone=phone, email=email)
    issued = console.run(_enrol(personal, consent_text, language, card, actor))
    console.out.print(f"Enrolled. Card {issued.number}", markup=False)


@app.command("print-cards")
def print_cards(
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 10,
    actor: Actor = None,
) -> None:
    """Issue cards to be printed: each earns at once, and is for whoever registers it. Takes the role ONBOARDING."""
    for number in console.run(_print_cards(count, actor)):
        console.out.print(number, markup=False)


@app.command()
def lost(card: CardNumber, actor: Actor = None) -> None:
    """A member's card is lost: it neither earns nor spends from now on. Takes the role ONBOARDING."""
    console.run(_lost(card, actor))
    console.out.print("The card is blocked. A new one: tessera member another-card --help", markup=False)


@app.command("another-card")
def another_card(card: CardNumber, actor: Actor = None) -> None:
    """Issue one more card to the member who holds this one, lost or not. Takes the role ONBOARDING."""
    console.out.print(f"Card {console.run(_another_card(card, actor)).number}", markup=False)


@app.command("set-pin")
def set_pin(
    card: CardNumber,
    pin: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="4 to 8 digits.")],
    actor: Actor = None,
) -> None:
    """Give the member who holds this card a PIN. Takes the role ONBOARDING."""
    console.run(_set_pin(card, pin, actor))
    console.out.print("The PIN is set.", markup=False)


@app.command("birth-date")
def birth_date(
    card: CardNumber,
    born: Annotated[
        datetime,
        typer.Option(
            prompt="Born on", formats=["%Y-%m-%d"], help="The right date; asked for where it is not said.",
            show_default=False,
        ),
    ],
    actor: Actor = None,
) -> None:  # fmt: skip
    """Correct a member's birth date that was written wrongly, or write it where there is none: once, and not shortly
    before a birthday. Takes the role ONBOARDING."""
    console.run(_birth_date(card, born.date(), actor))
    console.out.print("The birth date is written.", markup=False)


@app.command()
def forget(
    card: CardNumber,
    actor: Actor = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Forget the member who holds this card, for good: nobody finds or reads their data any more, and their points
    cannot be spent. Takes the role ONBOARDING."""
    if not yes:
        typer.confirm("This cannot be undone. Forget this member?", abort=True)
    console.run(_forget(card, actor))
    console.out.print("The member is forgotten.", markup=False)


@asynccontextmanager
async def _desk(actor: str | None) -> AsyncIterator[_Desk]:
    async with console.database(settings()) as database, database.transaction() as connection:
        actor_id = await actors.by_name(connection, actor or console.login_name())
        await actors.require_role(connection, actor_id, actors.ONBOARDING)
        at = await console.business_instant(connection, settings())
        yield _Desk(connection, Vault(load_master_key(settings())), actor_id, at)


async def _note(desk: _Desk, action: str, member_id: int) -> None:
    await audit.write(
        desk.connection, actor=desk.actor_id, action=action, subject=f"member:{member_id}", detail={}, at=desk.at
    )


async def _enrol(
    personal: Personal, consent_text: str, language: str, card: str | None, actor: str | None
) -> IssuedCard:
    async with _desk(actor) as desk:
        consent = ConsentGiven("PROGRAMME", consent_text, desk.at, channel=CHANNEL)
        enrolled = await enrolment.enrol(
            desk.connection, desk.vault, enrolled_by=OPERATOR, at=desk.at, personal=personal, consents=[consent],
            language=language, card_number=card,
        )  # fmt: skip
        await _note(desk, "MEMBER_ENROLLED", enrolled.member_id)
        return enrolled.card


async def _print_cards(count: int, actor: str | None) -> list[str]:
    async with _desk(actor) as desk:
        issued = await cards.issue_anonymous(desk.connection, desk.vault, count, desk.at)
        for card in issued:
            await _note(desk, "CARD_PRINTED", card.member_id)
        return [card.number for card in issued]


async def _lost(card: str, actor: str | None) -> None:
    async with _desk(actor) as desk:
        member_id, card_id = await identification.holder_of(desk.connection, desk.vault, card)
        await cards.mark_lost(desk.connection, card_id, at=desk.at)
        await _note(desk, "CARD_LOST", member_id)


async def _another_card(card: str, actor: str | None) -> IssuedCard:
    async with _desk(actor) as desk:
        member_id, _ = await identification.holder_of(desk.connection, desk.vault, card)
        issued = await cards.issue(desk.connection, desk.vault, member_id=member_id, at=desk.at)
        await _note(desk, "CARD_ISSUED", member_id)
        return issued


async def _birth_date(card: str, born: date, actor: str | None) -> None:
    async with _desk(actor) as desk:
        member_id, _ = await identification.holder_of(desk.connection, desk.vault, card)
        await birthdays.correct(desk.connection, desk.vault, member_id, born, at=desk.at)
        await _note(desk, "BIRTH_DATE_CORRECTED", member_id)


async def _forget(card: str, actor: str | None) -> None:
    async with _desk(actor) as desk:
        member_id, _ = await identification.holder_of(desk.connection, desk.vault, card)
        await erasure.forget(desk.connection, member_id, by=desk.actor_id, at=desk.at)


async def _set_pin(card: str, pin: str, actor: str | None) -> None:
    async with _desk(actor) as desk:
        member_id, _ = await identification.holder_of(desk.connection, desk.vault, card)
        await proofs.set_pin(desk.connection, desk.vault, member_id, pin)
        await _note(desk, "PIN_SET", member_id)
