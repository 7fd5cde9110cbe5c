"""Statements on grants. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from partners.promotions.basket import Grant

if TYPE_CHECKING:
    from partners.mechanics.grants import Source


async def define_stamps(connection: AsyncConnection, code: str, description: str) -> int:
    """The unit of stamps, made where there is none."""
    done = await connection.execute(
        text("""
            WITH made AS (
              INSERT INTO partners.stamp_unit (code, unit)
              SELECT :code, ledger.define_unit('STAMP:' || :code, :description)
              ON CONFLICT (code) DO NOTHING RETURNING unit
            )
            SELECT unit FROM made UNION ALL SELECT unit FROM partners.stamp_unit WHERE code = :code LIMIT 1
        """),
        {"code": code, "description": description},
    )
    return int(done.scalar_one())


async def stamp_codes(connection: AsyncConnection) -> set[str]:
    """The codes of all stamps."""
    return set((await connection.execute(text("SELECT code FROM partners.stamp_unit"))).scalars())


async def lock(connection: AsyncConnection, holder_id: int) -> None:
    """Lock the account in points, which comes before every other unit of a holder."""
    await connection.execute(
        text("SELECT ledger.lock_accounts(ARRAY[CAST(:holder_id AS bigint)], 1::smallint)"), {"holder_id": holder_id}
    )


async def give(
    connection: AsyncConnection, source: Source, grants: Sequence[Grant], lookups: Sequence[UUID], tails: Sequence[str]
) -> None:
    """Give what was decided."""
    await connection.execute(
        text("""
            SELECT partners.give_grants(:holder_id, :partner_id, :terms_id, :cause, :at, CAST(:kinds AS text[]),
                                        CAST(:codes AS text[]), CAST(:quantities AS int[]),
                                        CAST(:ends AS timestamptz[]), CAST(:lookups AS uuid[]), CAST(:tails AS text[]))
        """),
        {
            "holder_id": source.holder_id,
            "partner_id": source.partner_id,
            "terms_id": source.terms_id,
            "cause": source.cause,
            "at": source.at,
            "kinds": [grant.kind for grant in grants],
            "codes": [grant.code for grant in grants],
            "quantities": [grant.quantity for grant in grants],
            "ends": [grant.expires_at for grant in grants],
            "lookups": list(lookups),
            "tails": list(tails),
        },
    )


async def use_stamps(connection: AsyncConnection, source: Source, stamps: Mapping[str, int], day: date) -> int:
    """Use up stamps; the status."""
    done = await connection.execute(
        text("""
            SELECT partners.use_stamps(:holder_id, :partner_id, :terms_id, :cause, :at, :day, CAST(:codes AS text[]),
                                       CAST(:quantities AS int[]))
        """),
        {
            "holder_id": source.holder_id,
            "partner_id": source.partner_id,
            "terms_id": source.terms_id,
            "cause": source.cause,
            "at": source.at,
            "day": day,
            "codes": list(stamps),
            "quantities": list(stamps.values()),
        },
    )
    return int(done.scalar_one())


async def take_back(connection: AsyncConnection, source: Source, grants: Sequence[Grant], key: UUID) -> None:
    """Take back what was given."""
    await connection.execute(
        text("""
            SELECT partners.take_back_grants(:holder_id, :partner_id, :cause, :key, :at, CAST(:kinds AS text[]),
                                             CAST(:codes AS text[]), CAST(:quantities AS int[]))
        """),
        {
            "holder_id": source.holder_id,
            "partner_id": source.partner_id,
            "cause": source.cause,
            "key": key,
            "at": source.at,
            "kinds": [grant.kind for grant in grants],
            "codes": [grant.code for grant in grants],
            "quantities": [grant.quantity for grant in grants],
        },
    )


async def give_back_stamps(connection: AsyncConnection, source: Source, key: UUID, grace: timedelta) -> int:
    """Give back stamps that were used up; how many."""
    done = await connection.execute(
        text("SELECT partners.give_back_stamps(:holder_id, :partner_id, :cause, :key, :grace, :at)"),
        {
            "holder_id": source.holder_id,
            "partner_id": source.partner_id,
            "cause": source.cause,
            "key": key,
            "grace": grace,
            "at": source.at,
        },
    )
    return int(done.scalar_one())


async def tickets(connection: AsyncConnection, raffle: str) -> list[tuple[int, UUID, int]]:
    """Good tickets, in order."""
    found = await connection.execute(
        text("""
            SELECT holder_id, cause, ticket_no FROM partners.raffle_ticket
            WHERE raffle = :raffle AND revoked_at IS NULL ORDER BY holder_id, cause, ticket_no
        """),
        {"raffle": raffle},
    )
    return [(row.holder_id, row.cause, row.ticket_no) for row in found]
