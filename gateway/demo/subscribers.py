"""Subscribers of the demonstration: two plans, and members chosen by a seeded rule, the same in every run.

Nobody is charged: each invoice is by hand, and its payment is recorded by the demonstration's own cashier.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.database import Database
from members.subscription import charging, due_work, invoices, plans, sellers, subscriptions
from members.subscription.charging import Receipt
from members.subscription.due_work import Renewal
from members.subscription.invoices import Invoice
from members.subscription.plans import PlanDraft
from members.subscription.providers import MANUAL
from members.subscription.sellers import Seller
from members.subscription.subscriptions import Wish
from settlement.subscription import months, rules
from settlement.subscription.months import FeeMonth
from settlement.subscription.rules import FeeRules

SEED = "tessera subscribers"
SHARE_PERCENT = 12
SELLER, CASHIER, CONTROLLER = "demo-seller", "demo-cashier", "demo-controller"
PLANS = (("plus", "Plus", 499, 0), ("family", "Family", 899, 3))


def chosen(member_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Who subscribes to what: SHARE_PERCENT of the members by a hash of the seed and their number, a third of them to
    the larger plan."""
    found = []
    for member_id in sorted(member_ids):
        drawn = int.from_bytes(hashlib.sha256(f"{SEED}:{member_id}".encode()).digest()[:8], "big")
        if drawn % 100 < SHARE_PERCENT:
            found.append((member_id, PLANS[drawn // 100 % 3 == 0][0]))
    return found


async def enlist(database: Database, member_ids: Sequence[int], *, currency: str, zone: str, at: datetime) -> int:
    """Offer the plans, let the chosen members take them and pay; how many they are. The rules of sharing hold from the
    month on in which it is."""
    async with database.transaction() as connection:
        await _open(connection, currency, at)
        taken = chosen(member_ids)
        for member_id, plan in taken:
            wish = Wish(member_id, plan, currency, "MONTH", zone)
            await subscriptions.subscribe(connection, MANUAL, wish, at=at)
        await _pay(connection, at)
    return len(taken)


async def pass_time(database: Database, *, to: datetime) -> int:
    """Renew what is due by an instant, and record the payments; how many things were due."""
    done = await due_work.advance(database, {MANUAL.name: MANUAL}, _announce, to=to)
    async with database.transaction() as connection:
        await _pay(connection, to)
    return done


async def close_month(database: Database, month: date, *, currency: str, at: datetime) -> FeeMonth:
    """Share the fees of a month that has ended."""
    async with database.transaction() as connection:
        return await months.close(connection, month=month, currency=currency, actor=CASHIER, at=at)


async def _open(connection: AsyncConnection, currency: str, at: datetime) -> None:
    for name, role in (
        (SELLER, actors.PROMOTION_MAKER),
        (CASHIER, actors.FINANCE_MAKER),
        (CONTROLLER, actors.FINANCE_CHECKER),
    ):
        await actors.ensure_actor(connection, name, [role])
    seller = Seller("Demonstration coalition", "No street, nowhere")
    await sellers.publish(connection, seller, valid_from=at, actor=CASHIER, at=at)
    for code, name, amount, seats in PLANS:
        draft = PlanDraft(code, dict.fromkeys(("en", "ru", "ro"), name), ("free-delivery",), seats=seats)
        await plans.add(connection, draft, actor=SELLER, at=at)
        await plans.publish_price(
            connection, plan=code, currency=currency, interval="MONTH", amount_minor=amount, valid_from=at,
            actor=SELLER, at=at,
        )  # fmt: skip
    proposal = await rules.propose(
        connection, FeeRules(reserve_bp=500, operator_bp=1500), currency=currency, maker=CASHIER,
        valid_from=at.date().replace(day=1), at=at,
    )  # fmt: skip
    await rules.approve(connection, proposal, checker=CONTROLLER, at=at)


async def _pay(connection: AsyncConnection, at: datetime) -> None:
    before: int | None = None
    while page := await invoices.page(connection, before=before, limit=500):
        for one in page:
            if one.state == invoices.OPEN:
                await charging.record_receipt(connection, MANUAL, _receipt(one), actor=CASHIER, at=at)
        before = page[-1].invoice_no


def _receipt(one: Invoice) -> Receipt:
    return Receipt(one.invoice_no, one.gross_minor, f"demo-{one.invoice_no}", "the demonstration's cashier")


async def _announce(connection: AsyncConnection, renewal: Renewal, at: datetime) -> UUID | None:
    """Members of the demonstration have no addresses."""
    return None
