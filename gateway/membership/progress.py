"""What a member who is signed in reads of where they stand: the tier and what is missing for the next, badges, stamps,
whom they brought.
"""

from datetime import datetime
from decimal import Decimal

import strawberry

from gateway.inputs import described
from kit.amounts import Points, decimal_from_minor
from members.badges import Badge
from members.tiers import Standing
from partners.mechanics.invitations import Brought
from partners.promotions.releases import Release

_CRITERIA = {
    "points": "POINTS", "amount_minor": "AMOUNT", "purchases": "PURCHASES", "partners": "PARTNERS",
    "tenure_days": "TENURE_DAYS",
}  # fmt: skip


@strawberry.type(description="Something that is missing for a tier.")
class TierMissing:
    criterion: str = described(
        "POINTS, AMOUNT (in the base currency), PURCHASES, PARTNERS, TENURE_DAYS; more may appear."
    )
    figure: Decimal = described("How much.")


@strawberry.type(description="One way to a tier, of which one is enough.")
class TierWay:
    missing: list[TierMissing] = described("What is missing on it, all of it.")


@strawberry.type(description="The tier that a member holds, and the way to the next.")
class TierStanding:
    tier: str = described("The tier.")
    until: datetime | None = described("Until when; null: it does not end.")
    points_to_next: Points | None = described(
        "Points that are missing on the shortest way; null: there is no next one."
    )
    ways: list[TierWay] = described("Every way to the next one.")


@strawberry.type(description="Something that a member bears, such as a club's or a discount card's.")
class MemberBadge:
    code: str = described("Its code.")
    since: datetime = described("Since when.")
    until: datetime | None = described("Until when; null: it does not end.")


@strawberry.type(description="Stamps of one kind.")
class MemberStamps:
    code: str = described("Code of the stamps.")
    quantity: int = described("How many.")
    needed: int | None = described("The fewest that something costs now; null where nothing that everybody sees does.")
    title: str = described("What they are for, in the language that was asked for; empty where nothing says it.")


@strawberry.type(description="Somebody whom a member brought; nothing tells who.")
class BroughtFriend:
    at: datetime = described("When they came.")
    state: str = described("REGISTERED, QUALIFYING, REWARDED, LAPSED; more may appear.")
    qualifies_at: datetime | None = described("When it counts, if their purchase is kept.")


def standing_of(found: Standing, currency: str) -> TierStanding:
    """Where a member stands; amounts are in the base currency."""
    return TierStanding(
        tier=found.tier, until=found.until,
        points_to_next=None if found.points_to_next is None else Points(found.points_to_next),
        ways=[
            TierWay(missing=[_missing(name, figure, currency) for name, figure in way.items()]) for way in found.ways
        ],
    )  # fmt: skip


def stamps_of(code: str, quantity: int, release: Release, language: str, at: datetime) -> MemberStamps:
    """Stamps, and the cheapest thing that a rule which everybody sees gives for them at an instant."""
    costing = [
        (rule.costs.quantity, rule.title.of(language))
        for rule in release.rules
        if rule.costs is not None and rule.costs.unit == code and rule.visible == "everyone"
        and rule.valid_from <= at and (rule.valid_until is None or at < rule.valid_until)
    ]  # fmt: skip
    needed, title = min(costing, default=(None, ""))
    return MemberStamps(code=code, quantity=quantity, needed=needed, title=title)


def badge_of(found: Badge) -> MemberBadge:
    """A badge."""
    return MemberBadge(code=found.code, since=found.at, until=found.expires_at)


def friend_of(found: Brought) -> BroughtFriend:
    """Somebody who was brought."""
    return BroughtFriend(at=found.at, state=found.state, qualifies_at=found.qualifies_at)


def _missing(name: str, figure: int, currency: str) -> TierMissing:
    amount = decimal_from_minor(figure, currency) if name == "amount_minor" else Decimal(figure)
    return TierMissing(criterion=_CRITERIA[name], figure=amount)
