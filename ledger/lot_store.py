"""SQL reads of accounts and lots on the hot path."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg


async def account_seq(pool: asyncpg.Pool, holder_id: int, unit: int) -> int | None:
    """Number of the account's last entry."""
    found: int | None = await pool.fetchval(
        "SELECT seq FROM ledger.account WHERE holder_id = $1 AND unit = $2", holder_id, unit
    )
    return found


async def preview_return(
    pool: asyncpg.Pool,
    holder_id: int,
    unit: int,
    seq: int,
    lot_points: Mapping[int, int],
    shortfall: int,
    refund: int,
    at: datetime,
) -> asyncpg.Record:
    """What a return would take and leave owed or forgiven at an instant."""
    return await pool.fetchrow(
        "SELECT taken, owed, forgiven FROM ledger.preview_return($1, $2, $3, $4, $5, $6, $7, $8)",
        holder_id, unit, seq, list(lot_points), list(lot_points.values()), shortfall, refund, at,
    )  # fmt: skip


async def available_at(pool: asyncpg.Pool, holder_id: int, unit: int, at: datetime) -> asyncpg.Record | None:
    """An account's balances as they are once everything due at an instant is applied, and its spend lock."""
    found: asyncpg.Record | None = await pool.fetchrow(
        """
        SELECT a.seq, a.spend_locked,
               CASE WHEN a.next_due > $3 THEN a.available ELSE coalesce(f.available, 0) END AS available,
               CASE WHEN a.next_due > $3 THEN a.pending ELSE coalesce(f.pending, 0) END AS pending,
               CASE WHEN a.next_due > $3 THEN a.held ELSE coalesce(f.held, 0) END AS held,
               a.debt - coalesce(f.repaid, 0) AS debt
        FROM ledger.account a
        LEFT JOIN LATERAL (
          SELECT sum(remaining) FILTER (WHERE is_active)::bigint AS available,
                 sum(remaining) FILTER (WHERE NOT is_active)::bigint AS pending, sum(held)::bigint AS held,
                 sum(repaid)::bigint AS repaid
          FROM ledger.foresee($1, $2, $3) WHERE a.next_due <= $3
        ) f ON true
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


async def debt(pool: asyncpg.Pool, holder_id: int, unit: int) -> int | None:
    """Points that an account owes."""
    found: int | None = await pool.fetchval(
        "SELECT debt FROM ledger.account WHERE holder_id = $1 AND unit = $2", holder_id, unit
    )
    return found
