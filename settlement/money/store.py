"""Statements of the money journal. Private to settlement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.money.conversion import Fixing
from settlement.money.entries import Posting

_BOOKS = 7_305_011  # an advisory lock's number, of no meaning elsewhere
_BOOKING = "booking_id, source, fingerprint, actor, at, cutoff_id, run_id, reverses"


async def share_books(connection: AsyncConnection) -> None:
    """Keep periods from being closed until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _BOOKS})


async def lock_books(connection: AsyncConnection) -> None:
    """Wait for whoever books, and keep others from booking until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _BOOKS})


async def insert_booking(
    connection: AsyncConnection,
    *,
    source: str,
    fingerprint: UUID,
    actor: str,
    at: datetime,
    cutoff_id: int | None,
    run_id: int | None,
    reverses: int | None,
) -> int | None:
    """A booking without its postings; returns its number, or None where this source is booked."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.booking (source, fingerprint, actor, at, cutoff_id, run_id, reverses) "
            "VALUES (:source, :fingerprint, :actor, :at, :cutoff_id, :run_id, :reverses) "
            "ON CONFLICT (source) DO NOTHING RETURNING booking_id"
        ),
        {
            "source": source,
            "fingerprint": fingerprint,
            "actor": actor,
            "at": at,
            "cutoff_id": cutoff_id,
            "run_id": run_id,
            "reverses": reverses,
        },
    )
    return made.scalar_one_or_none()


async def booking_of(connection: AsyncConnection, source: str) -> Row[Any] | None:
    """The booking of a source."""
    found = await connection.execute(
        text(f"SELECT {_BOOKING} FROM settlement.booking WHERE source = :source"), {"source": source}
    )
    return found.one_or_none()


async def booking(connection: AsyncConnection, booking_id: int) -> Row[Any] | None:
    """One booking."""
    found = await connection.execute(
        text(f"SELECT {_BOOKING} FROM settlement.booking WHERE booking_id = :booking_id"), {"booking_id": booking_id}
    )
    return found.one_or_none()


async def insert_postings(
    connection: AsyncConnection, booking_id: int, rows: Sequence[tuple[int, int, str, Posting]]
) -> None:
    """All postings of a booking, in one statement: it is checked whole."""
    columns = {
        "entry_no": ("int", [entry_no for entry_no, _, _, _ in rows]),
        "line_no": ("smallint", [line_no for _, line_no, _, _ in rows]),
        "kind": ("text", [kind for _, _, kind, _ in rows]),
        **{name: (type_, [getattr(p, name) for _, _, _, p in rows]) for name, type_ in _POSTING.items()},
    }
    arrays = ", ".join(f"CAST(:{name} AS {type_}[])" for name, (type_, _) in columns.items())
    names = ", ".join(columns)
    await connection.execute(
        text(
            f"INSERT INTO settlement.money_posting (booking_id, {names}) "
            f"SELECT :booking_id, {names} FROM unnest({arrays}) AS p ({names})"
        ),
        {"booking_id": booking_id, **{name: values for name, (_, values) in columns.items()}},
    )


_POSTING = {
    "account": "text", "currency": "text", "amount_micro": "bigint", "party_id": "int", "cohort_id": "int",
    "cohort_month": "date", "counterparty_id": "int", "terms_id": "int", "points": "bigint", "tax_rule": "text",
    "promotion": "text", "reference": "text",
}  # fmt: skip


async def postings(connection: AsyncConnection, booking_id: int) -> Sequence[Row[Any]]:
    """The postings of a booking, in their order."""
    found = await connection.execute(
        text(
            f"SELECT entry_no, line_no, kind, {', '.join(_POSTING)} FROM settlement.money_posting "
            "WHERE booking_id = :booking_id ORDER BY entry_no, line_no"
        ),
        {"booking_id": booking_id},
    )
    return found.all()


async def balances(
    connection: AsyncConnection, *, at: datetime | None, through_booking: int | None, account: str | None
) -> Sequence[Row[Any]]:
    """Sums per currency, account, party and cohort of all bookings up to an instant and up to a booking."""
    found = await connection.execute(
        text(
            "SELECT currency, account, party_id, cohort_id, CAST(sum(amount_micro) AS bigint) AS amount_micro, "
            "       CAST(sum(points) AS bigint) AS points "
            "FROM settlement.money_posting JOIN settlement.booking USING (booking_id) "
            "WHERE (CAST(:at AS timestamptz) IS NULL OR at <= :at) "
            "  AND (CAST(:through_booking AS bigint) IS NULL OR booking_id <= :through_booking) "
            "  AND (CAST(:account AS text) IS NULL OR account = :account) "
            "GROUP BY currency, account, party_id, cohort_id "
            "HAVING sum(amount_micro) <> 0 ORDER BY currency, account, party_id, cohort_id"
        ),
        {"at": at, "through_booking": through_booking, "account": account},
    )
    return found.all()


async def booked_cutoff_ids(connection: AsyncConnection) -> set[int]:
    """Numbers of the cut-offs that are booked."""
    found = await connection.execute(
        text("SELECT cutoff_id FROM settlement.booking WHERE source = 'cutoff:' || cutoff_id")
    )
    return set(found.scalars())


# --- Periods ----------------------------------------------------------------------------------------------------


async def locked_through(connection: AsyncConnection) -> datetime | None:
    """Until when periods are closed; None where none is."""
    found = await connection.execute(text("SELECT max(through) AS through FROM settlement.period_lock"))
    return cast("datetime | None", found.scalar_one())


async def insert_period_lock(connection: AsyncConnection, *, through: datetime, approval_id: int, at: datetime) -> None:
    """Close everything up to an instant."""
    await connection.execute(
        text(
            "INSERT INTO settlement.period_lock (through, approval_id, last_booking_id, at) "
            "SELECT :through, :approval_id, coalesce(max(booking_id), 0), :at FROM settlement.booking"
        ),
        {"through": through, "approval_id": approval_id, "at": at},
    )


async def unbooked_cutoff_ids(connection: AsyncConnection, through: datetime) -> list[int]:
    """Cut-offs that began before an instant, have something in them up to it, and are not booked."""
    found = await connection.execute(
        text(
            "SELECT cutoff_id FROM ledger.cutoff c WHERE NOT EXISTS ( "
            "  SELECT FROM settlement.booking b WHERE b.source = 'cutoff:' || c.cutoff_id) "
            "AND (c.cut_at <= :through OR c.state <> 'CUT' AND c.opened_at < :through) ORDER BY cutoff_id"
        ),
        {"through": through},
    )
    return list(found.scalars())


# --- Exchange ---------------------------------------------------------------------------------------------------


async def insert_fixing(connection: AsyncConnection, fixing: Fixing, *, actor: str, at: datetime) -> Decimal:
    """A day's rate where there is none yet; returns the one that holds."""
    await connection.execute(
        text(
            "INSERT INTO settlement.fixing (day, currency, base_currency, rate, source, actor, at) "
            "VALUES (:day, :currency, :base_currency, :rate, :source, :actor, :at) ON CONFLICT DO NOTHING"
        ),
        {
            "day": fixing.day,
            "currency": fixing.currency,
            "base_currency": fixing.base_currency,
            "rate": fixing.rate,
            "source": fixing.source,
            "actor": actor,
            "at": at,
        },
    )
    held = await connection.execute(
        text(
            "SELECT rate FROM settlement.fixing "
            "WHERE day = :day AND currency = :currency AND base_currency = :base_currency"
        ),
        {"day": fixing.day, "currency": fixing.currency, "base_currency": fixing.base_currency},
    )
    return cast("Decimal", held.scalar_one())


async def fixings(connection: AsyncConnection, day: date, base_currency: str) -> Sequence[Row[Any]]:
    """A day's rates against the base currency."""
    found = await connection.execute(
        text(
            "SELECT day, currency, base_currency, rate, source FROM settlement.fixing "
            "WHERE day = :day AND base_currency = :base_currency"
        ),
        {"day": day, "base_currency": base_currency},
    )
    return found.all()


async def last_booking_id(connection: AsyncConnection) -> int:
    """Number of the latest booking; 0 where there is none."""
    found = await connection.execute(text("SELECT coalesce(max(booking_id), 0) FROM settlement.booking"))
    return int(found.scalar_one())
