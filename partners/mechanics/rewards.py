"""Rewards: what a partner gives for points, so many as there are. Taken from its stock in the call that spends the
points.

A reward that is for some members only is to everybody else as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import asyncpg
from msgspec.structs import replace
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.database import Database
from kit.errors import FieldProblem, Rejection
from members.identification import MemberRef
from partners import callers
from partners.calls import Call
from partners.desk import Desk
from partners.mechanics import facts, reward_store
from partners.outcomes import Recorded
from partners.promotions.basket import Member
from partners.receipts import receipts
from partners.receipts.receipts import Receipt
from partners.tills import recognition, tills
from partners.tills.tills import Proof

LANGUAGES = ("en", "ru", "ro")
SOLD_OUT = "TS006"
ORDERED = "app-"
"""With what the reference of a reward begins that a member ordered for themselves."""

MOST_POINTS = 10**9

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class RewardUnknown(Rejection):
    """The partner has no such reward now, for this member."""

    code = "REWARD_UNKNOWN"
    retryable = True


class RewardSoldOut(Rejection):
    """None of the reward is left."""

    code = "REWARD_SOLD_OUT"
    retryable = True


class RewardInvalid(Rejection):
    """The reward cannot be; `problems` says why."""

    code = "REWARD_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class RewardDraft:
    """A reward as somebody defines it: its name in three languages, its price in points, how many there are, from when
    until when; for members of these tiers, with one of these badges, in one of these segments (none named:
    everybody)."""

    partner_id: int
    code: str
    names: Mapping[str, str]
    points: int
    stock: int
    valid_from: datetime
    valid_until: datetime
    tiers: Sequence[str] = ()
    badges: Sequence[str] = ()
    segments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward as it is; left is how many there are still."""

    reward_id: int
    partner_id: int
    code: str
    names: Mapping[str, str]
    points: int
    left: int
    tiers: tuple[str, ...]
    badges: tuple[str, ...]
    segments: tuple[str, ...]
    valid_until: datetime

    def is_for(self, member: Member) -> bool:
        """Whether a member may have it, and see it."""
        return (
            (not self.tiers or member.tier in self.tiers)
            and (not self.badges or not set(self.badges).isdisjoint(member.badges))
            and (not self.segments or not set(self.segments).isdisjoint(member.segments))
        )


@dataclass(frozen=True, slots=True)
class Order:
    """A reward that somebody took and that waits to be handed over: the redemption's entry, what it is and what it
    cost, and what was shown as its reference, at which outlet and on which business date."""

    holder_id: int
    seq: int
    at: datetime
    code: str
    names: Mapping[str, str]
    points: int
    reference: str
    outlet_id: int
    business_date: date

    @property
    def place(self) -> tuple[datetime, int, int]:
        """Where it stands in the list."""
        return self.at, self.holder_id, self.seq


async def add(connection: AsyncConnection, draft: RewardDraft, *, actor: int, at: datetime) -> int:
    """Add a reward; returns its number. Rejects NOT_PERMITTED, REWARD_INVALID."""
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    checks = (
        ("code", bool(_CODE.fullmatch(draft.code)), "1 to 32 small letters, digits and hyphens"),
        ("names", set(draft.names) == set(LANGUAGES) and all(draft.names.values()), f"one in {', '.join(LANGUAGES)}"),
        ("points", 0 < draft.points <= MOST_POINTS, "above zero"),
        ("stock", draft.stock >= 0, "not below zero"),
        ("validUntil", draft.valid_until > draft.valid_from, "after the beginning"),
    )
    if found := [FieldProblem((name,), "INVALID", message) for name, is_right, message in checks if not is_right]:
        raise RewardInvalid("this reward cannot be", problems=found)
    reward_id = await reward_store.insert(connection, draft)
    if reward_id is None:
        raise RewardInvalid("the code is taken", problems=[FieldProblem(("code",), "TAKEN", "one that is free")])
    await _note(connection, "REWARD_ADDED", reward_id, {"stock": draft.stock, "points": draft.points}, actor, at)
    return reward_id


async def set_stock(connection: AsyncConnection, reward_id: int, stock: int, *, actor: int, at: datetime) -> None:
    """Say how many there are in all, those that were taken included. Rejects NOT_PERMITTED, REWARD_INVALID."""
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    if stock < 0 or not await reward_store.set_stock(connection, reward_id, stock):
        problem = FieldProblem(("stock",), "INVALID", "not below what was taken already")
        raise RewardInvalid("the stock cannot be that", problems=[problem])
    await _note(connection, "REWARD_STOCKED", reward_id, {"stock": stock}, actor, at)


async def take(desk: Desk, call: Call, ref: MemberRef, receipt: Receipt, code: str, *, proof: Proof | None) -> Recorded:
    """A member takes a reward of the calling partner for its points; receipt says where and under which reference.

    Rejects REWARD_UNKNOWN, REWARD_SOLD_OUT and what spending points rejects. The price is the reward's: what it costs
    now, and in a replay what it cost.
    """
    directory = await desk.directory.get()
    place = callers.place_of(directory, call.caller, receipt.outlet, receipt.terminal)
    receipt = receipts.with_fact(receipt, "reward", code)
    async with desk.database.reading() as connection:
        row = await reward_store.by_code(connection, call.caller.partner_id, code)
        earlier = await reward_store.taken_under(connection, call.idem_key)
    points, reward_id = (earlier.redeemed, earlier.reward_id) if earlier else (0, 0)
    if earlier is None:
        if row is None or not row.valid_from <= call.at < row.valid_until:
            raise RewardUnknown("the partner has no such reward now")
        member = await recognition.identify(desk, call.caller, ref, place.terminal_id, call.at)
        async with desk.database.reading() as connection:
            seen = await facts.member_facts(
                connection, desk.vault, directory.programme, member.member_id, call.caller.partner_id,
                occurred_at=call.at, at=call.at, wants_birthday=False,
            )  # fmt: skip
        if seen is None or not reward_of(row).is_for(replace(seen.member, tier=member.tier)):
            raise RewardUnknown("the partner has no such reward now")
        if row.taken >= row.stock:
            raise RewardSoldOut("none of the reward is left")
        points, reward_id = row.points, row.reward_id
    try:
        return await tills.redeem_points(desk, call, ref, receipt, points=points, proof=proof, reward_id=reward_id)
    except asyncpg.PostgresError as error:
        if error.sqlstate != SOLD_OUT:
            raise
        raise RewardSoldOut("none of the reward is left") from error


async def order(desk: Desk, call: Call, member_id: int, outlet: str, code: str) -> Recorded:
    """A member who is signed in takes a reward of call.caller's partner, to be fetched at one of its outlets.

    The caller has seen a moment ago who they are, which is the proof. Rejects what `take` rejects. A retry is of when
    it was ordered first.
    """
    async with desk.database.reading() as connection:
        earlier = await reward_store.taken_under(connection, call.idem_key)
    occurred_at = earlier.occurred_at if earlier else call.at
    zone = ZoneInfo((await desk.directory.get()).programme.time_zone)
    receipt = Receipt(
        reference=f"{ORDERED}{call.idem_key.hex[:20]}", outlet=outlet, terminal=None, occurred_at=occurred_at,
        business_date=occurred_at.astimezone(zone).date(), currency="", total_minor=0,
    )  # fmt: skip
    return await take(desk, call, MemberRef(id=member_id), receipt, code, proof=Proof(in_session=True))


async def of_partner(connection: AsyncConnection, partner_id: int, *, at: datetime) -> list[Reward]:
    """The rewards that a partner gives at an instant, for whomever and however many are left, the cheapest first."""
    return [reward_of(row) for row in await reward_store.offered(connection, partner_id, at)]


async def find(connection: AsyncConnection, partner_id: int, code: str) -> Reward | None:
    """A partner's reward, whether it may be taken now or not; None where there is none of this code."""
    row = await reward_store.by_code(connection, partner_id, code)
    return None if row is None else reward_of(row)


async def hand_over(connection: AsyncConnection, holder_id: int, seq: int, *, partner_id: int, at: datetime) -> bool:
    """Say that a reward was handed over; whether that was said before. Rejects REWARD_UNKNOWN where the partner's entry
    is of none, or was returned."""
    if await fulfil(connection, holder_id, seq, partner_id=partner_id, at=at):
        return False
    found = await reward_store.order_of(connection, holder_id, seq, partner_id)
    if found is None or found.returned_at is not None:
        raise RewardUnknown("no reward of this partner waits there to be handed over")
    return True


async def waiting(
    connection: AsyncConnection, partner_id: int, *, after: tuple[datetime, int, int] | None = None, limit: int
) -> list[Order]:
    """Orders of a partner's rewards that nobody has handed over or returned, the earliest first; behind a place."""
    rows = await reward_store.open_orders(connection, partner_id, after, limit)
    return [
        Order(row.holder_id, row.seq, row.at, row.code, row.names, row.redeemed, row.reference, row.outlet_id,
              row.business_date)
        for row in rows
    ]  # fmt: skip


async def shown_to(
    connection: AsyncConnection, member: Member, *, partner_id: int | None, at: datetime
) -> list[Reward]:
    """The rewards that a member may have at an instant, of one partner or of all, the cheapest first."""
    rows = await reward_store.offered(connection, partner_id, at)
    return [reward for row in rows if (reward := reward_of(row)).is_for(member) and reward.left > 0]


async def fulfil(connection: AsyncConnection, holder_id: int, seq: int, *, partner_id: int, at: datetime) -> bool:
    """Say that a reward was handed over; False where it was before, was returned, or is another partner's."""
    return await reward_store.fulfil(connection, holder_id, seq, partner_id, at)


async def restock(database: Database, *, at: datetime, limit: int = 500) -> int:
    """Put back into stock what was returned since; how many. May be repeated."""
    async with database.transaction() as connection:
        return await reward_store.restock(connection, at, limit)


def reward_of(row: Row[tuple[object, ...]]) -> Reward:
    """A reward of its stored row."""
    return Reward(
        row.reward_id, row.partner_id, row.code, row.names, row.points, row.stock - row.taken, tuple(row.tiers),
        tuple(row.badges), tuple(row.segments), row.valid_until,
    )  # fmt: skip


async def _note(
    connection: AsyncConnection, action: str, reward_id: int, detail: dict[str, object], actor: int, at: datetime
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"reward:{reward_id}", detail=detail, at=at)
