"""SQL reads of accounts and lots on the hot path."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg


async def account_seq(pool: asyncpg.Pool, holder_id: int, unit: int) -> int | None:
    """Number of the account's last entry."""
    found: int | None = await pool.fetchval(
        "SELECT seq FROM ledger.account WHERE holder_id = $1 AND unit = $2", holder_id, unit
    )
    return found


async def lots_of_accrual(
    pool: asyncpg.Pool, holder_id: int, unit: int, seq: int, at: datetime
) -> list[asyncpg.Record]:
    """Lots of one accrual with what of them could be taken back at an instant: lot_no, points."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT lot_no, CASE WHEN expires_at <= $4 THEN 0 ELSE remaining END AS points FROM ledger.lot "
        "WHERE holder_id = $1 AND unit = $2 AND seq = $3",
        holder_id,
        unit,
        seq,
        at,
    )
    return found


async def available_at(pool: asyncpg.Pool, holder_id: int, unit: int, at: datetime) -> asyncpg.Record | None:
    """An account's balances as they are once everything due at an instant is applied, and its spend lock."""
    found: asyncpg.Record | None = await pool.fetchrow(
        """
        SELECT a.seq, a.held, a.debt, a.spend_locked, coalesce(l.available, 0)::bigint AS available,
               coalesce(l.pending, 0)::bigint AS pending
        FROM ledger.account a
        LEFT JOIN LATERAL (
          SELECT sum(remaining) FILTER (WHERE activates_at <= $3) AS available,
                 sum(remaining) FILTER (WHERE activates_at > $3) AS pending
          FROM ledger.lot l
          WHERE l.holder_id = a.holder_id AND l.unit = a.unit AND l.open AND l.expires_at > $3
        ) l ON true
        WHERE a.holder_id = $1 AND a.unit = $2
        """,
        holder_id,
        unit,
        at,
    )
    return found


async def decline_fingerprint(pool: asyncpg.Pool, holder_id: int, unit: int, idem_key: UUID) -> UUID | None:
    """Fingerprint of a declined redemption by its idempotency key."""
    found: UUID | None = await pool.fetchval(
        "SELECT fingerprint FROM ledger.journal WHERE holder_id = $1 AND unit = $2 AND idem_key = $3 AND kind = 20",
        holder_id,
        unit,
        idem_key,
    )
    return found
