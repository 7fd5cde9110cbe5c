"""Offers: what is on offer to a member at a partner, and why: promotions, coupons that lie with them, rewards, stamps.

What is for some members only is not there for others. Of an offer that depends on more than the member it is said what
it takes (which lines, which days), and whether that is so now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import fingerprint
from members import badges
from members.identification import Identified
from partners import callers
from partners.callers import Caller
from partners.coupons import coupons
from partners.coupons.coupons import Held
from partners.desk import Desk
from partners.directory import Directory
from partners.mechanics import moments, rewards
from partners.mechanics.facts import Asked
from partners.promotions import explanations
from partners.promotions.basket import Basket, Context, Coupon
from partners.promotions.compiling import Rule, book
from partners.promotions.conditions import of as conditions_of
from partners.promotions.documents import Who
from partners.promotions.evaluation import is_held_out
from partners.promotions.expressions import HOLDS, Facts
from partners.promotions.releases import Release

PROMOTION, COUPON, REWARD, STAMPS = "PROMOTION", "COUPON", "REWARD", "STAMPS"
PURCHASE = "purchase"
ACTIVATED = "activated:"
"""A badge of this beginning and a promotion's code: the member has said yes to a personal offer."""


class OfferUnknown(Rejection):
    """There is no offer of this code that waits for this member's yes."""

    code = "OFFER_UNKNOWN"
    retryable = True


@dataclass(frozen=True, slots=True)
class Asks:
    """One thing that an offer asks for beside the member: a sentence in the programme's languages, and whether it is so
    now (None: only a basket can tell)."""

    text: Mapping[str, str]
    is_so: bool | None


@dataclass(frozen=True, slots=True)
class Offer:
    """Something on offer to a member. code is the rule's, the batch's, the reward's or the stamps'; titles are in the
    programme's languages, empty where there is none. points is a reward's price, quantity how many stamps or coupons
    the member has; ref is what a till shows of a coupon. activation: the promotion to be activated first."""

    kind: str
    code: str
    titles: Mapping[str, str]
    asks: tuple[Asks, ...] = ()
    valid_until: datetime | None = None
    points: int | None = None
    quantity: int | None = None
    ref: str | None = None
    activation: str | None = None

    @property
    def is_now(self) -> bool:
        """Whether nothing that is known now stands against it."""
        return self.activation is None and all(one.is_so is not False for one in self.asks)


async def offers_to(desk: Desk, caller: Caller, member: Identified, *, at: datetime) -> list[Offer]:
    """Everything on offer to a member at the calling partner at an instant, in a fixed order.

    Rejects AGREEMENT_MISSING, ACCOUNT_UNKNOWN, PARTNER_SUSPENDED.
    """
    directory = await desk.directory.get()
    partner = directory.partner(caller.partner_id)
    if partner is None or partner.status != "ACTIVE":
        raise callers.PartnerSuspended("the partner is suspended")
    terms = callers.terms_at(directory, partner.partner_id, at)
    release = directory.shelf.at(at, at)
    async with desk.database.reading() as connection:
        held = [
            one
            for one in await coupons.held(connection, member.member_id, at=at)
            if not one.honoured_by or partner.partner_id in one.honoured_by
        ]
    found, context = await moments.around(
        desk, directory, partner, Asked(member.member_id, partner.partner_id, at), terms=terms, release=release, at=at,
        trigger=PURCHASE, presented=tuple(Coupon(one.batch, str(one.coupon_id)) for one in held),
    )  # fmt: skip
    async with desk.database.reading() as connection:
        shown = await rewards.shown_to(connection, found.member, partner_id=partner.partner_id, at=at)
    return [
        *_promotions(release, context),
        *(_coupon(desk, caller, one, directory) for one in held),
        *(
            Offer(REWARD, one.code, one.names, valid_until=one.valid_until, points=one.points)
            for one in shown
        ),
        *(Offer(STAMPS, code, {}, quantity=number) for code, number in sorted(found.member.stamps.items())),
    ]  # fmt: skip


async def activate(desk: Desk, caller: Caller, member: Identified, promotion: str, *, at: datetime) -> None:
    """The member says yes to a personal offer, which counts from then on; a second yes changes nothing.

    Rejects OFFER_UNKNOWN and what `offers_to` rejects.
    """
    badge = ACTIVATED + promotion
    async with desk.database.transaction() as connection:
        if badge in {one.code for one in await badges.borne(connection, member.member_id, at=at)}:
            return
    if promotion not in {one.activation for one in await offers_to(desk, caller, member, at=at)}:
        raise OfferUnknown("there is no offer of this code that waits for a yes")
    async with desk.database.transaction() as connection:
        await badges.give(connection, member.member_id, badge, cause=_cause(member.member_id, promotion), at=at)


def _cause(member_id: int, promotion: str) -> UUID:
    return fingerprint("activation", str(member_id), promotion)


def _promotions(release: Release, context: Context) -> list[Offer]:
    rules = book(release).candidates(PURCHASE, "", context.partner).rules
    facts = Facts(Basket(context.terms.currency), context)
    found = [_promotion(rule, context, facts) for rule in sorted(rules, key=lambda rule: rule.code)]
    return [one for one in found if one is not None]


def _promotion(rule: Rule, context: Context, facts: Facts) -> Offer | None:
    doc, at = rule.doc, context.occurred_at
    if doc.kind == "redeem_limit" or at < doc.valid_from or (doc.valid_until is not None and at >= doc.valid_until):
        return None
    if doc.codes is not None and doc.codes.required not in {one.batch for one in context.coupons}:
        return None
    if context.arms and is_held_out(rule, context.arms):
        return None
    activation = _activation(doc.who, context)
    asks = []
    for one, seen in zip(conditions_of(doc), explanations.conditions_of(rule, facts), strict=True):
        if seen.of_member:
            if seen.state != HOLDS and not (one.id == "who.badges" and activation):
                return None
        elif one.id.partition(".")[0] != "where":
            asks.append(Asks(seen.label, seen.state == HOLDS if one.id.startswith("when.") else None))
    return Offer(
        PROMOTION, doc.code, doc.title.model_dump(), tuple(asks), doc.valid_until,
        activation=doc.promotion if activation else None,
    )  # fmt: skip


def _activation(who: Who, context: Context) -> bool:
    """Whether all that is missing of the badges is the member's yes."""
    wanted = [badge for badge in who.badges if badge.startswith(ACTIVATED)]
    return bool(wanted) and set(who.badges).isdisjoint(context.member.badges)


def _coupon(desk: Desk, caller: Caller, held: Held, directory: Directory) -> Offer:
    release = directory.shelf.at(held.expires_at, held.expires_at)
    titles: Sequence[Mapping[str, str]] = [
        rule.title.model_dump()
        for rule in release.rules
        if rule.codes is not None and rule.codes.required == held.batch
    ]
    ref = coupons.ref_for(desk.vault, caller.partner_id, held.coupon_id)
    return Offer(COUPON, held.batch, titles[0] if titles else {}, valid_until=held.expires_at, quantity=1, ref=ref)


async def promotions_activated(connection: AsyncConnection, member_id: int, *, at: datetime) -> list[str]:
    """The promotions that a member has said yes to, by code."""
    borne = await badges.borne(connection, member_id, at=at)
    return [one.code.removeprefix(ACTIVATED) for one in borne if one.code.startswith(ACTIVATED)]
