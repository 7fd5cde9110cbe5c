"""A programme with plans, for the gateway's tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from members.subscription import plans, subscriptions
from members.subscription.periods import Interval
from members.subscription.plans import PlanDraft
from members.subscription.providers import MANUAL
from members.subscription.subscriptions import Subscription, Wish
from tests.builders import NOON

PRICES: tuple[tuple[str, Interval, int], ...] = (
    ("plus", "MONTH", 1000),
    ("plus", "YEAR", 10_000),
    ("family", "MONTH", 2000),
)


async def open_plans(connection: AsyncConnection, at: datetime = NOON) -> None:
    """Two plans, the second with two seats."""
    await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
    await actors.ensure_actor(connection, "cashier", [actors.FINANCE_MAKER])
    for code, seats in (("plus", 0), ("family", 2)):
        draft = PlanDraft(code, {"en": code.title(), "ru": "План", "ro": "Plan"}, ("free-delivery",), seats=seats)
        await plans.add(connection, draft, actor="marketer", at=at)
    for code, interval, amount in PRICES:
        await plans.publish_price(
            connection, plan=code, currency="EUR", interval=interval, amount_minor=amount, valid_from=at,
            actor="marketer", at=at,
        )  # fmt: skip


async def subscribed(connection: AsyncConnection, member_id: int, at: datetime = NOON, **more: Any) -> Subscription:
    """A member who took a plan that nobody paid yet."""
    await open_plans(connection, at)
    return await subscriptions.subscribe(connection, MANUAL, Wish(member_id, "plus", "EUR", "MONTH", "UTC"), at=at)
