"""Presents over GraphQL: a member buys periods of a plan for somebody else, and whoever has the code gets them."""

from datetime import datetime
from typing import Annotated, cast

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.charging import choice
from gateway.context import Context, Services
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.own_ids import SUBSCRIPTION, own_id, read_own_id
from gateway.person_calls import PersonCall
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from gateway.subscription import subscription_types
from gateway.subscription.subscription_types import MemberSubscription
from kit import audit, clock, codes
from members.messages import MEMBER
from members.subscription import gifts, offers, subscriptions
from members.subscription.gifts import Gift, GiftUnknown, GiftWish
from members.subscription.periods import Interval
from members.subscription.plans import PlanUnknown
from members.subscription.subscriptions import Subscription
from partners.agreements import programme


@strawberry.input(description="Periods of a plan that the signed-in member gives somebody.")
class GiveSubscriptionInput:
    idempotency_key: str = described(KEY)
    plan: str = described("The plan's code.")
    interval: str = described("One of its prices' intervals.")
    intervals: int = described("How many of them: 1 to 12.", default=1)
    currency_code: CurrencyCode | None = described(
        "Of the price; the programme's own where none is said.", default=None
    )


@strawberry.input(description="The code of a present.")
class RedeemGiftInput:
    idempotency_key: str = described(KEY)
    code: str = described("As the member entered it.")


@strawberry.input(description="A present that nobody has used.")
class TakeGiftBackInput:
    idempotency_key: str = described(KEY)
    gift_id: strawberry.ID = described("As `own { gifts }` names it.")


@strawberry.type(description="A present that the member gave.")
class SubscriptionGift:
    id: strawberry.ID = described("Opaque id, the member's own.")
    plan: str = described("The plan's code.")
    interval: str = described("Of what it is so many.")
    intervals: int = described("How many.")
    state: str = described("OPEN (not paid yet), WAITING, USED, TAKEN_BACK, VOID; more may appear.")
    code_ending: str = described("The last characters of its code, to tell it from others.")
    invoice_number: str = described("The number of its invoice.")
    given_at: datetime = described("When it was bought.")


@strawberry.type(description="The present is bought; its code is good when its invoice is paid.")
class GiveSubscriptionSuccess:
    gift: SubscriptionGift = described("The present.")
    gift_code: str | None = described("What to tell whoever is to have it; told once, and null when this is replayed.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The present is the signed-in member's.")
class RedeemGiftSuccess:
    subscription: MemberSubscription = described("The subscription that it counts for.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The present is taken back.")
class TakeGiftBackSuccess:
    gift: SubscriptionGift = described("The present.")
    replayed: bool = described(REPLAYED)


GiveSubscriptionResult = Annotated[
    GiveSubscriptionSuccess | Rejection, strawberry.union("GiveSubscriptionResult", description="Done, or the reason.")
]
RedeemGiftResult = Annotated[
    RedeemGiftSuccess | Rejection, strawberry.union("RedeemGiftResult", description="Done, or the reason.")
]
TakeGiftBackResult = Annotated[
    TakeGiftBackSuccess | Rejection, strawberry.union("TakeGiftBackResult", description="Done, or the reason.")
]


@strawberry.type
class GiftMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member buys periods of a plan for somebody else, who gets them with the code.",
    )
    async def give_subscription(
        self, info: Info[Context, None], input: GiveSubscriptionInput
    ) -> GiveSubscriptionResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, MEMBER)
        provider = choice.of(services.settings, services.vault)[services.settings.charging]
        if provider.is_automatic:
            person_calls.require_fresh(person)
        content = (input.plan, input.interval, str(input.intervals), input.currency_code or "")
        call = PersonCall(person, "giveSubscription", input.idempotency_key, content, at)
        made: list[Gift] = []

        async def give() -> int:
            rules = await programme.read(connection)
            if input.interval not in ("MONTH", "QUARTER", "YEAR"):
                raise PlanUnknown("the plan has no such price")
            wish = GiftWish(
                person.number, input.plan, input.currency_code or rules.base_currency,
                cast(Interval, input.interval), input.intervals, rules.time_zone,
            )  # fmt: skip
            made.append(await gifts.buy(connection, services.vault, provider, wish, at=at))
            await _note(connection, "GIFT_BOUGHT", person.number, made[0].gift_no, at)
            return made[0].gift_no

        async with services.database.transaction() as connection:
            number, replayed = await person_calls.numbered(connection, services.vault, call, give)
            [its] = [one for one in await gifts.of_giver(connection, person.number) if one.gift_no == number]
        code = codes.shown(made[0].code or "") if made else None
        return GiveSubscriptionSuccess(gift=_gift(services, person.number, its), gift_code=code, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member enters the code of a present: it begins now, or when the period ends that "
        "they are in. Codes that are no good are counted, and after ten in an hour none is looked at.",
    )
    async def redeem_gift(self, info: Info[Context, None], input: RedeemGiftInput) -> RedeemGiftResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, MEMBER)
        provider = choice.of(services.settings, services.vault)[services.settings.charging]
        async with services.database.reading() as connection:
            was_made = await person_calls.was_made(connection, person, "redeemGift", input.idempotency_key)
        shown = None if was_made else await offers.look(
            services.database, services.vault, input.code, member_id=person.number, at=at, now=clock.wall()
        )  # fmt: skip
        call = PersonCall(person, "redeemGift", input.idempotency_key, (input.code,), at)

        async def take() -> int:
            assert shown is not None, "a call that was not made before looked at its code"
            zone = (await programme.read(connection)).time_zone
            its = await gifts.redeem(connection, provider, shown, member_id=person.number, zone=zone, at=at)
            await _note(connection, "GIFT_REDEEMED", person.number, its.subscription_no, at)
            return its.subscription_no

        async with services.database.transaction() as connection:
            number, replayed = await person_calls.numbered(connection, services.vault, call, take)
            its: Subscription = await subscriptions.own(connection, person.number, number)
        return RedeemGiftSuccess(subscription=subscription_types.subscription(services, its, at), replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="The signed-in member takes a present back that nobody has used; what was paid goes back.",
    )
    async def take_gift_back(self, info: Info[Context, None], input: TakeGiftBackInput) -> TakeGiftBackResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, MEMBER)
        number = read_own_id(services.vault, SUBSCRIPTION, person.number, input.gift_id)
        if number is None:
            raise GiftUnknown("the member gave no such present")
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "takeGiftBack", input.idempotency_key, input.gift_id, at=at
            )
            its = await gifts.take_back(connection, person.number, number, at=at)
            if is_new:
                await _note(connection, "GIFT_TAKEN_BACK", person.number, number, at)
        return TakeGiftBackSuccess(gift=_gift(services, person.number, its), replayed=not is_new)


async def given(services: Services, member_id: int) -> list[SubscriptionGift]:
    """The presents that a member gave, the latest first."""
    async with services.database.reading() as connection:
        return [_gift(services, member_id, one) for one in await gifts.of_giver(connection, member_id)]


def _gift(services: Services, member_id: int, its: Gift) -> SubscriptionGift:
    return SubscriptionGift(
        id=own_id(services.vault, SUBSCRIPTION, member_id, its.gift_no), plan=its.plan, interval=its.interval,
        intervals=its.intervals, state=its.state, code_ending=its.tail, invoice_number=str(its.invoice_no),
        given_at=its.at,
    )  # fmt: skip


async def _note(connection: AsyncConnection, action: str, member_id: int, number: int, at: datetime) -> None:
    subject, detail = f"member:{member_id}", {"subscription": number}
    await audit.write(connection, actor="member", action=action, subject=subject, detail=detail, at=at)
