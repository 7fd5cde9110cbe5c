"""Rewards for points: a member looks at what there is and orders one, a till takes one for them and hands it over."""

from datetime import date, datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, connections, person_calls, purchase_api, scopes
from gateway.access import LONGEST_PAGE
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, ProofInput, TransactionRefInput, described
from gateway.membership.membership_api import own_member
from gateway.rejections import Rejection
from gateway.types import Member, PartnerView, Recording, Redemption, partner_view, transaction
from kit import clock
from kit.amounts import Points
from members.messages import MEMBER
from partners import calls
from partners.agreements.onboarding import PartnerUnknown
from partners.callers import Caller
from partners.desk import Desk
from partners.directory import Directory
from partners.mechanics import facts, rewards
from partners.mechanics.rewards import Reward as Given
from partners.mechanics.rewards import RewardUnknown
from partners.receipts.receipts import Receipt
from partners.receipts.records import REDEMPTION
from partners.returns.returns import OriginalUnknown

_OPERATOR = 0


@strawberry.type(description="A partner's place where a reward can be fetched.")
class RewardOutlet:
    code: str = described("The partner's code of it.")
    name: str = described("Its name.")


@strawberry.type(description="Something that a partner gives for points, so many as there are.")
class Reward:
    code: str = described("The partner's code of it.")
    title: str = described("What it is, in the language that was asked for.")
    partner: PartnerView = described("Who gives it.")
    points: Points = described("What it costs.")
    left: int = described("How many are left.")
    valid_until: datetime = described("Until when.")
    outlets: list[RewardOutlet] = described("Where it can be fetched, 100 of them at most.")


@strawberry.input(description="A reward that the signed-in member takes for points.")
class OrderRewardInput:
    idempotency_key: str = described(KEY)
    partner: str = described("Code of the partner that gives it.")
    reward: str = described("Its code.")
    outlet: str = described("The partner's code of the outlet where it will be fetched.")


@strawberry.input(description="A reward that a member takes at a till, for points.")
class TakeRewardInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Who takes it.")
    reward: str = described("The partner's code of it.")
    reference: str = described("The partner's own number of this redemption.")
    outlet: str = described("The partner's code of the outlet.")
    business_date: date = described("The till's business date.")
    occurred_at: datetime = described("When it happened, by the till's clock.")
    proof: ProofInput | None = described("Spending needs one.", default=None)
    terminal: str | None = described("The outlet's code of the till.", default=None)

    def receipt(self) -> Receipt:
        """A receipt of nothing in the place and under the reference of the redemption."""
        return Receipt(
            reference=self.reference, outlet=self.outlet, terminal=self.terminal, business_date=self.business_date,
            occurred_at=self.occurred_at, currency="", total_minor=0,
        )  # fmt: skip


@strawberry.input(description="A reward that is handed over.")
class HandOverRewardInput:
    idempotency_key: str = described(KEY)
    transaction: TransactionRefInput = described("The redemption that took it, at a till or in the app.")


@strawberry.type(description="A reward that is the member's.")
class OrderRewardSuccess:
    reference: str = described("What to show where it is fetched; the partner finds the redemption by it.")
    business_date: date = described("The business date of the redemption.")
    points: Points = described("Points that it cost.")
    member: Member = described("The member as they are now.")
    replayed: bool = described("True when an earlier call ordered it; nothing was written now.")


@strawberry.type(description="A reward that was taken.")
class TakeRewardSuccess(Recording):
    transaction: Redemption = described("The redemption.")


@strawberry.type(description="A reward that was handed over.")
class HandOverRewardSuccess:
    transaction: Redemption = described("The redemption.")
    replayed: bool = described("True when that was said before; nothing was written now.")


OrderRewardResult = Annotated[
    OrderRewardSuccess | Rejection, strawberry.union("OrderRewardResult", description="The reward, or the reason.")
]
TakeRewardResult = Annotated[
    TakeRewardSuccess | Rejection, strawberry.union("TakeRewardResult", description="The redemption, or the reason.")
]
HandOverRewardResult = Annotated[
    HandOverRewardSuccess | Rejection,
    strawberry.union("HandOverRewardResult", description="The redemption, or the reason."),
]


@strawberry.type
class RewardQuery:
    @access.query(
        scopes=(scopes.MEMBERS_READ, scopes.MEMBER_SELF),
        size=access.paged(),
        description="The catalogue of rewards: to a member those that they may have, at every partner; to a partner "
        "its own, for whomever they are and however many are left.",
    )
    async def rewards(self, info: Info[Context, None], first: First = 20, after: After = None) -> Connection[Reward]:
        cursors = Cursors(info.context.services.vault, "reward")
        begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        desk: Desk = info.context.services.lanes
        directory, found = await desk.directory.get(), await _rewards(info, desk)
        ahead = sorted((one for one in found if one.reward_id > begin), key=lambda one: one.reward_id)
        return connections.page(
            ahead[:wanted],
            first,
            after=after,
            cursor=lambda row: cursors.write(row.reward_id),
            node=lambda row: reward_of(row, directory, info.context.language),
        )


@strawberry.type
class RewardMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        description="The signed-in member takes a reward for its points, to be fetched at an outlet. Takes a proof of "
        "a moment ago, which is the proof of the spending.",
    )
    async def order_reward(self, info: Info[Context, None], input: OrderRewardInput) -> OrderRewardResult:
        person = person_calls.person_of(info.context.viewer, MEMBER)
        desk: Desk = info.context.services.lanes
        partner = (await desk.directory.get()).partner_by_code(input.partner)
        if partner is None:
            raise PartnerUnknown("there is no such partner")
        caller = Caller(partner.partner_id, info.context.viewer.client_no)
        idem_key = calls.scoped_key(caller, f"orderReward {person.number}", input.idempotency_key)
        person_calls.require_fresh(person)
        call = calls.Call(caller, idem_key, await info.context.now(), clock.wall())
        done = await rewards.order(desk, call, person.number, input.outlet, input.reward)
        return OrderRewardSuccess(
            reference=done.receipt.reference, business_date=done.receipt.business_date,
            points=Points(done.receipt.redeemed_points), member=await own_member(info), replayed=done.replayed,
        )  # fmt: skip

    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,),
        description="A member takes a reward of this partner for its points, one less of which is left then.",
    )
    async def take_reward(self, info: Info[Context, None], input: TakeRewardInput) -> TakeRewardResult:
        counter, call = await purchase_api.call_of(info, "takeReward", input.idempotency_key)
        done = await rewards.take(
            counter.desk, call, counter.member_ref(input.member), input.receipt(), input.reward,
            proof=purchase_api.proof_of(counter, input.proof),
        )  # fmt: skip
        found = purchase_api.shown(info, counter, done, Redemption)
        return TakeRewardSuccess(done=done, language=info.context.language, transaction=found)

    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,),
        moves_points=False,
        description="Says that a reward was handed over, whether it was taken at a till or ordered in the app. May be "
        "repeated.",
    )
    async def hand_over_reward(self, info: Info[Context, None], input: HandOverRewardInput) -> HandOverRewardResult:
        counter, call = await purchase_api.call_of(info, "handOverReward", input.idempotency_key)
        receipt = await purchase_api.find_transaction(counter, input.transaction)
        if receipt is None:
            raise OriginalUnknown("the partner has no such redemption")
        if receipt.kind != REDEMPTION:
            raise RewardUnknown("this took no reward")
        async with counter.desk.database.transaction() as connection:
            replayed = await rewards.hand_over(
                connection, receipt.holder_id, receipt.seq, partner_id=counter.partner.partner_id, at=call.at
            )
        found = transaction(counter.directory, receipt, info.context.language)
        assert isinstance(found, Redemption)
        return HandOverRewardSuccess(transaction=found, replayed=replayed)


async def _rewards(info: Info[Context, None], desk: Desk) -> list[Given]:
    """What there is for whoever asks."""
    at, member_id = await info.context.now(), info.context.viewer.member_id
    if member_id is None:
        counter = await purchase_api.counter_of(info)
        async with desk.database.reading() as connection:
            return await rewards.of_partner(connection, counter.partner.partner_id, at=at)
    directory = await desk.directory.get()
    async with desk.database.reading() as connection:
        seen = await facts.member_facts(
            connection, desk.vault, directory.programme, member_id, _OPERATOR, occurred_at=at, at=at,
            wants_birthday=False,
        )  # fmt: skip
        return [] if seen is None else await rewards.shown_to(connection, seen.member, partner_id=None, at=at)


def reward_of(found: Given, directory: Directory, language: str) -> Reward:
    """A reward as whoever may see it is shown it."""
    partner = directory.partner(found.partner_id)
    assert partner is not None
    return Reward(
        code=found.code, title=found.names.get(language, ""), partner=partner_view(partner),
        points=Points(found.points), left=found.left, valid_until=found.valid_until,
        outlets=[
            RewardOutlet(code=one.code, name=one.name) for one in directory.outlets(found.partner_id)[:LONGEST_PAGE]
        ],
    )  # fmt: skip
