"""Subscriptions over GraphQL: a member takes a plan, changes it and leaves; a partner tells what was used of one;
finance reads invoices and where fees went."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, cast

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.charging import choice
from gateway.context import Context, Person
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.own_ids import SUBSCRIPTION, read_own_id
from gateway.person_calls import PersonCall
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from gateway.subscription import subscription_types
from gateway.subscription.payment_means_api import check_token
from gateway.subscription.subscription_types import MemberSubscription, Plan
from gateway.types import Money, money
from kit import audit, clock
from members import messages
from members.subscription import offers, plans, seats, subscriptions
from members.subscription.offers import Shown
from members.subscription.periods import Interval
from members.subscription.providers import Provider
from members.subscription.subscriptions import Subscription, SubscriptionUnknown, Wish
from partners.agreements import programme

_ID = "The subscription, as `own { subscriptions }` names it."


@strawberry.input(description="A plan that the signed-in member takes.")
class SubscribeInput:
    idempotency_key: str = described(KEY)
    plan: str = described("The plan's code.")
    interval: str = described("How often it is to renew: one of its prices'.")
    currency_code: CurrencyCode | None = described(
        "Of the price; the programme's own where none is said.", default=None
    )
    trial: bool = described("Whether it is to be tried first, as the plan offers it.", default=False)
    code: str | None = described("A promotional code that makes it cheaper, as the member entered it.", default=None)
    payment_token: str | None = described(
        "What names a means of payment at the provider, where one charges; the last one that was given stays.",
        default=None,
    )
    payment_text_version: str | None = described("The version of the words that its holder agreed to.", default=None)


@strawberry.input(description="A subscription that is to end.")
class CancelSubscriptionInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described(_ID)
    at_once: bool = described(
        "Now, with what is not served given back as `cancellationPreview` says; else at the period's end.",
        default=False,
    )


@strawberry.input(description="Another plan or interval.")
class ChangeSubscriptionInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described(_ID)
    plan: str = described("The plan's code; the present one takes back a change that is planned.")
    interval: str = described("How often it is to renew.")


@strawberry.input(description="A pause.")
class PauseSubscriptionInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described(_ID)
    until: datetime = described("Until when, at most three months from the period's end.")


@strawberry.input(description="The end of a pause, or of a cancellation that has not come true.")
class ResumeSubscriptionInput:
    idempotency_key: str = described(KEY)
    subscription_id: strawberry.ID = described(_ID)


@strawberry.type(description="A subscription as it is now.")
class SubscriptionDecision:
    subscription: MemberSubscription = described("The subscription.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The plan is taken; what is to be paid is among its invoices.")
class SubscribeSuccess(SubscriptionDecision):
    pass


@strawberry.type(description="It ends, or has ended.")
class CancelSubscriptionSuccess(SubscriptionDecision):
    pass


@strawberry.type(description="The change counts, waits for its payment, or is planned.")
class ChangeSubscriptionSuccess(SubscriptionDecision):
    pass


@strawberry.type(description="The pause is planned.")
class PauseSubscriptionSuccess(SubscriptionDecision):
    pass


@strawberry.type(description="It goes on.")
class ResumeSubscriptionSuccess(SubscriptionDecision):
    pass


SubscribeResult = Annotated[
    SubscribeSuccess | Rejection, strawberry.union("SubscribeResult", description="Done, or the reason.")
]
CancelSubscriptionResult = Annotated[
    CancelSubscriptionSuccess | Rejection,
    strawberry.union("CancelSubscriptionResult", description="Done, or the reason."),
]
ChangeSubscriptionResult = Annotated[
    ChangeSubscriptionSuccess | Rejection,
    strawberry.union("ChangeSubscriptionResult", description="Done, or the reason."),
]
PauseSubscriptionResult = Annotated[
    PauseSubscriptionSuccess | Rejection,
    strawberry.union("PauseSubscriptionResult", description="Done, or the reason."),
]
ResumeSubscriptionResult = Annotated[
    ResumeSubscriptionSuccess | Rejection,
    strawberry.union("ResumeSubscriptionResult", description="Done, or the reason."),
]
Deed = Callable[[AsyncConnection, datetime], Awaitable[Subscription]]


@strawberry.type(description="What a promotional code makes of a plan's price.")
class PlanCode:
    periods: int = described("For how many periods.")
    off: Money = described("What it takes off each.")
    to_pay: Money = described("What is left to pay for each, tax among it.")


@strawberry.type
class SubscriptionQuery:
    @access.query(
        scopes=(scopes.MEMBER_SELF, scopes.MEMBERS_READ), cost=5, description="Plans that can be had, by their codes."
    )
    async def plans(self, info: Info[Context, None]) -> list[Plan]:
        return await subscription_types.offered(info.context.services, info.context.language, await info.context.now())

    @access.query(
        scopes=(scopes.MEMBER_SELF,),
        cost=10,
        description="What a promotional code would make of a plan's price for the signed-in member. Codes that are no "
        "good are counted, and after ten in an hour none is looked at.",
    )
    async def plan_code(self, info: Info[Context, None], code: str, plan: str, interval: str) -> PlanCode:
        services, at = info.context.services, await info.context.now()
        shown = await offers.look(
            services.database, services.vault, code, member_id=member_id_of(info), at=at, now=clock.wall()
        )
        async with services.database.reading() as connection:
            currency = (await programme.read(connection)).base_currency
            found = await plans.named(connection, plan)
            price = await plans.price_in_force(connection, found.plan_id, currency, _interval(interval), at=at)
            off_minor, periods = await offers.preview(connection, shown, price)
        return PlanCode(
            periods=periods, off=money(off_minor, currency), to_pay=money(price.amount_minor - off_minor, currency)
        )


@strawberry.type
class SubscriptionMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member takes a plan. Nothing is given before it is paid, but in a trial.",
    )
    async def subscribe(self, info: Info[Context, None], input: SubscribeInput) -> SubscribeResult:
        async def take(connection: AsyncConnection, at: datetime) -> Subscription:
            rules = await programme.read(connection)
            if input.payment_token is not None:
                check_token(provider)
                await subscriptions.give_means(
                    connection, provider, member_id, token=input.payment_token, mark=input.payment_token,
                    text_version=input.payment_text_version or "", at=at,
                )  # fmt: skip
            wish = Wish(
                member_id, input.plan, input.currency_code or rules.base_currency, _interval(input.interval),
                rules.time_zone, input.trial, code,
            )  # fmt: skip
            return await subscriptions.subscribe(connection, provider, wish, at=at)

        member_id, provider = member_id_of(info), _new_provider(info)
        if provider.is_automatic:
            person_calls.require_fresh(_person(info))
        content = (input.plan, input.interval, input.currency_code or "", str(input.trial), input.payment_token or "",
                   *([input.code] if input.code else []),
                   *(["text", input.payment_text_version] if input.payment_text_version else []))  # fmt: skip
        code = None if input.code is None else await _shown(info, "subscribe", input.idempotency_key, input.code)
        its, replayed = await once(info, "subscribe", input.idempotency_key, take, *content)
        return SubscribeSuccess(subscription=its, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member leaves: at the period's end, and keeps everything until then, or at once.",
    )
    async def cancel_subscription(
        self, info: Info[Context, None], input: CancelSubscriptionInput
    ) -> CancelSubscriptionResult:
        async def leave(connection: AsyncConnection, at: datetime) -> Subscription:
            return await subscriptions.cancel(connection, member_id, number, at_once=input.at_once, at=at)

        member_id, number = member_id_of(info), number_of(info, input.subscription_id)
        content = (input.subscription_id, str(input.at_once))
        its, replayed = await once(info, "cancelSubscription", input.idempotency_key, leave, *content, number=number)
        return CancelSubscriptionSuccess(subscription=its, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member goes over to another plan or interval; what costs more counts when the "
        "difference is paid, anything else at the period's end.",
    )
    async def change_subscription(
        self, info: Info[Context, None], input: ChangeSubscriptionInput
    ) -> ChangeSubscriptionResult:
        async def change(connection: AsyncConnection, at: datetime) -> Subscription:
            its = await subscriptions.own(connection, member_id, number)
            return await subscriptions.change(
                connection, _provider(info, its), member_id, number, plan=input.plan,
                interval=_interval(input.interval), at=at,
            )  # fmt: skip

        member_id, number = member_id_of(info), number_of(info, input.subscription_id)
        content = (input.subscription_id, input.plan, input.interval)
        its, replayed = await once(info, "changeSubscription", input.idempotency_key, change, *content, number=number)
        return ChangeSubscriptionSuccess(subscription=its, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Pauses the signed-in member's subscription from the period's end: nothing is charged or given.",
    )
    async def pause_subscription(
        self, info: Info[Context, None], input: PauseSubscriptionInput
    ) -> PauseSubscriptionResult:
        async def pause(connection: AsyncConnection, at: datetime) -> Subscription:
            return await subscriptions.pause(connection, member_id, number, until=input.until, at=at)

        member_id, number = member_id_of(info), number_of(info, input.subscription_id)
        content = (input.subscription_id, input.until.isoformat())
        its, replayed = await once(info, "pauseSubscription", input.idempotency_key, pause, *content, number=number)
        return PauseSubscriptionSuccess(subscription=its, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Ends a pause of the signed-in member's subscription now, or takes back a pause or an end that has "
        "not come true.",
    )
    async def resume_subscription(
        self, info: Info[Context, None], input: ResumeSubscriptionInput
    ) -> ResumeSubscriptionResult:
        async def resume(connection: AsyncConnection, at: datetime) -> Subscription:
            its = await subscriptions.own(connection, member_id, number)
            if its.contract.cancel_at is not None and not its.is_over:
                return await subscriptions.stay(connection, member_id, number, at=at)
            return await subscriptions.resume(connection, _provider(info, its), member_id, number, at=at)

        member_id, number = member_id_of(info), number_of(info, input.subscription_id)
        its, replayed = await once(
            info, "resumeSubscription", input.idempotency_key, resume, input.subscription_id, number=number
        )
        return ResumeSubscriptionSuccess(subscription=its, replayed=replayed)


async def once(
    info: Info[Context, None], operation: str, key: str, deed: Deed, *content: str, number: int | None = None
) -> tuple[MemberSubscription, bool]:
    """Do something of the signed-in member's in a transaction, once under its key; the subscription as it is after it,
    and whether an earlier call did it."""
    services, at, person = info.context.services, await info.context.now(), _person(info)
    call, made = PersonCall(person, operation, key, content, at), list[Subscription]()

    async def do() -> int:
        made.append(await deed(connection, at))
        await _note(connection, operation, made[0], at)
        return made[0].subscription_no

    async with services.database.transaction() as connection:
        if number is None:  # what it is about is what it made, then or now
            number, _ = await person_calls.numbered(connection, services.vault, call, do)
        elif await person_calls.is_new(connection, services.vault, person, operation, key, *content, at=at):
            await do()
        its = made[0] if made else await subscriptions.own(connection, person.number, number)
    return subscription_types.subscription(services, its, at), not made


async def _shown(info: Info[Context, None], operation: str, key: str, code: str) -> Shown | None:
    """The code that a member entered; None of a call that was made before, which is answered as it was."""
    services, person = info.context.services, _person(info)
    async with services.database.reading() as connection:
        if await person_calls.was_made(connection, person, operation, key):
            return None
    return await offers.look(
        services.database, services.vault, code, member_id=person.number, at=await info.context.now(), now=clock.wall()
    )


async def did(
    info: Info[Context, None],
    operation: str,
    key: str,
    deed: Callable[[AsyncConnection, datetime], Awaitable[None]],
    *content: str,
) -> bool:
    """Do something of the signed-in member's that leaves them no subscription to show, once under its key; False where
    an earlier call did it."""
    services, at, person = info.context.services, await info.context.now(), _person(info)
    async with services.database.transaction() as connection:
        is_new = await person_calls.is_new(connection, services.vault, person, operation, key, *content, at=at)
        if is_new:
            await deed(connection, at)
    return is_new


async def _note(connection: AsyncConnection, operation: str, its: Subscription, at: datetime) -> None:
    action = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in operation)
    subject, detail = f"member:{its.holder_id}", {"subscription": its.subscription_no}
    await audit.write(connection, actor="member", action=action, subject=subject, detail=detail, at=at)


def _person(info: Info[Context, None]) -> Person:
    return person_calls.person_of(info.context.viewer, messages.MEMBER)


def member_id_of(info: Info[Context, None]) -> int:
    """The signed-in member."""
    return _person(info).number


def number_of(
    info: Info[Context, None],
    opaque: str,
    no: type[SubscriptionUnknown] | type[seats.SeatUnknown] = SubscriptionUnknown,
) -> int:
    """The number behind an id of the signed-in member's subscription. Rejects SUBSCRIPTION_UNKNOWN, or `no`."""
    found = read_own_id(info.context.services.vault, SUBSCRIPTION, member_id_of(info), opaque)
    if found is None:
        raise no("the member has none of this id")
    return found


def _new_provider(info: Info[Context, None]) -> Provider:
    return choice.of(info.context.services.settings, info.context.services.vault)[
        info.context.services.settings.charging
    ]


def _provider(info: Info[Context, None], its: Subscription) -> Provider:
    return choice.of(info.context.services.settings, info.context.services.vault)[its.provider]


def _interval(said: str) -> Interval:
    if said not in ("MONTH", "QUARTER", "YEAR"):
        raise plans.PlanUnknown("the plan has no such price")
    return cast(Interval, said)
