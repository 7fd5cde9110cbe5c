"""Statements on facts about members. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
from sqlalchemy import text
from sqlalchemy.engine import Row, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.values import quick
from partners.terms import Programme

if TYPE_CHECKING:
    from partners.mechanics.facts import Asked


@quick
@dataclass(frozen=True, slots=True)
class Found:
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
        counters=_numbers(row["counters"]), stamps=_numbers(row["stamps"]), available=row["available"],
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


def _numbers(value: Any) -> dict[str, int]:
    read: dict[str, int] = orjson.loads(value) if isinstance(value, str | bytes) else value
    return dict(read)


async def audit(connection: AsyncConnection, programme: Programme) -> Sequence[Row[Any]]:
    """What is wrong with mechanics: rule, holder_id, detail."""
    found = await connection.execute(
        text("SELECT rule, holder_id, detail FROM partners.audit_mechanics(:zone, :currency)"),
        {"zone": programme.time_zone, "currency": programme.base_currency},
    )
    return found.all()
