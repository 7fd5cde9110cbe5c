"""Statements on moments and on events that wait to be looked at. Private to the partners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import POINTS
from partners.receipts.store import charge_columns, lot_columns

if TYPE_CHECKING:
    from partners.mechanics.events import Told
    from partners.mechanics.moments import Prepared

_RECORD = f"SELECT * FROM partners.record_moment({','.join(f'${n}' for n in range(1, 34))})"


async def record(pool: asyncpg.Pool, item: Prepared) -> asyncpg.Record:
    """Record a moment: status, seq, available, pending. Raises PostgresError TS001 and TS002: nothing was written."""
    moment = item.moment
    return await pool.fetchrow(
        _RECORD, POINTS, moment.at, moment.member_id, moment.cause, moment.idem_key, moment.fingerprint, moment.person,
        moment.what, moment.caller.partner_id, moment.caller.client_no, item.terms_id, moment.occurred_at, moment.kind,
        moment.event.code if moment.event else "", item.award.points, item.decision, *lot_columns(item.award.lots),
        [grant.kind for grant in item.grants], [grant.code for grant in item.grants],
        [grant.quantity for grant in item.grants], [grant.expires_at for grant in item.grants],
        list(item.granted.lookups), list(item.granted.tails), item.promoted.if_seq,
        *charge_columns(item.promoted.charges),
    )  # fmt: skip


async def moment(pool: asyncpg.Pool, holder_id: int, seq: int) -> asyncpg.Record:
    """A moment that is there: kind, code, awarded, decision."""
    return await pool.fetchrow(
        "SELECT kind, code, awarded, decision FROM partners.moment WHERE holder_id = $1 AND unit = $2 AND seq = $3",
        holder_id,
        POINTS,
        seq,
    )


async def by_key(pool: asyncpg.Pool, idem_key: UUID) -> asyncpg.Record | None:
    """What a key was used for: holder_id, fingerprint, and seq of a moment (none: it was no moment)."""
    return await pool.fetchrow(
        "SELECT k.holder_id, k.fingerprint, m.seq FROM partners.receipt_claim k "
        "LEFT JOIN partners.moment m ON m.holder_id = k.holder_id AND m.cause = k.claim WHERE k.idem_key = $1",
        idem_key,
    )


# --- Events that somebody looks at first --------------------------------------------------------------------


async def insert_review(connection: AsyncConnection, cause: UUID, told: Told, fingerprint: UUID) -> int | None:
    """Keep an event until it is decided; its number, None where it waits or was decided already."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.event_review (holder_id, cause, partner_id, client_id, code, told, occurred_at, at,
                                               idem_key, fingerprint)
            VALUES (:holder_id, :cause, :partner_id, :client_id, :code, CAST(:told AS jsonb), :occurred_at, :at,
                    :idem_key, :fingerprint)
            ON CONFLICT (cause) DO NOTHING RETURNING review_no
        """),
        {
            "holder_id": told.member_id,
            "cause": cause,
            "partner_id": told.caller.partner_id,
            "client_id": told.caller.client_no,
            "code": told.event.code,
            "told": orjson.dumps({"event": told.event.to_json(), "once_key": told.once_key}).decode(),
            "occurred_at": told.occurred_at,
            "at": told.at,
            "idem_key": told.idem_key,
            "fingerprint": fingerprint,
        },
    )
    return done.scalar_one_or_none()


async def review_by_key(connection: AsyncConnection, idem_key: UUID) -> Row[Any] | None:
    """An event that was kept under a key."""
    found = await connection.execute(
        text("SELECT * FROM partners.event_review WHERE idem_key = :idem_key"), {"idem_key": idem_key}
    )
    return found.one_or_none()


async def review(
    connection: AsyncConnection, holder_id: int, review_no: int, *, locked: bool = False
) -> Row[Any] | None:
    """An event that was kept, by member and number."""
    found = await connection.execute(
        text(
            "SELECT * FROM partners.event_review WHERE holder_id = :holder_id AND review_no = :review_no"
            + (" FOR NO KEY UPDATE" if locked else "")
        ),
        {"holder_id": holder_id, "review_no": review_no},
    )
    return found.one_or_none()


async def decide_review(
    connection: AsyncConnection, holder_id: int, review_no: int, *, approved: bool, at: datetime
) -> None:
    """Write down what was decided."""
    await connection.execute(
        text("""
            UPDATE partners.event_review SET approved = :approved, decided_at = :at
            WHERE holder_id = :holder_id AND review_no = :review_no AND approved IS NULL
        """),
        {"holder_id": holder_id, "review_no": review_no, "approved": approved, "at": at},
    )


async def waiting_reviews(connection: AsyncConnection, partner_id: int, limit: int) -> Sequence[Row[Any]]:
    """Events of a partner that wait, the oldest first: holder_id, review_no, code, occurred_at."""
    found = await connection.execute(
        text("""
            SELECT holder_id, review_no, code, occurred_at FROM partners.event_review
            WHERE partner_id = :partner_id AND approved IS NULL ORDER BY review_no LIMIT :limit
        """),
        {"partner_id": partner_id, "limit": limit},
    )
    return found.all()
