"""What parties owe each other beside points: discounts, coupons and benefits at a till that somebody else pays for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.amounts import micro_per_minor
from partners.clearing import clearing
from partners.clearing.clearing import Owed, OwedGroup
from partners.receipts import records
from settlement.money.events import MoneyEvent

KINDS = {records.DISCOUNT: "DISCOUNT", records.COUPON: "COUPON", records.BENEFIT: "BENEFIT"}


async def events(
    connection: AsyncConnection, cutoff_ids: Sequence[int], currency: str | None = None
) -> list[MoneyEvent]:
    """The money events of cut-offs, summed; in one currency where it is named. A return takes back what was owed."""
    groups = await clearing.owed_groups(connection, cutoff_ids)
    return [event_of(group, count=group.count) for group in groups if currency in (None, group.currency)]


def event_of(fact: OwedGroup | Owed, *, count: int = 1) -> MoneyEvent:
    """One of them, or several that were summed. What a return takes back is the first one's parties below zero."""
    parties = (fact.payee_id, fact.payer_id) if fact.is_return else (fact.payer_id, fact.payee_id)
    amount = fact.amount_minor * micro_per_minor(fact.currency)
    return MoneyEvent(
        KINDS[fact.kind], *parties, fact.currency, -amount if fact.is_return else amount, terms_id=fact.terms_id,
        cutoff_id=fact.cutoff_id, count=count,
    )  # fmt: skip
