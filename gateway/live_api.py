"""What may be listened to: a member's balance, and the partner's own transactions as they are posted."""

import struct
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import strawberry
from strawberry import Info

from gateway import access, masking, scopes
from gateway.context import Context
from gateway.following import Follower, Resync
from gateway.inputs import MemberRefInput, described
from gateway.member_api import balance_of
from gateway.membership.membership_api import names_self
from gateway.membership.own_ids import own_key
from gateway.purchase_api import Counter, counter_of
from gateway.rejections import is_miss
from gateway.types import Balance, Transaction, transaction
from kit import errors
from kit.secrets import opaque_id, read_opaque_id
from ledger import lots
from ledger.accounts import POINTS
from ledger.feed import Place
from members.guesses import RateLimited
from members.identification import Identified, MemberRef
from partners.receipts import feed
from partners.receipts.feed import Posted
from partners.tills import recognition

_BALANCE = struct.Struct(">qq")
_PLACE = struct.Struct(">qqq")


@strawberry.type(description="A member's balance after something changed it.")
class BalanceEvent:
    cursor: str = described("Give it as `after` to be told only of what came later.")
    balance: Balance = described("The balance now.")


@strawberry.type(description="A transaction that was posted.")
class TransactionEvent:
    cursor: str = described("Give it as `after` to go on behind it.")
    transaction: Transaction = described("The transaction.")


@strawberry.type
class LiveSubscription:
    @access.subscription(
        scopes=(scopes.MEMBERS_READ, scopes.MEMBER_SELF),
        description="A member's balance: as it is now, unless nothing happened since `after`, and then whenever it has "
        "changed; changes in quick succession are one event. A member whom `member` would not tell of is an error.",
    )
    async def balance_changed(
        self, info: Info[Context, None], ref: MemberRefInput, after: str | None = None
    ) -> AsyncGenerator[BalanceEvent, None]:
        if info.context.viewer.member_id is not None:
            async for event in _own_balance(info, ref, after):
                yield event
            return
        counter = await counter_of(info)
        member = await _identified(info, counter, lambda: counter.member_ref(ref))
        told = _read_balance(counter.partner.id_key, member.member_id, after)
        async with _follower(info).balance(member.member_id) as listener:
            while True:
                at = await info.context.now()
                standing = await lots.standing(counter.desk.pool, member.member_id, unit=POINTS, at=at)
                if standing is not None and standing.seq > told:
                    told = standing.seq
                    yield BalanceEvent(
                        cursor=_write_balance(counter.partner.id_key, member.member_id, told),
                        balance=balance_of(standing, member.member_id, at),
                    )
                await listener.moved()
                await _identified(info, counter, lambda: MemberRef(id=member.member_id))

    @access.subscription(
        scopes=(scopes.HISTORY_READ,),
        description="This partner's own transactions, from whichever client, as they are posted; with `after`, those "
        "since it first. Each comes at least once: one whose cursor you know is an old one.",
    )
    async def transaction_posted(
        self, info: Info[Context, None], after: str | None = None
    ) -> AsyncGenerator[TransactionEvent, None]:
        counter = await counter_of(info)
        place = _read_place(counter, after)
        async with _follower(info).transactions(counter.caller.partner_id) as listener:
            if place is not None:
                partner_id = counter.caller.partner_id
                async for posted in feed.posted_since(counter.desk.pool, partner_id, after=place, until=listener.since):
                    yield await _event(info, counter, posted)
            while True:
                try:
                    yield await _event(info, counter, await listener.posted())
                except Resync:
                    message = "More happened than was taken. Subscribe again with the last cursor."
                    raise masking.coded(masking.SERVICE_UNAVAILABLE, message) from None


async def _own_balance(
    info: Info[Context, None], ref: MemberRefInput, after: str | None
) -> AsyncGenerator[BalanceEvent, None]:
    """The balance of the member who is signed in, as they themselves see it."""
    if not names_self(info, ref):
        raise masking.coded(masking.BAD_USER_INPUT, "There is no such member, or it is somebody else.")
    member_id, key = info.context.viewer.whose, own_key(info.context.services.vault)
    told = _read_balance(key, member_id, after)
    async with _follower(info).balance(member_id) as listener:
        while True:
            at = await info.context.now()
            standing = await lots.standing(info.context.services.database.pool, member_id, unit=POINTS, at=at)
            if standing is not None and standing.seq > told:
                told = standing.seq
                shown = balance_of(replace(standing, spend_locked=False), member_id, at)
                yield BalanceEvent(cursor=_write_balance(key, member_id, told), balance=shown)
            await listener.moved()


async def _identified(info: Info[Context, None], counter: Counter, ref: Callable[[], MemberRef]) -> Identified:
    """The member, by the rule of `member`. Raises RateLimited, else BAD_USER_INPUT, the same whatever is the matter."""
    try:
        terminal_id = counter.caller.terminal_id
        return await recognition.identify(counter.desk, counter.caller, ref(), terminal_id, await info.context.now())
    except RateLimited:
        raise
    except errors.Rejection as no:
        info.context.misses += is_miss(no)
        raise masking.coded(masking.BAD_USER_INPUT, "There is no such member, or this partner may not know.") from None


def _follower(info: Info[Context, None]) -> Follower:
    follower = info.context.services.follower
    assert follower is not None
    return follower


async def _event(info: Info[Context, None], counter: Counter, posted: Posted) -> TransactionEvent:
    directory = await counter.desk.directory_with(posted.receipt.terms_id)
    shown: Transaction = transaction(directory, posted.receipt, info.context.language)
    return TransactionEvent(cursor=_write_place(counter, posted.place), transaction=shown)


def _write_balance(key: bytes, holder_id: int, seq: int) -> str:
    return opaque_id(key, "bal", _BALANCE.pack(holder_id, seq))


def _read_balance(key: bytes, holder_id: int, cursor: str | None) -> int:
    """The number of the entry that a cursor of this member's is of; -1 for none. Raises BAD_USER_INPUT."""
    if cursor is None:
        return -1
    raw = read_opaque_id(key, "bal", cursor)
    if raw is None or len(raw) != _BALANCE.size or _BALANCE.unpack(raw)[0] != holder_id:
        raise masking.coded(masking.BAD_USER_INPUT, "`after` is not a cursor of this subscription.")
    return int(_BALANCE.unpack(raw)[1])


def _write_place(counter: Counter, place: Place) -> str:
    return opaque_id(counter.partner.id_key, "pst", _PLACE.pack(place.xid, place.holder_id, place.seq))


def _read_place(counter: Counter, cursor: str | None) -> Place | None:
    """The place that a cursor of this partner's is of. Raises BAD_USER_INPUT."""
    if cursor is None:
        return None
    raw = read_opaque_id(counter.partner.id_key, "pst", cursor)
    if raw is None or len(raw) != _PLACE.size:
        raise masking.coded(masking.BAD_USER_INPUT, "`after` is not a cursor of this subscription.")
    return Place(*_PLACE.unpack(raw))
