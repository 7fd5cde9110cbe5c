"""Households: several members who spend from one pool, each with a card of the household's own.

The pool is a holder like a member: whoever shows one of its cards earns into it and spends from it, at any till, with
all that a card can do. Members put points of their own in; every lot remembers whose it was. Whoever leaves gets back
what they put in and did not spend, as far as it is still there: first what is left of their own lots, then, where
others spent those, lots of members who have left before. What was earned on the household's cards stays; who leaves
last gets all that is left. So joining, spending and leaving again never adds up to more than was put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault, fingerprint
from ledger import accounts, transfers
from ledger.transfers import Order, Sent, TransferExceedsBalance
from members import cards, household_store, sharing, store, succession_store
from members.cards import IssuedCard
from members.sharing import HOUSEHOLD, SharingRules

OPERATOR = 0


class HouseholdUnknown(Rejection):
    """There is no such household, or nobody is in it any more."""

    code = "HOUSEHOLD_UNKNOWN"
    retryable = False


class HouseholdFull(Rejection):
    """The household has as many members as one may have."""

    code = "HOUSEHOLD_FULL"
    retryable = True


class AlreadyInHousehold(Rejection):
    """The member is in a household and leaves that one first."""

    code = "ALREADY_IN_HOUSEHOLD"
    retryable = True


class NotInHousehold(Rejection):
    """The member is in no household."""

    code = "NOT_IN_HOUSEHOLD"
    retryable = True


class HouseholdCooling(Rejection):
    """The member has left a household not long ago and may join none yet."""

    code = "HOUSEHOLD_COOLING"
    retryable = True


@dataclass(frozen=True, slots=True)
class Place:
    """A member's place in a household: which one, the card of the household that they have, and since when."""

    member_id: int
    household_id: int
    card_id: int
    since: datetime


async def found(
    connection: AsyncConnection,
    vault: Vault,
    rules: SharingRules,
    *,
    member_id: int,
    at: datetime,
    language: str = "en",
) -> IssuedCard:
    """Found a household with its first member; returns the card for them, whose member is the household.

    Rejects TRANSFERS_DISABLED, and what `join` rejects.
    """
    rules.require()
    [household_id] = await accounts.open_accounts(connection, 1)
    await store.insert_members(connection, [household_id], [language], HOUSEHOLD, at, OPERATOR)
    return await join(connection, vault, rules, household_id=household_id, member_id=member_id, at=at)


async def join(
    connection: AsyncConnection, vault: Vault, rules: SharingRules, *, household_id: int, member_id: int, at: datetime
) -> IssuedCard:
    """A member joins; returns the household's card for them. Points of theirs stay theirs until they `contribute`.

    Rejects TRANSFERS_DISABLED, HOUSEHOLD_UNKNOWN, HOUSEHOLD_FULL, ALREADY_IN_HOUSEHOLD, HOUSEHOLD_COOLING,
    MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    rules.require()
    member = await sharing.person(connection, member_id)
    await _lock(connection, household_id)
    await store.lock_member(connection, member.member_id)
    last = await household_store.last_move(connection, member.member_id)
    if last is not None and last.joined:
        raise AlreadyInHousehold("the member is in a household already")
    if last is not None and at < last.at + rules.household_cooling:
        raise HouseholdCooling(
            f"the member left a household at {last.at:%Y-%m-%d} and may join one again "
            f"{rules.household_cooling.days} days later"
        )
    if len(await household_store.members_of(connection, household_id)) >= rules.household_size:
        raise HouseholdFull(f"a household has at most {rules.household_size} members")
    card = await cards.issue(connection, vault, member_id=household_id, at=at)
    await household_store.insert_move(
        connection, member_id=member.member_id, seq=last.seq + 1 if last else 1, household_id=household_id, joined=True,
        card_id=card.card_id, at=at,
    )  # fmt: skip
    return card


async def contribute(
    connection: AsyncConnection,
    rules: SharingRules,
    *,
    member_id: int,
    points: int | None,
    key: str,
    at: datetime,
    day: date,
) -> Sent:
    """Put points into the pool of the member's household, None: all that are available. The first half: the caller
    completes it. The member's spend lock and the day's cap bind as they do spending.

    Rejects TRANSFERS_DISABLED, NOT_IN_HOUSEHOLD and what transfers.send rejects.
    """
    rules.require()
    place = await place_of(connection, member_id)
    order = Order(place.member_id, place.household_id, points, is_spending=True, is_whole=True)
    content = fingerprint("contribution", str(place.household_id), str(points))
    idem_key = fingerprint("contribution", str(place.member_id), key)
    return await transfers.send(connection, order, idem_key=idem_key, fingerprint=content, at=at, day=day)


async def leave(
    connection: AsyncConnection, *, member_id: int, spent_points: int, at: datetime, day: date
) -> list[Sent]:
    """A member leaves, whatever the programme's rules say now; returns what goes back, for the caller to complete.

    spent_points are those that the member's cards of the household have spent from the pool since ever, less what was
    refunded. The cards are blocked. Rejects NOT_IN_HOUSEHOLD.
    """
    place = await place_of(connection, member_id)
    await _lock(connection, place.household_id)
    await store.lock_member(connection, place.member_id)
    last = await household_store.last_move(connection, place.member_id)
    if last is None or not last.joined or last.household_id != place.household_id:
        raise NotInHousehold("the member is in no household")
    await household_store.insert_move(
        connection, member_id=place.member_id, seq=last.seq + 1, household_id=place.household_id, joined=False,
        card_id=last.card_id, at=at,
    )  # fmt: skip
    await cards.block(connection, last.card_id, at=at)
    left = [row.member_id for row in await household_store.members_of(connection, place.household_id)]
    if left:
        return await _own_share(connection, place, left, spent_points, at, day)
    sent = await _send(connection, Order(place.household_id, place.member_id, takes_pending=True), at, day)
    await household_store.close(connection, place.household_id)
    await transfers.close_account(connection, place.household_id)
    return sent


async def place_of(connection: AsyncConnection, member_id: int) -> Place:
    """The household that a member is in. Rejects NOT_IN_HOUSEHOLD, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON."""
    member = await sharing.person(connection, member_id)
    last = await household_store.last_move(connection, member.member_id)
    if last is None or not last.joined:
        raise NotInHousehold("the member is in no household")
    return Place(member.member_id, last.household_id, last.card_id, last.at)


async def members_of(connection: AsyncConnection, household_id: int) -> list[Place]:
    """Who is in a household, who joined first first; nobody where there is none."""
    rows = await household_store.members_of(connection, household_id)
    return [Place(row.member_id, household_id, row.card_id, row.at) for row in rows]


async def cards_of(connection: AsyncConnection, household_id: int, member_id: int) -> list[int]:
    """The household's cards that a member ever had, for what they have spent with them."""
    return await household_store.cards_of(connection, household_id, member_id)


async def _lock(connection: AsyncConnection, household_id: int) -> None:
    """One after the other in a household; its row is always taken before a member's."""
    found = await store.member_by_id(connection, household_id)
    if found is None or found.member_status != HOUSEHOLD or not await store.lock_member(connection, household_id):
        raise HouseholdUnknown("there is no such household")


async def _own_share(
    connection: AsyncConnection, place: Place, left: Sequence[int], spent_points: int, at: datetime, day: date
) -> list[Sent]:
    given = await transfers.given_less_taken(connection, place.member_id, place.household_id)
    allowance = max(given - spent_points, 0)
    own = await succession_store.stands_for(connection, [place.member_id])
    back = Order(place.household_id, place.member_id, allowance, contributor_ids=own)
    sent = await _send(connection, back, at, day)
    missing = allowance - sum(one.points for one in sent)
    there = await transfers.contributed(connection, place.household_id, at=at)
    kept = {place.household_id, *await succession_store.stands_for(connection, left)}
    abandoned = sorted(set(there) - kept)
    if missing and abandoned:
        order = Order(
            place.household_id, place.member_id, missing, contributor_ids=abandoned, keeps_contributor=False
        )  # fmt: skip
        sent += await _send(connection, order, at, day)
    return sent


async def _send(connection: AsyncConnection, order: Order, at: datetime, day: date) -> list[Sent]:
    """The order's first half; nothing where there is nothing to go."""
    if order.points == 0:
        return []
    try:
        return [await transfers.send(connection, order, idem_key=None, fingerprint=None, at=at, day=day)]
    except TransferExceedsBalance:
        return []
