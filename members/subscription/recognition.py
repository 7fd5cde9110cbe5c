"""Fees as they come, are served, and go back, day by day: what finance reads of a currency as it stood at a day's end.
Only what was told by then counts, so that what was deferred is never below zero.

What settlement recognises is the same, month by month: a month that is closed keeps what it recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import pairwise

from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription import recognition_store


@dataclass(frozen=True, slots=True)
class Standing:
    """All of a currency by the beginning of a day, minor units: money that came for fees (net and the tax in it) and
    what charging it cost, what was credited of it, what a bank took back for days that were served, what went back,
    what nobody owed, and what was recognised of days before this one."""

    day: date
    net_minor: int = 0
    tax_minor: int = 0
    charging_minor: int = 0
    surplus_minor: int = 0
    credited_minor: int = 0
    credited_tax_minor: int = 0
    lost_minor: int = 0
    refunded_minor: int = 0
    recognised_minor: int = 0

    @property
    def deferred_minor(self) -> int:
        """What is paid and neither served nor credited."""
        return self.net_minor - self.credited_minor - self.recognised_minor


@dataclass(frozen=True, slots=True)
class Stretch:
    """What days [since, until) brought, and what is deferred at their end; amounts as in Standing."""

    since: date
    until: date
    brought: Standing
    deferred_minor: int


async def standings(connection: AsyncConnection, currency: str, days: Sequence[date], *, zone: str) -> list[Standing]:
    """How fees in a currency stood at the beginning of each of some days of a zone, in their order. Invoices of a test
    are none."""
    rows = await recognition_store.standings(connection, currency, days, zone)
    return [Standing(**row._mapping) for row in rows]


async def stretches(connection: AsyncConnection, currency: str, bounds: Sequence[date], *, zone: str) -> list[Stretch]:
    """What the days between each two neighbours of some bounds brought, in their order."""
    held = await standings(connection, currency, bounds, zone=zone)
    return [
        Stretch(before.day, after.day, _less(after, before), after.deferred_minor) for before, after in pairwise(held)
    ]


async def currencies(connection: AsyncConnection) -> list[str]:
    """The currencies in which anything was ever invoiced."""
    return await recognition_store.currencies(connection)


async def first_day(connection: AsyncConnection, currency: str, *, zone: str) -> date | None:
    """The day on which money first came in a currency; None where none did."""
    return await recognition_store.first_day(connection, currency, zone)


def _less(after: Standing, before: Standing) -> Standing:
    amounts = [each.name for each in fields(Standing) if each.name != "day"]
    return Standing(before.day, **{name: getattr(after, name) - getattr(before, name) for name in amounts})
