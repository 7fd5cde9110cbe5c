"""What a subscription brought in its period, and what is charged next: what a member wants to know of it."""

from datetime import datetime

import strawberry

from gateway.context import Services
from gateway.inputs import described
from gateway.types import Money, PartnerView, money, partner_view
from kit.amounts import Points
from members.subscription import entitlements
from members.subscription.contract import State
from members.subscription.entitlements import Used
from members.subscription.subscriptions import Subscription
from partners.directory import Partner
from partners.receipts import histories


@strawberry.type(description="What is charged next, if nothing changes.")
class NextCharge:
    at: datetime = described("When.")
    amount: Money = described("How much, tax among it.")


@strawberry.type(description="A benefit that was used.")
class BenefitUsed:
    benefit: str = described("The benefit's code.")
    partner: PartnerView | None = described("Where.")
    units: int = described("How often.")


@strawberry.type(description="What a subscription brought since its period began.")
class Brought:
    since: datetime = described("Since when.")
    points: Points = described(
        "Points that rules for subscribers gave the member; those of purchases that were returned are not in it."
    )
    uses: list[BenefitUsed] = described("Benefits that partners told were used, by all of its people.")


def next_charge(its: Subscription) -> NextCharge | None:
    """What is charged next of a subscription; None where it ends, or its first payment has not come."""
    if its.is_over or its.contract.cancel_at is not None or its.contract.state is State.PENDING:
        return None
    at = its.contract.paused_until or its.contract.period_end
    price = its.next_price or its.price
    return None if at is None else NextCharge(at=at, amount=money(price.amount_minor, its.currency))


async def brought(services: Services, its: Subscription) -> Brought | None:
    """What a subscription brought its owner in the period that it is in; None where it is in none."""
    if its.period is None:
        return None
    directory, since = await services.directory.get(), its.period.start
    awards = await histories.awards_since(services.database.pool, its.holder_id, since)
    async with services.database.reading() as connection:
        used = await entitlements.used(connection, its.holder_id, its.subscription_no, since=since)
    rules: dict[int, frozenset[str]] = {}
    for one in awards:
        if one.release_id not in rules and directory.shelf.knows(one.release_id):
            release = directory.shelf.release(one.release_id)
            rules[one.release_id] = frozenset(
                rule.code for rule in release.rules if rule.who.subscriber or rule.who.plans or rule.who.benefits
            )
    points = sum(one.points for one in awards if one.rule in rules.get(one.release_id, ()))
    return Brought(
        since=since, points=Points(points), uses=[_used(directory.partner(one.partner_id), one) for one in used]
    )


def _used(partner: Partner | None, one: Used) -> BenefitUsed:
    view = None if partner is None else partner_view(partner)
    return BenefitUsed(benefit=one.benefit, partner=view, units=one.units)
