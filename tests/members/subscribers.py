"""Words of the subscription's tests: plans, people who take them, and a provider that does what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.database import Database
from kit.secrets import Vault
from members.subscription import charging, due_work, plans, subscriptions
from members.subscription.allotting import Allotment
from members.subscription.charging import Receipt
from members.subscription.due_work import Renewal
from members.subscription.gifts import Gift
from members.subscription.plans import PlanDraft
from members.subscription.providers import (
    AUTOMATIC_WITHIN,
    MANUAL,
    Answer,
    ChargeOrder,
    Forged,
    Heard,
    NoSetup,
    Provider,
    RefundOrder,
    Saved,
    Setup,
    Silent,
    Told,
)
from members.subscription.recognition import Standing
from members.subscription.reminding import Reminder
from members.subscription.subscriptions import Subscription, Wish
from tests.founded import a_template
from tests.members import people

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass
class Scripted:
    """A provider whose orders end as a script says, one word each, the last for ever. It keeps what it was ordered."""

    script: list[str] = field(default_factory=lambda: ["PAID"])
    name: str = "scripted"
    is_automatic: bool = True
    is_test: bool = False
    takes_tokens: bool = True
    first_payment_within: timedelta = AUTOMATIC_WITHIN
    orders: list[ChargeOrder] = field(default_factory=list)
    refunds: dict[str, int] = field(default_factory=dict)
    taken: dict[str, Answer] = field(default_factory=dict)

    async def charge(self, order: ChargeOrder) -> Answer:
        self.orders.append(order)
        if order.key in self.taken:
            return self.taken[order.key]
        word = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if word == "LOST":  # never arrived
            raise Silent
        state = "PAID" if word in ("PAID", "SILENT") else word
        self.taken[order.key] = Answer(state, f"pay-{order.key}", 30 if state == "PAID" else 0)
        if word == "SILENT":  # arrived, the answer did not
            raise Silent
        return self.taken[order.key]

    async def fetch(self, order: ChargeOrder) -> Answer:
        return self.taken.get(order.key, Answer("UNHEARD"))

    async def refund(self, order: RefundOrder) -> Answer:
        self.refunds[order.key] = order.amount_minor
        return Answer("PAID", f"back-{order.key}")

    def read(self, headers: Mapping[str, str], raw: bytes) -> Sequence[Heard]:
        raise Forged

    async def look(self, heard: Heard) -> Told | None:
        return None

    async def set_up(self, key: str, *, return_to: str) -> Setup:
        raise NoSetup

    async def saved(self, reference: str) -> Saved | None:
        return None

    @property
    def charged(self) -> list[str]:
        """The keys under which money was taken."""
        return [key for key, answer in self.taken.items() if answer.state == "PAID"]


def a_club(**draft: Any) -> Any:
    """A file's own `template`: each of its databases begins with the plans of a club that is open."""
    return a_template(lambda database, vault: Club(database, vault).open(**draft))


class Club:
    """A programme with two plans, on a database, as tests speak of it."""

    def __init__(self, database: Database, vault: Vault, provider: Provider = MANUAL) -> None:
        self.database = database
        self.vault = vault
        self.provider = provider
        self.providers = {MANUAL.name: MANUAL, provider.name: provider}
        self.at = START
        self.told: list[Renewal] = []
        self.allotted: list[Allotment] = []
        self.given: list[Gift] = []
        self.reminded: list[Reminder] = []
        self.standings: dict[date, Standing] = {}

    async def open(self, **draft: Any) -> None:
        """Two plans: plus at 10.00 and family at 20.00 a month, with prices per year."""
        async with self.database.transaction() as connection:
            await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
            await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
            await actors.ensure_actor(connection, "checker", [actors.FINANCE_CHECKER])
            for code, month_minor, seats in (("plus", 1000, 0), ("family", 2000, 2)):
                said = {"trial_days": 14, "seats": seats} | draft
                names = {"en": code.title(), "ru": code.title(), "ro": code.title()}
                await plans.add(
                    connection, PlanDraft(code, names, ("free-delivery", f"{code}-bonus"), **said), actor="marketer",
                    at=self.at,
                )  # fmt: skip
                for interval, amount in (("MONTH", month_minor), ("YEAR", 12_000 * month_minor // 1000)):
                    await plans.publish_price(
                        connection, plan=code, currency="EUR", interval=interval, amount_minor=amount,
                        valid_from=self.at, actor="marketer", at=self.at,
                    )  # fmt: skip

    async def person(self) -> int:
        """Somebody who is enrolled, and can be charged."""
        member_id = (await people.enrol(self.database, self.vault)).member_id
        if self.provider.is_automatic:
            await self.do(subscriptions.give_means, self.provider, member_id, token=f"card-{member_id}", mark=None,
                          text_version="2026-01")  # fmt: skip
        return member_id

    async def do(self, use_case: Any, *args: Any, **more: Any) -> Any:
        """A use case in a transaction of its own, now."""
        async with self.database.transaction() as connection:
            return await use_case(connection, *args, at=self.at, **more)

    async def subscribe(self, member_id: int, plan: str = "plus", interval: Any = "MONTH", **more: Any) -> Subscription:
        wish = Wish(member_id, plan, "EUR", interval, "UTC", **more)
        return await self.do(subscriptions.subscribe, self.provider, wish)

    async def read(self, its: Subscription) -> Subscription:
        async with self.database.reading() as connection:
            return await subscriptions.read(connection, its.holder_id, its.subscription_no)

    async def status(self, its: Subscription) -> str:
        return (await self.read(its)).status(self.at)

    async def receive(self, invoice_no: int, amount_minor: int = 1000, reference: str | None = None) -> Any:
        """The money of an invoice came to the bank."""
        receipt = Receipt(invoice_no, amount_minor, reference or f"bank-{invoice_no}", "statement 12, line 3")
        return await self.do(charging.record_receipt, self.provider, receipt, actor="maker")

    async def pass_time(self, until: datetime | timedelta) -> int:
        """The clock goes on, and what is due is done."""
        self.at = until if isinstance(until, datetime) else self.at + until
        return await due_work.advance(
            self.database, self.providers, self.announce, to=self.at, allot=self.allot, remind=self.remind
        )

    async def remind(self, connection: AsyncConnection, its: Reminder, at: datetime) -> UUID | None:
        self.reminded.append(its)
        return None

    async def allot(self, connection: AsyncConnection, its: Allotment, at: datetime) -> bool:
        """Notes what is promised, once for a month, as whoever makes points of it does."""
        month = (its.subscription_no, its.starts_at, its.unserved is None)
        if month not in {(one.subscription_no, one.starts_at, one.unserved is None) for one in self.allotted}:
            self.allotted.append(its)
        return True

    async def announce(self, connection: AsyncConnection, renewal: Renewal, at: datetime) -> UUID | None:
        self.told.append(renewal)
        return None

    async def invoices(self) -> list[tuple[int, str, int]]:
        """Number, state and sum of every invoice, in order."""
        from members.subscription import invoices

        async with self.database.reading() as connection:
            found = await invoices.page(connection, before=None, limit=1000)
        return [(one.invoice_no, one.state, one.gross_minor) for one in reversed(found)]

    async def digest(self) -> str:
        async with self.database.reading() as connection:
            return await subscriptions.digest(connection)
