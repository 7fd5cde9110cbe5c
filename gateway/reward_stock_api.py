"""Rewards as the operator's people put them into partners' catalogues, and how many there are."""

from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.promotions.rule_inputs import TextsInput
from gateway.rejections import Rejection
from gateway.reward_api import Reward, reward_of
from kit.amounts import Points
from members.messages import STAFF
from partners.agreements import onboarding
from partners.mechanics import rewards
from partners.mechanics.rewards import RewardDraft, RewardUnknown


@strawberry.input(description="A reward that a partner gives for points.")
class AddRewardInput:
    idempotency_key: str = described(KEY)
    partner: str = described("Code of the partner that gives it.")
    code: str = described("Its code at that partner, for ever.")
    names: TextsInput = described("What people call it.")
    points: Points = described("What it costs.")
    stock: int = described("How many there are.")
    valid_from: datetime = described("From when it may be taken.")
    valid_until: datetime = described("Until when.")
    tiers: list[str] = described("For members of one of these tiers; none named: of any.", default_factory=list)
    badges: list[str] = described("For members with one of these badges; none named: with any.", default_factory=list)
    segments: list[str] = described("For members of one of these segments; none named: of any.", default_factory=list)

    def content(self) -> tuple[str, ...]:
        """All of it, to tell one call from another."""
        return (
            self.partner, self.code, *self.names.texts().values(), str(self.points), str(self.stock),
            self.valid_from.isoformat(), self.valid_until.isoformat(), ",".join(self.tiers), ",".join(self.badges),
            ",".join(self.segments),
        )  # fmt: skip


@strawberry.input(description="How many of a reward there are.")
class SetRewardStockInput:
    idempotency_key: str = described(KEY)
    partner: str = described("Code of the partner.")
    reward: str = described("The reward's code.")
    stock: int = described("How many in all, those that were taken counted.")


@strawberry.type(description="A reward as it is now.")
class RewardChange:
    reward: Reward = described("The reward.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A reward that is there.")
class AddRewardSuccess(RewardChange):
    pass


@strawberry.type(description="A reward with another stock.")
class SetRewardStockSuccess(RewardChange):
    pass


AddRewardResult = Annotated[
    AddRewardSuccess | Rejection, strawberry.union("AddRewardResult", description="The reward, or the reason.")
]
SetRewardStockResult = Annotated[
    SetRewardStockSuccess | Rejection,
    strawberry.union("SetRewardStockResult", description="The reward, or the reason."),
]


@strawberry.type
class RewardStockMutation:
    @access.mutation(
        scopes=(scopes.RULES_EDIT,), moves_points=False, description="Adds a reward to a partner's catalogue."
    )
    async def add_reward(self, info: Info[Context, None], input: AddRewardInput) -> AddRewardResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, STAFF)
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "addReward", input.idempotency_key, *input.content(), at=at
            )
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            if is_new:
                draft = RewardDraft(
                    partner_id, input.code, input.names.texts(), input.points, input.stock, input.valid_from,
                    input.valid_until, tuple(input.tiers), tuple(input.badges), tuple(input.segments),
                )  # fmt: skip
                await rewards.add(connection, draft, actor=person.number, at=at)
            reward = await _reward(connection, info, partner_id, input.code)
        return AddRewardSuccess(reward=reward, replayed=not is_new)

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Says how many of a reward there are in all; not fewer than were taken.",
    )
    async def set_reward_stock(self, info: Info[Context, None], input: SetRewardStockInput) -> SetRewardStockResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, STAFF)
        content = (input.partner, input.reward, str(input.stock))
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "setRewardStock", input.idempotency_key, *content, at=at
            )
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            if is_new:
                found = await rewards.find(connection, partner_id, input.reward)
                if found is None:
                    raise RewardUnknown("the partner has no such reward")
                await rewards.set_stock(connection, found.reward_id, input.stock, actor=person.number, at=at)
            reward = await _reward(connection, info, partner_id, input.reward)
        return SetRewardStockSuccess(reward=reward, replayed=not is_new)


async def _reward(connection: AsyncConnection, info: Info[Context, None], partner_id: int, code: str) -> Reward:
    found = await rewards.find(connection, partner_id, code)
    if found is None:
        raise RewardUnknown("the partner has no such reward")
    return reward_of(found, await info.context.services.directory.get(), info.context.language)
