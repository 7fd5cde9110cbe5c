"""The money journal: bookings of balanced entries, each source booked once, never changed, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import Rejection
from kit.secrets import fingerprint
from settlement.money import entries, store
from settlement.money.entries import Entry, Posting
from settlement.money.events import MoneyEvent

_PLACE = ("entry_no", "line_no", "kind")


class BookingKeyReused(Rejection):
    """The source is booked already, with other entries."""

    code = "BOOKING_KEY_REUSED"
    retryable = False


class BookingUnknown(Rejection):
    """There is no booking of this number."""

    code = "BOOKING_UNKNOWN"
    retryable = False


class BookingReversed(Rejection):
    """The booking was taken back already, or takes another one back itself."""

    code = "BOOKING_REVERSED"
    retryable = False


class PeriodLocked(Rejection):
    """The accounting period is closed: nothing is booked in it any more."""

    code = "PERIOD_LOCKED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Booking:
    """What was booked together. source says of what, such as `cutoff:12`; at is its business instant.

    is_replayed: it was booked before, and this call wrote nothing.
    """

    booking_id: int
    source: str
    actor: str
    at: datetime
    cutoff_id: int | None
    run_id: int | None
    reverses: int | None
    is_replayed: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account comes to: Dr positive, Cr negative, micro-units. points are signed alike."""

    currency: str
    account: str
    party_id: int
    cohort_id: int
    amount_micro: int
    points: int


async def post(
    connection: AsyncConnection,
    *,
    source: str,
    entries: Sequence[Entry],
    at: datetime,
    actor: str,
    cutoff_id: int | None = None,
    run_id: int | None = None,
) -> Booking:
    """Book entries at a business instant, once per source (`cutoff:12`, `run:4/fees`); who may is the caller's rule.

    The same source with the same entries answers the first booking and writes nothing. Raises entries.Unbalanced
    for an entry that does not balance. Rejects PERIOD_LOCKED, BOOKING_KEY_REUSED.
    """
    return await _post(connection, source, list(entries), at, actor, cutoff_id, run_id, None)


async def post_events(
    connection: AsyncConnection,
    *,
    source: str,
    found: Sequence[MoneyEvent],
    at: datetime,
    actor: str,
    run_id: int | None = None,
) -> Booking:
    """Book money events on behalf of a FINANCE_MAKER: what is no cut-off and no run, as a payment seen at the bank.

    Raises events.KindUnknown, entries.Unbalanced. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PERIOD_LOCKED,
    BOOKING_KEY_REUSED.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    booked = await post(connection, source=source, entries=entries.of_events(found), at=at, actor=actor, run_id=run_id)
    if not booked.is_replayed:
        await _trail(connection, "MONEY_BOOKED", booked, at)
    return booked


async def reverse(connection: AsyncConnection, booking_id: int, *, at: datetime, actor: str) -> Booking:
    """Take a booking back by another one, wholly, on behalf of a FINANCE_MAKER. Once; said again it answers the same.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BOOKING_UNKNOWN, BOOKING_REVERSED, PERIOD_LOCKED.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    found = await booking(connection, booking_id)
    if found.reverses is not None:
        raise BookingReversed(f"booking {booking_id} takes another one back itself")
    back = [entries.reversed_of(entry) for entry in await entries_of(connection, booking_id)]
    booked = await _post(
        connection, f"reversal:{booking_id}", back, at, actor, found.cutoff_id, found.run_id, booking_id
    )
    if not booked.is_replayed:
        await _trail(connection, "MONEY_REVERSED", booked, at)
    return booked


async def booking(connection: AsyncConnection, booking_id: int) -> Booking:
    """One booking. Rejects BOOKING_UNKNOWN."""
    row = await store.booking(connection, booking_id)
    if row is None:
        raise BookingUnknown(f"there is no booking {booking_id}")
    return _booking(row)


async def booking_of(connection: AsyncConnection, source: str) -> Booking | None:
    """What was booked of a source, if anything was."""
    row = await store.booking_of(connection, source)
    return None if row is None else _booking(row)


async def entries_of(connection: AsyncConnection, booking_id: int) -> list[Entry]:
    """The entries of a booking, as they were booked."""
    found: dict[int, tuple[str, list[Posting]]] = {}
    for row in await store.postings(connection, booking_id):
        values = {name: value for name, value in row._mapping.items() if name not in _PLACE}
        found.setdefault(row.entry_no, (row.kind, []))[1].append(Posting(**values))
    return [Entry(kind, tuple(postings)) for kind, postings in found.values()]


async def trial_balance(
    connection: AsyncConnection, *, at: datetime | None = None, through_booking: int | None = None
) -> list[Balance]:
    """What every account comes to, by currency, party and cohort; each currency sums to zero.

    at is the business instant up to which bookings count (None: all), through_booking the last that was known: the
    same pair gives the same answer for ever.
    """
    return await _balances(connection, at, through_booking, None)


async def balances(
    connection: AsyncConnection, account: str, *, at: datetime | None = None, through_booking: int | None = None
) -> list[Balance]:
    """What one account comes to, by currency, party and cohort; arguments as of `trial_balance`."""
    return await _balances(connection, at, through_booking, account)


async def _balances(
    connection: AsyncConnection, at: datetime | None, through_booking: int | None, account: str | None
) -> list[Balance]:
    rows = await store.balances(connection, at=at, through_booking=through_booking, account=account)
    return [Balance(**row._mapping) for row in rows]


async def _post(
    connection: AsyncConnection,
    source: str,
    found: list[Entry],
    at: datetime,
    actor: str,
    cutoff_id: int | None,
    run_id: int | None,
    reverses: int | None,
) -> Booking:
    for entry in found:
        entries.checked(entry)
    content = _content(found)
    await store.share_books(connection)
    if (earlier := await store.booking_of(connection, source)) is not None:
        return _same(earlier, content)
    await _check_open(connection, at)
    booking_id = await store.insert_booking(
        connection, source=source, fingerprint=content, actor=actor, at=at, cutoff_id=cutoff_id, run_id=run_id,
        reverses=reverses,
    )  # fmt: skip
    if booking_id is None:  # somebody else booked it between the look and the write
        earlier = await store.booking_of(connection, source)
        assert earlier is not None
        return _same(earlier, content)
    if rows := list(entries.postings_of(found)):
        await store.insert_postings(connection, booking_id, rows)
    return Booking(booking_id, source, actor, at, cutoff_id, run_id, reverses)


async def _check_open(connection: AsyncConnection, at: datetime) -> None:
    locked = await store.locked_through(connection)
    if locked is not None and at <= locked:
        raise PeriodLocked(f"everything up to {locked.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC is closed")


def _same(earlier: Any, content: UUID) -> Booking:
    if earlier.fingerprint != content and earlier.reverses is None:
        raise BookingKeyReused(f"{earlier.source} is booked already, with other entries")
    return _booking(earlier, is_replayed=True)


def _content(found: list[Entry]) -> UUID:
    lines = [repr((entry_no, line_no, kind, *astuple(p))) for entry_no, line_no, kind, p in entries.postings_of(found)]
    return fingerprint(*lines)


def _booking(row: Any, *, is_replayed: bool = False) -> Booking:
    values = {name: value for name, value in row._mapping.items() if name != "fingerprint"}
    return Booking(**values, is_replayed=is_replayed)


async def _trail(connection: AsyncConnection, action: str, booked: Booking, at: datetime) -> None:
    detail = {"source": booked.source}
    await audit.write(
        connection, actor=booked.actor, action=action, subject=f"booking:{booked.booking_id}", detail=detail, at=at
    )
