"""Facts: what a decision may look at of a member, gathered in one read.

`member_facts` gives what `promotions.basket.Member` holds and the scopes that budgets count in. Nothing personal comes
out: of a birthday only how far away it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.instants import same_for_a_minute
from kit.secrets import Vault
from members import birthdays
from partners.mechanics import fact_store
from partners.mechanics.fact_store import BudgetAsked
from partners.promotions.basket import Member, days_to_birthday, zone_of
from partners.terms import Programme

FOLD = 2_000
"""How many members are added up in one call."""


class Asked(Struct, frozen=True):
    """Whom facts are wanted of, at which partner, and when the basket was bought (UTC)."""

    member_id: int
    partner_id: int
    occurred_at: datetime


class Facts(Struct, frozen=True):
    """A member as a decision sees them. scopes are those of Context.scopes that follow from who it is; seq is the
    account's number that the counters are as of, for a write that must not have missed a purchase; available are points
    of the last entry, in which what became due since is not counted."""

    member: Member
    scopes: Mapping[str, str]
    available: int
    spend_locked: bool
    seq: int


@dataclass(frozen=True, slots=True)
class Folded:
    """What one call of `fold` did: members looked at, those of whom something was added, and where to go on (None: at
    the end)."""

    members: int
    changes: int
    next_after: int | None


async def member_facts(
    connection: AsyncConnection,
    vault: Vault,
    programme: Programme,
    member_id: int,
    partner_id: int,
    *,
    occurred_at: datetime,
    at: datetime,
    wants_birthday: bool = True,
) -> Facts | None:
    """The facts of a member at a partner for a basket bought at occurred_at, as known at an instant; None where there
    is no such member. Counters are of the programme's calendar at occurred_at and without the basket."""
    asked = Asked(member_id, partner_id, occurred_at)
    row = await fact_store.facts(connection, asked, _day(asked, programme), programme, at)
    return _facts(row, asked, vault, programme, wants_birthday=wants_birthday) if row else None


async def member_facts_of_many(
    pool: asyncpg.Pool,
    vault: Vault,
    programme: Programme,
    asked: Sequence[Asked],
    *,
    at: datetime,
    wants_birthday: bool = True,
) -> list[Facts | None]:
    """As `member_facts`, of many in one call on the raw pool, in order."""
    days = [_day(one, programme) for one in asked]
    rows = {row["ord"]: row for row in await fact_store.facts_of_many(pool, asked, days, programme, at)}
    return [
        _facts(rows[index], one, vault, programme, wants_birthday=wants_birthday) if index in rows else None
        for index, one in enumerate(asked, 1)
    ]


async def some_facts_of_many(
    pool: asyncpg.Pool,
    vault: Vault,
    programme: Programme,
    asked: Sequence[Asked],
    *,
    fields: frozenset[str],
    counters: frozenset[str] = frozenset(),
    at: datetime,
) -> list[Facts | None]:
    """As `member_facts_of_many`, but of `Member` these fields alone, and these counters by name, none left out; the
    rest is as if nothing were known. For decisions, whose rules say what they look at."""
    told = await facts_and_budgets(pool, vault, programme, asked, fields=fields, counters=counters, at=at)
    return [known for known, _ in told]


async def facts_and_budgets(
    pool: asyncpg.Pool,
    vault: Vault,
    programme: Programme,
    asked: Sequence[Asked],
    *,
    fields: frozenset[str],
    counters: frozenset[str] = frozenset(),
    budgets: Sequence[Sequence[BudgetAsked]] = (),
    at: datetime,
) -> list[tuple[Facts | None, list[int]]]:
    """As `some_facts_of_many`, and what is left of the budgets of each, in their order: one statement. Where there is
    no such member that is nothing."""
    names = tuple(sorted(counters))
    days = [_day(one, programme) for one in asked]
    found = await fact_store.some_facts_of_many(pool, asked, days, programme, at, fields, names, budgets)
    rows = {row["ord"]: row for row in found}
    told: list[tuple[Facts | None, list[int]]] = []
    for index, one in enumerate(asked, 1):
        row = rows.get(index)
        known = None if row is None else _some_facts(row, one, vault, programme, fields, names)
        told.append((known, _left(row, names, budgets[index - 1] if budgets else ())))
    return told


async def facts_of_cards(
    pool: asyncpg.Pool,
    vault: Vault,
    programme: Programme,
    cards: Sequence[UUID],
    asked: Sequence[Asked],
    *,
    fields: frozenset[str],
    counters: frozenset[str] = frozenset(),
    budgets: Sequence[Sequence[BudgetAsked]] = (),
    at: datetime,
) -> list[tuple[asyncpg.Record | None, Facts | None, list[int]]]:
    """Whom cards stand for, by the keyed hashes of their numbers, and as `facts_and_budgets` what is known of them: one
    statement. Each answer begins with a row of `members.recognised` (None: no such card); asked need not tell the
    member."""
    names = tuple(sorted(counters))
    days = [_day(one, programme) for one in asked]
    found = await fact_store.some_facts_of_many(pool, asked, days, programme, at, fields, names, budgets, cards)
    rows = {row["ord"]: row for row in found}
    told: list[tuple[asyncpg.Record | None, Facts | None, list[int]]] = []
    for index, one in enumerate(asked, 1):
        row, known = rows.get(index), None
        if row is not None and row["seq"] is not None:
            here = Asked(row["member_id"], one.partner_id, one.occurred_at)
            known = _some_facts(row, here, vault, programme, fields, names)
        told.append((row, known, _left(row, names, budgets[index - 1] if budgets else ())))
    return told


def _left(row: asyncpg.Record | None, counters: Sequence[str], budgets: Sequence[BudgetAsked]) -> list[int]:
    if row is None or not budgets:
        return []
    first = fact_store.FIRST_COUNTER + len(counters)
    if len(budgets) == 1:
        return [row[first] or 0]
    return [row[first + place] or 0 for place in range(len(budgets))]


async def fold(
    connection: AsyncConnection,
    programme: Programme,
    *,
    after: int = 0,
    limit: int = FOLD,
    only: Sequence[int] | None = None,
) -> Folded:
    """Add up what up to `limit` members bought, in order of their numbers beyond `after` and of those in `only` where
    it is given, so that a decision need not read all their receipts. Changes no answer. Each call is one transaction's
    work: go on with `next_after`."""
    row = await fact_store.fold(connection, after, limit, programme, only)
    return Folded(row.looked, row.folded, row.next_after)


async def audit(connection: AsyncConnection, programme: Programme) -> list[str]:
    """What is wrong with coupons, rewards and with what was added up, a sentence each; must be nothing."""
    return [f"{row.rule}: {row.detail}" for row in await fact_store.audit(connection, programme)]


def _day(asked: Asked, programme: Programme) -> date:
    return _date_in(asked.occurred_at, programme.time_zone)


@same_for_a_minute
def _date_in(minute: datetime, zone: str) -> date:
    return minute.astimezone(zone_of(zone)).date()


def _facts(
    row: RowMapping | Mapping[str, object], asked: Asked, vault: Vault, programme: Programme, *, wants_birthday: bool
) -> Facts:
    found = fact_store.typed(row)
    scopes = {"member": str(asked.member_id)}
    if found.household_id is not None:
        scopes["household"] = str(found.household_id)
    away = _days_to_birthday(found.sealed_key, found.sealed, asked, vault, programme) if wants_birthday else None
    member = Member(
        tier=found.tier,
        plan=found.plan,
        benefits=found.benefits,
        segments=found.segments,
        attributes=found.attributes,
        badges=found.badges,
        age_days=max((asked.occurred_at - found.enrolled_at).days, 0),
        enrolled_here=found.enrolled_by == asked.partner_id,
        days_to_birthday=away,
        counters=found.counters,
        stamps=found.stamps,
        in_household=found.household_id is not None,
    )
    return Facts(member, scopes, found.available, found.spend_locked, found.seq)


def _days_to_birthday(
    sealed_key: bytes | None, sealed: bytes | None, asked: Asked, vault: Vault, programme: Programme
) -> int | None:
    if sealed_key is None or sealed is None:
        return None
    born = birthdays.month_and_day(vault, asked.member_id, sealed_key, sealed)
    return None if born is None else days_to_birthday(born.day, born.month, _day(asked, programme))


_READ: Mapping[str, Callable[[asyncpg.Record, Asked], object]] = {
    "plan": lambda row, asked: row["plan"],
    "benefits": lambda row, asked: tuple(row["benefits"]),
    "segments": lambda row, asked: tuple(row["segments"]),
    "attributes": lambda row, asked: tuple(row["attributes"]),
    "badges": lambda row, asked: tuple(row["badges"]),
    "age_days": lambda row, asked: max((asked.occurred_at - row["enrolled_at"]).days, 0),
    "enrolled_here": lambda row, asked: row["enrolled_by"] == asked.partner_id,
    "in_household": lambda row, asked: row["household_id"] is not None,
    "stamps": lambda row, asked: fact_store.numbers(row["stamps"]),
}


@lru_cache(maxsize=1024)
def _readers_of(fields: frozenset[str]) -> Sequence[tuple[str, Callable[[asyncpg.Record, Asked], object]]]:
    return [(name, read) for name, read in _READ.items() if name in fields]


def _some_facts(
    row: asyncpg.Record,
    asked: Asked,
    vault: Vault,
    programme: Programme,
    fields: frozenset[str],
    counters: Sequence[str],
) -> Facts:
    readers = _readers_of(fields)
    known: dict[str, Any] = {name: read(row, asked) for name, read in readers} if readers else {}
    if counters:
        known["counters"] = {name: row[fact_store.FIRST_COUNTER + place] for place, name in enumerate(counters)}
    if "days_to_birthday" in fields:
        known["days_to_birthday"] = _days_to_birthday(row["sealed_key"], row["sealed"], asked, vault, programme)
    scopes = {"member": str(asked.member_id)}
    if "in_household" in fields and row["household_id"] is not None:
        scopes["household"] = str(row["household_id"])
    return Facts(Member(**known), scopes, row["available"], row["spend_locked"], row["seq"])
