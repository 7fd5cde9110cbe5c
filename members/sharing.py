"""What the programme lets members do with each other's points, told from above; and giving some away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import fingerprint
from ledger import transfers
from ledger.transfers import Order, Sent
from members import store
from members.cards import MemberClosed, MemberUnknown

HOUSEHOLD = "HOUSEHOLD"


class TransfersDisabled(Rejection):
    """In this programme members do not transfer points."""

    code = "TRANSFERS_DISABLED"
    retryable = True


class NotAPerson(Rejection):
    """A household neither gives, nor joins another, nor is merged; its members do."""

    code = "NOT_A_PERSON"
    retryable = False


@dataclass(frozen=True, slots=True)
class SharingRules:
    """The programme's rules: whether points go from member to member at all (they do not unless it says so), how many
    members a household has at most, and how long after leaving one a member may not join another."""

    is_enabled: bool = False
    household_size: int = 6
    household_cooling: timedelta = timedelta(days=30)

    def require(self) -> None:
        """Nothing where points may go from member to member. Rejects TRANSFERS_DISABLED."""
        if not self.is_enabled:
            raise TransfersDisabled("in this programme members do not transfer points")


async def give(
    connection: AsyncConnection,
    rules: SharingRules,
    *,
    sender_id: int,
    receiver_id: int,
    points: int,
    key: str,
    at: datetime,
    day: date,
) -> Sent:
    """Give points to another member, whose own they become with all that they are. The first half: the caller completes
    it with transfers.complete after its transaction. The spend lock and the day's cap bind as they do spending.

    key is the giver's name for this gift: the same one again is the same gift. Rejects TRANSFERS_DISABLED,
    MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON and what transfers.send rejects.
    """
    rules.require()
    giver, taker = await person(connection, sender_id), await person(connection, receiver_id)
    order = Order(
        giver.member_id, taker.member_id, points, is_spending=True, is_whole=True, keeps_contributor=False
    )  # fmt: skip
    content = fingerprint("gift", str(taker.member_id), str(points))
    idem_key = fingerprint("gift", str(giver.member_id), key)
    return await transfers.send(connection, order, idem_key=idem_key, fingerprint=content, at=at, day=day)


async def person(connection: AsyncConnection, member_id: int) -> Row[tuple[object, ...]]:
    """The member whom a number stands for, who is there and no household.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    found = await store.member_by_id(connection, member_id)
    if found is None:
        raise MemberUnknown
    if found.member_status == "CLOSED":
        raise MemberClosed(found.member_id)
    if found.member_status == HOUSEHOLD:
        raise NotAPerson("a household cannot do this; its members can")
    return found
