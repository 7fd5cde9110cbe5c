"""Foreign exchange in the books: fixings, and the sweep that leaves exchange clearing at zero."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.errors import Rejection
from settlement.money import accounts, conversion, journal, store
from settlement.money.conversion import Fixing
from settlement.money.journal import Booking


class FixingInvalid(Rejection):
    """A rate above zero with at most ten decimals, between two currencies, from a source that is named."""

    code = "FIXING_INVALID"
    retryable = False


class FixingExists(Rejection):
    """The day's rate of the currency is fixed already, and otherwise."""

    code = "FIXING_EXISTS"
    retryable = False


class FixingMissing(Rejection):
    """There is no fixing for the day and a currency that has something to be converted."""

    code = "FIXING_MISSING"
    retryable = True


async def fix(connection: AsyncConnection, fixing: Fixing, *, actor: str, at: datetime) -> None:
    """Record a day's rate, once, on behalf of a FINANCE_MAKER; the same again changes nothing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, FIXING_INVALID, FIXING_EXISTS.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    try:
        conversion.convert(1, fixing.rate)
    except (ValueError, ArithmeticError) as wrong:
        raise FixingInvalid(str(wrong)) from wrong
    if fixing.currency == fixing.base_currency or not fixing.source.strip():
        raise FixingInvalid("two currencies, and a source")
    held = await store.insert_fixing(connection, fixing, actor=actor, at=at)
    if held != fixing.rate:
        raise FixingExists(f"{fixing.currency} is fixed at {held} on {fixing.day}")


async def sweep(
    connection: AsyncConnection, *, day: date, base_currency: str, actor: str, at: datetime
) -> Booking | None:
    """Bring exchange clearing to zero at a day's fixings, on behalf of a FINANCE_MAKER; None where it is.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, FIXING_MISSING, PERIOD_LOCKED.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    await store.lock_books(connection)
    sums: dict[str, int] = defaultdict(int)
    for one in await journal.balances(connection, accounts.FX_CLEARING):
        sums[one.currency] += one.amount_micro
    fixings = {row.currency: Fixing(**row._mapping) for row in await store.fixings(connection, day, base_currency)}
    try:
        found = conversion.sweep(sums, fixings, base_currency)
    except conversion.Unfixed as missing:
        raise FixingMissing(f"{missing} on {day}") from missing
    if not found:
        return None
    source = f"fx:{day.isoformat()}/{await store.last_booking_id(connection)}"
    return await journal.post(connection, source=source, entries=found, at=at, actor=actor)


def rate_of(written: str) -> Decimal:
    """A rate as somebody writes it. Rejects FIXING_INVALID."""
    try:
        return Decimal(written)
    except ArithmeticError as wrong:
        raise FixingInvalid(f"'{written}' is no rate") from wrong
