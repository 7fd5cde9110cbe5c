"""Statements on facts about members. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import orjson
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.engine import Row, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from partners.terms import Programme

if TYPE_CHECKING:
    from partners.mechanics.facts import Asked


class Found(Struct, frozen=True):
    """A row of partners.member_facts."""

    tier: str
    enrolled_at: datetime
    enrolled_by: int
    household_id: int | None
    segments: tuple[str, ...]
    attributes: tuple[str, ...]
    badges: tuple[str, ...]
    sealed_key: bytes | None
    sealed: bytes | None
    counters: dict[str, int]
    stamps: dict[str, int]
    available: int
    spend_locked: bool
    seq: int
    plan: str
    benefits: tuple[str, ...]


def typed(row: RowMapping | Mapping[str, Any]) -> Found:
    """A row by its names, of either way into the database."""
    return Found(
        tier=row["tier"], enrolled_at=row["enrolled_at"], enrolled_by=row["enrolled_by"],
        household_id=row["household_id"], segments=tuple(row["segments"]), attributes=tuple(row["attributes"]),
        badges=tuple(row["badges"]), sealed_key=row["sealed_key"], sealed=row["sealed"],
        counters=numbers(row["counters"]), stamps=numbers(row["stamps"]), available=row["available"],
        spend_locked=row["spend_locked"], seq=row["seq"], plan=row["plan"], benefits=tuple(row["benefits"]),
    )  # fmt: skip


async def facts(
    connection: AsyncConnection, asked: Asked, day: date, programme: Programme, at: datetime
) -> RowMapping | None:
    """The facts of one member."""
    found = await connection.execute(
        text("""
            SELECT * FROM partners.member_facts(ARRAY[CAST(:member_id AS bigint)], ARRAY[CAST(:partner_id AS int)],
                                                ARRAY[CAST(:day AS date)], :zone, :currency, :at)
        """),
        {
            "member_id": asked.member_id,
            "partner_id": asked.partner_id,
            "day": day,
            "zone": programme.time_zone,
            "currency": programme.base_currency,
            "at": at,
        },
    )
    return found.mappings().one_or_none()


async def facts_of_many(
    pool: asyncpg.Pool, asked: Sequence[Asked], days: Sequence[date], programme: Programme, at: datetime
) -> list[asyncpg.Record]:
    """The facts of many members; ord is each one's place, counted from 1."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT * FROM partners.member_facts($1, $2, $3, $4, $5, $6)",
        [one.member_id for one in asked],
        [one.partner_id for one in asked],
        list(days),
        programme.time_zone,
        programme.base_currency,
        at,
    )
    return found


# What is read of a member where rules ask for it, by the names of Member's fields: the columns, and where they are
# found. $3 is the instant.
_PARTS: Mapping[str, tuple[str, str]] = {
    "plan": ("e.plan, e.benefits", "members.plan_of(t.holder_id, $3) e"),
    "segments": ("s.segments", "members.segments_of(t.holder_id, $3) s"),
    "attributes": ("a.attributes", "members.attributes_of(t.holder_id, $3) a"),
    "badges": ("d.badges", "members.badges_of(t.holder_id, $3) d"),
    "in_household": ("h.household_id", "members.household_of(t.holder_id, $3) h"),
    "enrolment": ("n.enrolled_at, n.enrolled_by", "members.enrolment_of(t.holder_id) n"),
    "days_to_birthday": ("k.sealed_key, k.sealed", "members.birth_of(t.holder_id) k"),
    "stamps": ("p.stamps", "partners.stamps_of(t.holder_id, $3) p"),
}
_PART_OF: Mapping[str, str] = {"benefits": "plan", "age_days": "enrolment", "enrolled_here": "enrolment"}
_FIRST_PERIOD = 6  # the parameter with the first period's names
FIRST_COUNTER = 4  # the column of the first counter
_PERIODS = ("year", "month", "day")
_LAST = (
    "9223372036854775807::bigint"  # entries that one statement sees are those up to the account's number that it sees
)


FEW = "LIMIT cardinality({items})"
"""Behind what items are unnested from. Of a limit that it does not know the planner thinks little, so the plan that it
makes for any number of items is never dearer than the one for these, and is kept. Without it each call was planned
anew, for five times what running it takes."""

BudgetAsked = tuple[int | None, str, str]
"""A budget's number (None: none), and the scope and the period of one of its counters; see WHOSE and WHICH_CARD."""

NO_BUDGET: BudgetAsked = (None, "", "")
WHOSE, WHICH_CARD = "\x01", "\x02"
"""What stands in a scope for the number of the member or the card, where they are read in the same statement."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A statement that reads some facts of many members; periods are those of the calendar whose bounds it takes."""

    sql: str
    periods: tuple[str, ...]


_RECOGNISED = "t.card_id, t.card_status, t.member_status, t.tier, t.language, t.issued_to"


@lru_cache(maxsize=1024)
def reading(
    fields: frozenset[str],
    counters: tuple[str, ...],
    budgets: int = 0,
    *,
    of_cards: bool = False,
    marks: str = WHOSE + WHICH_CARD,
    rolling: bool = True,
) -> Reading:
    """The statement that reads fields of Member, counters by name in the order given as c0, c1 and so on, and what is
    left of so many budgets each as l0, l1 and so on (null of a budget without a number).

    The items are FEW. of_cards reads of whomever cards stand for, and who that is: a card that there is has a row,
    whatever is known of its member. marks are those that scopes may hold then; where it is not rolling no budget is one
    over days in a row. What is begun for every call, though no item needs it, costs more than what they need.
    """
    parts = sorted({_PART_OF.get(name, name) for name in fields} & _PARTS.keys())
    columns = ["t.ord, b.seq, b.available, b.spend_locked"]
    joins_counters = len(counters) > 1  # one alone is a column, which costs less than a join
    columns += [f"c.c{number}" for number in range(len(counters))] if joins_counters else []
    columns += [f"({_counted(counters)}) AS c0"] if len(counters) == 1 else []
    columns += [_left(number, marks if of_cards else "", rolling=rolling) for number in range(budgets)]
    columns += [f"t.holder_id AS member_id, {_RECOGNISED}"] if of_cards else []
    columns += [_PARTS[name][0] for name in parts]
    joined, there = ("LEFT JOIN LATERAL", " ON true") if of_cards else ("CROSS JOIN LATERAL", "")
    sources = [f"{joined} {_PARTS[name][1]}{there}" for name in parts]
    periods = tuple(one for one in _PERIODS if any(f".{one}." in name for name in counters))
    if joins_counters:
        sources.append(f"CROSS JOIN LATERAL ({_counted(counters)}) c")
    given = {"lookup": "$1::uuid[]"} if of_cards else {"holder_id": "$1::text::bigint[]"}
    if any(name.startswith("partner.") for name in counters):
        given["partner_id"] = "$2::text::int[]"
    number = _FIRST_PERIOD
    for one in periods:
        given |= {f"{one}_name": f"${number}::text::text[]", f"{one}_days": f"${number + 1}::text::daterange[]"}
        number += 2
    for place in range(budgets):
        given[f"budget{place}"] = f"${number}::text::int[]"
        given |= {f"scope{place}": f"${number + 1}::text[]", f"period{place}": f"${number + 2}::text[]"}
        number += 3
    unused = [] if counters else ["$4::text", "$5::text"]
    unused += [] if any("$3" in one for one in sources) else ["$3::timestamptz"]
    few = "$2::text::int[]"
    few = f"CASE WHEN ({', '.join(unused)}) IS NOT NULL THEN {few} END" if unused else few
    given["ord"] = f"${number}::text::int[]"
    # In the list of columns unnest gives row by row, in FROM it would fill a store per array before the first row.
    columns_of_items = [f"unnest({column}) AS {name}" for name, column in given.items()]
    items = f"(SELECT {', '.join(columns_of_items)} {FEW.format(items=few)}) AS t"
    if of_cards:
        items = (
            "(SELECT t.*, q.member_id AS holder_id, q.card_id, q.card_status, q.member_status, q.tier, q.language, "
            f"q.issued_to FROM {items} CROSS JOIN LATERAL members.recognised(t.lookup) q) t"
        )
    return Reading(
        f"SELECT {', '.join(columns)} FROM {items} "
        f"{joined} (SELECT a.seq, a.available, a.spend_locked FROM ledger.account a "  # LIMIT: one by one
        f"WHERE a.holder_id = t.holder_id AND a.unit = 1 LIMIT 1) b{there} {' '.join(sources)}",
        periods,
    )


def _left(number: int, marks: str, *, rolling: bool) -> str:
    """What is left of the budget of that place. Its counter is in a subquery: joined, the planner would look for it
    among all counters of the budget, which are as many as there are members."""
    budget, scope, period = f"t.budget{number}", f"t.scope{number}", f"t.period{number}"
    for mark, own in ((WHOSE, "t.holder_id"), (WHICH_CARD, "t.card_id")):
        scope = f"replace({scope}, chr({ord(mark)}), {own}::text)" if mark in marks else scope
    used = (
        f"(SELECT k.used FROM partners.budget_counter k WHERE k.budget_id = {budget} AND k.scope = {scope}"
        f" AND k.period = {period})"
    )
    if rolling:
        window = f"partners.used_in_window({budget}, {scope}, {period})"
        used = f"CASE WHEN {period} LIKE '%/%' THEN {window} ELSE {used} END"
    return (
        f"CASE WHEN {budget} IS NOT NULL THEN greatest("
        f"coalesce((SELECT o.ceiling FROM partners.budget o WHERE o.budget_id = {budget}), 0)"
        f" - coalesce({used}, 0), 0) END AS l{number}"
    )


def _counted(counters: Sequence[str]) -> str:
    """What was bought before, of a member `t` with whoever was merged into it: a column per counter. What was added up
    is a row by its whole key, to which come the receipts behind it, where the account `b` has moved since; few are
    merged, and one look says who is not."""
    columns = []
    for number, name in enumerate(counters):
        place, period, what = name.split(".")
        kept, value = ("purchases", "purchases") if what == "count" else ("amount_minor", "amount")
        partner = "0" if place == "coalition" else "t.partner_id"
        named, days = ("'ever'", "NULL") if period == "ever" else (f"t.{period}_name", f"t.{period}_days")
        which = [] if place == "coalition" else ["r.partner_id = t.partner_id"]
        which += [] if period == "ever" else [f"{days} @> r.day"]
        only = f" FILTER (WHERE {' AND '.join(which)})" if which else ""
        columns.append(
            f"coalesce(sum(r.{value}){only}, 0)::bigint"
            f" + coalesce((SELECT a.{kept} FROM members.activity a WHERE a.member_id = t.holder_id"
            f" AND a.period = {named} AND a.partner_id = {partner}), 0)"
            " + CASE WHEN EXISTS (SELECT FROM members.succession s WHERE s.survivor_id = t.holder_id)"
            f" THEN (partners.bought_by_merged(t.holder_id, {partner}, {named}, {days}, $4, $5)).{value} ELSE 0 END"
            f" AS c{number}"
        )
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT coalesce("
        "(SELECT f.seq FROM members.activity_position f WHERE f.member_id = t.holder_id), 0) AS seq) added "
        f"CROSS JOIN LATERAL partners.bought(t.holder_id, 1::smallint, added.seq, {_LAST}, $4, $5) r "
        "WHERE added.seq < b.seq"
    )


async def some_facts_of_many(
    pool: asyncpg.Pool,
    asked: Sequence[Asked],
    days: Sequence[date],
    programme: Programme,
    at: datetime,
    fields: frozenset[str],
    counters: tuple[str, ...],
    budgets: Sequence[Sequence[BudgetAsked]] = (),
    cards: Sequence[UUID] | None = None,
) -> list[asyncpg.Record]:
    """Some facts of many members, as `reading` names them; ord is each one's place, counted from 1. budgets are those
    of each; cards are whose facts are wanted where members are not known by number."""
    most = max(map(len, budgets)) if budgets else 0
    keys = [one for each in budgets for one in each]
    marks = "".join([mark for mark in (WHOSE, WHICH_CARD) if any(mark in scope for _, scope, _ in keys)])
    rolling = any("/" in period for _, _, period in keys)
    read = reading(fields, counters, most, of_cards=cards is not None, marks=marks, rolling=rolling)
    bounds = [_bounds(day) for day in days] if read.periods else ()
    of_each = [[each[place] if place < len(each) else NO_BUDGET for each in budgets] for place in range(most)]
    found: list[asyncpg.Record] = await pool.fetch(
        read.sql,
        "{" + ",".join([str(one.member_id) for one in asked]) + "}" if cards is None else cards,
        "{" + ",".join([str(one.partner_id) for one in asked]) + "}",
        at,
        programme.time_zone,
        programme.base_currency,
        *[
            "{" + ",".join([of_day[one][place] for of_day in bounds]) + "}"
            for one in read.periods for place in range(2)
        ],
        *[column for wanted in of_each for column in (
            "{" + ",".join(["NULL" if one[0] is None else str(one[0]) for one in wanted]) + "}",
            [one[1] for one in wanted], [one[2] for one in wanted],
        )],
        _first(len(asked)),
    )  # fmt: skip
    return found


@lru_cache(maxsize=512)
def _first(count: int) -> str:
    """The first so many numbers from 1."""
    return "{" + ",".join([str(number) for number in range(1, count + 1)]) + "}"


@lru_cache(maxsize=512)
def _bounds(day: date) -> dict[str, tuple[str, str]]:
    """Of each period that a day is in its name, and its days as PostgreSQL writes a range in an array."""
    month, year = day.replace(day=1), day.replace(month=1, day=1)
    after_month, after_year = (month + timedelta(days=31)).replace(day=1), year.replace(year=year.year + 1)
    return {
        "day": (day.isoformat(), f'"[{day},{day + timedelta(days=1)})"'),
        "month": (day.isoformat()[:7], f'"[{month},{after_month})"'),
        "year": (day.isoformat()[:4], f'"[{year},{after_year})"'),
    }


def numbers(value: Any) -> dict[str, int]:
    """A JSON object of numbers, as either driver gives it."""
    read: dict[str, int] = orjson.loads(value) if isinstance(value, str | bytes) else value
    return dict(read)


async def fold(
    connection: AsyncConnection, after: int, limit: int, programme: Programme, only: Sequence[int] | None
) -> Row[Any]:
    """Add up what the next members bought: looked, folded, next_after."""
    found = await connection.execute(
        text(
            "SELECT looked, folded, next_after FROM partners.fold_activity(:after, :limit, :zone, :currency, "
            "CAST(:only AS bigint[]))"
        ),
        {
            "after": after,
            "limit": limit,
            "zone": programme.time_zone,
            "currency": programme.base_currency,
            "only": None if only is None else list(only),
        },
    )
    return found.one()


async def audit(connection: AsyncConnection, programme: Programme) -> Sequence[Row[Any]]:
    """What is wrong with mechanics: rule, holder_id, detail."""
    found = await connection.execute(
        text("SELECT rule, holder_id, detail FROM partners.audit_mechanics(:zone, :currency)"),
        {"zone": programme.time_zone, "currency": programme.base_currency},
    )
    return found.all()
