"""Statements on raffles. Private to the partners."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from partners.mechanics.drawing import Entry, Ticket


async def insert(
    connection: AsyncConnection,
    *,
    code: str,
    names: Mapping[str, str],
    prizes: int,
    commitment: str,
    sealed_seed: bytes,
    opened_at: datetime,
    closes_at: datetime,
    author_id: int,
) -> bool:
    """Add a raffle; whether its code was free."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.raffle (code, names, prizes, commitment, sealed_seed, opened_at, closes_at, author_id)
            VALUES (:code, CAST(:names AS jsonb), :prizes, :commitment, :sealed_seed, :opened_at, :closes_at,
                    :author_id)
            ON CONFLICT DO NOTHING RETURNING 1
        """),
        {
            "code": code, "names": json.dumps(dict(names)), "prizes": prizes, "commitment": commitment,
            "sealed_seed": sealed_seed, "opened_at": opened_at, "closes_at": closes_at, "author_id": author_id,
        },
    )  # fmt: skip
    return done.one_or_none() is not None


async def raffle(connection: AsyncConnection, code: str, *, held: bool = False) -> RowMapping | None:
    """A raffle with what became of it: its columns, tickets, list_sha256, closed_at, seed, winners, drawn_at.

    held keeps others from closing or drawing it until the transaction ends.
    """
    if held:
        key = {"name": f"raffle:{code}"}
        await connection.execute(text("SELECT pg_advisory_xact_lock(7305021, hashtext(:name))"), key)
    found = await connection.execute(
        text("""
            SELECT r.*, c.tickets, c.list_sha256, c.at AS closed_at, d.seed, d.winners, d.at AS drawn_at
            FROM partners.raffle r LEFT JOIN partners.raffle_closing c USING (code)
            LEFT JOIN partners.raffle_drawing d USING (code) WHERE r.code = :code
        """),
        {"code": code},
    )
    return found.mappings().one_or_none()


async def given(connection: AsyncConnection, code: str, before: datetime) -> list[tuple[int, UUID, int]]:
    """Tickets of a raffle that were given before an instant and are good: member, cause, number."""
    found = await connection.execute(
        text("""
            SELECT holder_id, cause, ticket_no FROM partners.raffle_ticket
            WHERE raffle = :code AND at < :before AND revoked_at IS NULL
        """),
        {"code": code, "before": before},
    )
    return [(row.holder_id, row.cause, row.ticket_no) for row in found]


async def insert_closing(
    connection: AsyncConnection, code: str, entries: Sequence[Entry], list_sha256: str, *, at: datetime, actor_id: int
) -> None:
    """Store the list of tickets and its hash."""
    await connection.execute(
        text("""
            INSERT INTO partners.raffle_entry (holder_id, code, ticket, first)
            SELECT t.holder_id, :code, t.ticket, t.first
            FROM unnest(CAST(:holders AS bigint[]), CAST(:tickets AS uuid[]), CAST(:firsts AS uuid[]))
              AS t(holder_id, ticket, first)
        """),
        {
            "code": code,
            "holders": [one.holder_id for one in entries],
            "tickets": [one.ticket.name for one in entries],
            "firsts": [one.ticket.first for one in entries],
        },
    )
    await connection.execute(
        text("""
            INSERT INTO partners.raffle_closing (code, tickets, list_sha256, at, actor_id)
            VALUES (:code, :tickets, :list_sha256, :at, :actor_id)
        """),
        {"code": code, "tickets": len(entries), "list_sha256": list_sha256, "at": at, "actor_id": actor_id},
    )


async def entries(connection: AsyncConnection, code: str) -> list[Entry]:
    """The list of tickets of a raffle that is closed, in the order of their names."""
    found = await connection.execute(
        text("SELECT holder_id, ticket, first FROM partners.raffle_entry WHERE code = :code ORDER BY ticket"),
        {"code": code},
    )
    return [Entry(row.holder_id, Ticket(row.ticket, row.first)) for row in found]


async def insert_drawing(
    connection: AsyncConnection, code: str, seed: bytes, winners: Sequence[UUID], *, at: datetime, actor_id: int
) -> None:
    """Store the seed and the tickets that won."""
    await connection.execute(
        text("""
            INSERT INTO partners.raffle_drawing (code, seed, winners, at, actor_id)
            VALUES (:code, :seed, CAST(:winners AS uuid[]), :at, :actor_id)
        """),
        {"code": code, "seed": seed, "winners": list(winners), "at": at, "actor_id": actor_id},
    )
