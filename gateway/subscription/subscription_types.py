"""What a member reads of plans and of their subscription, and what a till is told that a member is entitled to."""

from datetime import datetime

import strawberry
from strawberry import Info

from gateway import access
from gateway.context import Context, Services
from gateway.inputs import described
from gateway.membership.own_ids import SUBSCRIPTION, own_id
from gateway.scalars import CurrencyCode
from gateway.subscription import subscription_outlook
from gateway.subscription.subscription_outlook import Brought, NextCharge
from gateway.types import Money, money
from kit.amounts import Points
from members.subscription import entitlements, invoices, plans, seats, subscriptions
from members.subscription.entitlements import Entitlement as Given
from members.subscription.invoices import Invoice
from members.subscription.plans import Plan as Offered
from members.subscription.plans import Price
from members.subscription.subscriptions import Subscription


@strawberry.type(description="What a plan costs per interval.")
class PlanPrice:
    interval: str = described("MONTH, QUARTER, YEAR; more may appear.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    amount: Money = described("What a member pays, tax among it.")


@strawberry.type(description="A plan that can be had.")
class Plan:
    code: str = described("Its code.")
    name: str = described("In the language that was asked for.")
    benefits: list[str] = described("Codes of what it opens at partners.")
    seats: int = described("How many people beside the owner it counts for.")
    trial_days: int = described("How long it can be tried once; 0: not at all.")
    points_per_month: Points = described("Points that it gives for every month that is paid.")
    prices: list[PlanPrice] = described("What it costs now.")


@strawberry.type(description="What a subscription gives a member here and now.")
class Entitlement:
    plan: str = described("The plan's code.")
    benefits: list[str] = described("Codes of what it opens.")
    is_trial: bool = described("Whether it is being tried.")
    valid_until: datetime = described("Until when, if nothing happens.")


@strawberry.type(description="An invoice of a subscription.")
class SubscriptionInvoice:
    number: str = described("Its number, one after the other over all members.")
    reference: str = described("What a payment has to name.")
    state: str = described("OPEN, PAID, VOID, CREDITED; more may appear.")
    amount: Money = described("What is to be paid, tax among it.")
    tax: Money = described("The tax in it.")
    is_test: bool = described("True where nobody is charged: it is no invoice.")
    issued_at: datetime = described("When it was issued.")
    due_at: datetime = described("When it was due.")
    paid_at: datetime | None = described("When it was paid.")
    path: str = described("Where it is as PDF; `language` (en, ru, ro) is a query. A token that may read it opens it.")
    credit_note: str | None = described("Number of its credit note, of one that was given back.")


@strawberry.type(description="What a change or an end would do, if it were asked for now.")
class SubscriptionPreview:
    takes_effect_at: datetime = described("When it would count.")
    due_now: Money = described("What would be charged for it.")
    credited: Money = described("What would be given back.")
    kept_until: datetime | None = described("Until when everything would be kept, of an end.")


@strawberry.type(description="A seat beside the owner's.")
class SubscriptionSeat:
    number: int = described("Which.")
    invited_at: datetime = described("Since when it is offered.")
    accepted_at: datetime | None = described("Since when it is taken.")
    free_at: datetime | None = described("When it can be offered again, of one that was given up.")


@strawberry.type(description="A seat in somebody else's subscription.")
class SeatElsewhere:
    subscription_id: strawberry.ID = described("What `acceptSeat` and `leaveSeat` take.")
    invited_at: datetime = described("Since when it is offered.")
    accepted_at: datetime | None = described("Since when it is taken.")


@strawberry.type(description="A member's subscription.")
class MemberSubscription:
    id: strawberry.ID = described("Opaque id, the member's own.")
    plan: str = described("The plan's code.")
    status: str = described("INCOMPLETE, TRIALING, ACTIVE, CANCELLING, GRACE, ON_HOLD, PAUSED, ENDED; more may appear.")
    interval: str = described("How often it renews: MONTH, QUARTER, YEAR.")
    amount: Money = described("What a period costs.")
    period_ends_at: datetime | None = described("When the period, or the trial, ends.")
    ends_at: datetime | None = described("When it ends, where it was cancelled.")
    paused_until: datetime | None = described("Until when a pause lasts.")
    next_plan: str | None = described("The plan from the next period on, where a change is planned.")
    next_charge: NextCharge | None = described("What is charged next; null where nothing will be.")
    held: strawberry.Private[Subscription]
    at: strawberry.Private[datetime]

    @access.field(cost=5, description="What it brought since its period began; null where it is in none.")
    async def brought(self, info: Info[Context, None]) -> Brought | None:
        return await subscription_outlook.brought(info.context.services, self.held)

    @access.field(cost=2, description="Its invoices, the latest first: at most 50.")
    async def invoices(self, info: Info[Context, None]) -> list[SubscriptionInvoice]:
        async with info.context.services.database.reading() as connection:
            found = await invoices.of_subscription(connection, self.held.holder_id, self.held.subscription_no)
        return [invoice(one) for one in reversed(found[-50:])]

    @access.field(cost=2, description="Its seats, in order; those that were given up too.")
    async def seats(self, info: Info[Context, None]) -> list[SubscriptionSeat]:
        async with info.context.services.database.reading() as connection:
            found = await seats.seats(connection, self.held.holder_id, self.held.subscription_no)
        return [SubscriptionSeat(number=one.seat_no, invited_at=one.invited_at, accepted_at=one.accepted_at,
                                 free_at=one.free_at) for one in found]  # fmt: skip

    @access.field(cost=5, description="What going over to another plan or interval would do now.")
    async def change_preview(self, info: Info[Context, None], plan: str, interval: str) -> SubscriptionPreview:
        async with info.context.services.database.reading() as connection:
            seen = await subscriptions.preview_change(
                connection, self.held.holder_id, self.held.subscription_no, plan=plan,
                interval=interval, at=self.at,  # type: ignore[arg-type]  # one that there is not has no price
            )  # fmt: skip
        return _preview(seen, self.held.currency)

    @access.field(cost=5, description="What a pause until an instant would do, if it were asked for now.")
    async def pause_preview(self, info: Info[Context, None], until: datetime) -> SubscriptionPreview:
        async with info.context.services.database.reading() as connection:
            seen = await subscriptions.preview_pause(
                connection, self.held.holder_id, self.held.subscription_no, until=until, at=self.at
            )
        return _preview(seen, self.held.currency)

    @access.field(cost=5, description="The next period: when it begins and what it will cost; null where none follows.")
    async def renewal_preview(self, info: Info[Context, None]) -> SubscriptionPreview | None:
        async with info.context.services.database.reading() as connection:
            seen = await subscriptions.preview_renewal(
                connection, self.held.holder_id, self.held.subscription_no, at=self.at
            )
        return None if seen is None else _preview(seen, self.held.currency)

    @access.field(cost=2, description="How many seats could be offered now; those given up come back after a while.")
    async def seats_left(self, info: Info[Context, None]) -> int:
        async with info.context.services.database.reading() as connection:
            found = await seats.seats(connection, self.held.holder_id, self.held.subscription_no)
        taken = sum(one.free_at is None or one.free_at > self.at for one in found)
        return max(self.held.plan.seats - taken, 0)

    @access.field(cost=5, description="What leaving would do now: at the period's end, or at once.")
    async def cancellation_preview(self, info: Info[Context, None], at_once: bool = False) -> SubscriptionPreview:
        async with info.context.services.database.reading() as connection:
            seen = await subscriptions.preview_cancellation(
                connection, self.held.holder_id, self.held.subscription_no, at_once=at_once, at=self.at
            )
        return _preview(seen, self.held.currency)


def subscription(services: Services, its: Subscription, at: datetime) -> MemberSubscription:
    """A subscription as its member reads it."""
    return MemberSubscription(
        id=own_id(services.vault, SUBSCRIPTION, its.holder_id, its.subscription_no), plan=its.plan.code,
        status=its.status(at), interval=its.price.interval, amount=money(its.price.amount_minor, its.currency),
        period_ends_at=None if its.is_over else its.contract.period_end, ends_at=its.contract.cancel_at,
        paused_until=its.contract.paused_until,
        next_plan=None if its.next_plan is None else its.next_plan.code,
        next_charge=subscription_outlook.next_charge(its), held=its, at=at,
    )  # fmt: skip


async def own(services: Services, member_id: int, at: datetime) -> list[MemberSubscription]:
    """A member's subscriptions, the latest first."""
    async with services.database.reading() as connection:
        found = await subscriptions.of_member(connection, member_id)
    return [subscription(services, each, at) for each in found]


async def seats_elsewhere(services: Services, member_id: int) -> list[SeatElsewhere]:
    """Where a member has a seat, or is offered one."""
    async with services.database.reading() as connection:
        found = await seats.of_member(connection, member_id)
    return [
        SeatElsewhere(
            subscription_id=own_id(services.vault, SUBSCRIPTION, member_id, each.subscription_no),
            invited_at=each.invited_at, accepted_at=each.accepted_at,
        )
        for each in found
    ]  # fmt: skip


async def entitled(services: Services, member_id: int, at: datetime) -> list[Entitlement]:
    """What a member is entitled to now."""
    async with services.database.reading() as connection:
        return [entitlement(one) for one in await entitlements.entitled(connection, member_id, at=at)]


def plan(offered: Offered, prices: list[Price], language: str) -> Plan:
    """A plan as everybody may see it."""
    return Plan(
        code=offered.code, name=offered.names.get(language) or next(iter(offered.names.values())),
        benefits=list(offered.benefits), seats=offered.seats, trial_days=offered.trial_days,
        points_per_month=Points(offered.allotment_points),
        prices=[
            PlanPrice(interval=one.interval, currency_code=CurrencyCode(one.currency),
                      amount=money(one.amount_minor, one.currency))
            for one in prices
        ],
    )  # fmt: skip


def invoice(one: Invoice) -> SubscriptionInvoice:
    """An invoice as its member, or finance, reads it."""
    return SubscriptionInvoice(
        number=str(one.invoice_no), reference=one.reference, state=one.state,
        amount=money(one.gross_minor, one.currency), tax=money(one.tax_minor, one.currency), is_test=one.is_test,
        issued_at=one.issued_at, due_at=one.due_at, paid_at=one.paid_at,
        path=f"/subscriptions/invoices/{one.invoice_no}",
        credit_note=None if one.note_no is None else str(one.note_no),
    )  # fmt: skip


def entitlement(given: Given) -> Entitlement:
    """What one subscription gives, as a till is told it."""
    return Entitlement(
        plan=given.plan, benefits=list(given.benefits), is_trial=given.is_trial, valid_until=given.valid_until
    )


async def offered(services: Services, language: str, at: datetime) -> list[Plan]:
    """Plans that can be had now."""
    async with services.database.reading() as connection:
        found = await plans.offered(connection, at=at)
    return [plan(one, prices, language) for one, prices in found]


def _preview(seen: subscriptions.Preview, currency: str) -> SubscriptionPreview:
    return SubscriptionPreview(
        takes_effect_at=seen.takes_effect_at, due_now=money(seen.due_minor, currency),
        credited=money(seen.credit_minor, currency), kept_until=seen.kept_until,
    )  # fmt: skip
