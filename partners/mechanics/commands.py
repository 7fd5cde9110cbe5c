"""`tessera mechanics` and `tessera coupons`: what surrounds the rules, by the people of promotions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kit import audit, console
from kit.errors import FieldProblem
from kit.settings import settings
from members import attributes, segments
from members.commands import Actor, CardNumber
from partners.agreements import onboarding
from partners.commands.members import desk
from partners.coupons import batches
from partners.coupons.batches import BatchDraft, CouponBatchInvalid
from partners.mechanics import clubs, documents, grants, registry, rewards
from partners.mechanics.registry import Draft, MechanicInvalid
from partners.mechanics.rewards import RewardDraft

app = typer.Typer(name="mechanics", help="Tiers, events, invitations, holidays, stamps, rewards, segments, badges.",
                  no_args_is_help=True)  # fmt: skip
coupon_app = typer.Typer(name="coupons", help="Coupons and promo codes: batches, codes, a stop.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A JSON file.", exists=True, dir_okay=False, show_default=False)]
Code = Annotated[str, typer.Argument(help="Its code.", show_default=False)]
Instant = Annotated[
    datetime | None, typer.Option("--from", help="From when, UTC; from its approval where nothing is said.")
]


@app.command()
def propose(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(sorted(documents.KINDS))}.", show_default=False)],
    code: Code,
    file: File,
    valid_from: Instant = None,
    actor: Actor = None,
) -> None:
    """Propose a version of a mechanic for another to approve. Takes the role PROMOTION_MAKER."""
    number = console.run(_propose(kind, code, _read(file), valid_from, actor))
    console.out.print(f"Proposal {number}: another approves it with `tessera approvals approve {number}`.")


@app.command()
def stamps(
    code: Code,
    description: Annotated[str, typer.Option(help="What they are good for.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Let there be stamps of a code. Takes the role PROMOTION_MAKER."""
    unit = console.run(_stamps(code, description, actor))
    console.out.print(f"Stamps {code} are unit {unit}.")


@app.command()
def reward(file: File, actor: Actor = None) -> None:
    """Add a reward of a partner: partner, code, names, points, stock, valid_from, valid_until; tiers, badges, segments.

    Takes the role PROMOTION_MAKER.
    """
    number = console.run(_reward(_read(file), actor))
    console.out.print(f"Reward {number} is there.")


@app.command()
def orders(
    partner: Annotated[str, typer.Argument(help="Code of the partner.", show_default=False)],
    most: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
) -> None:
    """Show a partner's rewards that wait to be handed over, who waits longest first."""
    table = Table("ordered", "reward", "points", "reference", "business date")
    for one in console.run(_orders(partner, most)):
        when = f"{one.at:%Y-%m-%d %H:%M}"
        table.add_row(when, one.code, f"{one.points:,}", one.reference, one.business_date.isoformat())
    console.out.print(table, markup=False)


@app.command()
def segment(code: Code, file: File, actor: Actor = None) -> None:
    """Take a new version of a segment from a JSON list of card numbers. Takes the role PROMOTION_MAKER."""
    taken = console.run(_segment(code, _read(file), actor))
    console.out.print(f"Segment {code}, version {taken.version}: {taken.members} members.")


@app.command()
def verify(
    card: CardNumber,
    attribute: Annotated[str, typer.Argument(help="What was found true: LARGE_FAMILY.", show_default=False)],
    evidence: Annotated[str, typer.Option(help="Kind of what was shown: CERTIFICATE. No number.", show_default=False)],
    until: Annotated[datetime, typer.Option(help="When it is to be looked at again, UTC.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Note that evidence of a member was looked at and is good. Takes the role ONBOARDING."""
    console.run(_verify(card, attribute, evidence, until.replace(tzinfo=UTC), actor))
    console.out.print(f"{attribute} holds until {until:%Y-%m-%d}.", markup=False)


@app.command()
def withdraw(
    card: CardNumber,
    attribute: Annotated[str, typer.Argument(help="What is true no more: STUDENT.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, in a word: STUDIES_ENDED, EVIDENCE_FALSE.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Note that what was found true of a member holds no more, from now on. Takes the role ONBOARDING."""
    if not console.run(_withdraw(card, attribute, reason, actor)):
        console.fail(f"{attribute} does not hold of this member: nothing is withdrawn")
    console.out.print(f"{attribute} holds no more.", markup=False)


@app.command()
def invite(
    card: CardNumber,
    badge: Annotated[str, typer.Argument(help="The badge that lets into the club.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Invite a member into a closed club: give them its badge. Takes the role ONBOARDING."""
    console.run(_invite(card, badge, actor))
    console.out.print(f"The member bears {badge}.", markup=False)


@app.command("put-out")
def put_out(
    card: CardNumber,
    badge: Annotated[str, typer.Argument(help="The badge that lets into the club.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Put a member out of a closed club, who leaves or has to: take its badge. Takes the role ONBOARDING."""
    if not console.run(_put_out(card, badge, actor)):
        console.fail(f"the member does not bear {badge}: nothing is taken")
    console.out.print(f"The member bears {badge} no more.", markup=False)


@coupon_app.command("add")
def add_batch(file: File, actor: Actor = None) -> None:
    """Add a batch: code, valid_from, expires_at; partner, kind, word, bound_to, honoured_by, limits and the others.

    Takes the role PROMOTION_MAKER.
    """
    number = console.run(_add_batch(_read(file), actor))
    console.out.print(f"Batch {number} is there.")


@coupon_app.command()
def draw(
    code: Code,
    count: Annotated[int, typer.Argument(help="How many.", show_default=False)],
    actor: Actor = None,
    not_issued: Annotated[bool, typer.Option("--not-issued", help="Good for nothing until `issue`.")] = False,
) -> None:
    """Draw codes of a batch and print them, one a line: they are told here and never again. Takes PROMOTION_MAKER."""
    for drawn in console.run(_draw(code, count, actor, issued=not not_issued)):
        print(drawn)


@coupon_app.command()
def issue(code: Code, actor: Actor = None) -> None:
    """Issue the codes of a batch that were drawn and not issued: their days count from now. Takes PROMOTION_MAKER."""
    number = console.run(_issue(code, actor))
    if not number:
        console.fail(f"no code of batch {code} waits to be issued")
    console.out.print(f"{number} coupons of batch {code} are issued.")


@coupon_app.command()
def stop(code: Code, actor: Actor = None) -> None:
    """Let no coupon of a batch be used from now on. Takes the role PROMOTION_MAKER."""
    console.run(_stop(code, actor))
    console.out.print(f"Batch {code} is stopped.")


@coupon_app.command()
def void(
    coupon: Annotated[str, typer.Argument(help="The code on it, or the word.", metavar="COUPON", show_default=False)],
    actor: Actor = None,
) -> None:
    """Make one coupon good for nothing, by its code. A used one stays used. Takes the role PROMOTION_MAKER."""
    batch = console.run(_void(coupon, actor))
    if batch is None:
        console.fail("there is no such coupon, or it is used or void already: nothing is voided")
    console.out.print(f"The coupon of batch {batch} is void.")


@coupon_app.command()
def show(code: Code) -> None:
    """How many coupons of a batch are in which state."""
    table = Table("State", "Coupons")
    for state, number in console.run(_figures(code)).items():
        table.add_row(state, str(number))
    console.out.print(table)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        problem = FieldProblem(("file",), "INVALID", str(error))
        raise MechanicInvalid(f"{file.name} is no JSON: {error}", problems=[problem]) from error


def _given(source: Any, times: tuple[str, ...], lists: tuple[str, ...]) -> dict[str, Any]:
    """A draft's fields of plain JSON: instants read, lists made tuples."""
    if not isinstance(source, Mapping):
        raise MechanicInvalid("expected a JSON object")
    found = dict(source)
    try:
        found |= {name: _instant(found[name]) for name in times if name in found}
    except (TypeError, ValueError) as error:
        raise MechanicInvalid(f"an instant is written like 2026-03-01T00:00:00Z: {error}") from error
    return found | {name: tuple(found[name]) for name in lists if name in found}


def _instant(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


async def _propose(kind: str, code: str, document: Any, valid_from: datetime | None, actor: str | None) -> int:
    async with desk(actor) as opened:
        begins = valid_from.replace(tzinfo=UTC) if valid_from else opened.at
        draft = Draft(kind.upper(), code, _given(document, (), ()), begins)
        return await registry.propose(opened.connection, draft, maker=opened.actor_id, at=opened.at)


async def _stamps(code: str, description: str, actor: str | None) -> int:
    async with desk(actor) as opened:
        return await grants.define_stamps(
            opened.connection, code, description, actor=opened.actor_id, at=opened.at
        )  # fmt: skip


async def _reward(source: Any, actor: str | None) -> int:
    given = _given(source, ("valid_from", "valid_until"), ("tiers", "badges", "segments"))
    async with desk(actor) as opened:
        partner_id = await onboarding.partner_id_of(opened.connection, str(given.pop("partner", "")))
        try:
            draft = RewardDraft(partner_id, **given)
        except TypeError as error:
            raise rewards.RewardInvalid(f"expected the fields of a reward: {error}") from error
        return await rewards.add(opened.connection, draft, actor=opened.actor_id, at=opened.at)


async def _orders(partner: str, most: int) -> list[rewards.Order]:
    async with console.database(settings()) as database, database.reading() as connection:
        partner_id = await onboarding.partner_id_of(connection, partner)
        return await rewards.waiting(connection, partner_id, limit=most)


async def _segment(code: str, cards: Any, actor: str | None) -> segments.Snapshot:
    async with desk(actor) as opened:
        member_ids = [await opened.member_of(str(card)) for card in cards]
        return await segments.take(opened.connection, code, member_ids, author=opened.actor_id, at=opened.at)


async def _verify(card: str, attribute: str, evidence: str, until: datetime, actor: str | None) -> None:
    async with desk(actor, "ONBOARDING") as opened:
        await attributes.verify(
            opened.connection, await opened.member_of(card), attribute, evidence=evidence,
            verifier=f"actor:{opened.actor_id}", expires_at=until, at=opened.at,
        )  # fmt: skip


async def _withdraw(card: str, attribute: str, reason: str, actor: str | None) -> bool:
    async with desk(actor, "ONBOARDING") as opened:
        member_id = await opened.member_of(card)
        done = await attributes.withdraw(
            opened.connection, member_id, attribute, reason=reason, verifier=f"actor:{opened.actor_id}", at=opened.at
        )
        if done:
            # What it was stays out of the trail, which outlives the wish to be forgotten; the member's own rows say it.
            await audit.write(
                opened.connection, actor=opened.actor_id, action="ATTRIBUTE_WITHDRAWN", subject=f"member:{member_id}",
                detail={}, at=opened.at,
            )  # fmt: skip
        return done


async def _invite(card: str, badge: str, actor: str | None) -> None:
    async with desk(actor, "ONBOARDING") as opened:
        member_id = await opened.member_of(card)
        await clubs.invite(opened.connection, member_id, badge, actor=opened.actor_id, at=opened.at)


async def _put_out(card: str, badge: str, actor: str | None) -> bool:
    async with desk(actor, "ONBOARDING") as opened:
        member_id = await opened.member_of(card)
        return await clubs.put_out(opened.connection, member_id, badge, actor=opened.actor_id, at=opened.at)


async def _add_batch(source: Any, actor: str | None) -> int:
    given = _given(source, ("valid_from", "expires_at"), ("honoured_by",))
    async with desk(actor) as opened:
        whose = given.pop("partner", None)
        partner_id = 0 if whose is None else await onboarding.partner_id_of(opened.connection, whose)
        honoured = [await onboarding.partner_id_of(opened.connection, one) for one in given.pop("honoured_by", ())]
        try:
            draft = BatchDraft(partner_id=partner_id, honoured_by=honoured, **given)
        except TypeError as error:
            raise CouponBatchInvalid(f"expected the fields of a batch: {error}") from error
        return await batches.add(opened.connection, opened.vault, draft, actor=opened.actor_id, at=opened.at)


async def _draw(code: str, count: int, actor: str | None, *, issued: bool) -> list[str]:
    async with desk(actor) as opened:
        return await batches.draw(
            opened.connection, opened.vault, code, count, actor=opened.actor_id, at=opened.at, issued=issued
        )


async def _issue(code: str, actor: str | None) -> int:
    async with desk(actor) as opened:
        return await batches.issue(opened.connection, code, actor=opened.actor_id, at=opened.at)


async def _void(coupon: str, actor: str | None) -> str | None:
    async with desk(actor) as opened:
        return await batches.void(opened.connection, opened.vault, coupon, actor=opened.actor_id, at=opened.at)


async def _stop(code: str, actor: str | None) -> None:
    async with desk(actor) as opened:
        await batches.stop(opened.connection, code, actor=opened.actor_id, at=opened.at)


async def _figures(code: str) -> dict[str, int]:
    async with console.database(settings()) as database, database.reading() as connection:
        return await batches.figures(connection, code)
