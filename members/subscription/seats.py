"""Seats: people beside the owner for whom a subscription counts too. Who is removed leaves the seat empty for a while,
so that a plan for a family is none for a street."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from members import sharing
from members.subscription import entitlement_store, store
from members.subscription import subscriptions as held
from members.subscription.subscriptions import SubscriptionState, SubscriptionUnknown

FREE_AFTER = timedelta(days=30)


class SeatsTaken(Rejection):
    """Every seat of the plan is taken, promised or not free again yet."""

    code = "SEATS_TAKEN"
    retryable = True


class SeatUnknown(Rejection):
    """The member neither has a seat there nor is invited to one."""

    code = "SEAT_UNKNOWN"
    retryable = False


@dataclass(frozen=True, slots=True)
class Seat:
    """A seat: whose, since when promised and taken. free_at: when one that was given up can be given again."""

    seat_no: int
    member_id: int
    invited_at: datetime
    accepted_at: datetime | None
    removed_at: datetime | None
    free_at: datetime | None


@dataclass(frozen=True, slots=True)
class SeatElsewhere:
    """A seat of a member's in somebody's subscription, taken or only promised (accepted_at None)."""

    owner_id: int
    subscription_no: int
    invited_at: datetime
    accepted_at: datetime | None


async def seats(connection: AsyncConnection, owner_id: int, subscription_no: int) -> list[Seat]:
    """The seats that a subscription ever had, in order."""
    return [Seat(**row._mapping) for row in await entitlement_store.seats(connection, owner_id, subscription_no)]


async def of_member(connection: AsyncConnection, member_id: int) -> list[SeatElsewhere]:
    """Where a member has a seat, or is invited to one."""
    return [SeatElsewhere(**row._mapping) for row in await entitlement_store.seats_of(connection, member_id)]


async def invite(
    connection: AsyncConnection, owner_id: int, subscription_no: int, *, member_id: int, at: datetime
) -> None:
    """Offer somebody a seat; it counts when they take it. Again changes nothing.

    Rejects SUBSCRIPTION_UNKNOWN, SUBSCRIPTION_STATE, SEATS_TAKEN, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    its = await held.locked(connection, owner_id, subscription_no)
    guest = await sharing.person(connection, member_id)
    if its.is_over or guest.member_id == its.holder_id:
        raise SubscriptionState("a seat is for somebody else, of a subscription that has not ended")
    every = await seats(connection, its.holder_id, subscription_no)
    if any(one.member_id == guest.member_id and one.removed_at is None for one in every):
        return
    taken = [one for one in every if one.free_at is None or one.free_at > at]
    if len(taken) >= its.plan.seats:
        raise SeatsTaken(f"the plan has {its.plan.seats} seats beside the owner's")
    await entitlement_store.insert_seat(connection, its.holder_id, subscription_no, len(every) + 1, guest.member_id, at)


async def accept(connection: AsyncConnection, member_id: int, subscription_no: int, *, at: datetime) -> None:
    """Take a seat that was offered. Again changes nothing. Rejects SEAT_UNKNOWN."""
    offered = [one for one in await of_member(connection, member_id) if one.subscription_no == subscription_no]
    if not offered:
        raise SeatUnknown("nobody offered this member a seat there")
    await store.lock(connection, offered[0].owner_id, subscription_no)
    if not await entitlement_store.accept_seat(connection, subscription_no, member_id, at):
        raise SeatUnknown("nobody offers this member a seat there any more")


async def remove(
    connection: AsyncConnection, by_member_id: int, subscription_no: int, *, member_id: int, at: datetime
) -> None:
    """Give up a seat: its owner takes it back, or whoever has it leaves. It is free again after FREE_AFTER; one that
    nobody took at once. Rejects SUBSCRIPTION_UNKNOWN, SEAT_UNKNOWN."""
    if by_member_id != member_id:
        await held.locked(connection, by_member_id, subscription_no)
    else:
        mine = [one for one in await of_member(connection, member_id) if one.subscription_no == subscription_no]
        if not mine:
            raise SubscriptionUnknown("the member has no seat there")
        await store.lock(connection, mine[0].owner_id, subscription_no)
    if not await entitlement_store.remove_seat(connection, subscription_no, member_id, at, at + FREE_AFTER):
        raise SeatUnknown("the member has no seat there")
