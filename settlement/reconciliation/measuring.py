"""How well reconciliation does: how much is matched and by which rule, how long what differs stays open, what of it is
explained. Figures are read, never stored: they say what the register says.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.agreements import programme
from settlement.reconciliation import break_store, breaks, file_store, register

EXPLAINED_DAYS = 5
"""What is explained within so many business days counts as explained in time."""
_AT_ONCE = 1_000
_BY_PEOPLE = ("MANUAL",)


@dataclass(frozen=True, slots=True)
class Matched:
    """Lines that a rule of a version matched: of files (leg FILE) or payments of the bank (leg BANK)."""

    leg: str
    rule: str
    version: int
    count: int


@dataclass(slots=True)
class Kept:
    """Breaks of a leg, category and currency: how many were found and are open, what the open ones are about without
    their signs (micro-units), how old the oldest is, and how long those that are resolved took; business days."""

    found: int = 0
    unresolved: int = 0
    found_micro: int = 0
    open_micro: int = 0
    oldest_days: int = 0
    resolved: int = 0
    resolved_days: int = 0
    in_time_micro: int = 0
    written_off_micro: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything at an instant. compared: records that were compared, told: payments that the bank told of."""

    compared: int
    told: int
    rules: tuple[Matched, ...]
    categories: dict[tuple[str, str, str | None], Kept] = field(default_factory=dict)

    def straight_through(self, leg: str) -> int:
        """Lines of a leg that a rule matched without a person."""
        return sum(one.count for one in self.rules if one.leg == leg and one.rule not in _BY_PEOPLE)


async def figures(connection: AsyncConnection, *, partner_id: int | None = None, at: datetime) -> Figures:
    """The figures of a partner, or of all, at an instant. Memory holds a thousand breaks, whatever there are."""
    zone = (await programme.read(connection)).time_zone
    on, closed = breaks.local_day(at, zone), await register.holidays(connection)
    rules = [Matched(r.leg, r.rule, r.version, r.lines) for r in await file_store.rules_used(connection, partner_id)]
    totals = await file_store.compared(connection, partner_id)
    kept: dict[tuple[str, str, str | None], Kept] = defaultdict(Kept)

    def days(since: datetime, until: date) -> int:
        return breaks.business_days_open(breaks.local_day(since, zone), until, is_holiday=closed.__contains__)

    after = 0
    while rows := await break_store.measured(connection, partner_id=partner_id, after=after, limit=_AT_ONCE):
        for row in rows:
            one = kept[row.leg, row.category, row.currency]
            value = abs(row.value_micro)
            one.found, one.found_micro = one.found + 1, one.found_micro + value
            if row.explained_at is not None:
                explained = days(row.seen_at, breaks.local_day(row.explained_at, zone))
                one.in_time_micro += value if explained <= EXPLAINED_DAYS else 0
            if row.resolved_at is None:
                one.unresolved, one.open_micro = one.unresolved + 1, one.open_micro + value
                one.oldest_days = max(one.oldest_days, days(row.seen_at, on))
            else:
                one.resolved += 1
                one.resolved_days += days(row.seen_at, breaks.local_day(row.resolved_at, zone))
            one.written_off_micro += row.written_off_micro
        after = rows[-1].break_id
    return Figures(totals.records, totals.payments, tuple(rules), dict(sorted(kept.items(), key=str)))
