"""Points from one holder to another: gifts, pools, merges of accounts.

A transfer is two entries in two accounts, each one call under one account's lock (decision 0014). `send` records the
first half in the caller's transaction, with a row that says what is on its way; `complete` records the second, after
that transaction has committed, by whoever comes first: the caller, its retry, or the sweeper. Issuer, funder, terms,
activation and expiry stay with every point, so nothing that anybody owes changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from ledger import transfer_store as store
from ledger.accounts import POINTS

ARRIVED: Final = "ARRIVED"
CAME_BACK: Final = "CAME_BACK"
WAITING: Final = "WAITING"
IN, BACK = 15, 16
AT_ONCE = 100


class TransferInvalid(Rejection):
    """A transfer of nothing, or from a holder to itself."""

    code = "TRANSFER_INVALID"
    retryable = False


class ReceiverUnknown(Rejection):
    """The receiver has no account in this unit."""

    code = "RECEIVER_UNKNOWN"
    retryable = True


class ReceiverClosed(Rejection):
    """The receiver's account takes no transfer."""

    code = "RECEIVER_CLOSED"
    retryable = True


class SenderUnknown(Rejection):
    """The sender has no account in this unit."""

    code = "SENDER_UNKNOWN"
    retryable = False


class TransferExceedsBalance(Rejection):
    """Fewer points than that may go; `available_points` tells how many there are."""

    code = "TRANSFER_EXCEEDS_BALANCE"
    retryable = True


class TransferLocked(Rejection):
    """The sender has locked spending, which giving away is."""

    code = "TRANSFER_LOCKED"
    retryable = True


class TransferCapReached(Rejection):
    """The sender's limit for one day would be exceeded; giving away counts as spending does."""

    code = "TRANSFER_CAP_REACHED"
    retryable = True


class TransferKeyReused(Rejection):
    """The key was used before with another input."""

    code = "TRANSFER_KEY_REUSED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Order:
    """What is to go from whom to whom, in points.

    points None is all there is; with is_whole fewer is a "no", without it as many go as are there. contributor_ids
    names whose lots may go (None: anybody's), ref_seq of which accrual of theirs. is_spending lets the spend lock and
    the day's cap bind. takes_pending, only with points None, takes what is not activated yet as well.
    keeps_contributor says that the points stay somebody's contribution; without it they become the receiver's own.
    """

    sender_id: int
    receiver_id: int
    points: int | None = None
    unit: int = POINTS
    contributor_ids: Sequence[int] | None = None
    ref_seq: int | None = None
    is_spending: bool = False
    is_whole: bool = False
    takes_pending: bool = False
    keeps_contributor: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """The first half of a transfer on record: the sender's entry, how many points went, what is left available."""

    sender_id: int
    unit: int
    seq: int
    points: int
    available: int
    replayed: bool


async def send(
    connection: AsyncConnection,
    order: Order,
    *,
    idem_key: UUID | None,
    fingerprint: UUID | None,
    at: datetime,
    day: date,
) -> Sent:
    """Record the first half; the caller calls `complete` when its transaction has committed.

    day is the programme's, for the cap. Without a key nothing is replayed, which is for orders of all there is. Rejects
    TRANSFER_INVALID, RECEIVER_UNKNOWN, RECEIVER_CLOSED, SENDER_UNKNOWN, TRANSFER_KEY_REUSED, TRANSFER_LOCKED,
    TRANSFER_CAP_REACHED, TRANSFER_EXCEEDS_BALANCE; each has written nothing but what was due anyway.
    """
    if order.sender_id == order.receiver_id:
        raise TransferInvalid("points cannot be transferred to their own holder")
    if order.points is not None and order.points <= 0:
        raise TransferInvalid("the number of points to transfer must be above zero")
    is_closed = await store.account_is_closed(connection, order.receiver_id, order.unit)
    given = {**asdict(order), "idem_key": idem_key, "fingerprint": fingerprint, "at": at, "day": day}
    given["contributor_ids"] = None if order.contributor_ids is None else list(order.contributor_ids)
    if is_closed is None:
        raise ReceiverUnknown("the receiver has no account for this")
    # Closed now, but perhaps not when this very request was made first: only a new one is refused.
    if is_closed and not await _was_sent(connection, order, idem_key):
        raise ReceiverClosed("the receiver's account is closed")
    row = await store.transfer_out(connection, given)
    if row.status > 1:
        raise _rejection(row)
    return Sent(order.sender_id, order.unit, row.seq, row.taken, row.available, row.status == 1)


async def complete(database: Database, sender_id: int, seq: int, *, unit: int = POINTS, at: datetime) -> str:
    """Record what is missing of a transfer; ARRIVED, CAME_BACK where the receiver's account was closed meanwhile, or
    WAITING where there is no such account.

    Takes the database, because the halves are transactions of their own. May be repeated, and run beside others: each
    step has its effect once. Raises LookupError for a transfer that was never sent.
    """
    async with database.reading() as connection:
        parts = await store.parts(connection, sender_id, unit, seq)
    if not parts:
        raise LookupError(f"holder {sender_id} has no transfer under entry {seq} of unit {unit}")
    head = parts[0]
    if head.state:
        return ARRIVED if head.state == 1 else CAME_BACK
    at = max(at, head.sent_at)
    letter = {"sender_id": sender_id, "sender_seq": seq, "unit": unit, "at": at}
    async with database.transaction() as connection:
        arrived = await store.transfer_in(
            connection, {**letter, "kind": IN, "holder_id": head.receiver_id, **_arriving(parts, sender_id)}
        )
    if arrived.status in (0, 1):
        async with database.transaction() as connection:
            await store.finish(connection, sender_id, unit, seq, arrived.seq)
        return ARRIVED
    if arrived.status == 4:  # send looked, and accounts are not removed: somebody made the first half by hand
        return WAITING
    async with database.transaction() as connection:
        await store.transfer_in(connection, {**letter, "kind": BACK, "holder_id": sender_id, **_coming_back(parts)})
    return CAME_BACK


async def complete_all(database: Database, sent: Sequence[Sent], *, at: datetime) -> list[str]:
    """Complete several transfers in their order."""
    return [await complete(database, one.sender_id, one.seq, unit=one.unit, at=at) for one in sent]


async def unfinished(
    connection: AsyncConnection, *, after: tuple[datetime, int, int, int] | None = None, limit: int = AT_ONCE
) -> list[tuple[datetime, int, int, int]]:
    """Transfers on their way as (sent_at, sender, unit, seq), the oldest first, behind one of them."""
    rows = await store.unfinished(connection, after, limit)
    return [(row.sent_at, row.sender_id, row.unit, row.seq) for row in rows]


async def given_less_taken(connection: AsyncConnection, holder_id: int, other_id: int, *, unit: int = POINTS) -> int:
    """Points that a holder gave another, less those that it got from it; below zero where it got more."""
    return await store.given_between(connection, holder_id, other_id, unit)


async def contributed(
    connection: AsyncConnection, holder_id: int, *, unit: int = POINTS, at: datetime
) -> dict[int, int]:
    """Whose contribution an account's available points are at an instant: contributor to points."""
    rows = await store.contributed_by(connection, holder_id, unit, at)
    return {row.contributor_id: row.points for row in rows}


async def left_of(
    connection: AsyncConnection, holder_id: int, contributor_id: int, seq: int, *, unit: int = POINTS, at: datetime
) -> dict[int, int]:
    """What a holder has left of an accrual that was another's: the accrual's lot number to points."""
    return await store.left_of(connection, holder_id, contributor_id, seq, unit, at)


async def with_anything(connection: AsyncConnection, holder_ids: Sequence[int]) -> list[int]:
    """Those of these holders that have anything of any unit, as last recorded."""
    return await store.holders_with_anything(connection, holder_ids) if holder_ids else []


async def units_of(connection: AsyncConnection, holder_id: int) -> list[int]:
    """The units of which a holder has anything, as last recorded, in the order in which accounts are locked."""
    return await store.units_with_points(connection, holder_id)


async def open_account(connection: AsyncConnection, holder_id: int, unit: int) -> None:
    """Let a holder have an account in a unit; nothing where there is one."""
    await store.add_account(connection, holder_id, unit)


async def close_account(connection: AsyncConnection, holder_id: int, *, unit: int = POINTS) -> None:
    """Let an account take no transfer any more. What it has stays, and what is on its way to it comes back."""
    await store.close_account(connection, holder_id, unit, closed=True)


async def lock_spending(connection: AsyncConnection, holder_id: int, *, unit: int = POINTS) -> None:
    """Let nothing be spent or given away from an account."""
    await store.lock_spending(connection, holder_id, unit)


async def _was_sent(connection: AsyncConnection, order: Order, idem_key: UUID | None) -> bool:
    return idem_key is not None and await store.is_known(connection, order.sender_id, order.unit, idem_key)


def _rejection(row: Row[Any]) -> Rejection:
    if row.status == 3:
        return TransferExceedsBalance("fewer points than that may go", available_points=row.available)
    return {
        2: TransferKeyReused("the key was used before with another input"),
        4: SenderUnknown("the sender has no account for this"),
        5: TransferInvalid("this transfer cannot be made"),
        6: TransferLocked("the sender has locked spending"),
        7: TransferCapReached("the sender's limit for one day would be exceeded"),
    }[row.status]


def _arriving(parts: Sequence[Row[Any]], sender_id: int) -> dict[str, list[Any]]:
    """The parts as the receiver gets them: what was the receiver's before it was the sender's comes home."""
    origins = [
        (part.contributor_id, part.contributor_seq, part.contributor_lot_no)
        if part.contributor_id is not None
        else (sender_id, part.lot_seq, part.lot_no)
        for part in parts
    ]
    kept = [
        origin if part.keeps_contributor else (None, None, None) for origin, part in zip(origins, parts, strict=True)
    ]
    homes = [
        origin[1:] if origin[0] == part.receiver_id else (None, None) for origin, part in zip(kept, parts, strict=True)
    ]
    return _columns(parts, homes, kept)


def _coming_back(parts: Sequence[Row[Any]]) -> dict[str, list[Any]]:
    """The parts as the sender gets them back: each into the lot that it left."""
    return _columns(
        parts,
        [(part.lot_seq, part.lot_no) for part in parts],
        [(part.contributor_id, part.contributor_seq, part.contributor_lot_no) for part in parts],
    )


def _columns(
    parts: Sequence[Row[Any]],
    homes: Sequence[tuple[int | None, int | None]],
    contributors: Sequence[tuple[Any, Any, Any]],
) -> dict[str, list[Any]]:
    return {
        "issuers": [part.issuer_id for part in parts],
        "funders": [part.funder_id for part in parts],
        "terms": [part.terms_id for part in parts],
        "points": [part.points for part in parts],
        "activates": [part.activates_at for part in parts],
        "expires": [part.expires_at for part in parts],
        "active": [part.is_active for part in parts],
        "home_seqs": [seq for seq, _ in homes],
        "home_lot_nos": [lot_no for _, lot_no in homes],
        "contributors": [holder for holder, _, _ in contributors],
        "contributor_seqs": [seq for _, seq, _ in contributors],
        "contributor_lot_nos": [lot_no for _, _, lot_no in contributors],
    }
